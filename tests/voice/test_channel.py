"""VoiceChannel: what the caller says comes in; what is said to him goes out, or is cut short."""

from __future__ import annotations

import asyncio
import dataclasses
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from interop.peers import until
from roomkit import AIChannel, AIProvider, AudioPipelineConfig, RoomKit, Turn, VoiceChannel
from roomkit.errors import ProviderMissingError, SessionNotFoundError, SynthesisError
from roomkit.hooks import HookContext, HookResult, HookTrigger
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.stt.base import STTProvider, TranscriptionResult
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.turns import BargeIn
from roomkit.voice.vad.energy import EnergyVAD
from support.loopback import LoopbackBackend
from support.sound import silence, tone


class Letters(TTSProvider):
    """A voice that gives 20 ms of audio per character, and tells whether it was closed."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closed = 0

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk]:
        self.texts.append(text)
        try:
            for letter in text:
                if letter == "!":
                    raise SynthesisError("cannot shout")
                yield AudioChunk(bytes(320), 8000)
        finally:
            self.closed += 1


class Length(STTProvider):
    """A recogniser that hears how long it was."""

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        return TranscriptionResult(f"{round(audio.duration_ms, -2):.0f} ms")


class Echo(AIProvider):
    """A model that repeats, in two pieces."""

    async def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
        yield "You said: "
        yield turns[-1].text


@asynccontextmanager
async def call(**options: Any) -> AsyncIterator[tuple[RoomKit, VoiceChannel, Any, Any, list[Any]]]:
    """A call that is up: kit, channel, backend, session, and the events of all triggers."""
    backend, events = LoopbackBackend(), []
    async with RoomKit() as kit:
        channel = VoiceChannel("phone", backend=backend, **options)
        kit.register_channel(channel)
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")

        async def record(event: Any, ctx: HookContext) -> None:
            events.append(event)

        for trigger in HookTrigger:
            kit.add_hook(trigger, record, priority=100)
        session = await kit.join("room", "phone")
        yield kit, channel, backend, session, events


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__.removesuffix("Event") for event in events]


async def test_say_plays_the_text_and_returns_when_it_was_played() -> None:
    tts = Letters()
    async with call(tts=tts) as (kit, channel, backend, session, events):
        assert await channel.say(session, "abc")
        assert len(backend.heard) == 3
        assert tts.closed == 1
        await kit.hooks.drain(1)
        assert names(events) == ["SessionStarted", "BeforeTTS", "AfterTTS"]
        assert (events[-1].text, events[-1].played_ms) == ("abc", 60)


async def test_before_tts_hooks_may_change_and_block_what_is_said() -> None:
    tts = Letters()
    async with call(tts=tts) as (kit, channel, _backend, session, _events):

        @kit.hook(HookTrigger.BEFORE_TTS)
        async def polish(event: Any, ctx: HookContext) -> HookResult:
            if "secret" in event.text:
                return HookResult.block("confidential")
            return HookResult.modify(dataclasses.replace(event, text=event.text.upper()))

        assert await channel.say(session, "hello")
        assert not await channel.say(session, "the secret")
        assert tts.texts == ["HELLO"]


async def test_pieces_of_text_are_spoken_as_sentences_as_soon_as_they_are_complete() -> None:
    tts = Letters()

    async def pieces() -> AsyncIterator[str]:
        for piece in ["It is 3.", "5 km. Turn", " left", ".\nThen stop"]:
            yield piece

    async with call(tts=tts) as (_, channel, _, session, _):
        assert await channel.say(session, pieces())
    assert tts.texts == ["It is 3.5 km.", "Turn left.", "Then stop"]


async def test_an_interruption_stops_what_plays_forgets_what_waits_and_closes_the_voice() -> None:
    tts = Letters()
    async with call(tts=tts) as (kit, channel, backend, session, events):
        backend.running.clear()
        first = asyncio.create_task(channel.say(session, "first"))
        await backend.playing.wait()
        second = asyncio.create_task(channel.say(session, "second"))
        await asyncio.sleep(0)
        assert channel.is_speaking(session)
        assert await channel.interrupt(session)
        assert (await first, await second) == (False, False)
        assert not await channel.interrupt(session)
        assert (tts.texts, tts.closed, backend.heard) == (["first"], 1, [])
        await kit.hooks.drain(1)
        cancelled = [event for event in events if type(event).__name__ == "TTSCancelledEvent"]
        assert [(each.reason, each.text) for each in cancelled] == [
            ("interrupt", "first"),
            ("interrupt", "second"),
        ]
        backend.running.set()
        assert await channel.say(session, "third")


async def test_interrupting_does_not_wait_for_a_voice_that_has_not_begun() -> None:
    closed = asyncio.Event()

    class Slow(TTSProvider):
        async def synthesize_stream(
            self, text: str, *, voice: str | None = None
        ) -> AsyncGenerator[AudioChunk]:
            try:
                begun.set()
                await asyncio.Event().wait()
                yield AudioChunk(b"")
            finally:
                closed.set()

    begun = asyncio.Event()
    async with call(tts=Slow()) as (_, channel, _, session, _):
        saying = asyncio.create_task(channel.say(session, "never"))
        await begun.wait()
        await channel.interrupt(session)
        assert not await asyncio.wait_for(saying, 2)
        assert closed.is_set()


async def test_a_say_that_is_cancelled_falls_silent_and_closes_the_voice() -> None:
    tts = Letters()
    async with call(tts=tts) as (_, channel, backend, session, _):
        backend.running.clear()
        saying = asyncio.create_task(channel.say(session, "hello"))
        await backend.playing.wait()
        saying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saying
        assert tts.closed == 1
        assert not channel.is_speaking(session)


async def test_what_the_voice_raises_reaches_whoever_said_it() -> None:
    async with call(tts=Letters()) as (kit, channel, _, session, events):
        with pytest.raises(SynthesisError, match="cannot shout"):
            await channel.say(session, "no!")
        await kit.hooks.drain(1)
        assert events[-1].reason == "error"


async def test_a_channel_without_a_voice_and_a_session_that_is_over_say_so() -> None:
    async with call() as (kit, channel, _, session, _):
        with pytest.raises(ProviderMissingError, match="tts="):
            await channel.say(session, "hello")
        await kit.leave(session)
        for action in (channel.play(session, bytes(2)), channel.interrupt(session)):
            with pytest.raises(SessionNotFoundError, match=session.id):
                await action


async def test_play_takes_bytes_chunks_iterators_and_files(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(4 * 16000))
    chunk = AudioChunk(bytes(640))
    async with call() as (_, channel, backend, session, _):
        for audio in (bytes(320), chunk, [chunk, chunk], tmp_path / "a.wav"):
            assert await channel.play(session, audio)
        assert [each.duration_ms for each in backend.heard] == [20, 20, 20, 20, 500, 500]
        assert backend.heard[-1].channels == 2
        with pytest.raises(TypeError, match="audio: int"):
            await channel.play(session, 5)  # type: ignore[arg-type]


async def test_speech_becomes_hooks_and_a_transcript_that_hooks_may_change() -> None:
    pipeline = AudioPipelineConfig(vad=EnergyVAD(stop_ms=200), pre_roll_ms=100)
    async with call(stt=Length(), pipeline=pipeline) as (kit, _channel, backend, session, events):
        done = asyncio.Event()

        @kit.hook(HookTrigger.ON_TRANSCRIPTION, priority=200)
        async def last(event: Any, ctx: HookContext) -> None:
            done.set()

        at = backend.speak(session, silence(400))
        at = backend.speak(session, tone(600), at_ms=at)
        backend.speak(session, silence(400), at_ms=at)
        await asyncio.wait_for(done.wait(), 5)
        assert names(events) == ["SessionStarted", "SpeechStart", "SpeechEnd", "Transcription"]
        assert events[1].timestamp_ms == 400
        # From the pre-roll before it began, to the pause that ended it.
        assert events[2].timestamp_ms == 300
        assert events[2].duration_ms == 100 + 600 + 400
        assert events[3].text == "1100 ms"


async def test_a_model_in_the_room_answers_what_was_said() -> None:
    tts = Letters()
    pipeline = AudioPipelineConfig(vad=EnergyVAD(stop_ms=200))
    async with call(stt=Length(), tts=tts, pipeline=pipeline) as (kit, _, backend, session, _):
        model = AIChannel("model", provider=Echo())
        kit.register_channel(model)
        await kit.attach_channel("room", "model")
        spoken = asyncio.Event()

        @kit.hook(HookTrigger.AFTER_TTS)
        async def after(event: Any, ctx: HookContext) -> None:
            spoken.set()

        at = backend.speak(session, silence(400) + tone(600))
        backend.speak(session, silence(400), at_ms=at)
        await asyncio.wait_for(spoken.wait(), 5)
        assert [turn.role for turn in model.turns(session)] == ["user", "assistant"]
        assert model.turns(session)[1].text == f"You said: {model.turns(session)[0].text}"
        assert tts.texts == [model.turns(session)[1].text]
        await kit.leave(session)
        assert model.turns(session) == []


@pytest.mark.parametrize("barge_in", [True, False])
async def test_barge_in_cuts_the_playback_short_only_when_asked_for(barge_in: bool) -> None:
    pipeline = AudioPipelineConfig(vad=EnergyVAD())
    how = BargeIn(mode="immediate") if barge_in else False
    options = {"tts": Letters(), "pipeline": pipeline, "barge_in": how}
    async with call(**options) as (kit, channel, backend, session, events):
        started = asyncio.Event()

        @kit.hook(HookTrigger.ON_SPEECH_START, priority=200)
        async def on_start(event: Any, ctx: HookContext) -> None:
            started.set()

        backend.running.clear()
        saying = asyncio.create_task(channel.say(session, "a long story"))
        await backend.playing.wait()
        backend.speak(session, silence(200) + tone(200))
        await asyncio.wait_for(started.wait(), 5)
        backend.running.set()
        assert await asyncio.wait_for(saying, 5) is not barge_in
        await kit.hooks.drain(1)
        assert ("BargeIn" in names(events)) is barge_in
        reasons = [each.reason for each in events if hasattr(each, "reason")]
        assert reasons == (["barge_in"] if barge_in else [])


async def test_hanging_up_during_a_playback_ends_it() -> None:
    async with call(tts=Letters()) as (kit, channel, backend, session, events):
        backend.running.clear()
        saying = asyncio.create_task(channel.say(session, "hello"))
        await backend.playing.wait()
        await kit.leave(session)
        assert not await saying
        await kit.hooks.drain(1)
        assert names(events)[-2:] == ["TTSCancelled", "SessionEnded"]
        assert events[-2].reason == "session_ended"


async def test_a_transcript_hook_may_end_the_call() -> None:
    pipeline = AudioPipelineConfig(vad=EnergyVAD(stop_ms=200))
    async with call(stt=Length(), pipeline=pipeline) as (kit, _, backend, session, _):
        left = asyncio.Event()

        @kit.hook(HookTrigger.ON_TRANSCRIPTION)
        async def goodbye(event: Any, ctx: HookContext) -> None:
            await kit.leave(event.session)
            left.set()

        at = backend.speak(session, silence(400) + tone(600))
        backend.speak(session, silence(400), at_ms=at)
        await asyncio.wait_for(left.wait(), 2)
        assert session.ended


@pytest.mark.parametrize(
    "wrong", [{"backend": None}, {"stt": "x"}, {"tts": 1}, {"pipeline": {"vad": None}}]
)
def test_parts_that_do_not_fit_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        VoiceChannel("phone", **{"backend": LoopbackBackend(), **wrong})


async def test_a_model_may_hang_up_in_the_middle_of_its_answer() -> None:
    class Rude(AIProvider):
        async def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
            yield "Good bye. "
            await kit.leave(session)
            yield "Not said."

    tts = Letters()
    async with call(tts=tts) as (kit, channel, _, session, events):
        answer = AIChannel("model", provider=Rude()).reply(session, "hello")
        assert not await asyncio.wait_for(channel.say(session, answer), 2)
        # Who hangs up runs beside: how many turns of the loop it needs depends on the Python.
        await until(lambda: session.ended, "the end of the call")
    assert "Not said." not in tts.texts
    assert names(events)[-1] == "SessionEnded"


async def test_a_hook_may_interrupt_the_text_that_it_was_asked_about() -> None:
    tts = Letters()
    async with call(tts=tts) as (kit, channel, _, session, _):

        @kit.hook(HookTrigger.BEFORE_TTS)
        async def silence_it(event: Any, ctx: HookContext) -> None:
            await channel.interrupt(event.session)

        assert not await asyncio.wait_for(channel.say(session, "hello"), 2)
    assert tts.texts == []


async def test_a_backend_that_cannot_hold_says_so() -> None:
    async with RoomKit() as kit:
        channel = VoiceChannel("phone", backend=LoopbackBackend())
        kit.register_channel(channel)
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")
        session = await kit.join("room", "phone")
        for attempt in (channel.hold, channel.resume):
            with pytest.raises(NotImplementedError, match="loopback cannot put on hold"):
                await attempt(session)


async def test_a_voice_of_recordings_gets_whole_texts_and_any_other_sentences() -> None:
    class Recordings(Letters):
        whole_texts = True

    for tts, texts in ((Recordings(), ["Hello. Goodbye."]), (Letters(), ["Hello.", "Goodbye."])):
        async with call(tts=tts) as (_, channel, _, session, _):
            assert await channel.say(session, "Hello. Goodbye.")
        assert tts.texts == texts
