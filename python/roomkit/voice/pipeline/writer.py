"""`Writer`: the thread that writes all recordings."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["WRITER", "Writer"]

_T = TypeVar("_T")
_P = ParamSpec("_P")

# What may wait in all: half an hour of 8 kHz stereo. With a disk that hangs under a hundred calls,
# newer audio is not worth the memory.
_MAX_BYTES_WAITING: Final = 64 * 2**20


class Writer(Executor):
    """One thread for all that is open: it starts with the first job and ends after the last
    release.

    A thread for each recording would be a hundred at a hundred calls, for a disk that takes one
    write at a time anyway. A job that hangs holds up the others; nobody waits for them but the
    jobs behind. The thread is a daemon: a disk that hangs does not keep the process from ending.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES_WAITING) -> None:
        self._max_bytes = max_bytes
        self.reset()

    def reset(self) -> None:
        """Forgets everything: a forked child has no such thread, and the files are its parent's."""
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._bytes = 0
        self._users = 0
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether there is a thread now."""
        return self._thread is not None

    def acquire(self) -> None:
        """Someone has jobs from now on: the thread waits for them."""
        with self._changed:
            self._users += 1

    def release(self) -> None:
        """He has no more."""
        with self._changed:
            self._users -= 1
            self._changed.notify()

    def reserve(self, size: int) -> bool:
        """Room for `size` bytes that are to wait for the thread; False where too much does."""
        with self._changed:
            if self._bytes + size > self._max_bytes:
                return False
            self._bytes += size
            return True

    def free(self, size: int) -> None:
        """They wait no longer."""
        with self._changed:
            self._bytes -= size

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Runs a job after those before. It cannot be cancelled: what is to be written is, even if
        nobody waits for it any longer."""
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()

        def job() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 (whoever submitted it is told)
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="roomkit-recorder", daemon=True)
                # It waits at the lock that is held here; where it cannot be started, nothing is.
                self._jobs.append(job)
                try:
                    thread.start()
                except BaseException:
                    self._jobs.pop()
                    raise
                self._thread = thread
            else:
                self._jobs.append(job)
                self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._users <= 0:
                        # Whoever submits next finds none and starts one.
                        self._thread = None
                        return
                    self._changed.wait()
                job = self._jobs.popleft()
            job()
            # Or the last job, and with it its recording, would live on in this frame.
            del job

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> Any:
        """Not for its users to do: it ends with the last of them."""
        raise NotImplementedError("the writing thread ends when its last user has released it")


WRITER: Final = Writer()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITER.reset)
