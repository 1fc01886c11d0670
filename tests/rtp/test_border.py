"""Audio at the border, on the wire: what is given is what the far end hears, or an error."""

from __future__ import annotations

import array
import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.peers import until
from roomkit import AudioChunk, AudioFrame, RTPVoiceBackend
from roomkit.rtp import RTPSession
from roomkit.rtp.codecs import Codec
from roomkit.voice.events import DTMFEvent
from rtp.sound import frequency, tone
from rtp.wire import Peer

LINEAR = Codec("L16", 96, 8000)
WHO = contextvars.ContextVar("WHO", default="nobody")


def to(peer: Peer, **options: Any) -> RTPSession:
    return RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr, **options)


def heard(peer: Peer) -> bytes:
    """What left as L16, in the order of the numbers, in our byte order."""
    samples = array.array("h", b"".join(packet.payload for packet in peer.packets))
    samples.byteswap()
    return samples.tobytes()


async def in_pieces(parts: list[Any]) -> AsyncIterator[Any]:
    for part in parts:
        yield part


def plainly(parts: list[Any]) -> Iterator[Any]:
    yield from parts


FORMS: dict[str, Callable[[bytes], Any]] = {
    "bytes": lambda part: part,
    "chunks": lambda part: AudioChunk(part, 8000),
    "bytearrays": bytearray,
}
SHAPES: dict[str, Callable[[list[Any]], Any]] = {
    "async generator": in_pieces,
    "generator": plainly,
    "list": list,
}


@settings(max_examples=12, deadline=None)
@given(
    samples=st.lists(st.integers(-32768, 32767), min_size=160, max_size=480),
    cuts=st.lists(st.integers(0, 960), max_size=12),
    form=st.sampled_from(sorted(FORMS)),
    shape=st.sampled_from(sorted(SHAPES)),
)
def test_any_cuts_of_any_audio_play_the_same_samples(
    samples: list[int], cuts: list[int], form: str, shape: str
) -> None:
    pcm = array.array("h", samples).tobytes()
    places = sorted({0, len(pcm), *(cut for cut in cuts if cut < len(pcm))})
    parts = [FORMS[form](pcm[begin:end]) for begin, end in pairwise(places)]

    async def main() -> bytes:
        with Peer() as peer:
            async with to(peer, codecs=[LINEAR]) as session:
                await session.play(SHAPES[shape](parts))
                await peer.until(lambda: len(heard(peer)) >= len(pcm))
            return heard(peer)

    on_the_wire = asyncio.run(main())
    assert on_the_wire[: len(pcm)] == pcm
    assert not any(on_the_wire[len(pcm) :])  # its last packet is filled up


async def test_stereo_that_is_cut_within_a_frame_of_four_octets_keeps_its_sides(
    peer: Peer,
) -> None:
    left, right = np.full(800, 1000, "<i2"), np.full(800, -2000, "<i2")
    pcm = np.stack([left, right], axis=1).tobytes()
    parts = [AudioChunk(pcm[at : at + 997], 8000, 2) for at in range(0, len(pcm), 997)]
    async with to(peer, codecs=[Codec("L16", 96, 8000, 2)]) as session:
        await session.play(in_pieces(parts))
        await peer.until(lambda: len(heard(peer)) >= len(pcm))
    assert heard(peer)[: len(pcm)] == pcm


async def test_live_audio_that_is_cut_within_a_sample_is_joined(peer: Peer) -> None:
    pcm = tone(440, 200)
    async with to(peer, codecs=[LINEAR]) as session:
        taken = [session.send(pcm[at : at + 321]) for at in range(0, len(pcm), 321)]
        assert sum(taken) == len(pcm)
        assert await session.wait_playback() is True
        await peer.until(lambda: len(heard(peer)) >= len(pcm))
    assert heard(peer)[: len(pcm)] == pcm


async def test_live_audio_of_another_format_in_the_middle_of_a_sample_is_refused(
    peer: Peer,
) -> None:
    async with to(peer) as session:
        assert session.send(b"\0\0\0") == 3
        with pytest.raises(ValueError, match="live audio: the format changed in the middle"):
            session.send(AudioChunk(bytes(640), 16000))
        assert session.send(AudioChunk(bytes(640), 16000)) == 640


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
async def test_a_frame_is_heard_in_its_own_rate_however_it_is_given(peer: Peer, rate: int) -> None:
    frames = [AudioFrame(tone(500, 200, rate), rate, metadata={"kind": "received"})]
    async with to(peer, codecs=[LINEAR]) as session:
        await session.play(frames[0])
        await session.play(in_pieces(frames))
        assert session.send(frames[0]) == len(frames[0].data)
        assert await session.wait_playback() is True
    await peer.until(lambda: len(peer.packets) == 30)
    pcm = heard(peer)
    assert abs(frequency(pcm) - 500) < 5


async def test_a_bridge_between_rates_forwards_frames_as_they_are(peer: Peer) -> None:
    async with to(peer, codecs=["G722"]) as wide, to(peer, codecs=[LINEAR]) as narrow:
        unsubscribe = wide.on_frame(narrow.send)
        frame = AudioFrame(tone(700, 20, 16000), 16000)
        wide._media.frames.call(frame)
        unsubscribe()
        assert await narrow.wait_playback() is True
        await peer.until(lambda: len(peer.packets) >= 1)
    assert len(peer.packets[0].payload) == 320


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(160, np.float32),
        np.zeros(160, np.int32),
        memoryview(array.array("d", bytes(1280))),
        b"RIFF\0\1\0\0WAVE",
    ],
    ids=["float32", "int32", "view", "wav"],
)
async def test_noise_is_refused_at_every_entrance_and_nothing_leaves(
    peer: Peer, audio: Any
) -> None:
    backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)
    call = await backend.connect("r", "p", "c")
    async with to(peer) as session:
        for source in (audio, [bytes(320), audio], in_pieces([audio]), plainly([audio])):
            with pytest.raises(ValueError, match="fit"):
                await session.play(source)
        for source in (audio, [bytes(320), audio]):
            with pytest.raises(ValueError, match="fit"):
                await backend.send_audio(call, source)
        with pytest.raises(ValueError, match="fit"):
            session.send(audio)
        with pytest.raises(ValueError, match="fit"):
            backend.send_audio_sync(call, audio)
    await backend.close()
    assert not peer.packets


# --- what was taken ------------------------------------------------------------------------------


async def test_live_audio_is_taken_whole_or_not_at_all_and_its_loss_told_once(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)
    session = await backend.connect("r", "p", "c")
    with caplog.at_level(logging.WARNING):
        taken = [
            backend.send_audio_sync(session, AudioChunk(tone(440, 200, 24000), 24000))
            for _ in range(25)
        ]
    assert set(taken) == {9600, 0}
    dropped = 9600 * taken.count(0)
    assert backend.stats(session).live_bytes_dropped == dropped
    assert caplog.text.count("live audio is dropped: it comes faster than it is played") == 1
    assert "AudioQueue" in caplog.text
    backend.end_of_response(session)
    assert await backend.wait_playback(session) is False
    assert await backend.wait_playback(session) is False  # whoever asks
    await peer.until(lambda: len(peer.packets) == 10 * taken.count(9600))
    # The next response is another matter.
    assert backend.send_audio_sync(session, tone(440, 100)) == 1600
    assert await backend.wait_playback(session) is True
    await backend.close()


async def test_live_audio_while_something_plays_is_told_as_that(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(tone(440, 100)))
        await peer.until(lambda: len(peer.packets) >= 1)
        assert session.send(tone(440, 20)) == 0
        assert session.send(tone(440, 20)) == 0
        assert await session.wait_playback() is False
        await playing
        assert session.send(tone(440, 20)) == 320
        assert await session.wait_playback() is True
    assert caplog.text.count("while something else plays") == 1


async def test_a_dropped_piece_with_half_a_sample_shifts_nothing(peer: Peer) -> None:
    pcm = tone(440, 1000)
    async with to(peer, codecs=[LINEAR], lead_ms=100) as session:
        parts = [pcm[at : at + 321] for at in range(0, len(pcm), 321)]
        taken = [session.send(part) for part in parts]
        assert 0 in taken
        await session.wait_playback()
        tail = tone(300, 40)
        assert session.send(tail) == len(tail)
        await session.wait_playback()
    await peer.until(lambda: heard(peer)[-len(tail) :] == tail)


# --- plain generators ----------------------------------------------------------------------------


async def test_a_generator_that_blocks_is_interrupted_at_once(peer: Peer) -> None:
    go, closed = threading.Event(), threading.Event()

    def voice() -> Iterator[bytes]:
        try:
            yield tone(440, 2000)
            assert go.wait(10)
            yield tone(440, 2000)
        finally:
            closed.set()

    async with to(peer) as session:
        playing = asyncio.create_task(session.play(voice()))
        await peer.until(lambda: len(peer.packets) >= 2)
        begun = time.monotonic()
        assert session.cancel() is True
        assert (await playing).cancelled
        assert time.monotonic() - begun < 1
        # The next one does not wait for it.
        assert (await session.play(tone(440, 40))).played_ms == 40
        go.set()
        assert await asyncio.to_thread(closed.wait, 5)


async def test_many_calls_each_read_their_generator_in_one_thread(peer: Peer) -> None:
    threads: set[threading.Thread] = set()

    def voice() -> Iterator[bytes]:
        for _ in range(10):
            threads.add(threading.current_thread())
            yield tone(440, 20)

    async with to(peer) as one, to(peer) as two:
        await asyncio.gather(*(each.play(voice()) for each in (one, two, one, two)))
    assert len(threads) == 4
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()


# --- contexts and callbacks ----------------------------------------------------------------------


def enough(told: list[Any]) -> bool:
    return len(told) >= 6


async def press(peer: Peer, session_addr: tuple[str, int], key: int) -> None:
    peer.ssrc += 1
    peer.greet(session_addr)
    peer.digit(session_addr, key)


async def test_callbacks_of_a_session_run_in_the_context_in_which_it_was_opened() -> None:
    seen: dict[str, set[tuple[str, str]]] = {}

    async def call(name: str) -> None:
        WHO.set(name)
        told = seen[name] = set()
        with Peer() as peer:
            async with to(peer) as session:

                async def later(event: DTMFEvent) -> None:
                    await asyncio.sleep(0)
                    told.add(("async digit", WHO.get()))

                session.on_frame(lambda _: told.add(("frame", WHO.get())))
                session.on_dtmf(lambda _: told.add(("digit", WHO.get())))
                session.on_dtmf(later)
                session.on_played(lambda _: told.add(("played", WHO.get())))
                await session.play(tone(440, 40))
                await press(peer, session.local_addr, 5)
                await until(lambda: len(told) >= 4, "all are told")

    await asyncio.gather(*(asyncio.create_task(call(name)) for name in ("alice", "bob", "carol")))
    for name, told in seen.items():
        assert told == {(what, name) for what in ("frame", "digit", "async digit", "played")}


async def test_so_do_those_of_a_backend_s_sessions() -> None:
    seen: dict[str, set[str]] = {}
    with Peer() as peer:
        backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)

        async def later(session: Any, event: DTMFEvent) -> None:
            await asyncio.sleep(0)
            seen[session.participant_id].add("async " + WHO.get())

        backend.on_dtmf_received(lambda s, _: seen[s.participant_id].add(WHO.get()))
        backend.on_dtmf_received(later)

        async def call(name: str) -> None:
            WHO.set(name)
            seen[name] = set()
            session = await backend.connect("r", name, "c")
            await press(peer, session.metadata["local_addr"], 5)
            await until(lambda: len(seen[name]) >= 2, "all are told")

        for name in ("alice", "bob"):
            await asyncio.create_task(call(name))
        assert seen == {name: {name, "async " + name} for name in ("alice", "bob")}
        await backend.close()


async def test_callbacks_that_return_coroutines_are_awaited_alike_on_session_and_backend() -> None:
    order: dict[str, list[Any]] = {"session": [], "backend": []}
    with Peer() as peer:
        backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)

        async def work(where: str, key: str) -> None:
            order[where].append(("begins", key))
            await asyncio.sleep(0)
            order[where].append(("ends", key))

        backend.on_dtmf_received(lambda _, event: work("backend", event.digit))
        call = await backend.connect("r", "p", "c")
        async with to(peer) as session:
            session.on_dtmf(lambda event: work("session", event.digit))
            for where, address in (
                ("session", session.local_addr),
                ("backend", call.metadata["local_addr"]),
            ):
                peer.ssrc += 1
                peer.greet(address)
                for key in (1, 2, 3):
                    peer.digit(address, key)
                await until(partial(enough, order[where]), "all are told")
        await backend.close()
    assert (
        order["session"]
        == order["backend"]
        == [(what, key) for key in "123" for what in ("begins", "ends")]
    )
