"""`SessionDigits`: the half of `RTPSession` that has to do with digits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from roomkit import _native
from roomkit.errors import QueueFullError
from roomkit.rtp import checks
from roomkit.rtp.events import RTPEvent
from roomkit.rtp.opening import warn_of_unread
from roomkit.rtp.options import DTMFMethod, RTPOptions
from roomkit.rtp.streams import Listeners
from roomkit.voice.base import Unsubscribe
from roomkit.voice.events import DTMFEvent

__all__ = ["Dialling", "SessionDigits"]

_MOST: Final = 128  # digits and pauses that may wait in the core


class SessionDigits:
    """Digits sent and received. Its methods are those of every `RTPSession`."""

    options: RTPOptions
    _events: Listeners[RTPEvent]
    _dialling: Dialling
    _held_back: bool
    """Digits were masked: frames may be held back."""

    def send_dtmf(
        self,
        digits: str,
        duration_ms: int = 160,
        *,
        gap_ms: int = 80,
        method: DTMFMethod | None = None,
    ) -> int:
        """Queues digits, sent one after another at the pace of the media clock, and returns the
        number under which `DTMFSent` tells that they have left. From any thread.

        `digits`: `0`-`9`, `*`, `#`, `A`-`D`, and `,`, `w` or `p` for a pause of 500 ms; letters in
        either case. Each digit lasts `duration_ms`, 20 to 60000 (40 at least are sent, in whole
        frames), and is followed by a gap of at least `gap_ms`, 40 to 60000. `method` is
        `"rfc4733"`, events beside the audio, or `"inband"`, tones in its place (ITU-T Q.23); None:
        the option `dtmf_method`.

        Raises `ValueError` for anything else, also where the peer takes no events,
        and `QueueFullError` when more than 128 digits and pauses would wait. Nothing is
        queued then.
        """
        checks.dial_string(digits, "digits")
        checks.number(duration_ms, "duration_ms", 20, 60_000)
        checks.number(gap_ms, "gap_ms", 40, 60_000)
        method = self.options.dtmf_method if method is None else method
        checks.one_of(method, "method", ("rfc4733", "inband"))
        if method == "rfc4733" and not self.options.sends_events:
            raise ValueError(f"digits: {self._why_no_events()}")
        native = self._native_for("send digits")
        if method == "rfc4733":
            warn_of_unread(self.id, self.options, events=True)
        full = QueueFullError(f"{len(digits)} digits and pauses find no room; {_MOST} may wait")
        if len(digits) > _MOST:
            raise full
        try:
            return self._dialling.number(
                native.send_dtmf(digits, duration_ms, gap_ms, method == "inband")
            )
        except BlockingIOError:
            raise full from None

    def cancel_dtmf(self) -> bool:
        """Drops the digits that wait. One on its way ends at once, 40 ms long at least, so that no
        key is left pressed. True if not all had left. From any thread."""
        return self._native_for("cancel digits").cancel_dtmf()

    async def wait_dtmf(self) -> bool:
        """Returns when the digits queued so far have left: True if all were sent whole."""
        return await self._dialling.wait()

    def inject_dtmf(self, digit: str, duration_ms: int = 160) -> None:
        """A key was pressed until now for `duration_ms`, 1 to 60000, as signalling says: SIP INFO.
        From any thread.

        It arrives as one that was received, once: if events or tones of the same key come within a
        second of it, they are taken for the same press.

        Raises `ValueError` for anything but one digit.
        """
        key = checks.digits(digit, "digit", most=1)
        checks.number(duration_ms, "duration_ms", 1, 60_000)
        try:
            self._native_for("inject a digit").inject_dtmf(key, duration_ms)
        except BlockingIOError:
            raise QueueFullError("too many orders wait for the media thread") from None

    def mask_digits(self, masked: bool = True) -> None:
        """While masked, nobody who takes the frames can hear a digit: for card numbers. From any
        thread; holds from the next frame on.

        Frames are delivered 60 ms later then. Silenced in them are tones of a key that last for
        15 ms or more, with 40 ms before and behind them, and the audio from 60 ms before to 60 ms
        behind the packets of a signalled digit. Digits are still told, those in the audio too
        whether or not `dtmf_inband` is set, with `masked` set, and roomkit logs none of them.

        Unmasked again, the session stays masked until a tone that sounds is over. Closed, it is
        heard to the end first, without a tone that has just begun.
        """
        self._native_for("mask digits").mask_digits(checks.flag(masked, "masked"))
        self._held_back = self._held_back or bool(masked)

    @contextmanager
    def digits_masked(self) -> Iterator[None]:
        """`with session.digits_masked():` masks digits inside it, see `mask_digits`."""
        self.mask_digits(True)
        try:
            yield
        finally:
            if not self.closed:
                self.mask_digits(False)

    def on_dtmf(self, callback: Callable[[DTMFEvent], object]) -> Unsubscribe:
        """`callback(dtmf_event)` for every digit, once, when its end is known."""
        return self._events.add_for(DTMFEvent, callback)

    # --- what the session brings ----------------------------------------------------------------

    @property
    def id(self) -> str:
        """Unique in this process."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether it was closed, or the core gave it up."""
        raise NotImplementedError

    def _native_for(self, doing: str) -> _native.Session:
        """The open session, or the error of one that is not."""
        raise NotImplementedError

    def _why_no_events(self) -> str:
        """Why no digits are sent as events, and what fits."""
        raise NotImplementedError


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

    def on_ended(self, number: int, cancelled: bool) -> None:
        """Told by the core, on the loop's thread."""
        self._ended = max(self._ended, number)
        if self._waiting and cancelled:
            self._dropped.add(number)
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
