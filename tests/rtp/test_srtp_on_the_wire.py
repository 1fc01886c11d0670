"""Encrypted sessions against libsrtp, over real sockets: both ways, RTP and RTCP, across the turn
of the sequence number. And what a session shows of its keys: nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import pytest

from interop.peers import oracle
from roomkit.rtp import SRTP, Disconnected, RTPSession, SRTPKey
from roomkit.rtp.srtp import SUITES, SRTPSuite
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.frame import AudioFrame
from rtp.sound import tone
from rtp.wire import Peer, digit_payload, rtcp_bye, rtp

pylibsrtp = oracle("pylibsrtp", "pip install pylibsrtp")
Policy = pylibsrtp.Policy
LOOPBACK: Final = "127.0.0.1"
# Those that libsrtp's binding has; AES-256 in counter mode is held against GStreamer's.
PROFILES: Final[dict[SRTPSuite, int]] = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
suites = pytest.mark.parametrize("suite", PROFILES)


class Ends:
    """Our keys and libsrtp's two halves with the same ones."""

    def __init__(self, suite: SRTPSuite) -> None:
        ours, theirs = SRTPKey.generate(suite), SRTPKey.generate(suite)
        self.keys = SRTP(send_key=ours, receive_key=theirs)
        self.opener = self._half(ours, Policy.SSRC_ANY_INBOUND)
        self.sealer = self._half(theirs, Policy.SSRC_ANY_OUTBOUND)

    @staticmethod
    def _half(key: SRTPKey, direction: int) -> Any:
        assert isinstance(key.key, bytes)
        return pylibsrtp.Session(
            Policy(key=key.key, ssrc_type=direction, srtp_profile=PROFILES[key.suite])
        )


def to(peer: Peer, keys: SRTP, **options: object) -> RTPSession:
    return RTPSession(
        local_addr=(LOOPBACK, 0),
        remote_addr=peer.addr,
        srtp=keys,
        **options,  # type: ignore[arg-type]
    )


def g711(n: int) -> bytes:
    """Different in every packet."""
    return bytes((n * 7 + i) % 256 for i in range(160))


@suites
async def test_libsrtp_reads_all_that_we_send(peer: Peer, suite: SRTPSuite) -> None:
    ends = Ends(suite)
    async with to(peer, ends.keys, rtcp_interval=0.2) as session:
        session.send_dtmf("5", 100)
        await session.play(tone(440, 600))
        await peer.until(lambda: len(peer.audio_packets()) >= 30 and len(peer.reports) >= 1)
    await peer.until(lambda: len(peer.reports) >= 2, what="the goodbye")
    opened = [ends.opener.unprotect(packet.data) for packet in peer.packets]
    assert sum(len(packet) == 12 + 160 for packet in opened) >= 30
    # A digit, in plain: event 5, and three ends of it.
    digits = [packet[12:] for packet in opened if packet[1] & 0x7F == 101]
    assert digits[-1][0] == 5
    assert sum(payload[1] >> 7 for payload in digits) == 3
    for packet, plain in zip(peer.packets, opened, strict=True):
        assert packet.data[:12] == plain[:12]
        assert packet.payload[: len(plain) - 12] != plain[12:]
    reports = [ends.opener.unprotect_rtcp(report.data) for report in peer.reports]
    assert {report[1] for report in reports} <= {200, 201}
    # The last one says goodbye: RTCP type 203 is in it.
    assert b"\x81\xcb" in reports[-1]
    assert b"\x81\xcb" not in peer.reports[-1].data


@suites
async def test_we_read_all_that_libsrtp_sends_across_the_turn(peer: Peer, suite: SRTPSuite) -> None:
    ends = Ends(suite)
    heard: list[AudioFrame] = []
    gone: list[Disconnected] = []
    async with to(peer, ends.keys) as session:
        session.on_frame(heard.append)
        session.on_disconnected(gone.append)
        digits: list[str] = []
        session.on_dtmf(lambda event: digits.append(event.digit))
        for n in range(40):
            seq = (65_520 + n) % 65_536
            packet = rtp(seq, n * 160, 7, g711(n))
            protected = ends.sealer.protect(packet)
            if n != 17:  # the second behind the turn is lost
                peer.send(protected, session.local_addr)
        for end in (False, True, True, True):
            payload = digit_payload(9, 800, end=end)
            seq = (65_560 + n) % 65_536
            n += 1
            packet = rtp(seq, 40 * 160, 7, payload, pt=101)
            peer.send(ends.sealer.protect(packet), session.local_addr)
        assert session.rtcp_addr is not None
        peer.send_rtcp(ends.sealer.protect_rtcp(rtcp_bye(7, "gone")), session.rtcp_addr)
        await until(session, lambda: bool(gone) and bool(digits))
        stats = session.stats()
    assert (gone[0].reason, gone[0].detail, digits) == ("bye", "gone", ["9"])
    refused = {name: value for name, value in stats.items() if name.startswith("srtp_") and value}
    assert not refused
    assert stats.packets_received == 43
    assert stats.rtcp_received == 1


@suites
async def test_what_libsrtp_does_not_vouch_for_is_refused_by_reason(
    peer: Peer, suite: SRTPSuite
) -> None:
    ends = Ends(suite)
    other = Ends(suite)
    async with to(peer, ends.keys) as session:
        address = session.local_addr
        good = [ends.sealer.protect(rtp(n, n * 160, 7, g711(n))) for n in range(5)]
        for packet in good:
            peer.send(packet, address)
        await until(session, lambda: session.stats().packets_received == 5)
        for packet in good:
            peer.send(packet, address)
        peer.send(rtp(5, 800, 7, g711(5)), address)
        peer.send(other.sealer.protect(rtp(6, 960, 7, g711(6))), address)
        peer.send(good[0][:15], address)
        await until(session, lambda: session.stats().srtp_malformed == 1)
        stats = session.stats()
    assert (stats.srtp_replayed, stats.srtp_bad_tag) == (5, 2)
    assert (stats.packets_received, stats.stranger, stats.malformed) == (5, 0, 0)


@pytest.mark.parametrize("suite", SUITES)
async def test_two_of_our_sessions_under_every_suite_and_a_change_of_keys(
    peer: Peer, suite: SRTPSuite
) -> None:
    """`peer` lends its ports to the second session's address only."""
    there, here = SRTPKey.generate(suite), SRTPKey.generate(suite, mki=b"\x01\x02")
    first = SRTP(send_key=here, receive_key=there)
    second = SRTP(send_key=there, receive_key=here)
    new_here, new_there = SRTPKey.generate(), SRTPKey.generate()
    async with (
        RTPSession(local_addr=(LOOPBACK, 0), source_policy="learn", srtp=first) as bob,
        RTPSession(local_addr=(LOOPBACK, 0), remote_addr=bob.local_addr, srtp=second) as alice,
    ):
        playing = asyncio.create_task(alice.play(tone(440, 1000)))
        await until(bob, lambda: bob.stats().packets_received >= 10)
        # What Alice will send with is known to Bob before she does, and the same the other way.
        await bob.rekey(SRTP(send_key=here, receive_key=new_there))
        await alice.rekey(SRTP(send_key=there, receive_key=new_here))
        await bob.rekey(SRTP(send_key=new_here, receive_key=new_there))
        await alice.update(srtp=SRTP(send_key=new_there, receive_key=new_here))
        assert bob.options.srtp == SRTP(send_key=new_here, receive_key=new_there)
        await playing
        await until(bob, lambda: bob.stats().packets_received >= 50)
        for session in (alice, bob):
            stats = session.stats()
            assert not {n for n, value in stats.items() if n.startswith("srtp_") and value}
            assert stats.packets_lost == 0
        with pytest.raises(ValueError, match=r"^srtp: None; a session that is encrypted stays so"):
            await alice.update(srtp=None)
        with pytest.raises(ValueError, match=r"^srtp: bytes; an SRTP"):
            await alice.update(srtp=b"key")  # type: ignore[arg-type]


async def test_a_backend_takes_keys_per_session_and_shows_none(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ends = Ends("AEAD_AES_256_GCM")
    metadata = {"remote_addr": peer.addr, "srtp": ends.keys}
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0))
    session = await backend.connect("room", "caller", "voice", metadata=metadata)
    assert session.metadata["srtp"] == "AEAD_AES_256_GCM"
    assert metadata["srtp"] is ends.keys
    await backend.send_audio(session, tone(440, 100))
    await peer.until(lambda: len(peer.audio_packets()) >= 5)
    fresh = Ends("AES_CM_128_HMAC_SHA1_80")
    await backend.update(session, srtp=fresh.keys)
    assert session.metadata["srtp"] == "AES_CM_128_HMAC_SHA1_80"
    before = len(peer.audio_packets())
    await backend.send_audio(session, tone(440, 100))
    await peer.until(lambda: len(peer.audio_packets()) >= before + 5)
    with pytest.raises(ValueError, match=r"^srtp: str; an SRTP, or None, fits") as caught:
        await backend.connect(
            "room", "other", "voice", metadata={"remote_addr": peer.addr, "srtp": "c2VjcmV0"}
        )
    await backend.close()
    assert ends.opener.unprotect(peer.audio_packets()[0].data)
    assert fresh.opener.unprotect(peer.audio_packets()[-1].data)
    seen = " ".join(
        [caplog.text, repr(session), repr(backend.options), repr(metadata), str(caught.value)]
    )
    for key in (ends.keys.send, *ends.keys.receive, fresh.keys.send):
        assert isinstance(key.key, bytes)
        assert key.key.hex() not in seen
        assert repr(key.key) not in seen
    assert "c2VjcmV0" not in seen


async def test_a_packet_of_a_stream_begun_long_ago_is_read(peer: Peer) -> None:
    """The far end's sequence stood at 65530 when its first packets got lost, and turned since."""
    ends = Ends("AES_CM_128_HMAC_SHA1_80")
    async with to(peer, ends.keys) as session:
        for n in range(12):
            packet = ends.sealer.protect(rtp((65_530 + n) % 65_536, n * 160, 7, g711(n)))
            if n >= 8:
                peer.send(packet, session.local_addr)
        await until(session, lambda: session.stats().packets_received == 4)


async def until(session: RTPSession, condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds after some frame of `session`; fails when it does not in time.

    Frames end with a goodbye, behind what it was said after.
    """
    async with asyncio.timeout(10):
        async for _ in session:
            if condition():
                return
    assert condition()
