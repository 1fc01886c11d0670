"""The examples do what they say: whole conversations with each, on virtual time."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roomkit import AIChannel, HookTrigger
from roomkit.cli import wav
from roomkit.testing import FakeBackend, FakeTTS, Talk, conversation, virtual_time

FOLDER = Path(__file__).parents[1] / "examples"


def example(name: str) -> Any:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_here_or_beside() -> None:
    """A new one brings its conversation along."""
    beside = {"voice_rtp": "test_example_voice_rtp.py", "fastapi_app": "test_example_fastapi.py"}
    for name, test in beside.items():
        assert (FOLDER / f"{name}.py").is_file()
        assert (Path(__file__).parent / test).is_file()
    here = {"bot", "ivr", "parrot", "recorder", "voicemail"}
    assert {path.stem for path in FOLDER.glob("*.py")} == here | set(beside)


# --- ivr -----------------------------------------------------------------------------------------


def test_a_menu_of_three_keys_takes_at_most_twelve_lines() -> None:
    assert len(inspect.getsource(example("ivr").menu).splitlines()) <= 12


@virtual_time
async def test_the_ivr_takes_keys_while_it_speaks_and_those_that_come_early() -> None:
    ivr = example("ivr")
    async with conversation(ivr.menu) as talk:
        await talk.expect_heard("For your balance,")
        await talk.caller.presses("1")
        await talk.expect_heard("Please key in")
        await talk.caller.presses("1234")
        await talk.expect_heard("You owe 17.50 euros.")
        await talk.expect_heard("For your balance,")
        await talk.caller.presses("199990")  # all at once, with the key that leaves
        await talk.expect_heard("There is no such account.")
        await talk.expect_heard("Goodbye.")
        await talk.expect_hangup()
        assert "Please key in" not in talk.caller.heard_text.partition("17.50")[2]


@virtual_time
async def test_the_ivr_gives_up_on_who_says_nothing() -> None:
    ivr = example("ivr")
    async with conversation(ivr.menu) as talk:
        await talk.expect_heard("Goodbye.", within=60)
        await talk.expect_hangup()
        assert talk.caller.heard_text.count("For your balance") == 3


@virtual_time
async def test_the_ivr_shows_a_card_number_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    ivr = example("ivr")
    caplog.set_level(logging.DEBUG)
    number = "4111111111111111"
    assert ivr.luhn(number)
    assert not ivr.luhn("4111111111111112")
    assert not ivr.luhn("4*11")
    async with conversation(ivr.menu) as talk:
        await talk.caller.presses("2")
        await talk.expect_heard("Now your card number,")
        await talk.caller.presses(number + "#")
        await talk.expect_heard("It has been paid.")
        await talk.caller.presses("0")
        await talk.expect_hangup(within=30)
        assert "111" not in talk.log()
        keys = [event for event in talk.events if hasattr(event, "digit")]
        assert [event.masked for event in keys] == [False, *[True] * 17, False]
    for record in caplog.records:
        assert "111" not in record.getMessage()


# --- voicemail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs_up", [False, True])
def test_voicemail_keeps_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs_up: bool
) -> None:
    monkeypatch.setenv("VOICEMAIL", str(tmp_path))
    voicemail = example("voicemail")

    @virtual_time
    async def talk_to_it() -> None:
        async with conversation(voicemail.voicemail) as talk:
            await talk.expect_heard(voicemail.GREETING)
            await talk.caller.waits(1)
            await talk.caller.says("please call me back")
            await talk.caller.waits(1)
            if hangs_up:
                await talk.caller.hangs_up()
                await talk.caller.waits(1)
            else:
                await talk.caller.presses("#")
                await talk.expect_heard("Thank you.")
                await talk.expect_hangup()

    talk_to_it()
    (path,) = tmp_path.iterdir()
    assert 1.0 < wav.read(path).seconds < 2.0


@virtual_time
async def test_voicemail_writes_nothing_of_who_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICEMAIL", str(tmp_path))
    async with conversation(example("voicemail").voicemail) as talk:
        await talk.expect_heard("There was nothing. Goodbye.", within=30)
        await talk.expect_hangup()
        assert list(tmp_path.iterdir()) == []


# --- parrot --------------------------------------------------------------------------------------


@virtual_time
async def test_the_parrot_repeats_and_stops_by_a_key() -> None:
    async with conversation(example("parrot").parrot) as talk:
        for words in ("pretty polly", "who is a clever bird"):
            await talk.caller.says(words)
            await talk.expect_heard(words)
        await talk.caller.presses("*")
        await talk.expect_hangup()


# --- bot -----------------------------------------------------------------------------------------


def with_rules(bot: Any) -> Any:
    async def setup(talk: Talk) -> None:
        talk.kit.register_channel(AIChannel("model", provider=bot.Rules()))
        await talk.kit.attach_channel("room", "model")

    return setup


@virtual_time
async def test_the_bot_books_a_table_and_is_interrupted() -> None:
    bot = example("bot")
    async with conversation(bot.bot, setup=with_rules(bot)) as talk:
        await talk.expect_heard(bot.GREETING)
        await talk.caller.says("hello there")
        await talk.expect_heard("For how many,")
        await talk.caller.says("a table for four")  # while it speaks
        await talk.expect_heard("A table for four. Is that right?")
        assert "tables for up to six" not in talk.caller.heard_text
        await talk.caller.waits(1)
        await talk.caller.says("yes")
        await talk.expect_heard("It is booked for four. Goodbye.")
        await talk.expect_hangup()


# --- recorder ------------------------------------------------------------------------------------


@pytest.mark.parametrize("agrees", [True, False])
def test_the_recorder_records_who_agrees(tmp_path: Path, agrees: bool) -> None:
    recorder = example("recorder")

    @virtual_time
    async def call_it() -> None:
        consents = recorder.Consents()
        backend, tts = FakeBackend(), FakeTTS()
        channel = recorder.channel(backend, tts, tmp_path, consents)
        async with conversation(
            consents.desk, backend=backend, tts=tts, pipeline=channel.pipeline
        ) as talk:
            await talk.expect_heard("This call may be recorded.")
            await talk.caller.presses("1" if agrees else "2")
            await talk.expect_heard("Thank you." if agrees else "It is not recorded.")
            await talk.expect_heard("Please key in")
            await talk.caller.presses("4111#", inband=False)
            await talk.expect_heard("Thank you. Goodbye.")
            await talk.expect_hangup()
            await talk.expect_event(HookTrigger.ON_SESSION_ENDED)

    call_it()
    files = list(tmp_path.glob("*.wav"))
    assert len(files) == agrees
    for path in files:
        recording = wav.read(path)
        assert recording.channels == 2
        assert recording.seconds > 5
