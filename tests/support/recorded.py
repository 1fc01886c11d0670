"""Recordings in tests: frames of one value, and what stands where in the file."""

from __future__ import annotations

import asyncio
import struct
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from roomkit.voice.base import VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.writer import WRITER

Pcm = np.ndarray[Any, np.dtype[np.int16]]


def session(name: str = "s", **metadata: Any) -> VoiceSession:
    return VoiceSession(name, "room", "ann", "phone", metadata={"sample_rate": 8000, **metadata})


def frame(
    value: int, clock_ms: float | None, ms: float = 20, rate: int = 8000, channels: int = 1
) -> AudioFrame:
    data = struct.pack("<h", value) * (round(rate * ms / 1000) * channels)
    return AudioFrame(data, rate, channels, clock_ms=clock_ms)


def read(path: Path | str) -> Pcm:
    """A column for each channel of a file of 8 kHz."""
    with wave.open(str(path)) as file:
        assert file.getframerate() == 8000
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.reshape(-1, file.getnchannels())


def expected(length: int, *spans: tuple[int, int, int]) -> list[int]:
    """Samples at 8 kHz: silence, and `value` from one ms to another."""
    made = np.zeros(length, "<i2")
    for value, begins, ends in spans:
        made[begins * 8 : ends * 8] = value
    return list(made)


async def until(true: Callable[[], bool]) -> None:
    """Waits, with a bound, until it is."""
    for _ in range(50_000):
        if true():
            return
        await asyncio.to_thread(lambda: None)
    raise AssertionError("it never was")


async def written() -> None:
    """Waits until the writing thread has done what it was given, and the loop was told."""
    done = threading.Event()
    WRITER.submit(done.set)
    assert await asyncio.to_thread(done.wait, 30)
    await asyncio.sleep(0)
