"""Listeners are called one and all; a stream is iterated, bounded, and forgotten when dropped."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from interop.peers import until
from roomkit.rtp.streams import Listeners, Stream


def make(limit: int = 4) -> tuple[Listeners[int], Stream[int], list[int]]:
    listeners: Listeners[int] = Listeners()
    drops: list[int] = []
    return listeners, Stream(listeners, limit, lambda: drops.append(1)), drops


async def test_items_come_in_order_and_the_end_comes_after_them() -> None:
    listeners, stream, _ = make()
    for item in range(3):
        listeners.call(item)
    stream.finish()
    assert [item async for item in stream] == [0, 1, 2]


async def test_a_waiting_consumer_is_woken_by_an_item_and_by_the_end() -> None:
    listeners, stream, _ = make()
    consumer = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    listeners.call(7)
    assert await consumer == 7
    consumer = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    stream.finish()
    with pytest.raises(StopAsyncIteration):
        await consumer


@pytest.mark.parametrize(("items", "left", "dropped"), [(4, [0, 1, 2, 3], 0), (6, [2, 3, 4, 5], 2)])
async def test_when_full_the_oldest_is_dropped_and_counted(
    items: int, left: list[int], dropped: int
) -> None:
    listeners, stream, drops = make(limit=4)
    for item in range(items):
        listeners.call(item)
    stream.finish()
    assert [item async for item in stream] == left
    assert len(drops) == dropped


async def test_two_streams_each_get_everything() -> None:
    listeners, first, _ = make()
    second: Stream[int] = Stream(listeners, 4, lambda: None)
    listeners.call(1)
    assert [await anext(first), await anext(second)] == [1, 1]


async def test_breaking_out_of_the_loop_ends_the_listening() -> None:
    listeners, stream, _ = make()
    listeners.call(1)
    async for _ in stream:
        break
    del stream
    gc.collect()
    assert listeners.calls == ()


async def test_a_consumer_that_was_cancelled_may_come_again() -> None:
    listeners, stream, _ = make()
    consumer = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    consumer.cancel()
    await asyncio.wait((consumer,))
    listeners.call(3)
    assert await anext(stream) == 3


def test_a_listener_that_raises_is_logged_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []

    def broken(item: int) -> None:
        raise RuntimeError("mine")

    listeners.add(broken)
    listeners.add(heard.append)
    with caplog.at_level(logging.ERROR):
        listeners.call(1)
    assert heard == [1]
    assert "mine" in caplog.text


def test_unsubscribing_is_idempotent_and_takes_back_one_registration() -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []
    once = listeners.add(heard.append)
    listeners.add(heard.append)
    once()
    once()
    listeners.call(1)
    assert heard == [1]


def test_a_listener_may_unsubscribe_itself() -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []

    def only_once(item: int) -> None:
        heard.append(item)
        unsubscribe()

    unsubscribe = listeners.add(only_once)
    listeners.add(heard.append)
    listeners.call(1)
    listeners.call(2)
    assert heard == [1, 1, 2]


@pytest.mark.parametrize("callback", [None, 5, "print"])
def test_only_what_can_be_called_is_taken(callback: Any) -> None:
    with pytest.raises(TypeError, match="a function fits"):
        Listeners[int]().add(callback)


async def test_two_tasks_cannot_wait_at_the_same_iterator() -> None:
    listeners, stream, _ = make()
    first = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task waits for the next item"):
        await anext(stream)
    listeners.call(1)
    assert await first == 1
    listeners.call(2)
    assert await anext(stream) == 2


async def test_of_two_tasks_that_take_turns_until_one_waits_the_other_is_told() -> None:
    listeners, stream, _ = make()
    first = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    listeners.call(1)
    assert await anext(stream) == 1  # it came first to what the other was woken for
    second = asyncio.create_task(anext(stream))
    done, _ = await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
    assert isinstance(done.pop().exception(), RuntimeError)
    listeners.call(2)
    assert await (second if first.done() else first) == 2


class AsyncCall:
    def __init__(self, work: Callable[[int], Awaitable[None]]) -> None:
        self.work = work

    async def __call__(self, item: int) -> None:
        await self.work(item)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda work: work,
        functools.partial,
        AsyncCall,
        lambda work: lambda item: work(item),
        lambda work: functools.partial(functools.partial(work)),
    ],
    ids=["async function", "partial", "object", "lambda", "partial of partial"],
)
async def test_what_a_callback_returns_is_awaited_in_order(
    wrap: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    listeners: Listeners[int] = Listeners()
    seen: list[tuple[str, int]] = []
    go = asyncio.Event()

    async def work(item: int) -> None:
        await go.wait()
        seen.append(("work", item))
        if item == 2:
            raise LookupError("of its own")

    unsubscribe = listeners.add(wrap(work))
    listeners.add(lambda item: seen.append(("plain", item)))
    for item in (1, 2, 3):
        listeners.call(item)
    assert seen == [("plain", 1), ("plain", 2), ("plain", 3)]  # it waits for nobody
    unsubscribe()
    go.set()
    await until(lambda: len(seen) >= 6, "all were awaited")
    assert seen[3:] == [("work", 1), ("work", 2), ("work", 3)]
    assert "of its own" in caplog.text


async def test_a_slow_async_callback_collects_no_more_than_its_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listeners: Listeners[int] = Listeners()
    seen: list[int] = []
    go = asyncio.Event()

    async def slow(item: int) -> None:
        await go.wait()
        seen.append(item)

    listeners.add(slow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one that was never awaited would be told here
        for item in range(300):
            listeners.call(item)
        gc.collect()
    go.set()
    await until(lambda: len(seen) >= 256, "all were awaited")
    assert seen == list(range(256))
    assert caplog.text.count("slower than its events") == 1
