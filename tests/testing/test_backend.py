"""The fake backend's own side: the way to the caller, playbacks, and the same each time."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkit.errors import SynthesisError
from roomkit.testing import FakeBackend, FakeTTS, NetworkPath, run, speech, virtual_time
from roomkit.testing.caller import Caller
from roomkit.voice.base import AudioChunk, PathDelay, PlaybackPosition, VoiceSession
from roomkit.voice.frame import AudioFrame


async def connected(**options: Any) -> tuple[FakeBackend, VoiceSession, Caller]:
    backend = FakeBackend(**options)
    session = await backend.connect("room", "ann", "phone")
    return backend, session, backend.caller(session)


def now() -> float:
    return asyncio.get_running_loop().time()


# --- the way to the caller -----------------------------------------------------------------------


@pytest.mark.parametrize(("delay_ms", "buffer_ms"), [(0, 0), (20, 40), (33.5, 60), (200, 80)])
@virtual_time
async def test_what_left_is_heard_when_it_came_through(delay_ms: float, buffer_ms: float) -> None:
    backend, session, caller = await connected(
        path=NetworkPath(delay_ms=delay_ms, buffer_ms=buffer_ms)
    )
    said = speech("one two")
    playback = backend.start_playback(session, said.data)
    position = await playback.wait()
    assert position.started_at is not None
    left_ms = (position.started_at - caller.opened_at) * 1000
    await caller.hears("one two")
    for word, mark in zip(caller.heard.words, said.marks, strict=True):
        after_ms = left_ms + delay_ms + buffer_ms
        assert word.begin_ms == pytest.approx(after_ms + mark.offset_ms, abs=0.2)
        assert word.end_ms == pytest.approx(after_ms + (mark.end_ms or 0), abs=0.2)
    await backend.close()


@virtual_time
async def test_nothing_is_heard_before_its_time() -> None:
    backend, session, caller = await connected(path=NetworkPath(delay_ms=100, buffer_ms=100))
    backend.start_playback(session, speech("one two three").data)
    await caller.waits(0.2)
    assert caller.heard.spans() == []
    await caller.waits(0.31)
    assert caller.heard_text == "one"
    assert caller.heard.spans()[0][0] == 220  # the first packet leaves 20 ms after the opening
    await backend.close()


@pytest.mark.parametrize("delay_ms", [0, 20, 150])
@virtual_time
async def test_what_he_says_comes_in_when_it_came_through(delay_ms: float) -> None:
    backend, _, caller = await connected(path=NetworkPath(delay_ms=delay_ms))
    frames: list[AudioFrame] = []
    backend.on_audio_received(lambda session, frame: frames.append(frame))
    await caller.waits(0.1)
    said = await caller.says("one")
    await caller.waits(0.3)
    pcm = b"".join(frame.data for frame in frames)
    begin = len(pcm) - len(pcm.lstrip(b"\0"))
    assert begin / 16 == pytest.approx(said.begin_ms + delay_ms, abs=0.2)
    assert [frame.clock_ms for frame in frames] == [20.0 * n for n in range(1, len(frames) + 1)]
    await backend.close()


@virtual_time
async def test_the_path_is_told_with_bounds_that_hold() -> None:
    backend, session, caller = await connected()
    assert backend.path_delay(session) == PathDelay(40, 60, 80)
    caller.path = NetworkPath(delay_ms=5, buffer_ms=0)
    assert backend.path_delay(session) == PathDelay(0, 5, 25)
    caller.path = NetworkPath(known=False)
    assert backend.path_delay(session) is None
    await backend.close()


def test_packets_are_lost_by_chance_which_is_the_same_each_time() -> None:
    async def call(seed: int) -> tuple[str, Any]:
        backend, session, caller = await connected(path=NetworkPath(loss=0.05), seed=seed)
        await backend.send_audio(session, speech("one two three four five six seven").data)
        await caller.says("one two three")
        await caller.waits(0.2)
        await backend.close()
        return caller.heard_text, backend.stats(session)

    first, again, other = run(call(3)), run(call(3)), run(call(4))
    assert first == again
    assert first != other
    text, stats = first
    assert stats["packets_lost_out"] > 0
    assert stats["packets_lost_in"] > 0
    assert "…" in text


@virtual_time
async def test_a_lost_packet_of_the_caller_is_a_frame_that_was_made_up() -> None:
    backend, _, caller = await connected(path=NetworkPath(loss=1))
    kinds: list[str] = []
    backend.on_audio_received(lambda session, frame: kinds.append(frame.kind))
    await caller.waits(0.1)
    assert kinds == ["concealed", "concealed", "concealed", "silence", "silence"]
    await backend.close()


@pytest.mark.parametrize(
    ("name", "value"), [("delay_ms", -1), ("buffer_ms", 1001), ("loss", 1.1), ("unsure_ms", -1)]
)
def test_a_path_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        NetworkPath(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("sample_rate", 8010), ("sample_rate", 7999), ("channels", 3), ("lead_ms", 1)],
)
def test_a_backend_that_cannot_be_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        FakeBackend(**{name: value})  # type: ignore[arg-type]


# --- playbacks -----------------------------------------------------------------------------------


@given(
    at_ms=st.integers(0, 1300), pause_ms=st.integers(1, 500), cut=st.sampled_from([320, 500, 4000])
)
@settings(max_examples=60, deadline=None)
def test_a_pause_at_any_moment_goes_on_with_the_next_sample(
    at_ms: int, pause_ms: int, cut: int
) -> None:
    text = "one two three four"
    pcm = speech(text).data

    async def call() -> None:
        backend, session, caller = await connected(path=NetworkPath(delay_ms=0, buffer_ms=0))
        chunks = [AudioChunk(pcm[at : at + cut], 8000) for at in range(0, len(pcm), cut)]
        playback = backend.start_playback(session, chunks)
        await caller.waits(at_ms / 1000)
        paused = playback.pause()
        before = playback.position
        await caller.waits(pause_ms / 1000)
        assert playback.position.played_ms == before.played_ms
        assert playback.resume() == paused
        position = await playback.wait()
        assert position.played_ms == len(pcm) / 16
        await caller.waits(0.1)
        assert caller.heard_text == text
        heard = b"".join(data for _, data in caller._line.phone.heard._pieces)
        assert heard[: len(pcm)] == pcm
        await backend.close()

    run(call())


@virtual_time
async def test_a_pause_is_silent_from_the_next_packet_on_and_idempotent() -> None:
    backend, session, caller = await connected(path=NetworkPath(delay_ms=0, buffer_ms=0))
    playback = backend.start_playback(session, speech("one two three").data)
    assert playback.position == PlaybackPosition(1, 0.0)
    await caller.waits(0.21)
    assert playback.resume() is False
    assert (playback.pause(), playback.pause()) == (True, True)
    await caller.waits(1)
    assert playback.position.paused
    assert backend.is_playing(session)
    assert caller.heard.pcm(220, 1000).strip(b"\0") == b""
    assert (playback.resume(), playback.resume()) == (True, False)
    await playback.wait()
    assert (playback.pause(), playback.resume(), playback.cancel()) == (False, False, False)
    await backend.close()


@virtual_time
async def test_one_playback_is_cut_short_alone() -> None:
    backend, session, caller = await connected()
    first, second, third = (
        backend.start_playback(session, speech(text).data) for text in ("one", "two", "three")
    )
    await caller.waits(0.1)
    assert second.cancel() is True
    assert (await second.wait()).cancelled
    await third.wait()
    assert [each.position.played_ms for each in (first, second, third)] == [300, 0, 300]
    assert first.position.over
    assert not first.position.cancelled
    await caller.hears("one three")
    fourth, fifth = (backend.start_playback(session, speech(text).data) for text in ("a b", "c"))
    await caller.waits(0.1)
    assert fourth.pause()
    assert fourth.cancel() is True  # also while it is paused
    await fifth.wait()
    await caller.hears("c")
    await backend.close()


@virtual_time
async def test_several_may_wait_and_whoever_gives_up_ends_nothing() -> None:
    backend, session, _ = await connected()
    playback = backend.start_playback(session, speech("one two").data)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await playback.wait()
    one, two = await asyncio.gather(playback.wait(), playback.wait())
    assert one == two == playback.position
    assert not one.cancelled
    await backend.close()


@virtual_time
async def test_what_a_source_raises_reaches_whoever_waits() -> None:
    backend, session, _ = await connected()
    voice = FakeTTS(fail_after=2, chunk_ms=100)
    playback = backend.start_playback(session, voice.synthesize_stream("one two three"))
    for _ in range(2):  # whoever waits, whenever
        with pytest.raises(SynthesisError, match="told to fail after 2"):
            await playback.wait()
    assert playback.position.over
    assert voice.speaking == 0
    await backend.close()


@given(
    words=st.lists(st.sampled_from(["a", "word", "supercalifragilistic"]), min_size=1, max_size=6),
    chunk_ms=st.integers(5, 700),
    rate=st.sampled_from([8000, 16000, 24000]),
)
@settings(max_examples=60, deadline=None)
def test_marks_are_told_when_their_first_sample_leaves(
    words: list[str], chunk_ms: int, rate: int
) -> None:
    text = " ".join(words)
    said = speech(text, sample_rate=rate)

    async def call() -> None:
        backend, session, _ = await connected(path=NetworkPath(delay_ms=0, buffer_ms=0))
        voice = FakeTTS(chunk_ms=chunk_ms, sample_rate=rate)
        playback = backend.start_playback(session, voice.synthesize_stream(text))
        told: list[tuple[str, float, float]] = []
        playback.on_mark(lambda mark, at: told.append((mark.text, at, now())))
        position = await playback.wait()
        assert [text for text, _, _ in told] == words
        assert position.started_at is not None
        for (_, at, told_at), mark in zip(told, said.marks, strict=True):
            # In the packet that has it, and not before it left.
            left_ms = (at - position.started_at) * 1000
            assert left_ms <= mark.offset_ms + 0.1 < left_ms + 20.2
            assert told_at == at
        await backend.close()

    run(call())


@pytest.mark.parametrize("close_ms", [500, math.inf])
@virtual_time
async def test_a_voice_that_closes_slowly_delays_nothing(close_ms: float) -> None:
    backend, session, caller = await connected()
    voice = FakeTTS(close_ms=close_ms, chunk_ms=100)
    # More than the lead, so that the voice is at it when it is cut short.
    playback = backend.start_playback(session, voice.synthesize_stream("one " * 10))
    await caller.waits(0.2)
    began = now()
    playback.cancel()
    assert (await playback.wait()).cancelled
    assert now() - began == pytest.approx(0.02)
    await backend.start_playback(session, speech("next").data).wait()
    assert now() - began == pytest.approx(0.32, abs=0.021)
    backend.start_playback(session, voice.synthesize_stream("one " * 10))
    await caller.hears("next")
    ended = now()
    await backend.close()
    assert now() == ended
    await caller.waits(0.55 if close_ms == 500 else 3.1)
    assert voice.speaking == 0


# --- the same each time --------------------------------------------------------------------------


def test_ids_and_times_are_the_same_each_time() -> None:
    async def call(seed: int) -> list[object]:
        backend = FakeBackend(seed=seed)
        sessions = [await backend.connect("room", name, "phone") for name in "ab"]
        await backend.close()
        return [(session.id, session.created_at) for session in sessions]

    assert run(call(1)) == run(call(1))
    assert run(call(1)) != run(call(2))


def test_it_works_on_a_plain_loop_too_and_leaves_nothing() -> None:
    async def call() -> None:
        backend, session, caller = await connected()
        before = asyncio.all_tasks()
        await backend.send_audio(session, speech("one", per_word_ms=100).data)
        caller.presses("1")
        await backend.close()
        await caller.waits_to_be_hung_up_on()
        assert caller.heard_text == "one"
        assert asyncio.all_tasks() == before

    asyncio.run(call())


def test_ten_minutes_of_call_take_less_than_a_second() -> None:
    async def call() -> int:
        backend, _, _ = await connected()
        frames = 0

        def count(session: VoiceSession, frame: AudioFrame) -> None:
            nonlocal frames
            frames += 1

        backend.on_audio_received(count)
        await asyncio.sleep(600)  # sleep: on the virtual clock
        await backend.close()
        return frames

    began = time.process_time()
    assert run(call()) == 30_000
    assert time.process_time() - began < 3  # 0.2 s where nothing else is going on
