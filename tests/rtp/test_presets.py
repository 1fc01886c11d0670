"""Options for peers that send no SDP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomkit.rtp import Codec, RTPOptions, RTPSession
from roomkit.rtp.presets import ASTERISK_FORMATS, PRESETS
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sound import audible, frequency, listen, sound_then_silence, tone
from rtp.wire import Peer, rtp

LOOPBACK = "127.0.0.1"
HERE: Any = {"local_addr": (LOOPBACK, 0)}


def test_asterisk_s_formats_have_the_numbers_of_its_table() -> None:
    """asterisk/asterisk, main/rtp_engine.c, ast_rtp_engine_init, add_static_payload."""
    assert {
        name: (codec.payload_type, codec.sample_rate) for name, codec in ASTERISK_FORMATS.items()
    } == {
        "ulaw": (0, 8000),
        "alaw": (8, 8000),
        "g722": (9, 16000),
        "slin": (10, 8000),
        "slin12": (122, 12000),
        "slin16": (118, 16000),
        "slin24": (123, 24000),
        "slin32": (124, 32000),
        "slin44": (125, 44100),
        "slin48": (126, 48000),
        "slin96": (127, 96000),
        "slin192": (96, 192_000),
        "opus": (107, 48000),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_options_and_says_what_it_is(name: str) -> None:
    options = RTPOptions(preset=name)
    assert options.codec.name == "PCMU"
    assert options.events == {8000: 101}
    assert PRESETS[name].summary
    for codec in PRESETS[name].options["codecs"]:
        assert RTPOptions(preset=name, payload_type=codec.payload_type).codec == codec


def test_what_the_program_says_wins() -> None:
    options = RTPOptions(
        preset="asterisk-external-media", codecs=["PCMA"], dtmf_types={8000: 110}, ptime_ms=40
    )
    assert [codec.name for codec in options.active] == ["PCMA"]
    assert (options.events, options.ptime_ms) == ({8000: 110}, 40)


def test_what_is_no_preset_is_refused_with_a_list() -> None:
    listed = "'asterisk-external-media', 'freeswitch', 'rtpengine' or None fits"
    for wrong in ("asterisk", "", 7):
        given: Any = wrong
        with pytest.raises(ValueError, match=f"^preset: {wrong!r}; {listed}"):
            RTPOptions(preset=given)
    with pytest.raises(ValueError, match="^payload_type: 99; preset 'rtpengine' has 0 PCMU/8000, "):
        RTPOptions(preset="rtpengine", payload_type=99)
    with pytest.raises(ValueError, match="^preset: the description decides it"):
        RTPSession.for_offer(preset="rtpengine")


@pytest.mark.parametrize("name", ASTERISK_FORMATS)
async def test_every_format_of_external_media_is_sent_and_understood(name: str) -> None:
    """Both ends have the preset, as a peer and its mirror."""
    codec = ASTERISK_FORMATS[name]
    options: Any = {
        "preset": "asterisk-external-media",
        "payload_type": codec.payload_type,
        "sample_rate": 16000,
        **HERE,
    }
    async with RTPSession(source_policy="learn", **options) as bob:
        async with RTPSession(remote_addr=bob.local_addr, **options) as alice:
            assert alice.codec == codec
            hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(100)))
            await alice.play(tone(440, 400, 16000))
            heard = audible(await hearing)
        assert bob.stats().unknown_payload_type == 0
    assert sum(frame.duration_ms for frame in heard) == pytest.approx(400, abs=40)
    sound = b"".join(frame.data for frame in heard)
    assert frequency(sound, 16000) == pytest.approx(440, abs=5)


async def test_slin_is_in_network_byte_order(peer: Peer) -> None:
    """RFC 3551 §4.5.11, and res_rtp_asterisk.c with its byte swap."""
    session = RTPSession(
        preset="asterisk-external-media", payload_type=118, remote_addr=peer.addr, **HERE
    )
    async with session:
        hearing = asyncio.create_task(listen(aiter(session), sound_then_silence(100)))
        sample = (1000).to_bytes(2, "big", signed=True)
        for n in range(20):
            peer.send(rtp(n, n * 320, 7, sample * 320, pt=118), session.local_addr)
        heard = audible(await hearing)
        assert any(frame.data == (1000).to_bytes(2, "little") * 320 for frame in heard)
        await session.play((1000).to_bytes(2, "little") * 1600)
        await peer.until(lambda: len(peer.audio_packets(118)) >= 5)
        assert sample * 320 in [packet.payload for packet in peer.audio_packets(118)]


async def test_a_preset_may_be_that_of_one_session(peer: Peer) -> None:
    backend = RTPVoiceBackend(
        **HERE, remote_addr=peer.addr, codecs=["PCMA", Codec("L16", 96, 16000)]
    )
    session = await backend.connect(
        "room", "caller", "voice", options={"preset": "asterisk-external-media"}
    )
    assert session.metadata["codec"] == "PCMU"
    await backend.close()


def test_the_type_of_digits_that_the_program_says_wins_over_the_preset() -> None:
    for name in PRESETS:
        assert RTPOptions(preset=name, dtmf_payload_type=110).events == {8000: 110}
        assert RTPOptions(preset=name, dtmf_payload_type=None).events == {}


async def test_what_asterisk_does_not_understand_is_warned_of(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """main/rtp_engine.c, ast_rtp_codecs_get_payload: without SDP, static types and nothing else."""
    usual: Any = {"preset": "asterisk-external-media", "remote_addr": peer.addr, **HERE}
    for number in (0, 8, 9, 10):
        async with RTPSession(payload_type=number, **usual) as session:
            session.send_dtmf("5", duration_ms=40, method="inband")
    assert not caplog.records
    async with RTPSession(payload_type=118, **usual):
        pass
    assert "the peer sends L16/16000 under 118 and does not understand it" in caplog.text
    assert "payload_type 0 PCMU/8000, 8 PCMA/8000, 9 G722/8000, 10 L16/8000 fits" in caplog.text
    caplog.clear()
    async with RTPSession(**usual) as session:
        session.send_dtmf("5", duration_ms=40)
    assert "the peer takes no telephone events; method='inband' fits" in caplog.text
    caplog.clear()
    for other in ({"preset": "rtpengine"}, {"codecs": [Codec("L16", 118, 16000)]}):
        options: Any = {"remote_addr": peer.addr, **HERE, **other}
        async with RTPSession(**options) as session:
            session.send_dtmf("5", duration_ms=40)
    assert not caplog.records
