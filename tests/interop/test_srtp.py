"""Encrypted calls with other implementations: GStreamer's srtpenc and srtpdec, and ffmpeg's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interop.gstreamer import GStreamer
from interop.ours import ours
from interop.peers import LOOPBACK, Peer, bound, free_ports, require, until
from interop.sound import assert_contains, coded, speech, write_wav
from interop.steady import again_if_unsteady
from interop.wire import Wire
from roomkit.rtp import SRTP, CryptoLine, SRTPKey
from roomkit.rtp.srtp import SUITES, SRTPSuite

pytestmark = pytest.mark.interop


def hexadecimal(key: SRTPKey) -> str:
    assert isinstance(key.key, bytes)
    return key.key.hex()


@pytest.mark.parametrize("mki", [None, b"\0\0\0\x07"], ids=["no MKI", "MKI"])
@pytest.mark.parametrize("suite", SUITES)
@again_if_unsteady
async def test_gstreamer_and_we_hear_every_sample_and_digit_and_report_of_one_another(
    suite: SRTPSuite, mki: bytes | None, tmp_path: Path, wire: Wire | None
) -> None:
    send, receive = SRTPKey.generate(suite, mki=mki), SRTPKey.generate(suite, mki=mki)
    options = {} if mki is None else {"mki": mki.hex()}
    said = coded(speech(), "PCMU")
    wav = write_wav(tmp_path / "said.wav", said, 8000)
    # tshark has no keys: to it, this is RTP gone wrong.
    theirs, port = free_ports(2, media=False)
    async with (
        ours(port, theirs, srtp=SRTP(send_key=send, receive_key=receive)) as us,
        GStreamer(
            theirs,
            port,
            tmp_path / "heard.raw",
            play=wav,
            suite=suite,
            send_key=hexadecimal(receive),
            receive_key=hexadecimal(send),
            **options,
        ) as gst,
    ):
        us.session.send_dtmf("5", duration_ms=80)
        await us.session.play(said.tobytes())
        await until(lambda: len(gst.heard) >= len(said), "GStreamer has heard all")
        await until(lambda: gst.digits == "5", "GStreamer has the digit")
        source = await gst.source(us.session.ssrc, packets=len(said) // 160)
        # libsrtp before 2.7 looks for the MKI of RTCP where that of RTP would be, which is not the
        # same with tags of two lengths (cisco/libsrtp#737): it reads no RTCP then.
        if mki is None or not suite.endswith("_32"):
            assert source["have-sr"], source
            assert source["have-rb"], source
        await us.bye()
        await gst.quit()
        assert_contains(us.heard, said)
        assert_contains(gst.heard, said)
        stats = us.session.stats()
        assert not {name for name, value in stats.items() if name.startswith("srtp_") and value}
        assert stats.rtcp_received >= 1


# ffmpeg has an SRTP of its own, not libsrtp's, and these two suites. The second by its name in
# DTLS: under that of RFC 4568 §6.2.2 it gives RTCP a tag of 32 bits too, where it has 80.
FFMPEG: dict[SRTPSuite, str] = {
    "AES_CM_128_HMAC_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "SRTP_AES128_CM_HMAC_SHA1_32",
}


@pytest.mark.parametrize("suite", FFMPEG)
@again_if_unsteady
async def test_we_hear_every_sample_that_ffmpeg_encrypts(
    suite: SRTPSuite, tmp_path: Path, wire: Wire | None
) -> None:
    said = speech()
    wav = write_wav(tmp_path / "said.wav", said, 8000)
    ffmpeg = require("ffmpeg", "ffmpeg")
    port, remote = free_ports(2, media=False)
    ours_, theirs = CryptoLine.generate(suite), CryptoLine.generate(suite)
    keys = SRTP.from_lines(ours_, theirs)
    async with ours(port, remote, srtp=keys) as us:
        command: list[str | Path] = [
            *(ffmpeg, "-hide_banner", "-re", "-i", wav),
            *("-c:a", "pcm_mulaw", "-f", "rtp", "-payload_type", "0", "-rtpflags", "send_bye"),
            *("-srtp_out_suite", FFMPEG[suite], "-srtp_out_params", inline(theirs)),
            f"srtp://{LOOPBACK}:{port}?localrtpport={remote}&pkt_size=172",
        ]
        async with Peer(command) as peer:
            assert await peer.exit(timeout=20) == 0, peer
        await us.bye()
        stats = us.session.stats()
    us.assert_contiguous()
    assert_contains(us.heard, coded(said, "PCMU"))
    assert not {name for name, value in stats.items() if name.startswith("srtp_") and value}


@pytest.mark.parametrize("suite", FFMPEG)
async def test_ffmpeg_decrypts_every_sample_that_we_say(suite: SRTPSuite, tmp_path: Path) -> None:
    said = coded(speech(), "PCMU")
    ffmpeg = require("ffmpeg", "ffmpeg")
    port, remote = free_ports(2, media=False)
    ours_, theirs = CryptoLine.generate(suite), CryptoLine.generate(suite)
    sdp = tmp_path / "call.sdp"
    sdp.write_text(
        "v=0\r\n"
        f"o=- 1 1 IN IP4 {LOOPBACK}\r\n"
        "s=call\r\n"
        f"c=IN IP4 {LOOPBACK}\r\n"
        "t=0 0\r\n"
        f"m=audio {remote} RTP/SAVP 0\r\n"
        f"a=crypto:1 {FFMPEG[suite]} inline:{inline(ours_)}\r\n"
    )
    heard = tmp_path / "heard.raw"
    command: list[str | Path] = [
        *(ffmpeg, "-hide_banner", "-protocol_whitelist", "file,udp,rtp,srtp", "-i", sdp),
        *("-c:a", "pcm_s16le", "-f", "s16le", "-flush_packets", "1", heard),
    ]
    async with Peer(command) as peer:
        await until(lambda: bound(remote) and bound(remote + 1), "ffmpeg listens")
        async with ours(port, remote, srtp=SRTP.from_lines(ours_, theirs)) as us:
            await us.session.play(said.tobytes())
            await until(lambda: heard.stat().st_size >= said.nbytes, "ffmpeg has read it all")
        assert await peer.exit(timeout=20) == 0, peer
    received = np.frombuffer(heard.read_bytes(), "<i2")
    assert (assert_contains(received, said), len(received)) == (0, len(said))


def inline(line: CryptoLine) -> str:
    """Its key in base64, as SDP carries it."""
    return line.to_sdp().partition("inline:")[2]
