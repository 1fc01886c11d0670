"""`Caller`: who is at the far end of a call."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from roomkit.rtp import checks
from roomkit.rtp.audio import live_piece
from roomkit.testing import _sounds
from roomkit.testing._convert import Converter
from roomkit.testing._line import TICK_MS, KeySent, Line
from roomkit.testing.phone import Heard, NetworkPath, Sound
from roomkit.testing.words import speech
from roomkit.voice.base import VoiceSession

__all__ = ["Caller", "Doing", "Said"]


@dataclass(frozen=True, slots=True)
class Said:
    """What a caller did, at his end, in ms since the call was opened."""

    what: str
    """`"says"`, `"plays"`, `"presses"`, `"hangs up"` …"""
    text: str = field(repr=False)
    """His words, or what else can be told of it."""
    begin_ms: float
    end_ms: float


class Doing:
    """Something that a caller has begun. Awaiting it waits until he has done it."""

    __slots__ = ("_at", "said")

    def __init__(self, said: Said, at: float) -> None:
        self.said = said
        self._at = at

    def __await__(self) -> Generator[Any, None, Said]:
        return self._wait().__await__()

    async def _wait(self) -> Said:
        left = self._at - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
        return self.said


class Caller:
    """A person with a phone, at the far end of a `FakeBackend`'s session.

    What he does begins at once, and is awaited where the script goes on after it::

        await caller.says("two please")
        await caller.presses("12#")
        caller.says("stop")  # while something else goes on
        await caller.hangs_up()

    Speech begins when he has said what he says already. What he hears is in `heard`.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._speaks_until = 0
        self._background: dict[str, Sound] = {}
        self.per_word_ms = 300.0
        """How long a word of his takes."""
        self.did: list[Said] = []
        """What he did, in the order in which he began."""

    # --- what he hears ------------------------------------------------------------------------

    @property
    def session(self) -> VoiceSession:
        """Our end of the call."""
        return self._line.session

    @property
    def opened_at(self) -> float:
        """When the call was opened, in s of the event loop's clock."""
        return self._line.opened

    @property
    def now_ms(self) -> float:
        """Time since the call was opened."""
        return self._line.now_ms

    @property
    def heard(self) -> Heard:
        """All that he has heard until now."""
        if not self._line.hung_up.is_set():
            self._line.phone.heard.until(self._line.now_sample)
        return self._line.phone.heard

    @property
    def heard_text(self) -> str:
        """The words of it, read from its samples."""
        return self.heard.text

    @property
    def keys_heard(self) -> Sequence[KeySent]:
        """Digits that we sent, which have arrived."""
        now = self.now_ms
        return [key for key in self._line.keys_sent if key.at_ms <= now]

    @property
    def hung_up_on(self) -> bool:
        """Whether we ended the call, and he has noticed."""
        return self._line.hung_up.is_set()

    async def hears(self, text: str, within: float = 30.0) -> float:
        """Returns when he has heard these words one after another, and since when: ms since the
        call was opened. `TimeoutError` after `within` seconds, with what he heard instead."""
        words = text.split()
        if not words:
            raise ValueError("text: no words; one or more fits")
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while True:
            heard = self.heard.words
            for begin in range(len(heard) - len(words) + 1):
                if [word.text for word in heard[begin : begin + len(words)]] == words:
                    return heard[begin + len(words) - 1].end_ms
            if loop.time() >= until or (self.hung_up_on and loop.time() < until):
                raise TimeoutError(
                    f"not heard within {within:g} s: {text!r}; heard: {self.heard_text!r}"
                )
            await asyncio.sleep(TICK_MS / 1000)

    async def waits_to_be_hung_up_on(self, within: float = 30.0) -> None:
        """Returns when we have hung up. `TimeoutError` after `within` seconds."""
        async with asyncio.timeout(within):
            await self._line.hung_up.wait()

    # --- what he does -------------------------------------------------------------------------

    @property
    def path(self) -> NetworkPath:
        """The way to him; another may be set at any time."""
        return self._line.phone.path

    @path.setter
    def path(self, path: NetworkPath) -> None:
        self._line.phone.path = path

    def says(self, text: str, *, per_word_ms: float | None = None, dbfs: float = -16.0) -> Doing:
        """He says `text`, in sound that a `FakeSTT` understands (`roomkit.testing.speech`)."""
        rate = self._line.playout.format[0]
        chunk = speech(
            text, per_word_ms=per_word_ms or self.per_word_ms, sample_rate=rate, dbfs=dbfs
        )
        return self._speak("says", text, chunk.data, rate, 1)

    def plays(self, audio: Any) -> Doing:
        """His voice is a WAV file (path), PCM in the session's format, a chunk or a frame."""
        if isinstance(audio, (str, PathLike)):
            name = Path(audio).name
            with wave.open(str(audio), "rb") as file:
                if file.getsampwidth() != 2:
                    raise ValueError(f"audio: {name} has {8 * file.getsampwidth()} bits; 16 fits")
                pcm = file.readframes(file.getnframes())
                return self._speak("plays", name, pcm, file.getframerate(), file.getnchannels())
        pcm, rate, channels, _ = live_piece(audio, *self._line.playout.format)
        return self._speak("plays", "", pcm, rate, channels)

    def presses(
        self,
        keys: str,
        duration_ms: float = 100.0,
        gap_ms: float = 100.0,
        *,
        inband: bool = False,
    ) -> Doing:
        """He presses keys one after another. `inband`: they are tones in the audio, which a
        pipeline's `dtmf` stage hears, instead of events beside it."""
        keys = checks.digits(keys, "keys")
        line = self._line
        begin_ms, at_ms = line.now_ms, 0.0
        rate, channels = line.playout.format
        for key in keys:
            if inband:
                tone = _sounds.key_tone(key, duration_ms, rate, channels)
                begin = line.now_sample + round(at_ms * rate / 1000)
                line.phone.sounds.append(Sound(begin, tone, is_key=True))
            else:
                line.at(at_ms + duration_ms + self.path.delay_ms, _press(line, key, duration_ms))
            at_ms += duration_ms + gap_ms
        return self._did("presses", f"{len(keys)} keys", begin_ms, begin_ms + at_ms - gap_ms)

    async def waits(self, seconds: float) -> None:
        """He does nothing."""
        await asyncio.sleep(seconds)

    def hangs_up(self, detail: str = "") -> Doing:
        """He hangs up, and hears nothing any more; we know when it has come here."""
        line, now = self._line, self.now_ms
        line.phone.sounds.clear()
        self.heard.stop(line.now_sample)
        line.at(self.path.delay_ms, lambda: line.bye(detail))
        return self._did("hangs up", detail, now, now + self.path.delay_ms)

    def vanishes(self) -> None:
        """Nothing comes from him any more: his battery is empty."""
        self._line.phone.gone = True
        self._did("vanishes", "", self.now_ms, self.now_ms)

    def returns(self) -> None:
        """He is back."""
        self._line.phone.gone = False
        self.heard.stop(None)
        self._did("returns", "", self.now_ms, self.now_ms)

    def is_unheard(self, reason: str = "srtp_bad_tag") -> None:
        """His packets come, and nothing of them is heard: after two seconds that is told."""
        self._line.phone.unheard = reason
        self._did("is unheard", reason, self.now_ms, self.now_ms)

    def is_heard(self) -> None:
        """He is heard again."""
        self._line.phone.unheard = None
        self._did("is heard", "", self.now_ms, self.now_ms)

    def noise(self, dbfs: float = -50.0, *, seed: int = 1) -> None:
        """From now on there is noise of that level around him."""
        rate, channels = self._line.playout.format
        self._around("noise", _sounds.noise(dbfs, seed, rate, channels), f"{dbfs:g} dBFS")

    def hold_music(self, dbfs: float = -20.0) -> None:
        """From now on music plays at his end."""
        rate, channels = self._line.playout.format
        self._around("hold music", _sounds.music(dbfs, rate, channels), f"{dbfs:g} dBFS")

    def quiet(self) -> None:
        """No noise and no music any more, and no word of what he has not said yet."""
        self._line.phone.sounds.clear()
        self._background.clear()
        self._speaks_until = 0
        self._did("is quiet", "", self.now_ms, self.now_ms)

    # --- inside -------------------------------------------------------------------------------

    def _speak(self, what: str, text: str, pcm: bytes, rate: int, channels: int) -> Doing:
        line = self._line
        our_rate, our_channels = line.playout.format
        data = Converter(rate, channels, our_rate, our_channels).convert(pcm)
        begin = max(line.now_sample, self._speaks_until)
        self._speaks_until = begin + len(data) // (2 * our_channels)
        line.phone.sounds.append(Sound(begin, data))
        return self._did(what, text, begin * 1000 / our_rate, self._speaks_until * 1000 / our_rate)

    def _around(self, what: str, pcm: bytes, text: str) -> None:
        line = self._line
        before = self._background.pop(what, None)
        line.phone.sounds = [each for each in line.phone.sounds if each is not before]
        sound = self._background[what] = Sound(line.now_sample, pcm, repeats=True)
        line.phone.sounds.append(sound)
        self._did(what, text, self.now_ms, self.now_ms)

    def _did(self, what: str, text: str, begin_ms: float, end_ms: float) -> Doing:
        said = Said(what, text, begin_ms, end_ms)
        self.did.append(said)
        return Doing(said, self._line.opened + end_ms / 1000)


def _press(line: Line, key: str, duration_ms: float) -> Any:
    return lambda: line.press(key, duration_ms)
