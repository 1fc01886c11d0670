"""GStreamer's rtpbin on the other side: what each end reports is in the other's books.

Audio with it is in the matrix, digits in `test_digits`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interop.gstreamer import GStreamer
from interop.ours import ours
from interop.peers import free_ports
from interop.sound import speech, write_wav

pytestmark = pytest.mark.interop


async def test_each_end_has_the_reports_of_the_other(tmp_path: Path) -> None:
    said = speech()
    wav = write_wav(tmp_path / "said.wav", said, 8000)
    theirs, port = free_ports(2)
    async with GStreamer(theirs, port, tmp_path / "heard.raw", play=wav) as gst:
        async with ours(port, theirs) as us:
            await us.session.play(said.tobytes())
            ssrc = us.session.ssrc

            # Ours in rtpbin's books: sender reports that count what it received, and a report block
            # about its own stream, from which it computes the round trip.
            source = await gst.source(ssrc, packets=len(said) // 160)
            assert source["have-sr"], source
            assert source["have-rb"], source
            assert source["packets-received"] == len(said) // 160, source
            assert 0 < source["sr-packet-count"] <= source["packets-received"], source
            assert source["sr-octet-count"] == source["sr-packet-count"] * 160, source
            assert source["rb-fractionlost"] == 0, source
            # In 1/65536 s. Within one machine it is far below 50 ms, unless GStreamer did not get
            # the processor to take a report: then the next one says so.
            async with asyncio.timeout(30):
                while source["rb-round-trip"] >= 65536 // 20:
                    source = await gst.source(ssrc, packets=len(said) // 160)

            # Theirs in ours.
            await us.wait(
                lambda: 0 <= (us.session.stats().round_trip_ms or -1) < 50, "our round trip", 30
            )
            stats = us.session.stats()
            # rtpbin begins to count expected packets one late: none lost is -1 there.
            assert stats.remote_lost in (0, -1), stats
        bye = await gst.wait("bye")
        assert bye["ssrc"] == ssrc
