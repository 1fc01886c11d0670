"""`Source`: a voice that is faster than anybody can hear it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from roomkit.voice.base import AudioChunk

SOUND: Final = AudioChunk(b"\x11\x22" * 800, 8000)
"""100 ms of anything."""


class Source:
    """Endless, faster than real time; it counts what is read of it and says when it is closed."""

    def __init__(self, *, fail_after: int | None = None, stall_after: int | None = None) -> None:
        self.read = 0
        self.closed = False
        self._fail_after = fail_after
        self._stall_after = stall_after

    async def chunks(self) -> AsyncIterator[AudioChunk]:
        """What is played."""
        try:
            while True:
                if self.read == self._fail_after:
                    raise ConnectionResetError("the voice is gone")
                if self.read == self._stall_after:
                    await asyncio.Event().wait()
                self.read += 1
                yield SOUND
        finally:
            self.closed = True
