"""A virtual clock: minutes of a call in milliseconds, the same each time."""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple, Unpack, overload

__all__ = ["StuckError", "VirtualTimeLoop", "run", "virtual_time"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_P = ParamSpec("_P")

_START_S: Final = 1000.0
"""A clock that begins at 0 hides faults: real ones never do."""
_LIMIT_S: Final = 900.0
"""Long for a test, and over in some seconds where a test is stuck and a call goes on."""
_PATIENCE_S: Final = 30.0
_MOST_TURNS: Final = 2_000_000
"""Turns of the loop at one moment of virtual time; a program that spins makes them without end."""

_CREEPS_AFTER: Final = 10_000
"""Turns of the loop after which a microsecond has passed."""


class StuckError(AssertionError):
    """The program can get no further, or takes longer than it may. The message says why, and where
    each task waits."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` stands still while there is anything to do, and jumps to the
    next timer when there is not. `asyncio.sleep`, `timeout` and `wait_for` take no time at all.

    Work in threads is real: while `run_in_executor` and `asyncio.to_thread` have not returned, time
    stands still. So it does inside of `with loop.outside():`, for threads that the loop cannot
    know of. Sockets work, but what comes from a network or a process does not hold the clock.

    Raises `StuckError` out of `run_until_complete` when no timer is set and nothing can happen any
    more (instead of waiting for ever), when `limit_s` of virtual time have passed, when a thread
    takes longer than `patience_s` of real time, and when a task spins without letting time pass.

    `limit_s`: how far the clock may go, in s, above 0. `patience_s`: in real seconds, above 0.
    """

    def __init__(self, *, limit_s: float = _LIMIT_S, patience_s: float = _PATIENCE_S) -> None:
        self._now = _START_S
        self._limit = _START_S + limit_s
        self._patience = patience_s
        self._threads = 0
        self._lock = threading.Lock()
        self._turns = 0
        self.witnesses: list[Callable[[], str]] = []
        """Asked for what they know when a `StuckError` is raised."""
        super().__init__(_Selector(self))
        # asyncio runs timers that are due within this; the platform's own may be 16 ms.
        self._clock_resolution = 1e-9
        for name, value in (("limit_s", limit_s), ("patience_s", patience_s)):
            if not value > 0:
                self.close()
                raise ValueError(f"{name}: {value!r}; seconds above 0 fits")

    def time(self) -> float:
        """Virtual time in s. It begins at 1000."""
        return self._now

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Holds the clock while a thread works for the program. From any thread."""
        with self._lock:
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1

    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that are set and not cancelled."""
        # asyncio tells nobody, and overriding `call_at` would cost each of them.
        scheduled: list[asyncio.TimerHandle] = getattr(self, "_scheduled", [])
        return [timer for timer in scheduled if not timer.cancelled()]

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        held = self.outside()
        held.__enter__()
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            held.__exit__(None, None, None)
            raise
        future.add_done_callback(lambda _: held.__exit__(None, None, None))
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Waits for its threads, which are real."""
        with self.outside():
            await super().shutdown_default_executor(*args)

    def _wait(
        self, select: Callable[[float | None], list[Any]], timeout: float | None
    ) -> list[Any]:
        """Instead of waiting `timeout` seconds: lets time pass, if nobody works."""
        if timeout is not None and timeout <= 0:
            self._turns += 1
            if self._turns % _CREEPS_AFTER == 0:
                # Work takes time. A timer that is set again for a moment that is all but over would
                # otherwise never be done with it.
                self._now += 1e-6
            if self._turns > _MOST_TURNS:
                self._turns = 0
                raise self._stuck(f"{_MOST_TURNS} turns of the loop, and no time passed")
            return select(0)
        ready = select(0)
        if ready:
            return ready
        if self._threads:
            ready = select(self._patience)
            if not ready and self._threads:
                raise self._stuck(f"a thread has not come back for {self._patience:g} s")
            return ready
        if timeout is None:
            raise self._stuck("no timer is set and nothing is going on: it would wait for ever")
        self._turns = 0
        # Rounded, so that time shows no traces of how it was added up, and never before the timer.
        now = round(self._now + timeout, 9)
        scheduled: list[asyncio.TimerHandle] = getattr(self, "_scheduled", [])
        if scheduled and abs(scheduled[0].when() - now) < 1e-6:
            now = max(now, scheduled[0].when())
        if now > self._limit:
            limit_s = self._limit - _START_S
            self._limit = now + limit_s  # what is cancelled now may end in as much again
            raise self._stuck(f"it takes longer than {limit_s:g} s (limit_s)")
        self._now = now
        return ready

    def _stuck(self, why: str) -> StuckError:
        lines = [f"at {self._now - _START_S:.3f} s of virtual time: {why}"]
        try:
            tasks = asyncio.all_tasks(self)
        except RuntimeError:
            tasks = set()
        lines += sorted(f"  {_where(task)}" for task in tasks if not task.done())
        lines += [witness() for witness in self.witnesses]
        return StuckError("\n".join(lines))


def run(
    main: Coroutine[Any, Any, _T], *, limit_s: float = _LIMIT_S, patience_s: float = _PATIENCE_S
) -> _T:
    """`asyncio.run` on a `VirtualTimeLoop`, which see::

    def test_ten_minutes() -> None:
        run(asyncio.sleep(600))
    """
    with asyncio.Runner(
        loop_factory=lambda: VirtualTimeLoop(limit_s=limit_s, patience_s=patience_s)
    ) as runner:
        return runner.run(main)


@overload
def virtual_time(test: Callable[_P, Coroutine[Any, Any, _T]], /) -> Callable[_P, _T]: ...
@overload
def virtual_time(
    *, limit_s: float = ..., patience_s: float = ...
) -> Callable[[Callable[_P, Coroutine[Any, Any, _T]]], Callable[_P, _T]]: ...
def virtual_time(
    test: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    /,
    *,
    limit_s: float = _LIMIT_S,
    patience_s: float = _PATIENCE_S,
) -> Any:
    """Makes an async test a plain one, which has a virtual clock. pytest needs no plugin for it,
    and gives it its fixtures::

        @virtual_time
        async def test_ten_minutes(tmp_path: Path) -> None:
            await asyncio.sleep(600)


        @virtual_time(limit_s=7200)
        async def test_an_hour() -> None:
            await asyncio.sleep(3600)

    Raises `TypeError` for a function that is not async.
    """
    if test is None:
        return functools.partial(_on_virtual_time, limit_s=limit_s, patience_s=patience_s)
    return _on_virtual_time(test, limit_s=limit_s, patience_s=patience_s)


def _on_virtual_time(
    test: Callable[_P, Coroutine[Any, Any, _T]], *, limit_s: float, patience_s: float
) -> Callable[_P, _T]:
    if not inspect.iscoroutinefunction(test):
        name = getattr(test, "__qualname__", repr(test))
        raise TypeError(f"virtual_time: {name} is not async; `async def {name}(…)` fits")

    @functools.wraps(test)
    def on_virtual_time(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return run(test(*args, **kwargs), limit_s=limit_s, patience_s=patience_s)

    return on_virtual_time


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self._loop._wait(super().select, timeout)


def _where(task: asyncio.Task[Any]) -> str:
    """Which task it is, and the line at which it waits."""
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    frames = task.get_stack(limit=1)
    if not frames:
        return f"{task.get_name()}: {name}"
    while True:  # the innermost one: what it awaits tells more than that it does
        inner = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "ag_frame", None)
        if frame is None:
            break
        frames, coroutine = [frame], inner
    code = frames[-1].f_code
    place = f"{code.co_filename}:{frames[-1].f_lineno}"
    return f"{task.get_name()}: {name} waits in {code.co_name}, {place}"
