"""`Hearing`: one call's inbound side inside a `VoiceChannel`: from frames to utterances, from those
to text. It decides nothing: what is speech the detector says, what an utterance the `Conversation`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from roomkit._clock import now_ms
from roomkit._faults import log_fault
from roomkit._limits import Beside
from roomkit.hooks import HookRunner, HookTrigger
from roomkit.voice._presses import Presses
from roomkit.voice._recognition import Recognition, Utterance
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.callbacks import CallbackList
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
from roomkit.voice.vad.base import VADEvent, VADEventType

__all__ = ["FrameFeed", "Hearing", "HearingSink"]

_log = logging.getLogger("roomkit.voice.channel")

# Two seconds of 20 ms frames: if the stages are that far behind, newer audio is worth more.
_FRAMES_WAITING: Final = 100
# How long the stages may keep the event loop before others get their turn.
_TURN_SECONDS: Final = 0.005
# How late a detector may tell of speech.
_DETECTED_WITHIN_MS: Final = 2000.0


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
        turn_ends = time.perf_counter() + _TURN_SECONDS
        while self._frames:
            hearing, frame = self._frames.popleft()
            hearing.waiting -= 1
            try:
                # In its own call's context, not in that of the call whose frame woke this.
                hearing.context.run(hearing.process, frame)
            except Exception as error:  # noqa: BLE001 (one call's trouble must not stop the others' audio)
                log_fault(_log, error, "a frame could not be processed")
            if self._frames and time.perf_counter() >= turn_ends:
                asyncio.get_running_loop().call_soon(self._work)
                return
        self._scheduled = False


class HearingSink(Protocol):
    """Who is told what was heard, at once and in order. Times are of the event loop's clock."""

    def speech(self, started: bool, at_ms: float) -> None:
        """The caller began or stopped to speak."""

    def key(self) -> None:
        """He pressed a key."""

    def partial(self, utterance: int, text: str) -> None:
        """What a recogniser believes so far."""

    def recognised(self, utterance: int, text: str) -> None:
        """All that it made of an utterance; empty where that was nothing."""

    def not_recognised(self) -> None:
        """The recogniser failed: what the caller said is lost."""


@dataclass(slots=True)
class _Pending:
    """An utterance whose recognition is not over, and what is to be told of it in its turn."""

    utterance: Utterance
    results: deque[TranscriptionResult] = field(default_factory=deque)
    texts: list[str] = field(default_factory=list)
    over: bool = False


class Hearing:
    """Runs the pipeline of one call and tells its hooks and its `sink` what was heard.

    `transcribed(utterance, work)` gets, for each final transcript, the coroutine that runs its
    hooks and returns the text that they let pass.
    """

    def __init__(
        self,
        session: VoiceSession,
        hooks: HookRunner,
        config: AudioPipelineConfig,
        stt: STTProvider | None,
        sink: HearingSink,
        beside: Beside,
        *,
        recogniser_seconds: float,
        transcribed: Callable[[int, Awaitable[str]], None],
    ) -> None:
        self._session = session
        self.context = contextvars.copy_context()
        """That of whoever opened the session: its stages, recogniser and hooks run there."""
        self._hooks = hooks
        self._config = config
        self._stt = stt
        self._sink = sink
        self._beside = beside
        self._seconds = recogniser_seconds
        self._transcribed = transcribed
        self._began_ms = now_ms()
        self._ended = False
        self._presses = Presses()
        self._engine: PipelineEngine | None = None
        self.recording: Recording | None = None
        # From the frames' timeline to the event loop's clock: the least that was seen, since a
        # frame may be late and never early.
        self._offset_ms: float | None = None
        self._at_ms = 0.0  # the end of the frame that is being processed, on the loop's clock
        # What was heard last, with the media time of each frame: that has no jumps.
        self._recent: deque[tuple[float, AudioFrame]] = deque()
        self._floor_ms = float("-inf")
        self._utterance: Utterance | None = None
        self._pending: deque[_Pending] = deque()
        self.frames = CallbackList("on_frame")
        """Told of every frame as the stages leave it."""
        self.waiting = 0
        """Frames of this call in the feed."""
        self.dropped = 0
        """Frames that the stages were too slow for."""

    def open(self, recording: Recording | None) -> None:
        """Makes the stages. Raises what they raise; then nothing is open."""
        self.recording = recording
        self._engine = PipelineEngine(self._config, self, recording)

    @property
    def engine(self) -> PipelineEngine | None:
        """The stages, once `open` has made them."""
        return self._engine

    def process(self, frame: AudioFrame) -> None:
        """Runs the next frame through the stages."""
        if self._ended or self._engine is None:
            return
        if self.waiting >= _FRAMES_WAITING:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning(
                    "session %s: the pipeline is too slow, audio is dropped", self._session.id
                )
            return
        now, length_ms = now_ms(), frame.duration_ms
        if frame.timestamp_ms is None:
            at_ms = now - length_ms
        else:
            offset = now - length_ms - frame.timestamp_ms
            if self._offset_ms is None or offset < self._offset_ms:
                self._offset_ms = offset
            at_ms = self._offset_ms + frame.timestamp_ms
        self._at_ms = at_ms + length_ms
        self._engine.process(frame, at_ms - self._began_ms)

    def played(self, frame: AudioFrame) -> None:
        """A frame has left for the caller."""
        if self._engine is not None and not self._ended:
            self._engine.played(frame)

    def finish(self) -> None:
        """No more frames count: stages and detector are closed. Idempotent."""
        if not self._ended:
            self._ended = True
            if self._engine is not None:
                self._engine.finish()

    async def settle(self) -> None:
        """Returns when the utterances so far have been recognised or given up."""
        while self._pending:
            await self._pending[-1].utterance.news()

    # --- what the conversation asks for ---------------------------------------------------------

    def open_utterance(self, number: int, at_ms: float) -> None:
        """The audio from `at_ms` on is an utterance, and what came a little before."""
        utterance = self._utterance = Utterance(number, self._config.max_utterance_ms)
        begins_ms = at_ms - (self._offset_ms or 0.0)
        from_ms = max(begins_ms - self._config.pre_roll_ms, self._floor_ms)
        for frame_ms, frame in self._recent:
            if frame_ms + frame.duration_ms > from_ms + _EDGE_MS:
                utterance.add(_chunk(frame))
        media_ms = None if self._offset_ms is None else begins_ms
        self._hooks.emit(
            HookTrigger.ON_SPEECH_START, SpeechStartEvent(self._session, media_ms, number)
        )
        if self._stt is not None:
            pending = _Pending(utterance)
            self._pending.append(pending)
            recognition = Recognition(
                self._stt,
                utterance,
                self._beside,
                self._seconds,
                heard=lambda result: self._heard(pending, result),
                failed=self._stt_failed,
            )
            work = self._recognise(recognition, pending)
            self._beside.run(work, f"utterance {number}", self.context)

    def close_utterance(self, number: int, *, goes_on: bool) -> None:
        """The utterance is complete. `goes_on`: the caller still speaks, and what follows is the
        next one's."""
        utterance = self._utterance
        if utterance is None or utterance.number != number:
            return
        self._utterance = None
        if goes_on and self._recent:
            last_ms, frame = self._recent[-1]
            self._floor_ms = last_ms + frame.duration_ms
        utterance.close()
        event = SpeechEndEvent(
            self._session, utterance.audio, utterance.at_ms, utterance.truncated, number
        )
        self._hooks.emit(HookTrigger.ON_SPEECH_END, event)
        self._flush()

    # --- what the pipeline finds (PipelineSink) -----------------------------------------------

    def signalled(self, event: DTMFEvent) -> None:
        """The backend told a digit."""
        now = now_ms() - self._began_ms
        if self._presses.is_new(event.digit, "backend", now, event.duration_ms):
            self._emit_digit(event)

    def digit(self, event: DTMFEvent) -> None:
        at_ms = self._at_ms - self._began_ms
        if self._presses.is_new(event.digit, "stage", at_ms, event.duration_ms):
            self._emit_digit(event)

    def _emit_digit(self, event: DTMFEvent) -> None:
        self._sink.key()
        self._hooks.emit(
            HookTrigger.ON_DTMF,
            DTMFDetectedEvent(
                self._session, event.digit, event.duration_ms, event.confidence, event.masked
            ),
        )

    def frame(self, frame: AudioFrame, at_ms: float) -> None:
        if self._config.vad is not None:
            self._keep(frame, at_ms)
        if self._utterance is not None:
            self._utterance.add(_chunk(frame))
        self.frames.fire(self._session, frame)

    def _keep(self, frame: AudioFrame, at_ms: float) -> None:
        """What an utterance may begin with, when the detector has noticed it."""
        timestamp_ms = frame.timestamp_ms
        begins_ms = at_ms + self._began_ms if timestamp_ms is None else timestamp_ms
        self._recent.append((begins_ms, frame))
        keep_ms = self._config.pre_roll_ms + _DETECTED_WITHIN_MS
        while self._recent and self._recent[0][0] < begins_ms - keep_ms:
            self._recent.popleft()

    def vad(self, event: VADEvent) -> None:
        at_ms = self._at_ms
        if event.timestamp_ms is not None and self._offset_ms is not None:
            at_ms = min(at_ms, event.timestamp_ms + self._offset_ms)
        self._sink.speech(event.type is VADEventType.SPEECH_START, at_ms)

    def stage_failed(self, stage: str, error: Exception) -> None:
        self._hooks.report(self._session, f"pipeline {stage}", error)

    # --- transcripts --------------------------------------------------------------------------

    async def _recognise(self, recognition: Recognition, pending: _Pending) -> None:
        works = True
        try:
            works = await recognition.run()
        finally:
            pending.over = True
            self._flush()
            pending.utterance.changed.set()
        if not works:
            self._sink.not_recognised()

    def _heard(self, pending: _Pending, result: TranscriptionResult) -> None:
        text = result.text.strip()
        if not text:
            return
        if result.is_final:
            pending.texts.append(text)
        self._sink.partial(
            pending.utterance.number,
            " ".join([*pending.texts, *([] if result.is_final else [text])]),
        )
        pending.results.append(result)
        self._flush()

    def _flush(self) -> None:
        """Tells what came, utterance by utterance: what was said first is told first."""
        while self._pending:
            first = self._pending[0]
            number = first.utterance.number
            while first.results:
                result = first.results[0]
                # The end of speech is told before the transcript.
                if result.is_final and not first.utterance.closed:
                    return
                first.results.popleft()
                if result.is_final:
                    self._transcribed(number, self._final(result, number))
                else:
                    self._partial(result, number)
            if not first.over or not first.utterance.closed:
                return
            self._pending.popleft()
            self._sink.recognised(number, " ".join(first.texts))

    def _partial(self, result: TranscriptionResult, number: int) -> None:
        partial = PartialTranscriptionEvent(self._session, result.text, result.confidence, number)
        self._hooks.emit(HookTrigger.ON_PARTIAL_TRANSCRIPTION, partial)

    async def _final(self, result: TranscriptionResult, number: int) -> str:
        event = TranscriptionEvent(
            self._session, result.text, result.language, result.confidence, number
        )
        verdict = await self._hooks.run(HookTrigger.ON_TRANSCRIPTION, event)
        return verdict.event.text.strip() if verdict.allowed else ""

    def _stt_failed(self, error: Exception) -> None:
        assert self._stt is not None
        log_fault(_log, error, "session %s: %s failed", self._session.id, self._stt.name)
        self._hooks.report(self._session, "stt", error)


_EDGE_MS: Final = 0.5


def _chunk(frame: AudioFrame) -> AudioChunk:
    return AudioChunk(
        frame.data, frame.sample_rate, frame.channels, timestamp_ms=frame.timestamp_ms
    )
