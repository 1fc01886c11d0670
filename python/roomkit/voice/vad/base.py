"""`VADProvider`: the interface of voice activity detectors."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from roomkit.voice.frame import AudioFrame

__all__ = ["VADEvent", "VADEventType", "VADProvider"]


class VADEventType(StrEnum):
    """What a detector noticed."""

    SPEECH_START = "speech_start"
    SPEECH_END = "speech_end"


@dataclass(frozen=True, slots=True)
class VADEvent:
    """Speech began or ended."""

    type: VADEventType
    timestamp_ms: float | None = None
    """Media time at which it did: usually earlier than the frame that settled it."""
    level_dbfs: float | None = None
    """Level of the frame that settled it, in dB below full scale (0 or less)."""


class VADProvider(ABC):
    """Finds the beginnings and ends of speech in the frames of one call.

    A detector has the state of one call. The one in `AudioPipelineConfig` is the pattern: the
    pipeline takes a detector of its own for every session by `new_session`.
    """

    @abstractmethod
    def process(self, frame: AudioFrame) -> VADEvent | None:
        """Takes the next frame; an event when speech begins or ends with it.

        Called on the event loop, once per frame and session: it must not block.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forgets everything heard: the next frame starts afresh."""

    def new_session(self) -> Self:
        """A detector with the same settings for another call. This one makes a deep copy and
        resets that; a detector that shares a model between calls does better."""
        fresh = copy.deepcopy(self)
        fresh.reset()
        return fresh
