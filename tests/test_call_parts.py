"""What a `Call` is made of: keys, waiting, claims, idleness, the inbox."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit._calls.idle import Quiet
from roomkit._calls.inbox import Inbox
from roomkit._calls.keys import KEYS, Keys, check_keys
from roomkit._calls.waits import Claims, Waits, check_seconds
from roomkit.testing import virtual_time
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.events import SpeechEndEvent

# --- keys ----------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.sampled_from(KEYS), st.integers(1, 4), st.just("remove"))))
def test_keys_leave_in_the_order_in_which_they_came_and_none_twice(steps: list[Any]) -> None:
    keys, model, taken, expected = Keys(5), list[str](), "", ""
    for step in steps:
        if isinstance(step, int):
            count = min(step, len(keys))
            taken += keys.take(count)
            expected += "".join(model[:count])
            del model[:count]
        elif step == "remove":
            press = keys.first_of("#", 0)
            assert (press is not None) is ("#" in model)
            if press is not None:
                keys.remove(press)
                model.remove("#")
        elif keys.press(step):
            model.append(step)
        else:
            assert len(model) == 5
        assert [press.digit for press in keys] == model
    assert taken == expected


def test_the_first_of_some_keys_from_a_number_on() -> None:
    keys = Keys(10)
    for digit in "1#2#":
        keys.press(digit)
    first, second = keys.first_of("#", 0), keys.first_of("#", 2)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (1, 3)
    assert keys.first_of("#", 4) is None
    assert keys.first_of("", 0) is None
    assert keys.clear() == 4
    assert keys.pressed == 4


@pytest.mark.parametrize("wrong", ["", "12x", 5, None, "1 2"])
def test_keys_that_are_none_are_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="terminator") as info:
        check_keys(wrong, "terminator")
    assert "12x" not in str(info.value)
    assert check_keys("abc#", "terminator") == "ABC#"


# --- waiting -------------------------------------------------------------------------------------


@virtual_time
async def test_what_is_so_already_is_not_waited_for_whatever_the_time() -> None:
    waits = Waits()
    assert await waits.until(lambda: True, 0)
    assert not await waits.until(lambda: False, 0)
    waits.end()
    assert await waits.until(lambda: True)
    assert not await waits.until(lambda: False)


@virtual_time
async def test_something_and_the_time_out_at_one_moment_is_something() -> None:
    waits, things = Waits(), list[int]()
    loop = asyncio.get_running_loop()

    def come() -> None:
        things.append(1)
        waits.wake()

    waiting = asyncio.create_task(waits.until(lambda: things, 1))
    await asyncio.sleep(0)
    loop.call_later(1, come)
    assert await waiting or things  # whoever sees a time-out finds nothing taken
    assert things == [1]


@virtual_time
async def test_held_time_is_no_time_however_often_it_is_held() -> None:
    waits, loop = Waits(), asyncio.get_running_loop()
    began = loop.time()
    waiting = asyncio.create_task(waits.until(lambda: False, 1))
    for _ in range(10):
        await asyncio.sleep(0.05)  # sleep: on virtual time
        waits.hold(True)
        waits.hold(True)
        await asyncio.sleep(10)  # sleep: on virtual time
        waits.hold(False)
    assert not await waiting
    assert loop.time() - began == pytest.approx(101)


@virtual_time
async def test_one_who_is_held_when_he_begins_waits_from_the_end_of_that_on() -> None:
    waits, loop = Waits(), asyncio.get_running_loop()
    waits.hold(True)
    began = loop.time()
    waiting = asyncio.create_task(waits.until(lambda: False, 0))
    await asyncio.sleep(5)  # sleep: on virtual time
    assert not waiting.done()
    waits.hold(False)
    assert not await waiting
    assert loop.time() - began == 5


@virtual_time
async def test_nothing_is_left_of_whoever_was_cancelled() -> None:
    waits = Waits()
    tasks = [asyncio.create_task(waits.until(lambda: False, 100)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not waits._sleepers
    loop: Any = asyncio.get_running_loop()
    assert loop.timers() == []


async def test_claims_are_given_back_however_it_ends() -> None:
    claims = Claims()

    def take(who: str, *things: str) -> None:
        with claims.of(who, *things):
            pass

    def fail() -> None:
        with claims.of("a()", "keys", "speech"):
            with pytest.raises(RuntimeError, match=r"b\(\): a\(\) in task .* waits for speech"):
                take("b()", "events", "speech")
            take("c()", "events")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    with claims.of("d()", "keys", "speech", "events"):
        pass


@pytest.mark.parametrize("wrong", [-1, 86_401, float("nan"), float("inf"), "5", True])
def test_seconds_that_cannot_be(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="timeout"):
        check_seconds(wrong, "timeout")
    check_seconds(None, "timeout")
    check_seconds(0, "timeout")


# --- idle ----------------------------------------------------------------------------------------


def test_quiet_is_told_once_until_something_is_heard_or_played() -> None:
    quiet = Quiet(10, 0)
    assert [quiet.due_ms][0] == 10
    assert quiet.poll(9.9) is None
    assert quiet.poll(10) == 1
    assert [quiet.due_ms] == [None]
    assert quiet.poll(100) is None
    quiet.played(100)
    assert quiet.poll(109) is None
    assert quiet.poll(110) == 2
    quiet.heard(115)
    assert quiet.poll(125) == 1


def test_what_goes_on_is_no_quiet_however_much_of_it_there_is() -> None:
    quiet = Quiet(10, 0)
    quiet.busy(5, "speech", True)
    quiet.busy(6, "playing", True)
    quiet.busy(50, "speech", False)
    assert [quiet.due_ms] == [None]
    assert quiet.poll(100) is None
    quiet.busy(100, "playing", False)
    quiet.busy(101, "never began", False)
    assert [quiet.due_ms][0] == 111


# --- the inbox -----------------------------------------------------------------------------------


def test_the_inbox_keeps_the_newest_and_few_utterances() -> None:
    inbox: Inbox[Any] = Inbox(100)
    for n in range(150):
        inbox.put(n)
    assert inbox.dropped == 50
    assert inbox.take() == 50
    session = VoiceSession("id", "room", "caller", "phone")
    for n in range(10):
        inbox.put(SpeechEndEvent(session, AudioChunk(bytes(2), 8000), float(n)))
    kept = [inbox.take() for _ in range(len(inbox))]
    assert [event.timestamp_ms for event in kept if isinstance(event, SpeechEndEvent)] == [7, 8, 9]
    assert len(inbox) == 0
    small: Inbox[Any] = Inbox(16)
    small.put(SpeechEndEvent(session, AudioChunk(bytes(2), 8000)))
    assert len(small) == 1
