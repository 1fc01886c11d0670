"""What keys sound like (ITU-T Q.23), made here and not by the code under test."""

from __future__ import annotations

import numpy as np

__all__ = ["FREQUENCIES", "KEYS", "dbm0", "key_tone", "keys_tone"]

KEYS = "0123456789*#ABCD"
_PAD = ("123A", "456B", "789C", "*0#D")
FREQUENCIES = {
    key: (low, high)
    for row, low in zip(_PAD, (697, 770, 852, 941), strict=True)
    for key, high in zip(row, (1209, 1336, 1477, 1633), strict=True)
}


def dbm0(level: float) -> float:
    """The peak of a sine of this level, in dBm0, in steps of 16 bits (ITU-T G.711)."""
    return float(32768 * 10 ** ((level - 3.17) / 20))


def key_tone(
    key: str,
    ms: float,
    rate: int = 8000,
    *,
    level: float = -10.0,
    twist: float = 0.0,
    off: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """The tones of a key. `level`: of the stronger one in dBm0; `twist`: how much stronger the high
    one is, in dB; `off`: how far off they are, as shares."""
    time = np.arange(round(ms * rate / 1000)) / rate
    low, high = FREQUENCIES[key]
    weak, strong = dbm0(level - max(twist, 0)), dbm0(level + min(twist, 0))
    wave = weak * np.sin(2 * np.pi * low * (1 + off[0]) * time)
    return np.asarray(wave + strong * np.sin(2 * np.pi * high * (1 + off[1]) * time))


def keys_tone(keys: str, ms: float, pause_ms: float, rate: int = 8000, **how: float) -> bytes:
    """Several keys with pauses behind them, as 16 bit PCM."""
    pause = np.zeros(round(pause_ms * rate / 1000))
    parts = [
        part
        for key in keys
        for part in (key_tone(key, ms, rate, level=how.get("level", -10)), pause)
    ]
    return np.concatenate(parts).clip(-32768, 32767).astype("<i2").tobytes()
