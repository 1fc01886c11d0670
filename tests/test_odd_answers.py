"""Answers that no model should give, and providers that do what none should: the call goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from roomkit import AIChannel, AIProvider, AudioChunk, Turn, VoiceSession
from roomkit.hooks import HookContext, HookTrigger
from roomkit.testing import FakeModel, FakeSTT, FakeTTS, conversation, virtual_time
from roomkit.voice.stt.base import STTProvider, TranscriptionResult
from roomkit.voice.tts.base import TTSProvider


class Gives(AIProvider):
    """What `pieces` gives, whatever was asked; then it is as a model should be."""

    def __init__(self, *answers: Callable[[], AsyncIterator[str]]) -> None:
        self.answers = list(answers)
        self.given = 0

    async def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
        if not self.answers:
            yield "I am here."
            return
        async for piece in self.answers.pop(0)():
            self.given += 1
            yield piece


async def long() -> AsyncIterator[str]:
    for number in range(50_000):
        yield f"word{number % 10} "


async def letters() -> AsyncIterator[str]:
    for letter in "It costs 1,234.50 in all. Is that right?":
        yield letter


async def nothing() -> AsyncIterator[str]:
    for piece in list[str]():
        yield piece


async def blanks() -> AsyncIterator[str]:
    for _ in range(1000):
        yield " \n"


async def symbols() -> AsyncIterator[str]:
    yield "... --- !!! 🙂 *** "


async def cancels_itself() -> AsyncIterator[str]:
    yield "So far so good. "
    raise asyncio.CancelledError("a scope of mine")


async def numbers() -> AsyncIterator[Any]:
    yield 7


@virtual_time
async def test_an_answer_of_fifty_thousand_words_is_made_as_it_is_heard_and_may_be_cut_short() -> (
    None
):
    model = Gives(long)
    async with conversation(model=model) as talk:
        talk.caller.says("tell me all of it")
        await talk.expect_heard("word0 word1 word2")
        await talk.waits(10)
        assert model.given < 1000
        speech = talk.channel.speech(talk.session)
        assert speech is not None
        assert len(speech._pumps) < 10
        talk.caller.says("stop it now")
        await talk.expect_heard("I am here.", within=20)
        memory = talk.kit.get_channel("model")
        assert isinstance(memory, AIChannel)
        answer = memory.turns(talk.session)[1].text
        assert 10 < len(answer.split()) < 100


@virtual_time
async def test_letters_one_by_one_are_sentences_and_amounts_are_whole() -> None:
    async with conversation(model=Gives(letters)) as talk:
        talk.caller.says("what is it")
        await talk.expect_heard("It costs 1,234.50 in all. Is that right?")
        assert isinstance(talk.tts, FakeTTS)
        assert talk.tts.texts == ["It costs 1,234.50 in all.", "Is that right?"]


@pytest.mark.parametrize("answer", [nothing, blanks, symbols], ids=lambda each: each.__name__)
@virtual_time
async def test_an_answer_of_nothing_is_one(answer: Any) -> None:
    async with conversation(model=Gives(answer)) as talk:
        talk.caller.says("hello")
        await talk.expect_event(HookTrigger.ON_TURN_ENDED)
        talk.caller.says("are you there")
        await talk.expect_heard("I am here.")


@pytest.mark.parametrize("answer", [cancels_itself, numbers], ids=lambda each: each.__name__)
@virtual_time
async def test_a_model_that_breaks_is_told_and_stood_in_for(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with conversation(model=Gives(answer), fallback="Sorry.") as talk:
        talk.caller.says("hello")
        await talk.expect_heard("Sorry.")
        await talk.expect_event(HookTrigger.ON_ERROR)
        talk.caller.says("are you there")
        await talk.expect_heard("I am here.")


class OddVoice(TTSProvider):
    """Does `does` for the first text, and speaks the others."""

    def __init__(self, does: str) -> None:
        self.does = does
        self._good = FakeTTS()

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncIterator[AudioChunk]:
        does, self.does = self.does, ""
        match does:
            case "gives nothing":
                return
            case "gives empty chunks":
                for _ in range(3):
                    yield AudioChunk(b"")
            case "gives text":
                yield "audio"  # type: ignore[misc]
            case "changes its rate":
                yield AudioChunk(bytes(3200), 16000)
                yield AudioChunk(bytes(4410), 22050)
            case "cancels itself":
                raise asyncio.CancelledError("a scope of mine")
            case "hangs":
                await asyncio.Event().wait()
            case "raises":
                raise LookupError("no such voice")
            case _:
                async for chunk in self._good.synthesize_stream(text, voice=voice):
                    yield chunk


VOICES = (
    *("gives nothing", "gives empty chunks", "gives text", "changes its rate"),
    *("cancels itself", "hangs", "raises"),
)


@pytest.mark.parametrize("does", VOICES)
@virtual_time
async def test_a_voice_that_does_what_none_should_loses_that_answer_only(
    does: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with conversation(model=FakeModel("Here I am."), tts=OddVoice(does)) as talk:
        talk.caller.says("hello")
        await talk.expect_event(HookTrigger.ON_TURN_ENDED, within=30)
        talk.caller.says("are you there")
        await talk.expect_heard("Here I am.")


class OddEar(STTProvider):
    def __init__(self, does: str, streams: bool) -> None:
        self.does = does
        self._streams = streams
        self._good = FakeSTT()

    @property
    def supports_streaming(self) -> bool:
        return self._streams

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        self._fail()
        return await self._good.transcribe(audio)

    async def transcribe_stream(
        self, audio: AsyncIterator[AudioChunk]
    ) -> AsyncIterator[TranscriptionResult]:
        if self.does == "reads nothing":
            self.does = ""
            return
        self._fail()
        async for result in self._good.transcribe_stream(audio):
            yield result

    def _fail(self) -> None:
        does, self.does = self.does, ""
        if does == "cancels itself":
            raise asyncio.CancelledError("a scope of mine")
        if does == "raises":
            raise LookupError("no such language")


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("does", ["cancels itself", "raises", "reads nothing"])
@virtual_time
async def test_a_recogniser_that_does_what_none_should_is_asked_again(
    does: str, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with conversation(model=FakeModel("Here I am."), stt=OddEar(does, streams)) as talk:
        talk.caller.says("are you there")
        await talk.expect_heard("Here I am.", within=20)


@pytest.mark.parametrize("trigger", list(HookTrigger), ids=str)
@pytest.mark.parametrize("does", ["raises", "cancels itself", "hangs"])
@virtual_time
async def test_a_hook_that_does_what_none_should_keeps_nobody_from_talking(
    trigger: HookTrigger, does: str, caplog: pytest.LogCaptureFixture
) -> None:
    def setup(talk: Any) -> None:
        async def hook(event: Any, ctx: HookContext) -> None:
            if does == "raises":
                raise LookupError("lost")
            if does == "cancels itself":
                raise asyncio.CancelledError("a scope of mine")
            await asyncio.Event().wait()

        talk.kit.add_hook(trigger, hook, timeout=2.0)

    async with conversation(model=FakeModel("Here I am."), setup=setup) as talk:
        talk.caller.presses("5")
        talk.caller.says("are you there")
        await talk.expect_heard("Here I am.", within=30)
