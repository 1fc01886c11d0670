"""Nothing of what a call sends leaves: counted by reason, not as sent, and told once."""

from __future__ import annotations

import logging

import pytest

from roomkit.rtp import RTPSession
from rtp.sound import tone
from rtp.wire import Peer

# Linux refuses datagrams to a broadcast address of a socket that was not allowed any.
FORBIDDEN = ("127.255.255.255", 40_000)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record.getMessage() for record in records]


async def test_what_the_system_refuses_is_counted_by_reason_and_not_as_sent_and_told_once(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    async with RTPSession(local_addr=("127.0.0.1", 0), remote_addr=FORBIDDEN) as session:
        assert (await session.play(tone(440, 2400))).played_ms == 2400
        stats = session.stats()
        assert stats.packets_sent == stats.octets_sent == stats.datagrams_sent == 0
        assert stats.send_denied == stats.send_errors >= 120
        assert stats.send_unreachable == stats.send_refused == stats.send_too_long == 0
        (warning,) = told(caplog)
        assert "nothing of what it sends has left for 1 s: Permission denied" in warning

        # Something leaves: the next time is another one.
        await session.update(remote_addr=peer.addr)
        await session.play(tone(440, 100))
        await peer.until(lambda: len(peer.packets) == 5)
        stats = session.stats()
        assert (stats.packets_sent, stats.octets_sent) == (5, 5 * 160)
        await session.update(remote_addr=FORBIDDEN)
        await session.play(tone(440, 1200))
        assert len(told(caplog)) == 2
