"""The stages of a pipeline and their configuration."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from roomkit.errors import shown
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.base import VADProvider

__all__ = ["AudioPipelineConfig", "DTMFDetector", "RecorderProvider", "Recording"]


class DTMFDetector(ABC):
    """Finds digits in the audio, for lines that do not signal them beside it.

    As with `VADProvider`, the one in the configuration is the pattern for one per session.
    """

    @abstractmethod
    def process(self, frame: AudioFrame) -> Sequence[DTMFEvent]:
        """Takes the next frame; the digits that are complete with it, in order."""

    def new_session(self) -> Self:
        """A detector with the same settings for another call: this one makes a deep copy."""
        return copy.deepcopy(self)


class Recording(ABC):
    """The recording of one call. `at_ms` is in ms since the session began, for both sides."""

    @abstractmethod
    def inbound(self, frame: AudioFrame, at_ms: float) -> None:
        """The caller's audio. Must not block."""

    @abstractmethod
    def outbound(self, chunk: AudioChunk, at_ms: float) -> None:
        """Audio that was played to the caller. Must not block."""

    @abstractmethod
    async def close(self) -> Sequence[Path]:
        """Completes it; the files written. Idempotent."""


class RecorderProvider(ABC):
    """Makes a recording for every call."""

    @abstractmethod
    def open(self, session: VoiceSession) -> Recording:
        """The recording of a call that begins now."""


@dataclass(frozen=True, slots=True)
class AudioPipelineConfig:
    """What a `VoiceChannel` does with inbound audio. Every stage is optional.

    Order: recorder (what came in, untouched), dtmf, vad. Raises `ValueError` for times out of
    range, `TypeError` for a stage of another kind.
    """

    vad: VADProvider | None = None
    """Finds speech: without it there are no speech hooks and no transcripts."""
    dtmf: DTMFDetector | None = None
    """Finds digits in the audio. Signalled digits (RFC 4733) need no stage."""
    recorder: RecorderProvider | None = None
    """Records every call, both sides."""
    pre_roll_ms: float = 300.0
    """How much audio from before speech was noticed belongs to the utterance, 0 to 2000."""
    max_utterance_ms: float = 60_000.0
    """An utterance's audio is kept up to this length, 1000 to 600000."""

    def __post_init__(self) -> None:
        stages = {"vad": VADProvider, "dtmf": DTMFDetector, "recorder": RecorderProvider}
        for name, kind in stages.items():
            stage = getattr(self, name)
            if stage is not None and not isinstance(stage, kind):
                raise TypeError(f"{name}: {type(stage).__name__}; a {kind.__name__} fits")
        for name, low, high in (("pre_roll_ms", 0, 2000), ("max_utterance_ms", 1000, 600_000)):
            value: object = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:  # type: ignore[operator]
                raise ValueError(f"{name}: {shown(value)}; {low} to {high} fits")
