"""What one call plays: one playback after another, a frame at each tick of the call's clock."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from roomkit._faults import log_fault
from roomkit.errors import shown
from roomkit.rtp._closing import Closing
from roomkit.rtp.audio import Piece, PieceReader
from roomkit.testing._convert import Converter
from roomkit.voice.base import Mark, PlaybackPosition, Unsubscribe
from roomkit.voice.pcm import SampleJoiner
from roomkit.voice.playback import MarkCallback, Playback

__all__ = ["FakePlayback", "Playout"]

_log = logging.getLogger("roomkit.testing")


class Playout:
    """The outbound side of one call. `send`, `cancel` and the properties are for any thread."""

    def __init__(self, sample_rate: int, channels: int, lead_ms: float, name: str) -> None:
        """`name`: of the session, for logs."""
        self._name = name
        self.format = (sample_rate, channels)
        self.width = 2 * channels
        self._lead = round(sample_rate * lead_ms / 1000)
        self._loop = asyncio.get_running_loop()
        # Guards the entries and their audio, which `send` adds to from other threads.
        self._lock = threading.RLock()
        self._entries: list[_Entry] = []
        self._number = 0
        self._heard: _Entry | None = None
        self._live: _Entry | None = None
        self._live_samples = SampleJoiner("live audio")
        self._lost = False
        self._room = asyncio.Event()
        self._finishing: set[asyncio.Task[None]] = set()
        self._over = False
        self.live_dropped = 0
        """Bytes given to `send` that were not taken."""
        self.told: Callable[[bytes, float], None] | None = None
        """`told(pcm, at)` of each frame's audio that left, while someone wants to know."""

    # --- asked for ----------------------------------------------------------------------------

    def play(self, audio: Any) -> FakePlayback:
        """Plays `audio` when its turn comes."""
        reader = PieceReader(audio, *self.format)
        with self._lock:
            self._end_live()
            entry = self._enter(live=False)
        feeder = self._loop.create_task(self._feed(entry, reader), name="fake playout")
        feeder.add_done_callback(lambda task: self._fed(entry, task))
        entry.source = (feeder, reader)
        entry.done.add_done_callback(lambda _: self._finish_soon(entry))
        self._pass_turn()
        return FakePlayback(self, entry)

    def send(self, pcm: bytes, sample_rate: int, channels: int) -> int:
        """Takes live audio, whole or not at all; the bytes of it that were taken."""
        with self._lock:
            dropped = 0
            for whole in self._live_samples.join(pcm, sample_rate, channels):
                if not self._push_live(*whole):
                    dropped += len(whole[0])
            if dropped:
                self.live_dropped += dropped
                self._lost = True
                if self._live is not None:
                    self._live.lost = True
            return max(0, len(pcm) - dropped)

    def cancel(self) -> bool:
        """Drops all that plays or waits, and says whether there was anything."""
        with self._lock:
            found = self.playing
            entries, self._entries = self._entries, []
            self._live = None
            self._live_samples = SampleJoiner("live audio")
        for entry in entries:
            self._end(entry, cancelled=True)
        return found

    def drop(self, entry: _Entry) -> bool:
        """Cuts short one of them."""
        with self._lock:
            if entry not in self._entries:
                return False
            self._entries.remove(entry)
            if entry is self._live:
                self._live = None
        self._end(entry, cancelled=True)
        self._pass_turn()
        return True

    def end_live(self) -> None:
        """The live audio so far is a whole."""
        with self._lock:
            self._end_live()

    @property
    def playing(self) -> bool:
        """Whether anything plays or waits."""
        with self._lock:
            return any(entry is not self._live or entry.audio for entry in self._entries)

    @property
    def position(self) -> PlaybackPosition:
        """That of the playback heard last."""
        heard = self._heard
        return PlaybackPosition(0, 0.0) if heard is None else heard.position

    async def wait(self) -> bool:
        """Returns when all that plays or waits now has ended: True if it was played whole."""
        with self._lock:
            self._end_live()
            lost = self._lost or any(entry.lost for entry in self._entries)
            pending = [entry.done for entry in self._entries]
        if pending:
            await asyncio.wait(pending)
        return not lost and not any(done.result().cancelled for done in pending)

    def end(self) -> None:
        """The call is over: what was not played is cut short."""
        with self._lock:
            self._over = True
        self.cancel()

    # --- the clock ----------------------------------------------------------------------------

    def take(self, samples: int, at: float) -> bytes:
        """The audio of one frame, which leaves at `at`: at most so many samples, none when it is
        quiet."""
        frame = b""
        need = samples * self.width
        with self._lock:
            while self._entries and len(frame) < need:
                entry = self._entries[0]
                if entry.paused:
                    break
                whole = len(entry.audio) >= need - len(frame) or entry.fed
                if not whole and not entry.live:
                    break  # half a frame waits for its other half
                part = bytes(entry.audio[: need - len(frame)])
                if part:
                    del entry.audio[: len(part)]
                    entry.left(len(part) // self.width, at)
                    self._heard = entry
                    frame += part
                if entry.audio or not entry.fed:
                    break
                self._entries.pop(0)
                self._end(entry, cancelled=False)
        if frame and self.told is not None:
            self.told(frame, at)
        if not self._room.is_set():
            self._room.set()
        return frame

    # --- inside -------------------------------------------------------------------------------

    def _enter(self, *, live: bool) -> _Entry:
        self._number += 1
        self._lost = False
        loop = self._loop
        entry = _Entry(
            self._number, live, self.format[0], loop.create_future(), loop.create_future()
        )
        self._entries.append(entry)
        return entry

    def _push_live(self, pcm: bytes, rate: int, channels: int) -> bool:
        if self._over or any(not entry.live for entry in self._entries):
            return False
        live = self._live
        converter = live.converter if live is not None else None
        if converter is None or converter.format != (rate, channels):
            converter = Converter(rate, channels, *self.format)
        pcm = converter.convert(pcm)
        waiting = sum(len(entry.audio) for entry in self._entries)
        if waiting + len(pcm) > self._lead * self.width:
            return False
        if live is None:
            live = self._live = self._enter(live=True)
        live.converter = converter
        live.audio += pcm
        return True

    def _end_live(self) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        live.fed = True
        if not live.audio and live in self._entries:
            self._entries.remove(live)
            self._end(live, cancelled=False)

    def _end(self, entry: _Entry, *, cancelled: bool) -> None:
        entry.over = True
        entry.cancelled = cancelled
        entry.audio.clear()
        if not cancelled and entry.at is not None:
            entry.tell(entry.behind, entry.at)

        def tell() -> None:
            if not entry.done.done():
                entry.done.set_result(entry.position)

        if _running_loop() is self._loop:
            tell()
        else:
            self._loop.call_soon_threadsafe(tell)

    def _pass_turn(self) -> None:
        """The first that is not read completely may read its source."""
        for entry in self._entries:
            if not entry.fed:
                entry.turn.set()
                return

    def _fed(self, entry: _Entry, feeder: asyncio.Task[None]) -> None:
        """All of its source was read, or the source failed: then what was queued is dropped."""
        if feeder.cancelled() or feeder.exception() is not None:
            self.drop(entry)
        entry.fed = True
        self._pass_turn()

    def _finish_soon(self, entry: _Entry) -> None:
        task = self._loop.create_task(self._finish(entry), name="fake playback")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, entry: _Entry) -> None:
        """It is over: its source is closed as the RTP backend does it, and who waits is told."""
        closing = Closing(*entry.source, self._name)
        try:
            await closing.settle()
        except Exception as error:  # noqa: BLE001 (it is raised where the playback is awaited)
            entry.closed.set_exception(error)
            entry.closed.exception()  # whether or not anybody waits
        else:
            closing.let_go()
            entry.closed.set_result(None)

    async def _feed(self, entry: _Entry, reader: PieceReader) -> None:
        await entry.turn.wait()
        async with aclosing(reader.pieces()) as pieces:
            async for piece in pieces:
                await self._push(entry, piece)
        with self._lock:
            entry.fed = True
            entry.behind = reader.marks_behind
            if not entry.audio and self._entries[:1] == [entry]:
                self._entries.remove(entry)
                self._end(entry, cancelled=False)

    async def _push(self, entry: _Entry, piece: Piece) -> None:
        pcm, rate, channels, marks = piece
        if entry.converter is None or entry.converter.format != (rate, channels):
            entry.converter = Converter(rate, channels, *self.format)
        to_rate = self.format[0]
        entry.marks.extend((entry.pushed + round(at * to_rate / rate), mark) for at, mark in marks)
        rest = memoryview(pcm)
        most = max(1, self._lead * rate // to_rate) * 2 * channels
        while rest:
            while sum(len(each.audio) for each in self._entries) >= self._lead * self.width:
                self._room.clear()
                await self._room.wait()
            offered, rest = rest[:most], rest[most:]
            converted = entry.converter.convert(bytes(offered))
            with self._lock:
                entry.audio += converted
                entry.pushed += len(converted) // self.width


class FakePlayback(Playback):
    """One of a `FakeBackend`'s."""

    def __init__(self, playout: Playout, entry: _Entry) -> None:
        self._playout = playout
        self._entry = entry

    @property
    def position(self) -> PlaybackPosition:
        return self._entry.position

    async def wait(self) -> PlaybackPosition:
        """Returns when it was played out or cut short: when its last packet has left, or one frame
        after `cancel`; a source that closes slowly is not waited for."""
        closed = self._entry.closed
        await asyncio.wait([closed])
        closed.result()
        return self._entry.position

    def cancel(self) -> bool:
        return self._playout.drop(self._entry)

    def pause(self) -> bool:
        if self._entry.over:
            return False
        self._entry.paused = True
        return True

    def resume(self) -> bool:
        paused, self._entry.paused = self._entry.paused, False
        return paused and not self._entry.over

    def on_mark(self, callback: MarkCallback) -> Unsubscribe:
        if not callable(callback):
            raise TypeError(f"callback: {shown(callback)}; a function of a mark and a time fits")
        entry = [callback]
        self._entry.callbacks.append(entry)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._entry.callbacks.remove(entry)

        return unsubscribe


@dataclass(eq=False, slots=True)
class _Entry:
    number: int
    live: bool
    rate: int
    done: asyncio.Future[PlaybackPosition]
    """Over."""
    closed: asyncio.Future[None]
    """Over, and its source closed, or too slow to be waited for."""
    source: tuple[asyncio.Task[None], PieceReader] = field(init=False)
    audio: bytearray = field(default_factory=bytearray)
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    converter: Converter | None = None
    pushed: int = 0
    """Samples of it that were queued."""
    fed: bool = False
    """Nothing more of it will be pushed."""
    lost: bool = False
    over: bool = False
    cancelled: bool = False
    paused: bool = False
    samples: int = 0
    """What of it has left."""
    started_at: float | None = None
    at: float | None = None
    marks: deque[tuple[int, Mark]] = field(default_factory=deque)
    """With the samples at which they are."""
    behind: tuple[Mark, ...] = ()
    """Marks behind all audio."""
    callbacks: list[list[MarkCallback]] = field(default_factory=list)

    @property
    def position(self) -> PlaybackPosition:
        return PlaybackPosition(
            self.number,
            self.samples * 1000 / self.rate,
            self.started_at,
            self.at,
            self.over,
            self.cancelled,
            self.paused and not self.over,
        )

    def left(self, samples: int, at: float) -> None:
        """So many more samples of it leave now."""
        if self.started_at is None:
            self.started_at = at
        self.at = at
        self.samples += samples
        while self.marks and self.marks[0][0] < self.samples:
            self.tell((self.marks.popleft()[1],), at)

    def tell(self, marks: tuple[Mark, ...], at: float) -> None:
        """These have left."""
        for mark in marks:
            for (callback,) in list(self.callbacks):
                self.done.get_loop().call_soon_threadsafe(_told, callback, mark, at)


def _told(callback: MarkCallback, mark: Mark, at: float) -> None:
    try:
        callback(mark, at)
    except Exception as error:  # noqa: BLE001 (it harms nothing else)
        log_fault(_log, error, "a callback for marks raised")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
