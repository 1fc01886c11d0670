"""Complaints of the field about who may talk, each as what must hold here instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roomkit.rtp import RTPSession
from rtp.wire import Peer

LOOPBACK = "127.0.0.1"
ELSEWHERE = "127.0.0.66"


async def heard(session: RTPSession, condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds at some frame of a session that is under way."""
    async with asyncio.timeout(20):
        async for _ in session:
            if condition():
                return


async def test_learning_ends_with_its_window_so_that_a_port_does_not_bleed_for_ever() -> None:
    # sipwise/rtpengine#397: whoever comes later than the first seconds is not learned.
    with Peer() as peer, Peer(ELSEWHERE) as late:
        late.ssrc = 0xBAD
        async with RTPSession(
            local_addr=(LOOPBACK, 0),
            remote_addr=peer.addr,
            source_policy="learn",
            learn_window=0.2,
        ) as session:
            await peer.stream(session.local_addr, 15)
            await late.stream(session.local_addr, 100)
            await heard(session, lambda: session.stats().stranger_too_late > 50)
            assert session.remote_addr == peer.addr
            assert not late.packets


async def test_a_client_whose_address_changes_in_the_call_is_followed_and_a_stranger_is_not() -> (
    None
):
    # sippy/rtpproxy#70: NAT traversal and safety at once; in some networks the client's address
    # changes while it talks.
    with Peer() as before, Peer(ELSEWHERE) as after, Peer("127.0.0.67") as stranger:
        async with RTPSession(
            local_addr=(LOOPBACK, 0), source_policy="follow", rtcp="off"
        ) as session:
            await before.stream(session.local_addr, 20)
            assert session.remote_addr == before.addr
            after.ssrc, after.seq, after.timestamp = before.ssrc, before.seq, before.timestamp
            stranger.ssrc = 0xBAD
            await asyncio.gather(
                after.stream(session.local_addr, 25), stranger.stream(session.local_addr, 25)
            )
            await heard(session, lambda: session.stats().packets_received >= 43)
            assert session.remote_addr == after.addr
            await heard(session, lambda: session.stats().stranger == 25)
            assert session.stats().source_changes == 1


async def test_strict_hears_and_answers_the_signalled_address_alone() -> None:
    # jambonz/sbc-inbound#210: a strict source against RTPBleed.
    with Peer() as peer, Peer() as beside:  # another port of the same host
        async with RTPSession(
            local_addr=(LOOPBACK, 0), remote_addr=peer.addr, source_policy="strict"
        ) as session:
            await beside.stream(session.local_addr, 20)
            assert session.stats().packets_received == 0
            peer.greet(session.local_addr)
            await heard(session, lambda: session.stats().packets_received == 5)
            assert session.stats().stranger_address == 20
            assert session.remote_addr == peer.addr
            assert not beside.packets


async def test_a_nat_s_other_port_is_answered_if_wanted_and_another_host_never() -> None:
    # baresip/baresip#3720: keep the host that signalling told, take the port that packets come
    # from, and only if configured; an attacker's packets must not turn the stream to it.
    with Peer() as signalled, Peer() as real, Peer(ELSEWHERE) as attacker:
        attacker.ssrc = 0xBAD
        async with RTPSession(
            local_addr=(LOOPBACK, 0),
            remote_addr=signalled.addr,
            source_policy="host",
            symmetric=True,
        ) as session:
            await attacker.stream(session.local_addr, 20)
            assert session.remote_addr == signalled.addr
            await real.stream(session.local_addr, 10)
            await heard(session, lambda: session.remote_addr == real.addr)
            await attacker.stream(session.local_addr, 20)
            await heard(session, lambda: session.stats().stranger_host == 40)
            assert session.remote_addr == real.addr
        async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=signalled.addr) as session:
            await real.stream(session.local_addr, 10)
            await heard(session, lambda: session.stats().packets_received == 10)
            assert session.remote_addr == signalled.addr


async def test_a_nat_that_rebinds_is_followed_within_two_seconds_of_the_caller_s_speech() -> None:
    with Peer() as before, Peer() as after:  # the same host, another port
        async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=before.addr) as session:
            await before.stream(session.local_addr, 10)
            after.ssrc, after.seq, after.timestamp = before.ssrc, before.seq, before.timestamp
            # Two seconds of 20 ms and a few more: the last of them, at the least, must be heard.
            await after.stream(session.local_addr, 105)
            await heard(session, lambda: session.stats().packets_received > 15)
            assert session.remote_addr == after.addr
            assert session.stats().source_changes == 1
