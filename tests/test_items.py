"""Sources of every kind are read without stopping the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from interop.peers import until
from roomkit._items import Items

NAME = contextvars.ContextVar("NAME", default="nobody")


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "roomkit-source"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in reading_threads():
        thread.join(5)
    assert not reading_threads()


async def read(source: Any) -> list[Any]:
    items = Items(source)
    try:
        return [item async for item in items]
    finally:
        await items.aclose()


async def asynchronous() -> AsyncIterator[int]:
    for number in (1, 2, 3):
        yield number


@pytest.mark.parametrize(
    "make",
    [
        lambda: [1, 2, 3],
        lambda: (1, 2, 3),
        lambda: iter([1, 2, 3]),
        lambda: (number for number in (1, 2, 3)),
        lambda: map(int, "123"),
        lambda: {1: "", 2: "", 3: ""},
        lambda: range(1, 4),
        asynchronous,
    ],
    ids=["list", "tuple", "iterator", "generator", "map", "dict", "range", "async"],
)
async def test_the_items_of_every_kind_of_source(make: Callable[[], Any]) -> None:
    assert await read(make()) == [1, 2, 3]


async def test_a_generator_that_blocks_does_not_stop_the_loop() -> None:
    turns, go = [], threading.Event()

    def blocks() -> Iterator[str]:
        turns.append("blocks")
        assert go.wait(5)
        yield "through"

    reading = asyncio.create_task(read(blocks()))
    await until(lambda: bool(turns), "it blocks")  # while the loop turns
    go.set()
    assert await reading == ["through"]


async def test_a_list_is_read_here_and_all_of_a_generator_in_one_other_thread() -> None:
    def who() -> Iterator[threading.Thread]:
        for _ in range(5):
            yield threading.current_thread()

    threads = await read(who())
    assert len(set(threads)) == 1
    assert threading.current_thread() not in threads
    before = threading.active_count()
    items = Items([1])
    assert await anext(items) == 1
    assert threading.active_count() == before


async def test_what_a_generator_raises_is_raised_where_it_is_read() -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise LookupError("no voice")

    items = Items(breaks())
    assert await anext(items) == 1
    with pytest.raises(LookupError, match="no voice"):
        await anext(items)
    await items.aclose()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_so_it_is_with_what_is_no_exception(error: type[BaseException]) -> None:
    def breaks() -> Iterator[int]:
        yield from ()
        raise error("enough")

    with pytest.raises(error):
        await read(breaks())


async def test_stop_iteration_within_a_generator_is_its_own_fault() -> None:
    def slips() -> Iterator[int]:
        yield next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await read(slips())


async def test_the_context_of_the_reader_is_seen_and_kept_between_items() -> None:
    def sees() -> Iterator[str]:
        yield NAME.get()
        NAME.set("the generator's own")
        yield NAME.get()
        yield NAME.get()

    NAME.set("alice")
    assert await read(sees()) == ["alice", "the generator's own", "the generator's own"]
    assert NAME.get() == "alice"


async def test_closing_closes_a_generator_in_its_thread_before_it_returns() -> None:
    closed: list[threading.Thread] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread())

    items = Items(endless())
    await anext(items)
    (thread,) = reading_threads()
    await items.aclose()
    await items.aclose()
    assert closed == [thread]
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_one_that_blocks_is_closed_when_it_gives_control_back() -> None:
    go, blocks, closed = threading.Event(), threading.Event(), threading.Event()

    def waits() -> Iterator[int]:
        try:
            blocks.set()
            assert go.wait(5)
            yield 1
        finally:
            closed.set()

    items = Items(waits())
    reading = asyncio.ensure_future(anext(items))
    await asyncio.to_thread(blocks.wait, 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(items.aclose(), 1)  # and not after five seconds
    assert not closed.is_set()
    go.set()
    assert await asyncio.to_thread(closed.wait, 5)


async def test_what_closing_raises_is_raised_or_told(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def stubborn(waits: bool) -> Iterator[int]:
        try:
            yield 1
            if waits:
                assert go.wait(5)
            yield 2
        finally:
            raise OSError("does not close")

    idle = Items(stubborn(False))
    await anext(idle)
    with pytest.raises(OSError, match="does not close"):
        await idle.aclose()

    busy = Items(stubborn(True))
    await anext(busy)
    reading = asyncio.ensure_future(anext(busy))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait((reading,))
    await busy.aclose()
    go.set()
    for thread in reading_threads():
        await asyncio.to_thread(thread.join, 5)
    assert "did not close cleanly" in caplog.text


async def test_an_object_and_what_iterates_it_are_both_closed() -> None:
    closed: list[str] = []

    class Plain:
        def __iter__(self) -> Iterator[int]:
            try:
                yield 1
            finally:
                closed.append("iterator")

        def close(self) -> None:
            closed.append("object")

    class Asynchronous:
        async def __aiter__(self) -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                closed.append("iterator")

        async def aclose(self) -> None:
            closed.append("object")

    for source in (Plain(), Asynchronous()):
        items = Items(source)
        assert await anext(items) == 1
        await items.aclose()
        assert closed == ["iterator", "object"]
        closed.clear()


async def test_a_source_that_was_never_read_is_closed_without_a_thread() -> None:
    class Source:
        closed = 0

        def __iter__(self) -> Iterator[int]:
            raise AssertionError("nobody asked")

        def close(self) -> None:
            self.closed += 1

    source = Source()
    items = Items(source)
    await items.aclose()
    assert source.closed == 1
    assert not reading_threads()


def test_a_loop_that_ends_in_the_middle_leaves_no_one_waiting() -> None:
    go = threading.Event()

    def waits() -> Iterator[int]:
        assert go.wait(5)
        yield 1

    async def main() -> None:
        task = asyncio.create_task(read(waits()))
        await until(lambda: bool(reading_threads()), "it is read")
        assert not task.done()

    asyncio.run(main())  # cancels the task, and ends
    go.set()
    gc.collect()


async def test_one_that_was_forgotten_ends_its_thread() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    assert await anext(Items(endless())) == 1
    gc.collect()
    assert await asyncio.to_thread(closed.wait, 5)


@pytest.mark.parametrize(
    "make", [asynchronous, lambda: iter([1, 2, 3]), lambda: (n for n in (1, 2))]
)
async def test_two_cannot_read_one_iterator(make: Callable[[], Any]) -> None:
    source = make()
    first = Items(source)
    assert await anext(first) == 1
    with pytest.raises(RuntimeError, match="is played already"):
        Items(source)
    assert await anext(first) == 2
    await first.aclose()
    await Items(source).aclose()  # one after the other there may be


async def test_what_can_be_iterated_again_may_be_read_by_two() -> None:
    numbers = range(1, 4)
    assert list(await asyncio.gather(read(numbers), read(numbers))) == [[1, 2, 3], [1, 2, 3]]
