"""`Resampler`: another sample rate for a recording, without anything but Python.

What was played comes in the rate of the voice that made it, the recording has one rate. This runs
beside the calls, on the thread that writes, so it may take its time to be good; but it takes the
interpreter's time, of which there is one for all calls.

A polyphase filter is, for every phase of the output, a sum of strided copies of the input, each
times one coefficient. A long integer is here a vector of samples, 32 bits each: a product with a
coefficient and a sum of two are then one operation in C for all of them. That is some thirty times
as fast as a dot product per sample (`benches` of a second of 24 kHz speech to 8 kHz: about 5 ms).
"""

from __future__ import annotations

import math
import sys
from array import array
from functools import lru_cache
from typing import Final

from roomkit.voice.pipeline.samples import clipped

__all__ = ["Resampler"]

# A Kaiser window over this many crossings of zero to each side, at the lower of the two rates: the
# edge is then an eighth of the band wide, with 70 dB beyond it.
_CROSSINGS: Final = 16
_BETA: Final = 7.0
_CUTOFF: Final = 0.93
# Coefficients have 14 bits behind the point: with 16 of the sample, and a sum of their magnitudes
# below 2, a field of 32 bits holds every sum.
_BITS: Final = 14
_ONE: Final = 1 << _BITS
_BIAS: Final = 1 << 31
_FIELD: Final = 4  # bytes
_ORDER: Final = sys.byteorder


class Resampler:
    """Converts one run of mono audio. Output sample n belongs to the time n / `to_hz` of the run:
    the filter's delay is taken out. After `flush` there are exactly ⌈n · to / from⌉ of them.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._half, self._phases = _filter(self._up, self._down)
        # As if silence had come before: the first output looks half a filter back.
        self._waiting = array("h", bytes(2 * self._half))
        self._taken = self._given = 0

    def process(self, samples: array[int]) -> array[int]:
        """Takes more; what can be told of the output now, which lags by half the filter."""
        self._taken += len(samples)
        return self._work(samples)

    def flush(self) -> array[int]:
        """The rest: silence follows."""
        wanted = -(-self._taken * self._up // self._down)
        missing = wanted - self._given
        rest = self._work(array("h", bytes(2 * (self._half + 1 + 2 * self._down))))
        self._given = wanted
        return rest[:missing]

    def _work(self, samples: array[int]) -> array[int]:
        self._waiting += samples
        # Whole turns through the phases: `down` samples taken are `up` given.
        turns = (len(self._waiting) - 2 * self._half) // self._down
        out = array("h", bytes(2 * max(0, turns) * self._up))
        if turns <= 0:
            return out
        biased = array("I", [sample + 32768 for sample in self._waiting])
        ones = _packed(array("I", [1]) * turns)
        vectors: dict[int, int] = {}
        for phase, (first, taps) in enumerate(self._phases):
            total = ones * (_BIAS + _ONE // 2 - 32768 * sum(taps))
            for place, tap in enumerate(taps, first):
                vector = vectors.get(place)
                if vector is None:
                    strided = biased[place :: self._down][:turns]
                    vector = vectors[place] = _packed(strided)
                total += tap * vector
            out[phase :: self._up] = _unpacked(total, turns)
        del self._waiting[: turns * self._down]
        self._given += len(out)
        return out


def _packed(fields: array[int]) -> int:
    return int.from_bytes(fields.tobytes(), _ORDER)


def _unpacked(total: int, count: int) -> array[int]:
    fields = array("I")
    fields.frombytes(total.to_bytes(_FIELD * count, _ORDER))
    return clipped([(field >> _BITS) - (_BIAS >> _BITS) for field in fields])


@lru_cache(maxsize=32)
def _filter(up: int, down: int) -> tuple[int, tuple[tuple[int, tuple[int, ...]], ...]]:
    """Half the filter's length in input samples, and of every phase where in the input it begins
    and its coefficients."""
    slower = max(1.0, down / up)  # input samples in one of the lower rate
    half = math.ceil(_CROSSINGS * slower)
    cutoff = _CUTOFF / slower
    phases = []
    for phase in range(up):
        at, part = divmod(phase * down, up)
        # Output `phase` lies `part / up` behind input `at`, which has `half` samples before it.
        taps = []
        for k in range(1 - half, half + 1):
            distance = k - part / up
            taps.append(_sinc(cutoff * distance) * _kaiser(distance / half))
        # Each phase passes a constant as it is, or the phases would be heard as a tone.
        scale = _ONE / sum(taps)
        whole = [round(tap * scale) for tap in taps]
        whole[half - 1 + round(part / up)] += _ONE - sum(whole)
        phases.append((at + 1, tuple(whole)))
    return half, tuple(phases)


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def _kaiser(x: float) -> float:
    return _bessel(_BETA * math.sqrt(1 - x * x)) if abs(x) < 1 else 0.0


def _bessel(x: float) -> float:
    """I₀, by its power series."""
    total = term = 1.0
    for n in range(1, 40):
        term *= (x / (2 * n)) ** 2
        total += term
        if term < 1e-9 * total:
            break
    return total
