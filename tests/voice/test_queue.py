"""Audio that comes faster than it is played: nothing of it is lost."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from roomkit import AudioChunk, AudioFrame, AudioQueue
from roomkit.errors import QueueFullError
from roomkit.rtp import RTPSession
from rtp.sound import tone
from rtp.wire import Peer


@pytest.fixture
def peer() -> Any:
    with Peer() as made:
        yield made


def to(peer: Peer) -> RTPSession:
    return RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr, lead_ms=200)


async def test_a_second_of_speech_put_in_at_once_is_heard_whole(peer: Peer) -> None:
    async with to(peer) as session:
        queue = AudioQueue()
        speaking = asyncio.create_task(session.play(queue))
        for _ in range(10):
            assert queue.put(AudioChunk(tone(440, 100, rate=24000), 24000)) is True
        assert queue.waiting_bytes == 48_000
        queue.end()
        played = await speaking
        assert (played.played_ms, played.cancelled) == (1000, False)
        assert await session.wait_playback() is True
    await peer.until(lambda: len(peer.packets) == 50)
    assert (queue.waiting_bytes, queue.closed) == (0, True)


async def test_it_is_filled_from_threads_while_it_is_played(peer: Peer) -> None:
    async with to(peer) as session:
        queue = AudioQueue()
        speaking = asyncio.create_task(session.play(queue))
        await asyncio.sleep(0)

        def speak() -> None:
            for _ in range(5):
                queue.put(tone(440, 20))

        threads = [threading.Thread(target=speak) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(queue.end)
        assert (await speaking).played_ms == 400


async def test_after_an_interruption_what_still_comes_is_refused_and_not_queued(
    peer: Peer,
) -> None:
    async with to(peer) as session:
        queue = AudioQueue()
        speaking = asyncio.create_task(session.play(queue))
        for _ in range(50):
            queue.put(tone(440, 100))
        await peer.until(lambda: len(peer.packets) >= 2)
        session.cancel()
        assert (await speaking).cancelled
        assert queue.closed
        assert queue.put(tone(440, 100)) is False
        assert queue.waiting_bytes == 0


async def test_what_was_not_read_yet_can_be_dropped() -> None:
    queue = AudioQueue()
    queue.put(bytes(640))
    queue.put(AudioFrame(bytes(320), 8000))
    assert queue.clear() == 960
    queue.put(b"\1\2")
    queue.end()
    assert [item async for item in queue] == [b"\1\2"]


async def test_one_queue_is_one_playback() -> None:
    queue = AudioQueue()
    first = aiter(queue)
    with pytest.raises(RuntimeError, match="each playback has its own"):
        aiter(queue)
    waiting = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await anext(first)
    queue.put(b"\0\0")
    assert await waiting == b"\0\0"


async def test_a_full_queue_says_so_and_keeps_what_it_has() -> None:
    queue = AudioQueue(limit_bytes=640)
    assert queue.put(bytes(640)) is True
    with pytest.raises(QueueFullError, match="2 bytes of audio find no room beside 640"):
        queue.put(bytes(2))
    assert queue.waiting_bytes == 640
    queue.end()
    with pytest.raises(RuntimeError, match="has ended"):
        queue.put(bytes(2))
    assert [len(item) async for item in queue if isinstance(item, bytes)] == [640]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, None])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit_bytes"):
        AudioQueue(limit_bytes=limit)


@pytest.mark.parametrize("audio", [None, 5, "text", [b"\0\0"]])
def test_what_is_no_audio_is_refused_when_it_is_put_in(audio: Any) -> None:
    with pytest.raises(TypeError, match="audio: .* fits"):
        AudioQueue().put(audio)


async def test_what_the_program_changes_afterwards_does_not_change_what_is_played() -> None:
    queue, mine = AudioQueue(), bytearray(b"\1\2")
    queue.put(mine)
    mine[:] = b"\3\4"
    queue.end()
    assert [item async for item in queue] == [b"\1\2"]


def test_putting_into_one_whose_loop_has_closed_does_nothing() -> None:
    queue = AudioQueue()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(aiter(queue)), 0.01)

    asyncio.run(main())
    queue.put(b"\0\0")
    queue.end()
