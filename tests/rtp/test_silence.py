"""What is heard and sent while nobody talks, over real sockets."""

from __future__ import annotations

import asyncio
import math
from array import array

import pytest

from roomkit.rtp import Codec, RTPOptions, RTPSession
from roomkit.voice.frame import AudioFrame
from rtp.sound import listen
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
