"""CallbackList: many callbacks, sync and async, none of which harms another."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from roomkit.voice.base import VoiceSession
from roomkit.voice.callbacks import CallbackList


def session(name: str = "a") -> VoiceSession:
    return VoiceSession(name, "room", "ann", "phone")


def test_callbacks_are_called_in_order_and_a_raising_one_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls, seen = CallbackList("on_thing"), []

    def bad(_: VoiceSession, value: int) -> None:
        seen.append(("bad", value))
        raise LookupError

    calls.add(bad)
    calls.add(lambda _, value: seen.append(("good", value)))
    calls.fire(session(), 1)
    assert seen == [("bad", 1), ("good", 1)]
    assert "bad" in caplog.text


def test_unsubscribing_is_idempotent_and_ends_that_registration_only() -> None:
    calls, seen = CallbackList("on_thing"), []

    def callback(_: VoiceSession, value: int) -> None:
        seen.append(value)

    first, second = calls.add(callback), calls.add(callback)
    first()
    first()
    calls.fire(session(), 1)
    assert seen == [1]
    second()
    calls.fire(session(), 2)
    assert seen == [1]
    assert len(calls) == 0


def test_a_callback_may_unsubscribe_itself_and_others_while_it_runs() -> None:
    calls, seen = CallbackList("on_thing"), []

    def once(_: VoiceSession) -> None:
        seen.append("once")
        unsubscribe()

    unsubscribe = calls.add(once)
    calls.add(lambda _: seen.append("always"))
    calls.fire(session())
    calls.fire(session())
    assert seen == ["once", "always", "always"]


async def test_an_async_callback_is_awaited_in_order_per_session() -> None:
    calls, seen = CallbackList("on_thing"), []
    gate = asyncio.Event()

    async def slow(who: VoiceSession, value: int) -> None:
        if (who.id, value) == ("a", 1):
            await gate.wait()
        seen.append((who.id, value))

    calls.add(slow)
    a, b = session("a"), session("b")
    for value in (1, 2):
        calls.fire(a, value)
        calls.fire(b, value)
    for _ in range(10):
        await asyncio.sleep(0)
    assert seen == [("b", 1), ("b", 2)]
    gate.set()
    await calls.join()
    assert seen[2:] == [("a", 1), ("a", 2)]


async def test_a_raising_async_callback_is_logged_and_goes_on_with_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls, seen = CallbackList("on_thing"), []

    async def bad(_: VoiceSession, value: int) -> None:
        seen.append(value)
        raise LookupError

    calls.add(bad)
    calls.fire(session(), 1)
    calls.fire(session(), 2)
    await calls.join()
    assert seen == [1, 2]
    assert caplog.text.count("bad raised") == 1, "the same fault of a moment ago"


async def test_a_slow_async_callback_collects_no_more_than_its_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls, seen = CallbackList("on_thing", limit=2), []

    async def slow(_: VoiceSession, value: int) -> None:
        seen.append(value)

    calls.add(slow)
    for value in range(5):
        calls.fire(session(), value)
    await calls.join()
    assert seen == [0, 1]
    assert calls.dropped == 3


class Caller:
    async def __call__(self, who: VoiceSession, value: int) -> None:
        self.value = value


async def test_every_kind_of_async_callable_is_awaited() -> None:
    calls, seen, caller = CallbackList("on_thing"), [], Caller()

    async def function(mark: str, _: VoiceSession, value: int) -> None:
        seen.append((mark, value))

    calls.add(functools.partial(function, "partial"))
    calls.add(lambda who, value: function("lambda", who, value))
    calls.add(caller)
    calls.fire(session(), 7)
    await calls.join()
    assert sorted(seen) == [("lambda", 7), ("partial", 7)]
    assert caller.value == 7


def test_what_cannot_be_called_is_refused() -> None:
    wrong: Any = "text"
    with pytest.raises(TypeError, match="on_thing"):
        CallbackList("on_thing").add(wrong)
