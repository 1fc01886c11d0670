"""`Playout`: what a session plays, one after another, and how each playback ended.

A playback has a number, rising from 1. Its audio is pushed into the core as far as the lead allows
and again when the core says that there is room (`LOW_WATER`); it is over when the core says so
(`PLAYBACK_ENDED`), since only the media clock knows what left. The next playback is pushed as soon
as the one before is in the core completely, so that they join without a gap.

Live audio (`send`) is one open playback after another: it takes what comes, piece by piece, each
whole or not at all, and waits for nothing. It yields to `play`: live frames behind ten seconds of
announcement would arrive ten seconds late, so they are dropped instead, counted and told. After a
stall of the program its live audio comes in a burst; the core gives the delay of it back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

from roomkit import _native
from roomkit.rtp._closing import Closing
from roomkit.rtp.audio import Audio, Piece, PieceReader
from roomkit.rtp.playback import RTPPlayback, position_of
from roomkit.rtp.played import PlayedTap
from roomkit.voice.base import Mark, PlaybackPosition
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pcm import SampleJoiner

__all__ = ["Playback", "Playout"]

_log = logging.getLogger("roomkit.rtp")

_MARKS: Final = 1024
"""Places that one push may mark."""
_EPISODE_S: Final = 5.0
"""Drops of live audio that are no further apart than this are told once."""


@dataclass(frozen=True, slots=True)
class Playback:
    """How a playback ended."""

    playback: int
    """Its number within the session, rising from 1."""
    played_ms: float
    """Audio of it that left on the wire, in ms."""
    cancelled: bool
    """Whether it was cut short: by `cancel`, or because the session ended."""


class Playout:
    """The outbound side of a session. Belongs to an event loop; `send`, `cancel` and the properties
    may be used from any thread."""

    def __init__(
        self,
        native: _native.Session,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        sample_rate: int,
        channels: int,
        lead_ms: int,
    ) -> None:
        """`name`: of the session, for logs."""
        self._native = native
        self._name = name
        self._loop = loop
        self._format = (sample_rate, channels)
        self._lead_ms = lead_ms
        # Guards all below, and makes "is it cancelled? then push" one step: nothing is pushed after
        # a cancel that covers it.
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}  # in the order of their numbers
        self._last = 0
        self._plays = 0  # entries of `play` that have not been dropped
        self._live: _Entry | None = None
        self._live_samples = SampleJoiner("live audio")
        self._lost = False  # live audio was dropped, and nothing else has begun since
        self._lost_at = -_EPISODE_S
        self._room: asyncio.Future[None] | None = None
        self._finishing: set[asyncio.Task[None]] = set()
        self._over = False
        self._final = PlaybackPosition(0, 0.0)
        self.tap: PlayedTap | None = None
        """Set while someone wants to be told what was played."""
        self.live_dropped = 0
        """Bytes given to `send` that were not taken."""

    async def play(self, audio: Audio) -> Playback:
        """Plays `audio` and returns when it has left on the wire or was cancelled.

        What the source raises is raised here, after what was queued of it has been dropped;
        cancelling the task drops it too. The source is closed in any case.
        """
        handle = self.start(audio)
        try:
            position = await handle.wait()
        except asyncio.CancelledError:
            closing = self._drop_one(handle.number)
            if closing is not None:
                with suppress(Exception):  # the cancellation is on its way up
                    await closing.settle()
            raise
        return Playback(position.playback, position.played_ms, position.cancelled)

    def start(self, audio: Audio) -> RTPPlayback:
        """Begins to play `audio` behind what plays and waits, and returns at once. Raises for what
        can be seen at once to be no audio."""
        self._check_loop()
        reader = PieceReader(audio, *self._format)
        entry = self._enter()
        feeder = self._loop.create_task(self._feed(entry, reader), name="roomkit playout")
        entry.source = (feeder, reader)
        feeder.add_done_callback(lambda task: self._fed(entry, task))
        entry.done.add_done_callback(lambda _: self._finish_soon(entry))
        return entry.handle

    def cancel_one(self, number: int) -> bool:
        """Drops one playback, and says whether it was not over. From any thread."""
        with self._lock:
            entry = self._entries.get(number)
            if entry is None or entry.dropped or self._over:
                return False
            found = self._abandon(entry)
        if _running_loop() is self._loop:
            self._drop([entry])
        else:
            self._loop.call_soon_threadsafe(self._drop, [entry])
        return found

    def _drop_one(self, number: int) -> Closing | None:
        entry = self._entries.get(number)
        self.cancel_one(number)
        return None if entry is None else self._close(entry)

    def _fed(self, entry: _Entry, feeder: asyncio.Task[None]) -> None:
        """All of its source was read, or the source failed: then what was queued is dropped."""
        if not feeder.cancelled() and feeder.exception() is None:
            return
        entry.cancelled_itself = feeder.cancelled() and not feeder.cancelling()
        if not entry.done.done():
            self.cancel_one(entry.number)

    def _close(self, entry: _Entry) -> Closing:
        """Nothing more of its source is read: it is closed beside whatever else happens."""
        if entry.closing is None:
            entry.closing = Closing(*entry.source, self._name)
        return entry.closing

    def _finish_soon(self, entry: _Entry) -> None:
        task = self._loop.create_task(self._finish(entry), name="roomkit playback")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, entry: _Entry) -> None:
        """It is over: its source is closed, and who waits for it is told."""
        over = entry.handle.over
        closing = self._close(entry)
        try:
            await closing.settle()
        except Exception as error:  # noqa: BLE001 (it is raised where the playback is awaited)
            if not over.done():
                over.set_exception(error)
        else:
            closing.let_go()
            if entry.cancelled_itself and not over.done():
                over.set_exception(asyncio.CancelledError("its source cancelled itself"))
        finally:
            if not over.done():
                over.set_result(None)
            elif not over.cancelled():
                over.exception()  # perhaps nobody waits

    def send(self, piece: Piece) -> int:
        """Queues live audio and returns the bytes of it that were taken: all, or none where it does
        not fit into the lead or something else plays. What is longer than the lead could never fit:
        of that, its beginning. Never waits."""
        with self._lock:
            # Joined whether or not it is taken: what comes next goes on in the middle of a sample.
            dropped = 0
            for whole in map(_piece, self._live_samples.join(*piece[:3])):
                taken = 0
                if not self._plays and not self._over:
                    taken = self._push_live(whole)
                dropped += len(whole.pcm) - taken
            tells = bool(dropped) and self._drop_live(dropped)
            busy = self._plays > 0
        if tells:
            _log.warning(
                "session %s: live audio is dropped: it comes %s; an AudioQueue given to play or"
                " send_audio loses nothing",
                self._name,
                "while something else plays"
                if busy
                else f"faster than it is played, and {self._lead_ms} ms may wait (lead_ms)",
            )
        return max(0, len(piece.pcm) - dropped)

    def _push_live(self, piece: Piece) -> int:
        pcm, sample_rate, channels, _ = piece
        length_ms = len(pcm) / (2 * channels) * 1000 / sample_rate
        # It only becomes more, since nobody else pushes.
        room_ms = self._lead_ms - self._native.queued_ms()
        if room_ms < length_ms <= self._lead_ms:
            return 0
        live = self._live or self._new(live=True)
        taken = self._native.push(pcm, sample_rate, channels, live.number, False, True)
        live.format = (sample_rate, channels)
        if taken and self._live is None:
            self._live = self._entries[live.number] = live
        self._pushed(live, pcm[:taken], piece)
        return taken

    def _drop_live(self, dropped: int) -> bool:
        """Counts what was not taken, and says whether it is to be told."""
        self.live_dropped += dropped
        self._lost = True
        if self._live is not None:
            self._live.lost = True
        now = time.monotonic()
        last, self._lost_at = self._lost_at, now
        return now - last > _EPISODE_S and not self._over

    def cancel(self) -> bool:
        """Drops all that plays or waits at this moment, and says whether there was anything. No
        packet of it leaves after this."""
        with self._lock:
            if self._over:
                return False
            self._live = None
            self._live_samples = SampleJoiner("live audio")
            found = self._native.cancel(self._last)
            waiting = [e for e in self._entries.values() if not e.live and not e.dropped]
            for entry in self._entries.values():
                entry.cancelled = True
            self._plays = 0
        if _running_loop() is self._loop:
            self._drop(waiting)
        else:
            self._loop.call_soon_threadsafe(self._drop, waiting)
        return found or bool(waiting)

    def end_live(self) -> None:
        """The live audio sent so far is a whole: what comes next is another playback."""
        with self._lock:
            self._end_live()

    @property
    def playing(self) -> bool:
        """Whether anything plays or waits, and has not been dropped."""
        with self._lock:
            # Live audio stays open when all of it has left: then it does not play.
            return not self._over and any(
                not entry.dropped and (entry is not self._live or self._native.queued_ms() > 0)
                for entry in self._entries.values()
            )

    @property
    def position(self) -> PlaybackPosition:
        """The playback heard last, and what of it left."""
        return self._final if self._over else position_of(self._native.position())

    async def wait(self) -> bool:
        """Returns when all that plays or waits now has ended: True if every bit was played, and
        nothing of the live audio was dropped."""
        self._check_loop()
        with self._lock:
            self._end_live()
            lost = self._lost or any(entry.lost for entry in self._entries.values())
            leaving = [entry.done for entry in self._entries.values() if entry.dropped]
            pending = [entry.done for entry in self._entries.values() if not entry.dropped]
        if leaving or pending:
            await asyncio.wait(leaving + pending)
        return not lost and not any(done.result().cancelled for done in pending)

    # --- told by the core, on the loop's thread -------------------------------------------------

    def on_low_water(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def on_mark(self, number: int, name: int, at: float) -> None:
        with self._lock:
            entry = self._entries.get(number)
        if entry is not None:
            entry.handle.left(entry.marks.pop(name, ()), at)

    def on_ended(
        self, number: int, played_ms: float, cancelled: bool, packets: tuple[float, float] | None
    ) -> None:
        with self._lock:
            entry = self._entries.get(number)
        if entry is not None:
            started_at, at = packets or (None, None)
            self._resolve(
                entry,
                PlaybackPosition(number, played_ms, started_at, at, True, cancelled),
            )

    def what_left(self, clock_ms: float | None) -> list[AudioFrame]:
        """The audio that has left since this was last asked, while there is a tap; `clock_ms`: the
        present on the media clock, if it is known."""
        with self._lock:
            tap = self.tap
            return [] if tap is None else tap.left(self._native.take_left(), clock_ms)

    def on_over(self) -> None:
        """The session ended: whatever has not been played is cancelled. Idempotent; any thread."""
        with self._lock:
            if self._over:
                return
            self._final = position_of(self._native.position())
            self._over = True
            self._live = None
            self._plays = 0
        if self._loop.is_closed():
            self._entries.clear()
        elif _running_loop() is self._loop:
            self._resolve_all()
        else:
            self._loop.call_soon_threadsafe(self._resolve_all)

    def on_fork(self) -> None:
        """In a forked child: it is over, and another thread may have held the lock for ever."""
        self._lock = threading.Lock()
        self._over = True
        self._live = None
        self._plays = 0

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop and not self._over:
            raise RuntimeError(
                "this session belongs to another event loop, whose futures it waits for;"
                " asyncio.run_coroutine_threadsafe gets there"
            )

    # --- playbacks ------------------------------------------------------------------------------

    def _enter(self) -> _Entry:
        with self._lock:
            self._end_live()
            entry = self._new(live=False)
            self._entries[entry.number] = entry
            self._plays += 1
        self._pass_turn()
        return entry

    def _new(self, *, live: bool) -> _Entry:
        self._last += 1
        self._lost = False
        handle = RTPPlayback(self._last, self._native, self, self._loop)
        return _Entry(handle, live, self._format, self._loop)

    def _end_live(self) -> None:
        for rest in map(_piece, self._live_samples.end()):
            if not self._plays and not self._over:
                self._push_live(rest)
        self._live_samples = SampleJoiner("live audio")
        live, self._live = self._live, None
        if live is not None:
            self._native.push(b"", *live.format, live.number, True)

    def _pass_turn(self) -> None:
        """The first playback that is not in the core completely may push."""
        with self._lock:
            unfed = [entry for entry in self._entries.values() if not entry.fed]
            if self._over or (unfed and unfed[0].cancelled):
                return  # it is on its way out, and so are those behind it
        if unfed and not unfed[0].turn.done():
            unfed[0].turn.set_result(None)

    def _drop(self, entries: list[_Entry]) -> None:
        """Ends playbacks of which the core knows nothing; of the others it will tell the end."""
        for entry in entries:
            if not entry.pushed:
                self._resolve(entry, PlaybackPosition(entry.number, 0.0, None, None, True, True))
            else:
                entry.fed = True
            self._close(entry)
        self._pass_turn()

    def _abandon(self, entry: _Entry) -> bool:
        """Nothing more of one playback leaves; with the lock held. Says whether it was not over."""
        self._plays -= 1
        entry.abandoned = True
        entry.fed = True
        return self._native.cancel_one(entry.number) or not entry.pushed

    def _resolve(self, entry: _Entry, position: PlaybackPosition) -> None:
        with self._lock:
            if self._entries.pop(entry.number, None) is None:
                return
            if self._live is entry:
                self._live = None
            elif not entry.live and not entry.dropped and not self._over:
                self._plays -= 1
        entry.fed = True
        entry.handle.ended(position)
        if not entry.done.done():
            entry.done.set_result(position)
        self._pass_turn()

    def _resolve_all(self) -> None:
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            at = position_of(self._native.position(entry.number))
            position = PlaybackPosition(
                entry.number, at.played_ms, at.started_at, at.at, True, at.cancelled or not at.over
            )
            self._resolve(entry, position)

    # --- feeding --------------------------------------------------------------------------------

    async def _feed(self, entry: _Entry, reader: PieceReader) -> None:
        """Pushes a source into the core, as fast as the core takes it."""
        await entry.turn
        async with aclosing(reader.pieces()) as pieces:
            async for piece in pieces:
                if piece.pcm and not await self._push(entry, piece):
                    return
        if not entry.pushed:
            if not entry.dropped:
                self._resolve(entry, PlaybackPosition(entry.number, 0.0, None, None, True))
            return
        with self._lock:
            if not entry.dropped and not self._over:
                end = entry.name(reader.marks_behind) if reader.marks_behind else None
                marks = [] if end is None else [(0, end)]
                self._native.push(b"", *entry.format, entry.number, True, False, marks)
            entry.fed = True
        self._pass_turn()

    async def _push(self, entry: _Entry, piece: Piece) -> bool:
        """Pushes a piece; False when the playback has been cancelled meanwhile."""
        pcm, sample_rate, channels, marks = piece
        rest = memoryview(pcm)  # cutting off its beginning copies nothing, however long it is
        # One push is at most the lead, so that a piece of minutes is not looked at again and again.
        frame = 2 * channels
        most = max(1, self._lead_ms * sample_rate // 1000) * frame
        named = entry.named(marks) if marks else []
        begin = 0  # of the rest, in samples
        while rest:
            offered = rest[:most]
            end = begin + len(offered) // frame
            if len(named) > _MARKS:
                end = min(end, named[_MARKS][0])
                offered = offered[: (end - begin) * frame]
            here = [(at - begin, name) for at, name in named[:_MARKS] if at < end]
            room = self._room = self._loop.create_future()
            with self._lock:
                if entry.dropped or self._over:
                    return False
                taken = self._native.push(
                    offered, sample_rate, channels, entry.number, False, False, here
                )
                entry.format = (sample_rate, channels)
                entry.pushed = entry.pushed or taken > 0
                self._pushed(entry, offered[:taken], piece)
            rest = rest[taken:]
            begin += taken // frame
            if named:
                named = [each for each in named if each[0] >= begin]
            if taken < len(offered):
                await room
        return True

    def _pushed(self, entry: _Entry, taken: bytes | memoryview, piece: Piece) -> None:
        """The core has taken that of a piece; with the lock held."""
        if taken:
            if self.tap is not None:
                form = (piece.sample_rate, piece.channels)
                self.tap.pushed(entry.number, entry.samples, taken, *form)
            entry.samples += len(taken) // (2 * piece.channels)


class _Entry:
    """A playback of which the end has not been told yet."""

    __slots__ = (
        "abandoned",
        "cancelled",
        "cancelled_itself",
        "closing",
        "done",
        "fed",
        "format",
        "handle",
        "live",
        "lost",
        "marks",
        "names",
        "number",
        "pushed",
        "samples",
        "source",
        "turn",
    )

    source: tuple[asyncio.Task[None], PieceReader]
    """Who reads it, and what: of all that `start` plays."""

    def __init__(
        self,
        handle: RTPPlayback,
        live: bool,
        format: tuple[int, int],  # noqa: A002 (nothing is formatted here)
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.handle = handle
        self.number = handle.number
        self.live = live
        self.format = format
        """Rate and channels of its newest piece. Its end is pushed in the same, or the core would
        begin another conversion and lose the tail of the last one."""
        self.samples = 0
        """What was pushed, per channel."""
        self.pushed = live
        """The core knows of it, and will tell its end."""
        self.fed = live
        """Nothing more of it will be pushed."""
        self.cancelled_itself = False
        """Its source did."""
        self.cancelled = False
        """The core has been told to drop it, and all before it."""
        self.lost = False
        """Some of what belongs to it was dropped."""
        self.abandoned = False
        """The core has been told to drop it alone."""
        self.marks: dict[int, tuple[Mark, ...]] = {}
        """Those that have not left, by the names under which the core tells them."""
        self.names = 0
        self.closing: Closing | None = None
        self.turn: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[PlaybackPosition] = loop.create_future()

    def name(self, marks: tuple[Mark, ...]) -> int:
        """Under which the core tells of marks at one place."""
        self.names += 1
        self.marks[self.names] = marks
        return self.names

    def named(self, marks: tuple[tuple[int, Mark], ...]) -> list[tuple[int, int]]:
        """The places of a piece that are marked, and their names."""
        places: dict[int, tuple[Mark, ...]] = {}
        for at, mark in marks:
            places[at] = (*places.get(at, ()), mark)
        return [(at, self.name(these)) for at, these in places.items()]

    @property
    def dropped(self) -> bool:
        """It was cut short already."""
        return self.cancelled or self.abandoned


def _piece(joined: tuple[bytes, int, int]) -> Piece:
    return Piece(*joined)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
