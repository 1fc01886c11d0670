"""How a session hands out frames and events: `Listeners` are called, a `Stream` is iterated."""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from roomkit._faults import log_fault
from roomkit._serial import SerialQueue
from roomkit.errors import shown
from roomkit.voice.base import Unsubscribe

__all__ = ["Listeners", "Stream"]

_log = logging.getLogger("roomkit.rtp")
_T = TypeVar("_T")
_K = TypeVar("_K")

_MOST_AWAITED: Final = 256
"""Items that may wait for an async callback, five seconds of frames; further ones are dropped."""


class Listeners(Generic[_T]):
    """Functions that are called with every item.

    What one returns that can be awaited is awaited, one after another in the order of the items: an
    async function's second call waits for its first, other functions do not.
    """

    __slots__ = ("_boxes", "calls")

    def __init__(self) -> None:
        self._boxes: list[_Box[_T]] = []
        self.calls: tuple[_Box[_T], ...] = ()
        """Replaced as a whole, so that a callback may unsubscribe while they are being called."""

    def add(self, callback: Callable[[_T], object]) -> Unsubscribe:
        """Registers `callback` and returns what takes it back, idempotently."""
        return self._add(callback, callback)

    def add_for(self, kind: type[_K], callback: Callable[[_K], object]) -> Unsubscribe:
        """`add` for the items of one kind."""
        return self._add(callback, lambda item: callback(item) if isinstance(item, kind) else None)

    def call(self, item: _T) -> None:
        """Calls all of them; one that raises is logged and harms no other."""
        for box in self.calls:
            box.call(item)

    def _add(self, callback: object, call: Callable[[_T], object]) -> Unsubscribe:
        if not callable(callback):
            raise TypeError(f"callback: {shown(callback)}; a function fits, plain or async")
        box = _Box(callback, call)
        self._boxes.append(box)
        self.calls = tuple(self._boxes)

        def unsubscribe() -> None:
            # By identity: the same function may be registered twice.
            self._boxes = [other for other in self._boxes if other is not box]
            self.calls = tuple(self._boxes)

        return unsubscribe


class _Box(Generic[_T]):
    """One registration."""

    __slots__ = ("_call", "_callback", "_queue")

    def __init__(self, callback: object, call: Callable[[_T], object]) -> None:
        self._callback = callback
        self._call = call
        self._queue: SerialQueue | None = None

    def call(self, item: _T) -> None:
        """Calls it; what it raises is logged."""
        try:
            result = self._call(item)
            if result is not None and inspect.isawaitable(result):
                self._await(result)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (one harms no other)
            log_fault(_log, error, "callback %r raised; the others go on", self._callback)

    def _await(self, result: Any) -> None:
        if self._queue is None:
            self._queue = SerialQueue(f"callback {self._callback!r}", _log, limit=_MOST_AWAITED)
        if not self._queue.submit(lambda: result) and inspect.iscoroutine(result):
            result.close()  # nobody will await it


class Stream(Generic[_T]):
    """Items from now on, for one `async for`; the newest `limit` of them wait to be taken.

    It listens for as long as someone holds it: breaking out of the loop ends it.
    """

    def __init__(self, listeners: Listeners[_T], limit: int, on_drop: Callable[[], None]) -> None:
        self._items: deque[_T] = deque()
        self._limit = limit
        self._on_drop = on_drop
        self._waiter: asyncio.Future[None] | None = None
        self._finished = False
        reference = weakref.ref(self)

        def put(item: _T) -> None:
            stream = reference()
            if stream is not None:
                stream._put(item)

        self._unsubscribe = listeners.add(put)

    def finish(self) -> None:
        """Ends the iteration after what waits."""
        self._finished = True
        self._unsubscribe()
        self._wake()

    def __aiter__(self) -> Stream[_T]:
        return self

    async def __anext__(self) -> _T:
        while True:
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError(
                    "another task waits for the next item of this iterator, and each item comes"
                    " once; each task iterates over the session, or calls events(), for itself"
                )
            if self._items:
                break
            if self._finished:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()

    def __del__(self) -> None:
        unsubscribe: Any = getattr(self, "_unsubscribe", None)
        if unsubscribe is not None:
            unsubscribe()

    def _put(self, item: _T) -> None:
        if len(self._items) >= self._limit:
            self._items.popleft()  # late audio is worth less than new audio
            self._on_drop()
        self._items.append(item)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
