"""`RoomKit`: rooms, the channels attached to them, and the calls that come in through those."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from roomkit.ai import AIChannel
from roomkit.errors import (
    ChannelExistsError,
    ChannelNotRegisteredError,
    ChannelTypeError,
    CloseError,
    KitClosedError,
    RoomExistsError,
    RoomNotFoundError,
    SessionNotFoundError,
    check_mapping,
    check_text,
    shown,
)
from roomkit.hooks import HookContext, HookExecution, HookHandler, HookRunner, HookTrigger
from roomkit.rooms import Channel, ChannelBinding, ChannelCategory, Participant, Room
from roomkit.voice.base import Unsubscribe, VoiceSession, check_session
from roomkit.voice.channel import VoiceChannel
from roomkit.voice.events import SessionEndedEvent, SessionStartedEvent

__all__ = ["RoomKit"]

_log = logging.getLogger("roomkit")
_H = TypeVar("_H", bound=HookHandler)

# Hooks that still run when the kit closes: long enough to write a record, short enough for Ctrl-C.
_DRAIN_SECONDS = 5.0


class RoomKit:
    """The framework around calls::

        async with RoomKit() as kit:
            kit.register_channel(VoiceChannel("phone", backend=backend))
            room = await kit.create_room()
            await kit.attach_channel(room.id, "phone")
            session = await kit.join(room.id, "phone")

    All methods belong on one event loop's thread. Leaving the block closes everything.
    """

    def __init__(self) -> None:
        self.hooks = HookRunner(self._context_of)
        """The hooks of this kit; `hook` and `add_hook` fill it."""
        self._rooms: dict[str, Room] = {}
        self._channels: dict[str, Channel] = {}
        self._closing: asyncio.Task[None] | None = None

    # --- hooks --------------------------------------------------------------------------------

    def hook(
        self,
        trigger: HookTrigger,
        execution: HookExecution = HookExecution.SYNC,
        priority: int = 0,
        name: str = "",
        timeout: float | None = 30.0,
        *,
        channel_ids: Collection[str] | None = None,
        room_ids: Collection[str] | None = None,
    ) -> Callable[[_H], _H]:
        """Registers the async function below it, and leaves that as it is::

            @kit.hook(HookTrigger.ON_DTMF, execution=HookExecution.ASYNC)
            async def on_dtmf(event, ctx): ...

        SYNC hooks run in the order of `priority`, lower first, and may return a `HookResult`.
        `timeout`: seconds until the hook is cancelled; None: never. `channel_ids`, `room_ids`:
        only events of these. Raises `TypeError` for a function that is not async.
        """

        def register(handler: _H) -> _H:
            self.add_hook(
                trigger,
                handler,
                execution=execution,
                priority=priority,
                name=name,
                timeout=timeout,
                channel_ids=channel_ids,
                room_ids=room_ids,
            )
            return handler

        return register

    def add_hook(self, trigger: HookTrigger, handler: HookHandler, **options: Any) -> Unsubscribe:
        """`hook` without the decorator; returns what takes the hook away again, idempotent."""
        return self.hooks.add(trigger, handler, **options)

    def remove_hook(self, handler: HookHandler) -> bool:
        """Takes away every registration of `handler`; True if there was one."""
        return self.hooks.remove(handler) > 0

    # --- channels and rooms -------------------------------------------------------------------

    def register_channel(self, channel: Channel) -> None:
        """Makes a channel known. Raises `ChannelExistsError` if its id is taken."""
        self._check_open("register a channel")
        if not isinstance(channel, Channel):
            raise TypeError(f"channel: {type(channel).__name__}; a Channel fits")
        if channel.channel_id in self._channels:
            raise ChannelExistsError(channel.channel_id)
        channel.bind(self)
        self._channels[channel.channel_id] = channel

    def get_channel(self, channel_id: str) -> Channel:
        """The channel of that id; `ChannelNotRegisteredError` if there is none."""
        check_text(channel_id, "channel_id")
        try:
            return self._channels[channel_id]
        except KeyError:
            raise ChannelNotRegisteredError(channel_id, self._channels) from None

    async def create_room(
        self, room_id: str | None = None, *, metadata: Mapping[str, Any] | None = None
    ) -> Room:
        """A new room, by default with a uuid as its id. `RoomExistsError` if the id is taken."""
        self._check_open("create a room")
        if room_id is not None:
            check_text(room_id, "room_id")
        check_mapping(metadata, "metadata")
        room = Room(room_id or str(uuid.uuid4()), metadata=dict(metadata or {}))
        if room.id in self._rooms:
            raise RoomExistsError(room.id)
        self._rooms[room.id] = room
        return room

    def get_room(self, room_id: str) -> Room:
        """The room of that id; `RoomNotFoundError` if there is none."""
        check_text(room_id, "room_id")
        try:
            return self._rooms[room_id]
        except KeyError:
            raise RoomNotFoundError(room_id, self._rooms) from None

    def list_rooms(self) -> list[Room]:
        """All rooms, oldest first."""
        return list(self._rooms.values())

    async def close_room(self, room_id: str) -> None:
        """Ends the room's calls and forgets it. Raises `CloseError` when a call did not end
        cleanly; the room is gone nevertheless."""
        room = self.get_room(room_id)
        errors = await self._end_calls(room)
        self._rooms.pop(room_id, None)
        if errors:
            raise CloseError(f"room {room_id!r}", errors)

    async def attach_channel(
        self,
        room_id: str,
        channel_id: str,
        category: ChannelCategory | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> ChannelBinding:
        """Attaches a registered channel to a room; attaching it again replaces the binding.

        `category` is the channel's own unless given. Raises `RoomNotFoundError`,
        `ChannelNotRegisteredError`.
        """
        room, channel = self.get_room(room_id), self.get_channel(channel_id)
        check_mapping(metadata, "metadata")
        try:
            kind = channel.category if category is None else ChannelCategory(category)
        except ValueError:
            fits = ", ".join(map(repr, map(str, ChannelCategory)))
            raise ValueError(f"category: {shown(category)}; {fits} or None fits") from None
        binding = ChannelBinding(room_id, channel_id, kind, dict(metadata or {}))
        room.bindings[channel_id] = binding
        return binding

    async def detach_channel(self, room_id: str, channel_id: str) -> None:
        """Ends the channel's calls in the room and detaches it. Raises as `attach_channel`, and
        `ChannelNotAttachedError`."""
        room = self.get_room(room_id)
        room.binding(channel_id)
        errors = await self._end_calls(room, channel_id)
        room.bindings.pop(channel_id, None)
        if errors:
            raise CloseError(f"channel {channel_id!r} in room {room_id!r}", errors)

    # --- calls --------------------------------------------------------------------------------

    async def join(
        self,
        room_id: str,
        channel_id: str,
        *,
        participant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> VoiceSession:
        """Opens a call into a room and returns its session, ACTIVE. ON_SESSION_STARTED is on its
        way to the hooks.

        `participant_id` is a uuid unless given. `metadata` goes to the backend, which reads it
        (for RTP: `remote_addr` and more) and never changes it. Raises `RoomNotFoundError`,
        `ChannelNotRegisteredError`, `ChannelNotAttachedError`, `ChannelTypeError` for a channel
        that takes no calls, `ParticipantExistsError`, and what the backend raises; then nobody
        joined and nothing is open.
        """
        self._check_open("join")
        if participant_id is not None:
            check_text(participant_id, "participant_id")
        check_mapping(metadata, "metadata")
        room, channel = self.get_room(room_id), self.get_channel(channel_id)
        room.binding(channel_id)
        if not isinstance(channel, VoiceChannel):
            raise ChannelTypeError(
                channel_id, f"channel_id: {channel!r} takes no calls; a VoiceChannel fits"
            )
        participant = Participant(
            participant_id or str(uuid.uuid4()),
            room_id,
            channel_id,
            metadata=dict(metadata or {}),
        )
        room.admit(participant)
        try:
            session = await channel.connect(room_id, participant.id, metadata)
            if self.closed:
                await channel.disconnect(session)
                raise KitClosedError("join")
            return session
        except BaseException:
            if room.participants.get(participant.id) is participant:
                del room.participants[participant.id]
            raise

    async def leave(self, session: VoiceSession) -> None:
        """Ends a call. Idempotent: a call that is over is left alone.

        Raises `SessionNotFoundError` for a session of no channel here, and what failed while
        ending; the call is over nevertheless.
        """
        check_session(session)
        channel = self._channels.get(session.channel_id)
        if not isinstance(channel, VoiceChannel):
            raise SessionNotFoundError(session.id, "the sessions of this RoomKit")
        await channel.disconnect(session)

    # --- life ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends every call, closes every channel with its backend and providers, and gives running
        hooks five seconds. Idempotent; concurrent calls wait for the first. All parts are closed
        even if some fail; `CloseError` then says which."""
        if self._closing is None:
            # In the context of whoever closes: a hook that does so is not waited for.
            self._closing = asyncio.create_task(self._close(), name="RoomKit.close")
        # Shielded: giving up waiting does not leave half of it open.
        await asyncio.shield(self._closing)

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closing is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except CloseError:
            if error is None:
                raise
            # The body's own exception is the news; this one is its consequence as a rule.
            _log.exception("closing failed as well")

    # --- what channels report -----------------------------------------------------------------

    def session_started(self, session: VoiceSession) -> bool:
        """Called by a channel when a session is up. False if its room does not know the channel:
        the session then belongs to whoever connected it."""
        room = self._rooms.get(session.room_id)
        if room is None or session.channel_id not in room.bindings:
            _log.warning("session %s: its room or binding is unknown, no hooks", session.id)
            return False
        participant = room.participants.get(session.participant_id)
        if participant is None:
            # Connected on the backend directly, without `join`.
            participant = Participant(session.participant_id, room.id, session.channel_id)
            room.admit(participant)
        participant.session = session
        self.hooks.emit(HookTrigger.ON_SESSION_STARTED, SessionStartedEvent(session))
        return True

    def session_ended(self, session: VoiceSession, reason: str) -> None:
        """Called by a channel when a session is over."""
        self.hooks.emit(HookTrigger.ON_SESSION_ENDED, SessionEndedEvent(session, reason))
        room = self._rooms.get(session.room_id)
        if room is not None:
            room.dismiss(session)
            for channel_id in room.bindings:
                self._channels[channel_id].session_ended(session)

    def models_of(self, session: VoiceSession) -> list[AIChannel]:
        """The models that answer what is said in a session, in the order in which they were
        attached."""
        room = self._rooms.get(session.room_id)
        bound = [] if room is None else [self._channels[each] for each in room.bindings]
        return [channel for channel in bound if isinstance(channel, AIChannel)]

    # --- helpers ------------------------------------------------------------------------------

    def _context_of(self, session: VoiceSession) -> HookContext | None:
        room = self._rooms.get(session.room_id)
        if room is None:
            return None
        bindings, participants = tuple(room.bindings.values()), tuple(room.participants.values())
        return HookContext(room, bindings, participants)

    def _check_open(self, doing: str) -> None:
        if self._closing is not None:
            raise KitClosedError(doing)

    async def _end_calls(self, room: Room, channel_id: str | None = None) -> list[BaseException]:
        ending = [
            self.leave(session)
            for session in room.sessions
            if channel_id is None or session.channel_id == channel_id
        ]
        ended = await asyncio.gather(*ending, return_exceptions=True)
        return [each for each in ended if each is not None]

    async def _close(self) -> None:
        errors: list[BaseException] = []
        for room in self.list_rooms():
            errors += await self._end_calls(room)
        for channel in self._channels.values():
            try:
                await channel.close()
            except CloseError as error:
                errors += error.errors
            except Exception as error:  # noqa: BLE001 (the other channels are closed too)
                _log.exception("%r did not close cleanly", channel)
                errors.append(error)
        await self.hooks.drain(_DRAIN_SECONDS)
        self._rooms.clear()
        if errors:
            raise CloseError("this RoomKit", errors)
