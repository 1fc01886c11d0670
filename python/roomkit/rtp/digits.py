"""`Digits`: the part of a session that sends and injects digits, and masks them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from roomkit.errors import QueueFullError
from roomkit.rtp import checks
from roomkit.rtp.events import DTMFSent
from roomkit.rtp.media import Media
from roomkit.rtp.opening import warn_of_unread
from roomkit.rtp.options import DTMFMethod
from roomkit.rtp.terms import Terms

__all__ = ["Dialling", "Digits"]

_MOST: Final = 128  # digits and pauses that may wait in the core


class Digits:
    """Digits of a session; those that are received are events of its media."""

    def __init__(self, media: Media, terms: Terms, why_no_events: Callable[[], str]) -> None:
        """`why_no_events()` says why none are sent as events, where it is so, and what fits."""
        self._media = media
        self._terms = terms
        self._why_no_events = why_no_events
        self._dialling = Dialling()
        media.events.add_for(DTMFSent, self._dialling.on_sent)
        media.when_over(self._dialling.on_over)

    def send(self, digits: str, duration_ms: int, gap_ms: int, method: DTMFMethod | None) -> int:
        """Queues digits and returns the number under which `DTMFSent` tells of them."""
        options = self._terms.options
        checks.dial_string(digits, "digits")
        checks.number(duration_ms, "duration_ms", 20, 60_000)
        checks.number(gap_ms, "gap_ms", 40, 60_000)
        method = options.dtmf_method if method is None else method
        checks.one_of(method, "method", ("rfc4733", "inband"))
        if method == "rfc4733" and not options.sends_events:
            raise ValueError(f"digits: {self._why_no_events()}")
        native = self._media.native_for("send digits")
        if method == "rfc4733":
            warn_of_unread(self._media.id, options, events=True)
        full = QueueFullError(f"{len(digits)} digits and pauses find no room; {_MOST} may wait")
        if len(digits) > _MOST:
            raise full
        try:
            return self._dialling.number(
                native.send_dtmf(digits, duration_ms, gap_ms, method == "inband")
            )
        except BlockingIOError:
            raise full from None

    def cancel(self) -> bool:
        """Drops those that wait. True if not all had left."""
        return self._media.native_for("cancel digits").cancel_dtmf()

    async def wait(self) -> bool:
        """Returns when those queued so far have left: True if all were sent whole."""
        return await self._dialling.wait()

    def inject(self, digit: str, duration_ms: int) -> None:
        """A key was pressed, as signalling says."""
        key = checks.digits(digit, "digit", most=1)
        checks.number(duration_ms, "duration_ms", 1, 60_000)
        try:
            self._media.native_for("inject a digit").inject_dtmf(key, duration_ms)
        except BlockingIOError:
            raise QueueFullError("too many orders wait for the media thread") from None

    def mask(self, masked: bool) -> None:
        """While masked, nobody who takes the frames can hear a digit."""
        self._media.native_for("mask digits").mask_digits(checks.flag(masked, "masked"))
        self._media.holds_back = self._media.holds_back or masked


class Dialling:
    """Who waits for digits to leave. Numbers rise; what is told of one is told in their order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = 0
        self._ended = 0
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self._dropped: set[int] = set()  # numbers that were cancelled, while someone waits

    def number(self, number: int) -> int:
        """Digits were queued under this number."""
        with self._lock:
            self._newest = max(self._newest, number)
        return number

    async def wait(self) -> bool:
        """Returns when all that is queued now has ended: True if all of it was sent."""
        with self._lock:
            newest = self._newest
        if newest <= self._ended:
            return True
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((newest, done))
        return await done

    def on_sent(self, event: DTMFSent) -> None:
        """Told by the core, on the loop's thread."""
        self._ended = max(self._ended, event.number)
        if self._waiting and event.cancelled:
            self._dropped.add(event.number)
        for upto, done in [waiter for waiter in self._waiting if waiter[0] <= self._ended]:
            self._waiting.remove((upto, done))
            if not done.done():
                done.set_result(not any(dropped <= upto for dropped in self._dropped))
        if not self._waiting:
            self._dropped.clear()

    def on_over(self) -> None:
        """The session is over: what has not left will not."""
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            if not done.done():
                done.set_result(False)
