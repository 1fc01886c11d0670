"""A device has one key for all its calls. Who reads one of them, and has no key, sends it into the
other: what it sends is authentic."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from roomkit.rtp import SRTP, CryptoLine, RTPSession, SRTPKey
from rtp.sdp_corpus import text
from rtp.sound import tone

LOOPBACK = "127.0.0.1"


class Wire(asyncio.DatagramProtocol):
    """The network between a device and us, and who reads there: `elsewhere` is where it sends all
    of it as well, from another port of the device's host and from another host."""

    def __init__(self) -> None:
        self.to: tuple[str, int] | None = None
        self.elsewhere: tuple[str, int] | None = None
        self.carried = 0
        self.closed = asyncio.Event()
        self._attackers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for host, attacker in zip((LOOPBACK, "127.0.0.66"), self._attackers, strict=True):
            attacker.bind((host, 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.addr: tuple[str, int] = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.to is not None and addr != self.to:
            self._transport.sendto(data, self.to)
            self.carried += 1
        if self.elsewhere is not None and addr != self.to:
            for attacker in self._attackers:
                attacker.sendto(data, self.elsewhere)

    def connection_lost(self, exc: Exception | None) -> None:
        for attacker in self._attackers:
            attacker.close()
        self.closed.set()


@contextlib.asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
        Wire, local_addr=(LOOPBACK, 0)
    )
    try:
        yield made
    finally:
        transport.close()
        await made.closed.wait()


@contextlib.asynccontextmanager
async def called(
    key: SRTPKey, wire: Wire, **options: Any
) -> AsyncIterator[tuple[RTPSession, RTPSession]]:
    """A call of a device that sends under `key`: our session, and the device's."""
    offer = text(
        *("v=0", f"o=- 1 1 IN IP4 {LOOPBACK}", "s=-", f"c=IN IP4 {LOOPBACK}", "t=0 0"),
        f"m=audio {wire.addr[1]} RTP/SAVP 0",
        f"a=crypto:{CryptoLine(1, (key,)).to_sdp()}",
    )
    async with RTPSession.from_offer(offer, local_addr=(LOOPBACK, 0), **options) as ours:
        [line] = [each for each in ours.answer.splitlines() if each.startswith("a=crypto")]
        wire.to = ours.local_addr
        async with RTPSession(
            local_addr=(LOOPBACK, 0),
            remote_addr=wire.addr,
            rtcp="off",
            srtp=SRTP(send_key=key, receive_key=CryptoLine.parse(line).keys[0]),
        ) as device:
            yield ours, device


@pytest.mark.parametrize("policy", ["host", "learn", "follow", "strict"])
async def test_what_one_call_says_is_not_heard_in_the_other(no_leaks: None, policy: str) -> None:
    key = SRTPKey.generate()
    async with (
        wire() as one,
        wire() as other,
        called(key, one, source_policy=policy) as (first, device),
        called(key, other, source_policy=policy) as (second, next_device),
    ):
        # Into the second, in which nobody has spoken yet.
        one.elsewhere = second.local_addr
        await device.play(tone(440, 600))
        await carried(first, one, 30)
        stats = second.stats()
        assert (stats.packets_received, second.remote_addr) == (0, other.addr)
        assert stats.stranger_address >= 30
        # Into the first, in which somebody has spoken and is silent now.
        one.elsewhere, other.elsewhere = None, first.local_addr
        heard = first.stats().packets_received
        await next_device.play(tone(440, 2400))
        await carried(second, other, 120)
        assert first.stats().packets_received == heard
        assert first.remote_addr == one.addr
        # And the first is heard as before.
        before = first.stats().packets_received
        await device.play(tone(440, 200))
        await carried(first, one, before + 10)


async def carried(session: RTPSession, wire: Wire, packets: int) -> None:
    """Returns when the session has got so many packets, which came to the other one before."""
    async with asyncio.timeout(10):
        while session.stats().packets_received < packets:
            await anext(aiter(session))
    assert wire.carried >= packets
