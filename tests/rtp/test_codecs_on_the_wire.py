"""Each codec over real sockets: what we send is decoded by another implementation, what another
implementation encodes is decoded by us."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import G722 as spandsp  # noqa: N811 (a class, whatever the linter takes its name for)
import numpy as np
import pytest

from interop.sound import speech
from roomkit.rtp import Codec
from roomkit.rtp.codecs import G722, PCMA, PCMU
from rtp.sound import likeness, listen, sound_then_silence
from rtp.test_session import call, to
from rtp.wire import Peer


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
    async with to(peer, codecs=[G722]) as session:
        hearing = asyncio.create_task(listen(aiter(session), sound_then_silence(200)))
        packets = [code[at : at + 160] for at in range(0, len(code), 160)]
        await peer.stream(session.local_addr, packets, pt=9)
        heard = await hearing
    assert expected in b"".join(frame.data for frame in heard)
    assert {(frame.sample_rate, len(frame.data)) for frame in heard} == {(16000, 640)}


@pytest.mark.parametrize(
    "codec",
    [
        PCMU,
        PCMA,
        G722,
        *(Codec("L16", 96, rate) for rate in (8000, 12000, 16000, 24000, 32000, 44100, 48000)),
        Codec("L16", 10, 44100, 2),
    ],
    ids=lambda codec: codec.rtpmap,
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
            assert likeness(b"".join(frame.data for frame in heard), said) > 0.98
        for end in (alice, bob):
            stats = end.stats()
            assert (stats.packets_sent, stats.packets_received) == (50, 50)
            assert (stats.packets_lost, stats.late, stats.undecodable) == (0, 0, 0)
