"""What users and providers take too long for is given up, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomkit._limits import Beside, Pump
from roomkit.testing import run, virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


async def numbers(count: int, log: list[Any], slow_close: float = 0.0) -> AsyncIterator[int]:
    try:
        for number in range(count):
            log.append(number)
            yield number
    finally:
        await asyncio.sleep(slow_close)
        log.append("closed")


@virtual_time
async def test_work_within_its_time_gives_what_it_gives() -> None:
    beside = Beside("test")

    async def good() -> int:
        await asyncio.sleep(1)
        return 7

    async def bad() -> None:
        raise LookupError("lost")

    assert await beside.within(good(), 2, "good") == 7
    with pytest.raises(LookupError):
        await beside.within(bad(), 2, "bad")


@virtual_time
async def test_who_takes_too_long_is_left_even_if_he_swallows_his_cancellation() -> None:
    beside, ended = Beside("test"), []

    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                continue
        ended.append(now())

    began = now()
    with pytest.raises(TimeoutError, match="stubborn took longer than 2 s"):
        await beside.within(stubborn(), 2, "stubborn")
    assert now() - began == pytest.approx(2)
    assert ended == []
    await beside.finish(60)
    assert len(ended) == 1


@virtual_time
async def test_whoever_gives_up_waiting_takes_the_work_along() -> None:
    beside, cancelled = Beside("test"), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(beside.within(work(), None, "work"))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(cancelled.wait(), 1)


def test_what_never_ends_is_told_when_its_owner_closes(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        beside, stop = Beside("the owner"), asyncio.Event()

        async def never() -> None:
            while not stop.is_set():
                try:
                    await stop.wait()
                except asyncio.CancelledError:
                    continue

        beside.run(never(), "the work")
        began = now()
        await beside.finish(3)
        assert now() - began == pytest.approx(4)
        stop.set()
        await asyncio.sleep(0)

    run(main())
    assert "the owner: the work does not end and is left behind" in caplog.text


@virtual_time
async def test_work_runs_in_the_context_that_it_is_given() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")
    beside, seen = Beside("test"), []
    context = contextvars.copy_context()
    context.run(name.set, "caller")

    async def work() -> None:
        seen.append(name.get())
        name.set("changed")

    await beside.run(work(), "work", context)
    await beside.run(work(), "work", context)
    assert seen == ["caller", "caller"]


@virtual_time
async def test_a_pump_gives_all_and_reads_one_ahead() -> None:
    log: list[Any] = []
    pump = Pump(numbers(3, log), Beside("test"), "numbers")
    await asyncio.sleep(0.1)
    assert log == [0]
    assert [await pump.next() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopAsyncIteration):
        await pump.next()
    with pytest.raises(StopAsyncIteration):
        await pump.next()
    assert log == [0, 1, 2, "closed"]


@virtual_time
async def test_a_source_runs_from_its_first_item_to_its_end_in_one_task() -> None:
    tasks: list[Any] = []

    async def source() -> AsyncIterator[int]:
        try:
            async with asyncio.timeout(100):  # as HTTP clients do: must end where it began
                for number in range(2):
                    tasks.append(asyncio.current_task())
                    yield number
        finally:
            tasks.append(asyncio.current_task())

    pump = Pump(source(), Beside("test"), "source")
    await pump.next()
    pump.leave()
    await asyncio.sleep(1)
    assert len(set(tasks)) == 1
    assert len(tasks) == 2


@virtual_time
async def test_a_pump_says_when_nothing_comes_and_may_be_asked_again() -> None:
    async def late() -> AsyncIterator[int]:
        await asyncio.sleep(3)
        yield 1

    pump = Pump(late(), Beside("test"), "late")
    with pytest.raises(TimeoutError, match="late: nothing came for 2 s"):
        await pump.next(2)
    assert await pump.next(2) == 1


@virtual_time
async def test_what_a_source_raises_is_raised_where_it_is_read_after_what_it_gave() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    pump = Pump(broken(), Beside("test"), "broken")
    assert await pump.next() == 1
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await pump.next()


@virtual_time
async def test_a_source_that_closes_slowly_or_never_keeps_nobody_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[Any] = []
    beside = Beside("test")
    pump = Pump(numbers(5, log, slow_close=3), beside, "numbers")
    await pump.next()
    began = now()
    pump.leave()
    assert now() == began
    await beside.finish(10)
    assert log[-1] == "closed"
    with caplog.at_level(logging.WARNING):
        never = Pump(numbers(5, log, slow_close=20), beside, "never")
        await never.next()
        never.leave()
        await asyncio.sleep(10)
    assert "never was cancelled 5 g s ago".replace(" g", "") in caplog.text
    await beside.finish(60)


@virtual_time
async def test_who_cancels_himself_has_failed_and_cancels_nobody_else() -> None:
    async def work() -> None:
        raise asyncio.CancelledError("a scope of his")

    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError("a scope of his")

    beside = Beside("test")
    with pytest.raises(RuntimeError, match="work cancelled itself"):
        await beside.within(work(), 2, "work")
    pump = Pump(source(), beside, "source")
    assert await pump.next() == 1
    with pytest.raises(RuntimeError, match="source cancelled itself"):
        await pump.next()
