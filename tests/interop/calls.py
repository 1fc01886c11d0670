"""One call of the matrix per peer and codec: both ends say the same speech, both are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from interop.baresip import Baresip
from interop.gstreamer import GStreamer
from interop.judge import Row
from interop.ours import PATIENT, Ours, ours
from interop.peers import LOOPBACK, Peer, bound, free_ports, require, until
from interop.rtpengine import RTPEngine
from interop.sip import Phone
from interop.sound import RAW, Pcm, write_wav
from roomkit.rtp import RTPSession
from roomkit.rtp.sdp import Agreement


@dataclass(frozen=True)
class Ports:
    """Where the packets of a call are found in its capture."""

    source: int
    destination: int
    payload_type: int


@dataclass(frozen=True)
class Result:
    """What each end heard of the other, and where the packets of it are."""

    heard: Pcm
    """By us."""
    incoming: Ports
    theirs: Pcm
    """Heard by the peer, as it decoded it."""
    outgoing: Ports
    lost: int
    """Packets that we missed."""
    unread: int
    """RTCP of the peer that we could not read."""
    far: Row | None = None
    """The codec of the other side of a transcoder, in which the peer spoke and heard; None: the
    same."""
    tolerance: int = 0
    """By how much the peer's own decoder departs from the reference in single samples."""
    encrypted: tuple[Ports, ...] = ()
    """Where the same packets are found encrypted, in the order of `incoming` and `outgoing`."""


CallOf: TypeAlias = Callable[[Row, Path], Awaitable[Result]]


async def ffmpeg(row: Row, path: Path, **named: Any) -> Result:
    """Two processes of ffmpeg: what sends and what receives are not on one port. `named`: options
    that name the codec in another way than `codecs`."""
    program = require("ffmpeg", "ffmpeg")
    said = row.said()
    wav = write_wav(path / "said.wav", said, row.rate)
    port, receives, sends = free_ports(3)
    sdp = path / "call.sdp"
    sdp.write_text(session_description(row, receives))
    heard = path / "heard.raw"
    listens: list[str | Path] = [
        *(program, "-hide_banner", "-protocol_whitelist", "file,udp,rtp", "-i", sdp),
        *("-ac", "1", "-c:a", "pcm_s16le", "-f", "s16le", "-flush_packets", "1", heard),
    ]
    packet = 12 + row.rate // 50 * 2 if row.name == "L16" else 172
    encoder = {"G722": "g722", "opus": "libopus"}.get(row.name) or RAW[row.name][1]
    speaks: list[str | Path] = [
        *(program, "-hide_banner", "-re", "-i", wav, "-c:a", encoder, "-f", "rtp"),
        *("-payload_type", str(row.payload_type), "-rtpflags", "send_bye"),
        f"rtp://{LOOPBACK}:{port}?localrtpport={sends}"
        + ("" if row.name == "opus" else f"&pkt_size={packet}"),
    ]
    async with Peer(listens) as listener:
        await until(lambda: bound(receives) and bound(receives + 1), "ffmpeg listens", 20)
        # ffmpeg reads a file in pieces of 2048 samples and sends each at once. The delay must be
        # more than one, or the jitter buffer rightly gives some back and leaves samples out.
        async with ours(port, receives, **(named or {"codecs": [row.codec]})) as us:
            async with Peer(speaks) as speaker:
                await us.session.play(said.tobytes())
                assert await speaker.exit(timeout=30) == 0, speaker
            await us.bye()
            wanted = said.nbytes - int(2 * row.rate * row.delay_ms / 1000)
            await until(lambda: heard.stat().st_size >= wanted, "ffmpeg has read it all")
            stats = us.session.stats()
        assert await listener.exit(timeout=20) == 0, listener
    return Result(
        us.heard,
        Ports(sends, port, row.payload_type),
        np.frombuffer(heard.read_bytes(), "<i2"),
        Ports(port, receives, row.payload_type),
        stats.packets_lost,
        stats.rtcp_malformed,
    )


async def gstreamer(row: Row, path: Path, **named: Any) -> Result:
    """rtpbin, on one symmetric pair of ports. Its first report comes after seconds of speech."""
    said = row.said()
    wav = write_wav(path / "said.wav", said, row.rate)
    theirs, port = free_ports(2)
    async with (
        ours(port, theirs, **(named or {"codecs": [row.codec]})) as us,
        GStreamer(
            theirs,
            port,
            path / "heard.raw",
            codec=row.name.upper(),
            rate=row.rate,
            clock_rate=row.clock_rate,
            payload_type=row.payload_type,
            rtcp_interval=5,
            play=wav,
        ) as gst,
    ):
        await us.session.play(said.tobytes())
        wanted = len(said) - int(row.rate * row.delay_ms / 1000)
        await until(lambda: len(gst.heard) >= wanted, "GStreamer has heard all")
        await us.bye()
        await gst.quit()
        stats = us.session.stats()
    return Result(
        us.heard,
        Ports(theirs, port, row.payload_type),
        gst.heard,
        Ports(port, theirs, row.payload_type),
        stats.packets_lost,
        stats.rtcp_malformed,
    )


async def baresip(row: Row, path: Path) -> Result:
    """A softphone that calls us by SIP, and offers this codec alone."""
    said = row.said()
    channels = 2 if row.name == "opus" else 1
    # Some silence behind it: at the end of the file it hangs up.
    recording = np.concatenate([said, np.zeros(2 * row.rate, np.int16)])
    wav = write_wav(path / "said.wav", recording, row.rate, channels)
    [port] = free_ports(1)
    async with (
        Phone() as phone,
        Baresip(path, f"{row.name}/{row.rate}/{channels}", wav) as softphone,
    ):
        softphone.dial(phone.uri)
        invite = await phone.invited()
        session = RTPSession.from_offer(invite.body, local_addr=(LOOPBACK, port), **PATIENT)
        async with session:
            us = Ours(session)
            await phone.answer(session.answer)
            await session.play(said.tobytes())
            wanted = len(said) + row.rate // 2
            await us.wait(lambda: len(us.heard) >= wanted, "all of baresip")
            await phone.hang_up()
            stats = session.stats()
            theirs, codec = session.remote_addr, session.codec
    assert theirs is not None
    return Result(
        us.heard,
        Ports(theirs[1], port, codec.payload_type),
        softphone.heard,
        Ports(port, theirs[1], codec.payload_type),
        stats.packets_lost,
        stats.rtcp_malformed,
        # libre's table has 2 for the lesser of the two zeros of µ-law.
        tolerance=2 if row.name == "PCMU" else 0,
    )


async def through_rtpengine(
    engine: RTPEngine, near: Row, far: Row, *, encrypted: bool = False
) -> Result:
    """Two of our sessions with rtpengine between them, which transcodes where they differ.

    `encrypted`: on the near side. Judged are then the packets of the far side, which rtpengine has
    decrypted, or is to encrypt.
    """
    a_port, b_port = free_ports(2)
    asked: dict[str, object] = {}
    if near != far:
        asked["codec"] = {"mask": [near.name], "transcode": [far.name]}
    if encrypted:
        asked["transport_protocol"] = "RTP/AVP"
    call = engine.call()
    async with RTPSession.for_offer(
        local_addr=(LOOPBACK, a_port),
        codecs=[near.codec],
        sdp_security="require" if encrypted else "off",
        **PATIENT,
    ) as a:
        offer = await call.offer(a.offer(), **asked)
        async with RTPSession.from_offer(
            offer, local_addr=(LOOPBACK, b_port), codecs=[far.codec], **PATIENT
        ) as b:
            here, there = Ours(a), Ours(b)
            await a.accept_answer(await call.answer(b.answer))
            said = near.said()
            await asyncio.gather(a.play(said.tobytes()), b.play(far.said().tobytes()))
            # Media goes on to be delivered after the last packet, as silence: by then all is heard.
            seconds = len(said) / near.rate + 0.8
            await here.wait(lambda: len(here.heard) >= seconds * near.rate, "all of b")
            await there.wait(lambda: len(there.heard) >= seconds * far.rate, "all of a")
            stats = a.stats(), b.stats()
            assert a.remote_addr is not None
            assert b.remote_addr is not None
            to_a, to_b = a.remote_addr[1], b.remote_addr[1]
    await call.delete()
    incoming = Ports(to_a, a_port, near.payload_type)
    outgoing = Ports(a_port, to_a, near.payload_type)
    return Result(
        here.heard,
        Ports(b_port, to_b, near.payload_type) if encrypted else incoming,
        there.heard,
        Ports(to_b, b_port, near.payload_type) if encrypted else outgoing,
        sum(each.packets_lost for each in stats),
        sum(each.rtcp_malformed for each in stats),
        far=None if near == far else far,
        encrypted=(incoming, outgoing) if encrypted else (),
    )


def agreed(port: int, agreement: Agreement, **options: Any) -> AbstractAsyncContextManager[Ours]:
    """A session of ours as an offer and an answer have it."""
    options = {**agreement.options(), **options}
    return ours(port, options.pop("remote_addr")[1], **options)


def session_description(row: Row, port: int) -> str:
    """That this codec is received on this port of the loopback (RFC 8866)."""
    return (
        "v=0\r\n"
        f"o=- 1 1 IN IP4 {LOOPBACK}\r\n"
        "s=call\r\n"
        f"c=IN IP4 {LOOPBACK}\r\n"
        "t=0 0\r\n"
        f"m=audio {port} RTP/AVP {row.payload_type}\r\n"
        f"a=rtpmap:{row.payload_type} {row.rtpmap}\r\n"
    )
