"""`Gain` and `NoiseGate`: stages that change how loud the caller is."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Final

from roomkit.errors import shown
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import Stage
from roomkit.voice.pipeline.samples import clipped, pcm_of, samples_of
from roomkit.voice.vad.energy import level_dbfs

__all__ = ["Gain", "NoiseGate"]

# The limiter leaves a decibel, for whoever filters the audio next.
_CEILING: Final = 10 ** (-1 / 20) * 32767
# A gain that changes from one sample to the next is a click; over two milliseconds it is none.
_RAMP_MS: Final = 2.0
# Below this a frame says nothing about how loud the caller speaks.
_SPEECH_DBFS: Final = -50.0
# Who is too loud is turned down over a few syllables; who is too quiet is turned up over sentences,
# or the room would swell in every pause.
_DOWN_DB_PER_S: Final = 20.0
_UP_DB_PER_S: Final = 3.0
# What the limiter turned down comes back at this rate: faster, and it would be heard as distortion.
_RELEASE_DB_PER_S: Final = 40.0
# Samples are scaled in whole numbers, which is faster: factors have 20 bits behind the point.
_BITS: Final = 20
_ONE: Final = 1 << _BITS
_HALF: Final = _ONE >> 1


class Gain(Stage):
    """Makes the caller louder or quieter: by `db` (-60 to 60), or so that speech comes to
    `target_dbfs` (-40 to -6, as the mean power of a frame), by at most `most_db` (0 to 40) up or
    down::

        AudioPipelineConfig(stages=[Gain(target_dbfs=-20)])

    Peaks are held a decibel below full scale by turning the frame down, not by cutting them off.
    Towards the target it goes by 20 dB a second down and 3 dB a second up, while there is speech.
    Raises `ValueError` for values out of range, and for both or none of `db` and `target_dbfs`.
    """

    def __init__(
        self,
        db: float | None = None,
        *,
        target_dbfs: float | None = None,
        most_db: float = 20.0,
    ) -> None:
        if (db is None) is (target_dbfs is None):
            raise ValueError("db, target_dbfs: one of them fits")
        _check("db", 0.0 if db is None else db, -60, 60)
        _check("target_dbfs", -20.0 if target_dbfs is None else target_dbfs, -40, -6)
        _check("most_db", most_db, 0, 40)
        self.db = None if db is None else float(db)
        self.target_dbfs = None if target_dbfs is None else float(target_dbfs)
        self.most_db = float(most_db)
        self.reset()

    def reset(self) -> None:
        self._db = self.db or 0.0
        self._factor = 10 ** (self._db / 20)

    def process(self, frame: AudioFrame) -> AudioFrame | None:
        if self.target_dbfs is not None and frame.kind == "received":
            self._approach(self.target_dbfs, level_dbfs(frame), frame.duration_ms / 1000)
        factor = 10 ** (self._db / 20)
        samples = samples_of(frame.data)
        if not samples:
            return frame
        peak = max(max(samples), -min(samples))
        release = 10 ** (_RELEASE_DB_PER_S * frame.duration_ms / 20_000)
        factor = min(factor, max(self._factor, 1e-6) * release)
        if peak * factor > _CEILING:
            factor = _CEILING / peak
        changed = _scaled(samples, frame, self._factor, factor)
        self._factor = factor
        return changed

    def _approach(self, target_dbfs: float, level: float, length_s: float) -> None:
        if level < _SPEECH_DBFS:
            return
        wanted = max(-self.most_db, min(self.most_db, target_dbfs - level))
        step = wanted - self._db
        self._db += max(-_DOWN_DB_PER_S * length_s, min(_UP_DB_PER_S * length_s, step))


class NoiseGate(Stage):
    """Turns the caller down by `reduction_db` (0 to 96) while he is quieter than `threshold_dbfs`
    (-90 to -10), from `hold_ms` (0 to 5000) after he was last louder: takes the room out of pauses,
    and leaves speech as it is.

    It opens at the beginning of the frame that is loud enough, so that a syllable loses nothing of
    that frame. It does nothing about noise beneath speech. Raises `ValueError` for values out of
    range.
    """

    def __init__(
        self,
        threshold_dbfs: float = -50.0,
        *,
        reduction_db: float = 24.0,
        hold_ms: float = 300.0,
    ) -> None:
        _check("threshold_dbfs", threshold_dbfs, -90, -10)
        _check("reduction_db", reduction_db, 0, 96)
        _check("hold_ms", hold_ms, 0, 5000)
        self.threshold_dbfs = float(threshold_dbfs)
        self.reduction_db = float(reduction_db)
        self.hold_ms = float(hold_ms)
        self.reset()

    def reset(self) -> None:
        self._closed = 10 ** (-self.reduction_db / 20)
        self._factor = self._closed
        self._open_ms = 0.0

    def process(self, frame: AudioFrame) -> AudioFrame | None:
        if level_dbfs(frame) >= self.threshold_dbfs:
            self._open_ms = self.hold_ms
            factor = 1.0
        else:
            factor = 1.0 if self._open_ms > 0 else self._closed
            self._open_ms -= frame.duration_ms
        changed = _scaled(samples_of(frame.data), frame, self._factor, factor)
        self._factor = factor
        return changed


def _scaled(samples: array[int], frame: AudioFrame, before: float, factor: float) -> AudioFrame:
    """The frame times `factor`, going over from `before` in its first two milliseconds."""
    if before == factor == 1.0:
        return frame
    size = len(samples)
    # Going down, the whole frame is: what is too loud may be its first sample.
    ramp = min(size, round(frame.sample_rate * _RAMP_MS / 1000) * frame.channels)
    if factor < before and size and max(map(abs, samples[:ramp])) * before > _CEILING:
        before = factor
    whole = round(factor * _ONE)
    if factor == before:
        scaled = [(sample * whole + _HALF) >> _BITS for sample in samples]
    else:
        step = (factor - before) / max(1, ramp)
        scaled = [round(sample * (before + step * n)) for n, sample in enumerate(samples[:ramp])]
        scaled += [(sample * whole + _HALF) >> _BITS for sample in samples[ramp:]]
    return replace(frame, data=pcm_of(clipped(scaled)))


def _check(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name}: {shown(value)}; {low} to {high} fits")
