"""Hooks: the chain, the observers, their order, and that one harms no other."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

import pytest

from roomkit.hooks import (
    HookContext,
    HookExecution,
    HookResult,
    HookRunner,
    HookTrigger,
    speaking,
)
from roomkit.rooms import Room
from roomkit.testing import virtual_time
from roomkit.voice.base import VoiceSession
from roomkit.voice.events import DTMFDetectedEvent, ErrorEvent, TranscriptionEvent

ASYNC = HookExecution.ASYNC


def session_of(name: str = "s", room: str = "room", channel: str = "phone") -> VoiceSession:
    return VoiceSession(name, room, "someone", channel)


def runner(**options: Any) -> HookRunner:
    room = Room("room")
    return HookRunner(lambda _: HookContext(room, (), ()), **options)


def heard(text: str, session: VoiceSession | None = None) -> TranscriptionEvent:
    return TranscriptionEvent(session or session_of(), text)


def digit(key: str, session: VoiceSession) -> DTMFDetectedEvent:
    return DTMFDetectedEvent(session, key, 100)


async def test_the_chain_runs_by_priority_and_each_hook_sees_what_the_one_before_made() -> None:
    hooks, seen = runner(), []

    def adding(mark: str) -> Any:
        async def hook(event: TranscriptionEvent, ctx: HookContext) -> HookResult:
            seen.append(event.text)
            return HookResult.modify(dataclasses.replace(event, text=event.text + mark))

        return hook

    hooks.add(HookTrigger.ON_TRANSCRIPTION, adding("c"), priority=5)
    hooks.add(HookTrigger.ON_TRANSCRIPTION, adding("a"), priority=-5)
    hooks.add(HookTrigger.ON_TRANSCRIPTION, adding("b"))
    verdict = await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("x"))
    assert verdict.allowed
    assert verdict.event.text == "xabc"
    assert seen == ["x", "xa", "xab"]


async def test_a_blocked_event_reaches_neither_later_hooks_nor_observers() -> None:
    hooks, later = runner(), []

    async def block(event: Any, ctx: HookContext) -> HookResult:
        return HookResult.block("rude")

    async def record(event: Any, ctx: HookContext) -> None:
        later.append(event)

    hooks.add(HookTrigger.ON_TRANSCRIPTION, block, name="manners")
    hooks.add(HookTrigger.ON_TRANSCRIPTION, record, priority=1)
    hooks.add(HookTrigger.ON_TRANSCRIPTION, record, execution=ASYNC)
    verdict = await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("x"))
    await hooks.drain(1)
    assert (verdict.allowed, verdict.reason, verdict.hook) == (False, "rude", "manners")
    assert later == []


async def test_successive_digits_keep_their_order_when_the_hook_takes_its_time() -> None:
    hooks, session, seen = runner(), session_of(), []
    gates = {key: asyncio.Event() for key in "12"}

    async def slow(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        await gates[event.digit].wait()
        seen.append(event.digit)

    hooks.add(HookTrigger.ON_DTMF, slow, execution=ASYNC)
    for key in "12":
        hooks.emit(HookTrigger.ON_DTMF, digit(key, session))
    gates["2"].set()
    await turns()
    assert seen == []
    gates["1"].set()
    await hooks.drain(1)
    assert seen == ["1", "2"]


async def test_a_hook_that_hangs_holds_up_neither_other_hooks_nor_other_sessions() -> None:
    hooks, seen = runner(), []
    never = asyncio.Event()

    async def hang(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        if event.session.id == "a":
            await never.wait()
        seen.append(("hang", event.session.id))

    async def other(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        seen.append(("other", event.session.id))

    hooks.add(HookTrigger.ON_DTMF, hang, execution=ASYNC)
    hooks.add(HookTrigger.ON_DTMF, other, execution=ASYNC)
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session_of("a")))
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session_of("b")))
    await turns()
    assert sorted(seen) == [("hang", "b"), ("other", "a"), ("other", "b")]
    never.set()
    await hooks.drain(1)


async def test_a_raising_hook_is_logged_by_name_reported_and_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, errors, seen = runner(), [], []

    async def bad(event: Any, ctx: HookContext) -> None:
        raise LookupError("lost")

    async def good(event: Any, ctx: HookContext) -> None:
        seen.append(event.text)

    async def on_error(event: ErrorEvent, ctx: HookContext) -> None:
        errors.append((event.where, type(event.error)))

    hooks.add(HookTrigger.ON_TRANSCRIPTION, bad, name="greeter")
    hooks.add(HookTrigger.ON_TRANSCRIPTION, good, priority=1)
    hooks.add(HookTrigger.ON_ERROR, on_error, execution=ASYNC)
    verdict = await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("secret"))
    await hooks.drain(1)
    assert verdict.allowed
    assert seen == ["secret"]
    assert errors == [("hook greeter", LookupError)]
    assert "greeter" in caplog.text
    assert "secret" not in caplog.text


async def test_an_error_hook_that_raises_does_not_call_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, calls = runner(), 0

    async def on_error(event: ErrorEvent, ctx: HookContext) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("again")

    hooks.add(HookTrigger.ON_ERROR, on_error, execution=ASYNC)
    hooks.report(session_of(), "somewhere", RuntimeError("first"))
    await hooks.drain(1)
    assert calls == 1


@pytest.mark.parametrize("execution", list(HookExecution))
async def test_a_hook_that_takes_too_long_is_cancelled_and_reported(
    execution: HookExecution, caplog: pytest.LogCaptureFixture
) -> None:
    hooks, errors = runner(), []
    cancelled = asyncio.Event()

    async def hang(event: Any, ctx: HookContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def on_error(event: ErrorEvent, ctx: HookContext) -> None:
        errors.append(str(event.error))

    hooks.add(HookTrigger.ON_TRANSCRIPTION, hang, execution=execution, timeout=0.001)
    hooks.add(HookTrigger.ON_ERROR, on_error)
    await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("x"))
    await asyncio.wait_for(cancelled.wait(), 5)
    await hooks.drain(5)
    assert errors == ["took longer than 0.001 s and was cancelled"]


@pytest.mark.parametrize("wrong", ["text", HookResult.modify("x"), HookResult.modify(None)])
async def test_a_result_that_does_not_fit_is_reported_and_the_event_passes_unchanged(
    wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hooks, errors = runner(), []

    async def hook(event: Any, ctx: HookContext) -> Any:
        return wrong

    async def on_error(event: ErrorEvent, ctx: HookContext) -> None:
        errors.append(type(event.error))

    hooks.add(HookTrigger.ON_TRANSCRIPTION, hook)
    hooks.add(HookTrigger.ON_ERROR, on_error)
    verdict = await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("x"))
    await hooks.drain(1)
    assert verdict.allowed
    assert verdict.event.text == "x"
    assert errors == [TypeError]


async def test_a_full_queue_drops_counts_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, session, seen = runner(limit=3), session_of(), []
    gate = asyncio.Event()

    async def slow(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        await gate.wait()
        seen.append(event.digit)

    hooks.add(HookTrigger.ON_DTMF, slow, execution=ASYNC)
    for key in "1234567":
        hooks.emit(HookTrigger.ON_DTMF, digit(key, session))
        await turns()
    gate.set()
    await hooks.drain(1)
    # One runs, three wait.
    assert seen == ["1", "2", "3", "4"]
    assert hooks.dropped == 3
    assert sum("dropped" in record.message for record in caplog.records) == 1


async def test_filters_let_only_their_channels_and_rooms_through() -> None:
    hooks, seen = runner(), []

    async def hook(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        seen.append(event.session.id)

    hooks.add(HookTrigger.ON_DTMF, hook, channel_ids=["phone"], room_ids=["room"])
    for name, room, channel in [("a", "room", "phone"), ("b", "other", "phone"), ("c", "room", "")]:
        hooks.emit(HookTrigger.ON_DTMF, digit("1", session_of(name, room, channel)))
    await hooks.drain(1)
    assert seen == ["a"]


async def test_a_removed_hook_is_called_no_more_and_removing_it_twice_does_no_harm() -> None:
    hooks, seen = runner(), []

    async def hook(event: Any, ctx: HookContext) -> None:
        seen.append(event.text)

    remove = hooks.add(HookTrigger.ON_TRANSCRIPTION, hook)
    await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("1"))
    remove()
    remove()
    await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("2"))
    assert seen == ["1"]
    assert hooks.remove(hook) == 0


async def test_drain_cancels_what_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    hooks = runner()
    ended = asyncio.Event()

    async def hang(event: Any, ctx: HookContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    hooks.add(HookTrigger.ON_DTMF, hang, execution=ASYNC, timeout=None)
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session_of()))
    await hooks.drain(0.01)
    await asyncio.wait_for(ended.wait(), 5)
    assert "cancelled" in caplog.text


async def test_no_repr_or_log_at_info_tells_digits_or_texts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert "7" not in repr(dataclasses.replace(digit("7", session_of()), session=None))  # type: ignore[arg-type]
    assert "secret" not in repr(heard("secret"))


def plain(event: Any, ctx: Any) -> None:
    """Not async."""


async def too_few(event: Any) -> None:
    """One argument short."""


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (plain, "plain is not async; `async def plain"),
        (too_few, r"too_few must take \(event, ctx\)"),
        ("text", "not callable"),
    ],
)
def test_a_handler_that_cannot_be_one_is_refused_at_registration(
    handler: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        runner().add(HookTrigger.ON_DTMF, handler)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"execution": "later"},
        {"channel_ids": "phone"},
        {"room_ids": "room"},
    ],
)
def test_an_option_that_does_not_fit_is_named(wrong: dict[str, Any]) -> None:
    async def hook(event: Any, ctx: Any) -> None: ...

    with pytest.raises(ValueError, match=next(iter(wrong))):
        runner().add(HookTrigger.ON_DTMF, hook, **wrong)
    with pytest.raises(ValueError, match="trigger"):
        runner().add("on_moon", hook)  # type: ignore[arg-type]


async def turns(count: int = 10) -> None:
    """Lets everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_watcher_is_told_at_once_before_any_hook_and_until_it_goes() -> None:
    hooks, session, seen = runner(), session_of(), []

    async def hook(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        seen.append(("hook", event.digit))

    hooks.add(HookTrigger.ON_DTMF, hook)
    remove = hooks.watch(session, lambda trigger, event: seen.append((str(trigger), event.digit)))
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session))
    assert seen == [("on_dtmf", "1")]
    remove()
    remove()
    hooks.emit(HookTrigger.ON_DTMF, digit("2", session))
    await hooks.drain(1)
    assert seen == [("on_dtmf", "1"), ("hook", "1"), ("hook", "2")]


@virtual_time
async def test_a_hook_that_speaks_holds_up_neither_its_own_trigger_nor_another() -> None:
    hooks, session, seen = runner(), session_of(), []
    spoken = asyncio.Event()

    async def greet(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        with speaking():
            await spoken.wait()
        seen.append("greet " + event.digit)

    async def later(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        seen.append("later " + event.digit)

    async def other(event: Any, ctx: HookContext) -> None:
        seen.append("other")

    hooks.add(HookTrigger.ON_DTMF, greet, timeout=0.01)
    hooks.add(HookTrigger.ON_DTMF, later, priority=1)
    hooks.add(HookTrigger.ON_TURN_ENDED, other)
    for key in "12":
        hooks.emit(HookTrigger.ON_DTMF, digit(key, session))
    hooks.emit(HookTrigger.ON_TURN_ENDED, heard("x", session))
    await asyncio.sleep(0.05)  # longer than its time
    assert seen == ["other", "later 1", "later 2"]
    spoken.set()
    await hooks.drain(1)
    assert seen[3:] == ["greet 1", "greet 2"]


@virtual_time
async def test_the_time_of_a_hook_that_spoke_runs_on_afterwards() -> None:
    hooks, session, errors = runner(), session_of(), []

    async def hook(event: Any, ctx: HookContext) -> None:
        with speaking():
            await asyncio.sleep(0.03)
        await asyncio.Event().wait()

    async def on_error(event: ErrorEvent, ctx: HookContext) -> None:
        errors.append(str(event.error))

    hooks.add(HookTrigger.ON_DTMF, hook, timeout=0.01)
    hooks.add(HookTrigger.ON_ERROR, on_error)
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session))
    await hooks.drain(5)
    assert errors == ["took longer than 0.01 s and was cancelled"]


async def test_a_handler_of_several_triggers_gets_everything_in_order() -> None:
    hooks, session, seen = runner(), session_of(), []

    async def note(event: Any, ctx: HookContext) -> None:
        await turns(3)
        seen.append(event.digit)

    hooks.add(HookTrigger.ON_DTMF, note)
    hooks.add(HookTrigger.ON_IDLE, note, execution=ASYNC)
    for number, key in enumerate("123456"):
        trigger = HookTrigger.ON_IDLE if number % 2 else HookTrigger.ON_DTMF
        hooks.emit(trigger, digit(key, session))
    await hooks.drain(1)
    assert seen == list("123456")


async def test_hooks_begin_in_the_order_of_what_happened_across_triggers() -> None:
    hooks, session, seen = runner(), session_of(), []
    order = (
        HookTrigger.ON_SPEECH_START,
        HookTrigger.ON_PARTIAL_TRANSCRIPTION,
        HookTrigger.ON_SPEECH_END,
    )

    def noting(trigger: HookTrigger) -> Any:
        async def note(event: Any, ctx: HookContext) -> None:
            await turns(2)
            seen.append(trigger)

        return note

    for trigger in (HookTrigger.ON_TRANSCRIPTION, *order):
        hooks.add(trigger, noting(trigger))
    for trigger in order:
        hooks.emit(trigger, heard("x", session))
    await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("x", session))
    await hooks.drain(1)
    assert seen == [*order, HookTrigger.ON_TRANSCRIPTION]


async def test_a_hook_that_drains_is_not_waited_for_by_itself() -> None:
    hooks, session, seen = runner(), session_of(), []

    async def hook(event: Any, ctx: HookContext) -> None:
        await asyncio.create_task(hooks.drain(5))  # from a task of its own as well
        seen.append("drained")

    hooks.add(HookTrigger.ON_DTMF, hook)
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session))
    await asyncio.wait_for(hooks.drain(5), 1)
    assert seen == ["drained"]


async def test_what_a_chain_hook_does_by_way_of_itself_does_not_wait_for_itself() -> None:
    hooks, session, seen = runner(), session_of(), []

    async def hook(event: Any, ctx: HookContext) -> None:
        seen.append(type(event).__name__)
        if isinstance(event, DTMFDetectedEvent):
            await hooks.run(HookTrigger.ON_TRANSCRIPTION, heard("x", session))

    hooks.add(HookTrigger.ON_DTMF, hook)
    hooks.add(HookTrigger.ON_TRANSCRIPTION, hook)
    hooks.emit(HookTrigger.ON_DTMF, digit("1", session))
    await asyncio.wait_for(hooks.drain(5), 1)
    assert seen == ["DTMFDetectedEvent", "TranscriptionEvent"]
