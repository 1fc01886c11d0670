"""Rooms: who takes part in a conversation, and through which channels."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from roomkit.errors import ChannelNotAttachedError, ParticipantExistsError, RoomNotFoundError
from roomkit.voice.base import VoiceSession

if TYPE_CHECKING:
    from roomkit.kit import RoomKit

__all__ = ["Channel", "ChannelBinding", "ChannelCategory", "Participant", "Room"]


class ChannelCategory(StrEnum):
    """What a channel is for in a room."""

    TRANSPORT = "transport"
    """It connects people: telephony."""
    INTELLIGENCE = "intelligence"
    """It thinks: a model that answers."""
    INTEGRATION = "integration"
    """It connects other systems."""


class Channel:
    """What can be registered with a `RoomKit` and attached to rooms.

    `VoiceChannel` and `AIChannel` are channels; an application may write its own.
    """

    category: ChannelCategory = ChannelCategory.INTEGRATION
    """What it is for unless `attach_channel` says otherwise."""

    def __init__(self, channel_id: str) -> None:
        if not channel_id or type(channel_id) is not str:
            raise ValueError(f"channel_id: {channel_id!r}; a non-empty string fits")
        self.channel_id = channel_id
        self.kit: RoomKit | None = None
        """The kit with which it is registered."""

    def bind(self, kit: RoomKit) -> None:
        """Called by `register_channel`, once: a channel belongs to one kit."""

    def session_ended(self, session: VoiceSession) -> None:
        """Called when a call in a room of this channel is over: forget what belonged to it."""

    async def close(self) -> None:
        """Gives back what the channel holds. Idempotent. Called by `RoomKit.close`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channel_id!r})"


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """A channel's place in a room."""

    room_id: str
    channel_id: str
    category: ChannelCategory
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Participant:
    """Someone in a room: for voice, the person at the far end of a call."""

    id: str
    room_id: str
    channel_id: str
    session: VoiceSession | None = None
    """The call; None while it is being set up."""
    joined_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """UTC, aware."""
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)
    """A copy of what was given to `join`."""


@dataclass(slots=True, eq=False)
class Room:
    """A conversation. Made by `RoomKit.create_room`; read it, and let the kit change it."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """UTC, aware."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The application's own."""
    bindings: dict[str, ChannelBinding] = field(default_factory=dict)
    """Channels attached, by channel id."""
    participants: dict[str, Participant] = field(default_factory=dict)
    """Who is here, by participant id."""
    transient: bool = False
    """It is dropped with its last call."""
    closed: bool = False
    """It is being dropped: nobody joins any longer."""

    @property
    def sessions(self) -> list[VoiceSession]:
        """The room's calls that are up, in the order of joining."""
        return [each.session for each in self.participants.values() if each.session is not None]

    def binding(self, channel_id: str) -> ChannelBinding:
        """The channel's binding; `ChannelNotAttachedError` if it is not attached here."""
        try:
            return self.bindings[channel_id]
        except KeyError:
            raise ChannelNotAttachedError(channel_id, self.id) from None

    def admit(self, participant: Participant) -> None:
        """Adds a participant; `ParticipantExistsError` if that id is here already,
        `RoomNotFoundError` if the room is being dropped."""
        if self.closed:
            raise RoomNotFoundError(self.id, ())
        if participant.id in self.participants:
            raise ParticipantExistsError(self.id, participant.id)
        self.participants[participant.id] = participant

    def dismiss(self, session: VoiceSession) -> None:
        """Removes the participant whose call this was, if he is still here."""
        participant = self.participants.get(session.participant_id)
        if participant is not None and participant.session in (session, None):
            del self.participants[participant.id]
