"""Simple sounds, 8 kHz mono, 16 bit little-endian."""

from __future__ import annotations

import math
import random
import struct


def silence(ms: float) -> bytes:
    """Digital silence."""
    return bytes(2 * round(8 * ms))


def tone(ms: float, *, hz: float = 440.0, dbfs: float = -20.0) -> bytes:
    """A sine of that level (its root mean square below full scale)."""
    peak = 32768 * math.sqrt(2) * 10 ** (dbfs / 20)
    return _pack(peak * math.sin(2 * math.pi * hz * n / 8000) for n in range(round(8 * ms)))


def noise(ms: float, *, dbfs: float = -50.0, seed: int = 1) -> bytes:
    """Gaussian noise of that level; the same for the same seed."""
    source, sigma = random.Random(seed), 32768 * 10 ** (dbfs / 20)
    return _pack(source.gauss(0, sigma) for _ in range(round(8 * ms)))


def _pack(samples: object) -> bytes:
    values = [max(-32768, min(32767, round(each))) for each in samples]  # type: ignore[attr-defined]
    return struct.pack(f"<{len(values)}h", *values)
