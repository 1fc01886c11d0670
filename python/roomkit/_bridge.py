"""Where the media core meets asyncio: one engine per process, one inbox per event loop.

The core puts frames and events of all sessions of a loop into that loop's inbox and makes its
descriptor readable; the loop then calls `LoopBridge._drain` once, which hands each item to its
session. Nothing is scheduled per item. The descriptor stays readable while anything waits, so a
bounded drain gives other work of the loop its turn and is called again.

    media threads ──► Inbox ──► add_reader ──► _drain ──► Receiver.on_media_frame / on_media_item

Engine, threads and inboxes exist only while there are sessions. In a forked child there are none:
what it inherited is over, its descriptors belong to the parent, and it begins anew.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Protocol

from roomkit import _native
from roomkit._faults import log_fault
from roomkit.rtp.checks import number

__all__ = ["LoopBridge", "Receiver", "configure_media", "running_bridge"]

_log = logging.getLogger("roomkit.media")

# Items handed out per wake of the loop: about 1 ms of Python at 2-3 µs each. After a stall of the
# application the backlog is worked off in such pieces, between which everything else runs.
_DRAIN_LIMIT: Final = 512
# A session says goodbye when its next frame is due, at most 60 ms from now; who closes it looks so
# often whether it has. No thread waits for it: a process may be out of them just then.
_CLOSE_POLL_S: Final = 0.005
# The media thread answers within tens of ms even on a machine that is busy with other things.
_CLOSE_PATIENCE_S: Final = 2.0


def configure_media(*, threads: int = 1, realtime: bool = True) -> None:
    """Sets the media threads that all sessions of this process share.

    `threads`: how many, 1 to 64; one serves hundreds of calls. `realtime`: schedule them before
    everything that is not real-time, where the process may (root, or a limit on `rtprio`): the only
    way to be on time on an overloaded machine. Without it, or without the right, they ask for a
    short slice and a high nice level.

    It counts for the next engine: call it before the first session. Raises `RuntimeError` while
    there are sessions, `ValueError` for a number that does not fit.
    """
    number(threads, "threads", 1, 64)
    _process.configure(threads, bool(realtime))


class Receiver(Protocol):
    """What a session does with its items, on the event loop's thread."""

    def on_media_frame(
        self, pcm: bytes, timestamp_ms: float, kind: int, clock_ms: float
    ) -> None: ...
    def on_media_item(self, kind: int, a: Any, b: Any, c: Any, d: Any) -> None: ...
    def on_loop_end(self) -> None:
        """The loop ends with the session still open: close it, without awaiting."""

    def on_fork(self) -> None:
        """This is the copy of a forked child: it is over, and nothing of it is to be waited for."""


def running_bridge() -> LoopBridge:
    """The bridge of the running event loop, made on first use.

    Raises `RuntimeError` on a loop that cannot watch descriptors (Windows' Proactor).
    """
    loop = asyncio.get_running_loop()
    with _process.lock:
        reference = _process.bridges.get(loop)
        bridge = None if reference is None else reference()
        if bridge is None or bridge.closed:
            bridge = LoopBridge(loop)
            _process.bridges[loop] = weakref.ref(bridge)
    return bridge


class LoopBridge:
    """The inbox of one event loop and the sessions that read it.

    `open` belongs on the loop's thread; a session may be closed from anywhere, also when the loop
    has closed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self._receivers: dict[int, Receiver] = {}
        self._natives: dict[int, _native.Session] = {}
        # The bound methods of the same receivers: one look-up per frame.
        self._frames: dict[int, Callable[[bytes, float, int, float], None]] = {}
        self._closing: set[int] = set()  # sessions that are being closed, by whichever loop
        self._ended: set[int] = set()  # sessions whose last item was handed out
        self._ending = False
        self._inbox = _native.Inbox()
        try:
            loop.add_reader(self._inbox.fileno(), _Watch(self))
        except NotImplementedError:
            self._inbox.close()
            raise RuntimeError(
                f"{type(loop).__name__} cannot watch file descriptors, which the media core needs;"
                " on Windows use asyncio.SelectorEventLoop"
            ) from None
        self._sentinel = self._at_loop_end()
        _step(self._sentinel.asend(None))

    def open(self, config: dict[str, Any], receiver: Receiver) -> _native.Session:
        """Opens a session whose items go to `receiver`. Raises `OSError`, `ValueError`."""
        try:
            session = _process.open(self._inbox, config)
        except BaseException:
            self._retire()
            raise
        # Items wait in the inbox until this thread drains it, so none comes before this line.
        self._receivers[session.key] = receiver
        self._natives[session.key] = session
        self._frames[session.key] = receiver.on_media_frame
        return session

    @property
    def here(self) -> bool:
        """Whether the caller runs on this loop."""
        return _running_loop() is self.loop

    async def close(
        self, session: _native.Session, reason: str, *, to_the_end: bool = False
    ) -> None:
        """Closes a session and forgets it; from any loop. If the caller is cancelled meanwhile,
        that is raised when all is done. `to_the_end`, on this loop: its receiver gets every item
        before that, `CLOSED` the last."""
        try:
            self._closing.add(session.key)
            session.begin_close(reason)
            await _until_over(session)
            if to_the_end:
                await self._drain_to_the_end(session.key)
        finally:
            self._forget(session)

    def close_now(self, session: _native.Session) -> None:
        """`close` for when nothing can be awaited any longer: it blocks for a few ms."""
        try:
            session.close("")
        finally:
            self._forget(session)

    def _forget(self, session: _native.Session) -> None:
        if self._receivers.pop(session.key, None) is None:
            return
        self._natives.pop(session.key, None)
        self._frames.pop(session.key, None)
        self._closing.discard(session.key)
        self._ended.discard(session.key)
        _process.release()
        if self._receivers:
            return
        if self.loop.is_closed() or self.here:
            self._retire()
        else:
            try:
                self.loop.call_soon_threadsafe(self._retire)
            except RuntimeError:  # it closed since
                self._retire()

    def _drain(self) -> None:
        if self.closed:
            return
        frames = self._frames
        frame_kind, closed_kind = _native.FRAME, _native.CLOSED
        for key, kind, a, b, c, d in self._inbox.drain(_DRAIN_LIMIT):
            try:
                if kind == frame_kind:
                    on_frame = frames.get(key)
                    if on_frame is not None:
                        on_frame(a, b, c, d)
                else:
                    receiver = self._receivers.get(key)
                    if receiver is not None:
                        if kind == closed_kind:
                            self._ended.add(key)
                        receiver.on_media_item(kind, a, b, c, d)
            except Exception as error:  # noqa: BLE001 (one session's failure is not the others')
                log_fault(_log, error, "session %d: receiving failed", key)

    async def _drain_to_the_end(self, key: int) -> None:
        # A session that is closed has put its last item in; items of others may come first.
        while key in self._receivers and key not in self._ended:
            self._drain()
            await asyncio.sleep(0)

    def _retire(self) -> None:
        """Gives the inbox back, if no session came meanwhile. On the loop's thread, or after it."""
        if self._receivers or self.closed:
            return
        self.closed = True
        if not self.loop.is_closed():
            self.loop.remove_reader(self._inbox.fileno())
        self._inbox.close()
        # Its descriptor goes with the last reference, and a session that the program keeps for its
        # numbers keeps this bridge.
        del self._inbox
        if not self._ending:
            _step(self._sentinel.aclose())

    async def _at_loop_end(self) -> AsyncGenerator[None, None]:
        """Waits for `loop.shutdown_asyncgens`, which every orderly end of a loop calls: an
        application that ends without closing its sessions still says BYE and frees their ports."""
        try:
            yield
        finally:
            self._ending = True
            self._end_with_loop()

    def _end_with_loop(self) -> None:
        """Closes what is still open, and says so: who opened it has forgotten it."""
        for key in list(self._closing):
            self.close_now(self._natives[key])
        still_open = [(self._natives[key], receiver) for key, receiver in self._receivers.items()]
        for _, receiver in still_open:
            try:
                receiver.on_loop_end()
            except Exception:  # noqa: BLE001 (the others are closed too)
                _log.exception("a session did not close with its event loop")
        for native, receiver in still_open:
            host, port = native.local_addr
            warnings.warn(
                f"the session on {host}:{port} was not closed before its event loop ended; it is"
                " closed now, and its ports are free",
                ResourceWarning,
                source=receiver,
                stacklevel=2,
            )

    def _loop_gone(self) -> None:
        """The loop was closed, and nobody was told before."""
        if not self.closed:
            self._end_with_loop()

    def _fork(self) -> None:
        """In a forked child: neither the loop nor the inbox is touched, since the parent's loop
        would lose its reader by it."""
        self.closed = self._ending = True
        receivers, self._receivers = list(self._receivers.values()), {}
        self._natives, self._frames = {}, {}
        for receiver in receivers:
            receiver.on_fork()


class _Watch:
    """What an event loop holds of a bridge. It goes when the loop is closed, which tells nobody
    else: `loop.close` calls nothing, but it forgets its readers."""

    def __init__(self, bridge: LoopBridge) -> None:
        self._bridge = bridge

    def __call__(self) -> None:
        self._bridge._drain()

    def __del__(self) -> None:
        self._bridge._loop_gone()


class _Process:
    """What all loops of the process share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.bridges: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, weakref.ref[LoopBridge]
        ] = weakref.WeakKeyDictionary()
        self._threads = 1
        self._realtime = True
        self._engine: _native.Engine | None = None
        self._open = 0

    def configure(self, threads: int, realtime: bool) -> None:
        with self.lock:
            changed = (threads, realtime) != (self._threads, self._realtime)
            if self._engine is not None and changed:
                raise RuntimeError(
                    f"threads: {self._open} session(s) already run on {self._threads} media"
                    " thread(s); configure_media comes before the first session"
                )
            self._threads = threads
            self._realtime = realtime

    def open(self, inbox: _native.Inbox, config: dict[str, Any]) -> _native.Session:
        with self.lock:
            if self._engine is None:
                self._engine = _native.Engine(self._threads, realtime=self._realtime)
            engine = self._engine
            self._open += 1
        try:
            return engine.open(inbox, config)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """One session less; the last one ends the threads. Under the lock, so that a session that
        opens at this moment gets a new engine and not one that is stopping."""
        with self.lock:
            if self._open == 0:
                return
            self._open -= 1
            if self._open == 0 and self._engine is not None:
                engine, self._engine = self._engine, None
                engine.stop()

    def stop(self) -> None:
        """At exit: ends calls that nobody closed, so that their peers get a BYE."""
        with self.lock:
            engine, self._engine = self._engine, None
            self._open = 0
        if engine is not None:
            engine.stop()


async def _until_over(session: _native.Session) -> None:
    """Returns when a session that is being closed is over. If the caller is cancelled meanwhile,
    that is raised then."""
    cancelled: asyncio.CancelledError | None = None
    give_up = time.monotonic() + _CLOSE_PATIENCE_S
    while not session.over:
        if time.monotonic() > give_up:
            raise TimeoutError(f"the media thread did not answer within {_CLOSE_PATIENCE_S:g} s")
        try:
            await asyncio.sleep(_CLOSE_POLL_S)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _step(awaitable: Any) -> None:
    """Runs an awaitable that never really waits."""
    try:
        awaitable.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _after_fork() -> None:
    # The child has neither the threads nor the right to the parent's calls: it starts afresh.
    global _process
    inherited, _process = _process, _Process()
    _inherited.append(inherited)
    for reference in list(inherited.bridges.values()):
        bridge = reference()
        if bridge is not None:
            _inherited_bridges.append(bridge)
            bridge._fork()


_process = _Process()
# Kept, so that nothing of the parent is destroyed in the child.
_inherited: list[_Process] = []
_inherited_bridges: list[LoopBridge] = []
atexit.register(lambda: _process.stop())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
