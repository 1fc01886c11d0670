"""`Dialogue`: a `Conversation` in real time: it is told things as they happen, woken at its
deadlines, and obeyed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roomkit._clock import now_ms
from roomkit.voice.commands import Command
from roomkit.voice.conversation import Conversation

__all__ = ["Dialogue"]


class Dialogue:
    """`obey` is called for each command, in order and not from within itself: what it tells the
    conversation in turn is told at once, and the commands of that come after."""

    def __init__(self, conversation: Conversation, obey: Callable[[Command], None]) -> None:
        self.conversation = conversation
        self._obey = obey
        self._obeying = False
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def tell(self, what: Callable[[float], object]) -> None:
        """`what` is called with the time now, and is to tell the conversation something."""
        if self._over:
            return
        what(now_ms())
        self._drain()

    def finish(self) -> None:
        """The call is over. Idempotent."""
        if not self._over:
            self.tell(self.conversation.finish)
            self._over = True
            self._set_timer(None)

    def _drain(self) -> None:
        if self._obeying:
            return
        self._obeying = True
        try:
            while (command := self.conversation.poll()) is not None:
                self._obey(command)
        finally:
            self._obeying = False
        self._set_timer(self.conversation.deadline_ms())

    def _set_timer(self, deadline_ms: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms is not None and not self._over:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline_ms / 1000, self._wake, deadline_ms)

    def _wake(self, deadline_ms: float) -> None:
        self._timer = None
        # From ms to seconds and back may be a bit less: it would be woken for nothing.
        self.tell(lambda now: self.conversation.tick(max(now, deadline_ms)))
