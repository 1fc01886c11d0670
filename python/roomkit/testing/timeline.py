"""What happened in a call, as lines that are the same each time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, Final

from roomkit.hooks import HookTrigger
from roomkit.testing.caller import Caller
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.frame import AudioFrame

__all__ = ["Entry", "Spoken", "entries_of_caller", "entry_of_event", "spoken_by"]

_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
_PHRASE_MS: Final = 500.0
"""Words that are heard no further apart belong to one line."""


@dataclass(slots=True)
class Entry:
    """One line."""

    at_ms: float
    who: str
    what: str
    trigger: HookTrigger | None = None
    event: Any = None

    def __str__(self) -> str:
        return f"{self.at_ms / 1000:9.3f} s  {self.who:<8} {self.what}".rstrip()


@dataclass(frozen=True, slots=True)
class Spoken:
    """What we said."""

    text: str
    whole: bool
    """It was spoken to its end."""


def entry_of_event(at_ms: float, trigger: HookTrigger, event: Any) -> Entry:
    """A line of what the hooks were told."""
    parts = [
        f"{field.name}={_shown(getattr(event, field.name))}"
        for field in fields(event)
        if field.name != "session"
    ]
    return Entry(at_ms, "hook", " ".join([trigger.value, *parts]), trigger, event)


def entries_of_caller(caller: Caller, name: str, offset_ms: float) -> Iterator[Entry]:
    """Lines of what a caller did and heard."""
    for did in caller.did:
        text = f" {did.text!r}" if did.text else ""
        until = (
            f" until {(offset_ms + did.end_ms) / 1000:.3f} s" if did.end_ms > did.begin_ms else ""
        )
        yield Entry(offset_ms + did.begin_ms, name, f"{did.what}{text}{until}")
    phrase: list[str] = []
    begin = end = 0.0
    for word in caller.heard.words:
        if phrase and word.begin_ms - end > _PHRASE_MS:
            yield _heard(name, phrase, offset_ms + begin, offset_ms + end)
            phrase = []
        if not phrase:
            begin = word.begin_ms
        phrase.append(word.text)
        end = word.end_ms
    if phrase:
        yield _heard(name, phrase, offset_ms + begin, offset_ms + end)
    for key in caller.keys_heard:
        yield Entry(offset_ms + key.at_ms, name, f"gets key {key.digit}")


def spoken_by(entry: Entry) -> Spoken | None:
    """What of ours was said, as this event tells: AFTER_TTS, or ON_TTS_CANCELLED with what was
    heard of it."""
    if entry.trigger is HookTrigger.AFTER_TTS:
        return Spoken(" ".join(entry.event.text.split()), whole=True)
    if entry.trigger is HookTrigger.ON_TTS_CANCELLED:
        heard = entry.event.heard
        text = "" if heard is None else " ".join(heard.text.split())
        return Spoken(text, whole=False) if text else None
    return None


def _heard(name: str, words: list[str], begin_ms: float, end_ms: float) -> Entry:
    return Entry(begin_ms, name, f"hears {' '.join(words)!r} until {end_ms / 1000:.3f} s")


def _shown(value: Any) -> str:
    """A value without anything that differs from one run to the next."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str | int | None):
        return repr(str(value)) if isinstance(value, str) else repr(value)
    if isinstance(value, AudioChunk | AudioFrame):
        return f"<{value.duration_ms:.3f} ms of audio>"
    if isinstance(value, VoiceSession):
        return value.participant_id
    if isinstance(value, BaseException):
        return _ADDRESS.sub("", f"{type(value).__name__}({value})")
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    if is_dataclass(value) and not isinstance(value, type):
        shown = " ".join(
            f"{each.name}={_shown(getattr(value, each.name))}" for each in fields(value)
        )
        return f"{type(value).__name__}({shown})"
    return f"<{type(value).__name__}>"
