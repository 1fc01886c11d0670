"""How a session hands out frames and events: `Listeners` are called, a `Stream` is iterated."""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from roomkit._faults import log_fault
from roomkit.errors import shown
from roomkit.voice.base import Unsubscribe

__all__ = ["Listeners", "Stream"]

_log = logging.getLogger("roomkit.rtp")
_T = TypeVar("_T")
_K = TypeVar("_K")


class Listeners(Generic[_T]):
    """Plain functions that are called with every item."""

    __slots__ = ("_boxes", "calls")

    def __init__(self) -> None:
        self._boxes: list[tuple[Callable[[_T], object]]] = []
        self.calls: tuple[Callable[[_T], object], ...] = ()
        """Replaced as a whole, so that a callback may unsubscribe while they are being called."""

    def add(self, callback: Callable[[_T], object]) -> Unsubscribe:
        """Registers `callback` and returns what takes it back, idempotently."""
        _check_callback(callback)
        box = (callback,)
        self._boxes.append(box)
        self._refresh()

        def unsubscribe() -> None:
            # By identity: the same function may be registered twice.
            self._boxes = [other for other in self._boxes if other is not box]
            self._refresh()

        return unsubscribe

    def add_for(self, kind: type[_K], callback: Callable[[_K], object]) -> Unsubscribe:
        """`add` for the items of one kind."""
        _check_callback(callback)
        return self.add(lambda item: callback(item) if isinstance(item, kind) else None)

    def call(self, item: _T) -> None:
        """Calls all of them; one that raises is logged and harms no other."""
        for callback in self.calls:
            try:
                callback(item)
            except Exception as error:  # noqa: BLE001 (one harms no other)
                log_fault(_log, error, "callback %r raised; the others go on", callback)

    def _refresh(self) -> None:
        self.calls = tuple(box[0] for box in self._boxes)


def _check_callback(callback: object) -> None:
    if not callable(callback) or inspect.iscoroutinefunction(callback):
        raise TypeError(
            f"callback: {shown(callback)}; a plain function fits"
            " (to await, iterate over the session)"
        )


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
        while not self._items:
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
