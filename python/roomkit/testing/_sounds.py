"""Sounds at a caller's end: mixed, keys, noise, music."""

from __future__ import annotations

import functools
import math
import random
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["key_tone", "mixed", "music", "noise"]

_LOW: Final = (697, 770, 852, 941)
_HIGH: Final = (1209, 1336, 1477, 1633)
_KEYS: Final = "123A456B789C*0#D"
_LOOP_S: Final = 4
"""Length of noise and music before they begin again."""


def mixed(parts: Sequence[tuple[bytes, float]]) -> bytes:
    """PCM of the same length, each with its gain, added up and clipped."""
    columns = []
    for pcm, gain in parts:
        samples = array("h", pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        columns.append(samples if gain == 1.0 else [sample * gain for sample in samples])
    return _pcm(map(sum, zip(*columns, strict=True)))


def key_tone(key: str, duration_ms: float, sample_rate: int, channels: int = 1) -> bytes:
    """The two tones of a key (ITU-T Q.23), each at -9 dBFS or so."""
    place = _KEYS.index(key.upper())
    low, high = _LOW[place // 4], _HIGH[place % 4]
    return _pcm(
        (
            8000 * math.sin(2 * math.pi * low * n / sample_rate)
            + 8000 * math.sin(2 * math.pi * high * n / sample_rate)
            for n in range(round(duration_ms * sample_rate / 1000))
        ),
        channels,
    )


@functools.lru_cache(maxsize=32)
def noise(dbfs: float, seed: int, sample_rate: int, channels: int = 1) -> bytes:
    """Four seconds of white noise of that level (its root mean square below full scale)."""
    source, sigma = random.Random(seed), 32768 * 10 ** (dbfs / 20)
    return _pcm((source.gauss(0, sigma) for _ in range(_LOOP_S * sample_rate)), channels)


@functools.lru_cache(maxsize=8)
def music(dbfs: float, sample_rate: int, channels: int = 1) -> bytes:
    """Four seconds of broken chords at that level, as lines on hold have."""
    peak = 32768 * 10 ** (dbfs / 20)
    notes = (262, 330, 392, 523, 220, 262, 330, 440, 175, 220, 262, 349, 196, 247, 294, 392)
    length = _LOOP_S * sample_rate // len(notes)
    return _pcm(
        (
            peak
            * math.exp(-2 * n / length)
            * (
                math.sin(2 * math.pi * hz * n / sample_rate)
                + math.sin(math.pi * hz * n / sample_rate)
            )
            for hz in notes
            for n in range(length)
        ),
        channels,
    )


def _pcm(values: Iterable[float], channels: int = 1) -> bytes:
    samples = array("h", (max(-32768, min(32767, round(value))) for value in values))
    if channels > 1:
        samples = array("h", (sample for sample in samples for _ in range(channels)))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
