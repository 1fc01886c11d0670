"""`Hearing`: one call's inbound side, from frames to transcripts, inside a `VoiceChannel`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from roomkit._faults import log_fault
from roomkit._serial import SerialQueue
from roomkit.hooks import HookRunner, HookTrigger
from roomkit.voice._presses import Presses
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.events import (
    DTMFDetectedEvent,
    DTMFEvent,
    PartialTranscriptionEvent,
    SpeechEndEvent,
    SpeechStartEvent,
    TranscriptionEvent,
)
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import AudioPipelineConfig, Recording
from roomkit.voice.pipeline.engine import PipelineEngine
from roomkit.voice.stt.base import STTProvider, TranscriptionResult

__all__ = ["FrameFeed", "Hearing"]

_log = logging.getLogger("roomkit.voice.channel")

# Two seconds of 20 ms frames: if the stages are that far behind, newer audio is worth more.
_FRAMES_WAITING = 100
# How long the stages may keep the event loop before others get their turn.
_TURN_SECONDS = 0.005
# Utterances waiting for a recogniser. Someone who speaks on does not wait for more than this.
_UTTERANCES_WAITING = 16


class FrameFeed:
    """Takes the frames of all calls of a channel from the backend's callback, which must return at
    once, to the stages. One wake serves all calls that have frames."""

    def __init__(self) -> None:
        self._frames: deque[tuple[Hearing, AudioFrame]] = deque()
        self._scheduled = False

    def put(self, hearing: Hearing, frame: AudioFrame) -> None:
        """Queues a frame; the oldest of the call is let go when too many wait."""
        hearing.waiting += 1
        self._frames.append((hearing, frame))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        turn_ends = time.monotonic() + _TURN_SECONDS
        while self._frames:
            hearing, frame = self._frames.popleft()
            hearing.waiting -= 1
            try:
                # In its own call's context, not in that of the call whose frame woke this.
                hearing.context.run(hearing.process, frame)
            except Exception as error:  # noqa: BLE001 (one call's trouble must not stop the others' audio)
                log_fault(_log, error, "a frame could not be processed")
            if time.monotonic() >= turn_ends and self._frames:
                asyncio.get_running_loop().call_soon(self._work)
                return
        self._scheduled = False


class Hearing:
    """Runs the pipeline of one call, fires its hooks, and has utterances transcribed in order.

    `heard(session, text)` is awaited for every transcript that the ON_TRANSCRIPTION chain let
    pass; `speaking()` is called when the caller begins to speak, before the hook.
    """

    def __init__(
        self,
        session: VoiceSession,
        hooks: HookRunner,
        config: AudioPipelineConfig,
        stt: STTProvider | None,
        *,
        speaking: Callable[[], None],
        heard: Callable[[VoiceSession, str], Awaitable[None]],
    ) -> None:
        self._session = session
        self.context = contextvars.copy_context()
        """That of whoever opened the session: its stages, recogniser and hooks run there."""
        self._hooks = hooks
        self._stt = stt
        self._speaking = speaking
        self._heard = heard
        self._began = time.monotonic()
        self._offset_ms: float | None = None
        self._ended = False
        self.recording: Recording | None = (
            config.recorder.open(session) if config.recorder is not None else None
        )
        self._presses = Presses()
        self._at_ms = 0.0  # the end of the frame that is being processed
        self._engine = PipelineEngine(config, self, self.recording)
        self._transcribing = SerialQueue("stt", _log, limit=_UTTERANCES_WAITING)
        self._live: asyncio.Queue[AudioChunk | None] | None = None
        self.waiting = 0
        """Frames of this call in the feed."""
        self.dropped = 0
        """Frames that the stages were too slow for."""

    @property
    def now_ms(self) -> float:
        """Time since the session began."""
        return (time.monotonic() - self._began) * 1000

    def process(self, frame: AudioFrame) -> None:
        """Runs the next frame through the stages."""
        if self._ended:
            return
        if self.waiting >= _FRAMES_WAITING:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning(
                    "session %s: the pipeline is too slow, audio is dropped", self._session.id
                )
            return
        # Media time and session time run at the same speed; the first frame tells how they lie to
        # each other, and from there on the media clock alone counts.
        timestamp = frame.timestamp_ms
        if timestamp is None:
            at_ms = self.now_ms - frame.duration_ms
        else:
            if self._offset_ms is None:
                self._offset_ms = max(0.0, self.now_ms - frame.duration_ms) - timestamp
            at_ms = self._offset_ms + timestamp
        self._at_ms = at_ms + frame.duration_ms
        self._engine.process(frame, at_ms)

    async def end(self) -> None:
        """The call is over: ends an utterance in progress, completes the recording."""
        if self._ended:
            return
        self._engine.finish()
        self._ended = True
        if self.recording is not None:
            paths = await self.recording.close()
            self._session.metadata["recordings"] = [str(path) for path in paths]

    async def settle(self, timeout: float = 5.0) -> None:
        """Lets transcripts that are still being made have `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._transcribing.join()
        except TimeoutError:
            self._transcribing.cancel()

    # --- what the pipeline finds (PipelineSink) -----------------------------------------------

    def signalled(self, event: DTMFEvent) -> None:
        """The backend told a digit."""
        if self._presses.is_new(event.digit, "backend", self.now_ms, event.duration_ms):
            self._emit_digit(event)

    def digit(self, event: DTMFEvent) -> None:
        if self._presses.is_new(event.digit, "stage", self._at_ms, event.duration_ms):
            self._emit_digit(event)

    def _emit_digit(self, event: DTMFEvent) -> None:
        self._hooks.emit(
            HookTrigger.ON_DTMF,
            DTMFDetectedEvent(
                self._session, event.digit, event.duration_ms, event.confidence, event.masked
            ),
        )

    def speech_started(self, timestamp_ms: float | None) -> None:
        self._speaking()
        self._hooks.emit(HookTrigger.ON_SPEECH_START, SpeechStartEvent(self._session, timestamp_ms))
        if self._stt is not None and self._stt.supports_streaming:
            self._live = asyncio.Queue()
            live = functools.partial(self._transcribe_live, self._stt, self._live)
            self._transcribing.submit(live)

    def speech(self, chunk: AudioChunk) -> None:
        if self._live is not None:
            self._live.put_nowait(chunk)

    def speech_ended(self, audio: AudioChunk, at_ms: float | None, truncated: bool) -> None:
        event = SpeechEndEvent(self._session, audio, at_ms, truncated)
        self._hooks.emit(HookTrigger.ON_SPEECH_END, event)
        if self._live is not None:
            self._live.put_nowait(None)
            self._live = None
        elif self._stt is not None:
            self._transcribing.submit(functools.partial(self._transcribe, self._stt, audio))

    def stage_failed(self, stage: str, error: Exception) -> None:
        self._hooks.report(self._session, f"pipeline {stage}", error)

    # --- transcripts --------------------------------------------------------------------------

    async def _transcribe(self, stt: STTProvider, audio: AudioChunk) -> None:
        try:
            result = await stt.transcribe(audio)
        except Exception as error:  # noqa: BLE001 (a provider may raise anything; the call goes on)
            self._stt_failed(stt, error)
        else:
            await self._final(result)

    async def _transcribe_live(
        self, stt: STTProvider, live: asyncio.Queue[AudioChunk | None]
    ) -> None:
        final: TranscriptionResult | None = None
        try:
            async for result in stt.transcribe_stream(_chunks(live)):
                if result.is_final:
                    final = result
                elif result.text:
                    partial = PartialTranscriptionEvent(
                        self._session, result.text, result.confidence
                    )
                    self._hooks.emit(HookTrigger.ON_PARTIAL_TRANSCRIPTION, partial)
        except Exception as error:  # noqa: BLE001 (a provider may raise anything; the call goes on)
            self._stt_failed(stt, error)
        if final is not None:
            await self._final(final)

    async def _final(self, result: TranscriptionResult) -> None:
        if not result.text.strip():
            return
        event = TranscriptionEvent(self._session, result.text, result.language, result.confidence)
        verdict = await self._hooks.run(HookTrigger.ON_TRANSCRIPTION, event)
        if verdict.allowed:
            await self._heard(self._session, verdict.event.text)

    def _stt_failed(self, stt: STTProvider, error: Exception) -> None:
        _log.error("session %s: %s failed: %r", self._session.id, stt.name, error, exc_info=error)
        self._hooks.report(self._session, "stt", error)


async def _chunks(live: asyncio.Queue[AudioChunk | None]) -> AsyncIterator[AudioChunk]:
    while (chunk := await live.get()) is not None:
        yield chunk
