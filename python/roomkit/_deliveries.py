"""Deliveries: events on their way to handlers, one at a time for each handler of a session.

A `Delivery` is one call of one handler. Those of a handler and a session run one after another;
each runs in a task of its own, so whoever waits for one may be cancelled without harm to it, and in
the context of whoever emitted the event. A delivery knows from within which other it came
(`parent`): that is how a hook which closes its call is not waited for by what it closes.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from roomkit._faults import log_fault

__all__ = ["Delivery", "Handlers", "current_delivery", "waiting_for_us"]

_log = logging.getLogger("roomkit.hooks")

_current: contextvars.ContextVar[Delivery | None] = contextvars.ContextVar(
    "roomkit_delivery", default=None
)


def current_delivery() -> Delivery | None:
    """The call of a handler from within which this is asked, by whatever tasks it has begun."""
    return _current.get()


def waiting_for_us() -> set[asyncio.Task[Any]]:
    """Tasks that need the result of a handler from within which this is asked: whoever waits for
    them would wait for himself."""
    found: set[asyncio.Task[Any]] = set()
    delivery = _current.get()
    while delivery is not None:
        if delivery.waiter is not None:
            found.add(delivery.waiter)
        delivery = delivery.parent
    return found


class Delivery:
    """One call of a handler: it has its place in the handler's queue from the moment at which the
    event happened, runs when it is open and those before it have ended, and then `over` is set."""

    def __init__(self, queue: _Queue) -> None:
        self.parent = _current.get()
        self.over = asyncio.Event()
        self.limit: asyncio.Timeout | None = None
        """What ends the call when it takes too long, while it runs."""
        self.waiter: asyncio.Task[Any] | None = None
        """Who needs its result."""
        self._call: Callable[[Delivery], Awaitable[Any]] | None = None
        self._queue = queue
        self._context = contextvars.copy_context()
        self._context.run(_current.set, self)
        self._task: asyncio.Task[Any] | None = None
        self._returned: Any = None
        self._released = asyncio.Event()
        self._speaking = 0
        self._left_s: float | None = None
        self._cancelled = False

    # --- for whoever waits for it -----------------------------------------------------------------

    async def result(self) -> Any:
        """What the handler returned; None if it raised or was cancelled."""
        self.waiter = asyncio.current_task()
        await self.over.wait()
        return self._returned

    async def result_unless_speaking(self) -> Any:
        """The same, or None as soon as the handler waits for the caller."""
        await self._released.wait()
        return self._returned

    def release(self) -> None:
        """Nobody is to wait for it any longer."""
        self._released.set()

    @property
    def is_speaking(self) -> bool:
        """The handler waits for the caller."""
        return self._speaking > 0

    def encloses(self, other: Delivery | None) -> bool:
        """Whether `other` is this one, or was begun from within it."""
        while other is not None:
            if other is self:
                return True
            other = other.parent
        return False

    # --- its course -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """It may begin."""
        return self._call is not None

    def open(self, call: Callable[[Delivery], Awaitable[Any]]) -> None:
        """What is to be called when its turn comes, which may be now."""
        if not self.over.is_set():
            self._call = call
            self._queue.advance()

    def begin(self) -> None:
        """Calls the handler, in a task."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name=self._queue.name, context=self._context)

    def cancel(self) -> None:
        """Ends the call, or has it never begin."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
        else:
            self._end()
            self._queue.advance()

    def begin_speaking(self) -> None:
        """The handler waits for the caller: nobody waits for it, nor for those behind it."""
        if self.over.is_set():
            return
        self._speaking += 1
        if self._speaking > 1:
            return
        self._queue.release_all()
        limit = self.limit
        when = None if limit is None else limit.when()
        if limit is not None and when is not None:
            self._left_s = max(0.0, when - asyncio.get_running_loop().time())
            limit.reschedule(None)

    def end_speaking(self) -> None:
        """Its time runs on."""
        if self._speaking == 0:
            return
        self._speaking -= 1
        if self._speaking == 0 and self.limit is not None and self._left_s is not None:
            self.limit.reschedule(asyncio.get_running_loop().time() + self._left_s)

    async def _run(self) -> None:
        assert self._call is not None  # only an open one begins
        try:
            self._returned = await self._call(self)
        except asyncio.CancelledError:
            # Of this call alone, by `cancel` or by the handler itself; or of all tasks, by a loop
            # that ends.
            task = asyncio.current_task()
            if task is not None and task.cancelling() and not self._cancelled:
                self._queue.give_up()
            _log.debug("%s was cancelled", self._queue.name)
        except Exception as error:  # noqa: BLE001 (the next one is called)
            log_fault(_log, error, "%s raised", self._queue.name)
        finally:
            self._end()
            self._queue.ended()

    def _end(self) -> None:
        self._speaking = 0
        self.over.set()
        self._released.set()


class _Queue:
    """One handler's deliveries in one session."""

    def __init__(self, name: str, on_idle: Callable[[], object]) -> None:
        self.name = name
        self.waiting: deque[Delivery] = deque()
        self.running: Delivery | None = None
        self._on_idle = on_idle

    def put(self, delivery: Delivery) -> None:
        self.waiting.append(delivery)
        if self.running is not None and self.running.is_speaking:
            delivery.release()

    def encloses(self, delivery: Delivery | None) -> bool:
        return self.running is not None and self.running.encloses(delivery)

    def advance(self) -> None:
        """Begins the next one, if it may begin."""
        if self.running is not None:
            return
        while self.waiting and self.waiting[0].over.is_set():
            self.waiting.popleft()
        if not self.waiting:
            self._on_idle()
        elif self.waiting[0].is_open:
            self.running = self.waiting.popleft()
            self.running.begin()

    def ended(self) -> None:
        self.running = None
        self.advance()

    def give_up(self) -> None:
        for delivery in list(self.waiting):
            delivery.cancel()

    def release_all(self) -> None:
        if self.running is not None:
            self.running.release()
        for delivery in self.waiting:
            delivery.release()


class Handlers:
    """The queues of all handlers. To be used on one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """How many deliveries may wait in one queue."""
        self.dropped = 0
        """Events that a queue had no room for."""
        self._queues: dict[Hashable, _Queue] = {}

    def reserve(self, key: Hashable, name: str, *, waited_for: bool = False) -> Delivery | None:
        """A place in the queue of the handler `key`, to be opened or cancelled; None where too many
        wait, or where the handler would wait for itself: what is `waited_for` from within it cannot
        wait for its end."""
        queue = self._queues.get(key)
        if waited_for and queue is not None and queue.encloses(_current.get()):
            return None
        if queue is None:
            queue = self._queues[key] = _Queue(f"hook {name}", lambda: self._queues.pop(key, None))
        if len(queue.waiting) >= self.limit + (queue.running is None):
            self.dropped += 1
            if self.dropped == 1:
                _log.warning(
                    "%s is slower than its events: %d wait, further ones are dropped",
                    queue.name,
                    self.limit,
                )
            return None
        delivery = Delivery(queue)
        queue.put(delivery)
        return delivery

    def busy(self, asking: Delivery | None) -> list[Delivery]:
        """What runs or waits, but for the deliveries from within which is asked, and what waits
        behind those."""
        found: list[Delivery] = []
        for queue in self._queues.values():
            if queue.running is None:
                found += queue.waiting
            elif not queue.encloses(asking):
                found += [queue.running, *queue.waiting]
        return [delivery for delivery in found if not delivery.over.is_set()]
