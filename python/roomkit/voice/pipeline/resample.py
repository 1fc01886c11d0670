"""`Resampler`: another sample rate for a recording, without anything but Python.

What was played comes in the rate of the voice that made it, the recording has one rate. This runs
beside the calls, on the thread that writes, so it may take its time to be good; but it takes the
interpreter's time, of which there is one for all calls.

A polyphase filter is, for every phase of the output, a sum of convolutions of strided copies of the
input. A long integer is here a vector of samples, 32 bits each, and the product of two is their
convolution, done in C, where a dot product for every sample would be a loop in Python.
"""

from __future__ import annotations

import math
import sys
import time
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
# Coefficients have 14 bits behind the point, and the input is made positive. The positive ones of a
# phase add up to less than 2 and the negative ones to less than 1: no sum leaves -2^30 … 2^31, and
# made positive by 2^30 it fits into a field.
_BITS: Final = 14
_ONE: Final = 1 << _BITS
_MIDDLE: Final = 1 << 15
_BIAS: Final = 1 << 30
_FIELD: Final = 8 * array("I").itemsize  # 32 bits wherever Python runs
# What sums have too much, after they were shifted down.
_MADE_POSITIVE: Final = (_BIAS + _MIDDLE * _ONE) >> _BITS


class Resampler:
    """Converts one run of mono audio. Output sample n belongs to the time n / `to_hz` of the run:
    the filter's delay is taken out. After `flush` there are exactly ⌈n · to / from⌉ of them.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._half, self._reach, self._phases = _filter(self._up, self._down)
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
        fields = array("I", _made_positive(self._waiting))
        length = turns + 2 * self._reach + 2
        bias = _packed(array("I", [_BIAS + _ONE // 2]) * length)
        streams: dict[int, int] = {}
        for phase, kernels in enumerate(self._phases):
            # The event loop does not wait for a whole second of audio to be through.
            time.sleep(0)
            total = bias
            for place, kernel in kernels:
                stream = streams.get(place)
                if stream is None:
                    strided = fields[place :: self._down][: turns + self._reach]
                    stream = streams[place] = _packed(strided)
                total += stream * kernel
            sums = _unpacked(total, "I", self._reach, turns)
            out[phase :: self._up] = clipped([(each >> _BITS) - _MADE_POSITIVE for each in sums])
        del self._waiting[: turns * self._down]
        self._given += len(out)
        return out


def _made_positive(samples: array[int]) -> array[int]:
    # Adding half the range to 16 bit numbers is turning their highest bit around.
    middles = _packed(array("H", [_MIDDLE]) * len(samples))
    return _unpacked(_packed(samples) ^ middles, "H", 0, len(samples))


def _packed(fields: array[int]) -> int:
    """The first of them in the lowest bits."""
    if sys.byteorder == "big":
        fields = fields[:]
        fields.byteswap()
    return int.from_bytes(fields.tobytes(), "little")


def _unpacked(packed: int, code: str, first: int, count: int) -> array[int]:
    fields = array(code)
    size = fields.itemsize
    data = packed.to_bytes((packed.bit_length() + 7) // 8 + size, "little")
    fields.frombytes(data[size * first : size * (first + count)].ljust(size * count, b"\0"))
    if sys.byteorder == "big":
        fields.byteswap()
    return fields


Kernels = tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def _filter(up: int, down: int) -> tuple[int, int, tuple[Kernels, ...]]:
    """Half the filter's length in input samples; how many strides of the input it reaches over; and
    for every phase where each stride begins in the input, with the coefficients for it."""
    slower = max(1.0, down / up)  # input samples in one of the lower rate
    half = math.ceil(_CROSSINGS * slower)
    cutoff = _CUTOFF / slower
    reach = (2 * half + down) // down
    phases = []
    for phase in range(up):
        at, part = divmod(phase * down, up)
        # Output `phase` lies `part / up` behind input `at`, which has `half` samples before it.
        distances = [k - part / up for k in range(1 - half, half + 1)]
        taps = [_sinc(cutoff * each) * _kaiser(each / half) for each in distances]
        # Each phase passes a constant as it is, or the phases would be heard as a tone.
        scale = _ONE / sum(taps)
        whole = [round(tap * scale) for tap in taps]
        whole[half - 1 + round(part / up)] += _ONE - sum(whole)
        kernels: dict[int, int] = {}
        for place, tap in enumerate(whole, at + 1):
            strides, first = divmod(place, down)
            # Backwards: a convolution turns one of the two around.
            kernels[first] = kernels.get(first, 0) + (tap << (_FIELD * (reach - strides)))
        phases.append(tuple(kernels.items()))
    return half, reach, tuple(phases)


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
