"""RoomKit: rooms, joining and leaving, and an orderly end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomkit import RoomKit, VoiceChannel, VoiceSessionState
from roomkit.errors import (
    ChannelExistsError,
    ChannelNotAttachedError,
    ChannelNotRegisteredError,
    ChannelTypeError,
    CloseError,
    KitClosedError,
    ParticipantExistsError,
    RoomExistsError,
    RoomNotFoundError,
    SessionNotFoundError,
)
from roomkit.hooks import HookContext, HookExecution, HookTrigger
from roomkit.rooms import Channel, ChannelCategory
from roomkit.voice.base import DisconnectReason, VoiceSession
from roomkit.voice.events import ClientDisconnectedEvent, ClientResumedEvent
from support.loopback import LoopbackBackend


async def phone(kit: RoomKit, room_id: str = "room") -> LoopbackBackend:
    """A kit with a room and a telephone in it."""
    backend = LoopbackBackend()
    kit.register_channel(VoiceChannel("phone", backend=backend))
    await kit.create_room(room_id)
    await kit.attach_channel(room_id, "phone")
    return backend


async def test_a_call_from_join_to_leave_tells_its_hooks_where_it_is() -> None:
    seen: list[Any] = []
    async with RoomKit() as kit:
        await phone(kit)

        @kit.hook(HookTrigger.ON_SESSION_STARTED, execution=HookExecution.ASYNC)
        async def started(event: Any, ctx: HookContext) -> None:
            people = [each.id for each in ctx.participants]
            seen.append(
                ("started", ctx.room.id, [each.channel_id for each in ctx.bindings], people)
            )

        @kit.hook(HookTrigger.ON_SESSION_ENDED, execution=HookExecution.ASYNC)
        async def ended(event: Any, ctx: HookContext) -> None:
            seen.append(("ended", ctx.room.id, event.reason, event.session.state))

        given = {"remote_addr": ("127.0.0.1", 4000)}
        session = await kit.join("room", "phone", participant_id="ann", metadata=given)
        assert session.state is VoiceSessionState.ACTIVE
        assert given == {"remote_addr": ("127.0.0.1", 4000)}
        assert kit.get_room("room").participants["ann"].session is session
        await kit.leave(session)
        await kit.leave(session)
        assert kit.get_room("room").participants == {}
    assert seen == [
        ("started", "room", ["phone"], ["ann"]),
        ("ended", "room", "left", VoiceSessionState.ENDED),
    ]


async def test_the_page_s_dtmf_hook_gets_digits_in_order_with_their_session() -> None:
    seen: list[Any] = []
    async with RoomKit() as kit:
        backend = await phone(kit)

        @kit.hook(HookTrigger.ON_DTMF, execution=HookExecution.ASYNC)
        async def on_dtmf(event: Any, ctx: HookContext) -> None:
            seen.append((event.digit, event.duration_ms, event.session))

        session = await kit.join("room", "phone")
        for key in "12#":
            backend.press(session, key)
    assert seen == [(key, 100, session) for key in "12#"]


async def test_the_decorator_leaves_the_function_as_it_is_and_it_can_be_taken_away() -> None:
    async with RoomKit() as kit:

        async def on_dtmf(event: Any, ctx: HookContext) -> None: ...

        assert kit.hook(HookTrigger.ON_DTMF)(on_dtmf) is on_dtmf
        assert kit.remove_hook(on_dtmf)
        assert not kit.remove_hook(on_dtmf)


async def test_typed_errors_name_what_is_wrong() -> None:
    async with RoomKit() as kit:
        await phone(kit)
        channel = Channel("notes")
        kit.register_channel(channel)
        await kit.create_room("empty")
        with pytest.raises(RoomExistsError, match="'room'"):
            await kit.create_room("room")
        with pytest.raises(RoomNotFoundError, match=r"'rom'.*'room'"):
            kit.get_room("rom")
        with pytest.raises(ChannelExistsError, match="'notes'"):
            kit.register_channel(channel)
        with pytest.raises(ChannelNotRegisteredError, match=r"'fax'.*'notes', 'phone'"):
            await kit.attach_channel("room", "fax")
        with pytest.raises(ChannelNotAttachedError, match="'empty'"):
            await kit.join("empty", "phone")
        await kit.attach_channel("room", "notes")
        with pytest.raises(ChannelTypeError, match="takes no calls"):
            await kit.join("room", "notes")
        await kit.join("room", "phone", participant_id="ann")
        with pytest.raises(ParticipantExistsError, match="'ann'"):
            await kit.join("room", "phone", participant_id="ann")
        with pytest.raises(SessionNotFoundError):
            await kit.leave(VoiceSession("x", "room", "ann", "fax"))


async def test_a_join_that_fails_leaves_nobody_in_the_room() -> None:
    async with RoomKit() as kit:
        backend = await phone(kit)
        backend.fail_connect = OSError("port is taken")
        with pytest.raises(OSError, match="port is taken"):
            await kit.join("room", "phone", participant_id="ann")
        assert kit.get_room("room").participants == {}
        backend.fail_connect = None
        await kit.join("room", "phone", participant_id="ann")


async def test_attaching_takes_the_channel_s_category_unless_told_another() -> None:
    async with RoomKit() as kit:
        await phone(kit)
        assert kit.get_room("room").bindings["phone"].category is ChannelCategory.TRANSPORT
        binding = await kit.attach_channel("room", "phone", category=ChannelCategory.INTEGRATION)
        assert kit.get_room("room").binding("phone") is binding


async def test_detaching_a_channel_and_closing_a_room_end_their_calls() -> None:
    async with RoomKit() as kit:
        await phone(kit)
        first = await kit.join("room", "phone")
        await kit.detach_channel("room", "phone")
        assert first.ended
        await kit.attach_channel("room", "phone")
        second = await kit.join("room", "phone")
        await kit.close_room("room")
        assert second.ended
        assert kit.list_rooms() == []


async def test_closing_ends_every_call_also_when_parts_fail_and_says_which() -> None:
    kit = RoomKit()
    backend = await phone(kit)
    sessions = [await kit.join("room", "phone") for _ in range(3)]
    backend.fail_disconnect = OSError("socket is gone")
    with pytest.raises(CloseError, match="socket is gone") as caught:
        await kit.close()
    assert len(caught.value.errors) == 3
    assert all(session.ended for session in sessions)
    assert backend.closed == 1
    with pytest.raises(KitClosedError):
        await kit.create_room()


async def test_closing_is_idempotent_and_concurrent_closes_share_one() -> None:
    kit = RoomKit()
    backend = await phone(kit)
    await asyncio.gather(kit.close(), kit.close())
    await kit.close()
    assert backend.closed == 1


async def test_a_hook_may_close_the_kit() -> None:
    kit = RoomKit()
    backend = await phone(kit)
    done = asyncio.Event()

    @kit.hook(HookTrigger.ON_DTMF, execution=HookExecution.ASYNC)
    async def on_dtmf(event: Any, ctx: HookContext) -> None:
        await kit.close()
        done.set()

    backend.press(await kit.join("room", "phone"), "#")
    await asyncio.wait_for(done.wait(), 2)


async def test_the_body_s_own_exception_is_not_replaced_by_a_failing_close() -> None:
    with pytest.raises(ZeroDivisionError):
        async with RoomKit() as kit:
            backend = await phone(kit)
            await kit.join("room", "phone")
            backend.fail_disconnect = OSError("socket is gone")
            raise ZeroDivisionError


async def test_a_far_end_that_goes_and_comes_back_is_told_to_hooks_with_its_words() -> None:
    told: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    backend = LoopbackBackend()
    async with RoomKit() as kit:
        kit.register_channel(VoiceChannel("phone", backend=backend, hang_up=False))
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")

        @kit.hook(HookTrigger.ON_CLIENT_DISCONNECTED, execution=HookExecution.ASYNC)
        async def gone(event: ClientDisconnectedEvent, ctx: HookContext) -> None:
            told.put_nowait((event.session.id, event.reason, event.detail, ctx.room.id))

        @kit.hook(HookTrigger.ON_CLIENT_RESUMED, execution=HookExecution.ASYNC)
        async def back(event: ClientResumedEvent, ctx: HookContext) -> None:
            told.put_nowait((event.session.id, "back"))

        session = await kit.join("room", "phone")
        backend.hang_up(session, "rtp_timeout")
        assert await asyncio.wait_for(told.get(), 2) == (session.id, "rtp_timeout", "", "room")
        backend.client_resumed.fire(session)
        assert await asyncio.wait_for(told.get(), 2) == (session.id, "back")
        backend.hang_up(session, DisconnectReason("bye", "dinner is ready"))
        gone_again = await asyncio.wait_for(told.get(), 2)
        assert gone_again == (session.id, "bye", "dinner is ready", "room")
        assert session.state is VoiceSessionState.ACTIVE, "hang_up=False leaves it to the program"


async def test_a_caller_who_hangs_up_ends_the_call_on_this_side_too() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with RoomKit() as kit:
        backend = await phone(kit)

        @kit.hook(HookTrigger.ON_SESSION_ENDED)
        async def on_end(event: Any, ctx: HookContext) -> None:
            ended.set_result(event.reason)

        session = await kit.join("room", "phone")
        backend.hang_up(session, "bye")
        assert await asyncio.wait_for(ended, 2) == "bye"
        assert session.ended
        assert kit.get_room("room").participants == {}
