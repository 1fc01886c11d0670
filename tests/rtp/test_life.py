"""The life of a call over real sockets: hold, timeouts, and the far end's end and return."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomkit.errors import SessionEndedError
from roomkit.rtp import Disconnected, RTPOptions, RTPSession
from roomkit.rtp.events import Resumed, RTPEvent
from roomkit.voice.frame import AudioFrame
from rtp.sound import listen, tone
from rtp.wire import Peer

LOOPBACK = "127.0.0.1"


def to(peer: Peer, **options: Any) -> RTPSession:
    return RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, **options)


def state(session: RTPSession) -> tuple[str, bool]:
    """Its direction, and whether that is a hold."""
    return session.options.direction, session.on_hold


def silent(frames: list[AudioFrame]) -> bool:
    return len(frames) >= 5 and all(frame.kind == "silence" for frame in frames[-5:])


async def test_rfc3264_8_4_on_hold_the_far_end_is_not_heard_and_hears_music() -> None:
    with Peer() as peer:
        async with to(peer) as session:
            peer.greet(session.local_addr)
            await listen(aiter(session), lambda frames: len(frames) >= 2)
            await session.hold()
            assert state(session) == ("sendonly", True)
            hearing = asyncio.create_task(listen(aiter(session), silent))
            music = asyncio.create_task(session.play(tone(440, 300)))
            await peer.stream(session.local_addr, 20)
            await hearing
            assert (await music).played_ms == 300
            assert session.stats().unwanted >= 15
            await session.resume()
            assert state(session) == ("sendrecv", False)
            hearing = asyncio.create_task(
                listen(aiter(session), lambda frames: frames[-1].kind == "received")
            )
            await peer.stream(session.local_addr, 10)
            await hearing
    assert len(peer.audio_packets()) == 15


async def test_what_is_to_be_played_waits_while_neither_side_sends() -> None:
    with Peer() as peer:
        async with to(peer) as session:
            peer.greet(session.local_addr)
            await listen(aiter(session), lambda frames: len(frames) >= 2)
            await session.hold("inactive")
            playing = asyncio.create_task(session.play(tone(440, 100)))
            await listen(aiter(session), silent)
            assert (len(peer.packets), playing.done(), session.playing) == (0, False, True)
            await session.hold("inactive")  # idempotent
            await session.resume()
            await session.resume()
            assert (await playing).played_ms == 100
    assert len(peer.audio_packets()) == 5


async def test_a_hold_of_a_recorder_goes_back_to_what_it_was() -> None:
    with Peer() as peer:
        async with to(peer, direction="recvonly") as session:
            assert state(session) == ("recvonly", False)
            await session.hold("inactive")
            assert state(session) == ("inactive", True)
            await session.resume()
            assert state(session) == ("recvonly", False)
            await session.update(direction="sendrecv")
            await session.update(direction="recvonly")
            assert state(session) == ("recvonly", True), "the far end has put us on hold"
            await session.resume()
            assert state(session) == ("recvonly", True), "what the far end did is its to undo"


async def test_hold_is_refused_for_what_is_none_and_after_the_end() -> None:
    with Peer() as peer:
        session = to(peer)
        async with session:
            with pytest.raises(ValueError, match="direction: 'sendrecv'"):
                await session.hold("sendrecv")  # type: ignore[arg-type]
        with pytest.raises(SessionEndedError):
            await session.hold()


async def test_a_limit_for_hold_holds_only_there() -> None:
    told: asyncio.Queue[RTPEvent] = asyncio.Queue()
    with Peer() as peer:
        async with to(peer, rtp_timeout_on_hold=0.3, rtp_timeout=None, rtcp="off") as session:
            session.on_event(told.put_nowait)
            peer.greet(session.local_addr)
            assert type(await asyncio.wait_for(told.get(), 5)).__name__ == "SourceTrusted"
            await session.hold()
            assert await asyncio.wait_for(told.get(), 5) == Disconnected("rtp_timeout")
            await session.resume()
            peer.greet(session.local_addr)
            assert await asyncio.wait_for(told.get(), 5) == Resumed()


async def test_reports_that_stop_are_told_where_that_was_asked_for() -> None:
    told: asyncio.Queue[Disconnected] = asyncio.Queue()
    with Peer() as peer:
        async with to(peer, rtcp_timeout=0.3, rtp_timeout=None) as session:
            session.on_disconnected(told.put_nowait)
            peer.greet(session.local_addr)
            await listen(aiter(session), lambda frames: len(frames) >= 2)
            peer.report(session.local_addr)
            assert await asyncio.wait_for(told.get(), 5) == Disconnected("rtcp_timeout")


async def test_who_hangs_up_is_gone_within_a_frame() -> None:
    took: list[float] = []
    loop = asyncio.get_running_loop()
    for number in range(20):
        with Peer() as peer:
            async with to(peer, jitter_ms=0) as session:
                told: asyncio.Queue[RTPEvent] = asyncio.Queue()
                session.on_event(told.put_nowait)
                peer.greet(session.local_addr)
                # At any time between two looks, each of which is 100 ms after the one before.
                await peer.stream(
                    session.local_addr, 10 + number % 5, skip=range(3 + number % 5, 20)
                )
                host, port = session.local_addr
                said = loop.time()
                peer.bye((host, port + 1), "done")
                async with asyncio.timeout(5):
                    while not isinstance(await told.get(), Disconnected):
                        pass
                took.append(loop.time() - said)
    # A frame, and what a busy machine adds; half of them take longer where the port is read each
    # 100 ms.
    assert sorted(took)[15] < 0.05, sorted(took)


@pytest.mark.parametrize("name", ["rtp_timeout", "rtp_timeout_on_hold", "rtcp_timeout"])
@pytest.mark.parametrize("value", [0, -1, 86_401, "1", True])
def test_limits_that_cannot_be_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        RTPOptions(**{name: value})


def test_reports_cannot_be_missed_where_none_are_taken() -> None:
    with pytest.raises(ValueError, match="rtcp_timeout: 20 contradicts rtcp='off'"):
        RTPOptions(rtcp="off", rtcp_timeout=20)


async def test_rfc3264_8_4_who_is_on_hold_and_holds_too_sends_nothing(peer: Peer) -> None:
    async with to(peer) as session:
        await session.update(direction="recvonly")  # the far end has put us on hold
        await session.hold()
        assert state(session) == ("inactive", True)
        await session.hold()
        await session.resume()
        assert state(session) == ("recvonly", True)
