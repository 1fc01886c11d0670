"""`Resampler`: another sample rate for a recording. What was played comes in the rate of the voice
that made it, the recording has one rate."""

from __future__ import annotations

import sys
from array import array

__all__ = ["Resampler"]


class Resampler:
    """Converts one run of mono audio. Output sample n belongs to the time n / `to_hz` of the run:
    the filter's delay is taken out. After `flush` there are exactly ⌈n · to / from⌉ of them.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        # Imported when it is needed: a recording of one rate has no use for the core.
        from roomkit._native import Resampler as NativeResampler

        self._native = NativeResampler(from_hz, to_hz)

    def process(self, samples: array[int]) -> array[int]:
        """Takes more; what can be told of the output now, which lags by half the filter. The work
        is the core's: other threads go on meanwhile."""
        return _samples(self._native.process(_octets(samples)))

    def flush(self) -> array[int]:
        """The rest: silence follows."""
        return _samples(self._native.finish())


def _octets(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples = samples[:]
        samples.byteswap()
    return samples.tobytes()


def _samples(octets: bytes) -> array[int]:
    samples = array("h", octets)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
