"""What `RTPSession.events()` tells, beside the digits (`roomkit.voice.events.DTMFEvent`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from roomkit.rtp.addresses import Address
from roomkit.voice.events import DTMFEvent

__all__ = [
    "DTMFSent",
    "DisconnectReason",
    "Disconnected",
    "PlaybackEnded",
    "PlaybackStarted",
    "RTPEvent",
    "Resumed",
    "SourceTrusted",
]

DisconnectReason: TypeAlias = Literal["bye", "rtp_timeout", "rtcp_timeout", "fault"]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The far end is gone. The session stays open until it is closed."""

    reason: DisconnectReason
    """`"bye"`: an RTCP BYE (RFC 3550 §6.6). `"rtp_timeout"`: nothing came for `rtp_timeout`; it
    may come again. `"rtcp_timeout"`: its reports stopped for `rtcp_timeout`. `"fault"`: the media
    core gave the session up; nothing works any longer."""
    detail: str = ""
    """The reason given in the BYE, at most 200 characters and fit for a log: what cannot be printed
    is escaped. Or the fault's message."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The far end is heard again after a timeout, or after it said BYE."""


@dataclass(frozen=True, slots=True)
class SourceTrusted:
    """A source proved itself; from now on it alone is heard."""

    addr: Address
    ssrc: int
    """Our own where the far end sends back what it gets, as an echo test does."""
    changed: bool
    """Whether it took the place of another."""


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """The first packet of a playback left."""

    playback: int
    """Its number within the session, rising from 1."""


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """The last packet of a playback left, or it was cut short."""

    playback: int
    played_ms: float
    """Audio of it that left on the wire."""
    cancelled: bool


@dataclass(frozen=True, slots=True)
class DTMFSent:
    """The last packet of what one `send_dtmf` queued has left, or it was cancelled."""

    number: int
    """What `send_dtmf` returned."""
    cancelled: bool
    """Whether some of it was not sent, or a key was let go early, by a hold for one."""


RTPEvent: TypeAlias = (
    DTMFEvent | DTMFSent | Disconnected | Resumed | SourceTrusted | PlaybackStarted | PlaybackEnded
)
