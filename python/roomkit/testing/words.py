"""Words as sound: what is said can be read from the samples that were heard, and from nothing else.

A word is a buzz that carries its letters, begins with a sound of its own and ends with another.
Whoever misses a part of it has not heard the word. A word sounds like this, in half-waves::

    BEGIN │ 4 pitches per byte: the text, a checksum; again, as often as it fits │ END │ silence

Each of five pitches stands for two bits: which of the four others follows. One lasts for four
half-waves or a little longer, so that a packet that is missing takes some of them away, and a pause
none: a half-wave that touches silence may be a part of one, and does not count. The checksum is of
the text, which repetition it is, and of how many. Levels do not matter, nor do other rates, G.711,
or noise that is 24 dB below.
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from roomkit.voice.base import AudioChunk, Mark
from roomkit.voice.frame import AudioFrame

__all__ = ["Ear", "HeardWord", "speech", "words_in"]

_RATE: Final = 8000
_PITCHES: Final = (6, 8, 10, 12, 14)
"""Lengths of a half-wave, in samples of 8 kHz: 667 to 286 Hz, as a voice has. Two apart, so that
an edge that is heard a sample too early or too late changes none into another."""
_BEGIN: Final = 17
_END: Final = 20
_LEAST: Final = 4
"""Half-waves of one pitch: of two that are whole it is believed, and silence spoils two."""
_EDGE: Final = 5
"""Those of the first and the last one, which touch silence anyway."""
_GAP_MS: Final = 40.0
"""Silence behind a word, which belongs to its length."""
_LEAST_GAP_MS: Final = 15.0
_QUIET: Final = 512
"""What is nearer to zero than this, of 32768, has no sign: noise on a line that is silent."""
_LONGEST_MS: Final = 5000.0
"""What began so long ago and has not ended is no word: nobody pauses in one for longer."""
_CHECKSUM: Final = 2
"""Bytes of it."""
_CUT: Final = "…"


def speech(
    text: str, *, per_word_ms: float = 300.0, sample_rate: int = 8000, dbfs: float = -16.0
) -> AudioChunk:
    """`text` as sound, mono, with a `Mark` where each word begins.

    `per_word_ms`: length of a word and the pause behind it, 60 to 5000; words whose letters do not
    fit in take longer. `dbfs`: its level, -30 to -9.
    """
    if not 60 <= per_word_ms <= 5000:
        raise ValueError(f"per_word_ms: {per_word_ms!r}; 60 to 5000 fits")
    if not -30 <= dbfs <= -9:
        raise ValueError(f"dbfs: {dbfs!r}; -30 to -9 fits")
    parts: list[bytes] = []
    marks: list[Mark] = []
    samples = 0
    for word in text.split():
        pcm, said = _sound_of(word, per_word_ms, sample_rate, dbfs)
        begin_ms = samples * 1000 / sample_rate
        marks.append(Mark(word, begin_ms, begin_ms + said * 1000 / sample_rate))
        parts.append(pcm)
        samples += len(pcm) // 2
    return AudioChunk(b"".join(parts), sample_rate, marks=tuple(marks))


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word in audio, or what is left of one."""

    text: str = field(repr=False)
    """`"…"`: a part of a word."""
    begin_ms: float
    """From the first sample that was heard."""
    end_ms: float

    @property
    def whole(self) -> bool:
        """All of it was heard."""
        return self.text != _CUT


def words_in(audio: AudioChunk | AudioFrame) -> list[HeardWord]:
    """The words in audio that `speech` made."""
    ear = Ear(audio.sample_rate, audio.channels)
    return [*ear.hear(audio.data), *ear.end()]


class Ear:
    """Finds words in audio as it comes. Of several channels it hears the first."""

    def __init__(self, sample_rate: int = 8000, channels: int = 1) -> None:
        self._rate = sample_rate
        self._step = 2 * channels
        self._scale = sample_rate / _RATE
        self._waves_in = _wave_pattern(sample_rate)
        self._after_silence = True
        self._rest = b""  # of the signs: a half-wave that may go on
        self._at = 0  # samples heard before that
        self._pitch = 0  # the one that sounds
        self._next = 0  # one that may have begun
        self._symbols: list[int] = []
        self._began: int | None = None  # sample at which the word began
        self._begins = False  # its beginning was heard
        self._last = 0  # sample at which the last half-wave of it ended

    def hear(self, pcm: bytes) -> list[HeardWord]:
        """The words that are complete with `pcm`, whole samples of 16 bits."""
        signs = self._rest + pcm[1 :: self._step].translate(_SIGNS)
        self._rest = b""
        if signs.count(b"0") == len(signs):  # most of a call is silence
            return self._pass(len(signs))
        return list(self._waves(signs, last=False))

    def pass_silence(self, samples: int) -> list[HeardWord]:
        """As `hear`, of nothing at all for so many samples."""
        if self._rest:
            signs, self._rest = self._rest + b"000", b""
            return [*self._waves(signs, last=True), *self._pass(samples - 3)]
        return self._pass(samples)

    def end(self) -> list[HeardWord]:
        """What was left of a word when the audio ended."""
        signs, self._rest = self._rest, b""
        found = list(self._waves(signs, last=True))
        return found + self._give_up()

    def _pass(self, samples: int) -> list[HeardWord]:
        self._at += samples
        self._after_silence = True
        if self._began is not None and self._at - self._last > _LONGEST_MS * self._rate / 1000:
            return self._give_up()
        return []

    def _waves(self, signs: bytes, *, last: bool) -> Iterator[HeardWord]:
        at = self._at
        end = 0
        for wave in self._waves_in(signs):
            begin, end = wave.span()
            if end == len(signs) and not last:
                self._rest, end = signs[begin:], begin
                break
            if signs[begin] == _ZERO:
                self._after_silence = True
                continue
            whole = wave.lastgroup is not None and end < len(signs) and not self._after_silence
            self._after_silence = False
            self._last = at + end
            if whole:
                found = self._half_wave(round((end - begin) / self._scale), at + begin)
                if found is not None:
                    yield found
        self._at = at + (end if self._rest else len(signs))

    def _half_wave(self, length: int, begin: int) -> HeardWord | None:
        pitch = _NEAREST[length] if length < len(_NEAREST) else 0
        if not pitch:
            return None
        if pitch == self._pitch:
            self._next = 0
            return None
        if pitch != self._next:
            self._next, self._next_began = pitch, begin
            return None
        self._pitch, self._next = pitch, 0
        return self._sound(pitch, self._next_began)

    def _sound(self, pitch: int, begin: int) -> HeardWord | None:
        """Another pitch has begun at `begin`."""
        if pitch == _BEGIN:
            left = self._give_up()
            # Its first half-wave touches silence, and was not counted.
            self._began = begin - round(_BEGIN * self._scale)
            self._begins, self._symbols = True, []
            return left[0] if left else None
        if self._began is None:
            self._began, self._begins, self._symbols = begin, False, []
        if pitch != _END:
            self._symbols.append(_PITCHES.index(pitch))
            return None
        text = _text_of(self._symbols) if self._begins else None
        over = begin + round(_EDGE * _END * self._scale)
        return self._word(_CUT if text is None else text, over)

    def _give_up(self) -> list[HeardWord]:
        return [] if self._began is None else [self._word(_CUT, self._last)]

    def _word(self, text: str, end: int) -> HeardWord:
        began = self._began or 0
        self._began = None
        return HeardWord(text, began * 1000 / self._rate, end * 1000 / self._rate)


# Signs of samples, from their upper bytes: loud enough to be above zero, below, or neither.
_SIGNS: Final = bytes(
    ord("0") if high < _QUIET >> 8 or high >= 256 - (_QUIET >> 8) else ord("-+"[high < 128])
    for high in range(256)
)
_ZERO: Final = ord("0")


@functools.lru_cache(maxsize=32)
def _wave_pattern(sample_rate: int) -> Callable[[bytes], Iterator[re.Match[bytes]]]:
    """Finds half-waves, and silence. Those that touch none are of a group."""
    # Where a wave crosses zero it rests there for some samples, if it is not loud.
    most = 3 * sample_rate // _RATE
    return re.compile(
        rb"(?P<high>\++0{0,%d}(?=-|\Z))|\++|(?P<low>-+0{0,%d}(?=\+|\Z))|-+|0+" % (most, most)
    ).finditer


_NEAREST: Final = tuple(
    next((pitch for pitch in (*_PITCHES, _BEGIN, _END) if abs(pitch - length) <= 0.5), 0)
    or next((pitch for pitch in (*_PITCHES, _BEGIN, _END) if abs(pitch - length) <= 1), 0)
    for length in range(_END + 2)
)


@functools.lru_cache(maxsize=4096)
def _sound_of(word: str, length_ms: float, rate: int, dbfs: float) -> tuple[bytes, int]:
    """Its samples with the silence behind, and how many of them are no silence."""
    scale = rate / _RATE
    whole = round(length_ms * rate / 1000)
    data = word.encode()
    # As often as it fits, and then each pitch for as long as there is room.
    room = (length_ms - _GAP_MS) * _RATE / 1000 - _EDGE * (_BEGIN + _END)
    once = 4 * (len(data) + _CHECKSUM) * _LEAST * sum(_PITCHES) / len(_PITCHES)
    times = min(255, max(1, int(room / once)))
    pitches, now = [], 0
    for turn in range(times):
        for octet in data + _checksum(data, turn, times):
            for shift in (6, 4, 2, 0):
                now = (now + 1 + (octet >> shift & 3)) % len(_PITCHES)
                pitches.append(_PITCHES[now])
    each = room / len(pitches)
    amplitude = 32768 * 10 ** (dbfs / 20) * math.sqrt(2)
    out = bytearray()
    edge, sign = 0.0, 1
    due = float(_EDGE * _BEGIN)
    for pitch in (_BEGIN, *pitches, _END):
        if pitch in (_BEGIN, _END):
            count = _EDGE
        else:
            due += each
            count = min(2 * _LEAST, max(_LEAST, round((due - edge) / pitch)))
        for _ in range(count):
            begin, edge = round(edge * scale), edge + pitch
            out += _half_wave(round(edge * scale) - begin, sign * amplitude)
            sign = -sign
    said = len(out) // 2
    least_gap = round(_LEAST_GAP_MS * rate / 1000)
    # Pitches last for whole half-waves: a word may be a little longer than was reckoned.
    return bytes(out) + bytes(2 * max(least_gap, whole - said)), said


def _checksum(data: bytes, turn: int, times: int) -> bytes:
    return (zlib.crc32(data + bytes([turn, times])) & 0xFFFF).to_bytes(_CHECKSUM, "big")


@functools.lru_cache(maxsize=1024)
def _half_wave(samples: int, amplitude: float) -> bytes:
    """Half a wave, with steep edges: what crosses zero slowly is moved by noise."""
    turns = [math.pi * (n + 0.5) / samples for n in range(samples)]
    wave = array("h", (round(amplitude * (math.sin(t) + math.sin(3 * t) / 4)) for t in turns))
    return _little(wave)


def _little(samples: array[int]) -> bytes:
    if _BIG:
        samples.byteswap()
    return samples.tobytes()


_BIG: Final = array("h", [1]).tobytes() == b"\0\1"


def _text_of(symbols: list[int]) -> str | None:
    """The word, or None: a part is missing."""
    if len(symbols) % 4 or not symbols:
        return None
    bits = [(after - before - 1) % len(_PITCHES) for before, after in _pairs(symbols)]
    if max(bits) > 3:
        return None
    coded = bytes(
        bits[n] << 6 | bits[n + 1] << 4 | bits[n + 2] << 2 | bits[n + 3]
        for n in range(0, len(bits), 4)
    )
    # What was said often first: what was said once may look like it, and not the other way.
    for times in range(min(255, len(coded) // (_CHECKSUM + 1)), 0, -1):
        length = len(coded) // times
        if length * times != len(coded):
            continue
        data = coded[: length - _CHECKSUM]
        if coded == b"".join(data + _checksum(data, turn, times) for turn in range(times)):
            try:
                return data.decode()
            except UnicodeDecodeError:
                return None
    return None


def _pairs(symbols: list[int]) -> Iterator[tuple[int, int]]:
    before = 0
    for symbol in symbols:
        yield before, symbol
        before = symbol
