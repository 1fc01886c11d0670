"""A call in which packets come and nothing is heard says so: on the session, the backend, as a
hook, in the log and in the statistics."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import fields
from typing import Any, get_args

import pytest

from roomkit import HookExecution, HookTrigger, RoomKit, RTPVoiceBackend, VoiceChannel, _native
from roomkit.hooks import HookContext
from roomkit.rtp import SRTP, HeardAgain, RTPSession, RTPStats, SRTPKey, Unheard
from roomkit.rtp.events import RTPEvent, UnheardReason
from roomkit.voice.events import ClientHeardAgainEvent, ClientUnheardEvent
from rtp.wire import Peer

LOOPBACK = "127.0.0.1"
DEAF = 130  # packets of 20 ms: 2.6 s


def to(peer: Peer, **options: Any) -> RTPSession:
    return RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, **options)


def deaf_of(told: asyncio.Queue[RTPEvent]) -> list[RTPEvent]:
    everything = [told.get_nowait() for _ in range(told.qsize())]
    return [event for event in everything if isinstance(event, (Unheard, HeardAgain))]


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in log.records if r.levelno == logging.WARNING]


def test_the_reasons_are_the_core_s_and_each_is_a_counter() -> None:
    assert get_args(UnheardReason) == _native.UNHEARD_REASONS
    counters = {field.name for field in fields(RTPStats)}
    assert set(_native.UNHEARD_REASONS) - counters == {"unplayed"}


async def test_a_codec_that_nobody_agreed_on_is_told_once_and_its_end_too(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    told: asyncio.Queue[RTPEvent] = asyncio.Queue()
    unheard: list[Unheard] = []
    async with to(peer, rtp_timeout=None) as session:
        session.on_event(told.put_nowait)
        session.on_unheard(unheard.append)
        await peer.stream(session.local_addr, 25)
        await peer.stream(session.local_addr, 2 * DEAF, pt=3)
        assert deaf_of(told) == [Unheard("unknown_payload_type")]
        stats = session.stats()
        assert stats.unheard == 1
        assert stats.unknown_payload_type >= DEAF
        assert stats.mos is not None
        assert stats.mos < 2
        await peer.stream(session.local_addr, 25)
        assert deaf_of(told) == [HeardAgain()]
    assert unheard == [Unheard("unknown_payload_type")]
    said = warnings(caplog)
    assert len(said) == 1
    assert session.id in said[0]
    assert "unknown_payload_type" in said[0]


async def test_a_key_that_is_not_the_agreed_one_is_told_on_the_session(peer: Peer) -> None:
    told: asyncio.Queue[RTPEvent] = asyncio.Queue()
    ours = SRTP(send_key=SRTPKey.generate(), receive_key=SRTPKey.generate())
    async with to(peer, srtp=ours) as session:
        session.on_event(told.put_nowait)
        # Under another key, or under none: a tag that does not fit.
        await peer.stream(session.local_addr, DEAF, payload=b"\x2a" * 170)
        assert deaf_of(told) == [Unheard("srtp_bad_tag")]


async def test_hold_mute_and_digits_are_none(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    told: asyncio.Queue[RTPEvent] = asyncio.Queue()
    async with to(peer) as session:
        session.on_event(told.put_nowait)
        session.set_input_muted(True)
        await peer.stream(session.local_addr, DEAF)
        session.set_input_muted(False)
        await session.hold()
        await peer.stream(session.local_addr, DEAF)
        await session.resume()
        await peer.stream(session.local_addr, 10)
        for _ in range(DEAF // 5):
            peer.digit(session.local_addr, 5)
            await peer.stream(session.local_addr, 5, skip=range(5))
        assert deaf_of(told) == []
        assert session.stats().unheard == 0
    assert warnings(caplog) == []


async def test_the_backend_and_hooks_are_told(peer: Peer) -> None:
    told: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=peer.addr)
    backend.on_client_unheard(lambda _, reason: told.put_nowait(("backend", reason)))
    backend.on_client_heard_again(lambda _: told.put_nowait(("backend", "heard")))
    async with RoomKit() as kit:
        kit.register_channel(VoiceChannel("phone", backend=backend))
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")

        @kit.hook(HookTrigger.ON_CLIENT_UNHEARD, execution=HookExecution.ASYNC)
        async def deaf(event: ClientUnheardEvent, ctx: HookContext) -> None:
            told.put_nowait((event.session.id, event.reason, ctx.room.id))

        @kit.hook(HookTrigger.ON_CLIENT_HEARD_AGAIN, execution=HookExecution.ASYNC)
        async def heard(event: ClientHeardAgainEvent, ctx: HookContext) -> None:
            told.put_nowait((event.session.id, "heard"))

        session = await kit.join("room", "phone")
        at = session.metadata["local_addr"]
        await peer.stream(at, DEAF, pt=3)
        async with asyncio.timeout(5):
            assert {await told.get(), await told.get()} == {
                ("backend", "unknown_payload_type"),
                (session.id, "unknown_payload_type", "room"),
            }
        await peer.stream(at, 25)
        async with asyncio.timeout(5):
            assert {await told.get(), await told.get()} == {
                ("backend", "heard"),
                (session.id, "heard"),
            }
        assert not session.ended, "the call goes on"
