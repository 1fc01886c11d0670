"""The thread that asks a model about the windows of all calls: here the model is a function."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import pytest

from interop.peers import oracle
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import VADEvent, VADEventType
from roomkit.voice.vad.activity import ActivitySettings

np = oracle("numpy", "pip install 'roomkit[vad]'")

from roomkit.voice.vad.batches import (  # noqa: E402
    Batcher,
    BatchStream,
    Inline,
    InlineStream,
    linger_ms,
)
from roomkit.voice.vad.lines import Samples  # noqa: E402

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END
SETTINGS = ActivitySettings(0.5, 0.35, 0, 64)
PATIENCE_S = 10.0


class Model:
    """Speech is what is loud. It counts in its state, and waits where it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []  # of each, the first sample of every window
        self.counts: list[float] = []
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()
        self.error: Exception | None = None

    def __call__(self, windows: Samples, states: Samples) -> tuple[Samples, Samples]:
        assert windows.shape[1] == 288
        assert states.shape == (2, len(windows), 128)
        self.batches.append([round(float(row[32]) * 32768) for row in windows])
        self.asked.set()
        assert self.go.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        after = states + 1
        self.counts.append(float(after.max()))
        return (np.abs(windows[:, 32:]).max(axis=1) > 0.2).astype(np.float32), after


def frame(
    value: int, at: float | None = None, ms: float = 32.0, kind: str = "received"
) -> AudioFrame:
    return AudioFrame(
        np.full(round(8 * ms), value, "<i2").tobytes(), 8000, 1, 2, at, {"kind": kind}
    )


LOUD, QUIET = 20000, 1


class Call:
    """A stream and what it was told."""

    def __init__(self, batcher: Batcher, settings: ActivitySettings = SETTINGS) -> None:
        self.told: list[VADEvent] = []
        self.threads: set[int] = set()
        self.news = asyncio.Event()
        self.at = 0.0
        self.stream = BatchStream(batcher, settings, self.tell)

    def tell(self, event: VADEvent) -> None:
        self.told.append(event)
        self.threads.add(threading.get_ident())
        self.news.set()

    def feed(self, *values: int, kind: str = "received") -> None:
        for value in values:
            self.stream.feed(frame(value, self.at, kind=kind))
            self.at += 32

    async def until(self, count: int) -> list[tuple[VADEventType, float | None]]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()
        return [(event.type, event.timestamp_ms) for event in self.told]


@contextlib.contextmanager
def open_calls(batcher: Batcher, count: int) -> Iterator[list[Call]]:
    calls = [Call(batcher) for _ in range(count)]
    try:
        yield calls
    finally:
        for call in calls:
            call.stream.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (what a thread does sets no event)
            await asyncio.sleep(0)


async def test_events_are_told_on_the_loop_in_order_with_media_time() -> None:
    with open_calls(Batcher(Model()), 1) as [call]:
        call.feed(QUIET, LOUD, LOUD, QUIET, QUIET, QUIET, LOUD)
        assert await call.until(3) == [(START, 32), (END, 96), (START, 192)]
        assert call.threads == {threading.get_ident()}
        assert call.told[0].level_dbfs == pytest.approx(-4.3, abs=0.1)


async def test_what_waits_meanwhile_is_one_question() -> None:
    model = Model()
    with open_calls(Batcher(model), 20) as calls:
        model.go.clear()
        calls[0].feed(100)
        await until(model.asked.is_set)
        for index, call in enumerate(calls):
            call.feed(index)
        model.go.set()
        for call in calls:
            call.feed(LOUD)
        for call in calls:
            await call.until(1)
    assert model.batches[0] == [100]
    assert sorted(chain(*model.batches[1:])) == sorted([*range(20), *[LOUD] * 20])
    assert len(model.batches[1]) == 20
    assert len(model.batches) <= 4


async def test_windows_of_one_call_are_asked_one_after_another_with_its_own_state() -> None:
    model = Model()
    with open_calls(Batcher(model), 2) as [first, second]:
        model.go.clear()
        first.feed(1)
        await until(model.asked.is_set)
        first.feed(2, 3)
        second.feed(11, 12, 13)
        model.go.set()
        first.feed(LOUD)
        second.feed(LOUD)
        await first.until(1)
        await second.until(1)
    mine = [value for batch in model.batches for value in batch if value < 10]
    its = [value for batch in model.batches for value in batch if 10 < value < 20]
    assert (mine, its) == ([1, 2, 3], [11, 12, 13])
    assert all(len(batch) == len(set(batch)) or LOUD in batch for batch in model.batches)
    assert max(model.counts) == 4  # each state has seen four windows


def test_every_loop_is_told_its_own() -> None:
    batcher = Batcher(Model())
    found: dict[int, object] = {}

    async def one(number: int) -> None:
        with open_calls(batcher, 3) as calls:
            for call in calls:
                call.feed(*[QUIET] * number, LOUD)
            told = [await call.until(1) for call in calls]
            same = all(call.threads == {threading.get_ident()} for call in calls)
            found[number] = (told, same)

    threads = [threading.Thread(target=asyncio.run, args=(one(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == {n: ([[(START, n * 32.0)]] * 3, True) for n in range(4)}


async def test_one_wake_of_the_loop_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    wakes: list[object] = []
    wake = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *args: object) -> object:
        wakes.append(callback)
        return wake(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    model = Model()
    with open_calls(Batcher(model), 10) as calls:
        model.go.clear()
        calls[0].feed(QUIET)
        await until(model.asked.is_set)
        for call in calls:
            call.feed(LOUD, QUIET, QUIET, LOUD)
        model.go.set()
        for call in calls:
            await call.until(3)
    # None for windows of which nothing follows, and no more than the batches that told something.
    assert 1 <= len(wakes) <= 2


async def test_a_machine_that_is_too_slow_hears_what_is_said_now(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model()
    batcher = Batcher(model)
    with open_calls(batcher, 2) as [call, other]:
        model.go.clear()
        call.feed(QUIET)
        await until(model.asked.is_set)
        for _ in range(40):  # 1.28 s
            call.feed(QUIET)
            other.feed(QUIET)
        call.feed(LOUD)
        other.feed(LOUD)
        assert batcher.dropped_windows == 2 * 41 - 2 * 15
        model.go.set()
        assert await call.until(1) == [(START, 41 * 32.0)]
        assert await other.until(1) == [(START, 40 * 32.0)]
    assert sum(map(len, model.batches)) <= 1 + 2 * 15
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "too slow" in caplog.text


async def test_a_frame_longer_than_the_queue_is_heard() -> None:
    with open_calls(Batcher(Model()), 1) as [call]:
        call.stream.feed(frame(LOUD, 0.0, ms=2000))
        assert await call.until(1) == [(START, 0)]


async def test_a_model_that_fails_is_told_once_and_the_calls_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model()
    batcher = Batcher(model)
    with open_calls(batcher, 3) as calls:
        for call in calls:
            call.feed(LOUD)
            await call.until(1)
        model.error = RuntimeError("broken")
        for call in calls:
            call.feed(LOUD)
            await until(partial(_by_level, call))
            # The word that the model began is ended by level, and the next one found.
            call.feed(*[QUIET] * 5, *[LOUD] * 5)
            assert [event.type for event in call.told] == [START, END, START]
        assert not [record for record in caplog.records if record.exc_info is None]
        assert len(caplog.records) == 1
    await until(lambda: not batcher.running)


async def test_a_model_that_hangs_leaves_no_call_deaf(caplog: pytest.LogCaptureFixture) -> None:
    model = Model()
    batcher = Batcher(model)
    with open_calls(batcher, 1) as [call]:
        model.go.clear()
        call.feed(QUIET)
        await until(model.asked.is_set)
        call.feed(*[QUIET] * 70)  # 2.2 s
        call.feed(*[LOUD] * 10)
        assert [event.type for event in call.told] == [START]
        assert "does not answer" in caplog.text
        # What it says of that call when it comes back is not told.
        model.go.set()
        await until(lambda: not batcher.running)
        await asyncio.sleep(0)
        assert len(call.told) == 1


async def test_a_frame_that_is_broken_is_the_loss_of_its_call_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with open_calls(Batcher(Model()), 2) as [call, other]:
        broken = frame(LOUD)
        broken.data = b"\1" * 513
        call.stream.feed(broken)
        other.feed(LOUD)
        await other.until(1)
        await until(partial(_by_level, call))
        assert not _by_level(other)
        assert "does not fit" in caplog.text


async def test_whoever_raises_when_told_does_not_harm_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    batcher = Batcher(Model())
    with open_calls(batcher, 2) as [call, other]:

        def refuse(event: VADEvent) -> None:
            call.tell(event)
            raise ValueError("no")

        call.stream._tell = refuse
        call.feed(LOUD, QUIET, QUIET)
        other.feed(LOUD)
        await other.until(1)
        await call.until(2)
    assert "telling of voice activity failed" in caplog.text


async def test_concealed_audio_neither_begins_a_word_nor_ends_one() -> None:
    with open_calls(Batcher(Model()), 1) as [call]:
        call.feed(QUIET, LOUD, LOUD, kind="concealed")
        call.feed(LOUD)
        call.feed(QUIET, QUIET, QUIET, kind="concealed")
        call.feed(LOUD)
        call.feed(QUIET, QUIET, kind="silence")
        found = await call.until(2)
        assert found == [(START, 96), (END, 256)]


async def test_the_thread_lives_while_a_stream_is_open() -> None:
    batcher = Batcher(Model())
    for _ in range(3):
        with open_calls(batcher, 2) as [call, other]:
            assert batcher.running
            other.stream.close()
            other.stream.close()
            call.feed(LOUD)
            await call.until(1)
        await until(lambda: not batcher.running)
    assert not [each for each in threading.enumerate() if each.name == "roomkit-vad"]


async def test_nothing_is_told_after_close() -> None:
    model = Model()
    with open_calls(Batcher(model), 2) as [call, other]:
        model.go.clear()
        call.feed(LOUD)
        await until(model.asked.is_set)
        call.stream.close()
        model.go.set()
        call.feed(LOUD)
        other.feed(LOUD)
        await other.until(1)
        assert call.told == []


async def test_a_stream_that_nobody_holds_is_closed() -> None:
    batcher = Batcher(Model())
    call = Call(batcher)
    call.feed(LOUD)
    await call.until(1)
    del call
    # The thread may have held it at the first look.
    await until(lambda: gc.collect() >= 0 and not batcher.running)


def test_a_loop_that_was_closed_holds_up_nobody() -> None:
    model = Model()
    batcher = Batcher(model)
    kept: list[Call] = []

    async def left() -> None:
        kept.append(Call(batcher))
        model.go.clear()
        kept[0].feed(LOUD)
        await until(model.asked.is_set)

    async def other() -> None:
        with open_calls(batcher, 1) as [call]:
            model.go.set()
            call.feed(LOUD)
            await call.until(1)

    asyncio.run(left())
    asyncio.run(other())
    assert kept[0].told == []
    kept[0].stream.close()


async def test_a_process_out_of_threads_goes_on_by_level(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    batcher = Batcher(Model())
    with open_calls(batcher, 1) as [call]:
        call.feed(*[QUIET] * 5, *[LOUD] * 5)
        assert [event.type for event in call.told] == [START]
    assert not batcher.running
    assert "no thread" in caplog.text


async def test_at_exit_the_thread_ends_though_calls_are_open() -> None:
    batcher = Batcher(Model())
    with open_calls(batcher, 1) as [call]:
        call.feed(LOUD)
        await call.until(1)
        batcher.stop()
        assert not batcher.running


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_copy_in_a_forked_child_touches_no_lock_and_the_parent_goes_on() -> None:
    model = Model()
    batcher = Batcher(model)
    with open_calls(batcher, 1) as [call]:
        call.feed(QUIET)
        await until(model.asked.is_set)
        with batcher._wake:  # as a thread may hold it at that moment
            pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                batcher.over = True
                batcher._wake = None  # type: ignore[assignment]
                call.feed(LOUD, LOUD)
                call.stream.close()
                code = 0
            os._exit(code)
        give_up = time.monotonic() + PATIENCE_S
        done = (0, 0)
        while done[0] == 0 and time.monotonic() < give_up:
            done = os.waitpid(pid, os.WNOHANG)
        assert done == (pid, 0)
        call.feed(LOUD)
        assert await call.until(1) == [(START, 32)]


def _by_level(call: Call) -> bool:
    return call.stream._instead is not None


def test_who_waits_how_long_for_others() -> None:
    assert linger_ms(1) == 9
    assert linger_ms(28) == 9
    assert 5 < linger_ms(50) < 5.2
    assert 2.5 < linger_ms(100) < 2.6


async def test_a_single_call_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomkit.voice.vad.batches.LINGER_MS", 1000 * PATIENCE_S * 2)
    with open_calls(Batcher(Model()), 1) as [call]:
        call.feed(LOUD)
        await call.until(1)


def test_without_a_thread_the_same_is_told() -> None:
    told: list[VADEvent] = []
    stream = InlineStream(Inline(Model(), SETTINGS), told.append)
    for index, value in enumerate((QUIET, LOUD, LOUD, QUIET, QUIET, QUIET, LOUD)):
        stream.feed(frame(value, index * 32.0))
    assert [(event.type, event.timestamp_ms) for event in told] == [
        (START, 32),
        (END, 96),
        (START, 192),
    ]
    stream.close()
    stream.feed(frame(QUIET, ms=3000))
    assert len(told) == 3


@pytest.fixture(autouse=True)
def _levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "roomkit.voice.vad")
