"""Code of users and providers, within limits: what it takes too long for is given up, and nobody
waits for it.

A voice, a recogniser or a model may hang, may close slowly, may swallow the cancellation of its
task. A call must not. So each of them runs in a task of its own; who needs its result waits so long
and no longer; and what is left of it ends `beside` the call, is logged when it does not, and is
looked at once more when its owner closes.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import AsyncIterable, Coroutine
from typing import Any, Final, Generic, TypeVar

from roomkit._deliveries import waiting_for_us
from roomkit._faults import log_fault

__all__ = ["Beside", "Pump"]

_log = logging.getLogger("roomkit.limits")
_T = TypeVar("_T")

_CLOSE_SECONDS: Final = 5.0
"""What something that was cancelled may take to end before that is told."""


class Beside:
    """Tasks that nobody waits for until their owner closes."""

    def __init__(self, what: str) -> None:
        """`what`: whose tasks these are, for logs."""
        self._what = what
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watches: dict[asyncio.Task[Any], asyncio.TimerHandle] = {}

    def run(
        self,
        work: Coroutine[Any, Any, Any],
        name: str,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        """Runs `work` beside everything else, in a copy of `context` or of the present one; what it
        raises is logged."""
        within = None if context is None else context.copy()
        task = asyncio.get_running_loop().create_task(work, name=name, context=within)
        self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Looks after a task from now on."""
        if task not in self._tasks:
            self._tasks.add(task)
            task.add_done_callback(self._over)

    def end(self, task: asyncio.Task[Any]) -> None:
        """Cancels a task, and does not wait for it."""
        if not task.done():
            task.cancel()
            self.adopt(task)
            if task in self._watches:
                return
            loop = asyncio.get_running_loop()
            self._watches[task] = loop.call_later(_CLOSE_SECONDS, self._late, task)

    async def within(self, work: Coroutine[Any, Any, _T], seconds: float | None, what: str) -> _T:
        """What `work` returns or raises; `TimeoutError` after `seconds`. Whoever waits may be
        cancelled: the work is then cancelled, and ends beside."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        try:
            await asyncio.wait([task], timeout=seconds)
        except asyncio.CancelledError:
            self.end(task)
            raise
        if not task.done():
            self.end(task)
            raise TimeoutError(f"{what} took longer than {seconds:g} s")
        if task.cancelled():
            # Raised here, it would look as if whoever waits had been cancelled.
            raise RuntimeError(f"{what} cancelled itself")
        return task.result()

    async def finish(self, seconds: float) -> None:
        """Gives what still runs `seconds` to end, then cancels it and says what does not end even
        then. The task in which this is called is left alone, and whoever waits for it."""
        mine = {asyncio.current_task(), *waiting_for_us()}
        tasks = [task for task in self._tasks if task not in mine and not task.done()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            _, late = await asyncio.wait(late, timeout=1.0)
        for task in late:
            _log.error("%s: %s does not end and is left behind", self._what, task.get_name())

    def _late(self, task: asyncio.Task[Any]) -> None:
        if not task.done():
            _log.warning(
                "%s: %s was cancelled %g s ago and has not ended; nothing waits for it",
                self._what,
                task.get_name(),
                _CLOSE_SECONDS,
            )

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        watch = self._watches.pop(task, None)
        if watch is not None:
            watch.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            log_fault(_log, error, "%s: %s failed on its way out", self._what, task.get_name())


class Pump(Generic[_T]):
    """Reads a source from its first item to its end in one task of its own, one item ahead.

    One task, since many sources (HTTP clients, `asyncio.timeout` in a generator) must end in the
    task in which they began; a task of its own, so that a reader who has waited long enough can
    leave it to itself. The source goes on when its item has been taken.
    """

    def __init__(
        self,
        source: AsyncIterable[_T],
        beside: Beside,
        what: str,
        *,
        changed: asyncio.Event | None = None,
    ) -> None:
        """`what`: for errors and logs. `changed`: set whenever there is something new, for one who
        waits for several things. The source is closed (`aclose`) when it ends or is left."""
        self._source = source
        self._beside = beside
        self._what = what
        self._items: deque[_T] = deque()
        self._changed = changed or asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None
        self._task = beside.run(self._run(), what)

    @property
    def over(self) -> bool:
        """It was read to its end, or left, and its source is closed."""
        return self._task.done()

    @property
    def has_item(self) -> bool:
        """An item is there."""
        return bool(self._items)

    @property
    def ready(self) -> bool:
        """`take` has something to give: an item, the end or an error."""
        return bool(self._items) or self._ended

    def take(self) -> _T:
        """The next item. Raises `StopAsyncIteration` at the end, and what the source raised."""
        if self._items:
            self._room.set()
            return self._items.popleft()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def next(self, seconds: float | None = None) -> _T:
        """The next item, when it comes. Raises as `take`, and `TimeoutError` when nothing came for
        `seconds`."""
        while not self.ready:
            self._changed.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                raise TimeoutError(f"{self._what}: nothing came for {seconds:g} s") from None
        return self.take()

    def leave(self) -> None:
        """Nobody reads any further: the source is cancelled and closes itself, beside."""
        self._items.clear()
        self._beside.end(self._task)

    async def _run(self) -> None:
        try:
            async for item in self._source:
                self._room.clear()
                self._items.append(item)
                self._changed.set()
                await self._room.wait()
        except Exception as error:  # noqa: BLE001 (raised where it is read)
            self._error = error
        except asyncio.CancelledError:
            if self._task.cancelling():
                raise
            self._error = RuntimeError(f"{self._what} cancelled itself")
        finally:
            # Whoever reads goes on: closing may take its time.
            self._ended = True
            self._changed.set()
            aclose = getattr(self._source, "aclose", None)
            if aclose is not None:
                await aclose()
