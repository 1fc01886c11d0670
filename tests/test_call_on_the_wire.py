"""Call on real sockets: two parties of different codecs bridged, keys while a prompt plays, and
silence within a frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from roomkit import AudioChunk, AudioPipelineConfig, Call, RoomKit, RTPVoiceBackend, VoiceChannel
from roomkit.rtp import RTPSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import EnergyVAD
from rtp.leaks import no_leaks
from rtp.sound import frequency, level
from support.calls import soon
from support.sound import tone

__all__ = ["no_leaks"]

LOOPBACK = "127.0.0.1"
pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def parties(*codecs: str) -> AsyncIterator[list[tuple[Call, RTPSession]]]:
    """A call for each codec, and who is at its other end, both of whom have been heard."""
    async with RoomKit() as kit:
        room = await kit.create_room()
        found = []
        phones = [
            RTPSession(local_addr=(LOOPBACK, 0), codecs=[codec], source_policy="learn")
            for codec in codecs
        ]
        for codec, phone in zip(codecs, phones, strict=True):
            await phone.open()
            backend = RTPVoiceBackend(
                local_addr=(LOOPBACK, 0), remote_addr=phone.local_addr, codecs=[codec]
            )
            pipeline = AudioPipelineConfig(vad=EnergyVAD())
            channel = VoiceChannel(codec, backend=backend, pipeline=pipeline)
            kit.register_channel(channel)
            await kit.attach_channel(room.id, codec)
            session = await kit.join(room.id, codec, participant_id=codec)
            call = Call(kit, channel, session)
            await call.play(AudioChunk(bytes(3200), 8000))  # now the phone knows whom to talk to
            found.append((call, phone))
        try:
            yield found
        finally:
            for phone in phones:
                await phone.close()


async def test_two_callers_of_different_rates_hear_each_other_and_each_other_s_keys() -> None:
    async with parties("PCMU", "G722") as ((one, x), (other, y)):
        heard: tuple[list[AudioFrame], list[AudioFrame]] = ([], [])
        keys: asyncio.Queue[DTMFEvent] = asyncio.Queue()
        x.on_frame(heard[0].append)
        y.on_frame(heard[1].append)
        y.on_dtmf(keys.put_nowait)
        bridge = asyncio.create_task(one.bridge(other))
        await asyncio.gather(
            x.play(AudioChunk(tone(2000, hz=500), 8000)),
            y.play(AudioChunk(tone(2000, hz=700), 8000)),
        )
        x.send_dtmf("5")
        assert (await soon(keys.get())).digit == "5"
        for frames, hz in zip(heard, (700, 500), strict=True):
            loud = [frame for frame in frames if level(frame.data) > 300]
            # On a busy machine a listener's buffer stretches or cuts some frames of it.
            assert sum(frame.duration_ms for frame in loud) == pytest.approx(2000, abs=300)
            middle = loud[20:-20]
            found = frequency(b"".join(frame.data for frame in middle), middle[0].sample_rate)
            assert found == pytest.approx(hz, rel=0.02)
        await y.close("enough")
        assert await soon(bridge) is other
        assert other.reason == "bye"
        assert not one.over


async def test_a_key_silences_a_prompt_and_is_the_answer() -> None:
    async with parties("PCMU") as ((call, phone),):
        asked = asyncio.create_task(call.key(prompt=AudioChunk(tone(20_000), 8000)))
        frames = aiter(phone)
        async with asyncio.timeout(10):
            while level((await anext(frames)).data) < 300:
                pass
        phone.send_dtmf("7", 100)
        assert await soon(asked) == "7"
        assert not call.backend.is_playing(call.session)
        # What is on its way and in the phone's buffer is heard, and then nothing more.
        async with asyncio.timeout(10):
            while level((await anext(frames)).data) > 300:
                pass
            rest = [await anext(frames) for _ in range(25)]
        assert max(level(frame.data) for frame in rest) < 300
