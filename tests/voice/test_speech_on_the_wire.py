"""Voices as they are in the field, through a channel and a real backend to a real peer."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roomkit import (
    AudioChunk,
    AudioFrame,
    AudioPipelineConfig,
    AudioQueue,
    RoomKit,
    RTPVoiceBackend,
    VoiceChannel,
    VoiceSession,
)
from roomkit.voice.pipeline.recorder import WavRecorder
from roomkit.voice.tts.base import TTSProvider
from rtp.sound import tone
from rtp.wire import Peer

Source = Callable[[], Any]


class Voice(TTSProvider):
    """A voice whose audio is whatever `make` gives."""

    def __init__(self, make: Source) -> None:
        self._make = make

    def synthesize_stream(self, text: str, *, voice: str | None = None) -> Any:
        return self._make()


@asynccontextmanager
async def call(
    make: Source = list, **channel: Any
) -> AsyncIterator[tuple[VoiceChannel, VoiceSession, Peer]]:
    with Peer() as peer:
        async with RoomKit() as kit:
            backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)
            phone = VoiceChannel("phone", backend=backend, tts=Voice(make), **channel)
            kit.register_channel(phone)
            room = await kit.create_room()
            await kit.attach_channel(room.id, "phone")
            session = await kit.join(room.id, "phone")
            yield phone, session, peer


async def cut_by_a_socket(ms: int = 400) -> AsyncIterator[AudioChunk]:
    pcm = tone(440, ms, 24000)
    for at in range(0, len(pcm), 4063):
        yield AudioChunk(pcm[at : at + 4063], 24000)


async def bare_bytes() -> AsyncIterator[bytes]:
    pcm = tone(440, 400)
    for at in range(0, len(pcm), 999):
        yield pcm[at : at + 999]


def plain_generator() -> Iterator[AudioChunk]:
    for _ in range(4):
        yield AudioChunk(tone(440, 100), 8000)


async def frames() -> AsyncIterator[AudioFrame]:
    for _ in range(20):
        yield AudioFrame(tone(440, 20, 16000), 16000)


@pytest.mark.parametrize("make", [cut_by_a_socket, bare_bytes, plain_generator, frames])
async def test_a_voice_is_heard_whole_however_it_streams(make: Source) -> None:
    async with call(make) as (phone, session, peer):
        assert await phone.say(session, "hello") is True
        await peer.until(lambda: len(peer.packets) == 20)
        assert await phone.play(session, make()) is True
        await peer.until(lambda: len(peer.packets) == 40)


async def test_a_text_that_a_plain_generator_gives_is_spoken_while_the_loop_goes_on() -> None:
    go = threading.Event()

    def model() -> Iterator[str]:
        yield "One moment. "
        assert go.wait(5)
        yield "Here it is. "

    async with call(plain_generator) as (phone, session, peer):
        speaking = asyncio.create_task(phone.say(session, model()))
        await peer.until(lambda: len(peer.packets) >= 10)  # the first sentence, while it blocks
        go.set()
        assert await speaking is True
        await peer.until(lambda: len(peer.packets) == 40)


async def test_the_whole_of_a_voice_that_was_cut_is_one_chunk() -> None:
    whole = await Voice(cut_by_a_socket).synthesize("hello")
    assert whole.data == tone(440, 400, 24000)
    assert (await Voice(plain_generator).synthesize("hello")).duration_ms == 400


async def test_floats_are_an_error_of_the_voice_and_no_noise() -> None:
    async def floats() -> AsyncIterator[Any]:
        yield np.zeros(160, np.float32)

    async with call(floats) as (phone, session, peer):
        with pytest.raises(ValueError, match="float32"):
            await phone.say(session, "hello")
        assert not peer.packets


async def test_of_a_list_nothing_is_played_if_something_of_it_does_not_fit() -> None:
    long = AudioChunk(tone(440, 2000), 8000)
    half = AudioChunk(b"\1\2\3", 8000)
    other = AudioChunk(tone(440, 20, 16000), 16000)
    async with call() as (phone, session, peer):
        for wrong in (np.zeros(160, np.float32), [half, other]):
            audio: Any = [long, *(wrong if isinstance(wrong, list) else [wrong])]
            with pytest.raises(ValueError, match="float32|middle of a sample"):
                await phone.play(session, audio)
        assert not peer.packets
        assert await phone.play(session, [half, AudioChunk(b"\4", 8000), other]) is True


async def test_a_realtime_model_s_response_is_heard_whole_and_its_rest_dropped_when_cut() -> None:
    async with call() as (phone, session, peer):
        response = AudioQueue()
        speaking = asyncio.create_task(phone.play(session, response))
        for _ in range(5):
            response.put(AudioChunk(tone(440, 400, 24000), 24000))
        response.end()
        assert await speaking is True
        await peer.until(lambda: len(peer.packets) == 100)
        response = AudioQueue()
        speaking = asyncio.create_task(phone.play(session, response))
        response.put(tone(440, 5000))
        await peer.until(lambda: len(peer.packets) >= 110)
        assert await phone.interrupt(session) is True
        assert await speaking is False
        assert response.put(tone(440, 20)) is False


async def test_a_source_that_plays_already_is_refused_and_goes_on_undisturbed() -> None:
    async with call() as (phone, session, peer):
        source = cut_by_a_socket(1500)  # more than is read ahead
        first = asyncio.create_task(phone.play(session, source))
        await peer.until(lambda: len(peer.packets) >= 1)
        with pytest.raises(RuntimeError, match="is played already"):
            await phone.play(session, source)
        assert await first is True
        await peer.until(lambda: len(peer.packets) == 75)


async def test_a_response_that_is_cut_before_its_turn_takes_no_more() -> None:
    async with call() as (phone, session, peer):
        first = asyncio.create_task(phone.play(session, tone(440, 5000)))
        await peer.until(lambda: len(peer.packets) >= 1)
        response = AudioQueue()
        waiting = asyncio.create_task(phone.play(session, response))
        await asyncio.sleep(0)
        assert response.put(tone(440, 20)) is True
        assert await phone.interrupt(session) is True
        assert (await first, await waiting) == (False, False)
        assert response.put(tone(440, 20)) is False


async def test_a_pause_in_a_response_is_in_its_recording(tmp_path: Path) -> None:
    """The caller heard it: what comes after a tool call is not glued to what came before it."""
    left = threading.Event()
    async with call(
        pipeline=AudioPipelineConfig(recorder=WavRecorder(tmp_path, channels="split"))
    ) as (
        phone,
        session,
        peer,
    ):

        async def answer() -> AsyncIterator[AudioChunk]:
            yield AudioChunk(tone(440, 200), 8000)
            await peer.until(lambda: len(peer.packets) >= 10)
            await asyncio.to_thread(left.wait, 0.5)  # the tool takes its time
            yield AudioChunk(tone(440, 200), 8000)

        assert await phone.play(session, answer()) is True
        packets = peer.packets
    heard_ms = (packets[10].at - packets[0].at) * 1000
    (file,) = tmp_path.glob("*-out.wav")
    with wave.open(str(file), "rb") as reader:
        pcm = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
    loud = np.flatnonzero(np.abs(pcm) > 100)
    gaps = np.flatnonzero(np.diff(loud) > 800)
    assert len(gaps) == 1
    recorded_ms = (loud[gaps[0] + 1] - loud[0]) / 8
    assert heard_ms > 600
    assert abs(recorded_ms - heard_ms) < 100
