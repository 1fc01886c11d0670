"""`Windows`: of frames of any rate and number of channels, windows of 8 kHz mono."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from roomkit.voice.frame import AudioFrame

__all__ = ["RATE", "Decimator", "Windows"]

RATE = 8000
_Samples = npt.NDArray[np.float32]
# Frames whose time differs by more than this from where the last one ended do not follow it.
_SEAM_MS = 1.0


class Windows:
    """One call's audio, cut into windows.

    Each is preceded by the last `context` samples of the one before, as the model wants it. What
    is yielded is used again: it holds until the next one is asked for.
    """

    __slots__ = (
        "_begin",
        "_context",
        "_decimator",
        "_filled",
        "_format",
        "_made_up",
        "_next_ms",
        "_rest",
        "_row",
        "at_ms",
        "made_up",
    )

    def __init__(self, window: int, context: int) -> None:
        self._context = context
        self._row: _Samples = np.zeros(context + window, np.float32)
        self._filled = context
        self._rest: _Samples | None = None  # of the frame that the last window ended in
        self._format = (0, 0)
        self._decimator: Decimator | None = None
        self._next_ms: float | None = None  # when the next frame begins, if it follows
        self._made_up = 0  # samples of the row that replace lost ones
        self.at_ms: float | None = None
        """Media time at which the window that was cut last ends."""
        self.made_up = False
        """Whether most of it replaces audio that was lost on the way."""

    def cut(self, frame: AudioFrame) -> Iterator[_Samples]:
        """The windows that the next frame completes."""
        samples = self._mono(frame)
        begins = frame.timestamp_ms
        if begins is None:
            self.at_ms = self._next_ms = None
        else:
            if self._next_ms is None or abs(begins - self._next_ms) > _SEAM_MS:
                # The first one, or one after a gap: time is counted from here.
                self.at_ms = begins - (self._filled - self._context) * 1000 / RATE
            self._next_ms = begins + frame.duration_ms
        lost = frame.kind == "concealed"
        row, place, end = self._row, 0, len(self._row)
        while place < len(samples):
            count = min(len(samples) - place, end - self._filled)
            row[self._filled : self._filled + count] = samples[place : place + count]
            self._filled += count
            place += count
            self._made_up += count if lost else 0
            if self._filled == end:
                if self.at_ms is not None:
                    self.at_ms += (end - self._context) * 1000 / RATE
                self.made_up = 2 * self._made_up > end - self._context
                yield row
                row[: self._context] = row[end - self._context :]
                self._filled, self._made_up = self._context, 0

    def _mono(self, frame: AudioFrame) -> _Samples | npt.NDArray[np.int16]:
        """Samples of 8 kHz, in steps of 16 bit."""
        samples = np.frombuffer(frame.data, "<i2")
        if (frame.sample_rate, frame.channels) == (RATE, 1):
            return samples
        if self._format != (frame.sample_rate, frame.channels):
            self._format = (frame.sample_rate, frame.channels)
            self._decimator = Decimator(frame.sample_rate) if frame.sample_rate != RATE else None
        mixed = samples.astype(np.float32)
        if frame.channels > 1:
            mixed = mixed.reshape(-1, frame.channels).mean(axis=1)
        return mixed if self._decimator is None else self._decimator.process(mixed)


class Decimator:
    """Brings a stream of more than 8 kHz to 8 kHz: a windowed sinc in phases, with a cut at
    3.7 kHz. It is behind by less than 2 ms."""

    __slots__ = ("_at", "_kept", "_phases", "_step", "_taps", "_up")

    def __init__(self, rate: int) -> None:
        """`rate`: of what comes, above 8000."""
        divisor = math.gcd(rate, RATE)
        self._up, self._step = RATE // divisor, rate // divisor
        # So many samples of what comes make one that leaves, from eight periods of the lower rate
        # to each side.
        half = math.ceil(8 * rate / RATE)
        self._taps = 2 * half
        phase = np.arange(self._up)[:, None] / self._up
        t = (np.arange(self._taps)[None, :] - half + 1 - phase) / half
        cut = 2 * 3700 / rate
        taps = np.sinc(cut * t * half) * np.where(abs(t) < 1, 0.5 + 0.5 * np.cos(np.pi * t), 0)
        self._phases: _Samples = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
        self._kept: _Samples = np.zeros(half - 1, np.float32)
        self._at = 0  # place of the next sample, in samples of what comes, times `_up`

    def process(self, samples: _Samples) -> _Samples:
        """What is complete with the next samples."""
        joined = np.concatenate([self._kept, samples])
        # The sample at place p is made of those from p on, `_taps` of them.
        room = (len(joined) - self._taps) * self._up - self._at
        count = max(room // self._step + 1, 0)
        if not count:
            self._kept = joined
            return joined[:0]
        if self._up == 1:
            # Overlapping rows, without a copy.
            octets = joined.itemsize
            made: _Samples = (
                np.ndarray(
                    (count, self._taps),
                    np.float32,
                    joined,
                    self._at * octets,
                    (self._step * octets, octets),
                )
                @ self._phases[0]
            )
        else:
            places = self._at + self._step * np.arange(count)
            rows = (places // self._up)[:, None] + np.arange(self._taps)
            made = np.einsum("ij,ij->i", joined[rows], self._phases[places % self._up])
        self._at += count * self._step
        used = self._at // self._up
        self._kept = joined[used:]
        self._at -= used * self._up
        return made
