"""`CallbackList`: the callbacks registered for one kind of event, and how they are called."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from roomkit._faults import log_fault
from roomkit._handlers import is_async
from roomkit._serial import SerialQueue
from roomkit.errors import shown
from roomkit.voice.base import Unsubscribe, VoiceSession

__all__ = ["CallbackList"]

_log = logging.getLogger("roomkit.voice.callbacks")


class CallbackList:
    """Callbacks for one kind of event of a backend.

    - Several callbacks: each is called, in the order of registration; one that raises is logged
      and harms no other.
    - An async callback is awaited in order per session: its second event waits for its first,
      other sessions and other callbacks do not. At most `limit` events of a session wait for a
      callback; further ones are dropped and counted.
    - `add` returns an unsubscribe function; calling that twice does no harm. What was queued for
      an async callback before it unsubscribed is still delivered.

    `fire` is called on the event loop for every frame of every call: with sync callbacks only it
    makes no task, takes no lock and allocates nothing but its argument tuple.
    """

    __slots__ = ("_calls", "_entries", "_limit", "_name")

    def __init__(self, name: str, *, limit: int = 256) -> None:
        self._name = name
        self._limit = limit
        self._entries: list[_Entry] = []
        # What `fire` walks: replaced as a whole, so that a callback may unsubscribe while it runs.
        self._calls: tuple[Callable[..., Any], ...] = ()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, callback: Callable[..., Any]) -> Unsubscribe:
        """Registers `callback`. Raises `TypeError` if it cannot be called."""
        if not callable(callback):
            raise TypeError(f"{self._name}: {shown(callback)} is not callable; a function fits")
        entry = _Entry(self._name, callback, self._limit)
        self._entries.append(entry)
        self._calls = tuple(entry.call for entry in self._entries)

        def unsubscribe() -> None:
            if entry in self._entries:
                self._entries.remove(entry)
                self._calls = tuple(entry.call for entry in self._entries)

        return unsubscribe

    def fire(self, session: VoiceSession, *args: Any) -> None:
        """Calls every callback with `(session, *args)`. Raises nothing that a callback raised."""
        for call in self._calls:
            try:
                result = call(session, *args)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (one harms no other)
                self._report(call, error)
            else:
                if result is not None:
                    self._later(call, session, result)

    async def join(self) -> None:
        """Returns when the async callbacks have finished what had been fired by now."""
        for entry in list(self._entries):
            for queue in list(entry.queues.values()):
                await queue.join()

    @property
    def dropped(self) -> int:
        """Events that did not reach an async callback because too many waited for it."""
        return sum(entry.dropped for entry in self._entries)

    def _report(self, call: Callable[..., Any], error: BaseException) -> None:
        name = _name_of(call)
        log_fault(_log, error, "%s: callback %s raised; the others go on", self._name, name)

    def _later(self, call: Callable[..., Any], session: VoiceSession, result: Any) -> None:
        """A plain function returned something: if that is an awaitable, it is awaited in order."""
        if not inspect.isawaitable(result):
            return
        for entry in self._entries:
            if entry.call is call:
                if entry.submit(session, lambda: result):
                    return
                break
        if inspect.iscoroutine(result):  # no room, or it unsubscribed itself meanwhile
            result.close()


class _Entry:
    """One registration: what `fire` calls, and the queues of an async callback."""

    __slots__ = ("_callback", "_limit", "_name", "call", "dropped", "queues")

    def __init__(self, name: str, callback: Callable[..., Any], limit: int) -> None:
        self._name = f"{name}: callback {_name_of(callback)}"
        self._callback = callback
        self._limit = limit
        self.queues: dict[str, SerialQueue] = {}
        self.dropped = 0
        self.call = self._enqueue if is_async(callback) else callback

    def _enqueue(self, session: VoiceSession, *args: Any) -> None:
        self.submit(session, functools.partial(self._callback, session, *args))

    def submit(self, session: VoiceSession, job: Callable[[], Awaitable[object]]) -> bool:
        key = session.id
        queue = self.queues.get(key)
        if queue is None:
            queue = SerialQueue(
                self._name,
                _log,
                limit=self._limit,
                on_idle=lambda: self._idle(key),
            )
            self.queues[key] = queue
        taken = queue.submit(job)
        self.dropped += not taken
        return taken

    def _idle(self, key: str) -> None:
        self.queues.pop(key, None)


def _name_of(callback: Callable[..., Any]) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, _Entry):
        callback = owner._callback
    return getattr(callback, "__qualname__", None) or type(callback).__name__
