"""Packets as peers really send them: of any length, mixed, and of another codec from one to the
next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from interop import calls
from interop.gstreamer import GStreamer
from interop.judge import BY_NAME, assert_original
from interop.ours import ours
from interop.peers import LOOPBACK, Peer, bound, free_ports, require, until
from interop.sound import assert_contains, write_wav
from interop.steady import again_if_unsteady
from interop.wire import Wire

pytestmark = pytest.mark.interop

PTIMES = (10, 30, 40, 60)


@pytest.mark.parametrize("name", ["PCMU", "L16", "G722"])
@again_if_unsteady
async def test_lengths_that_change_in_the_middle_of_a_stream(
    name: str, tmp_path: Path, wire: Wire | None
) -> None:
    """And speech comes long before the first RTCP, which is due after 5 s."""
    row = BY_NAME[name]
    # At its end GStreamer drops what does not fill a packet: silence.
    said = np.concatenate([row.said(), np.zeros(row.rate // 5, np.int16)])
    wav = write_wav(tmp_path / "said.wav", said, row.rate)
    theirs, port = free_ports(2)
    async with (
        ours(port, theirs, codecs=[row.codec]) as us,
        GStreamer(
            theirs,
            port,
            tmp_path / "heard.raw",
            codec=name,
            rate=row.rate,
            clock_rate=row.clock_rate,
            payload_type=row.payload_type,
            rtcp_interval=5,
            ptimes=",".join(map(str, PTIMES)),
            play=wav,
        ),
    ):
        await us.bye()
        stats = us.session.stats()
    assert_original(row, us.heard)
    us.assert_contiguous()
    assert (stats.packets_lost, stats.frames_concealed) == (0, 0), stats
    if wire is not None:
        await wire.read()
        lengths = [len(payload) for payload in wire.payloads(theirs, row.payload_type)]
        per_ms = row.clock_rate // 1000 * (2 if name == "L16" else 1)
        # What does not fit GStreamer's packets of 1400 bytes, it sends in two.
        expected = {ptime * per_ms for ptime in PTIMES if ptime * per_ms < 1388}
        assert expected <= set(lengths)
        numbers = [packet.number for packet in wire.rtp(theirs)]
        reports = [packet.number for packet in wire.packets if packet.source == theirs + 1]
        assert numbers[20] < min(reports)


async def test_ffmpeg_hears_packets_of_every_length_that_we_send(tmp_path: Path) -> None:
    row = BY_NAME["PCMA"]
    said = row.said()

    async def call(ptime: int) -> None:
        port, remote = free_ports(2)
        sdp, heard = tmp_path / f"{ptime}.sdp", tmp_path / f"{ptime}.raw"
        sdp.write_text(calls.session_description(row, remote))
        command: list[str | Path] = [
            *(require("ffmpeg", "ffmpeg"), "-hide_banner"),
            *("-protocol_whitelist", "file,udp,rtp", "-i", sdp),
            *("-c:a", "pcm_s16le", "-f", "s16le", "-flush_packets", "1", heard),
        ]
        async with Peer(command) as peer:
            await until(lambda: bound(remote) and bound(remote + 1), "ffmpeg listens", 20)
            async with ours(port, remote, codecs=[row.codec], ptime_ms=ptime) as us:
                await us.session.play(said.tobytes())
                await until(lambda: heard.stat().st_size >= said.nbytes, "ffmpeg has read it all")
            assert await peer.exit(timeout=20) == 0, peer
        assert_contains(np.frombuffer(heard.read_bytes(), "<i2"), said)

    await asyncio.gather(*map(call, PTIMES))


@again_if_unsteady
async def test_another_codec_from_one_packet_to_the_next(tmp_path: Path, wire: Wire | None) -> None:
    first, second = BY_NAME["PCMU"], BY_NAME["PCMA"]
    theirs, port = free_ports(2)
    branches = ""
    for row, payloader, packets in (
        (first, "mulawenc ! rtppcmupay", 0),
        (second, "alawenc ! rtppcmapay", len(first.said()) // 160),
    ):
        wav = write_wav(tmp_path / f"{row.name}.wav", row.said(), row.rate)
        branches += (
            f" filesrc location={wav} ! wavparse ! audioconvert ! {payloader} ssrc=7"
            f" seqnum-offset={packets} timestamp-offset={packets * 160}"
            " min-ptime=20000000 max-ptime=20000000 ! both."
        )
    launch = require("gst-launch-1.0", "gstreamer1.0-tools")
    sink = f"concat name=both ! udpsink host={LOOPBACK} port={port} bind-port={theirs}"
    async with ours(port, theirs) as us:
        async with Peer([launch, "-q", *(sink + branches).split()]) as peer:
            assert await peer.exit() == 0, peer
        await us.wait(lambda: len(us.heard) >= 16000 * 3 + 1600, "all of it")
        stats = us.session.stats()
    assert (stats.packets_lost, stats.source_changes) == (0, 0), stats
    assert_contains(us.heard, np.concatenate([first.said(), second.said()]))
