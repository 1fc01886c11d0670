"""The words that every part of the voice side shares: a session, what a backend can do, a chunk of
audio to play, and the shapes of the callbacks."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Flag, StrEnum, auto
from typing import TYPE_CHECKING, Any

from roomkit.errors import SessionEndedError, shown
from roomkit.voice.pcm import pcm_bytes

if TYPE_CHECKING:
    from roomkit.voice.events import DTMFEvent
    from roomkit.voice.frame import AudioFrame

__all__ = [
    "AudioChunk",
    "AudioPlayedCallback",
    "AudioReceivedCallback",
    "BargeInCallback",
    "ClientDisconnectedCallback",
    "ClientHeardAgainCallback",
    "ClientResumedCallback",
    "ClientUnheardCallback",
    "DTMFReceivedCallback",
    "DisconnectReason",
    "Mark",
    "PathDelay",
    "PlaybackPosition",
    "SessionReadyCallback",
    "Unsubscribe",
    "VoiceCapability",
    "VoiceSession",
    "VoiceSessionState",
]


class VoiceSessionState(StrEnum):
    """Where a call stands. ENDED is final."""

    CONNECTING = "connecting"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class VoiceCapability(Flag):
    """What a backend does by itself."""

    NONE = 0
    INTERRUPTION = auto()
    """`cancel_audio` stops what is playing."""
    BARGE_IN = auto()
    """It notices by itself that the caller speaks over the playback."""
    NATIVE_AEC = auto()
    """It cancels echo."""
    NATIVE_AGC = auto()
    """It controls gain."""
    DTMF_INBAND = auto()
    """It finds digits in the audio."""
    DTMF_SIGNALING = auto()
    """Digits come beside the audio (RFC 4733)."""
    NATIVE_BRIDGE = auto()
    """It joins sessions to each other by itself."""
    PAUSE = auto()
    """`Playback.pause` holds back what plays."""


class DisconnectReason(str):
    """Why the far end is gone: a word, with what it said.

    It is that word to whoever compares it: of an RTP session `"bye"` (it said so, RFC 3550 §6.6),
    `"rtp_timeout"` and `"rtcp_timeout"` (nothing came for so long), or `"fault"` (the media core
    gave the session up; from a backend `"fault: …"`).
    """

    __slots__ = ("detail",)

    detail: str
    """What the far end gave as its reason, such as the text of an RTCP BYE; often empty."""

    def __new__(cls, reason: str, detail: str = "") -> DisconnectReason:
        made = super().__new__(cls, reason)
        made.detail = detail
        return made


@dataclass(eq=False)
class VoiceSession:
    """One call between a participant of a room and a backend.

    Sessions compare and hash by identity, so they serve as keys. Assigning `state` is checked:
    whoever tries to leave ENDED gets a `SessionEndedError`.
    """

    id: str
    room_id: str
    participant_id: str
    channel_id: str
    state: VoiceSessionState = VoiceSessionState.CONNECTING
    provider_session_id: str | None = None
    """What the far end's system calls this session, where it says."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """UTC, aware."""
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)
    """The backend's facts and the application's own. Not in the repr: it may hold keys."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state":
            value = VoiceSessionState(value)
            current = getattr(self, "state", value)
            if current is VoiceSessionState.ENDED and value is not VoiceSessionState.ENDED:
                raise SessionEndedError(self.id, f"become {value}")
        object.__setattr__(self, name, value)

    def transition(self, state: VoiceSessionState) -> bool:
        """Moves to `state`; True if that changed anything.

        Raises `SessionEndedError` when the session has ended and `state` is another.
        """
        changed = self.state is not state
        self.state = state
        return changed

    @property
    def ended(self) -> bool:
        """True once the call is over."""
        return self.state is VoiceSessionState.ENDED


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in audio where something that is said begins: a word, or a sentence.

    Raises `ValueError` (`TypeError` for a text that is none) naming the field.
    """

    text: str = field(repr=False)
    """What is heard from there on, as it stands in the text that is spoken; it may be empty: a
    place that is to be told."""
    offset_ms: float
    """Where it begins, in ms from the first sample of the chunk that has it, 0 or more."""
    end_ms: float | None = None
    """Where it has been said, in ms from the same sample; None: where the next mark begins, or
    the playback ends."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"text: {type(self.text).__name__}; a str fits")
        check_timestamp(self.offset_ms)
        check_timestamp(self.end_ms)
        if not self.offset_ms >= 0:
            raise ValueError(f"offset_ms: {self.offset_ms!r}; 0 or more fits")
        if self.end_ms is not None and self.end_ms < self.offset_ms:
            raise ValueError(
                f"end_ms: {self.end_ms!r}; {self.offset_ms!r} (offset_ms) or more fits"
            )


@dataclass(slots=True)
class AudioChunk:
    """Audio to be played: any length, in its own sample rate; the backend converts and paces it.

    Raises `ValueError` (`TypeError` for `data` that is not bytes-like) naming the field.
    """

    data: bytes
    """PCM, signed 16 bit little-endian, channels interleaved; may be empty in a final chunk. In a
    stream it may end in the middle of a sample, which the next chunk goes on with."""
    sample_rate: int = 16000
    """Samples per second and channel, 8000 to 192000."""
    channels: int = 1
    """1 to 8."""
    format: str = "pcm_s16le"
    """Always `"pcm_s16le"`."""
    timestamp_ms: float | None = None
    """Where it belongs in its source, in ms from the start; playing does not need it."""
    is_final: bool = False
    """The source says that nothing follows."""
    marks: tuple[Mark, ...] = ()
    """What is said where in this audio, in rising order; a mark may lie past the chunk's end, in
    the audio that follows. Told when it leaves: `Playback.on_mark`."""

    def __post_init__(self) -> None:
        if self.format != "pcm_s16le":
            raise ValueError(f"format: {shown(self.format)}; only 'pcm_s16le' fits")
        self.data = check_pcm(self.data, self.sample_rate, self.channels, whole=False)
        check_timestamp(self.timestamp_ms)
        if type(self.marks) is not tuple:
            if not isinstance(self.marks, Iterable):
                raise TypeError(f"marks: {type(self.marks).__name__}; some of Mark fit")
            self.marks = tuple(self.marks)
        for mark in self.marks:
            if not isinstance(mark, Mark):
                raise TypeError(f"marks: {type(mark).__name__}; a Mark fits")

    @property
    def duration_ms(self) -> float:
        """Length of the audio in ms."""
        return len(self.data) / (2 * self.channels) * 1000 / self.sample_rate


@dataclass(frozen=True, slots=True)
class PathDelay:
    """How long audio takes from leaving here until it is heard at the far end, in ms: the way, and
    the far end's buffer."""

    least_ms: float
    likely_ms: float
    most_ms: float


@dataclass(frozen=True, slots=True)
class PlaybackPosition:
    """How far the playback has come that is playing now, or that played last."""

    playback: int
    """Number of the playback within its session, rising; 0: nothing was played yet."""
    played_ms: float
    """What of it has left for the far end, in ms of audio."""
    started_at: float | None = None
    """When its first packet left, in seconds of `time.monotonic`; None: not yet, or not known."""
    at: float | None = None
    """When the newest packet of it left, in the same clock: `played_ms` was the position then."""
    over: bool = False
    """Nothing more of it will leave."""
    cancelled: bool = False
    """It was cut short."""
    paused: bool = False
    """Held back by `Playback.pause`."""


Unsubscribe = Callable[[], None]
"""Ends a registration. Idempotent."""

AudioReceivedCallback = Callable[[VoiceSession, "AudioFrame"], Awaitable[None] | None]
DTMFReceivedCallback = Callable[[VoiceSession, "DTMFEvent"], Awaitable[None] | None]
SessionReadyCallback = Callable[[VoiceSession], Awaitable[None] | None]
ClientDisconnectedCallback = Callable[[VoiceSession, str], Awaitable[None] | None]
"""The second argument is the reason, such as `"bye"`, `"rtp_timeout"` or a fault's message; it may
be a `DisconnectReason`, which has a `detail`."""
ClientResumedCallback = Callable[[VoiceSession], Awaitable[None] | None]
ClientUnheardCallback = Callable[[VoiceSession, str], Awaitable[None] | None]
"""The second argument is the backend's word for what became of the packets, such as
`"srtp_bad_tag"`."""
ClientHeardAgainCallback = Callable[[VoiceSession], Awaitable[None] | None]
AudioPlayedCallback = Callable[[VoiceSession, "AudioFrame"], Awaitable[None] | None]
"""The frame holds audio that has left; its `timestamp_ms` is on the inbound frames' timeline."""
BargeInCallback = Callable[[VoiceSession], Awaitable[None] | None]


def check_pcm(data: Any, sample_rate: int, channels: int, *, whole: bool = True) -> bytes:
    """`data` as bytes, if it can be 16 bit PCM of that rate and number of channels: `whole`
    samples, or any part of a stream."""
    if not _is_int(sample_rate) or not 8000 <= sample_rate <= 192_000:
        raise ValueError(f"sample_rate: {shown(sample_rate)}; 8000 to 192000 Hz fits")
    if not _is_int(channels) or not 1 <= channels <= 8:
        raise ValueError(f"channels: {shown(channels)}; 1 to 8 fits")
    pcm = pcm_bytes(data, "data", channels)
    if whole and len(pcm) % (2 * channels):
        raise ValueError(
            f"data: {len(pcm)} bytes; a multiple of {2 * channels} fits"
            f" (2 bytes per sample, {channels} channel(s))"
        )
    return pcm


def check_session(session: object) -> None:
    """Raises `TypeError` for anything but a `VoiceSession`."""
    if not isinstance(session, VoiceSession):
        given = (
            repr(session) if session is None or isinstance(session, str) else type(session).__name__
        )
        raise TypeError(f"session: {given}; a VoiceSession, as connect and join return it, fits")


def check_timestamp(timestamp_ms: Any) -> None:
    """None or a finite number."""
    if timestamp_ms is None:
        return
    if isinstance(timestamp_ms, bool) or not isinstance(timestamp_ms, (int, float)):
        raise ValueError(f"timestamp_ms: {shown(timestamp_ms)}; a number of ms, or None, fits")
    try:
        finite = math.isfinite(timestamp_ms)
    except OverflowError:
        raise ValueError("timestamp_ms: an integer that no float holds; one of ms fits") from None
    if not finite:
        raise ValueError(f"timestamp_ms: {timestamp_ms!r}; a finite number of ms fits")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
