"""`Batcher`: one thread that asks a model about the windows of all calls at once.

    event loops                          one thread                        event loops
    BatchStream.feed ──► queue ──► windows that are ready ──► model ──► events, one wake per loop

To ask at all costs ten times of what one window more does. The first window of a batch therefore
waits for those of other calls: for eight of them, for `LINGER_MS`, or until all calls have one.

The thread lives while streams are open. In a forked child there is none: what it inherited is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from roomkit._faults import log_fault
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.activity import ActivitySettings
from roomkit.voice.vad.base import VADEvent, VADStream
from roomkit.voice.vad.energy import EnergyVAD
from roomkit.voice.vad.lines import WINDOW_MS, Infer, Line, Samples, ask

__all__ = ["LINGER_MS", "BatchStream", "Batcher", "Inline", "InlineStream", "linger_ms"]

_log = logging.getLogger("roomkit.voice.vad")

LINGER_MS: Final = 9.0
"""How long the first window of a batch waits for others at most: it is asked about within 10 ms."""
_WORTH_WAITING_FOR: Final = 8
"""So many windows at once cost little more each than a hundred: nobody waits for more of them."""
# Audio that waits for the thread. A machine that is half a second behind would tell of a barge-in
# when it is over: what is older is dropped, and what is said now is heard.
_LONGEST_QUEUE_MS: Final = 500.0
# A thread that takes nothing for so long hangs in the model.
_PATIENCE_MS: Final = 2000.0


class Batcher:
    """Asks `infer` about the windows of its streams, on a thread of its own."""

    def __init__(self, infer: Infer) -> None:
        self.infer = infer
        # Its lock may be taken again, where a stream is collected while this thread has it.
        self._wake = threading.Condition()
        self._ready: list[BatchStream] = []
        self._open = 0
        self._thread: threading.Thread | None = None
        self._ends = False
        self._failed = False
        self.over = False
        """True in the child of a fork, where this is a copy without its thread."""
        self.dropped_windows = 0
        """Windows that nobody was asked about because the machine was too slow."""

    @property
    def running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    # From event loops

    def opened(self) -> None:
        """One stream more. Raises `RuntimeError` where the process may have no more threads."""
        with self._wake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="roomkit-vad", daemon=True)
                try:
                    self._thread.start()
                except BaseException:
                    self._thread = None
                    raise
            self._open += 1

    def closed(self) -> None:
        """One stream less; the last one ends the thread."""
        if self.over:
            return
        with self._wake:
            self._open -= 1
            self._wake.notify()

    def ready(self, stream: BatchStream) -> None:
        """A window of that stream is complete."""
        with self._wake:
            self._ready.append(stream)
            if len(self._ready) == 1 or len(self._ready) >= self._open:
                self._wake.notify()

    def dropped(self, windows: int) -> None:
        """So many windows were not asked about."""
        with self._wake:
            first = self.dropped_windows == 0
            self.dropped_windows += windows
        if first:
            _log.warning(
                "this machine is too slow for voice activity of all calls: audio older than %g ms"
                " is left out (told once; counted in dropped_windows)",
                _LONGEST_QUEUE_MS,
            )

    def stop(self, patience_s: float = 1.0) -> None:
        """At exit: ends the thread, so that the interpreter does not end within the model."""
        with self._wake:
            self._ends = True
            thread = self._thread
            self._wake.notify()
        if thread is not None:
            thread.join(patience_s)

    # On the thread

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._ready:
                    if self._open == 0 or self._ends:
                        self._thread = None
                        return
                    self._wake.wait()
                self._wake.wait_for(self._all_ready, linger_ms(self._open) / 1000)
                batch, self._ready = self._ready, []
            self._ask_about(batch)
            del batch  # an open stream that nobody holds any longer is collected

    def _all_ready(self) -> bool:
        return self._ends or len(self._ready) >= self._open

    def _ask_about(self, batch: list[BatchStream]) -> None:
        told: dict[asyncio.AbstractEventLoop, list[_Told]] = {}
        try:
            self._ask(batch, told)
        except Exception as error:  # noqa: BLE001 (the calls go on without the model)
            if not self._failed:
                self._failed = True
                _log.error(
                    "voice activity: the model failed; these calls go on with EnergyVAD (told"
                    " once)",
                    exc_info=error,
                )
            for stream in batch:
                told.setdefault(stream.loop, []).append((stream, None))
        for loop, events in told.items():
            try:
                loop.call_soon_threadsafe(_deliver, events)
            except RuntimeError:  # it was closed, and its calls are over
                continue

    def _ask(
        self, batch: list[BatchStream], told: dict[asyncio.AbstractEventLoop, list[_Told]]
    ) -> None:
        turns = [(stream, stream.take()) for stream in batch if not stream.is_closed]
        # Of a call that has two windows waiting, the second depends on the state after the first.
        while turns:
            asked, rows = [], []
            for turn in turns:
                try:
                    row = next(turn[1], None)
                except Exception as error:  # noqa: BLE001 (one call's frame is not the others')
                    log_fault(_log, error, "voice activity: a frame that does not fit; EnergyVAD")
                    told.setdefault(turn[0].loop, []).append((turn[0], None))
                    continue
                if row is not None:
                    asked.append(turn)
                    rows.append(row)
            if not asked:
                return
            events = ask(self.infer, [stream.line for stream, _ in asked], rows)
            for (stream, _), event in zip(asked, events, strict=True):
                if event is not None:
                    told.setdefault(stream.loop, []).append((stream, event))
            turns = asked


def linger_ms(calls: int) -> float:
    """How long the first window waits for others where so many calls are open."""
    return min(LINGER_MS, _WORTH_WAITING_FOR * WINDOW_MS / max(calls, 1))


class BatchStream(VADStream):
    """One call's side: `feed` and `close` on the event loop, the rest on the batcher's thread."""

    is_closed = False
    _counted = False  # among the batcher's open ones

    def __init__(
        self, batcher: Batcher, settings: ActivitySettings, tell: Callable[[VADEvent], None]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.line = Line(settings)
        """The thread's."""
        self._batcher = batcher
        self._settings = settings
        self._tell = tell
        self._queue: deque[AudioFrame] = deque()
        self._is_ready = False
        # Each number below has one thread that writes it.
        self._fed_ms = 0.0
        self._dropped_ms = 0.0
        self._taken_ms = 0.0
        self._unmoved_ms, self._unmoved_from = 0.0, 0.0
        self._instead: EnergyVAD | None = None
        try:
            batcher.opened()
            self._counted = True
        except RuntimeError as error:
            log_fault(_log, error, "voice activity: no thread for the model; EnergyVAD instead")
            self.give_up()

    # On the event loop

    def feed(self, frame: AudioFrame) -> None:
        if self._instead is not None:
            event = self._instead.process(frame)
            if event is not None and not self.is_closed:
                self._tell(event)
            return
        if not frame.data or self.is_closed or self._batcher.over:
            return
        self._queue.append(frame)
        self._fed_ms += frame.duration_ms
        waiting = self.waiting_ms
        if waiting > _LONGEST_QUEUE_MS:
            self._drop(waiting - _LONGEST_QUEUE_MS)
        # In a binary fraction, so that a sum of frames is not short of a window by rounding.
        if waiting > WINDOW_MS - 0.01 and not self._is_ready:
            self._is_ready = True
            self._batcher.ready(self)

    @property
    def waiting_ms(self) -> float:
        """Audio that the model was not asked about yet; that of a part of a window too."""
        return self._fed_ms - self._taken_ms - self._dropped_ms

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._queue.clear()
        if self._counted:
            self._counted = False
            self._batcher.closed()

    def __del__(self) -> None:
        self.close()

    def give_up(self) -> None:
        """From here on by level: the model or its thread does not answer."""
        if self._instead is not None:
            return
        self._instead = EnergyVAD(stop_ms=max(50.0, self._settings.stop_ms))
        self._instead.speaking = self.line.activity.speaking
        self._queue.clear()
        if self._counted:
            self._counted = False
            self._batcher.closed()

    def told(self, event: VADEvent | None) -> None:
        """What the thread found; None: it failed."""
        if self.is_closed or self._instead is not None:
            return
        if event is None:
            self.give_up()
        else:
            self._tell(event)

    def _drop(self, excess_ms: float) -> None:
        dropped = 0.0
        while dropped < excess_ms and len(self._queue) > 1:  # the newest stays, however long
            try:
                dropped += self._queue.popleft().duration_ms
            except IndexError:  # the thread has taken the rest meanwhile
                break
        if not dropped:
            return
        self._dropped_ms += dropped
        self._batcher.dropped(max(1, round(dropped / WINDOW_MS)))
        if self._taken_ms != self._unmoved_from:
            self._unmoved_ms, self._unmoved_from = 0.0, self._taken_ms
        self._unmoved_ms += dropped
        if self._unmoved_ms > _PATIENCE_MS - _LONGEST_QUEUE_MS:
            _log.error(
                "voice activity: the model does not answer; this call goes on with EnergyVAD"
            )
            self.give_up()

    # On the batcher's thread

    def take(self) -> Iterator[Samples]:
        """The windows that wait now. What it yields holds until the next one."""
        # First, so that a frame that comes meanwhile makes it ready again.
        self._is_ready = False
        return self._cut(len(self._queue))

    def _cut(self, frames: int) -> Iterator[Samples]:
        queue = self._queue
        for _ in range(frames):
            try:
                frame = queue.popleft()
            except IndexError:  # dropped or closed at this moment
                return
            for row in self.line.windows.cut(frame):
                self._taken_ms += WINDOW_MS
                yield row


class Inline:
    """One call without a thread: what `BatchStream` does, at once."""

    def __init__(self, infer: Infer, settings: ActivitySettings) -> None:
        self._infer = infer
        self._line = Line(settings)

    def process(self, frame: AudioFrame) -> list[VADEvent]:
        """Takes the next frame; what it settles, in order."""
        found = []
        for row in self._line.windows.cut(frame):
            found += [event for event in ask(self._infer, [self._line], [row]) if event is not None]
        return found


class InlineStream(VADStream):
    """`Inline` as a stream."""

    def __init__(self, inline: Inline, tell: Callable[[VADEvent], None]) -> None:
        self._inline = inline
        self._tell = tell
        self._closed = False

    def feed(self, frame: AudioFrame) -> None:
        for event in () if self._closed else self._inline.process(frame):
            self._tell(event)

    def close(self) -> None:
        self._closed = True


_Told = tuple[BatchStream, VADEvent | None]


def _deliver(events: list[_Told]) -> None:
    for stream, event in events:
        try:
            stream.told(event)
        except Exception as error:  # noqa: BLE001 (one call's failure is not the others')
            log_fault(_log, error, "telling of voice activity failed")
