"""Call: events, handlers, idleness, longest duration, hold, and bridges."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomkit import Call, CallOptions, HookTrigger
from roomkit.errors import CallEnded
from roomkit.testing import virtual_time
from roomkit.voice.base import VoiceSessionState
from roomkit.voice.events import (
    AfterTTSEvent,
    BeforeTTSEvent,
    DTMFDetectedEvent,
    EndingSoonEvent,
    IdleEvent,
    SessionEndedEvent,
    SpeechEndEvent,
    SpeechStartEvent,
)
from support.calls import Line, a_call, say_words, soon, two_calls

QUIET = CallOptions(idle_ms=10_000)


def told(call: Call, kind: type[Any]) -> list[Any]:
    """Events of a kind with the time at which they came, in seconds from now; filled as they do."""
    loop, events = asyncio.get_running_loop(), []
    began = loop.time()
    call.on(kind, lambda event: events.append((round(loop.time() - began, 3), event)))
    return events


# --- events --------------------------------------------------------------------------------------


@virtual_time
async def test_all_events_come_in_order_and_end_with_the_call() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "1")  # before anybody looked
        await call.say("Hello.")
        await say_words(call, backend)
        kinds = []

        async def collect() -> None:
            async for event in call:
                kinds.append(type(event))
                if isinstance(event, SpeechEndEvent):
                    backend.press(call.session, "2")
                elif isinstance(event, DTMFDetectedEvent) and event.digit == "2":
                    backend.hang_up(call.session)

        await soon(collect())
        expected = [
            *(DTMFDetectedEvent, BeforeTTSEvent, AfterTTSEvent, SpeechStartEvent),
            *(SpeechEndEvent, DTMFDetectedEvent, SessionEndedEvent),
        ]
        assert [kind for kind in kinds if kind in expected] == expected
        with pytest.raises(StopAsyncIteration):
            await anext(call)


async def test_a_loop_that_was_left_goes_on_where_it_was() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "123")
        async for event in call:
            assert isinstance(event, DTMFDetectedEvent)
            assert event.digit == "1"
            break
        digits = [event.digit for event in [await anext(call), await anext(call)]]  # type: ignore[union-attr]
        assert digits == ["2", "3"]
        waiting = asyncio.create_task(anext(call))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="waits for events"):
            await anext(call)
        waiting.cancel()


async def test_events_that_nobody_takes_are_bounded_and_the_newest_stay() -> None:
    async with a_call(CallOptions(events=16)) as (call, backend):
        backend.press(call.session, "0123456789*#" * 10)
        digits = ""
        while len(digits) < 16:
            digits += (await anext(call)).digit  # type: ignore[union-attr]
        assert digits == ("0123456789*#" * 10)[-16:]


async def test_a_handler_gets_its_events_at_once_and_one_that_raises_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_call() as (call, backend):
        order: list[str] = []

        def bad(event: DTMFDetectedEvent) -> None:
            raise ValueError("bad")

        call.on(DTMFDetectedEvent, bad)
        remove = call.on(DTMFDetectedEvent, lambda event: order.append(event.digit))
        backend.press(call.session, "1")
        assert order == ["1"]
        remove()
        remove()
        backend.press(call.session, "2")
        assert order == ["1"]
        assert any("bad raised" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("plain", [True, False])
async def test_async_handlers_get_one_event_at_a_time(plain: bool) -> None:
    async with a_call() as (call, backend):
        running, order, go = 0, [], asyncio.Event()

        async def handle(event: DTMFDetectedEvent) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await go.wait()
            order.append(event.digit)
            running -= 1
            if event.digit == "4":
                over.set()

        over = asyncio.Event()
        call.on(DTMFDetectedEvent, (lambda event: handle(event)) if plain else handle)
        backend.press(call.session, "1234")
        await asyncio.sleep(0)
        go.set()
        await soon(over.wait())
        assert order == ["1", "2", "3", "4"]


@virtual_time
async def test_a_handler_that_waits_for_the_caller_ends_with_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []

    async def waits_for_a_key(event: DTMFDetectedEvent) -> None:
        try:
            await call.key()
            await call.key()
        finally:
            ended.append("key")

    async def waits_for_ever(event: DTMFDetectedEvent) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ever")

    async with a_call() as (call, backend):
        call.on(DTMFDetectedEvent, waits_for_a_key)
        call.on(DTMFDetectedEvent, waits_for_ever)
        backend.press(call.session, "1")
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        await asyncio.sleep(1)  # sleep: on virtual time
        assert ended == ["key"]
        await asyncio.sleep(2)  # sleep: on virtual time
        assert ended == ["key", "ever"]
    assert not caplog.records


@pytest.mark.parametrize(("kind", "handler"), [("IdleEvent", print), (IdleEvent, None)])
async def test_a_handler_of_nothing_is_told(kind: Any, handler: Any) -> None:
    async with a_call() as (call, _):
        with pytest.raises(TypeError, match="fits"):
            call.on(kind, handler)


# --- idle ----------------------------------------------------------------------------------------


@virtual_time
async def test_a_call_is_idle_once_until_something_happens() -> None:
    async with a_call(QUIET) as (call, backend):
        idle = told(call, IdleEvent)
        await call.key(35)
        assert [(at, event.count) for at, event in idle] == [(10, 1)]
        backend.press(call.session, "1")
        await call.key(0)
        await call.key(15)
        assert [(at, event.count) for at, event in idle] == [(10, 1), (45, 1)]


@virtual_time
async def test_what_is_played_to_an_idle_caller_gives_him_time_again_and_is_counted() -> None:
    async with a_call(QUIET) as (call, _):
        idle = told(call, IdleEvent)

        async def still_there(event: IdleEvent) -> None:
            if event.count == 3:
                await call.hang_up("idle")
            else:
                await call.say("Are you still there?")

        call.on(IdleEvent, still_there)
        with pytest.raises(CallEnded, match="idle"):
            await call.key()
        assert [(at, event.count) for at, event in idle] == [(10, 1), (20, 2), (30, 3)]


@virtual_time
async def test_while_something_goes_on_nobody_is_idle() -> None:
    async with a_call(QUIET) as (call, backend):
        idle = told(call, IdleEvent)
        backend.running.clear()
        playing = asyncio.create_task(call.say("Hello."))
        await call.key(60)
        backend.running.set()
        await playing
        await call.key(9)
        recording = asyncio.create_task(call.record(max_seconds=60))
        await asyncio.sleep(60)  # sleep: on virtual time
        await recording
        await call.key(9)
        assert idle == []
        await call.key(2)
        assert len(idle) == 1


@virtual_time
async def test_what_others_play_to_him_is_no_quiet_either() -> None:
    """An answer of a model, or of a hook."""
    async with a_call(QUIET) as (call, backend):
        idle = told(call, IdleEvent)
        backend.running.clear()
        answer = asyncio.create_task(call.channel.say(call.session, "A long answer."))
        await call.key(55)
        assert idle == []
        backend.running.set()
        await answer
        assert await call.key(9) is None
        assert idle == []
        assert await call.key(2) is None
        assert len(idle) == 1


@virtual_time
async def test_an_idle_call_is_told_to_hooks_as_well() -> None:
    async with a_call(QUIET) as (call, _):
        seen = []

        @call.kit.hook(HookTrigger.ON_IDLE)
        async def on_idle(event: IdleEvent, ctx: Any) -> None:
            seen.append((type(event), event.session))

        await call.key(11)
        assert seen == [(IdleEvent, call.session)]


# --- the longest duration ------------------------------------------------------------------------


@virtual_time(limit_s=4000)
async def test_a_call_that_is_too_long_is_warned_and_hung_up() -> None:
    options = CallOptions(max_duration_ms=3_600_000, ending_soon_ms=60_000)
    async with a_call(options) as (call, backend):
        began = asyncio.get_running_loop().time()
        warned = told(call, EndingSoonEvent)
        assert await call.ended() == "too_long"
        assert asyncio.get_running_loop().time() - began == pytest.approx(3600)
        assert [(at, event.left_ms) for at, event in warned] == [(3540, 60_000)]
        assert backend.sessions == {}


@virtual_time
async def test_a_warning_that_would_come_before_the_call_does_not() -> None:
    async with a_call(CallOptions(max_duration_ms=1000)) as (call, _):
        warned = told(call, EndingSoonEvent)
        assert await call.ended() == "too_long"
        assert warned == []


# --- hold ----------------------------------------------------------------------------------------


@virtual_time
async def test_on_hold_the_time_of_who_waits_stands_still() -> None:
    loop = asyncio.get_running_loop()
    async with a_call(QUIET) as (call, _):
        idle = told(call, IdleEvent)
        began = loop.time()
        waiting = asyncio.create_task(call.key(8))
        await asyncio.sleep(5)  # sleep: on virtual time
        await call.hold()
        states = [call.session.state]
        await asyncio.sleep(600)  # sleep: on virtual time
        assert not waiting.done()
        await call.unhold()
        states.append(call.session.state)
        assert states == [VoiceSessionState.PAUSED, VoiceSessionState.ACTIVE]
        assert await waiting is None
        assert loop.time() - began == pytest.approx(608)
        assert idle == []
        assert await call.key(8) is None
        assert [at for at, _ in idle] == [615]


@virtual_time
async def test_whoever_is_put_on_hold_by_others_is_not_idle_either() -> None:
    async with a_call(QUIET) as (call, _):
        idle = told(call, IdleEvent)
        await call.channel.hold(call.session)
        assert await call.key(100) is None
        assert idle == []
        await call.channel.resume(call.session)
        assert await call.key(30) is None
        assert len(idle) == 1


async def test_a_backend_that_cannot_hold_leaves_the_time_as_it_is() -> None:
    async with a_call() as (call, backend):

        async def cannot(session: Any) -> None:
            raise NotImplementedError

        backend.hold = cannot  # type: ignore[method-assign]
        with pytest.raises(NotImplementedError):
            await call.hold()
        assert await soon(call.key(0.001)) is None


# --- bridge --------------------------------------------------------------------------------------


async def frames(backend: Line, call: Call, pcm: bytes) -> None:
    backend.speak(call.session, pcm)
    await asyncio.sleep(0)  # the stages have their turn


async def test_bridged_callers_hear_each_other_and_press_each_other_s_keys() -> None:
    async with two_calls() as (one, other, backend):
        backend.press(one.session, "9")  # before: it is not passed on, and not lost
        bridge = asyncio.create_task(one.bridge(other))
        await asyncio.sleep(0)
        await frames(backend, one, b"\1\0" * 160)
        await frames(backend, other, b"\2\0" * 160)
        await frames(backend, one, b"\3\0" * 160)
        cushion = bytes(2 * 8 * 40)
        heard = [b"".join(c.data for c in backend.live[each.session.id]) for each in (one, other)]
        assert heard == [cushion + b"\2\0" * 160, cushion + b"\1\0" * 160 + b"\3\0" * 160]
        backend.press(one.session, "5", 20)
        backend.press(other.session, "6", 100)
        backend.press(other.session, "7", 90_000)
        assert backend.dialled == [
            (other.session.id, "5", 40),
            (one.session.id, "6", 100),
            (one.session.id, "7", 2000),
        ]
        with pytest.raises(RuntimeError, match=r"bridge\(\).* waits for keys"):
            await other.key()
        with pytest.raises(RuntimeError, match="waits for a bridge"):
            await other.bridge(one)
        await other.hang_up()
        assert await soon(bridge) is other
        await frames(backend, one, b"\4\0" * 160)
        assert await one.key(0) == "9"
        assert await one.key(0.001) is None


async def test_a_bridge_that_is_cancelled_leaves_both_calls_as_they_were() -> None:
    async with two_calls() as (one, other, backend):
        bridge = asyncio.create_task(one.bridge(other, digits=False))
        await asyncio.sleep(0)
        backend.press(one.session, "*")
        assert await soon(one.key()) == "*"
        assert backend.dialled == []
        bridge.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bridge
        await frames(backend, one, bytes(320))
        assert backend.live == {}
        backend.press(one.session, "1")
        assert await one.key(0) == "1"
        assert not one.over
        assert not other.over


async def test_a_bridge_with_nobody_is_none() -> None:
    async with two_calls() as (one, other, _):
        with pytest.raises(ValueError, match="this very call"):
            await one.bridge(one)
        with pytest.raises(TypeError, match="a Call fits"):
            await one.bridge(other.session)  # type: ignore[arg-type]
        await other.hang_up()
        assert await soon(one.bridge(other)) is other
        with pytest.raises(CallEnded):
            await other.bridge(one)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"idle_ms": 0},
        {"idle_ms": "5"},
        {"idle_ms": True},
        {"max_duration_ms": -1},
        {"ending_soon_ms": float("nan")},
        {"linger_ms": None},
        {"keys": 0},
        {"keys": 1.5},
        {"events": 1},
    ],
)
def test_options_that_cannot_be_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        CallOptions(**wrong)
