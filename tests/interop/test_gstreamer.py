"""GStreamer's rtpbin on the other side: audio and digits both ways, RTCP in both ends' books."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from interop.gstreamer import EVENTS, GStreamer
from interop.ours import ours
from interop.peers import free_ports, until
from interop.sound import assert_contains, coded, speech, write_wav

pytestmark = pytest.mark.interop


@pytest.mark.parametrize(("codec", "payload_type"), [("PCMU", 0), ("PCMA", 8)])
async def test_both_ends_hear_every_sample_of_the_other(
    codec: str, payload_type: int, tmp_path: Path
) -> None:
    said = coded(speech(), codec)
    wav = write_wav(tmp_path / "said.wav", said, 8000)
    theirs, port = free_ports(2)
    async with ours(port, theirs, payload_type=payload_type) as us:
        async with GStreamer(
            theirs, port, tmp_path / "heard.raw", codec=codec, payload_type=payload_type, play=wav
        ) as gst:
            await us.session.play(said.tobytes())
            await until(lambda: len(gst.heard) >= len(said), "GStreamer has heard all")
            await us.bye()
            await gst.quit()
        assert_contains(us.heard, said)
        assert_contains(gst.heard, said)
        us.assert_contiguous()


async def test_gstreamer_reads_every_digit_that_we_send(tmp_path: Path) -> None:
    theirs, port = free_ports(2)
    async with (
        GStreamer(theirs, port, tmp_path / "heard.raw") as gst,
        ours(port, theirs) as us,
    ):
        await us.session.play(speech()[:8000].tobytes())
        for digit in EVENTS:
            us.session.send_dtmf(digit, duration_ms=80)
        await until(lambda: len(gst.digits) >= len(EVENTS), "all digits at GStreamer")
        await gst.quit()
        assert gst.digits == EVENTS


async def test_we_read_every_digit_that_gstreamer_sends(tmp_path: Path) -> None:
    # Longer than the digits take: at the end of the file GStreamer says goodbye.
    wav = write_wav(tmp_path / "said.wav", np.tile(speech(), 8), 8000)
    theirs, port = free_ports(2)
    async with (
        ours(port, theirs) as us,
        GStreamer(theirs, port, tmp_path / "heard.raw", play=wav) as gst,
    ):
        await us.wait(lambda: len(us.frames) > 10, "audio of GStreamer")
        keys = "1145*#"
        for digit in keys:
            wanted = us.digits + digit
            gst.press(digit, 120)
            await us.wait(partial(us.has_digits, wanted), f"digits {wanted}")
        assert us.digits == keys


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
            # In 1/65536 s. Within one machine it is far below 50 ms.
            assert source["rb-round-trip"] < 65536 // 20, source

            # Theirs in ours.
            stats = us.session.stats()
            assert stats.round_trip_ms is not None, stats
            assert 0 <= stats.round_trip_ms < 50, stats
            # rtpbin begins to count expected packets one late: none lost is -1 there.
            assert stats.remote_lost in (0, -1), stats
        bye = await gst.wait("bye")
        assert bye["ssrc"] == ssrc
