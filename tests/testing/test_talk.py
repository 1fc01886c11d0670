"""Conversations in tests: what is expected, what is not met, and nothing left at the end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from roomkit import AudioPipelineConfig, HookTrigger, VoiceBackend
from roomkit.testing import (
    FakeBackend,
    FakeModel,
    FakeSTT,
    FakeTTS,
    NetworkPath,
    ScriptedVAD,
    StuckError,
    Talk,
    conversation,
    run,
    virtual_time,
)

TABLES = {"two": "A table for two. Smoking or not?", "not": "Very well."}


@virtual_time
async def test_a_conversation_is_heard_and_said_and_written_down() -> None:
    async with conversation(model=TABLES) as talk:
        await talk.caller.says("two please")
        begun_ms = await talk.expect_heard("A table")
        ended_ms = await talk.expect_heard("Smoking or not?")
        assert 1200 < begun_ms < begun_ms + 1000 < ended_ms
        await talk.expect_said("A table for two.  Smoking or not?")
        await talk.caller.says("not")
        await talk.expect_said("Very well.")
        await talk.expect_heard("Very well.")
        assert talk.caller.heard_text == "A table for two. Smoking or not? Very well."
        await talk.caller.hangs_up()
        event = await talk.expect_event(HookTrigger.ON_SESSION_ENDED)
        assert event.reason == "bye"
    assert talk.transcript == [
        ("caller", "two please"),
        ("we", "A table for two. Smoking or not?"),
        ("caller", "not"),
        ("we", "Very well."),
    ]
    assert [type(event).__name__ for event in talk.events][:2] == [
        "SessionStartedEvent",
        "SpeechStartEvent",
    ]


def test_it_is_the_same_to_the_byte_each_time() -> None:
    async def call(seed: int) -> str:
        async with conversation(model=TABLES, seed=seed, path=NetworkPath(loss=0.02)) as talk:
            talk.caller.noise(-50)
            await talk.caller.says("two please")
            await talk.waits(4)
            talk.caller.presses("12")
            await talk.caller.says("not")
            await talk.waits(3)
        return talk.log()

    logs = {run(call(7)) for _ in range(5)}
    assert len(logs) == 1
    assert logs != {run(call(8))}


_SCRIPT = """
import asyncio
from roomkit.testing import NetworkPath, conversation, run

async def call():
    async with conversation(
        model={"two": "A table for two. Smoking or not?", "not": "Very well."},
        path=NetworkPath(loss=0.03),
        barge_in=True,
    ) as talk:
        talk.caller.noise(-50)
        await talk.caller.says("two please")
        await talk.expect_event("on_speech_end")
        await talk.waits(0.8)
        await talk.caller.says("not")
        talk.caller.presses("12")
        await talk.waits(3)
    print(talk.log())

run(call())
"""


def test_it_is_the_same_in_every_process() -> None:
    logs = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(logs) == 1
    assert b"caller   says 'two please'" in logs.pop()


def test_a_conversation_takes_milliseconds() -> None:
    async def call() -> None:
        async with conversation(model=TABLES) as talk:
            await talk.caller.says("two please")
            await talk.expect_heard("Smoking or not?")

    run(call())
    began = time.process_time()
    run(call())
    assert time.process_time() - began < 0.2  # 6 ms where nothing else is going on


# --- expectations that are not met ---------------------------------------------------------------


async def _not_heard(talk: Talk) -> None:
    await talk.expect_heard("A chair", within=3)


async def _heard_once_only(talk: Talk) -> None:
    await talk.expect_heard("A table")
    await talk.expect_heard("A table", within=3)


async def _in_another_order(talk: Talk) -> None:
    await talk.expect_heard("Smoking")
    await talk.expect_heard("A table", within=3)


async def _with_something_between(talk: Talk) -> None:
    await talk.expect_heard("A two.", within=3)


async def _not_said(talk: Talk) -> None:
    await talk.expect_said("A chair", within=3)


async def _too_late(talk: Talk) -> None:
    await talk.expect_said("Smoking or not?", within=1)


async def _no_key(talk: Talk) -> None:
    talk.backend.send_dtmf(talk.session, "13")
    await talk.expect_key("12", within=3)


async def _no_hangup(talk: Talk) -> None:
    await talk.expect_hangup(within=3)


async def _no_event(talk: Talk) -> None:
    await talk.expect_event(HookTrigger.ON_DTMF, within=3)


@pytest.mark.parametrize(
    ("expects", "says"),
    [
        (_not_heard, "did not hear 'A chair' within 3 s, but 'A table for two. Smoking or not?'"),
        (_heard_once_only, "did not hear 'A table' within 3 s, but 'for two. Smoking or not?'"),
        (_in_another_order, "did not hear 'A table' within 3 s, but 'or not?'"),
        (_with_something_between, "did not hear 'A two.'"),
        (_not_said, "did not say 'A chair' within 3 s, but 'A table for two. Smoking or not?'"),
        (_too_late, "did not say 'Smoking or not?' within 1 s, but ''"),
        (_no_key, "did not send the keys '12' within 3 s, but '13'"),
        (_no_hangup, "did not hang up within 3 s"),
        (_no_event, "no on_dtmf within 3 s that fits"),
    ],
)
def test_what_is_not_met_fails_and_shows_the_call(
    expects: Callable[[Talk], Coroutine[Any, Any, None]], says: str
) -> None:
    async def call() -> None:
        async with conversation(model=TABLES) as talk:
            await talk.caller.says("two please")
            await expects(talk)

    with pytest.raises(AssertionError) as failed:
        run(call())
    message = str(failed.value)
    assert says in message
    assert "    0.000 s  caller   says 'two please' until 0.600 s" in message
    assert "on_transcription text='two please'" in message


def test_what_else_is_raised_shows_the_call_as_a_note() -> None:
    async def call() -> None:
        async with conversation(model=TABLES) as talk:
            await talk.caller.says("two please")
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as failed:
        run(call())
    assert "caller   says 'two please'" in "\n".join(failed.value.__notes__)


def test_a_conversation_that_is_stuck_shows_the_call() -> None:
    async def call() -> None:
        async with conversation(model=TABLES) as talk:
            await talk.caller.says("two please")
            await asyncio.Event().wait()

    with pytest.raises(StuckError, match=r"longer than 20 s(.|\n)*caller   says 'two please'"):
        run(call(), limit_s=20)


def test_an_expectation_of_nothing_is_refused() -> None:
    async def call() -> None:
        async with conversation() as talk:
            for expect in (talk.expect_heard, talk.expect_said):
                with pytest.raises(ValueError, match="^text: "):
                    await expect(" ")

    run(call())


# --- nothing is left -----------------------------------------------------------------------------


async def _a_task(talk: Talk, kept: list[Any]) -> None:
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))


async def _a_timer(talk: Talk, kept: list[Any]) -> None:
    kept.append(asyncio.get_running_loop().call_later(1000, print))


@pytest.mark.parametrize(
    ("leaves", "named"), [(_a_task, "task forgotten"), (_a_timer, "timer .*print")]
)
def test_what_is_left_when_the_call_is_over_is_named(
    leaves: Callable[[Talk, list[Any]], Coroutine[Any, Any, None]], named: str
) -> None:
    kept: list[Any] = []

    async def call() -> None:
        async with conversation() as talk:
            await leaves(talk, kept)

    with pytest.raises(AssertionError, match=f"left when the call was over: {named}"):
        run(call())


def test_what_ends_soon_after_the_call_is_not_left() -> None:
    async def call() -> None:
        async with conversation():
            late = asyncio.create_task(asyncio.sleep(3))  # sleep: on the virtual clock
        assert late.done()

    run(call())


def test_a_session_that_is_left_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(self: FakeBackend, session: Any) -> None:
        line = self._lines[session.id]
        line.end()

    async def call() -> None:
        async with conversation():
            monkeypatch.setattr(FakeBackend, "disconnect", forgets)

    with pytest.raises(AssertionError, match="session of caller"):
        run(call())


# --- how it is made ------------------------------------------------------------------------------


@virtual_time
async def test_the_parts_are_those_that_are_given() -> None:
    backend = FakeBackend(seed=5, path=NetworkPath(delay_ms=1))
    tts, stt, model = FakeTTS(), FakeSTT(), FakeModel("Yes.")
    vad = ScriptedVAD((500, 1100))
    async with conversation(backend=backend, tts=tts, stt=stt, model=model, vad=vad) as talk:
        await talk.waits(0.5)
        await talk.caller.says("is it so?")
        await talk.expect_heard("Yes.")
        assert isinstance(talk.backend, VoiceBackend)
        assert (talk.backend, talk.tts, talk.stt, talk.model) == (backend, tts, stt, model)
        assert talk.channel.backend is backend
        assert talk.caller.path == NetworkPath(delay_ms=1)
    assert tts.texts == ["Yes."]
    assert (tts.closed, stt.closed, model.closed) == (1, 1, 1)
    with pytest.raises(ValueError, match="^vad: not beside pipeline"):
        async with conversation(vad=vad, pipeline=AudioPipelineConfig()):
            pass


@virtual_time
async def test_hooks_are_set_up_before_the_caller_comes() -> None:
    async def greets(talk: Talk) -> None:
        @talk.kit.hook(HookTrigger.ON_SESSION_STARTED)
        async def hello(event: Any, ctx: Any) -> None:
            await talk.channel.say(event.session, "Welcome.")

    async with conversation(setup=greets) as talk:
        await talk.expect_heard("Welcome.")


@virtual_time
async def test_several_callers_are_told_apart() -> None:
    async with conversation(model={"one": "For one.", "two": "For two."}) as talk:
        await talk.waits(1)
        second = await talk.join("bob", metadata={"tenant": "acme"})
        assert second.session.metadata["tenant"] == "acme"
        talk.caller.says("one")
        second.says("two")
        await talk.expect_heard("For two.", caller=second)
        await talk.expect_heard("For one.")
        assert "two" not in talk.caller.heard_text
        talk.backend.send_dtmf(second.session, "5")
        await talk.expect_key("5", caller=second)
        await talk.kit.leave(second.session)
        await talk.expect_hangup(caller=second)
        assert not talk.caller.hung_up_on
    assert "1.000 s  caller 2 says 'two'" in talk.log()
