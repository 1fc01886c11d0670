"""`Side`: places one side's frames on the recording's timeline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from roomkit.voice.frame import AudioFrame

__all__ = ["Segment", "Side"]

# Places are sums of floats, and a frame of a rate that 20 ms do not divide has some samples fewer:
# what begins this close to the end of the frame before goes on from there.
_EXACT_MS: Final = 2.0
# Without the media clock a place is when the event loop got to it. Within a frame it is no gap.
_GUESSED_MS: Final = 20.0


@dataclass(slots=True)
class Segment:
    """Audio of one side without a gap, in one format."""

    side: int
    at_ms: float
    """Where its run begins, if this is the first of it."""
    sample_rate: int
    channels: int
    begins: bool
    """It begins a run; the others go on where the one before ended, to the sample."""
    data: bytearray = field(default_factory=bytearray)

    @property
    def duration_ms(self) -> float:
        return len(self.data) / (2 * self.channels) * 1000 / self.sample_rate


class Side:
    """Frames in, segments out. Places come from the frames; what comes twice is taken once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.overlapped_ms = 0.0
        """What was left out because its place was taken already."""
        self._segments: list[Segment] = []
        self._format = (0, 0)
        self._run_ms = 0.0
        self._run_samples = 0
        self._broken = True

    @property
    def end_ms(self) -> float:
        """Where what was placed last ends."""
        if not self._run_samples:
            return self._run_ms
        return self._run_ms + self._run_samples * 1000 / self._format[0]

    def add(self, frame: AudioFrame, at_ms: float, *, silent: bool = False) -> None:
        """Places a frame; `silent`: silence of its length."""
        rate, channels = frame.sample_rate, frame.channels
        width = 2 * channels
        skip = 0
        expected = self.end_ms
        gap = at_ms - expected
        close = abs(gap) <= (_GUESSED_MS if frame.clock_ms is None else _EXACT_MS)
        if not close and gap < 0:
            skip = min(frame.samples, math.ceil(-gap * rate / 1000))
            self.overlapped_ms += skip * 1000 / rate
            if skip == frame.samples:
                return
        if not frame.data:
            return
        if self._broken or (rate, channels) != self._format or not (close or gap < 0):
            self._format = (rate, channels)
            self._run_ms = expected if close or gap < 0 else at_ms
            self._run_samples = 0
            self._segments.append(Segment(self.number, self._run_ms, rate, channels, begins=True))
            self._broken = False
        elif not self._segments:
            self._segments.append(Segment(self.number, self.end_ms, rate, channels, begins=False))
        data = frame.data[skip * width :] if skip else frame.data
        self._segments[-1].data += bytes(len(data)) if silent else data
        self._run_samples += len(data) // width

    def take(self) -> Iterator[Segment]:
        """What was placed since the last time."""
        segments, self._segments = self._segments, []
        yield from segments

    def break_off(self) -> None:
        """What was taken is lost: what follows begins anew, at its place."""
        self._broken = True
