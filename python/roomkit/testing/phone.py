"""The caller's phone, and the way to it: what he hears, and what is heard of him."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from roomkit.testing._sounds import mixed
from roomkit.testing.words import Ear, HeardWord
from roomkit.voice.base import PathDelay

__all__ = ["Heard", "NetworkPath", "Phone", "Sound"]


@dataclass(frozen=True, slots=True)
class NetworkPath:
    """The way between us and the caller, the same in both directions, and his phone.

    Raises `ValueError` naming the field.
    """

    delay_ms: float = 20.0
    """From one end to the other, 0 to 5000."""
    buffer_ms: float = 40.0
    """What his phone waits before it plays, 0 to 1000."""
    loss: float = 0.0
    """Share of the packets that never arrive, 0 to 1; which ones is the seed's choice."""
    unsure_ms: float = 20.0
    """How far the delay may be off for all we know (`VoiceBackend.path_delay`), 0 to 5000."""
    known: bool = True
    """Whether we know it at all."""

    def __post_init__(self) -> None:
        for name, most in (
            ("delay_ms", 5000),
            ("buffer_ms", 1000),
            ("loss", 1),
            ("unsure_ms", 5000),
        ):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ValueError(f"{name}: {value!r}; 0 to {most} fits")

    @property
    def heard_after_ms(self) -> float:
        """From leaving here until it is heard."""
        return self.delay_ms + self.buffer_ms

    @property
    def path_delay(self) -> PathDelay | None:
        """What a backend would tell of it."""
        if not self.known:
            return None
        likely = self.heard_after_ms
        return PathDelay(max(0.0, likely - self.unsure_ms), likely, likely + self.unsure_ms)


class Heard:
    """What came out of the caller's receiver until now, in ms since the call was opened."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self._pieces: list[tuple[int, bytes]] = []  # with the sample at which each began
        self._played = 0  # pieces that have been played until now
        self._ear = Ear(sample_rate, channels)
        self._listened = 0  # samples that the ear got
        self._words: list[HeardWord] = []
        self._now = 0
        self._stop: int | None = None  # the receiver is on the hook from then on

    @property
    def words(self) -> Sequence[HeardWord]:
        """Every word, with the times at which it began and ended in his ear. A part of a word is
        one whose text is `"…"`."""
        return self._words

    @property
    def text(self) -> str:
        """The words, read from what he heard."""
        return " ".join(word.text for word in self._words)

    def since(self, at_ms: float) -> str:
        """The words that began at that time or later."""
        return " ".join(word.text for word in self._words if word.begin_ms >= at_ms - 0.01)

    def pcm(self, from_ms: float = 0.0, to_ms: float | None = None) -> bytes:
        """The samples of that time, with silence where nothing came."""
        begin = round(from_ms * self.sample_rate / 1000)
        end = self._now if to_ms is None else round(to_ms * self.sample_rate / 1000)
        width = 2 * self.channels
        out = bytearray(max(0, end - begin) * width)
        for at, data in self._pieces[: self._played]:
            first, last = max(at, begin), min(at + len(data) // width, end)
            if first < last:
                out[(first - begin) * width : (last - begin) * width] = data[
                    (first - at) * width : (last - at) * width
                ]
        return bytes(out)

    def spans(self) -> list[tuple[float, float]]:
        """When something was heard that is no digital silence: (from, to)."""
        found: list[tuple[float, float]] = []
        for at, data in self._pieces[: self._played]:
            if data.count(0) == len(data):
                continue
            begin = at * 1000 / self.sample_rate
            end = begin + len(data) * 500 / self.channels / self.sample_rate
            if found and begin - found[-1][1] < 0.01:
                begin = found.pop()[0]
            found.append((begin, end))
        return found

    def play(self, at: int, pcm: bytes) -> None:
        """`pcm` will be played from that sample on, or when what is played now has ended."""
        if self._pieces:
            last, data = self._pieces[-1]
            at = max(at, last + len(data) // (2 * self.channels))
        if self._stop is not None:
            pcm = pcm[: max(0, self._stop - at) * 2 * self.channels]
        if pcm:
            self._pieces.append((at, pcm))

    def until(self, sample: int) -> None:
        """The time is that now."""
        self._now = sample
        while self._played < len(self._pieces):
            at, data = self._pieces[self._played]
            end = at + len(data) // (2 * self.channels)
            if end > sample:
                return
            self._played += 1
            if at > self._listened:
                self._words += self._ear.pass_silence(at - self._listened)
            self._words += self._ear.hear(data)
            self._listened = end

    def stop(self, sample: int | None) -> None:
        """The receiver is put down at that time, or picked up again."""
        self._stop = sample
        if sample is not None:
            width = 2 * self.channels
            late, self._pieces[self._played :] = self._pieces[self._played :], []
            for at, pcm in late:
                if at < sample:
                    self._pieces.append((at, pcm[: (sample - at) * width]))

    def end(self) -> None:
        """The call is over: what was heard of a word is a part of one."""
        self._words += self._ear.end()


@dataclass(slots=True, eq=False)
class Sound:
    """Something at the caller's end that his phone picks up."""

    begin: int
    """The sample at which it begins, since the call was opened."""
    pcm: bytes
    repeats: bool = False
    is_key: bool = False
    """The tone of a key."""
    gain: float = 1.0


class Phone:
    """Both directions of one call at the caller's end. Times are samples since it was opened."""

    def __init__(self, sample_rate: int, channels: int, path: NetworkPath, seed: int) -> None:
        self.path = path
        self.heard = Heard(sample_rate, channels)
        self.sounds: list[Sound] = []
        self.gone = False
        """Nothing leaves it any more."""
        self.unheard: str | None = None
        """Packets leave it that nobody can make sound of, and why."""
        self.lost_in = self.lost_out = 0
        """Packets that got lost on the way here, and from here."""
        self._rate = sample_rate
        self._width = 2 * channels
        self._random = random.Random(seed)

    def receive(self, at: int, pcm: bytes) -> None:
        """A packet was sent to it at that time."""
        if self._is_lost():
            self.lost_out += 1
            return
        self.heard.play(at + round(self.path.heard_after_ms * self._rate / 1000), pcm)

    def send(self, end: int, samples: int, *, without_keys: bool) -> bytes | None:
        """The packet that arrives at `end`; None when it got lost, or was never sent."""
        if self.gone or self.unheard is not None:
            return None
        if self._is_lost():
            self.lost_in += 1
            return None
        end -= round(self.path.delay_ms * self._rate / 1000)
        begin = end - samples
        if not self.sounds:
            return bytes(samples * self._width)
        parts: list[tuple[bytes, float]] = []
        over = False
        for sound in self.sounds:
            part = self._part(sound, begin, end)
            if part is None:
                over = over or sound.begin < begin
            elif not (sound.is_key and without_keys):
                parts.append((part, sound.gain))
        if over:
            self.sounds = [
                sound
                for sound in self.sounds
                if sound.repeats or sound.begin + len(sound.pcm) // self._width > begin
            ]
        if not parts:
            return bytes(samples * self._width)
        if len(parts) == 1 and parts[0][1] == 1.0:
            return parts[0][0]
        return mixed(parts)

    def _part(self, sound: Sound, begin: int, end: int) -> bytes | None:
        """What of a sound falls into that time."""
        width = self._width
        first, last = begin - sound.begin, end - sound.begin
        length = len(sound.pcm) // width
        if last <= 0 or not length or (first >= length and not sound.repeats):
            return None
        head = bytes(max(0, -first) * width)
        first = max(0, first)
        if sound.repeats:
            first %= length
            last = first + end - begin - len(head) // width
            times = -(-last // length)
            return head + (sound.pcm * times)[first * width : last * width]
        part = sound.pcm[first * width : last * width]
        return head + part + bytes(max(0, (end - begin) * width - len(head) - len(part)))

    def _is_lost(self) -> bool:
        return self.path.loss > 0 and self._random.random() < self.path.loss
