"""How a `Call` waits: for something to be so, for as long as may be, once for each thing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from roomkit._clock import now_ms
from roomkit.errors import shown

__all__ = ["ROUNDING_MS", "Claims", "Waits", "check_seconds"]

ROUNDING_MS: Final = 0.001
"""A time that was reckoned in ms may lie behind that of the loop's timer by its last digits: what
is due within this is due, or a timer would be set again and again for now."""


class Waits:
    """Whoever waits looks again whenever `wake` says that something has changed. What is waited for
    is never taken here, so that a waiter that is cancelled loses nothing."""

    def __init__(self) -> None:
        self.over = False
        """Set for good: nobody waits any longer."""
        self._sleepers: set[asyncio.Future[None]] = set()
        self._held_since: float | None = None
        self._held_ms = 0.0

    def wake(self) -> None:
        """Something has changed: all who wait look again."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def end(self) -> None:
        """Nothing will change any more."""
        self.over = True
        self.wake()

    @property
    def held(self) -> bool:
        """Whether the clock of those who wait stands still."""
        return self._held_since is not None

    def hold(self, held: bool) -> None:
        """While held, nobody's time runs."""
        if held == self.held:
            return
        if held:
            self._held_since = now_ms()
        else:
            self._held_ms += now_ms() - (self._held_since or 0.0)
            self._held_since = None
        self.wake()

    @property
    def now_ms(self) -> float:
        """The clock of those who wait: it stands still while the call is held."""
        now = now_ms() if self._held_since is None else self._held_since
        return now - self._held_ms

    async def until(
        self, ready: Callable[[], object], seconds: float | None = None, *, to_the_end: bool = False
    ) -> bool:
        """Returns when `ready()` is true (True), or when `seconds` or all is over (False).
        `to_the_end`: the end of all does not count."""
        due = None if seconds is None else self.now_ms + seconds * 1000
        while not ready():
            if self.over and not to_the_end:
                return False
            left_ms = None if due is None else due - self.now_ms
            if left_ms is not None and left_ms <= ROUNDING_MS and not self.held:
                return False
            await self._sleep(None if self.held else left_ms)
        return True

    async def _sleep(self, ms: float | None) -> None:
        loop = asyncio.get_running_loop()
        sleeper: asyncio.Future[None] = loop.create_future()
        self._sleepers.add(sleeper)
        alarm = None if ms is None else loop.call_later(ms / 1000, _wake, sleeper)
        try:
            await sleeper
        finally:
            self._sleepers.discard(sleeper)
            if alarm is not None:
                alarm.cancel()


class Claims:
    """Who waits for what: two that wait for the same would take it from each other by chance."""

    def __init__(self) -> None:
        self._claims: dict[str, str] = {}

    @contextlib.contextmanager
    def of(self, who: str, *things: str) -> Iterator[None]:
        """`who`, a method, waits for `things` inside. Raises `RuntimeError` if another does."""
        for thing in things:
            if (other := self._claims.get(thing)) is not None:
                raise RuntimeError(
                    f"{who}: {other} waits for {thing} already; one at a time: await it, or cancel"
                    " its task first"
                )
        task = asyncio.current_task()
        by = f"{who} in task {task.get_name()!r}" if task is not None else who
        for thing in things:
            self._claims[thing] = by
        try:
            yield
        finally:
            for thing in things:
                del self._claims[thing]


def check_seconds(value: object, name: str, *, most: float = 86_400.0) -> None:
    """Raises for anything but None or seconds from 0 to `most`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {shown(value)}; seconds, 0 to {most:g}, or None fits")
    if not 0 <= value <= most:
        raise ValueError(f"{name}: {shown(value)}; seconds, 0 to {most:g}, or None fits")


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
