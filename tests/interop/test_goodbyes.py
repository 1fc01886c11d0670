"""Whoever ends the call says so by RTCP, in its own way, and the other end understands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interop.baresip import Baresip
from interop.ours import Ours
from interop.peers import LOOPBACK, free_ports
from interop.sip import Phone
from interop.sound import speech, write_wav
from roomkit.rtp import RTPSession

pytestmark = pytest.mark.interop


async def test_baresip_hangs_up(tmp_path: Path) -> None:
    """Its keep-alive at the start and its goodbye have no report before them, as RFC 3550 §6.1 asks
    for; so read they are all the same (RFC 5506)."""
    wav = write_wav(tmp_path / "said.wav", np.tile(speech(), 20), 8000)
    [port] = free_ports(1)
    async with Phone() as phone, Baresip(tmp_path, "pcmu/8000/1", wav) as softphone:
        softphone.dial(phone.uri)
        invite = await phone.invited()
        async with RTPSession.from_offer(invite.body, local_addr=(LOOPBACK, port)) as session:
            us = Ours(session)
            await phone.answer(session.answer)
            await us.wait(lambda: len(us.frames) > 10, "audio of baresip")
            softphone.command("hangup")
            gone = await us.bye()
            stats = session.stats()
    assert gone.detail == "Adjo"
    assert (stats.rtcp_malformed, stats.rtcp_stranger) == (0, 0), stats
