"""The virtual clock: time passes when nobody works, and a test that is stuck says so."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomkit._items import Items
from roomkit.testing import StuckError, VirtualTimeLoop, run, virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_time_jumps_to_the_next_timer_and_is_exact() -> None:
    began = now()
    order: list[tuple[str, float]] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)  # sleep: on the virtual clock
        order.append((name, now() - began))

    await asyncio.gather(after(800, "late"), after(0.02, "soon"), after(0.04, "then"))
    assert [name for name, _ in order] == ["soon", "then", "late"]
    assert [at for _, at in order] == pytest.approx([0.02, 0.04, 800], abs=1e-9)


@virtual_time
async def test_timeouts_of_asyncio_take_virtual_time() -> None:
    began = now()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 3)
    done, late = await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=2)
    assert not done
    assert now() - began == 10
    for task in late:
        task.cancel()


@virtual_time
async def test_no_time_passes_while_a_thread_works(tmp_path: Path) -> None:
    began = now()
    path = tmp_path / "file"
    path.write_text("text")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            # The thread takes far longer than a millisecond, in real time.
            released = threading.Event()
            threading.Timer(0.05, released.set).start()
            await asyncio.to_thread(released.wait)
            assert await asyncio.to_thread(path.read_text) == "text"
            assert now() == began
            await asyncio.Event().wait()
    assert now() - began == pytest.approx(0.001)


@virtual_time
async def test_no_time_passes_while_a_plain_iterator_is_read_in_its_thread() -> None:
    began = now()

    def slow() -> Iterator[int]:
        for n in range(3):
            released = threading.Event()
            threading.Timer(0.01, released.set).start()
            released.wait()
            yield n

    async def others() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0.02)  # sleep: on the virtual clock

    busy = asyncio.create_task(others())
    items = Items(slow())
    assert [item async for item in items] == [0, 1, 2]
    await items.aclose()
    assert now() - began < 0.02 * 4  # a turn or so between two items, none during one
    busy.cancel()


@virtual_time
async def test_a_thread_that_the_loop_cannot_know_of_holds_it_by_hand() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    began, told = now(), asyncio.Event()
    with loop.outside():
        threading.Timer(0.02, loop.call_soon_threadsafe, (told.set,)).start()
        async with asyncio.timeout(1):
            await told.wait()
    assert now() == began


def test_what_waits_for_ever_is_told_with_the_line_where_it_waits() -> None:
    async def waits_for_godot() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match=r"for ever\n.*waits_for_godot waits in wait, .*locks"):
        run(waits_for_godot())


def test_virtual_time_is_bounded() -> None:
    async def too_long() -> None:
        for _ in itertools.count():
            await asyncio.sleep(1)  # sleep: on the virtual clock

    with pytest.raises(StuckError, match=r"takes longer than 60 s \(limit_s\)"):
        run(too_long(), limit_s=60)


def test_what_is_cancelled_because_time_is_up_can_end_in_order() -> None:
    ended: list[str] = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(100)  # sleep: on the virtual clock
        finally:
            await asyncio.sleep(1)  # sleep: on the virtual clock
            ended.append("tidy")

    with pytest.raises(StuckError):
        run(tidy(), limit_s=60)
    assert ended == ["tidy"]


def test_a_thread_that_does_not_come_back_is_told() -> None:
    release = threading.Event()

    async def waits() -> None:
        threading.Timer(0.2, release.set).start()
        await asyncio.to_thread(release.wait)

    with pytest.raises(StuckError, match="a thread has not come back"):
        run(waits(), patience_s=0.05)


def test_a_task_that_spins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomkit.testing.clock._MOST_TURNS", 1000)

    async def spins() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(StuckError, match="no time passed"):
        run(spins())


@virtual_time
async def test_a_timer_set_again_and_again_for_a_moment_that_is_all_but_over_ends() -> None:
    """Times that are reckoned in ms and in s differ by their last bit."""
    loop = asyncio.get_running_loop()
    due_ms = now() * 1000 + 20
    while due_ms / 1000 * 1000 >= due_ms:
        due_ms += 0.1
    done = loop.create_future()

    def wake() -> None:
        if now() * 1000 >= due_ms:
            done.set_result(None)
        else:
            loop.call_at(due_ms / 1000, wake)

    wake()
    await done
    assert now() * 1000 == pytest.approx(due_ms, abs=0.01)


@virtual_time
async def test_no_timer_is_due_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    for n in range(1, 500):
        when = now() + n / 977
        due: asyncio.Future[float] = loop.create_future()
        loop.call_at(when, lambda due=due: due.set_result(loop.time()))  # type: ignore[misc]
        assert when <= await due < when + 1e-9


def test_only_an_async_test_can_have_a_virtual_clock() -> None:
    with pytest.raises(TypeError, match="not async"):
        virtual_time(lambda: None)  # type: ignore[arg-type, return-value]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="limit_s"):
            VirtualTimeLoop(limit_s=wrong)


def test_a_limit_is_that_of_the_test() -> None:
    @virtual_time(limit_s=10, patience_s=1)
    async def short(seconds: float) -> float:
        await asyncio.sleep(seconds)  # sleep: on the virtual clock
        return seconds

    assert short(9) == 9
    with pytest.raises(StuckError, match="longer than 10 s"):
        short(11)


def test_the_result_and_what_is_raised_come_out() -> None:
    async def gives() -> int:
        return 5

    async def raises() -> None:
        raise LookupError("mine")

    assert run(gives()) == 5
    with pytest.raises(LookupError, match="mine"):
        run(raises())


def test_ten_minutes_of_ticks_take_less_than_a_second_of_cpu() -> None:
    async def ticks() -> None:
        for _ in range(30_000):
            await asyncio.sleep(0.02)  # sleep: on the virtual clock

    began = time.process_time()
    run(ticks())
    assert time.process_time() - began < 3  # 0.3 s where nothing else is going on
