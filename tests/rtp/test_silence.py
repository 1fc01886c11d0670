"""What is heard and sent while nobody talks, over real sockets."""

from __future__ import annotations

import asyncio
import math
from array import array
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from interop.peers import oracle
from roomkit.rtp import Codec, RTPOptions, RTPSession
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.frame import AudioFrame
from rtp.sound import listen, tone
from rtp.wire import Peer

LOOPBACK = "127.0.0.1"


def dbov(pcm: bytes) -> float:
    """The level in dB below a square wave at the overload point (RFC 3389 §3.1)."""
    samples = array("h", pcm)
    power = sum(sample * sample for sample in samples) / len(samples)
    return 10 * math.log10(power / 32768**2)


async def test_rfc3389_a_pause_that_was_described_is_that_noise() -> None:
    def enough(frames: list[AudioFrame]) -> bool:
        return sum(frame.kind == "comfort_noise" for frame in frames) >= 25

    with Peer() as peer:
        async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr) as session:
            hearing = asyncio.create_task(listen(aiter(session), enough))
            peer.greet(session.local_addr)
            peer.audio(session.local_addr, bytes([42]), pt=13)
            heard = await hearing
            stats = session.stats()
    noise = b"".join(frame.data for frame in heard if frame.kind == "comfort_noise")
    assert dbov(noise) == pytest.approx(-42, abs=1)
    assert all(frame.metadata["kind"] == frame.kind for frame in heard if frame.kind != "received")
    assert stats.frames_comfort_noise >= 25
    assert (stats.frames_concealed, stats.unknown_payload_type) == (0, 0)


def coloured(*filter_taps: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A second of noise whose samples depend on the ones before them by these factors."""
    made = np.random.default_rng(3).standard_normal(8000)
    for at in range(len(filter_taps), len(made)):
        made[at] += sum(tap * made[at - 1 - lag] for lag, tap in enumerate(filter_taps))
    return np.asarray(made * 400, dtype=np.int16)


def correlations(pcm: np.ndarray[Any, Any]) -> list[float]:
    """How much samples resemble those one to four before them: the shape of the spectrum."""
    samples = pcm.astype(float)
    power = float(samples @ samples)
    return [float(samples[lag:] @ samples[:-lag]) / power for lag in range(1, 5)]


@pytest.mark.parametrize(
    "taps", [(), (0.9,), (-0.8,), (0.0, -0.7)], ids=["white", "dull", "sharp", "hollow"]
)
async def test_rfc3389_3_noise_is_of_the_level_that_ffmpeg_measured_and_sounds_like_its_own(
    taps: tuple[float, ...],
) -> None:
    av = oracle("av", "pip install 'av<17'")
    noise = coloured(*taps)
    encoder: Any = av.CodecContext.create("comfortnoise", "w")
    encoder.sample_rate, encoder.format, encoder.layout = 8000, "s16", "mono"
    encoder.open()
    described: list[bytes] = []
    for start in range(0, 7 * 640, 640):
        part = av.AudioFrame.from_ndarray(noise[None, start : start + 640], "s16", "mono")
        part.sample_rate = 8000
        described += map(bytes, encoder.encode(part))
    assert len(described[-1]) == 11, "a level and ten coefficients"
    decoder: Any = av.CodecContext.create("comfortnoise", "r")
    decoder.sample_rate, decoder.format, decoder.layout = 8000, "s16", "mono"
    # Again and again the same description, with the energy that its decoder is slow to reach.
    frames = [decoder.decode(av.Packet(b"\x00" + described[-1][1:]))[0] for _ in range(1000)]
    theirs = np.concatenate([frame.to_ndarray()[0] for frame in frames[10:]])

    def enough(frames: list[AudioFrame]) -> bool:
        return sum(frame.kind == "comfort_noise" for frame in frames) >= 75

    with Peer() as peer:
        async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr) as session:
            hearing = asyncio.create_task(listen(aiter(session), enough))
            peer.greet(session.local_addr)
            peer.audio(session.local_addr, described[-1], pt=13)
            heard = [frame.data for frame in await hearing if frame.kind == "comfort_noise"]
    made = np.frombuffer(b"".join(heard[5:]), dtype="<i2")
    # Its decoder makes noise 6 dB below the level that RFC 3389 §3.1 defines, which its encoder
    # keeps to. So the level is held against what was measured: the last 80 ms and what the encoder
    # remembers of those before, in steps of 1 dB.
    assert dbov(made.tobytes()) == pytest.approx(dbov(noise[-1280:].tobytes()), abs=2)
    # By Bartlett's formula 1.4 s of such noise deviates by 0.015; this is six times that.
    assert correlations(made) == pytest.approx(correlations(theirs), abs=0.09)


def test_types_of_comfort_noise_that_cannot_be_are_refused_by_name() -> None:
    for types, text in (
        ({8000: 101}, "comfort_noise_types: 101 is also the payload type of telephone events"),
        ({8000: 0}, "comfort_noise_types: 0 is also the payload type of PCMU"),
        ({16000: 13}, "comfort_noise_types: 13 at 16000 Hz; 13 at 8000 Hz or a dynamic type"),
        ({8000: 72}, "comfort_noise_types: 72 at 8000 Hz"),
        ([13], r"comfort_noise_types: \[13\]; a dict such as {8000: 13}, or None, fits"),
    ):
        with pytest.raises(ValueError, match=text):
            RTPOptions(comfort_noise_types=types)  # type: ignore[arg-type]
    wide = Codec("L16", 96, 16000)
    assert RTPOptions(codecs=[wide], comfort_noise_types={8000: 13, 16000: 98}).noise[16000] == 98


async def test_rfc6263_keep_alives_of_the_far_end_are_counted_and_make_no_frames() -> None:
    with Peer() as peer:
        async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr) as session:
            hearing = asyncio.create_task(listen(aiter(session), lambda heard: len(heard) >= 10))
            peer.send(b"", session.local_addr)  # §4.1
            peer.audio(session.local_addr, b"", pt=126)  # §4.6
            peer.greet(session.local_addr)
            heard = await hearing
            stats = session.stats()
    assert [frame.kind for frame in heard[:5]] == ["received"] * 5
    assert heard[0].timestamp_ms == 0
    assert (stats.keepalives_received, stats.malformed, stats.unknown_payload_type) == (2, 0, 0)


async def test_silence_as_fill_leaves_from_the_beginning_and_is_no_playback() -> None:
    with Peer() as peer:
        async with RTPSession(
            local_addr=(LOOPBACK, 0), remote_addr=peer.addr, fill="silence"
        ) as session:
            await peer.until(lambda: len(peer.packets) >= 10)
            assert (session.playing, session.position.playback) == (False, 0)
            playback = await session.play(tone(440, 200))
            await peer.until(lambda: peer.packets[-1].payload == b"\xff" * 160)
    assert playback.played_ms == 200
    packets = peer.audio_packets()
    assert {packet.payload for packet in packets[:10]} == {b"\xff" * 160}
    assert [number for number, packet in enumerate(packets) if packet.marker] == [0]
    for packet, following in pairwise(packets):
        assert (following.seq - packet.seq) % 65536 == 1
        assert (following.timestamp - packet.timestamp) % 2**32 == 160
    said = [packet for packet in packets if packet.payload != b"\xff" * 160]
    assert len(said) == 10


async def test_rfc3389_4_comfort_noise_as_fill_follows_speech() -> None:
    options = {"fill": "comfort_noise", "comfort_noise_level": 55}
    with Peer() as peer:
        backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=peer.addr)
        session = await backend.connect("room", "caller", "voice", options=options)
        await backend.send_audio(session, tone(440, 200))
        await peer.until(lambda: peer.packets[-1].payload_type == 13)
        await backend.send_audio(session, tone(440, 100))
        await backend.close()
    spoken = [packet for packet in peer.packets if packet.payload_type == 0]
    described = [packet for packet in peer.packets if packet.payload_type == 13]
    assert {packet.payload for packet in described} == {bytes([55])}
    assert [number for number, packet in enumerate(spoken) if packet.marker] == [0, 10]


async def test_rfc6263_4_6_a_keep_alive_leaves_when_nothing_else_does() -> None:
    with Peer() as peer:
        async with RTPSession(
            local_addr=(LOOPBACK, 0),
            remote_addr=peer.addr,
            keepalive=1,
            comfort_noise_send_types={},
        ) as session:
            await peer.until(lambda: len(peer.packets) >= 2)
            assert session.stats().keepalives_sent >= 2
    first, second = peer.packets[:2]
    assert (first.payload, first.payload_type, first.marker) == (b"", 127, False)
    assert (second.seq - first.seq) % 65536 == 1
    assert (second.timestamp - first.timestamp) % 2**32 == pytest.approx(8000, abs=160)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fill": "noise"}, "fill: 'noise'; .*'none', 'silence'.*'comfort_noise' fits"),
        ({"comfort_noise_level": 128}, "comfort_noise_level: 128"),
        ({"keepalive": 0.5}, "keepalive: 0.5; 1 to 3600 seconds, or None, fits"),
        ({"keepalive": 0}, "keepalive: 0"),
        ({"comfort_noise_send_types": {16000: 0}}, "comfort_noise_send_types: 0 is also the"),
    ],
)
def test_what_cannot_fill_silence_is_refused_by_name(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RTPOptions(**options)
