"""Closing what was played: beside the call, which it must not hold up."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from roomkit._faults import log_fault
from roomkit.rtp.audio import PieceReader

__all__ = ["GRACE_S", "Closing"]

_log = logging.getLogger("roomkit.rtp")

GRACE_S: Final = 0.02
"""As long as a frame: most sources are closed by then, and who plays them finds them so."""
_LIMIT_S: Final = 3.0
"""A connection's closing handshake takes so long where it is slow; who takes longer hangs."""


class Closing:
    """Ends the reading of a source and closes it, in a task of its own.

    A source that takes longer than some seconds is interrupted, told of once, and left to itself.
    """

    def __init__(self, feeder: asyncio.Task[None], reader: PieceReader, name: str) -> None:
        """`feeder` reads it; `name`: of the session, for logs."""
        self._feeder = feeder
        self._reader = reader
        self._name = name
        self._told = False  # who plays it raises what it raises
        self.task = asyncio.get_running_loop().create_task(self._close(), name="roomkit closing")

    async def settle(self) -> None:
        """Waits a frame at the most, and raises what the source raised on its way out."""
        await asyncio.wait((self.task,), timeout=GRACE_S)
        if self.task.done() and not self._told:
            self._told = True
            self.task.result()

    def let_go(self) -> None:
        """Nobody waits for it any longer: what it raises is logged."""
        if self._told:
            return
        self._told = True
        self.task.add_done_callback(self._log)

    def _log(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log_fault(_log, error, "session %s: a source did not end", self._name)

    async def _close(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _LIMIT_S
        feeder: asyncio.Task[Any] = self._feeder
        if not feeder.done():
            feeder.cancel()
        if not await self._ends(feeder, until):
            return
        closer = loop.create_task(self._reader.aclose(), name="roomkit closing a source")
        if not await self._ends(closer, until):
            return
        for task in (closer, feeder):
            if not task.cancelled():
                task.result()

    async def _ends(self, task: asyncio.Task[Any], until: float) -> bool:
        """Whether it ends in time."""
        left_s = until - asyncio.get_running_loop().time()
        await asyncio.wait((task,), timeout=max(0.0, left_s))
        if task.done():
            return True
        _log.warning(
            "session %s: a source has not closed within %g s, and is left to itself; the call"
            " goes on",
            self._name,
            _LIMIT_S,
        )
        task.add_done_callback(_forget)
        task.cancel()
        return False


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # it is no news any longer
