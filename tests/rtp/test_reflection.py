"""A far end that sends back what it gets, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import pytest_asyncio

from roomkit.rtp import SRTP, RTPSession, SRTPKey
from roomkit.voice.frame import AudioFrame
from rtp.sound import level, tone

LOOPBACK = "127.0.0.1"


class Mirror(asyncio.DatagramProtocol):
    """Sends back what `change` makes of each datagram."""

    def __init__(self) -> None:
        self.change: Callable[[bytes], bytes] = bytes
        self.addr = (LOOPBACK, 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.addr = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.change(data), addr)


@pytest_asyncio.fixture
async def mirror() -> AsyncIterator[Mirror]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(Mirror, local_addr=(LOOPBACK, 0))
    yield made
    transport.close()


def received(frames: list[AudioFrame]) -> list[AudioFrame]:
    return [frame for frame in frames if frame.kind == "received"]


@pytest.mark.parametrize("rtcp", ["mux", "off"])
async def test_an_echo_test_is_heard_with_one_warning(
    mirror: Mirror, caplog: pytest.LogCaptureFixture, rtcp: Any
) -> None:
    frames: list[AudioFrame] = []
    session = RTPSession(
        local_addr=(LOOPBACK, 0), remote_addr=mirror.addr, rtcp=rtcp, rtcp_interval=0.1
    )
    with caplog.at_level(logging.WARNING, "roomkit"):
        async with session:
            session.on_frame(frames.append)
            await session.play(tone(440, 600))
            # A second of silence, and what comes back after it is no second source.
            await session.play(bytes(16_000) + tone(440, 400))
            ssrc, stats = session.ssrc, session.stats()
    assert len(received(frames)) >= 90
    assert max(level(frame.data) for frame in frames) > 6000
    assert (f"{ssrc:08x}", stats.looped) == (session.id, 0)
    assert stats.reflected >= stats.packets_received > 90
    assert stats.remote_lost is None, "we do not report on ourselves"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert (
        f"session {session.id}: {LOOPBACK}:{mirror.addr[1]} sends our own packets back" in told[0]
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:2] + bytes([data[2] ^ 0x40]) + data[3:],
        lambda data: data + b"\0",
    ],
    ids=["payload", "sequence", "length"],
)
async def test_what_comes_back_changed_is_a_collision_and_not_heard(
    mirror: Mirror, caplog: pytest.LogCaptureFixture, change: Callable[[bytes], bytes]
) -> None:
    frames: list[AudioFrame] = []
    mirror.change = change
    with caplog.at_level(logging.WARNING, "roomkit"):
        async with RTPSession(
            local_addr=(LOOPBACK, 0), remote_addr=mirror.addr, rtcp="off"
        ) as session:
            session.on_frame(frames.append)
            await session.play(tone(440, 600))
            stats, ssrc = session.stats(), session.ssrc
    assert (len(frames), stats.reflected) == (0, 0)
    assert f"{ssrc:08x}" != session.id
    assert stats.looped >= 25
    assert not caplog.records


async def test_with_keys_nothing_that_comes_back_is_heard(mirror: Mirror) -> None:
    frames: list[AudioFrame] = []
    keys = SRTP(send_key=SRTPKey.generate(), receive_key=SRTPKey.generate())
    async with RTPSession(
        local_addr=(LOOPBACK, 0), remote_addr=mirror.addr, rtcp="off", srtp=keys
    ) as session:
        session.on_frame(frames.append)
        await session.play(tone(440, 600))
        stats, ssrc = session.stats(), session.ssrc
    assert (len(frames), stats.reflected, stats.looped) == (0, 0, 0)
    assert stats.srtp_bad_tag >= 25
    assert f"{ssrc:08x}" == session.id
