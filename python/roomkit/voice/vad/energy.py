"""`EnergyVAD`: speech is what is clearly louder than the background."""

from __future__ import annotations

import math
import sys
from array import array
from collections import deque
from operator import mul

from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.base import VADEvent, VADEventType, VADProvider

__all__ = ["EnergyVAD", "level_dbfs"]

# Speech dips to the background within three seconds, at a breath or between words; a fan or a dial
# tone does not. The quietest moment of the last three seconds is therefore the background.
_FLOOR_WINDOW_MS = 3000.0
_FLOOR_BUCKETS = 6
# A line that is digitally silent has no background to compare with; -60 dBFS stands in for it, as
# the quietest room noise that G.711 still carries with a few steps (one step is about -84 dBFS).
_LOWEST_FLOOR_DBFS = -60.0
# To hold on to speech its level may be this much lower than to begin it: words fade out.
_HYSTERESIS_DB = 4.0
# A level is measured on at most this many samples of a frame: enough for 1 dB, at 48 kHz too.
_MEASURED_SAMPLES = 320


class EnergyVAD(VADProvider):
    """A detector by level alone, with a background level that adapts.

    Simple, and honest about it: it costs about 10 µs per 20 ms frame and needs no model, and it
    serves prompts, menus and recordings on a telephone line. It cannot tell speech from music or
    a barking dog, a noise that sets in suddenly counts as speech for up to three seconds, and
    speech that is not `margin_db` above a noisy background is missed.

    `margin_db`: how far above the background speech begins, in dB, 3 to 40.
    `start_ms`: for how long it must last to count, 0 to 1000.
    `stop_ms`: the pause that ends it, 50 to 5000.
    Raises `ValueError` otherwise.
    """

    def __init__(
        self, *, margin_db: float = 12.0, start_ms: float = 60.0, stop_ms: float = 600.0
    ) -> None:
        _check("margin_db", margin_db, 3, 40)
        _check("start_ms", start_ms, 0, 1000)
        _check("stop_ms", stop_ms, 50, 5000)
        self.margin_db = float(margin_db)
        self.start_ms = float(start_ms)
        self.stop_ms = float(stop_ms)
        self.reset()

    @property
    def name(self) -> str:
        return "energy"

    def reset(self) -> None:
        self.speaking = False
        """True between a start and its end."""
        self._run_ms = 0.0  # for how long the frames have contradicted `speaking`
        self._bucket_ms = 0.0
        self._bucket_floor = math.inf
        self._floors: deque[float] = deque(maxlen=_FLOOR_BUCKETS)

    @property
    def floor_dbfs(self) -> float:
        """The background level as it is believed to be now."""
        return max(_LOWEST_FLOOR_DBFS, min(self._bucket_floor, *self._floors, 0.0))

    def process(self, frame: AudioFrame) -> VADEvent | None:
        if not frame.data:
            return None
        level = level_dbfs(frame)
        length = frame.duration_ms
        threshold = self.floor_dbfs + self.margin_db - (_HYSTERESIS_DB if self.speaking else 0.0)
        # What was filled in tells nothing about the room, and a lost packet does not end a word.
        if frame.kind == "received":
            self._learn(level, length)
        elif frame.kind == "concealed":
            return None
        if (level >= threshold) is self.speaking:
            self._run_ms = 0.0
            return None
        self._run_ms += length
        if self._run_ms < (self.stop_ms if self.speaking else self.start_ms):
            return None
        # It began, or ended, when the run of contradicting frames did.
        at = None if frame.timestamp_ms is None else frame.timestamp_ms + length - self._run_ms
        self.speaking = not self.speaking
        self._run_ms = 0.0
        kind = VADEventType.SPEECH_START if self.speaking else VADEventType.SPEECH_END
        return VADEvent(kind, at, level)

    def _learn(self, level: float, length_ms: float) -> None:
        self._bucket_floor = min(self._bucket_floor, level)
        self._bucket_ms += length_ms
        if self._bucket_ms >= _FLOOR_WINDOW_MS / _FLOOR_BUCKETS:
            self._floors.append(self._bucket_floor)
            self._bucket_floor = math.inf
            self._bucket_ms = 0.0


def level_dbfs(frame: AudioFrame) -> float:
    """Root mean square of the frame in dB below full scale: 0 to -96 (-96 for digital silence)."""
    samples = array("h", frame.data)
    if sys.byteorder == "big":
        samples.byteswap()
    step = len(samples) // _MEASURED_SAMPLES
    if step > 1:
        samples = samples[::step]
    if not samples:
        return -96.0
    power = sum(map(mul, samples, samples)) / len(samples)
    return max(-96.0, 10 * math.log10(power / 32768**2)) if power else -96.0


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: {value!r}; {low} to {high} fits")
