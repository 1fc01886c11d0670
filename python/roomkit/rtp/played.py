"""`PlayedTap`: the audio that has left, for those who need to know what the far end hears (a
recorder, an echo canceller)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from roomkit.voice.frame import AudioFrame, frame_from_media

__all__ = ["PlayedTap", "Run"]

_FRAME_MS: Final = 20
_SAMPLE_MS: Final = 0.126
"""The core tells where a frame begins to the sample, rounded down; of the lowest rate one lasts
so long."""

Run: TypeAlias = tuple[int, int, int, float, float | None, bool]
"""Playback, samples of it before these, how many these are, when the first was due on the media
clock and where it lies on the inbound timeline, in ms, and whether nothing more of it leaves."""


class PlayedTap:
    """Keeps what was pushed until the core says that it left, and makes frames of it: of 20 ms, in
    the rate and channels in which it was given, and shorter ones where a playback ends, pauses or
    runs dry. Each has the time at which it left.

    What waits here is bounded by the lead, since a source is asked for more only as its audio
    leaves. Of the threads that use it one is let in at a time.
    """

    def __init__(self) -> None:
        self._playbacks: dict[int, deque[_Piece]] = {}
        self._open: _Open | None = None

    def pushed(
        self, number: int, first: int, pcm: bytes | memoryview, sample_rate: int, channels: int
    ) -> None:
        """Audio of playback `number` went into the core, behind `first` samples of it."""
        pieces = self._playbacks.setdefault(number, deque())
        pieces.append(_Piece(first, bytes(pcm), sample_rate, channels))

    def left(self, runs: Iterable[Run], clock_ms: float | None) -> list[AudioFrame]:
        """The frames that are complete with what the core says that left; `clock_ms`: by that time
        of the media clock all of it is told."""
        frames: list[AudioFrame] = []
        for number, first, samples, at_ms, timestamp_ms, over in runs:
            if samples:
                self._run(frames, number, first, samples, at_ms, timestamp_ms)
            if over:
                self._playbacks.pop(number, None)
                if self._open is not None and self._open.number == number:
                    self._flush(frames)
        late_ms = 2 * _FRAME_MS
        if self._open and clock_ms is not None and clock_ms - self._open.clock_ms > late_ms:
            # What would make it a whole frame has not left in its time.
            self._flush(frames)
        return frames

    def _run(
        self,
        frames: list[AudioFrame],
        number: int,
        first: int,
        samples: int,
        clock_ms: float,
        timestamp_ms: float | None,
    ) -> None:
        pieces = self._playbacks.get(number)
        while pieces and samples:
            piece = pieces[0]
            if piece.end <= first:
                pieces.popleft()
                continue
            skipped = min(samples, max(0, piece.first - first))
            if skipped:  # it was pushed before anybody wanted to know
                step_ms = skipped * 1000 / piece.sample_rate
            else:
                taken = min(samples, piece.end - first)
                self._add(frames, number, piece, first, taken, clock_ms, timestamp_ms)
                skipped, step_ms = taken, taken * 1000 / piece.sample_rate
            first += skipped
            samples -= skipped
            clock_ms += step_ms
            timestamp_ms = None if timestamp_ms is None else timestamp_ms + step_ms

    def _add(
        self,
        frames: list[AudioFrame],
        number: int,
        piece: _Piece,
        first: int,
        samples: int,
        clock_ms: float,
        timestamp_ms: float | None,
    ) -> None:
        """Samples of one piece, as whole frames; what is left of them stays open."""
        form = (piece.sample_rate, piece.channels)
        whole = piece.sample_rate * _FRAME_MS // 1000
        while samples:
            if self._open is not None and not self._open.goes_on(number, form, first, clock_ms):
                self._flush(frames)
            if self._open is None:
                self._open = _Open(number, form, first, clock_ms, timestamp_ms)
            taken = min(samples, whole - self._open.samples)
            self._open.data += piece.cut(first, taken)
            self._open.samples += taken
            first += taken
            samples -= taken
            step_ms = taken * 1000 / piece.sample_rate
            clock_ms += step_ms
            timestamp_ms = None if timestamp_ms is None else timestamp_ms + step_ms
            if self._open.samples == whole:
                self._flush(frames)

    def _flush(self, frames: list[AudioFrame]) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            frames.append(opened.frame())


@dataclass(slots=True)
class _Open:
    """A frame that is not whole yet."""

    number: int
    form: tuple[int, int]
    first: int
    clock_ms: float
    timestamp_ms: float | None
    samples: int = 0
    data: bytearray = field(default_factory=bytearray)

    def goes_on(self, number: int, form: tuple[int, int], first: int, clock_ms: float) -> bool:
        """Whether what begins there follows without a gap."""
        end_ms = self.clock_ms + self.samples * 1000 / self.form[0]
        return (number, form, first) == (self.number, self.form, self.first + self.samples) and abs(
            clock_ms - end_ms
        ) <= _SAMPLE_MS

    def frame(self) -> AudioFrame:
        """It, as it is."""
        frame = frame_from_media(bytes(self.data), *self.form, 0.0, None, self.clock_ms)
        frame.timestamp_ms = self.timestamp_ms
        return frame


@dataclass(slots=True)
class _Piece:
    first: int
    """Samples of the playback before it."""
    pcm: bytes
    sample_rate: int
    channels: int

    @property
    def end(self) -> int:
        return self.first + len(self.pcm) // (2 * self.channels)

    def cut(self, first: int, samples: int) -> bytes:
        """Samples of the playback that are in it."""
        width = 2 * self.channels
        begin = (first - self.first) * width
        return self.pcm[begin : begin + samples * width]
