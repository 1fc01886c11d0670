"""`Writer`: the thread that writes all recordings."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["WRITER", "Writer"]

# What may wait in all: ten minutes of 8 kHz stereo. With a disk that hangs under a hundred calls,
# newer audio is not worth the memory.
_MAX_BYTES_WAITING: Final = 64 * 2**20


class Writer:
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
        self._jobs: deque[tuple[Callable[[], None], int]] = deque()
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

    def submit(self, job: Callable[[], None], size: int = 0) -> bool:
        """Runs `job`, which must not raise, after those before; False where too much waits. `size`
        is what it holds in bytes; one of 0 is always taken."""
        with self._changed:
            if size and self._bytes + size > self._max_bytes:
                return False
            self._bytes += size
            self._jobs.append((job, size))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="roomkit-recorder", daemon=True
                )
                self._thread.start()
            self._changed.notify()
            return True

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._users <= 0:
                        # Whoever submits next finds none and starts one.
                        self._thread = None
                        return
                    self._changed.wait()
                job, size = self._jobs.popleft()
            job()
            # Or the last job, and with it its recording, would live on in this frame.
            del job
            with self._changed:
                self._bytes -= size


WRITER: Final = Writer()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITER.reset)
