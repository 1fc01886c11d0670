"""Tones, and what can be told of a sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np

from roomkit.voice.frame import AudioFrame

__all__ = ["audible", "frequency", "level", "likeness", "listen", "tone"]


def tone(hz: float, ms: int, rate: int = 8000, channels: int = 1, amplitude: int = 10_000) -> bytes:
    """A sine as 16 bit little-endian PCM, the same in all channels."""
    count = rate * ms // 1000
    wave = np.sin(2 * np.pi * hz * np.arange(count) / rate) * amplitude
    return np.repeat(wave.astype("<i2"), channels).tobytes()


def level(pcm: bytes) -> float:
    """Root mean square of the samples, 0 to 32768."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


def frequency(pcm: bytes, rate: int = 8000) -> float:
    """The strongest frequency, in Hz, to a resolution of rate / samples."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 16))
    return float(np.argmax(spectrum) * rate / (1 << 16))


def likeness(heard: bytes, said: bytes) -> float:
    """How much of `said` is somewhere in `heard`, 0 to 1: the peak of the correlation."""
    a = np.frombuffer(heard, "<i2").astype(float)
    b = np.frombuffer(said, "<i2").astype(float)
    if len(a) < len(b):
        return 0.0
    size = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    sums = np.concatenate(([0.0], np.cumsum(a**2)))
    places = len(a) - len(b) + 1
    energy = (sums[len(b) :] - sums[:places]) * np.sum(b**2)
    return float(np.max(product[:places] / np.sqrt(energy + 1.0)))


def audible(frames: list[AudioFrame], threshold: float = 500) -> list[AudioFrame]:
    """The frames in which received sound is heard. When a peer just stops sending, nobody can tell
    at once whether that is a pause or a loss: what fades out after it is made up."""
    return [f for f in frames if f.kind == "received" and level(f.data) > threshold]


async def listen(
    frames: AsyncIterator[AudioFrame],
    enough: Callable[[list[AudioFrame]], bool],
    timeout: float = 10.0,
) -> list[AudioFrame]:
    """Frames until they are enough, or the iteration ends."""
    heard: list[AudioFrame] = []
    async with asyncio.timeout(timeout):
        async for frame in frames:
            heard.append(frame)
            if enough(heard):
                break
    return heard


def sound_then_silence(ms: int) -> Callable[[list[AudioFrame]], bool]:
    """Enough when `ms` of silence follow a sound."""

    def enough(frames: list[AudioFrame]) -> bool:
        loud = [n for n, frame in enumerate(frames) if level(frame.data) > 500]
        if not loud:
            return False
        return sum(frame.duration_ms for frame in frames[loud[-1] + 1 :]) >= ms

    return enough
