"""`Items`: any source of items, sync or async, read without stopping the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Final

from roomkit._clock import outside
from roomkit._faults import log_fault

__all__ = ["Items"]

_log = logging.getLogger("roomkit.items")

_INLINE: Final[tuple[type, ...]] = (list, tuple, type(iter([])), type(iter(())))
"""What is there already: reading it waits for nothing."""
_END: Final = object()
_held: Final[set[int]] = set()
"""Ids of the iterators that are being read: each gives its items once."""


class Items:
    """The items of `source`, one at a time, each read when it is asked for; then `aclose`.

    A plain iterable may wait for a network, a disk or a model wherever it likes: it is read in a
    thread of its own, in the context of whoever made this. A list or a tuple is read here.

    Raises `RuntimeError` for an iterator that is being read already: each would get half of it.
    """

    def __init__(self, source: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._closed = True
        if isinstance(source, (AsyncIterator, Iterator)):
            if id(source) in _held:
                raise RuntimeError(
                    f"this {type(source).__name__} is played already, and gives its audio once;"
                    " each playback has an iterator of its own"
                )
            _held.add(id(source))
        self._source = source
        self._async: AsyncIterator[Any] | None = None
        self._plain: Iterator[Any] | None = None
        self._thread: _Thread | None = None
        self._closed = False

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> Any:
        if self._closed:
            raise StopAsyncIteration
        source = self._source
        if isinstance(source, AsyncIterable):
            if self._async is None:
                self._async = aiter(source)
            return await anext(self._async)
        if isinstance(source, _INLINE):
            if self._plain is None:
                self._plain = iter(source)
            item = next(self._plain, _END)
        else:
            if self._thread is None:
                self._thread = _Thread(source)
            item = await self._thread.read()
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Closes the source, if it is a generator or knows how to close. Idempotent.

        One that blocks at this moment, in its thread, is closed when it gives control back, and
        not waited for.
        """
        if self._closed:
            return
        self._closed = True
        _held.discard(id(self._source))
        if self._thread is not None:
            await self._thread.close()
            return
        for each in _both(self._async, self._source):
            close = getattr(each, "aclose", None)
            if close is not None:
                await close()
                continue
            close = getattr(each, "close", None)
            if close is not None:
                close()

    def __del__(self) -> None:
        # Whoever had it has forgotten to close it; a thread would wait for ever.
        if self._closed:
            return
        _held.discard(id(self._source))
        if self._thread is not None:
            self._thread.dismiss()


class _Thread:
    """Reads an iterable in a thread, which has nothing to do but when it is asked."""

    def __init__(self, source: Iterable[Any]) -> None:
        self._source = source
        self._iterator: Iterator[Any] | None = None
        self._loop = asyncio.get_running_loop()
        # Whether it is to read on, or to close and end; and who waits for that.
        self._asked: queue.SimpleQueue[tuple[bool, asyncio.Future[Any] | None]]
        self._asked = queue.SimpleQueue()
        self._busy = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="roomkit-source", daemon=True
        )
        self._thread.start()

    async def read(self) -> Any:
        """The next item, `_END` after the last. What the source raises is raised here."""
        self._busy = True
        return await self._ask(reads=True)

    async def close(self) -> None:
        """Ends the thread. Raises what the source's closing does, if that could be waited for."""
        if self._busy:
            # The one that asked last has gone. It cannot be interrupted, only outlived.
            self.dismiss()
        else:
            await self._ask(reads=False)

    def dismiss(self) -> None:
        """Ends the thread when its source gives control back, and waits for nothing."""
        self._asked.put((False, None))

    async def _ask(self, *, reads: bool) -> Any:
        answer: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()
        self._asked.put((reads, answer))
        with outside():
            item, error = await answer
        if error is not None:
            raise error
        return item

    def _run(self) -> None:
        while True:
            reads, answer = self._asked.get()
            item: Any = _END
            error: BaseException | None = None
            try:
                if reads:
                    item = self._next()
                else:
                    self._close()
            except BaseException as raised:  # noqa: BLE001 (it is raised where the item is awaited)
                error = raised
            if answer is not None:
                self._tell(answer, item, error)
            elif error is not None:
                log_fault(_log, error, "a source did not close cleanly")
            if not reads:
                return
            del item, error  # a source may wait long; what it gave is not ours to keep

    def _next(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._source)
        return next(self._iterator, _END)

    def _close(self) -> None:
        for each in _both(self._iterator, self._source):
            close = getattr(each, "close", None)
            if close is not None:
                close()

    def _tell(self, answer: asyncio.Future[Any], item: Any, error: BaseException | None) -> None:
        def tell() -> None:
            self._busy = False
            if not answer.done():
                answer.set_result((item, error))

        with contextlib.suppress(RuntimeError):  # the loop has closed since
            self._loop.call_soon_threadsafe(tell)


def _both(iterator: Any, source: Any) -> list[Any]:
    """An iterator, and what it was made of: an object may hold what its iterator reads."""
    return [source] if iterator is None or iterator is source else [iterator, source]
