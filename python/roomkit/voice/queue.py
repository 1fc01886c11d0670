"""`AudioQueue`: audio that comes faster than it is played, such as a realtime model's."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from roomkit.errors import QueueFullError, shown
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pcm import pcm_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AudioQueue"]

_LIMIT: Final = 32 * 2**20
"""Eleven minutes at 24 kHz: no answer is as long, and a queue that nobody plays is noticed."""


class AudioQueue:
    """What one playback plays, put in as it comes and played as it is due; nothing is lost::

        queue = AudioQueue()
        speaking = asyncio.create_task(backend.send_audio(session, queue))
        ...
        queue.put(AudioChunk(delta, 24000))  # five seconds of them may come in half a second
        ...
        queue.end()  # the response is complete
        await speaking

    `RTPSession.play`, `send_audio` and `VoiceChannel.play` take it. One queue is one playback: when
    that is cut short, or the call ends, what waits is dropped and `put` says False. `put`, `end`
    and `clear` may be used from any thread, and never wait.
    """

    def __init__(self, *, limit_bytes: int = _LIMIT) -> None:
        """`limit_bytes`: of audio that may wait to be played, at least 1."""
        given: object = limit_bytes
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            raise ValueError(f"limit_bytes: {shown(given)}; an integer above 0 fits")
        self._limit = given
        self._lock = threading.Lock()
        self._items: deque[tuple[bytes | AudioChunk | AudioFrame, int]] = deque()
        self._waiting = 0
        self._ended = False
        self._closed = False
        self._consumed = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, audio: Buffer | AudioChunk | AudioFrame) -> bool:
        """Queues audio: a buffer of 16 bit PCM in the session's rate and channels, or a chunk or
        frame in its own. False when nobody will play it, since the playback is over.

        Raises `TypeError` or `ValueError` for what is no such audio, `QueueFullError` when more
        than `limit_bytes` would wait, `RuntimeError` after `end`. Nothing is queued then.
        """
        item: Any = audio
        if not isinstance(item, (AudioChunk, AudioFrame)):
            item = pcm_bytes(item, "audio")
        size = len(item if isinstance(item, bytes) else item.data)
        with self._lock:
            if self._ended:
                raise RuntimeError("this AudioQueue has ended; the next response has its own")
            if self._closed:
                return False
            if self._waiting + size > self._limit:
                raise QueueFullError(
                    f"{size} bytes of audio find no room beside {self._waiting} that wait;"
                    f" {self._limit} may"
                )
            self._items.append((item, size))
            self._waiting += size
        self._wake()
        return True

    def end(self) -> None:
        """Nothing follows: the playback ends when all of it was played. Idempotent."""
        with self._lock:
            self._ended = True
        self._wake()

    def clear(self) -> int:
        """Drops what has not been read yet, and returns the bytes of it. What the session has read
        ahead, `lead_ms` at most, is played; `cancel` drops that too, and ends the playback."""
        with self._lock:
            dropped = self._waiting
            self._items.clear()
            self._waiting = 0
        return dropped

    @property
    def waiting_bytes(self) -> int:
        """What has not been read yet."""
        return self._waiting

    @property
    def closed(self) -> bool:
        """Whether the playback is over, and nothing more will be played."""
        return self._closed

    # --- read by the playback -------------------------------------------------------------------

    def __aiter__(self) -> AudioQueue:
        if self._consumed:
            raise RuntimeError("this AudioQueue is played already; each playback has its own")
        self._consumed = True
        return self

    async def __anext__(self) -> bytes | AudioChunk | AudioFrame:
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                if self._waiter is not None and not self._waiter.done():
                    raise RuntimeError("this AudioQueue is read by another task at this moment")
                if self._closed:
                    raise StopAsyncIteration
                if self._items:
                    item, size = self._items.popleft()
                    self._waiting -= size
                    return item
                if self._ended:
                    self._closed = True
                    raise StopAsyncIteration
                waiter = self._waiter = loop.create_future()
            await waiter

    async def aclose(self) -> None:
        """The playback is over. Idempotent."""
        with self._lock:
            self._closed = True
            self._items.clear()
            self._waiting = 0
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        loop = waiter.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
