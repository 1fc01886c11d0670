"""What two ends tell each other of the call, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from roomkit.rtp import RTPSession
from rtp.sdp_corpus import text
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
            # What the jitter buffer has now, jitter_ms to half a frame, and a frame of ours.
            assert stats.remote_end_delay_ms == pytest.approx(60 + 20, abs=20)


async def test_reports_are_not_extended_where_that_is_asked(peer: Peer) -> None:
    async with RTPSession(
        local_addr=(LOOPBACK, 0), remote_addr=peer.addr, rtcp_interval=0.1, rtcp_xr=False
    ) as session:
        await session.play(tone(440, 400))
        await peer.until(lambda: len(peer.reports) >= 2)
    assert all(207 not in kinds(report.data) for report in peer.reports)


class Names:
    """The event loop's look-up of names: `asked`, in their order; all but `nowhere` are here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        look_up = loop.getaddrinfo
        self.asked: list[str] = []

        async def answer(host: str, *rest: Any, **more: Any) -> Any:
            self.asked.append(host)
            if host.startswith("nowhere"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return await look_up(LOOPBACK, *rest, **more)

        monkeypatch.setattr(loop, "getaddrinfo", answer)


def offer_of(peer: Peer, rtcp: str, host: str = LOOPBACK) -> str:
    return text(
        *("v=0", "o=- 1 1 IN IP4 127.0.0.1", f"c=IN IP4 {host}"),
        *(f"m=audio {peer.addr[1]} RTP/AVP 0", f"a=rtcp:{rtcp}"),
    )


async def test_rfc_3605_the_host_of_rtcp_may_be_a_name(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports come to another port than RTP's next, in the call's beginning and after a change."""
    options: Any = {"local_addr": (LOOPBACK, 0), "rtcp_interval": 0.1}
    names = Names(monkeypatch)
    with Peer() as reported, Peer() as moved:
        offer = offer_of(peer, f"{reported.addr[1]} IN IP4 reports.example")
        async with RTPSession.from_offer(offer, **options) as session:
            assert session.options.remote_rtcp_addr == ("reports.example", reported.addr[1])
            await session.play(tone(440, 100))
            await reported.until(lambda: len(reported.packets) >= 2)
            assert kinds(reported.packets[0].data)[0] == 200
            await session.hold()
            await session.resume()
            assert names.asked == ["reports.example"], "once"
            await session.update(remote_rtcp_addr=("other.example", moved.addr[1]))
            await moved.until(lambda: len(moved.packets) >= 2)
            await session.update(remote_rtcp_addr=None)
            await peer.until(lambda: len(peer.reports) >= 2, what="reports on the next port")
    assert names.asked == ["reports.example", "other.example"]


async def test_rtcp_of_the_host_of_rtp_is_where_that_was_found(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    with Peer() as reported:
        offer = offer_of(peer, str(reported.addr[1]), host="media.example")
        async with RTPSession.from_offer(
            offer, local_addr=(LOOPBACK, 0), rtcp_interval=0.1
        ) as session:
            await session.play(tone(440, 100))
            await reported.until(lambda: len(reported.packets) >= 1)
            await session.update(sdp=offer)
    assert names.asked == ["media.example"] * 2, "once for each offer"


async def test_a_host_of_rtcp_that_is_not_found_is_an_error_as_that_of_rtp_is(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    there = f"{peer.rtcp_addr[1]} IN IP4"
    said = "remote_rtcp_addr: cannot resolve 'nowhere.example'"
    local: Any = {"local_addr": (LOOPBACK, 0)}
    lost = RTPSession.from_offer(offer_of(peer, f"{there} nowhere.example"), **local)
    with pytest.raises(OSError, match=said):
        await lost.open()
    async with RTPSession.from_offer(offer_of(peer, f"{there} {LOOPBACK}"), **local) as session:
        before = session.options, session.agreement
        with pytest.raises(OSError, match=said):
            await session.update(sdp=offer_of(peer, f"{there} nowhere.example"))
        assert (session.options, session.agreement) == before
    assert len(names.asked) == 2
    deaf: Any = {**local, "rtcp": "off"}
    async with RTPSession.from_offer(offer_of(peer, f"{there} nowhere.example"), **deaf):
        assert len(names.asked) == 2, "who takes no RTCP need not know where it goes to"


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
