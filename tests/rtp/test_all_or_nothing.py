"""What of an exchange fails, at whatever step, has changed nothing: neither the agreement nor the
media."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from roomkit.errors import AddressConflictError, QueueFullError
from roomkit.rtp import RTPSession
from roomkit.rtp.addresses import advertised_address
from roomkit.rtp.sdp import SDPError, SessionDescription
from rtp.sdp_corpus import text
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"
NOWHERE = "255.255.255.255"  # no socket without SO_BROADCAST has a route there
EVERYWHERE: Any = {"local_addr": ("0.0.0.0", 0), "rtcp": "off"}


def description(host: str, port: int, types: str = "0", version: int = 1) -> str:
    return text(
        "v=0",
        f"o=- 1 {version} IN IP4 127.0.0.1",
        f"c=IN IP4 {host}",
        f"m=audio {port} RTP/AVP {types}",
    )


def state_of(session: RTPSession) -> tuple[Any, ...]:
    return (
        session.options,
        session.agreement,
        session.descriptions,
        session.on_hold,
        session.codec,
        session.remote_addr,
    )


def version_of(sdp: str | None) -> int:
    assert sdp is not None
    return int(SessionDescription.parse(sdp).origin.version)


class SlowNames:
    """The event loop's look-up of names, held back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        look_up = loop.getaddrinfo

        async def slow(*what: Any, **more: Any) -> Any:
            self.asked.set()
            await self.answer.wait()
            return await look_up(*what, **more)

        monkeypatch.setattr(loop, "getaddrinfo", slow)


async def until_full(session: RTPSession, change: Callable[[], Awaitable[object]]) -> None:
    """Changes the session while no order finds room. Orders leave with the session's next frame,
    60 ms away at most, and some hundred fit: so this is over at once, or after a try or two. When
    it returns, there is room again."""
    for _ in range(100):
        with pytest.raises(QueueFullError):
            while True:
                session.inject_dtmf("5")
        try:
            await change()
        except QueueFullError:
            await session.play(tone(440, 20))  # goes out when there is room again
            return
    pytest.fail("orders always found room")


# --- the far end offers --------------------------------------------------------------------------


async def test_an_answer_that_cannot_be_written_for_want_of_a_route_changes_nothing(
    peer: Peer,
) -> None:
    async with RTPSession.from_offer(description(*peer.addr), **EVERYWHERE) as session:
        first, before = version_of(session.answer), state_of(session)
        moved = description(NOWHERE, 40_000, "8", 2)
        with pytest.raises(OSError, match=f"no route to {NOWHERE}"):
            await session.update(sdp=moved)
        assert state_of(session) == before
        await session.play(tone(440, 100))
        await peer.until(lambda: len(peer.audio_packets(0)) == 5, what="audio as before")
        answer = await session.update(sdp=description(*peer.addr, "8", 3))
        assert version_of(answer) == first + 1, "RFC 3264 §8: the answer after the first"


async def test_a_session_without_sdp_has_none_after_an_offer_that_failed(peer: Peer) -> None:
    async with RTPSession(remote_addr=peer.addr, **EVERYWHERE) as session:
        before = state_of(session)
        with pytest.raises(OSError, match="no route"):
            await session.update(sdp=description(NOWHERE, 40_000, "8"))
        assert state_of(session) == before
        assert session.agreement is None
        with pytest.raises(RuntimeError, match="made without SDP"):
            session.offer()


async def test_the_answer_to_a_move_tells_the_address_on_the_way_to_where_it_moves(
    peer: Peer,
) -> None:
    """Nothing is sent there: there is no RTCP, and nothing plays."""
    there = ("192.0.2.1", 40_000)
    async with RTPSession.from_offer(description(*peer.addr), **EVERYWHERE) as session:
        assert f"c=IN IP4 {LOOPBACK}\r\n" in session.answer
        try:
            host, _ = advertised_address(session.local_addr, there)
        except OSError:  # a machine with no network at all
            with pytest.raises(OSError, match="no route"):
                await session.update(sdp=description(*there))
        else:
            answer = await session.update(sdp=description(*there))
            assert f"c=IN IP4 {host}\r\n" in str(answer)
            assert f"o=- {SessionDescription.parse(str(answer)).origin.session_id} 2" in str(answer)


async def test_our_hold_during_an_exchange_is_part_of_the_answer(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RTPSession.from_offer(description(*peer.addr), local_addr=(LOOPBACK, 0)) as session:
        names = SlowNames(monkeypatch)
        offer = description("localhost", peer.addr[1], "8", 2)
        answering = asyncio.create_task(session.update(sdp=offer))
        await names.asked.wait()
        await session.hold()
        names.answer.set()
        assert "a=sendonly" in str(await answering)
        assert (session.options.direction, session.on_hold) == ("sendonly", True)
        await session.resume()
        assert (session.options.direction, session.on_hold) == ("sendrecv", False)


async def test_a_re_invite_that_finds_no_room_in_the_core_changes_nothing(peer: Peer) -> None:
    async with RTPSession.from_offer(
        description(*peer.addr), local_addr=(LOOPBACK, 0), ptime_ms=60
    ) as session:
        first, before = version_of(session.answer), state_of(session)
        tries = 0

        async def re_invite() -> None:
            nonlocal tries, first, before
            tries += 1
            await session.update(sdp=description(*peer.addr, "8" if tries % 2 else "0", tries))
            first, before = version_of(session.answer), state_of(session)

        await until_full(session, re_invite)
        assert state_of(session) == before
        again = await session.update(sdp=description(*peer.addr, "9", tries + 1))
        assert version_of(again) == first + 1


# --- we offer ------------------------------------------------------------------------------------


async def test_an_answer_that_is_in_conflict_with_another_session_leaves_the_offer_waiting(
    peer: Peer,
) -> None:
    local = (LOOPBACK, free_port_pair())
    with Peer() as other:
        async with (
            RTPSession(local_addr=local, remote_addr=other.addr, shared=True),
            RTPSession.for_offer(local_addr=local, codecs=["PCMU"], shared=True) as session,
        ):
            session.offer()
            before = state_of(session)
            with pytest.raises(AddressConflictError):
                await session.accept_answer(description(*other.addr))
            assert state_of(session) == before
            await session.accept_answer(description(*peer.addr))
            assert session.agreement is not None
            assert session.agreement.remote_addr == peer.addr


async def test_an_answer_whose_taking_is_cancelled_can_be_taken_again(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = description("localhost", peer.addr[1])
    async with RTPSession.for_offer(local_addr=(LOOPBACK, 0), codecs=["PCMU"]) as session:
        session.offer()
        before = state_of(session)
        names = SlowNames(monkeypatch)
        taking = asyncio.create_task(session.accept_answer(answer))
        await names.asked.wait()
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert state_of(session) == before
        names.answer.set()
        await session.accept_answer(answer)
        assert session.options.remote_addr == ("localhost", peer.addr[1])


async def test_rfc_3264_section_4_nothing_is_offered_while_an_offer_is_being_answered(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RTPSession.from_offer(description(*peer.addr), local_addr=(LOOPBACK, 0)) as session:
        names = SlowNames(monkeypatch)
        offer = description("localhost", peer.addr[1], "8", 2)
        answering = asyncio.create_task(session.update(sdp=offer))
        await names.asked.wait()
        with pytest.raises(RuntimeError, match=r"offer when that is done \(RFC 3264 §4\)"):
            session.offer(direction="sendonly")
        names.answer.set()
        answer = await answering
        assert session.descriptions == {"sdp_answer": answer}
        assert "a=sendonly" in session.offer(direction="sendonly")


async def test_an_offer_for_want_of_a_route_is_none(peer: Peer) -> None:
    async with RTPSession.from_offer(description(*peer.addr), **EVERYWHERE) as session:
        session.retarget((NOWHERE, 40_000))
        await session.play(tone(440, 20))  # orders keep their order: it has moved then
        assert session.remote_addr == (NOWHERE, 40_000)
        before = state_of(session)
        with pytest.raises(OSError, match="no route"):
            session.offer(direction="sendonly")
        assert state_of(session) == before
        with pytest.raises(RuntimeError, match="no offer of ours"):
            await session.accept_answer(description(*peer.addr))
        session.retarget(peer.addr)
        await session.play(tone(440, 20))
        assert "a=sendrecv" in session.offer(), "the wish to hold went with the offer"


async def test_an_answer_that_is_refused_leaves_the_offer_waiting(peer: Peer) -> None:
    async with RTPSession.for_offer(local_addr=(LOOPBACK, 0), codecs=["PCMU"]) as session:
        session.offer()
        before = state_of(session)
        with pytest.raises(SDPError, match="no codec in common"):
            await session.accept_answer(description(*peer.addr, "18"))
        assert state_of(session) == before
        await session.accept_answer(description(*peer.addr))


# --- without SDP ---------------------------------------------------------------------------------


async def test_a_hold_that_finds_no_room_in_the_core_holds_nobody(peer: Peer) -> None:
    async with RTPSession(remote_addr=peer.addr, ptime_ms=60) as session:

        async def hold() -> None:
            await session.hold()
            await session.resume()

        await until_full(session, hold)
        assert (session.options.direction, session.on_hold) == ("sendrecv", False)
        await session.hold()
        assert session.on_hold

        async def resume() -> None:
            await session.resume()
            await session.hold()

        await until_full(session, resume)
        assert (session.options.direction, session.on_hold) == ("sendonly", True)
        await session.resume()
        assert (session.options.direction, session.on_hold) == ("sendrecv", False)


async def test_a_move_that_finds_no_room_in_the_core_leaves_the_place_of_before(
    peer: Peer,
) -> None:
    """Told apart by their addresses, two sessions of one port would swap what they hear."""
    local = (LOOPBACK, free_port_pair())
    with Peer() as other:
        options: Any = {"local_addr": local, "shared": True, "ptime_ms": 60}
        async with RTPSession(remote_addr=peer.addr, **options) as session:
            moves = (other.addr, peer.addr)
            tries = 0

            async def move() -> None:
                nonlocal tries
                tries += 1
                if tries % 2:
                    await session.update(remote_addr=moves[0])
                else:
                    session.retarget(moves[0])
                before = session.options.remote_addr
                assert before == moves[0]
                if tries % 2:
                    session.retarget(moves[1])
                else:
                    await session.update(remote_addr=moves[1])

            await until_full(session, move)
            here = session.options.remote_addr
            free = other.addr if here == peer.addr else peer.addr
            async with RTPSession(remote_addr=free, **options):
                pass  # its place is free
            with pytest.raises(AddressConflictError):
                await RTPSession(remote_addr=here, **options).open()
