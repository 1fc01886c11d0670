"""`VADProvider`: the interface of voice activity detectors."""

from __future__ import annotations

import array
import copy
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from roomkit.voice.frame import AudioFrame

__all__ = ["VADEvent", "VADEventType", "VADProvider", "VADStream"]


_CONTAINERS = (list, dict, set, deque, bytearray, array.array)


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
    """Finds the beginnings and ends of speech in the frames of calls.

    The one in `AudioPipelineConfig` is opened once for every call (`open`). A detector of one call
    is the pattern for those of the others, by `new_session`; one that all calls share has an `open`
    of its own. None is ever copied deeply.
    """

    @property
    def name(self) -> str:
        """What logs and statistics call it: the name of its class, unless it says otherwise."""
        return type(self).__name__

    @abstractmethod
    def process(self, frame: AudioFrame) -> VADEvent | None:
        """Takes the next frame; an event when speech begins or ends with it.

        Called on the event loop, once per frame and session: it must not block.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forgets everything heard: the next frame starts afresh."""

    def new_session(self) -> Self:
        """A detector with the same settings for another call: a shallow copy of this one, reset. It
        shares what this one refers to, such as a model. Lists, deques and the like that are
        attributes are its own, so that `reset` may make them anew or empty what it finds."""
        fresh = copy.copy(self)
        for name, value in getattr(fresh, "__dict__", {}).items():
            if isinstance(value, _CONTAINERS):
                fresh.__dict__[name] = copy.copy(value)
        fresh.reset()
        return fresh

    def open(self, tell: Callable[[VADEvent], None]) -> VADStream:
        """What one call feeds. `tell` is to be called on the event loop, in the order of the audio,
        during `feed` or later.

        This one takes a detector of its own (`new_session`) and asks it frame by frame; a detector
        that decides elsewhere (a thread, a batch of many calls) has its own.
        """
        return _OneByOne(self.new_session(), tell)


class VADStream(ABC):
    """One call's side of a detector."""

    @abstractmethod
    def feed(self, frame: AudioFrame) -> None:
        """Takes the next frame, on the event loop. Must not block."""

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """No more frames come, and nothing is told any longer. Idempotent."""


class _OneByOne(VADStream):
    def __init__(self, detector: VADProvider, tell: Callable[[VADEvent], None]) -> None:
        self._detector = detector
        self._tell = tell

    def feed(self, frame: AudioFrame) -> None:
        event = self._detector.process(frame)
        if event is not None:
            self._tell(event)
