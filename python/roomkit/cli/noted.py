"""`NotedCall`: a call that writes down what happens in it, for the live view, the verdict and the
picture, whatever application it is that holds it."""

from __future__ import annotations

import time
from typing import Any, Final

from roomkit.call import Call, Played, Recorded, Said
from roomkit.cli import speech
from roomkit.cli.journal import Journal
from roomkit.voice.base import AudioChunk
from roomkit.voice.events import (
    DTMFDetectedEvent,
    SessionEndedEvent,
    SpeechEndEvent,
    SpeechStartEvent,
)

__all__ = ["NotedCall"]

_LONGEST: Final = 60
"""Characters of a text that a line of the journal shows."""


class NotedCall(Call):
    """A `Call` with a journal. Masked keys are in it as keys, and not which."""

    def __init__(self, *args: Any, journal: Journal, **options: Any) -> None:
        super().__init__(*args, **options)
        self.journal = journal
        self._at = {"key": 0.0, "voice": 0.0}  # when the caller last did that
        self._message: AudioChunk | None = None
        self.on(DTMFDetectedEvent, self._key)
        self.on(SpeechStartEvent, self._speech_start)
        self.on(SpeechEndEvent, self._speech_end)
        self.on(SessionEndedEvent, self._session_ended)

    async def say(self, text: Any, **options: Any) -> Said:
        """As `Call.say`."""
        words = text if isinstance(text, str) else "…"
        shown = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
        begun = self.journal.note("says", f"says “{shown}”", clip=words)
        said = await super().say(text, **options)
        self._said(words, begun.at, said)
        return said

    async def play(self, audio: Any, **options: Any) -> Played:
        """As `Call.play`."""
        name = self._name(audio)
        words = speech.WORDS.get(name)
        begun = self.journal.note(
            "says", f"says “{words}”" if words else f"plays {name}", clip=name
        )
        played = await super().play(audio, **options)
        self._said(name, begun.at, played)
        return played

    async def record(self, *args: Any, **options: Any) -> Recorded:
        """As `Call.record`."""
        message = await super().record(*args, **options)
        if message:
            seconds = message.duration_ms / 1000
            self._message = message.audio
            self.journal.note("recorded", f"has recorded {seconds:.1f} s", seconds=seconds)
        return message

    def _said(self, name: str, began: float, played: Said | Played) -> None:
        played_ms = played.played_ms or 0.0
        cut = played.cut
        # When the caller cut it short, and not when that was found to be so.
        at = self._at.get(cut or "") or time.time()
        self.journal.note(
            "said",
            "",
            clip=name,
            began=began,
            played_ms=played_ms,
            cut=cut,
            cut_at=at if cut else None,
        )
        if cut:
            heard = f"after {played_ms / 1000:.2f} s"
            self.journal.note("cut", f"is interrupted by {cut} {heard}", at=at, by=cut)

    def _name(self, audio: Any) -> str:
        if isinstance(audio, AudioChunk):
            known = "message" if audio is self._message else speech.name_of(audio)
            return known or f"{audio.duration_ms / 1000:.1f} s of sound"
        return str(audio) if hasattr(audio, "__fspath__") or isinstance(audio, str) else "sound"

    def _key(self, event: DTMFDetectedEvent) -> None:
        self._at["key"] = time.time()
        digit = "" if event.masked else event.digit
        key = f"key {digit}" if digit else "a masked key"
        self.journal.note("key", f"hears {key} ({event.duration_ms:.0f} ms)", digit=digit)

    def _speech_start(self, event: SpeechStartEvent) -> None:
        self._at["voice"] = time.time()
        self.journal.note("speech", "hears the caller begin to speak")

    def _speech_end(self, event: SpeechEndEvent) -> None:
        self.journal.note("speech", f"heard {event.duration_ms / 1000:.1f} s of speech")

    def _session_ended(self, event: SessionEndedEvent) -> None:
        if event.reason not in ("left", "app_failed"):
            self.journal.note("bye", f"the caller has left ({event.reason})", reason=event.reason)
