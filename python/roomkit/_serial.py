"""`SerialQueue`: coroutines of one session, one after another, and never without bound."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from roomkit._faults import log_fault

__all__ = ["SerialQueue"]

Job = Callable[[], Awaitable[object]]


class SerialQueue:
    """Runs jobs in the order in which they were submitted, each to its end before the next begins.

    There is a task only while there is work. A job that raises is logged and the next one runs.
    When `limit` jobs wait, a new one is dropped, counted in `dropped`, and the first drop of a
    row is logged: a slow observer must not collect memory for as long as a call lasts.

    To be used on one event loop.
    """

    __slots__ = ("_jobs", "_log", "_name", "_on_idle", "_task", "dropped", "limit")

    def __init__(
        self,
        name: str,
        log: logging.Logger,
        *,
        limit: int = 256,
        on_idle: Callable[[], None] | None = None,
    ) -> None:
        self._name = name
        self._log = log
        self._jobs: deque[Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._on_idle = on_idle
        self.limit = limit
        self.dropped = 0
        """Jobs that were refused because the queue was full."""

    def submit(self, job: Job) -> bool:
        """Queues `job`; False when the queue is full. Call on the event loop's thread."""
        if len(self._jobs) >= self.limit:
            self.dropped += 1
            if self.dropped == 1:
                self._log.warning(
                    "%s is slower than its events: %d wait, further ones are dropped",
                    self._name,
                    self.limit,
                )
            return False
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)
        self._jobs.append(job)
        return True

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What runs the jobs; None while there is nothing to do."""
        return self._task

    @property
    def is_current(self) -> bool:
        """True when asked by a job of this queue."""
        return self._task is not None and self._task is _current_task()

    async def join(self) -> None:
        """Returns when everything submitted so far has run. From within a job of this queue it
        returns at once: the job cannot wait for itself."""
        if self._task is not None and not self.is_current:
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Forgets what waits and cancels what runs (unless this is called by what runs)."""
        self._jobs.clear()
        if self._task is not None and not self.is_current:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._jobs:
                job = self._jobs.popleft()
                try:
                    await job()
                except Exception as error:  # noqa: BLE001 (a job may raise anything; the next one runs)
                    log_fault(self._log, error, "%s raised", self._name)
                except asyncio.CancelledError:
                    # Either this task is being cancelled, or the job let a cancellation of its own
                    # escape: that ends the job only.
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    self._log.warning("%s was cancelled", self._name)
        finally:
            # No await between the last look at the queue and here: nothing can slip in between.
            self._task = None
            self._jobs.clear()
            if self._on_idle is not None:
                self._on_idle()


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
