"""`PipelineEngine`: runs one call's inbound frames through the stages."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from roomkit.voice.base import AudioChunk
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import AudioPipelineConfig, Recording
from roomkit.voice.vad.base import VADEvent, VADEventType

__all__ = ["PipelineEngine", "PipelineSink"]

_log = logging.getLogger("roomkit.voice.pipeline")
_T = TypeVar("_T")

# A stage that fails on every frame for one second of 20 ms frames will not recover.
_FAILURES_TO_GIVE_UP = 50


class PipelineSink(Protocol):
    """Who is told what the stages find. Called synchronously, in the order of the audio."""

    def digit(self, event: DTMFEvent) -> None:
        """A digit was heard in the audio."""

    def speech_started(self, timestamp_ms: float | None) -> None:
        """The caller began to speak."""

    def speech(self, chunk: AudioChunk) -> None:
        """More of the utterance, beginning with the pre-roll."""

    def speech_ended(self, audio: AudioChunk, at_ms: float | None, truncated: bool) -> None:
        """The utterance is complete."""

    def stage_failed(self, stage: str, error: Exception) -> None:
        """A stage raised; reported once per row of failures."""


class PipelineEngine:
    """One call's stages. `process` takes its frames in order; `finish` ends an utterance that the
    end of the call cuts short.

    A stage that raises loses that frame only; one that does nothing but raise is given up.
    """

    def __init__(
        self, config: AudioPipelineConfig, sink: PipelineSink, recording: Recording | None = None
    ) -> None:
        self._config = config
        self._sink = sink
        self._recording = recording
        self._vad = config.vad.new_session() if config.vad else None
        self._dtmf = config.dtmf.new_session() if config.dtmf else None
        self._failures: dict[str, int] = {}
        self._before: deque[AudioFrame] = deque()
        self._before_ms = 0.0
        self._utterance: list[bytes] | None = None
        self._utterance_ms = 0.0
        self._utterance_at: float | None = None
        self._format = (0, 0)

    def process(self, frame: AudioFrame, at_ms: float) -> None:
        """Runs the next frame through every stage. `at_ms`: since the session began."""
        if self._recording is not None:
            recording = self._recording
            self._guard("recorder", lambda: recording.inbound(frame, at_ms))
        if self._dtmf is not None:
            detector = self._dtmf
            for digit in self._guard("dtmf", lambda: detector.process(frame)) or ():
                self._sink.digit(digit)
        if self._vad is None:
            return
        vad = self._vad
        event = self._guard("vad", lambda: vad.process(frame))
        if self._utterance is None:
            self._remember(frame)
        else:
            self._extend(frame)
        if event is not None:
            self._act_on(event)

    def finish(self) -> None:
        """No more frames come."""
        self._end_utterance()

    def _act_on(self, event: VADEvent) -> None:
        if event.type is VADEventType.SPEECH_END:
            self._end_utterance()
        elif self._utterance is None:
            self._begin_utterance(event)

    def _remember(self, frame: AudioFrame) -> None:
        """Keeps what an utterance may have begun with."""
        self._before.append(frame)
        self._before_ms += frame.duration_ms
        while self._before and self._before_ms - self._before[0].duration_ms >= self._keep_ms:
            self._before_ms -= self._before.popleft().duration_ms

    @property
    def _keep_ms(self) -> float:
        # One frame at least: the one that settled it is speech.
        return max(self._config.pre_roll_ms, 1.0)

    def _begin_utterance(self, event: VADEvent) -> None:
        self._sink.speech_started(event.timestamp_ms)
        first = self._before[0]
        self._utterance, self._utterance_ms = [], 0.0
        self._utterance_at = first.timestamp_ms
        self._format = (first.sample_rate, first.channels)
        for frame in self._before:
            self._extend(frame)
        self._before.clear()
        self._before_ms = 0.0

    def _extend(self, frame: AudioFrame) -> None:
        assert self._utterance is not None
        if (frame.sample_rate, frame.channels) != self._format:
            # One utterance has one format; the codec of a call changes between them at best.
            return
        self._utterance_ms += frame.duration_ms
        if self._utterance_ms > self._config.max_utterance_ms:
            return
        self._utterance.append(frame.data)
        self._sink.speech(AudioChunk(frame.data, *self._format, timestamp_ms=frame.timestamp_ms))

    def _end_utterance(self) -> None:
        if self._utterance is None:
            return
        audio = AudioChunk(b"".join(self._utterance), *self._format, is_final=True)
        truncated = self._utterance_ms > self._config.max_utterance_ms
        self._utterance = None
        self._sink.speech_ended(audio, self._utterance_at, truncated)

    def _guard(self, stage: str, call: Callable[[], _T]) -> _T | None:
        failures = self._failures.get(stage, 0)
        if failures >= _FAILURES_TO_GIVE_UP:
            return None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 (a stage may raise anything)
            self._failures[stage] = failures + 1
            if failures == 0:
                _log.exception("pipeline stage %s raised; the call goes on", stage)
                self._sink.stage_failed(stage, error)
            elif failures + 1 == _FAILURES_TO_GIVE_UP:
                _log.error("pipeline stage %s keeps raising: left out from here on", stage)
            return None
        if failures:
            self._failures[stage] = 0
        return result
