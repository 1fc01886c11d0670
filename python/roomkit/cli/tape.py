"""`Tape`: what one end heard: the sound, what of it is real, when it was heard, how loud it is."""

from __future__ import annotations

import time
from array import array
from collections import deque
from pathlib import Path
from typing import Any

from roomkit.cli.signals import level_db
from roomkit.cli.wav import Recorder, samples_of
from roomkit.voice.frame import AudioFrame

__all__ = ["Tape"]


class Tape:
    """Takes the frames of one session, in order.

    With a `path` they are written to that WAV file as they come; the rate is that of the first.
    `keep` holds the samples in memory too. With an `origin`, a wall clock time, the tape begins
    there, with silence until the first frame: tapes of one origin can be laid side by side.
    """

    def __init__(
        self, path: Path | None = None, *, keep: bool = False, origin: float | None = None
    ) -> None:
        self.path = path
        self.keep = keep
        self.origin = origin
        self.samples: array[int] = array("h")
        self.sample_rate = 0
        self.channels = 1
        self.frames = 0
        self.lost: list[tuple[int, int]] = []
        """Samples from, to, that were concealed in the middle of sound: not what was sent."""
        self.faded: list[tuple[int, int]] = []
        """Samples from, to, that were concealed before a pause or the end: that nothing more would
        come could not be known yet."""
        self.start: float | None = None
        """Wall clock at which the first sample was heard, by the frame that was delivered with the
        least delay: the event loop may be late with one, never early."""
        self.level_db = -96.0
        self.levels: deque[float] = deque(maxlen=120)
        """Levels of the latest frames, in dB relative to full scale."""
        self._length = 0
        self._before = 0
        self._file: Recorder | None = None

    def add(self, frame: AudioFrame) -> None:
        """The next frame."""
        if not self.sample_rate:
            self.sample_rate, self.channels = frame.sample_rate, frame.channels
            if self.path is not None:
                self._file = Recorder(self.path, frame.sample_rate, frame.channels)
            if self.origin is not None:
                self._before = max(round((time.time() - self.origin) * self.sample_rate), 0)
                self._silence(self._before)
        samples = samples_of(frame.data)
        count = len(samples) // self.channels
        self._fill(frame.timestamp_ms)
        began = time.time() - self._length / self.sample_rate
        self.start = began if self.start is None else min(self.start, began)
        if frame.kind == "concealed":
            self._mark(self._length, self._length + count)
        elif frame.kind != "received" and self.lost and self.lost[-1][1] == self._length:
            self.faded.append(self.lost.pop())
        self._length += count
        self.frames += 1
        self.level_db = level_db(samples)
        self.levels.append(self.level_db)
        if self._file is not None:
            self._file.add(frame.data)
        if self.keep:
            self.samples.extend(samples)

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self._length / self.sample_rate if self.sample_rate else 0.0

    def facts(self) -> dict[str, Any]:
        """What the WAV file cannot hold, for JSON."""
        return {
            "sample_rate": self.sample_rate,
            "start": self.start,
            "seconds": round(self.seconds, 3),
            "lost": self.lost,
            "faded": self.faded,
        }

    def close(self) -> None:
        """Completes the tape and its file: no more frames. May be called again."""
        if self.lost and self.lost[-1][1] == self._length:
            self.faded.append(self.lost.pop())
        if self._file is not None:
            self._file.close()

    def _fill(self, timestamp_ms: float | None) -> None:
        """Keeps media time when frames were dropped because this process was too slow for them."""
        if timestamp_ms is None:
            return
        due = self._before + round(timestamp_ms / 1000 * self.sample_rate)
        missing = due - self._length
        if missing >= self.sample_rate // 200:
            self._mark(self._length, due)
            self._silence(missing)

    def _silence(self, count: int) -> None:
        self._length += count
        silence = bytes(2 * count * self.channels)
        if self._file is not None:
            self._file.add(silence)
        if self.keep:
            self.samples.frombytes(silence)

    def _mark(self, low: int, high: int) -> None:
        if self.lost and self.lost[-1][1] == low:
            self.lost[-1] = (self.lost[-1][0], high)
        else:
            self.lost.append((low, high))
