"""`Ears`: what one call's program has been told, and has not asked for yet."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from roomkit._calls.idle import Quiet
from roomkit._calls.inbox import Inbox
from roomkit._calls.keys import Keys
from roomkit._calls.outcomes import CallOptions, Collected, Utterance
from roomkit._calls.taking import joined
from roomkit._calls.waits import ROUNDING_MS, Waits
from roomkit._clock import now_ms
from roomkit._faults import log_fault
from roomkit._handlers import is_async
from roomkit._serial import SerialQueue
from roomkit.errors import CallEnded
from roomkit.hooks import speaking
from roomkit.voice.base import AudioChunk, Unsubscribe
from roomkit.voice.events import (
    AfterTTSEvent,
    DTMFDetectedEvent,
    EndingSoonEvent,
    HookEvent,
    SpeechEndEvent,
    SpeechStartEvent,
    TTSCancelledEvent,
    TurnEndedEvent,
)

__all__ = ["CallEvent", "Ears"]

_log = logging.getLogger("roomkit.call")

CallEvent = HookEvent | EndingSoonEvent
"""What `async for event in call` tells."""

_UTTERANCES: Final = 8
"""Utterances that wait to be taken; of a caller who talks on, the newest are worth more."""


class Ears:
    """Keys, utterances and events wait here until the program takes them. `hear` is told of all
    that happens; whoever waits, waits by `until`.

    `idle(count)` is called when the call is idle, `too_long(left_ms)` when it will be too old in so
    many ms, and with 0 when it is. `occupied()` is asked before `idle` whether something goes on
    that nobody told of.
    """

    def __init__(
        self,
        options: CallOptions,
        *,
        recognises: bool,
        idle: Callable[[int], object],
        too_long: Callable[[float], object],
        occupied: Callable[[], bool],
    ) -> None:
        self.keys = Keys(options.keys)
        self.inbox: Inbox[CallEvent] = Inbox(options.events)
        self.said: deque[Utterance] = deque(maxlen=_UTTERANCES)
        self.speaking = False
        """The caller speaks."""
        self.reason: str | None = None
        self._recognises = recognises
        self._linger_ms = options.linger_ms
        self._diverted: Callable[[DTMFDetectedEvent], object] | None = None
        self._idle, self._too_long, self._occupied = idle, too_long, occupied
        self._waits = Waits()
        # Speech of which no turn was told yet, by the numbers of its utterances.
        self._spoken: OrderedDict[int, AudioChunk] = OrderedDict()
        self._handlers: list[_Handler] = []
        now = now_ms()
        self._quiet = Quiet(options.idle_ms, now) if options.idle_ms else None
        # When to tell of the end, and of how much is left then.
        self._ends: deque[tuple[float, float]] = deque()
        if (most := options.max_duration_ms) is not None:
            soon = options.ending_soon_ms
            self._ends.extend((now + most - left, left) for left in (soon, 0.0) if left < most)
            if soon == 0:
                self._ends.popleft()
        self._alarm: asyncio.TimerHandle | None = None
        self._arm()

    # --- told -----------------------------------------------------------------------------------

    def hear(self, event: CallEvent) -> None:
        """Something happens in the call."""
        match event:
            case DTMFDetectedEvent():
                if self._diverted is not None:
                    self._diverted(event)
                elif not self.keys.press(event.digit) and self.keys.dropped == 1:
                    _log.warning(
                        "session %s: nobody takes keys, they are dropped", event.session.id
                    )
                self._did_something()
            case SpeechStartEvent():
                self.speaking = True
                self._did_something()
                self.busy("speech", True)
            case SpeechEndEvent():
                self.speaking = False
                self.busy("speech", False)
                if self._recognises:
                    self._spoken[event.utterance] = event.audio
                    while len(self._spoken) > _UTTERANCES:
                        self._spoken.popitem(last=False)
                else:
                    self.said.append(Utterance(event.audio))
            case TurnEndedEvent() if self._recognises and not event.times.dropped:
                audio = [self._spoken.pop(n) for n in event.utterances if n in self._spoken]
                if event.text:
                    self.said.append(Utterance(joined(audio), event.text))
            case AfterTTSEvent() | TTSCancelledEvent():
                if self._quiet is not None:
                    self._quiet.played(now_ms())
            case _:
                pass
        self.inbox.put(event)
        for handler in tuple(self._handlers):
            handler.handle(event)
        self._arm()
        self._waits.wake()

    def end(self, reason: str) -> None:
        """The call is over. Handlers may go on for as long as an application may."""
        self.reason = reason
        self._ends.clear()
        self._quiet = None
        self._arm()
        if self._handlers:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(self._linger_ms / 1000, self.stop_handlers)
        self._waits.end()

    def busy(self, what: object, busy: bool) -> None:
        """Something goes on by which the call is not idle, or does no longer."""
        if self._quiet is not None:
            self._quiet.busy(now_ms(), what, busy)
            self._arm()

    def hold(self, held: bool) -> None:
        """While held, the time of those who wait stands still."""
        self.busy("hold", held)
        self._waits.hold(held)

    def divert(self, taker: Callable[[DTMFDetectedEvent], object]) -> Unsubscribe:
        """Has keys go to `taker`, and not wait here."""
        self._diverted = taker

        def back() -> None:
            self._diverted = None

        return back

    def add(
        self, kind: type[Any], handler: Callable[[Any], Awaitable[object] | object]
    ) -> Unsubscribe:
        """Has `handler` called for events of a kind."""
        entry = _Handler(kind, handler)
        self._handlers.append(entry)

        def remove() -> None:
            if entry in self._handlers:
                self._handlers.remove(entry)

        return remove

    def stop_handlers(self) -> None:
        """Ends those that still run."""
        for handler in self._handlers:
            handler.stop()
        self._handlers.clear()
        self._arm()

    # --- asked ----------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self._waits.over

    def wake(self) -> None:
        """Something else has changed that somebody waits for."""
        self._waits.wake()

    async def until(
        self, ready: Callable[[], object], seconds: float | None = None, *, to_the_end: bool = False
    ) -> bool:
        """As `Waits.until`. A hook that waits here holds up no other."""
        with speaking():
            return await self._waits.until(ready, seconds, to_the_end=to_the_end)

    async def until_said(self, ready: Callable[[], object], seconds: float | None) -> bool:
        """`until`, and `seconds` stand still while the caller speaks."""
        while True:
            if not await self.until(lambda: ready() or self.speaking, seconds):
                return False
            if ready() or not await self.until(lambda: ready() or not self.speaking):
                return bool(ready())
            if ready():
                return True

    async def collect(
        self, digits: int | None, ends: str, first: float | None, between: float | None
    ) -> Collected:
        """Takes keys that make a whole, or those that came until the pause."""
        while True:
            for count, press in enumerate(self.keys, 1):
                if press.digit in ends:
                    taken = self.keys.take(count)[:-1]
                    return Collected(taken, bool(taken), "terminator")
                if count == digits:
                    return Collected(self.keys.take(count), True, "length")
            waiting = len(self.keys)
            more = await self.until(
                lambda seen=waiting: len(self.keys) > seen,  # type: ignore[misc]
                between if waiting else first,
            )
            if not more:
                taken = self.keys.take(len(self.keys))
                if self.over:
                    return Collected(taken, False, "hangup")
                return Collected(taken, bool(taken) and not digits and not ends, "timeout")

    # --- the time -------------------------------------------------------------------------------

    def _did_something(self) -> None:
        if self._quiet is not None:
            self._quiet.heard(now_ms())

    def _arm(self) -> None:
        due = [at for at, _ in self._ends][:1]
        if self._quiet is not None and (quiet := self._quiet.due_ms) is not None:
            due.append(quiet)
        loop = asyncio.get_running_loop()
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(min(due) / 1000, self._ring) if due else None

    def _ring(self) -> None:
        now = now_ms() + ROUNDING_MS
        left_ms = count = None
        if self._ends and now >= self._ends[0][0]:
            left_ms = self._ends.popleft()[1]
        if self._quiet is not None:
            if self._occupied():
                self._quiet.played(now)
            count = self._quiet.poll(now)
        self._arm()
        if left_ms is not None:
            self._too_long(left_ms)
        if count is not None:
            self._idle(count)


class _Handler:
    """One registration of `Call.on`."""

    def __init__(
        self, kind: type[Any], handler: Callable[[Any], Awaitable[object] | object]
    ) -> None:
        self._kind = kind
        self._handler = handler
        self._name = getattr(handler, "__qualname__", type(handler).__name__)
        self._queue = SerialQueue(f"handler {self._name}", _log)
        self._is_async = is_async(handler)
        self._first: object = None

    def handle(self, event: object) -> None:
        if not isinstance(event, self._kind):
            return
        if self._is_async:
            self._queue.submit(lambda: _to_the_end(self._handler(event)))
            return
        try:
            made = self._handler(event)
        except Exception as error:  # noqa: BLE001 (the program goes on)
            log_fault(_log, error, "handler %s raised", self._name)
            return
        if inspect.isawaitable(made):
            # A plain function that gives something to await, such as a lambda: so it is an async
            # one, of which the next event waits for this.
            self._is_async = True
            self._first = made
            self._queue.submit(lambda: _to_the_end(made))

    def stop(self) -> None:
        self._queue.cancel()
        if (
            inspect.iscoroutine(self._first)
            and inspect.getcoroutinestate(self._first) == inspect.CORO_CREATED
        ):
            self._first.close()


async def _to_the_end(made: Any) -> None:
    """Awaits it; that the call ends meanwhile is no fault of it."""
    with contextlib.suppress(CallEnded):
        await made
