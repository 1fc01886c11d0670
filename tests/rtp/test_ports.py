"""Local ports and addresses: where a session binds, and what and where its packets leave from."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from roomkit.errors import AddressConflictError, PortsExhaustedError
from roomkit.rtp import RTPSession
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair, rtp

LOOPBACK = "127.0.0.1"
NOBODY = (LOOPBACK, 9)


def in_range(low: int, high: int, **options: Any) -> RTPSession:
    options = {"port_range": (low, high), "remote_addr": NOBODY, **options}
    return RTPSession(local_addr=(LOOPBACK, 0), **options)


def free_range(pairs: int) -> int:
    """An even port that begins so many pairs, all free a moment ago."""
    while True:
        low = free_port_pair()
        try:
            with contextlib.ExitStack() as bound:
                for port in range(low, low + 2 * pairs):
                    sock = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    sock.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            continue
        return low


async def heard(session: RTPSession, condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds at some frame of a session that is under way."""
    async with asyncio.timeout(20):
        async for _ in session:
            if condition():
                return


def _has_received(session: RTPSession, packets: int) -> bool:
    return session.stats().packets_received >= packets


# --- ranges and quarantine -----------------------------------------------------------------------


async def test_sessions_take_pairs_of_the_range_until_it_is_exhausted() -> None:
    low = free_range(4)
    async with contextlib.AsyncExitStack() as opened:
        ports = set()
        for _ in range(4):
            session = await opened.enter_async_context(in_range(low, low + 7))
            assert session.rtcp_addr == (LOOPBACK, session.local_addr[1] + 1)
            ports.add(session.local_addr[1])
        assert ports == {low, low + 2, low + 4, low + 6}
        with pytest.raises(
            PortsExhaustedError, match=rf"from {low} to {low + 7} .* 4 in use, 0 at rest"
        ):
            await in_range(low, low + 7).open()
        with pytest.raises(OSError, match="port_range: no free pair") as caught:
            await in_range(low, low + 7).open()
        assert caught.value.errno == errno.EADDRINUSE


async def test_a_port_rests_so_that_late_packets_of_its_call_do_not_reach_the_next() -> None:
    low = free_range(2)
    async with in_range(low, low + 3) as first:
        rested = first.local_addr
    async with in_range(low, low + 3) as second:
        assert second.local_addr != rested
        with pytest.raises(PortsExhaustedError, match="1 in use, 1 at rest after another call"):
            await in_range(low, low + 3).open()
        # Whoever asks for it by its number may have it.
        async with RTPSession(local_addr=rested, remote_addr=NOBODY) as third:
            assert third.local_addr == rested


async def test_without_quarantine_a_port_is_free_at_once() -> None:
    low = free_range(1)
    for _ in range(3):
        async with in_range(low, low + 1, port_quarantine=0) as session:
            assert session.local_addr == (LOOPBACK, low)


async def test_a_pair_of_which_another_program_has_the_rtcp_port_is_passed_over() -> None:
    low = free_range(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, low + 1))
        async with in_range(low, low + 3) as session:
            assert session.local_addr == (LOOPBACK, low + 2)
            with pytest.raises(PortsExhaustedError):
                await in_range(low, low + 3).open()
        async with in_range(low, low + 1, rtcp="mux") as session:
            assert session.local_addr == (LOOPBACK, low)


async def test_a_busy_rtcp_port_leaves_nothing_open() -> None:
    low = free_range(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, low + 1))
        for _ in range(20):
            with pytest.raises(OSError, match="RTCP"):
                await RTPSession(local_addr=(LOOPBACK, low), remote_addr=NOBODY).open()
    async with RTPSession(local_addr=(LOOPBACK, low), remote_addr=NOBODY):
        pass


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"port_range": (40_001, 40_002)}, "holds no even port with the next one"),
        ({"port_range": (40_001, 40_001), "rtcp": "mux"}, "holds no even port"),
        ({"port_range": (40_010, 40_000)}, "port_range: high"),
        ({"port_range": (0, 40_000)}, "port_range: low"),
        ({"port_range": 40_000}, "pair of ports"),
        ({"port_range": (40_000, 40_010), "local_addr": ("0.0.0.0", 5004)}, "beside local_addr"),
        ({"port_quarantine": -1}, "port_quarantine"),
        ({"port_quarantine": 601}, "port_quarantine"),
        ({"dscp": 64}, "dscp"),
        ({"dscp": True}, "dscp"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RTPSession(remote_addr=NOBODY, **options)


# --- DSCP ----------------------------------------------------------------------------------------


def _tos_of(sock: socket.socket) -> int:
    _, ancillary, _, _ = sock.recvmsg(2048, 64)
    return next(
        body[0]
        for level, kind, body in ancillary
        if (level, kind)
        in {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
    )


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
@pytest.mark.parametrize(("options", "dscp"), [({}, 46), ({"dscp": 26}, 26), ({"dscp": 0}, 0)])
async def test_rfc4594_4_1_rtp_and_rtcp_are_marked(
    host: str, options: dict[str, Any], dscp: int
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    port = free_port_pair(host)
    with contextlib.ExitStack() as sockets:
        pair = [sockets.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2)]
        for number, sock in enumerate(pair):
            sock.bind((host, port + number))
            sock.settimeout(5)
            if family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        async with RTPSession(
            local_addr=(host, 0), remote_addr=(host, port), rtcp_interval=0.05, **options
        ) as session:
            await session.play(tone(440, 40))
            for sock in pair:
                assert await asyncio.to_thread(_tos_of, sock) == dscp << 2
            assert session.stats().dscp_refused == 0


async def test_sessions_on_one_port_cannot_be_marked_differently() -> None:
    local = (LOOPBACK, free_port_pair())
    async with RTPSession(local_addr=local, remote_addr=(LOOPBACK, 7000), shared=True):
        with pytest.raises(
            AddressConflictError, match="dscp 0: the sessions that share .* have 46"
        ):
            await RTPSession(
                local_addr=local, remote_addr=(LOOPBACK, 7002), shared=True, dscp=0
            ).open()


# --- hosts of several addresses ------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
async def test_the_peer_hears_us_from_the_address_that_it_sends_to(shared: bool) -> None:
    port = free_port_pair()
    with Peer() as left, Peer() as right:
        peers = {"127.0.0.5": left, "127.0.0.6": right} if shared else {"127.0.0.5": left}
        async with contextlib.AsyncExitStack() as opened:
            for host, peer in peers.items():
                session = RTPSession(
                    local_addr=("0.0.0.0", port),
                    remote_addr=peer.addr,
                    rtcp_interval=0.1,
                    shared=shared,
                )
                await opened.enter_async_context(session)
                await answers_from_where_it_is_sent_to(session, peer, (host, port))


async def answers_from_where_it_is_sent_to(
    session: RTPSession, peer: Peer, ours: tuple[str, int]
) -> None:
    # Until the peer is heard, it is the address on the way to it.
    way = (LOOPBACK, ours[1])
    assert session.advertised_addr == way
    await session.play(tone(440, 20))
    await peer.until(lambda: bool(peer.packets))
    assert peer.packets[-1].source == way

    peer.greet(ours)
    playing = asyncio.create_task(session.play(tone(440, 5000)))
    await peer.until(lambda: peer.packets[-1].source == ours)
    reports = (ours[0], ours[1] + 1)
    await peer.until(lambda: bool(peer.reports) and peer.reports[-1].source == reports)
    assert session.advertised_addr == ours
    session.cancel()
    await playing


async def test_an_address_that_a_nat_gives_this_host_is_told_as_it_was_given() -> None:
    async with RTPSession(
        local_addr=("0.0.0.0", 0), remote_addr=NOBODY, advertised_host="203.0.113.7"
    ) as session:
        assert session.advertised_addr == ("203.0.113.7", session.local_addr[1])


async def test_a_strangers_packet_does_not_move_our_address() -> None:
    port = free_port_pair()
    with Peer() as peer, Peer() as stranger:
        async with RTPSession(local_addr=("0.0.0.0", port), remote_addr=peer.addr) as session:
            peer.greet(("127.0.0.5", port))
            await heard(session, lambda: session.advertised_addr == ("127.0.0.5", port))
            for _ in range(20):
                stranger.greet(("127.0.0.9", port))
            await heard(session, lambda: session.stats().stranger == 100)
            assert session.advertised_addr == ("127.0.0.5", port)


# --- IPv6 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["::1", "::"])
async def test_a_call_over_ipv6(local: str) -> None:
    with Peer("::1") as peer:
        async with RTPSession(
            local_addr=(local, 0), remote_addr=peer.addr, rtcp_interval=0.1
        ) as session:
            port = session.local_addr[1]
            peer.greet(("::1", port))
            await session.play(tone(440, 200))
            await peer.until(lambda: len(peer.packets) == 10)
            await peer.until(lambda: bool(peer.reports))
            assert peer.packets[0].source == ("::1", port)
            assert session.advertised_addr == ("::1", port)
            assert session.stats().packets_received == 5


async def test_rfc4007_a_link_local_peer_is_reached_through_its_zone() -> None:
    addresses = [
        line.split()
        for line in Path("/proc/net/if_inet6").read_text().splitlines()
        if line.startswith("fe80")
    ]
    if not addresses:
        pytest.skip("no interface with a link-local address")
    digits, *_, name = addresses[0]
    host = ":".join(digits[at : at + 4] for at in range(0, 32, 4))
    sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with sink:
        sink.bind((host, 0, 0, socket.if_nametoindex(name)))
        sink.settimeout(5)
        port = sink.getsockname()[1]
        async with RTPSession(
            local_addr=("::", 0), remote_addr=(f"{host}%{name}", port), rtcp="off"
        ) as session:
            await session.play(tone(440, 20))
            _, source = await asyncio.to_thread(sink.recvfrom, 2048)
            assert source[1] == session.local_addr[1]


async def test_a_mapped_address_is_reached_as_ipv4() -> None:
    with Peer() as peer:
        async with RTPSession(
            local_addr=(LOOPBACK, 0), remote_addr=(f"::ffff:{LOOPBACK}", peer.addr[1])
        ) as session:
            assert session.remote_addr == peer.addr


# --- many sessions on one port -------------------------------------------------------------------


@contextlib.asynccontextmanager
async def crowd(sessions: list[RTPSession]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as opened:
        for session in sessions:
            await opened.enter_async_context(session)
        yield


async def test_300_sessions_on_one_port_get_their_own_packets_and_no_others() -> None:
    local = (LOOPBACK, free_port_pair())
    with contextlib.ExitStack() as sockets:
        # 250 peers of their own address, and 50 behind one gateway, told apart by SSRC.
        alone = [
            sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(250)
        ]
        for number, sock in enumerate(alone):
            sock.bind((f"127.0.1.{number + 1}", 0))
        gateway = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        gateway.bind((LOOPBACK, 0))
        senders: list[tuple[socket.socket, int, dict[str, Any]]]
        senders = [(sock, 1000 + n, {}) for n, sock in enumerate(alone)]
        senders += [(gateway, 2000 + n, {"remote_ssrc": 2000 + n}) for n in range(50)]
        sessions = [
            RTPSession(local_addr=local, remote_addr=sock.getsockname(), shared=True, **options)
            for sock, _, options in senders
        ]
        async with crowd(sessions):
            for seq in range(5):
                for number, (sock, ssrc, _) in enumerate(senders):
                    for _ in range(1 + number % 3 if seq == 4 else 1):
                        sock.sendto(rtp(seq, seq * 160, ssrc, b"\xff" * 160), local)
                    if number % 50 == 0:
                        await asyncio.sleep(0)
            for number, session in enumerate(sessions):
                expected = 5 + number % 3  # some sent the last one twice or three times
                await heard(session, partial(_has_received, session, expected))
                stats = session.stats()
                assert (stats.packets_received, stats.stranger) == (expected, 0)
            assert sessions[0].stats().unmatched == 0


# --- through the backend -------------------------------------------------------------------------


async def test_a_backend_takes_its_ports_from_the_range_and_says_when_there_is_none_left() -> None:
    low = free_range(2)
    backend = RTPVoiceBackend(
        local_addr=(LOOPBACK, 0), remote_addr=NOBODY, port_range=(low, low + 3)
    )
    first = await backend.connect("room", "a", "voice")
    await backend.connect("room", "b", "voice", options={"source_policy": "strict", "dscp": 0})
    assert first.metadata["local_addr"][1] in (low, low + 2)
    with pytest.raises(PortsExhaustedError):
        await backend.connect("room", "c", "voice")
    await backend.disconnect(first)
    with pytest.raises(PortsExhaustedError, match="1 at rest"):
        await backend.connect("room", "c", "voice")
    await backend.close()
