"""espeak-ng, the library: a voice that says exactly when each word begins."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["Said", "available", "say"]

_WORD = 1
_SYNCHRONOUS = 2
_UTF8 = 1
_VOICE_FAILED = "espeak-ng has no voice"


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


@dataclass(frozen=True)
class Said:
    """What it said."""

    text: str
    pcm: bytes
    """16 bit mono."""
    rate: int
    words: tuple[tuple[int, int, float], ...]
    """Of each word: where it begins and ends in the text, and when it begins, in ms."""

    @property
    def duration_ms(self) -> float:
        return len(self.pcm) / 2 * 1000 / self.rate


def available() -> bool:
    return ctypes.util.find_library("espeak-ng") is not None


@cache
def _library() -> tuple[Any, int]:
    library = ctypes.CDLL(ctypes.util.find_library("espeak-ng"))
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
    assert rate > 0
    return library, rate


@cache
def say(text: str, language: str = "en", words_per_minute: int = 160) -> Said:
    library, rate = _library()
    if library.espeak_SetVoiceByName(language.encode()) != 0:
        raise LookupError(_VOICE_FAILED)
    library.espeak_SetParameter(1, words_per_minute, 0)
    pcm = bytearray()
    words: list[tuple[int, int, float]] = []

    def told(wave: Any, samples: int, events: Any) -> int:
        if wave and samples > 0:
            pcm.extend(ctypes.string_at(wave, samples * 2))
        at = 0
        while events[at].type != 0:
            event = events[at]
            if event.type == _WORD:
                begin = event.text_position - 1
                words.append((begin, begin + event.length, event.sample * 1000 / rate))
            at += 1
        return 0

    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
    )
    callback = kind(told)
    library.espeak_SetSynthCallback(callback)
    data = text.encode()
    result = library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
    assert result == 0
    library.espeak_Synchronize()
    return Said(text, bytes(pcm), rate, tuple(words))
