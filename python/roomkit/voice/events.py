"""What happens in a call: the backend's `DTMFEvent`, and the events that hooks receive.

Every hook event has its `session`. Digits and texts are what a caller entrusts to the application:
roomkit itself logs them at DEBUG at most, and event reprs leave them out, so that nobody else does
so by accident.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from roomkit.errors import shown
from roomkit.voice.base import AudioChunk, DisconnectReason, VoiceSession

if TYPE_CHECKING:
    from roomkit.voice.ledger import TurnTimes
    from roomkit.voice.marks import HeardText

__all__ = [
    "AfterTTSEvent",
    "BargeInEvent",
    "BeforeTTSEvent",
    "ClientDisconnectedEvent",
    "ClientHeardAgainEvent",
    "ClientResumedEvent",
    "ClientUnheardEvent",
    "DTMFDetectedEvent",
    "DTMFEvent",
    "EndingSoonEvent",
    "ErrorEvent",
    "HookEvent",
    "IdleEvent",
    "PartialTranscriptionEvent",
    "SessionEndedEvent",
    "SessionStartedEvent",
    "SpeechEndEvent",
    "SpeechStartEvent",
    "TTSCancelledEvent",
    "TranscriptionEvent",
    "TurnEndedEvent",
]

_DIGITS = tuple("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class DTMFEvent:
    """One key that the caller pressed, as a backend or a pipeline stage reports it.

    Raises `ValueError` for a digit, duration or confidence that cannot be.
    """

    digit: str = field(repr=False)
    """One of `0`-`9`, `*`, `#`, `A`-`D`."""
    duration_ms: float
    """How long the key was held, in ms, 0 or more."""
    confidence: float = 1.0
    """0 to 1; signalled digits are certain, those heard in the audio nearly so."""
    masked: bool = False
    """Pressed while digits are masked (`RTPSession.mask_digits`): not to be logged or stored."""

    def __post_init__(self) -> None:
        if self.digit not in _DIGITS:
            raise ValueError(f"digit: {shown(self.digit)}; one of {''.join(_DIGITS)} fits")
        if not _is_number(self.duration_ms) or not self.duration_ms >= 0:
            raise ValueError(f"duration_ms: {shown(self.duration_ms)}; 0 or more fits")
        if not _is_number(self.confidence) or not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence: {shown(self.confidence)}; 0 to 1 fits")


@dataclass(slots=True)
class SessionStartedEvent:
    """ON_SESSION_STARTED: the call is up and audio may be sent."""

    session: VoiceSession


@dataclass(slots=True)
class SessionEndedEvent:
    """ON_SESSION_ENDED: the call is over, whoever ended it."""

    session: VoiceSession
    reason: str
    """`"left"`: by the program. Otherwise the word of the `DisconnectReason`."""


@dataclass(slots=True)
class ClientDisconnectedEvent:
    """ON_CLIENT_DISCONNECTED: the far end is gone. The call ends now, unless the channel was made
    with `hang_up=False`."""

    session: VoiceSession
    reason: DisconnectReason
    """The backend's word, such as `"bye"`."""
    detail: str = ""
    """What the far end gave as its reason, such as the text of an RTCP BYE; often empty."""


@dataclass(slots=True)
class ClientResumedEvent:
    """ON_CLIENT_RESUMED: the far end is heard again after it had been gone. A call that was ended
    meanwhile stays ended."""

    session: VoiceSession


@dataclass(slots=True)
class ClientUnheardEvent:
    """ON_CLIENT_UNHEARD: the far end's packets have come for 2 s, and nothing of them is heard. The
    call goes on."""

    session: VoiceSession
    reason: str
    """The backend's word for what became of them; of RTP a `roomkit.rtp.UnheardReason`."""


@dataclass(slots=True)
class ClientHeardAgainEvent:
    """ON_CLIENT_HEARD_AGAIN: audio is heard after ON_CLIENT_UNHEARD."""

    session: VoiceSession


@dataclass(slots=True)
class DTMFDetectedEvent:
    """ON_DTMF: the caller pressed a key."""

    session: VoiceSession
    digit: str = field(repr=False)
    """One of `0`-`9`, `*`, `#`, `A`-`D`."""
    duration_ms: float
    """How long it was held, in ms."""
    confidence: float = 1.0
    """0 to 1."""
    masked: bool = False
    """Pressed while digits are masked: not to be logged or stored."""


@dataclass(slots=True)
class SpeechStartEvent:
    """ON_SPEECH_START: the caller began to speak."""

    session: VoiceSession
    timestamp_ms: float | None = None
    """Media time of the first frame that counts as speech."""
    utterance: int = 0
    """Number of the utterance within the call, rising from 1."""


@dataclass(slots=True)
class SpeechEndEvent:
    """ON_SPEECH_END: the caller stopped; the whole utterance is here."""

    session: VoiceSession
    audio: AudioChunk = field(repr=False)
    """From a little before the first syllable to the pause that ended it."""
    timestamp_ms: float | None = None
    """Media time of the first sample of `audio`."""
    truncated: bool = False
    """It went on for longer than the pipeline keeps: this is its beginning."""
    utterance: int = 0
    """Its number within the call."""

    @property
    def duration_ms(self) -> float:
        """Length of the utterance in ms."""
        return self.audio.duration_ms


@dataclass(slots=True)
class PartialTranscriptionEvent:
    """ON_PARTIAL_TRANSCRIPTION: what a streaming recogniser has heard so far; it may change."""

    session: VoiceSession
    text: str = field(repr=False)
    confidence: float | None = None
    """0 to 1, None: the recogniser does not say."""
    utterance: int = 0
    """Of which utterance."""


@dataclass(slots=True)
class TranscriptionEvent:
    """ON_TRANSCRIPTION: what the caller said. A SYNC hook may block it or change `text`."""

    session: VoiceSession
    text: str = field(repr=False)
    language: str | None = None
    confidence: float | None = None
    """0 to 1, None: the recogniser does not say."""
    utterance: int = 0
    """Of which utterance; one may have several."""


@dataclass(slots=True)
class BeforeTTSEvent:
    """BEFORE_TTS: about to be spoken. A SYNC hook may block it or change `text`."""

    session: VoiceSession
    text: str = field(repr=False)


@dataclass(slots=True)
class AfterTTSEvent:
    """AFTER_TTS: has been spoken to its end."""

    session: VoiceSession
    text: str = field(repr=False)
    played_ms: float | None = None
    """What was played, in ms; None where the backend does not say."""


@dataclass(slots=True)
class TTSCancelledEvent:
    """ON_TTS_CANCELLED: the playback ended before its end."""

    session: VoiceSession
    reason: Literal["interrupt", "barge_in", "key", "voice", "session_ended", "error"]
    text: str | None = field(default=None, repr=False)
    """What was being spoken; None when it was a recording."""
    played_ms: float | None = None
    """What was played of it, in ms; None where the backend does not say."""
    heard: HeardText | None = field(default=None, repr=False)
    """What of the text the caller has heard; None for a recording, and where it is not known."""


@dataclass(slots=True)
class BargeInEvent:
    """ON_BARGE_IN: the caller interrupted what was played to him."""

    session: VoiceSession
    text: str | None = field(default=None, repr=False)
    """What was being spoken; None when it was a recording."""
    played_ms: float | None = None
    """What had been played of it, in ms; None where the backend does not say."""
    heard: HeardText | None = field(default=None, repr=False)
    """What of the text the caller has heard; None for a recording, and where it is not known."""
    confirmed_by: Literal["immediate", "speech", "words"] = "immediate"
    """What showed that he wants to interrupt: the first sound, enough speech, or words."""
    speech_at_ms: float | None = None
    """When he began to speak, in ms of the event loop's clock; None where the backend noticed."""


@dataclass(slots=True)
class TurnEndedEvent:
    """ON_TURN_ENDED: the caller said something, and was answered as far as he was: how that went,
    in times and words. Without a model in the room, once it is clear what he said."""

    session: VoiceSession
    times: TurnTimes
    """Where the time went, from the end of his speech to the first packet of the answer; what he
    heard of that, and whether he interrupted it."""
    text: str = field(default="", repr=False)
    """What he said, as ON_TRANSCRIPTION let it pass."""
    utterances: tuple[int, ...] = ()
    """The numbers of the utterances in which he said it."""
    error: BaseException | None = None
    """What kept the answer from being made."""

    @property
    def turn(self) -> int:
        """Its number within the call, rising from 1."""
        return self.times.turn

    @property
    def heard(self) -> HeardText | None:
        """What he heard of the answer; None where there was none, or nobody knows."""
        return self.times.heard

    @property
    def interrupted(self) -> bool:
        """He interrupted the answer, or the program did."""
        return self.times.interrupted

    @property
    def dropped(self) -> bool:
        """He went on speaking before he heard any of the answer: his text comes again, with what he
        added, in a later turn."""
        return self.times.dropped


@dataclass(slots=True)
class IdleEvent:
    """ON_IDLE: nobody has spoken, no key was pressed and nothing was played for
    `CallOptions.idle_ms`. Told once; again when something was played since and nothing came of
    it."""

    session: VoiceSession
    count: int
    """How many times in a row: the caller has said and pressed nothing since the first."""


@dataclass(slots=True)
class EndingSoonEvent:
    """The call will be as old as it may become (`CallOptions.max_duration_ms`). Told to its
    `Call`."""

    session: VoiceSession
    left_ms: float
    """In so many ms it is hung up."""


@dataclass(slots=True)
class ErrorEvent:
    """ON_ERROR: something failed where no caller could catch it. The call goes on."""

    session: VoiceSession
    where: str
    """What failed: `"hook greet"`, `"stt"`, `"pipeline vad"` …"""
    error: BaseException


HookEvent = (
    SessionStartedEvent
    | SessionEndedEvent
    | ClientDisconnectedEvent
    | ClientResumedEvent
    | ClientUnheardEvent
    | ClientHeardAgainEvent
    | DTMFDetectedEvent
    | SpeechStartEvent
    | SpeechEndEvent
    | PartialTranscriptionEvent
    | TranscriptionEvent
    | BeforeTTSEvent
    | AfterTTSEvent
    | TTSCancelledEvent
    | BargeInEvent
    | TurnEndedEvent
    | IdleEvent
    | ErrorEvent
)
"""What a hook may receive; the trigger says which."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
