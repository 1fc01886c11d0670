"""What the methods of `Call` return, and what a `Call` is told to keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roomkit.errors import shown
from roomkit.voice.base import AudioChunk

if TYPE_CHECKING:
    from roomkit.voice.marks import HeardText

__all__ = [
    "Answer",
    "CallOptions",
    "Collected",
    "Cut",
    "Played",
    "Recorded",
    "Said",
    "Utterance",
]

Cut = Literal["key", "voice", "interrupt", "end", "blocked"]
"""What cut a playback short: a `"key"` or the `"voice"` of the caller; an `"interrupt"` of the
program, or of whoever else speaks to this call; the `"end"` of the call; `"blocked"`: BEFORE_TTS
hooks let nothing of it pass."""


@dataclass(frozen=True, slots=True)
class Played:
    """How a `Call.play` ended. True if it was played whole."""

    cut: Cut | None
    """None: it was played whole."""
    played_ms: float | None
    """What of it left for the far end, in ms; None where the backend does not say."""

    def __bool__(self) -> bool:
        return self.cut is None


@dataclass(frozen=True, slots=True)
class Said:
    """How a `Call.say` ended. True if it was said whole."""

    text: str = field(repr=False)
    """What was to be said, as far as it was known when it ended."""
    cut: Cut | None
    """None: it was said whole."""
    played_ms: float | None
    """What of it left for the far end, in ms; None where the backend does not say."""
    heard: HeardText | None = field(default=None, repr=False)
    """What the caller heard of it; None where nobody can say."""

    def __bool__(self) -> bool:
        return self.cut is None


@dataclass(frozen=True, slots=True)
class Collected:
    """What `Call.collect` came to. True if it is complete."""

    digits: str = field(repr=False)
    """The keys without the terminator. Not in the repr: they may be a card number."""
    complete: bool
    """The terminator was pressed behind some digits, or there are as many as were asked for; or,
    where neither can be, a pause followed them."""
    reason: Literal["terminator", "length", "timeout", "hangup"]
    """What ended it."""

    def __bool__(self) -> bool:
        return self.complete


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the caller said in one go."""

    audio: AudioChunk = field(repr=False)
    """From a little before the first syllable to the pause behind the last."""
    text: str | None = field(default=None, repr=False)
    """What a recogniser made of it; None where the channel has none."""

    @property
    def duration_ms(self) -> float:
        """Length of the audio in ms."""
        return self.audio.duration_ms


@dataclass(frozen=True, slots=True)
class Answer:
    """What `Call.ask` got: keys, or words, or neither. True if there is something."""

    digits: str = field(default="", repr=False)
    """The keys, without a terminator."""
    text: str | None = field(default=None, repr=False)
    """What was said, where the channel has a recogniser."""
    audio: AudioChunk | None = field(default=None, repr=False)
    """What was said, as it sounded."""
    reason: Literal["keys", "speech", "timeout"] = "timeout"
    """What it is."""

    @property
    def key(self) -> str | None:
        """The first key."""
        return self.digits[0] if self.digits else None

    def __bool__(self) -> bool:
        return self.reason != "timeout"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `Call.record` took down. True if there is anything but quiet in it."""

    audio: AudioChunk = field(repr=False)
    """Without the quiet before and behind; empty if it was quiet all the time."""
    reason: Literal["key", "silence", "time", "hangup"]
    """What ended it."""
    key: str | None = field(default=None, repr=False)
    """The key that did."""
    path: Path | None = None
    """The WAV file it was written to; None: none was asked for, or there was nothing to write."""

    @property
    def duration_ms(self) -> float:
        """Length of the audio in ms."""
        return self.audio.duration_ms

    def __bool__(self) -> bool:
        return bool(self.audio.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What a `Call` keeps by itself. Raises `TypeError` and `ValueError` naming the field."""

    idle_ms: float | None = None
    """After so long without speech, key or playback there is an `IdleEvent`, 100 ms to a day; None:
    never. Time on hold does not count, nor while the call is bridged or recorded."""
    max_duration_ms: float | None = None
    """The call is hung up when it is so old, with the reason `"too_long"`, 100 ms to a week; None:
    never. Time on hold counts."""
    ending_soon_ms: float = 30_000.0
    """So long before that there is an `EndingSoonEvent`; 0: none."""
    linger_ms: float = 2_000.0
    """How long an application may go on when its call is over before it is cancelled: long enough
    to write down what it has. 0 to 600000."""
    keys: int = 256
    """Keys that may wait to be taken, 1 to 10000; what is pressed beyond that is dropped."""
    events: int = 256
    """Events that may wait for `async for event in call`, 16 to 10000; beyond that the oldest are
    dropped."""

    def __post_init__(self) -> None:
        day = 86_400_000.0
        for name, low, high in (
            ("idle_ms", 100, day),
            ("max_duration_ms", 100, 7 * day),
            ("ending_soon_ms", 0, 7 * day),
            ("linger_ms", 0, 600_000),
            ("keys", 1, 10_000),
            ("events", 16, 10_000),
        ):
            value = getattr(self, name)
            if value is None and name in ("idle_ms", "max_duration_ms"):
                continue
            kind = int if name in ("keys", "events") else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind):
                raise TypeError(f"{name}: {shown(value)}; a number from {low} to {high:.0f} fits")
            if not low <= value <= high:
                raise ValueError(f"{name}: {shown(value)}; {low} to {high:.0f} fits")
