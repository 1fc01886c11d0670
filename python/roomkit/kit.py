"""`RoomKit`: rooms, the channels attached to them, and the calls that come in through those."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from roomkit._handlers import check_async, ids_of, wants
from roomkit.ai import AIChannel
from roomkit.errors import (
    ChannelBoundError,
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
from roomkit.hooks import (
    HookContext,
    HookExecution,
    HookHandler,
    HookRunner,
    HookTrigger,
    speaking,
)
from roomkit.rooms import Channel, ChannelBinding, ChannelCategory, Participant, Room
from roomkit.voice.base import Unsubscribe, VoiceSession, check_session
from roomkit.voice.channel import VoiceChannel
from roomkit.voice.events import SessionEndedEvent, SessionStartedEvent

if TYPE_CHECKING:
    from roomkit._calls.apps import App, Fallback
    from roomkit._calls.outcomes import CallOptions
    from roomkit._hook_types import AddHook, HookDecorator
    from roomkit.call import Call

__all__ = ["RoomKit"]

_log = logging.getLogger("roomkit")
_H = TypeVar("_H", bound=HookHandler)

# Hooks and applications that still run when the kit closes: long enough to write a record, short
# enough for Ctrl-C.
_DRAIN_SECONDS: Final = 5.0

_running_app: contextvars.ContextVar[asyncio.Task[Any] | None] = contextvars.ContextVar(
    "roomkit_app", default=None
)


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
        self._calls: dict[str, Call] = {}
        self._answers: list[_Answer] = []
        self._apps: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._changed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    # --- hooks --------------------------------------------------------------------------------

    if TYPE_CHECKING:
        # Each trigger has its event: a checker finds a handler of another one.
        hook: HookDecorator
        add_hook: AddHook

    def hook(  # type: ignore[no-redef]
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
        `timeout`: seconds until the hook is cancelled, not counting those in which it speaks or
        waits for the caller; None: never. `channel_ids`, `room_ids`: only events of these. Raises
        `TypeError` for a function that is not async. `roomkit.hooks` says what holds for them all.
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

    def add_hook(  # type: ignore[no-redef]
        self, trigger: HookTrigger, handler: HookHandler, **options: Any
    ) -> Unsubscribe:
        """`hook` without the decorator; returns what takes the hook away again, idempotent."""
        return self.hooks.add(trigger, handler, **options)

    def remove_hook(self, handler: HookHandler) -> bool:
        """Takes away every registration of `handler`; True if there was one."""
        return self.hooks.remove(handler) > 0

    # --- channels and rooms -------------------------------------------------------------------

    def register_channel(self, channel: Channel) -> None:
        """Makes a channel known. Raises `ChannelExistsError` if its id is taken,
        `ChannelBoundError` if the channel is another kit's."""
        self._check_open("register a channel")
        if not isinstance(channel, Channel):
            raise TypeError(f"channel: {type(channel).__name__}; a Channel fits")
        if channel.channel_id in self._channels:
            raise ChannelExistsError(channel.channel_id)
        if channel.kit is not None:
            raise ChannelBoundError(channel.channel_id)
        channel.kit = self
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
        self,
        room_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        transient: bool = False,
    ) -> Room:
        """A new room, by default with a uuid as its id. `transient`: it is dropped with its last
        call. `RoomExistsError` if the id is taken."""
        self._check_open("create a room")
        if room_id is not None:
            check_text(room_id, "room_id")
        check_mapping(metadata, "metadata")
        room = Room(
            room_id or str(uuid.uuid4()), metadata=dict(metadata or {}), transient=bool(transient)
        )
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
        """Ends the room's calls, and those that are being set up, and drops it. Raises `CloseError`
        when a call did not end cleanly; the room is gone nevertheless."""
        room = self.get_room(room_id)
        # Nobody joins any longer: who is on his way finds it closed.
        room.closed = True
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
        options: Mapping[str, Any] | None = None,
    ) -> VoiceSession:
        """Opens a call into a room and returns its session, ACTIVE. ON_SESSION_STARTED is on its
        way to the hooks.

        `participant_id` is a uuid unless given. `options` are the backend's for this call (of RTP,
        `RTPCallOptions`). `metadata` is the application's own, and never changed; of RTP,
        `remote_addr` and what SDP needs are read from it. Raises `RoomNotFoundError`,
        `ChannelNotRegisteredError`, `ChannelNotAttachedError`, `ChannelTypeError` for a channel
        that takes no calls, `ParticipantExistsError`, and what the backend, the recorder and the
        stages raise. If it raises or is cancelled, nobody joined and nothing is open.
        """
        self._check_open("join")
        if participant_id is not None:
            check_text(participant_id, "participant_id")
        check_mapping(metadata, "metadata")
        check_mapping(options, "options")
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
            session = await channel.connect(room_id, participant.id, metadata, options)
            if self.closed or room.closed:
                await channel.disconnect(session)
                if self.closed:
                    raise KitClosedError("join")
                raise RoomNotFoundError(room_id, self._rooms)
            return session
        except BaseException:
            if room.participants.get(participant.id) is participant:
                del room.participants[participant.id]
            self._drop_if_empty(room)
            raise

    async def leave(self, session: VoiceSession, reason: str = "left") -> None:
        """Ends a call, for a `reason` that ON_SESSION_ENDED tells. Idempotent: a call that is over
        is left alone.

        Raises `SessionNotFoundError` for a session of no channel here, and what failed while
        ending; the call is over nevertheless.
        """
        check_session(session)
        channel = self._channels.get(session.channel_id)
        if not isinstance(channel, VoiceChannel):
            raise SessionNotFoundError(session.id, "the sessions of this RoomKit")
        check_text(reason, "reason")
        with speaking():
            await channel.disconnect(session, reason)

    def call(self, session: VoiceSession, options: CallOptions | None = None) -> Call:
        """What a program holds of a call that is up: `roomkit.Call`, the same for all who ask.
        `options` count for whoever asks first.

        Raises `SessionNotFoundError` for a session of no channel here.
        """
        check_session(session)
        found = self._calls.get(session.id)
        if found is None:
            channel = self._channels.get(session.channel_id)
            if not isinstance(channel, VoiceChannel) or session.ended:
                raise SessionNotFoundError(session.id, "the sessions of this RoomKit that are up")
            from roomkit.call import Call

            found = self._calls[session.id] = Call(self, channel, session, options=options)
        return found

    def answer(
        self,
        app: App,
        *,
        fallback: Fallback | None = None,
        options: CallOptions | None = None,
        channel_ids: Collection[str] | None = None,
        room_ids: Collection[str] | None = None,
    ) -> Unsubscribe:
        """Runs `await app(call)` for each call that begins from now on, and returns what ends that
        (calls that have begun go on). When `app` returns, its call is hung up; when the call is
        over, `app` is cancelled; when it raises, the caller hears `fallback` and is hung up, with
        the reason `"app_failed"`.

        `channel_ids`, `room_ids`: only calls of these. Raises `TypeError` for an `app` that is no
        async function of one argument.
        """
        check_async("app", app, "call")
        where = (ids_of("channel_ids", channel_ids), ids_of("room_ids", room_ids))
        answer = _Answer(app, fallback, options, *where)
        self._answers.append(answer)

        def remove() -> None:
            if answer in self._answers:
                self._answers.remove(answer)

        return remove

    # --- life ---------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None) -> bool:
        """Takes no more calls (`join` raises `KitClosedError`) and returns when those that are up
        have ended: True, or False after `timeout` seconds. Then `close`."""
        self._draining = True
        mine = _running_app.get()

        async def empty() -> None:
            while any(room.participants for room in self._rooms.values()) or (self._apps - {mine}):
                self._changed.clear()
                await self._changed.wait()

        try:
            with speaking():
                async with asyncio.timeout(timeout):
                    await empty()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Ends every call, closes every channel with its backend and providers, and gives running
        hooks and applications five seconds. Idempotent; concurrent calls wait for the first. All
        parts are closed even if some fail; `CloseError` then says which. From within a hook or an
        application it closes everything but that."""
        if self._closing is None:
            # In the context of whoever closes: a hook that does so is not waited for.
            self._closing = asyncio.create_task(self._close(), name="RoomKit.close")
        # Shielded: giving up waiting does not leave half of it open.
        with speaking():
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
        answers = [answer for answer in self._answers if answer.wants(session)]
        for answer in answers[:1]:
            # Before anybody is told: the first key may come at once.
            self._run_app(answer, self.call(session, answer.options))
        self.hooks.emit(HookTrigger.ON_SESSION_STARTED, SessionStartedEvent(session))
        return True

    def session_ended(self, session: VoiceSession, reason: str) -> None:
        """Called by a channel when a session is over."""
        self.hooks.emit(HookTrigger.ON_SESSION_ENDED, SessionEndedEvent(session, reason))
        self._calls.pop(session.id, None)
        room = self._rooms.get(session.room_id)
        if room is not None:
            room.dismiss(session)
            for channel_id in room.bindings:
                self._channels[channel_id].session_ended(session)
            self._drop_if_empty(room)
        self._changed.set()

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
        if self._closing is not None or (self._draining and doing == "join"):
            raise KitClosedError(doing)

    def _drop_if_empty(self, room: Room) -> None:
        if room.transient and not room.participants and self._rooms.get(room.id) is room:
            del self._rooms[room.id]

    def _run_app(self, answer: _Answer, call: Call) -> None:
        from roomkit._calls.apps import run_app

        async def run() -> None:
            _running_app.set(asyncio.current_task())
            await run_app(call, answer.app, fallback=answer.fallback)

        task = asyncio.get_running_loop().create_task(run(), name=f"app of {call.session.id}")
        self._apps.add(task)

        def over(task: asyncio.Task[Any]) -> None:
            self._apps.discard(task)
            self._changed.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("session %s: %r", call.session.id, error, exc_info=error)

        task.add_done_callback(over)

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
        ended = await asyncio.gather(*(self._end_calls(room) for room in self.list_rooms()))
        errors += [error for each in ended for error in each]
        channels = list(self._channels.values())
        closed = await asyncio.gather(
            *(channel.close() for channel in channels), return_exceptions=True
        )
        for channel, error in zip(channels, closed, strict=True):
            if isinstance(error, CloseError):
                errors += error.errors
            elif error is not None:
                _log.error("%r did not close cleanly: %r", channel, error)
                errors.append(error)
        apps = self._apps - {_running_app.get()}
        if apps:
            _, late = await asyncio.wait(apps, timeout=_DRAIN_SECONDS)
            for task in late:
                task.cancel()
        await self.hooks.drain(_DRAIN_SECONDS)
        self._rooms.clear()
        if errors:
            raise CloseError("this RoomKit", errors)


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """An application that answers calls."""

    app: App
    fallback: Fallback | None
    options: CallOptions | None
    channel_ids: frozenset[str] | None
    room_ids: frozenset[str] | None

    def wants(self, session: VoiceSession) -> bool:
        return wants(session, self.channel_ids, self.room_ids)
