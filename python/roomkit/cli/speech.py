"""The recorded speech that ships with the package, and its words."""

from __future__ import annotations

import math
from array import array
from functools import cache
from importlib.resources import as_file, files

from roomkit.cli import wav
from roomkit.voice.base import AudioChunk

__all__ = ["WORDS", "chunk", "clip", "name_of", "tone"]

WORDS = {
    "greeting": "Welcome to Room Kit. This is a real call.",
    "menu": "Press one to record a message. Two for a story. Or zero to hang up.",
    "record": "Speak after the tone, then press the hash key.",
    "story": "Every twenty milliseconds a packet leaves, and nothing that Python does …",
    "goodbye": "Thank you for calling. Goodbye.",
    "message": "Hello. Please say back to me every word that you hear.",
    "stop": "Stop, please.",
}


@cache
def clip(name: str) -> wav.Audio:
    """One of `WORDS`, or `"tone"`: 8 kHz, mono."""
    if name == "tone":
        return tone()
    with as_file(files("roomkit") / "data" / f"{name}.wav") as path:
        return wav.read(path)


@cache
def chunk(name: str) -> AudioChunk:
    """The same, to be played."""
    audio = clip(name)
    made = _chunks[name] = AudioChunk(audio.pcm(), audio.sample_rate, audio.channels)
    return made


_chunks: dict[str, AudioChunk] = {}


def name_of(audio: AudioChunk) -> str | None:
    """The name of one that `chunk` made."""
    return next((name for name, each in _chunks.items() if each is audio), None)


@cache
def tone(hertz: float = 1000.0, seconds: float = 0.25, level_db: float = -14.0) -> wav.Audio:
    """A beep, with soft edges so that it does not click."""
    rate = 8000
    count = round(seconds * rate)
    edge = rate // 200
    peak = 32767 * 10 ** (level_db / 20)
    samples = array("h")
    for n in range(count):
        fade = min(1.0, (n + 1) / edge, (count - n) / edge)
        samples.append(round(peak * fade * math.sin(2 * math.pi * hertz * n / rate)))
    return wav.Audio(samples, rate)
