"""RTCP on RTP's port or its own, and a change of that in mid-call (RFC 5761 §5.1.1)."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from roomkit.rtp import RTPSession
from roomkit.rtp.options import MediaDirection, RTCPMode
from rtp.test_session import to
from rtp.test_signalling import call, offer_of
from rtp.wire import Packet, Peer, rtcp_bye

# Silence is sent, so that there is something to report on, and each packet lets `until` look again.
HERE: Any = {"local_addr": ("127.0.0.1", 0), "fill": "silence", "rtcp_interval": 1.0}


def is_rtcp(packet: Packet) -> bool:
    """By its type (RFC 5761 §4)."""
    return 192 <= packet.data[1] <= 223


def report(peer: Peer) -> bytes:
    """A compound without a goodbye."""
    return rtcp_bye(peer.ssrc)[:-8]


async def carried_out(session: RTPSession, peer: Peer) -> None:
    """A change is an order to the media thread, which carries it out at its next frame."""
    sent = session.stats().packets_sent
    await peer.until(lambda: session.stats().packets_sent > sent + 1)


async def reports_flow(session: RTPSession, peer: Peer, rtcp: RTCPMode) -> None:
    """A report of each end arrives at the other, the way that is said, and none the other way."""
    local = session.local_addr
    rtcp_port = local[1] + (rtcp == "separate")
    assert session.rtcp_addr == (local[0], rtcp_port)
    assert session.options.rtcp == rtcp
    before, since = session.stats(), time.monotonic()
    if rtcp == "mux":
        peer.send(report(peer), local)
    else:
        peer.send_rtcp(report(peer), (local[0], rtcp_port))
    await peer.until(
        lambda: session.stats().rtcp_received == before.rtcp_received + 1, what="theirs"
    )

    def ours() -> tuple[bool, bool]:
        # By the kernel's clock: what left before the change may still wait to be read.
        new = [[each for each in of if each.at > since] for of in (peer.packets, peer.reports)]
        return any(map(is_rtcp, new[0])), bool(new[1])

    await peer.until(lambda: any(ours()), what="ours")
    assert ours() == (rtcp == "mux", rtcp == "separate")
    assert session.stats().rtcp_stranger == before.rtcp_stranger


@pytest.mark.parametrize("muxed", [True, False])
async def test_reports_arrive_after_a_re_offer_that_drops_or_adds_rtcp_mux(
    peer: Peer, muxed: bool
) -> None:
    def offer() -> str:
        return offer_of(peer, *["a=rtcp-mux"][: int(muxed)])

    async with RTPSession.from_offer(offer(), **HERE) as session:
        answer = session.answer
        peer.greet(session.local_addr)
        await peer.until(lambda: session.stats().packets_received == 5)
        for _ in range(3):
            assert ("a=rtcp-mux" in answer) is muxed
            await reports_flow(session, peer, "mux" if muxed else "separate")
            muxed = not muxed
            answer = await session.update(sdp=offer()) or ""
            await carried_out(session, peer)


async def test_a_port_that_cannot_be_had_for_reports_is_named_and_the_call_goes_on_as_it_was(
    peer: Peer,
) -> None:
    async with RTPSession.from_offer(offer_of(peer, "a=rtcp-mux"), **HERE) as session:
        host, port = session.local_addr
        answer = session.answer
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((host, port + 1))
            with pytest.raises(OSError, match=rf"{host}:{port + 1} .*RFC 5761"):
                await session.update(sdp=offer_of(peer, types="8 101"))
        assert (session.answer, session.codec.name) == (answer, "PCMU")
        agreement = session.agreement
        assert agreement is not None
        assert agreement.mux
        peer.greet(session.local_addr)
        await peer.until(lambda: session.stats().packets_received == 5)
        await reports_flow(session, peer, "mux")
        await session.update(sdp=offer_of(peer, types="8 101"))
        assert session.rtcp_addr == (host, port + 1)


async def test_an_answer_that_shares_no_port_gives_reports_their_own(peer: Peer) -> None:
    async with RTPSession.for_offer(**HERE, rtcp="mux") as session:
        assert "a=rtcp-mux" in session.offer()
        await session.accept_answer(offer_of(peer))
        await carried_out(session, peer)
        peer.greet(session.local_addr)
        await peer.until(lambda: session.stats().packets_received == 5)
        await reports_flow(session, peer, "separate")


async def test_our_own_hold_leaves_reports_where_they_are() -> None:
    async with call({"rtcp": "mux"}) as (alice, bob):
        directions: tuple[MediaDirection, ...] = ("sendonly", "sendrecv")
        for direction in directions:
            offer = alice.offer(direction=direction)
            await alice.accept_answer(await bob.update(sdp=offer) or "")
            assert (alice.options.rtcp, bob.options.rtcp) == ("mux", "mux")


async def test_without_descriptions_the_program_says_where_reports_travel(peer: Peer) -> None:
    async with to(peer, fill="silence", rtcp_interval=1.0) as session:
        peer.greet(session.local_addr)
        await peer.until(lambda: session.stats().packets_received == 5)
        await session.update(rtcp="mux")
        await carried_out(session, peer)
        await reports_flow(session, peer, "mux")
        with pytest.raises(ValueError, match="^rtcp: 'off'; a session that began with"):
            await session.update(rtcp="off")
        with pytest.raises(ValueError, match="^rtcp: 'both'"):
            await session.update(rtcp="both")  # type: ignore[arg-type]
    async with to(peer, rtcp="off") as silent:
        with pytest.raises(ValueError, match="^rtcp: 'mux'; a session that began with"):
            await silent.update(rtcp="mux")
