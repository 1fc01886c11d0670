"""Each codec over real sockets: what we send is decoded by another implementation, what another
implementation encodes is decoded by us."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from interop.peers import oracle, until
from interop.sound import speech
from roomkit.rtp import Codec, RTPSession
from roomkit.rtp.codecs import G722, OPUS, PCMA, PCMU
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sound import (
    audible,
    frequency,
    level,
    likeness,
    listen,
    sound_then_silence,
    tone,
)
from rtp.test_session import call, to
from rtp.wire import Peer, rtp

spandsp = oracle("G722", "pip install G722")
opuslib_next = oracle("opuslib_next", "pip install opuslib-next; apt-get install libopus0")


async def test_g722_that_we_send_is_octet_for_octet_what_spandsp_encodes(peer: Peer) -> None:
    said = speech(16000)[:16000]
    async with to(peer, codecs=[G722]) as session:
        assert session.sample_rate == 16000
        await session.play(said.tobytes())
        await peer.until(lambda: len(peer.packets) >= 50)
    packets = peer.packets
    assert {packet.payload_type for packet in packets} == {9}
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(packets)}
    assert steps == {160}, "RFC 3551 §4.5.2: the clock is 8000 Hz"
    assert b"".join(packet.payload for packet in packets) == bytes(
        spandsp.G722(16000, 64000).encode(said)
    )


async def test_g722_that_spandsp_encodes_we_decode_sample_for_sample_as_it_does(peer: Peer) -> None:
    code = bytes(spandsp.G722(16000, 64000).encode(speech(16000)[:16000]))
    expected = np.array(spandsp.G722(16000, 64000).decode(code), dtype="<i2").tobytes()
    async with to(peer, codecs=[G722], jitter_ms=200) as session:
        hearing = asyncio.create_task(listen(aiter(session), sound_then_silence(200)))
        packets = [code[at : at + 160] for at in range(0, len(code), 160)]
        await peer.stream(session.local_addr, packets, pt=9)
        heard = await hearing
    assert expected in b"".join(frame.data for frame in heard)
    assert {(frame.sample_rate, len(frame.data)) for frame in heard} == {(16000, 640)}


async def test_opus_that_another_libopus_encodes_we_decode_as_it_does(peer: Peer) -> None:
    said = speech(48000)[:48000]
    theirs = opuslib_next.Encoder(48000, 1, "voip")
    packets = [theirs.encode(frame.tobytes(), 960) for frame in said.reshape(-1, 960)]
    decoder = opuslib_next.Decoder(48000, 1)
    expected = b"".join(decoder.decode(packet, 960) for packet in packets)
    async with to(peer, codecs=[OPUS], jitter_ms=200) as session:
        hearing = asyncio.create_task(listen(aiter(session), sound_then_silence(1000)))
        await peer.stream(session.local_addr, packets, pt=111, clock=48000)
        heard = await hearing
    assert likeness(b"".join(frame.data for frame in heard), expected) > 0.9999
    assert {(frame.sample_rate, len(frame.data)) for frame in heard} == {(48000, 1920)}


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
async def test_opus_is_heard_at_the_rate_of_the_application(peer: Peer, rate: int) -> None:
    said = speech(48000)[:48000]
    theirs = opuslib_next.Encoder(48000, 1, "voip")
    packets = [theirs.encode(frame.tobytes(), 960) for frame in said.reshape(-1, 960)]
    async with to(peer, codecs=[OPUS], sample_rate=rate, jitter_ms=200) as session:
        hearing = asyncio.create_task(listen(aiter(session), sound_then_silence(1000)))
        await peer.stream(session.local_addr, packets, pt=111, clock=48000)
        heard = await hearing
    assert {(frame.sample_rate, len(frame.data)) for frame in heard} == {(rate, rate // 25)}
    if rate == 44100:  # Opus has no such rate: ours is resampled
        expected, floor = speech(rate)[:rate].tobytes(), 0.9
    else:
        decoder = opuslib_next.Decoder(rate, 1)
        expected, floor = b"".join(decoder.decode(p, rate // 50) for p in packets), 0.999
    assert likeness(b"".join(frame.data for frame in heard), expected) > floor


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
async def test_opus_that_we_send_another_libopus_decodes(peer: Peer, ptime_ms: int) -> None:
    said = speech(48000)[: 48 * 600]
    async with to(peer, codecs=[OPUS], ptime_ms=ptime_ms) as session:
        await session.play(said.tobytes())
        await peer.until(lambda: len(peer.packets) >= 600 // ptime_ms)
    packets = peer.packets
    assert {packet.payload_type for packet in packets} == {111}
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(packets)}
    assert steps == {48 * ptime_ms}, "RFC 7587 §4.1: the clock is 48000 Hz"
    decoder = opuslib_next.Decoder(48000, 1)
    heard = b"".join(decoder.decode(packet.payload, 5760) for packet in packets)
    assert len(heard) == 2 * len(said)
    assert likeness(heard, said[: 48 * 560].tobytes()) > 0.9


async def test_rfc7587_s3_3_a_lost_packet_is_recovered_from_the_next(peer: Peer) -> None:
    said = speech(16000)[:32000]
    theirs = opuslib_next.Encoder(16000, 1, "voip")
    theirs.inband_fec, theirs.packet_loss_perc, theirs.bitrate = 1, 20, 24000
    packets = [theirs.encode(frame.tobytes(), 320) for frame in said.reshape(-1, 320)]
    lost = range(20, 100, 10)
    async with to(peer, codecs=[OPUS], sample_rate=16000, jitter_ms=200) as session:
        hearing = asyncio.create_task(listen(aiter(session), sound_then_silence(1000)))
        await peer.stream(session.local_addr, packets, pt=111, clock=48000, lose=lost)
        heard = await hearing
        stats = session.stats()
    assert stats.packets_lost == len(lost)
    assert stats.packets_recovered >= 6, "silence and unvoiced sounds have no copy"
    assert stats.frames_concealed == stats.packets_lost - stats.packets_recovered
    assert likeness(b"".join(frame.data for frame in heard), said.tobytes()) > 0.9


@pytest.mark.parametrize("stops", [True, False], ids=["sends nothing", "sends single octets"])
async def test_rfc7587_s3_1_3_silence_of_either_kind_is_comfort_noise_and_no_loss(
    peer: Peer, stops: bool
) -> None:
    said = np.concatenate([speech(16000)[:8000], np.zeros(16000, np.int16)])
    theirs = opuslib_next.Encoder(16000, 1, "voip")
    theirs.dtx = 1
    packets = [theirs.encode(frame.tobytes(), 320) for frame in said.reshape(-1, 320)]
    empty = [number for number, packet in enumerate(packets) if len(packet) <= 2]
    assert len(empty) >= 20
    async with to(peer, codecs=[OPUS], sample_rate=16000, jitter_ms=200) as session:
        hearing = asyncio.create_task(listen(aiter(session), lambda heard: len(heard) >= 80))
        await peer.stream(
            session.local_addr,
            packets,
            pt=111,
            clock=48000,
            skip=empty if stops else (),
        )
        await hearing
        stats = session.stats()
    assert (stats.packets_lost, stats.undecodable) == (0, 0)
    assert stats.frames_comfort_noise >= 15


def sent(session: RTPSession, packets: int) -> bool:
    return session.stats().packets_sent >= packets


async def test_the_codec_changes_in_the_middle_of_a_word_and_of_a_call() -> None:
    everything: list[Codec | str] = ["PCMU", "G722", "opus", Codec("L16", 96, 44100)]
    async with call(codecs=everything, sample_rate=16000, jitter_ms=200) as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(1200)))
        playing = asyncio.create_task(alice.play(tone(440, 1600, 16000)))
        for first in (1, 2, 3):
            before = alice.stats().packets_sent
            await until(partial(sent, alice, before + 15), "fifteen packets more")
            await alice.update(codecs=everything[first:] + everything[:first])
        assert (await playing).played_ms == pytest.approx(1600, abs=1)
        heard = audible(await hearing)
        stats = bob.stats()
    assert (stats.packets_lost, stats.undecodable, stats.unknown_payload_type) == (0, 0, 0)
    assert sum(frame.duration_ms for frame in heard) == pytest.approx(1600, abs=60)
    assert frequency(b"".join(f.data for f in heard), 16000) == pytest.approx(440, abs=5)
    assert min(level(frame.data) for frame in heard[3:-3]) > 3000


async def test_a_backend_takes_opus_for_one_of_its_sessions(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0))
    session = await backend.connect(
        "room", "caller", "voice", metadata={"remote_addr": peer.addr, "codecs": ["opus", "PCMU"]}
    )
    told = session.metadata
    assert (told["codec"], told["payload_type"], told["clock_rate"]) == ("opus", 111, 48000)
    await backend.send_audio(session, tone(440, 200, told["sample_rate"]))
    await peer.until(lambda: len(peer.audio_packets(111)) >= 10)
    await backend.close()


@pytest.mark.parametrize(
    "codec",
    [
        PCMU,
        PCMA,
        G722,
        *(Codec("L16", 96, rate) for rate in (8000, 12000, 16000, 24000, 32000, 44100, 48000)),
        Codec("L16", 10, 44100, 2),
        OPUS,
        Codec("opus", 96, fmtp="stereo=1;useinbandfec=1"),
    ],
    ids=lambda codec: f"{codec.rtpmap} {codec.parameters}".strip(),
)
async def test_two_sessions_understand_each_other_both_ways(codec: Codec) -> None:
    mono = speech(codec.sample_rate)[: codec.sample_rate]
    said = np.repeat(mono, codec.audio_channels).tobytes()
    async with call(codecs=[codec]) as (alice, bob):
        hearing = [
            asyncio.create_task(listen(aiter(end), sound_then_silence(200))) for end in (alice, bob)
        ]
        await asyncio.gather(alice.play(said), bob.play(said))
        for heard in await asyncio.gather(*hearing):
            floor = 0.9 if codec.name == "opus" else 0.98  # it keeps the sound, not the wave
            assert likeness(b"".join(frame.data for frame in heard), said) > floor
        for end in (alice, bob):
            stats = end.stats()
            assert (stats.packets_sent, stats.packets_received) == (50, 50)
            assert (stats.packets_lost, stats.late, stats.undecodable) == (0, 0, 0)


async def test_packets_that_ip_has_to_cut_up_are_warned_of_and_arrive_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    codec = Codec("L16", 96, 48000, 2)
    said = np.repeat(speech(48000)[:14400], 2).tobytes()
    async with call(codecs=[codec], ptime_ms=60) as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(200)))
        await alice.play(said)
        heard = await hearing
    assert said in b"".join(frame.data for frame in heard)
    assert "packets of 11532 octets travel in fragments" in caplog.text


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda codec: codec.name)
async def test_plain_bytes_are_taken_and_frames_given_at_the_application_s_rate(
    codec: Codec, rate: int
) -> None:
    said = tone(440, 400, rate)
    async with call(codecs=[codec], sample_rate=rate) as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(100)))
        played = await alice.play(said)
        heard = audible(await hearing)
    assert played.played_ms == pytest.approx(400, abs=1)
    assert {(f.sample_rate, len(f.data)) for f in heard} == {(rate, rate // 25)}
    assert sum(frame.duration_ms for frame in heard) == pytest.approx(400, abs=40)
    assert frequency(b"".join(f.data for f in heard), rate) == pytest.approx(440, abs=5)
    assert level(b"".join(f.data for f in heard[5:-5])) == pytest.approx(7071, rel=0.08)


@pytest.mark.parametrize(
    ("options", "length_ms"),
    [({}, 50 / 3), ({"dtmf_types": {8000: 101}}, 100)],
    ids=["as the page has it", "with its clock"],
)
async def test_rfc4733_s2_1_digits_that_count_at_8000_hz_beside_opus_are_told_once_each(
    peer: Peer, options: dict[str, Any], length_ms: float
) -> None:
    told = asyncio.Queue[tuple[str, float]]()
    async with to(peer, payload_type=111, clock_rate=48000, **options) as session:
        session.on_dtmf(lambda event: told.put_nowait((event.digit, event.duration_ms)))
        number = 0
        for key in (1, 1, 9):
            for n in range(7):
                end = n >= 4
                payload = struct.pack("!BBH", key, 0x8A if end else 10, 160 * min(n + 1, 5))
                packet = rtp(number, 960 * (number - n), 7, payload, pt=101, marker=n == 0)
                peer.send(packet, session.local_addr)
                number += 1
            digit, milliseconds = await asyncio.wait_for(told.get(), 5)
            assert digit == str(key)
            assert milliseconds == pytest.approx(length_ms, abs=1)
        assert told.empty()
