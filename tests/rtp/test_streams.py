"""Listeners are called one and all; a stream is iterated, bounded, and forgotten when dropped."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

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
    with pytest.raises(TypeError, match="a plain function fits"):
        Listeners[int]().add(callback)


def test_an_async_function_is_refused_since_nobody_would_await_it() -> None:
    async def later(item: int) -> None: ...

    with pytest.raises(TypeError, match="iterate over the session"):
        Listeners[int]().add(later)
