"""`Speaking`: one call's outbound side inside a `VoiceChannel`: one playback after another, each of
which can be cut short."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from roomkit.errors import SessionError
from roomkit.voice._sources import close_source
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.pipeline.base import Recording

__all__ = ["Playback", "Reason", "Speaking"]

_SAME_PLACE_MS: Final = 1.0
"""Positions are rounded to samples of the codec."""

Reason = Literal["interrupt", "barge_in", "session_ended", "error"]


@dataclass(slots=True, eq=False)
class Playback:
    """One `say` or `play`, from the moment it was asked for."""

    text: str | None
    """What is being said, as far as it is known; None for a recording."""
    cancelled: Reason | None = None
    """Why it was cut short."""
    played_ms: float | None = None
    """What was played of it; None where the backend does not say."""
    task: asyncio.Task[None] | None = None


class Speaking:
    """Plays to one session. Playbacks wait for each other in the order in which they came."""

    def __init__(
        self,
        session: VoiceSession,
        backend: VoiceBackend,
        recording: Recording | None,
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._backend = backend
        self._recording = recording
        self._now_ms = now_ms
        self._turn = asyncio.Lock()
        self._playbacks: list[Playback] = []
        self._current: Playback | None = None

    @property
    def current(self) -> Playback | None:
        """What is being played; None when it is quiet."""
        return self._current

    async def play(self, playback: Playback, source: AsyncIterator[AudioChunk]) -> None:
        """Plays `source` when its turn comes; returns when it was played out or cut short, which
        `playback` tells. `source` is closed in any case. Raises what the source raised."""
        self._playbacks.append(playback)
        try:
            async with self._turn:
                if playback.cancelled is not None:
                    return
                self._current = playback
                # Made now, when nothing else plays: it looks where the playback before ended.
                tap = _Tap(self._session, self._backend, self._recording, self._now_ms)
                chunks = tap.through(source)
                sending = self._backend.send_audio(self._session, chunks)
                playback.task = asyncio.create_task(_run(sending), name="playback")
                try:
                    await asyncio.wait([playback.task])
                except asyncio.CancelledError:
                    if playback.cancelled is None:
                        playback.cancelled = "interrupt"
                    await self._stop(playback)
                    raise
                finally:
                    self._current = None
                    await close_source(chunks)
                    playback.played_ms = tap.finish()
                # What a playback that was cut short complains of on its way out is no news.
                if playback.cancelled is None:
                    playback.task.result()
        finally:
            self._playbacks.remove(playback)
            await close_source(source)

    async def cancel(self, reason: Reason) -> bool:
        """Cuts short what plays and forgets what waits; True if there was anything."""
        playbacks = [each for each in self._playbacks if each.cancelled is None]
        for playback in playbacks:
            playback.cancelled = reason
        current = self._current
        if current is not None and current in playbacks:
            await self._stop(current)
        return bool(playbacks)

    def position_ms(self) -> float | None:
        """What was played of the current playback, where the backend says."""
        position = _position(self._backend, self._session)
        return None if position is None else position[1]

    async def _stop(self, playback: Playback) -> None:
        # Silence on the line first; then whatever still waits for the source's next chunk.
        try:
            await self._backend.cancel_audio(self._session)
        finally:
            if playback.task is not None and not playback.task.done():
                playback.task.cancel()
                await asyncio.wait([playback.task])


class _Tap:
    """Passes chunks on to the backend and keeps for the recording what was really played of them.

    The backend reads ahead, and an interruption throws the read-ahead away: so a chunk is recorded
    only when the backend's position has passed it. What waits for that is bounded by the
    backend's read-ahead. A chunk that comes when all before it has left is heard after a pause, and
    recorded after it.
    """

    def __init__(
        self,
        session: VoiceSession,
        backend: VoiceBackend,
        recording: Recording | None,
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._backend = backend
        self._recording = recording
        self._now_ms = now_ms
        self._before = _position(backend, session)
        self._begun = False
        self._next_ms = 0.0  # where the next chunk of the recording begins
        self._given_ms = 0.0
        self._recorded_ms = 0.0
        # With the time before which a chunk cannot have been heard, if all before it had left.
        self._pending: deque[tuple[AudioChunk, float | None]] = deque()

    async def through(self, source: AsyncIterator[AudioChunk]) -> AsyncGenerator[AudioChunk]:
        async for chunk in source:
            if self._recording is not None:
                played = self._played_ms()
                dry = not self._begun or (
                    played is not None and played > self._given_ms - _SAME_PLACE_MS
                )
                self._begun = True
                self._given_ms += chunk.duration_ms
                self._pending.append((chunk, self._now_ms() if dry else None))
                self._record(played)
            yield chunk

    def finish(self) -> float | None:
        """The playback is over: records the rest of what was played; its length in ms."""
        played = self._played_ms()
        self._record(played)
        return played

    def _played_ms(self) -> float | None:
        position = _position(self._backend, self._session)
        if position is None or self._before is None:
            return None
        # Until our first packet has left, the backend tells of the playback before.
        return position[1] if position[0] != self._before[0] else 0.0

    def _record(self, played_ms: float | None) -> None:
        if self._recording is None or played_ms is None:
            return
        while self._pending:
            chunk, earliest_ms = self._pending[0]
            left_ms = played_ms - self._recorded_ms
            if left_ms <= 0:
                return
            if chunk.duration_ms <= left_ms:
                self._pending.popleft()
            else:
                chunk = self._split(chunk, earliest_ms, left_ms)
                if not chunk.data:
                    return
            at_ms = self._next_ms if earliest_ms is None else max(self._next_ms, earliest_ms)
            self._recorded_ms += chunk.duration_ms
            self._next_ms = at_ms + chunk.duration_ms
            self._recording.outbound(chunk, at_ms)

    def _split(self, chunk: AudioChunk, earliest_ms: float | None, length_ms: float) -> AudioChunk:
        """The part of the first pending chunk that was played; the rest stays pending."""
        cut = int(length_ms * chunk.sample_rate / 1000) * 2 * chunk.channels
        played = AudioChunk(chunk.data[:cut], chunk.sample_rate, chunk.channels)
        rest = AudioChunk(chunk.data[cut:], chunk.sample_rate, chunk.channels)
        self._pending[0] = (rest, None if played.data else earliest_ms)
        return played


async def _run(sending: Awaitable[None]) -> None:
    await sending


def _position(backend: VoiceBackend, session: VoiceSession) -> tuple[int, float] | None:
    try:
        position = backend.playback_position(session)
    except (NotImplementedError, SessionError):
        return None
    return position.playback, position.played_ms
