"""Hearing and its feed: in order, bounded, and transcribed while the caller speaks."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomkit.hooks import HookContext, HookRunner, HookTrigger
from roomkit.rooms import Room
from roomkit.voice._hearing import FrameFeed, Hearing
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import AudioPipelineConfig
from roomkit.voice.stt.base import STTProvider, TranscriptionResult
from roomkit.voice.vad import EnergyVAD, VADEvent, VADProvider
from support.hearing import Sink, hearing, settled
from support.sound import silence, tone


class Numbers(VADProvider):
    """Notes which frames it was given; `shared` is the same list for all its copies."""

    def __init__(self, shared: list[float | None]) -> None:
        self.shared = shared

    def process(self, frame: AudioFrame) -> VADEvent | None:
        self.shared.append(frame.timestamp_ms)
        return None

    def reset(self) -> None: ...

    def new_session(self) -> Numbers:
        return self


class Live(STTProvider):
    """Hears how long it has been, after every fifth chunk."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    @property
    def supports_streaming(self) -> bool:
        return True

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        raise AssertionError("the channel should stream")

    async def transcribe_stream(
        self, audio: AsyncIterator[AudioChunk]
    ) -> AsyncIterator[TranscriptionResult]:
        heard_ms, count = 0.0, 0
        async for chunk in audio:
            heard_ms, count = heard_ms + chunk.duration_ms, count + 1
            if self.fails:
                raise ConnectionError("the recogniser hung up")
            if count % 5 == 0:
                yield TranscriptionResult(f"{heard_ms:g}", is_final=False)
        yield TranscriptionResult(f"{heard_ms:g}")


def runner() -> HookRunner:
    room = Room("room")
    return HookRunner(lambda _: HookContext(room, (), ()))


def frames(pcm: bytes) -> list[AudioFrame]:
    return [
        AudioFrame(pcm[offset : offset + 320], 8000, timestamp_ms=offset / 16)
        for offset in range(0, len(pcm), 320)
    ]


async def test_the_feed_hands_frames_over_later_and_in_order() -> None:
    seen: list[float | None] = []
    one, _ = hearing(runner(), AudioPipelineConfig(vad=Numbers(seen)))
    feed = FrameFeed()
    for frame in frames(silence(100)):
        feed.put(one, frame)
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [0, 20, 40, 60, 80]


async def test_of_a_backlog_the_newest_two_seconds_are_kept_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[float | None] = []
    one, _ = hearing(runner(), AudioPipelineConfig(vad=Numbers(seen)))
    feed = FrameFeed()
    for frame in frames(silence(2100)):
        feed.put(one, frame)
    for _ in frames(silence(2100)):  # a turn takes one frame at least
        await asyncio.sleep(0)
    assert one.dropped == 5
    assert (seen[0], seen[-1], len(seen)) == (100, 2080, 100)


async def test_a_streaming_recogniser_hears_the_utterance_while_it_is_spoken() -> None:
    config = AudioPipelineConfig(vad=EnergyVAD(stop_ms=100), pre_roll_ms=60)
    hooks = runner()
    one, sink = hearing(hooks, config, Live())
    partial: list[str] = []

    async def on_partial(event: Any, ctx: HookContext) -> None:
        partial.append(event.text)

    hooks.add(HookTrigger.ON_PARTIAL_TRANSCRIPTION, on_partial)
    for frame in frames(silence(200) + tone(300) + silence(100)):
        one.process(frame)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await settled(one, sink)
    await hooks.drain(5)
    # 60 ms from before it began, 300 of speech, 100 until that was over.
    assert sink.texts == ["460"]
    assert partial == ["100", "200", "300", "400"]
    assert sink.told[-1] == ("recognised", 1, "460")


async def test_a_recogniser_that_fails_is_reported_and_the_call_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = AudioPipelineConfig(vad=EnergyVAD(stop_ms=100))
    hooks = runner()
    one, sink = hearing(hooks, config, Live(fails=True))
    errors: list[tuple[str, str]] = []

    async def on_error(event: Any, ctx: HookContext) -> None:
        errors.append((event.where, str(event.error)))

    hooks.add(HookTrigger.ON_ERROR, on_error)
    for frame in frames(silence(200) + tone(300) + silence(200)):
        one.process(frame)
    await settled(one, sink)
    await hooks.drain(5)
    assert sink.texts == []
    # Once more, with all of the utterance.
    assert errors == [("stt", "the recogniser hung up")] * 2
    assert sink.told[-2:] == [("recognised", 1, ""), ("not recognised",)]


async def test_what_was_said_first_is_told_first_whoever_is_recognised_first() -> None:
    class Backwards(STTProvider):
        async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
            second.set() if audio.timestamp_ms else await second.wait()
            return TranscriptionResult("second" if audio.timestamp_ms else "first")

    second = asyncio.Event()
    config = AudioPipelineConfig(vad=EnergyVAD(stop_ms=100))
    one, sink = hearing(runner(), config, Backwards())
    for frame in frames((silence(200) + tone(300) + silence(300)) * 2):
        one.process(frame)
    await settled(one, sink)
    assert [each for each in sink.told if each[0] == "recognised"] == [
        ("recognised", 1, "first"),
        ("recognised", 2, "second"),
    ]
    assert sink.texts == ["first", "second"]


WHO = contextvars.ContextVar("WHO", default="nobody")


async def test_each_call_is_heard_in_the_context_in_which_it_was_opened() -> None:
    """One wake serves all calls, and its context is that of the call whose frame came first."""
    seen: list[tuple[str, str]] = []
    feed = FrameFeed()
    both: list[tuple[Hearing, Sink]] = []

    class Recogniser(STTProvider):
        def __init__(self, name: str) -> None:
            self._name = name

        async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
            seen.append((self._name, WHO.get()))
            return TranscriptionResult("")

    async def opens(name: str) -> HookRunner:
        WHO.set(name)
        hooks = runner()
        one, sink = hearing(hooks, AudioPipelineConfig(vad=EnergyVAD()), Recogniser(name))

        async def speech(event: Any, ctx: HookContext) -> None:
            seen.append((name, WHO.get()))

        hooks.add(HookTrigger.ON_SPEECH_START, speech)
        both.append((one, sink))
        return hooks

    runners = [await asyncio.create_task(opens(name)) for name in ("alice", "bob")]
    for frame in frames(silence(200) + tone(1000) + silence(2000)):
        for one, _ in both:
            feed.put(one, frame)
        await asyncio.sleep(0)
    for (one, sink), hooks in zip(both, runners, strict=True):
        await settled(one, sink)
        await hooks.drain(1)
    assert sorted(seen) == [("alice", "alice")] * 2 + [("bob", "bob")] * 2
