"""ffmpeg on the other side, both ways: every sample that was said is heard, and no other.

In the matrix both ends speak at once, in the rates that all peers have; here are the other rates of
L16, and codecs named by payload type alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from interop.ours import ours
from interop.peers import LOOPBACK, Peer, bound, free_ports, require, until
from interop.sound import RAW, assert_contains, coded, speech, write_wav
from interop.steady import again_if_unsteady
from interop.wire import Wire
from roomkit.rtp import Codec

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Case:
    codec: str
    payload_type: int
    rate: int

    def __str__(self) -> str:
        return f"{self.codec}-{self.rate}-type{self.payload_type}"

    @property
    def options(self) -> dict[str, object]:
        if self.payload_type >= 96:
            return {"codecs": [Codec("L16", self.payload_type, self.rate)]}
        return {"payload_type": self.payload_type, "clock_rate": self.rate}


CASES = [
    Case("PCMA", 8, 8000),
    Case("L16", 11, 44100),
    Case("L16", 96, 8000),
    Case("L16", 98, 24000),
    # Not 99 or 100: tshark takes these for redundant audio and for events (RFC 2198, RFC 4733).
    Case("L16", 110, 48000),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@again_if_unsteady
async def test_we_hear_every_sample_that_ffmpeg_says(
    case: Case, tmp_path: Path, wire: Wire | None
) -> None:
    said = speech(case.rate)
    wav = write_wav(tmp_path / "said.wav", said, case.rate)
    ffmpeg = require("ffmpeg", "ffmpeg")
    port, remote = free_ports(2)
    packet = 12 + case.rate // 50 * (2 if case.codec == "L16" else 1)
    async with ours(port, remote, source_policy="host", **case.options) as us:
        command: list[str | Path] = [
            *(ffmpeg, "-hide_banner", "-re", "-i", wav),
            *("-c:a", RAW[case.codec][1], "-f", "rtp", "-payload_type", str(case.payload_type)),
            *("-rtpflags", "send_bye"),
            f"rtp://{LOOPBACK}:{port}?localrtpport={remote}&pkt_size={packet}",
        ]
        async with Peer(command) as peer:
            assert await peer.exit(timeout=20) == 0, peer
        # ffmpeg takes its leave at once; what was in the jitter buffer then has been heard before
        # its goodbye is told.
        await us.bye()
        stats = us.session.stats()
    assert {frame.sample_rate for frame in us.frames} == {case.rate}
    us.assert_contiguous()
    assert_contains(us.heard, coded(said, case.codec))
    assert stats.packets_lost == 0, stats


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_ffmpeg_hears_every_sample_that_we_say(case: Case, tmp_path: Path) -> None:
    said = coded(speech(case.rate), case.codec)
    ffmpeg = require("ffmpeg", "ffmpeg")
    port, remote = free_ports(2)
    sdp = tmp_path / "call.sdp"
    sdp.write_text(
        "v=0\r\n"
        f"o=- 1 1 IN IP4 {LOOPBACK}\r\n"
        "s=call\r\n"
        f"c=IN IP4 {LOOPBACK}\r\n"
        "t=0 0\r\n"
        f"m=audio {remote} RTP/AVP {case.payload_type}\r\n"
        f"a=rtpmap:{case.payload_type} {case.codec}/{case.rate}/1\r\n"
    )
    heard = tmp_path / "heard.raw"
    command: list[str | Path] = [
        *(ffmpeg, "-hide_banner", "-protocol_whitelist", "file,udp,rtp", "-i", sdp),
        *("-c:a", "pcm_s16le", "-f", "s16le", "-flush_packets", "1", heard),
    ]
    async with Peer(command) as peer:
        await until(lambda: bound(remote) and bound(remote + 1), "ffmpeg listens")
        async with ours(port, remote, **case.options) as us:
            await us.session.play(said.tobytes())
            # ffmpeg reads RTCP before RTP: a BYE that it finds together with the last packet
            # makes it forget that packet.
            await until(lambda: heard.stat().st_size >= said.nbytes, "ffmpeg has read it all")
        # Our BYE, and nothing else, ends ffmpeg's input.
        assert await peer.exit(timeout=20) == 0, peer
    received = np.frombuffer(heard.read_bytes(), "<i2")
    at = assert_contains(received, said)
    # A playback begins with its first sample and ends with its last: ffmpeg got no more than that.
    assert (at, len(received)) == (0, len(said))
