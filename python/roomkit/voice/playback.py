"""`Playback`: one thing that is played to a session, from the moment it was asked for."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from roomkit.errors import SessionError
from roomkit.voice.base import Mark, PlaybackPosition, Unsubscribe, VoiceSession

if TYPE_CHECKING:
    from roomkit.voice.backends.base import VoiceBackend

__all__ = ["MarkCallback", "Playback", "SentPlayback"]

MarkCallback = Callable[[Mark, float], object]
"""`callback(mark, at)`: the packet with the mark's first sample left at `at`, in seconds of
`time.monotonic`. Called on the event loop."""


class Playback(ABC):
    """What `VoiceBackend.start_playback` returns. Belongs to the event loop."""

    @property
    @abstractmethod
    def position(self) -> PlaybackPosition:
        """How far this playback has come, whatever else plays or has played since."""

    @abstractmethod
    async def wait(self) -> PlaybackPosition:
        """Returns when it was played out or cut short. Raises what its source raised. Several may
        wait; one who is cancelled ends only his waiting."""

    @abstractmethod
    def cancel(self) -> bool:
        """Cuts short this one, before the next packet leaves; True if it was not over."""

    def pause(self) -> bool:
        """Holds it back from the next packet on; True if the backend can. Idempotent."""
        return False

    def resume(self) -> bool:
        """Goes on with the sample after the last that left; True if it was paused. Idempotent."""
        return False

    def on_mark(self, callback: MarkCallback) -> Unsubscribe:
        """Has `callback` told of each `AudioChunk.marks` as it leaves. A backend that does not know
        when audio leaves tells none."""
        return lambda: None


class SentPlayback(Playback):
    """A playback of a backend that has no more than `send_audio`: it cannot pause, and its position
    is that of `playback_position` while it plays alone."""

    def __init__(self, backend: VoiceBackend, session: VoiceSession, audio: Any) -> None:
        self._backend = backend
        self._session = session
        self._before = self._now()
        self._last: PlaybackPosition | None = None
        self._cancelled = False
        self._task = asyncio.get_running_loop().create_task(
            _run(backend.send_audio(session, audio)), name="playback"
        )
        self._task.add_done_callback(self._done)

    @property
    def position(self) -> PlaybackPosition:
        if self._last is not None:
            return self._last
        now = self._now()
        number = now.playback if now is not None else 0
        if now is None or (self._before is not None and number == self._before.playback):
            return PlaybackPosition(0, 0.0)
        return PlaybackPosition(number, now.played_ms)

    async def wait(self) -> PlaybackPosition:
        await asyncio.wait([self._task])
        if self._cancelled:
            if not self._task.cancelled():
                self._task.exception()  # what it complains of on its way out is no news
        else:
            self._task.result()
        return self.position

    def cancel(self) -> bool:
        if self._task.done():
            return False
        self._cancelled = True
        with contextlib.suppress(NotImplementedError):
            self._backend.interrupt(self._session)
        self._task.cancel()
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        at = self.position
        cancelled = self._cancelled or task.cancelled()
        self._last = PlaybackPosition(at.playback, at.played_ms, over=True, cancelled=cancelled)

    def _now(self) -> PlaybackPosition | None:
        try:
            return self._backend.playback_position(self._session)
        except (NotImplementedError, SessionError):
            return None


async def _run(sending: Awaitable[None]) -> None:
    await sending
