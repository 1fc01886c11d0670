"""When a turn of the caller ends, and what interrupts us: `Turns`, `TurnDetector`, `BargeIn`."""

from __future__ import annotations

import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from roomkit.errors import shown

__all__ = [
    "BACK_CHANNELS",
    "BargeIn",
    "TurnDetector",
    "TurnSoFar",
    "Turns",
    "check_rules",
    "count_words",
    "is_back_channel",
]


@dataclass(frozen=True, slots=True)
class TurnSoFar:
    """What is known of a turn while the caller is quiet."""

    text: str
    """What was recognised so far, partial texts included; empty where nothing is recognised."""
    recognised: bool
    """The text is final: nothing of this turn is with the recogniser any longer."""
    speech_ms: float
    """How long he spoke, pauses left out."""
    pauses_ms: tuple[float, ...]
    """The pauses that he made within this turn, in order."""
    utterances: int
    """Into how many pieces his pauses cut it, 1 or more."""
    past_pauses_ms: tuple[float, ...]
    """The newest pauses within his turns, this one's included, oldest first; at most
    `PAUSES_KEPT`. Those are among them at which a turn was thought to be over and was not."""


class TurnDetector(ABC):
    """Decides how much quiet ends a turn."""

    @abstractmethod
    def silence_ms(self, turn: TurnSoFar) -> float:
        """How long the caller must be quiet for this turn to be over, in ms since he stopped.

        Asked when speech ends and whenever a text of the turn comes; the newest answer counts, held
        within `Turns.min_silence_ms` and `max_silence_ms`. Called on the event loop: it must not
        block. If it raises, or gives no number, the built-in rule decides.
        """


PAUSES_KEPT: Final = 12
"""How many of the caller's pauses are remembered: some turns' worth, so that a hurried caller who
becomes thoughtful is known after a few sentences."""

# Before he has paused this often, one odd pause would decide how he is taken to speak.
_PAUSES_NEEDED: Final = 3
# His next long pause is about as long as the longest but one of the last; a quarter and a frame or
# two more, so that it is not cut off at the edge.
_MARGIN: Final = 1.25
_MARGIN_MS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """When a turn of the caller is over.

    Raises `ValueError` naming the field (`TypeError` for a detector that is none).
    """

    silence_ms: float = 600
    """So much quiet ends a turn while nothing is known of the caller. Pauses between two phrases of
    one sentence are mostly below half a second; each ms here is one that every answer is late."""
    min_silence_ms: float = 300
    """No turn ends sooner. So much quiet also ends an utterance, the piece that a recogniser gets;
    shorter gaps are those between words, and before a plosive."""
    max_silence_ms: float = 1500
    """No turn ends later; longer, and callers ask whether anybody is there."""
    adaptive: bool = True
    """Goes by the caller's own pauses once some are known, between the two bounds above. Not asked
    where there is a `detector`."""
    longest_ms: float = 30_000
    """The watchdog: speech without an end of turn for so long ends it, with what was recognised.
    Hold music or noise keeps a call deaf no longer; of somebody who speaks on, what follows is
    joined to it."""
    text_within_ms: float = 5000
    """An utterance whose text has not come so long after its end is taken for nothing said; a text
    that comes still later belongs to the next turn."""
    detector: TurnDetector | None = None
    """Decides in place of `silence_ms` and `adaptive`."""

    def __post_init__(self) -> None:
        _check_ms(self.min_silence_ms, "min_silence_ms", 0, 60_000)
        _check_ms(self.silence_ms, "silence_ms", 0, 60_000)
        _check_ms(self.max_silence_ms, "max_silence_ms", 0, 60_000)
        if not self.min_silence_ms <= self.silence_ms <= self.max_silence_ms:
            raise ValueError(
                f"silence_ms: {shown(self.silence_ms)}; {shown(self.min_silence_ms)}"
                f" (min_silence_ms) to {shown(self.max_silence_ms)} (max_silence_ms) fits"
            )
        _check_bool(self.adaptive, "adaptive")
        _check_ms(self.longest_ms, "longest_ms", 1000, 3_600_000)
        _check_ms(self.text_within_ms, "text_within_ms", 0, 600_000)
        detector: Any = self.detector
        if detector is not None and not isinstance(detector, TurnDetector):
            raise TypeError(f"detector: {shown(detector)}; a TurnDetector or None fits")

    def builtin_silence_ms(self, past_pauses_ms: tuple[float, ...]) -> float:
        """What ends a turn where no detector decides: `silence_ms`, or what the caller's pauses
        ask for."""
        if not self.adaptive or len(past_pauses_ms) < _PAUSES_NEEDED:
            return self.silence_ms
        return self.within(sorted(past_pauses_ms)[-2] * _MARGIN + _MARGIN_MS)

    def within(self, silence_ms: float) -> float:
        """`silence_ms`, held between the two bounds."""
        return min(max(silence_ms, self.min_silence_ms), self.max_silence_ms)


BargeInMode = Literal["immediate", "confirmed", "words", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeIn:
    """What the caller must do to interrupt what is played to him.

    Raises `ValueError` naming the field.
    """

    mode: BargeInMode = "confirmed"
    """`"immediate"`: speech cuts it off at once. `"confirmed"`: by `after_ms` of speech, or words
    that come sooner. `"words"`: by words alone (by `after_ms` where nothing is recognised).
    `"off"`: nothing does; the caller is heard and answered afterwards."""
    after_ms: float = 500
    """So much speech in one piece is no cough and no "mm-hm". A recogniser that gives partial
    texts is believed as well: speech of which it makes no word confirms nothing."""
    words: int = 1
    """How many recognised words interrupt; back-channels alone are none."""
    pause: bool = True
    """What plays is held back from the first sound of the caller's, until it is known what it was:
    the line is silent at once, and after a false alarm nothing is missing. False: it plays on
    until he has interrupted."""
    resume_after_ms: float = 1500
    """The caller is quiet again and no text has come for so long: what was held back goes on."""
    longest_pause_ms: float = 4000
    """Sound that goes on for so long and has not interrupted (music in the background): what was
    held back goes on all the same, where there is a recogniser that should have found words; where
    there is none it is cut off."""
    back_channels: frozenset[str] | None = None
    """What a listener says without wanting the word: words or short phrases, in any case. None:
    `BACK_CHANNELS`; an empty set: there are none."""

    def __post_init__(self) -> None:
        if self.mode not in ("immediate", "confirmed", "words", "off"):
            raise ValueError(
                f"mode: {shown(self.mode)}; 'immediate', 'confirmed', 'words' or 'off' fits"
            )
        _check_ms(self.after_ms, "after_ms", 0, 60_000)
        words: Any = self.words
        if not isinstance(words, int) or isinstance(words, bool) or words < 1:
            raise ValueError(f"words: {shown(words)}; an int of 1 or more fits")
        _check_bool(self.pause, "pause")
        _check_ms(self.resume_after_ms, "resume_after_ms", 0, 60_000)
        _check_ms(self.longest_pause_ms, "longest_pause_ms", 0, 60_000)
        phrases: Any = self.back_channels
        if phrases is not None:
            if isinstance(phrases, str) or not isinstance(phrases, Iterable):
                raise ValueError(f"back_channels: {shown(phrases)}; a set of str or None fits")
            phrases = frozenset(phrases)
            for phrase in phrases:
                if not isinstance(phrase, str) or not _words(phrase):
                    raise ValueError(f"back_channels: {shown(phrase)}; a str with a word fits")
            object.__setattr__(self, "back_channels", phrases)

    @property
    def pauses(self) -> bool:
        """What plays is held back while he speaks."""
        return self.pause and self.mode != "off"

    def is_back_channel(self, text: str) -> bool:
        """Whether that is all that `text` is."""
        return is_back_channel(
            text, BACK_CHANNELS if self.back_channels is None else self.back_channels
        )


BACK_CHANNELS: Final = frozenset(
    [
        # Sounds of many languages, as recognisers write them; letters may be drawn out.
        *"mm mhm mm-hm hm hum uh-huh uh-hu aha ah oh uh um er ehm äh ähm öh euh eh ähä".split(),
        # English
        *"yeah yep yup yes ok okay right sure alright cool good great true exactly wow".split(),
        *["i see", "got it", "all right", "of course", "go on", "oh really", "that's right"],
        # German, Dutch
        *"ja jaja jep jo genau klar gut okay stimmt richtig aha achso verstehe gerne".split(),
        *["ja klar", "ach so", "alles klar", "na klar", "ich verstehe", "sehr gut"],
        *"jawel precies prima juist klopt oké oke tuurlijk".split(),
        # French, Spanish, Italian, Portuguese
        *"oui ouais d'accord voilà exact bien bon hein".split(),
        *["ah bon", "je vois", "bien sûr", "très bien", "ça marche"],
        *"sí si vale claro bueno bien ya ajá exacto perfecto entiendo".split(),
        *["de acuerdo", "por supuesto", "muy bien"],
        *"sì certo bene esatto capito perfetto giusto già".split(),
        *["va bene", "ho capito", "d'accordo"],
        *"sim pois tá certo claro isso entendi exato".split(),
        *["está bem", "tudo bem", "com certeza"],
        # Polish, Russian, Turkish
        *"tak dobrze jasne rozumiem".split(),
        *"да ага угу так ясно понятно хорошо ладно конечно".split(),
        *"evet tamam peki anladım tabii hıhı".split(),
        # Chinese, Japanese, Korean
        *"嗯 嗯嗯 哦 对 对对 是 是的 好 好的 明白".split(),
        *"はい うん ええ そう そうですね なるほど そうですか".split(),
        *"네 예 응 음 그래요 맞아요 알겠습니다".split(),
    ]
)
"""What a listener says without wanting the word, in thirteen languages."""

# More than this in a row wants to be heard: "okay okay okay okay".
_BACK_CHANNELS_IN_A_ROW: Final = 3
_LONGEST_PHRASE: Final = 4  # words in one entry
# Longer than three of the longest phrases: not worth a look.
_LONGEST_TEXT: Final = 200

# A word is letters and digits; of scripts without spaces each character counts.
_SPACELESS: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD: Final = re.compile(
    rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])\w)+(?:['’](?:(?![{_SPACELESS}])\w)+)*"
)
_DRAWN_OUT: Final = re.compile(r"([^\W\d])\1+")


def count_words(text: str) -> int:
    """How many words `text` has; of Chinese, Japanese, Thai and their like, characters."""
    return sum(1 for _ in _WORD.finditer(text))


def is_back_channel(text: str, phrases: frozenset[str] = BACK_CHANNELS) -> bool:
    """Whether `text` is one to three of `phrases` and nothing else; case, punctuation and letters
    that are drawn out ("Mmmm…") do not matter. A text without words is none."""
    if len(text) > _LONGEST_TEXT:
        return False
    words = _words(text)
    known = _known(phrases)
    # The fewest phrases that make up the first n words.
    fewest = [0] + [_BACK_CHANNELS_IN_A_ROW + 1] * len(words)
    for end in range(1, len(words) + 1):
        for start in range(max(0, end - _LONGEST_PHRASE * 2), end):
            if fewest[start] < fewest[end] and words[start:end] in known:
                fewest[end] = min(fewest[end], fewest[start] + 1)
    return bool(words) and fewest[-1] <= _BACK_CHANNELS_IN_A_ROW


@lru_cache(maxsize=16)
def _known(phrases: frozenset[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(map(_words, phrases))


def _words(text: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFC", text).casefold().replace("’", "'")
    return tuple(_DRAWN_OUT.sub(r"\1", word) for word in _WORD.findall(plain))


def check_rules(turns: Any, barge_in: Any) -> None:
    """Raises `TypeError` for settings that are none."""
    if turns is not None and not isinstance(turns, Turns):
        raise TypeError(f"turns: {shown(turns)}; a Turns or None fits")
    if barge_in is not None and not isinstance(barge_in, BargeIn):
        raise TypeError(f"barge_in: {shown(barge_in)}; a BargeIn or None fits")


def _check_ms(value: Any, name: str, least: float, most: float) -> None:
    """Raises `ValueError` for anything but a number of ms in that range."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name}: {shown(value)}; {least} to {most} ms fits")


def _check_bool(value: Any, name: str) -> None:
    """Raises `ValueError` for anything but True and False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {shown(value)}; True or False fits")
