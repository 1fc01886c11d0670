"""The framework's clock: that of the event loop, so that a test with a virtual one moves it all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

__all__ = ["now_ms", "outside"]


def now_ms() -> float:
    """The running loop's time, in ms."""
    return asyncio.get_running_loop().time() * 1000


def outside() -> AbstractContextManager[None]:
    """For what a thread of ours does for the running loop: a virtual clock (`roomkit.testing`)
    stands still until the block is left. On any other loop, nothing."""
    hold: Callable[[], AbstractContextManager[None]]
    hold = getattr(asyncio.get_running_loop(), "outside", nullcontext)
    return hold()
