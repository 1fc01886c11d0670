"""`RTPPlayback`: one thing that an RTP session plays, told by the core as it leaves."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Protocol

from roomkit import _native
from roomkit.errors import QueueFullError, shown
from roomkit.rtp.streams import Listeners
from roomkit.voice.base import Mark, PlaybackPosition, Unsubscribe
from roomkit.voice.playback import MarkCallback, Playback

__all__ = ["Line", "RTPPlayback", "position_of"]


class Line(Protocol):
    """What plays one playback after another."""

    @abstractmethod
    def cancel_one(self, number: int) -> bool: ...


class RTPPlayback(Playback):
    """What `RTPSession.start_play` returns. `pause`, `resume`, `cancel` and `position` may be used
    from any thread, the rest belongs to the session's event loop."""

    def __init__(
        self, number: int, native: _native.Session, line: Line, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.number = number
        """Within its session, rising from 1."""
        self.over: asyncio.Future[None] = loop.create_future()
        """Done when it is over and its source is closed, or closes too slowly to be waited for."""
        self._native = native
        self._line = line
        self._marks: Listeners[tuple[Mark, float]] = Listeners()
        self._final: PlaybackPosition | None = None
        self._paused = False

    @property
    def position(self) -> PlaybackPosition:
        """How far it has come, as of the newest frame; after its end, where it ended."""
        if self._final is not None:
            return self._final
        known = self._native.position(self.number)
        if known is None:
            return PlaybackPosition(self.number, 0.0, paused=self._paused)
        return position_of(known)

    async def wait(self) -> PlaybackPosition:
        """Returns when it was played out or cut short, when its last packet has left or one frame
        after `cancel`; a source that closes slowly is not waited for. Raises what its source raised
        (what was queued of it has been dropped then)."""
        await asyncio.wait((self.over,))
        self.over.result()
        return self.position

    def cancel(self) -> bool:
        """Drops this playback and no other before the next packet leaves, also while it waits or is
        paused; True if it was not over."""
        return self._line.cancel_one(self.number)

    def pause(self) -> bool:
        """Holds it back: from the next packet on nothing of it leaves. It keeps its place: what
        waits behind it waits on, live audio (`send`) is refused as while it plays, digits go. In a
        call on hold it stays paused when the hold ends. False if it is over. Idempotent.

        Raises `QueueFullError` when thousands are paused that have not begun.
        """
        if self._final is not None:
            return False
        try:
            self._paused = self._native.pause(self.number)
        except BlockingIOError as error:
            raise QueueFullError(str(error)) from None
        return self._paused

    def resume(self) -> bool:
        """Goes on with the very next sample, in the next packet that is due; True if it was paused.
        Idempotent."""
        self._paused = False
        return self._native.resume(self.number)

    def on_mark(self, callback: MarkCallback) -> Unsubscribe:
        """`callback(mark, at)` for each mark in its audio as it leaves: `at` is when the packet
        left that holds the mark's first sample, in seconds of `time.monotonic`. One behind all
        audio is told when that was played out. Those in audio that never leaves are not told.

        One that raises is logged; marks that left before are not told again.
        """
        if not callable(callback):
            raise TypeError(f"callback: {shown(callback)}; a function of a mark and a time fits")
        return self._marks.add(_Unpacked(callback))

    # --- told by the line, on the loop's thread -------------------------------------------------

    def left(self, marks: tuple[Mark, ...], at: float) -> None:
        """The packet with these has left."""
        for mark in marks:
            self._marks.call((mark, at))

    def ended(self, position: PlaybackPosition) -> None:
        """Nothing more of it will leave."""
        self._final = position


class _Unpacked:
    def __init__(self, callback: MarkCallback) -> None:
        self._callback = callback

    def __call__(self, told: tuple[Mark, float]) -> object:
        return self._callback(*told)

    def __repr__(self) -> str:
        return repr(self._callback)


PositionTuple = tuple[int, float, float | None, float | None, bool, bool, bool]


def position_of(known: PositionTuple | None) -> PlaybackPosition:
    """What the core says of a position."""
    if known is None:
        return PlaybackPosition(0, 0.0)
    number, played_ms, started_at, at, over, cancelled, paused = known
    return PlaybackPosition(number, played_ms, started_at, at, over, cancelled, paused)
