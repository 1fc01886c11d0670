"""Applications, calls and recordings in tests of conversations."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from roomkit import AudioPipelineConfig, Call, HookTrigger
from roomkit.testing import NetworkPath, conversation, run, virtual_time, words_in
from roomkit.voice.base import AudioChunk
from roomkit.voice.pipeline import WavRecorder
from roomkit.voice.vad.energy import EnergyVAD


async def menu(call: Call) -> None:
    match await call.key(10, prompt="One for sales, two for support."):
        case "1":
            await call.say("Sales is closed.")
        case "2":
            call.backend.send_dtmf(call.session, "9")
            await call.say("Support is asleep.")


@virtual_time
async def test_an_application_answers_and_hangs_up() -> None:
    async with conversation(menu) as talk:
        await talk.expect_heard("One for sales,")
        await talk.caller.presses("2")
        await talk.expect_heard("Support is asleep.")
        await talk.expect_key("9")
        await talk.expect_hangup()
        assert "two for support." not in talk.caller.heard_text
        assert talk.transcript[-1] == ("we", "Support is asleep.")


@virtual_time
async def test_an_application_that_raises_is_told() -> None:
    async def broken(call: Call) -> None:
        raise LookupError("mine")

    async with conversation(broken) as talk:
        event = await talk.expect_event(HookTrigger.ON_ERROR)
        assert isinstance(event.error, LookupError)
        await talk.expect_hangup()


@virtual_time
async def test_a_test_may_hold_the_call_itself() -> None:
    async with conversation() as talk:
        call = talk.call
        assert call is talk.call
        saying = talk.caller.says("two tables please")
        heard = await call.utterance()
        assert heard is not None
        assert heard.text == "two tables please"
        await saying
        assert await call.say("Very well.")
        await talk.expect_said("Very well.")


@pytest.mark.parametrize("interrupted", [False, True])
@virtual_time
async def test_a_recording_has_what_was_said_on_both_sides(
    tmp_path: Path, interrupted: bool
) -> None:
    pipeline = AudioPipelineConfig(vad=EnergyVAD(), recorder=WavRecorder(tmp_path))
    model = {"two": "A table for two. Smoking or not?", "no": "Very well."}
    async with conversation(model=model, pipeline=pipeline, barge_in=True) as talk:
        await talk.caller.says("two please")
        await talk.expect_heard("A table" if interrupted else "Smoking or not?")
        await talk.caller.says("no thanks")
        await talk.expect_heard("Very well.")
    (path,) = talk.session.metadata["recordings"]
    with wave.open(path, "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        pcm = file.readframes(file.getnframes())
    sides = [
        words_in(AudioChunk(b"".join(pcm[at : at + 2] for at in range(side, len(pcm), 4)), 8000))
        for side in (0, 2)
    ]
    assert " ".join(word.text for word in sides[0]) == "two please no thanks"
    # What left, which is what he heard.
    assert " ".join(word.text for word in sides[1]) == talk.caller.heard_text
    # And in step: from our word to his ear it is one and the same time, all along.
    late = {
        round(heard.begin_ms - word.begin_ms)
        for word, heard in zip(sides[1], talk.caller.heard.words, strict=True)
        if word.whole
    }
    assert len(late) == 1


def test_the_way_to_a_caller_may_be_one_of_his_own() -> None:
    async def call() -> None:
        async with conversation() as talk:
            far = await talk.join("far", path=NetworkPath(delay_ms=300))
            assert far.path.delay_ms == 300
            assert talk.caller.path.delay_ms == 20
            talk.kit.get_channel("phone")
            await talk.channel.say(far.session, "Hello.")
            await talk.expect_heard("Hello.", caller=far)

    run(call())
