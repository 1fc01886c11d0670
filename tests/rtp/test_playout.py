"""One after another, paced by the media clock, and gone at once when interrupted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from roomkit.rtp import Playback, PlaybackEnded, PlaybackStarted, RTPSession
from roomkit.rtp.events import RTPEvent
from roomkit.voice.base import AudioChunk, PlaybackPosition
from rtp.sound import tone
from rtp.wire import Peer
from support.source import Source


def to(peer: Peer, *, lead_ms: int = 1000) -> RTPSession:
    return RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr, lead_ms=lead_ms)


# --- pacing --------------------------------------------------------------------------------------


async def test_audio_leaves_in_real_time_one_packet_per_20_ms(peer: Peer) -> None:
    async with to(peer) as session:
        played = await session.play(tone(440, 1000))
        await peer.until(lambda: len(peer.packets) == 50)
    assert played == Playback(1, 1000.0, cancelled=False)
    first, *_, last = peer.packets
    assert last.at - first.at == pytest.approx(0.98, abs=0.02)
    assert [packet.marker for packet in peer.packets] == [True] + [False] * 49
    for packet, following in pairwise(peer.packets):
        assert (following.seq - packet.seq) % 65_536 == 1
        assert (following.timestamp - packet.timestamp) % 2**32 == 160


async def test_playbacks_at_the_same_time_follow_one_another_without_a_gap(peer: Peer) -> None:
    async with to(peer) as session:
        results = await asyncio.gather(*(session.play(tone(440, 100)) for _ in range(4)))
        await peer.until(lambda: len(peer.packets) == 20)
    assert results == [Playback(n, 100.0, cancelled=False) for n in (1, 2, 3, 4)]
    assert len({packet.seq for packet in peer.packets}) == 20
    assert {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(peer.packets)} == {160}
    assert sum(packet.marker for packet in peer.packets) == 1


async def test_a_pause_advances_the_timestamp_but_not_the_sequence(peer: Peer) -> None:
    async with to(peer) as session:
        await session.play(tone(440, 40))
        peer.greet(session.local_addr)
        frames = aiter(session)
        for _ in range(10):
            await anext(frames)
        await session.play(tone(440, 40))
        await peer.until(lambda: len(peer.packets) == 4)
    a, b, c, d = peer.packets
    assert [packet.marker for packet in (a, b, c, d)] == [True, False, True, False]
    assert (c.seq - b.seq) % 65_536 == 1
    pause = (c.timestamp - b.timestamp) % 2**32
    assert pause >= 10 * 160
    assert pause / 8000 == pytest.approx(c.at - b.at, abs=0.025)


async def test_a_fast_source_is_read_ahead_by_the_lead_and_no_further(peer: Peer) -> None:
    source = Source()
    async with to(peer, lead_ms=500) as session:
        playing = asyncio.create_task(session.play(source.chunks()))
        await peer.until(lambda: len(peer.packets) >= 25)
        played_ms = len(peer.packets) * 20
        # One chunk of 100 ms may be in hand beside the lead, and a tick under way.
        assert source.read * 100 <= played_ms + 500 + 100 + 60
        assert session.cancel()
        await playing


async def test_no_packet_is_missing_when_the_program_stalls_for_700_ms_at_any_moment(
    peer: Peer,
) -> None:
    def more_than(count: int) -> bool:
        return len(peer.packets) > count

    async with to(peer) as session:
        playing = asyncio.create_task(session.play(Source().chunks()))
        for stall in range(4):
            # Full by then, and at another point between two requests for more each time.
            for _ in range(25 + 7 * stall):
                seen = len(peer.packets)
                await peer.until(partial(more_than, seen))
            time.sleep(0.7)  # sleep: the stall
        session.cancel()
        await playing
    assert len(peer.packets) > 250
    for packet, following in pairwise(peer.packets):
        assert (following.timestamp - packet.timestamp) % 2**32 == 160


async def test_sources_of_every_kind_are_played_to_the_end(peer: Peer) -> None:
    async def asynchronous() -> AsyncIterator[AudioChunk | bytes]:
        yield tone(440, 20)
        yield AudioChunk(tone(440, 20, 16000), 16000, is_final=True)

    def synchronous() -> Iterator[bytes]:
        yield tone(440, 20)
        yield b""
        yield tone(440, 20)

    async with to(peer) as session:
        assert (await session.play(asynchronous())).played_ms == 40
        assert (await session.play(synchronous())).played_ms == 40
        assert (await session.play([AudioChunk(tone(440, 40), 8000)])).played_ms == 40
        assert (await session.play(bytearray(tone(440, 40)))).played_ms == 40
        assert await session.play(b"") == Playback(5, 0.0, cancelled=False)
        assert await session.play([]) == Playback(6, 0.0, cancelled=False)


async def test_samples_that_the_source_cut_in_two_are_whole_on_the_wire(peer: Peer) -> None:
    pcm = tone(440, 100)
    async with to(peer) as session:
        await session.play(pcm)
        await session.play([pcm[:333], pcm[333:334], pcm[334:1001], pcm[1001:]])
        await peer.until(lambda: len(peer.packets) == 10)
    payloads = [packet.payload for packet in peer.packets]
    assert payloads[:5] == payloads[5:]


async def test_more_than_the_lead_in_one_piece_is_played_whole(peer: Peer) -> None:
    pcm = np.arange(0, 4000, dtype="<i2").repeat(2).tobytes()  # 1 s that differs everywhere
    async with to(peer, lead_ms=100) as session:
        assert (await session.play(pcm)).played_ms == 1000
        await peer.until(lambda: len(peer.packets) == 50)


# --- interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize("queued", ["bytes", "stream"])
async def test_after_a_cancel_at_most_one_packet_leaves(peer: Peer, queued: str) -> None:
    async with to(peer) as session:
        audio = tone(440, 10_000) if queued == "bytes" else Source().chunks()
        playing = asyncio.create_task(session.play(audio))
        await peer.until(lambda: len(peer.packets) >= 5)
        assert session.cancel() is True
        count = len(peer.packets)
        assert session.cancel() is False
        assert not session.playing
        result = await playing
        assert result.cancelled
        heard = int(result.played_ms // 20)
        assert heard - count <= 1
        await session.play(tone(880, 40))  # the next one is heard at once
        await peer.until(lambda: len(peer.packets) >= heard + 2)
    assert len(peer.packets) == heard + 2


async def test_a_cancel_ends_what_waits_too(peer: Peer) -> None:
    sources = [Source() for _ in range(3)]
    async with to(peer) as session:
        playing = [asyncio.create_task(session.play(source.chunks())) for source in sources]
        await peer.until(lambda: len(peer.packets) >= 2)
        assert session.cancel()
        results = await asyncio.gather(*playing)
    assert [result.cancelled for result in results] == [True] * 3
    assert [result.played_ms for result in results[1:]] == [0, 0]
    assert [source.read for source in sources[1:]] == [0, 0]


async def test_a_cancel_reaches_a_source_that_gives_nothing(peer: Peer) -> None:
    source = Source(stall_after=1)
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(source.chunks()))
        await peer.until(lambda: len(peer.packets) == 5)
        assert session.cancel()
        result = await playing
    assert result == Playback(1, 100.0, cancelled=True)
    assert source.closed


async def test_cancelling_from_another_thread_works(peer: Peer) -> None:
    async with to(peer) as session:
        playing = [asyncio.create_task(session.play(tone(440, 5000))) for _ in range(2)]
        await peer.until(lambda: len(peer.packets) >= 2)
        assert await asyncio.to_thread(session.cancel)
        assert all(result.cancelled for result in await asyncio.gather(*playing))


async def test_cancelling_a_task_drops_its_audio_and_not_that_before_or_behind(
    peer: Peer,
) -> None:
    async with to(peer) as session:
        first = asyncio.create_task(session.play(tone(440, 200)))
        second = asyncio.create_task(session.play(tone(440, 500)))
        third = asyncio.create_task(session.play(tone(440, 100)))
        await peer.until(lambda: len(peer.packets) >= 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await first == Playback(1, 200.0, cancelled=False)
        assert await third == Playback(3, 100.0, cancelled=False)
        # Its turn may come for a moment before it is dropped.
        await peer.until(lambda: len(peer.packets) >= 15)
        assert len(peer.packets) <= 17


async def test_cancelling_the_task_that_plays_silences_it(peer: Peer) -> None:
    source = Source()
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(source.chunks()))
        await peer.until(lambda: len(peer.packets) >= 3)
        playing.cancel()
        count = len(peer.packets)
        with pytest.raises(asyncio.CancelledError):
            await playing
        assert await session.wait_playback() is True  # nothing is left to wait for
        assert source.closed
        assert not session.playing
        assert len(peer.packets) - count <= 1


async def test_the_source_s_own_exception_is_raised_and_its_audio_dropped(peer: Peer) -> None:
    source = Source(fail_after=8)
    async with to(peer) as session:
        before = asyncio.create_task(session.play(tone(440, 100)))
        with pytest.raises(ConnectionResetError, match="the voice is gone"):
            await session.play(source.chunks())
        assert source.closed
        assert (await before).cancelled is False
        assert (await session.play(tone(440, 40))).cancelled is False
    assert session.stats().packets_sent <= 5 + 2 + 2


async def test_a_chunk_the_core_cannot_take_is_a_value_error(peer: Peer) -> None:
    chunk = AudioChunk(b"\0\0")
    chunk.sample_rate = 4000
    async with to(peer) as session:
        with pytest.raises(ValueError, match="4000"):
            await session.play([chunk])
        assert not session.playing


async def test_closing_the_session_cancels_what_plays_and_waits(peer: Peer) -> None:
    sources = [Source() for _ in range(2)]
    async with to(peer) as session:
        playing = [asyncio.create_task(session.play(source.chunks())) for source in sources]
        await peer.until(lambda: len(peer.packets) >= 3)
    results = await asyncio.gather(*playing)
    assert all(result.cancelled for result in results)
    assert results[0].played_ms >= 40
    assert sources[0].closed


# --- waiting and asking --------------------------------------------------------------------------


async def test_waiting_tells_whether_all_was_played(peer: Peer) -> None:
    async with to(peer) as session:
        assert await session.wait_playback() is True
        playing = asyncio.create_task(session.play(tone(440, 100)))
        await peer.until(lambda: len(peer.packets) >= 1)
        assert session.playing
        assert await session.wait_playback() is True
        assert (await playing).played_ms == 100
        playing = asyncio.create_task(session.play(tone(440, 5000)))
        waiting = asyncio.create_task(session.wait_playback())
        await peer.until(lambda: len(peer.packets) >= 8)
        session.cancel()
        assert await waiting is False
        await playing


async def test_the_position_counts_what_left_on_the_wire(peer: Peer) -> None:
    async with to(peer) as session:
        assert session.position == PlaybackPosition(0, 0.0)
        playing = asyncio.create_task(session.play(tone(440, 5000)))
        await peer.until(lambda: len(peer.packets) >= 5)
        position = session.position
        assert position.playback == 1
        assert position.played_ms == pytest.approx(len(peer.packets) * 20, abs=40)
        session.cancel()
        result = await playing
        position = session.position
        assert (position.playback, position.played_ms) == (1, result.played_ms)
        assert (position.over, position.cancelled, position.paused) == (True, True, False)


async def test_playbacks_are_told_as_events(peer: Peer) -> None:
    got: list[RTPEvent] = []
    async with to(peer) as session:
        session.on_event(got.append)
        await session.play(tone(440, 60))
    assert got == [PlaybackStarted(1), PlaybackEnded(1, 60.0, cancelled=False)]


# --- live audio ----------------------------------------------------------------------------------


async def test_live_frames_from_many_threads_leave_with_numbers_of_their_own(peer: Peer) -> None:
    async with to(peer) as session:

        def speak() -> None:
            for _ in range(10):
                assert session.send(tone(440, 20)) == 320

        threads = [threading.Thread(target=speak) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert session.playing
        assert await session.wait_playback() is True
        await peer.until(lambda: len(peer.packets) == 40)
    assert len({packet.seq for packet in peer.packets}) == 40
    assert {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(peer.packets)} == {160}


async def test_live_audio_beyond_the_lead_is_dropped_and_counted(peer: Peer) -> None:
    async with to(peer, lead_ms=100) as session:
        taken = session.send(tone(440, 1000))
        assert 1600 <= taken <= 1600 + 640
        assert session.send(AudioChunk(tone(440, 100), 8000)) <= 640
        assert session.stats().live_bytes_dropped >= 16_000 - taken
        session.cancel()


async def test_live_audio_yields_to_a_playback(peer: Peer) -> None:
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(tone(440, 200)))
        await peer.until(lambda: len(peer.packets) >= 1)
        assert session.send(tone(440, 20)) == 0
        await playing
        assert session.send(tone(440, 20)) == 320
        session.end_live()
        during = session.playing
        assert await session.wait_playback() is True
        assert (during, session.playing) == (True, False)
        assert session.position.played_ms == 20
        playing = asyncio.create_task(session.play(tone(440, 5000)))
        await peer.until(lambda: len(peer.packets) >= 12)
        session.cancel()
        assert session.send(tone(440, 20)) == 320  # at once
        assert await session.wait_playback() is True
        await playing


async def test_live_audio_can_be_cancelled_and_goes_on_afterwards(peer: Peer) -> None:
    async with to(peer) as session:
        session.send(tone(440, 500))
        await peer.until(lambda: len(peer.packets) >= 2)
        assert session.cancel() is True
        assert session.send(tone(440, 40)) == 640
        assert await session.wait_playback() is True
        assert len(peer.packets) <= 7


async def test_a_stream_is_no_live_audio(peer: Peer) -> None:
    async with to(peer) as session:
        with pytest.raises(
            TypeError, match="audio: list; bytes of 16 bit PCM, an AudioChunk or an AudioFrame fits"
        ):
            session.send([b"\0\0"])  # type: ignore[arg-type]
