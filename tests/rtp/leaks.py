"""Nothing is left over: file descriptors and media threads before a test and after it."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

__all__ = ["assert_given_back", "held", "no_leaks"]


@pytest_asyncio.fixture(autouse=True)
async def no_leaks() -> AsyncIterator[None]:
    """Fails a test that leaves a descriptor or a media thread behind."""
    before = held()
    yield
    assert_given_back(before)


def assert_given_back(before: list[str]) -> None:
    """Fails if more is held than before. A thread that was joined may be listed for a moment more:
    the kernel tells the joiner before it takes the thread out of /proc."""
    gc.collect()
    end = time.monotonic() + 1
    while (left := Counter(held()) - Counter(before)) and time.monotonic() < end:
        pass
    assert not left, f"left behind: {dict(left)}"


def held() -> list[str]:
    """Open descriptors, by what they are, and threads of roomkit; empty where /proc is missing."""
    threads = [t.name for t in threading.enumerate() if t.name.startswith("roomkit")]
    if sys.platform != "linux":
        return threads
    found = list(threads)
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # that of the listing itself
            continue
        if not target.startswith("/"):  # files belong to pytest and to the import system
            found.append(target)
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
        if name.startswith("roomkit"):
            found.append(name)
    return sorted(found)
