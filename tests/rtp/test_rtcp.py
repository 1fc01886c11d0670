"""What two ends tell each other of the call, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from roomkit.rtp import RTPSession
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair, rtp

LOOPBACK = "127.0.0.1"


async def test_both_ends_rate_the_call_and_hear_of_the_other_s_rating() -> None:
    one, two = free_port_pair(), free_port_pair()
    async with (
        RTPSession(
            local_addr=(LOOPBACK, one), remote_addr=(LOOPBACK, two), rtcp_interval=0.2
        ) as alice,
        RTPSession(
            local_addr=(LOOPBACK, two), remote_addr=(LOOPBACK, one), rtcp_interval=0.2
        ) as bob,
    ):
        await asyncio.gather(alice.play(tone(440, 2500)), bob.play(tone(330, 2500)))
        for stats in (alice.stats(), bob.stats()):
            assert stats.mos is not None
            assert stats.mos > 4.3
            assert (stats.mos_listening or 0) >= stats.mos
            assert (stats.remote_mos or 0) > 4.0
            assert stats.round_trip_ms is not None
            assert stats.remote_packets_sent is not None
            assert 0 < stats.remote_packets_sent <= stats.packets_received + 1
            assert stats.remote_end_delay_ms == pytest.approx(80, abs=1)  # jitter_ms and a frame


async def test_reports_are_not_extended_where_that_is_asked(peer: Peer) -> None:
    async with RTPSession(
        local_addr=(LOOPBACK, 0), remote_addr=peer.addr, rtcp_interval=0.1, rtcp_xr=False
    ) as session:
        await session.play(tone(440, 400))
        await peer.until(lambda: len(peer.reports) >= 2)
    assert all(207 not in kinds(report.data) for report in peer.reports)


async def test_after_a_collision_the_session_tells_its_new_ssrc(peer: Peer) -> None:
    async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr) as session:
        before = session.ssrc
        await session.play(tone(440, 60))
        peer.send(rtp(1, 1, before, bytes(160)), session.local_addr)
        await session.play(tone(440, 100))
        assert session.ssrc != before
        assert peer.packets[-1].ssrc == session.ssrc
        await peer.until(lambda: any(203 in kinds(report.data) for report in peer.reports))


def kinds(compound: bytes) -> list[int]:
    """The packet types of a compound."""
    found = []
    while compound:
        found.append(compound[1])
        compound = compound[4 + 4 * int.from_bytes(compound[2:4], "big") :]
    return found
