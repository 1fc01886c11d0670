"""The framework's clock: that of the event loop, so that a test with a virtual one moves it all."""

from __future__ import annotations

import asyncio

__all__ = ["now_ms"]


def now_ms() -> float:
    """The running loop's time, in ms."""
    return asyncio.get_running_loop().time() * 1000
