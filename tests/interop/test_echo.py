"""An echo test: what is sent comes back as it was, under our own SSRC, and is heard."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest

from interop.ours import Ours
from interop.peers import LOOPBACK, free_ports
from interop.sip import Phone
from interop.sipp import Sipp
from interop.sound import speech
from roomkit.rtp import RTPSession

pytestmark = pytest.mark.interop


async def test_sipp_with_rtp_echo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    [port] = free_ports(1)
    said = speech()[: 2 * 8000].tobytes()
    async with Phone() as phone, Sipp(tmp_path, phone, echo=True) as sipp:
        invite = await phone.invited()
        async with RTPSession.from_offer(
            invite.body, local_addr=(LOOPBACK, port), rtcp_interval=0.2
        ) as session:
            us = Ours(session)
            await phone.answer(session.answer)
            with caplog.at_level(logging.WARNING, "roomkit"):
                await session.play(said)
                session.send_dtmf("11#7", duration_ms=80)
                await us.wait(partial(us.has_digits, "11#7"), "the digits that come back")
            stats, ssrc = session.stats(), session.ssrc
            await phone.hang_up()
        assert await sipp.exit() == 0, sipp
    received = [frame for frame in us.frames if frame.kind == "received"]
    assert len(received) >= 98
    assert us.digits == "11#7"
    assert f"{ssrc:08x}" == session.id, "no collision"
    assert stats.reflected >= 98 + 20
    assert (stats.looped, stats.packets_lost, stats.malformed) == (0, 0, 0)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "sends our own packets back" in told[0]
