"""PCM as numbers, for the parts of the pipeline that count with it."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable

__all__ = ["clipped", "mono", "pcm_of", "samples_of"]


def samples_of(pcm: bytes | bytearray | memoryview) -> array[int]:
    """The samples of 16 bit little-endian PCM."""
    samples = array("h")
    samples.frombytes(pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def pcm_of(samples: array[int]) -> bytes:
    """16 bit little-endian PCM of samples."""
    if sys.byteorder == "big":
        samples = samples[:]
        samples.byteswap()
    return samples.tobytes()


def clipped(values: Iterable[int]) -> array[int]:
    """Samples, held within 16 bits."""
    values = list(values)
    try:
        return array("h", values)
    except OverflowError:
        return array("h", [max(-32768, min(32767, value)) for value in values])


def mono(samples: array[int], channels: int) -> array[int]:
    """The mean of the channels."""
    if channels == 1:
        return samples
    parts = [samples[channel::channels] for channel in range(channels)]
    return array("h", [sum(each) // channels for each in zip(*parts, strict=True)])
