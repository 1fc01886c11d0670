"""What a `Conversation` commands, and how its history reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

__all__ = [
    "BargedIn",
    "CancelPlayback",
    "CloseReason",
    "CloseUtterance",
    "Command",
    "Confirmation",
    "DropAnswer",
    "EndTurn",
    "OpenUtterance",
    "PausePlayback",
    "Phase",
    "ResumePlayback",
    "ResumeReason",
    "TraceEntry",
    "traced",
]


class Phase(StrEnum):
    """Whose move it is."""

    LISTENING = "listening"
    """The caller's."""
    THINKING = "thinking"
    """An answer is being made, and nothing of it plays yet (or any longer)."""
    SPEAKING = "speaking"
    """Something plays."""
    PAUSED = "paused"
    """What plays is held back, until it is known whether the caller wants to interrupt it."""


CloseReason = Literal["silence", "watchdog", "finished"]
ResumeReason = Literal["false_alarm", "back_channel", "silence"]
Confirmation = Literal["immediate", "speech", "words"]


@dataclass(frozen=True, slots=True)
class OpenUtterance:
    """The caller speaks: his audio from `at_ms` on is one utterance, until it is closed."""

    utterance: int
    """Rising from 1."""
    at_ms: float


@dataclass(frozen=True, slots=True)
class CloseUtterance:
    """The utterance is over; its text is wanted (`Conversation.recognised`)."""

    utterance: int
    at_ms: float
    """Where the speech in it ended."""
    reason: CloseReason
    """He was quiet; it was open for too long (another opens at once if he still speaks); the call
    is over."""


@dataclass(frozen=True, slots=True)
class PausePlayback:
    """Hold it back from the next packet on."""

    playback: int


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """Go on with the sample after the last that left."""

    playback: int
    reason: ResumeReason
    """Too short, or not words; the words of a listener; nothing was said that could be recognised
    within the time for it, or the caller, who spoke before it began, has finished."""


@dataclass(frozen=True, slots=True)
class CancelPlayback:
    """Cut it short, and all that waits behind it."""

    playback: int


@dataclass(frozen=True, slots=True)
class BargedIn:
    """The caller interrupted what played; its `CancelPlayback` follows."""

    utterance: int
    playback: int
    at_ms: float
    """When he began to speak."""
    confirmed_by: Confirmation


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The caller has said something, and it is our move."""

    turn: int
    """Rising from 1."""
    utterances: tuple[int, ...]
    """In order; not those that came to nothing."""
    text: str = field(repr=False)
    """Their texts, joined; empty only where nothing is recognised at all."""
    speech_ended_ms: float
    """When he stopped speaking."""
    decided_ms: float
    """When he had been quiet for long enough. This command may be later: it waits for the texts,
    and for the end of what plays."""
    reason: Literal["silence", "watchdog"]


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """The caller went on before anything of the answer was heard: forget it, and that turn. Its
    text comes again, joined with what follows, in the next `EndTurn`."""

    turn: int


Command = (
    OpenUtterance
    | CloseUtterance
    | PausePlayback
    | ResumePlayback
    | CancelPlayback
    | BargedIn
    | EndTurn
    | DropAnswer
)


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One thing that was told, decided or commanded. Never what somebody said or keyed."""

    at_ms: float
    what: str
    """A word such as `"speech_started"`, `"open_utterance"`, `"turn_ended"`."""
    detail: str = ""
    """What it was about, such as `"utterance 3 silence"`."""


def traced(command: Command) -> tuple[str, str]:
    """How a command stands in the trace: what, and about what."""
    match command:
        case OpenUtterance(number):
            return "open_utterance", f"utterance {number}"
        case CloseUtterance(number, _, reason):
            return "close_utterance", f"utterance {number} {reason}"
        case PausePlayback(number):
            return "pause_playback", f"playback {number}"
        case ResumePlayback(number, why):
            return "resume_playback", f"playback {number} {why}"
        case CancelPlayback(number):
            return "cancel_playback", f"playback {number}"
        case BargedIn(number, playback, _, by):
            return "barged_in", f"utterance {number} playback {playback} {by}"
        case EndTurn(number, utterances):
            return "turn_ended", f"turn {number} {command.reason} utterances {utterances}"
        case DropAnswer(number):
            return "drop_answer", f"turn {number}"
