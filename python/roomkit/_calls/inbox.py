"""`Inbox`: the events of a call that wait for `async for event in call`."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final, Generic, TypeVar

from roomkit.voice.events import SpeechEndEvent

__all__ = ["Inbox"]

_log = logging.getLogger("roomkit.call")
_E = TypeVar("_E")

_UTTERANCE: Final = 32
"""An utterance takes the place of so many events: it has its audio with it, and a program that
never looks must not collect sound."""


class Inbox(Generic[_E]):
    """Keeps the newest events, in order, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        """Events for which there was no room: the oldest of their time."""
        self.looked_into = False
        """Somebody takes events out: then what is dropped is told."""
        self._events: deque[_E] = deque()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: _E) -> None:
        """Adds an event, at the expense of the oldest."""
        self._events.append(event)
        self._weight += _weight(event)
        while self._weight > self.limit and len(self._events) > 1:
            self._weight -= _weight(self._events.popleft())
            self.dropped += 1
            if self.looked_into and self.dropped == 1:
                _log.warning("events of a call come faster than they are taken; some are dropped")

    def take(self) -> _E:
        """The oldest."""
        self.looked_into = True
        event = self._events.popleft()
        self._weight -= _weight(event)
        return event


def _weight(event: object) -> int:
    return _UTTERANCE if isinstance(event, SpeechEndEvent) else 1
