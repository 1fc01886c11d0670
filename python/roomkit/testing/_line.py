"""One call of a `FakeBackend`: its clock, what leaves at each tick and what comes in."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from roomkit.testing._playout import Playout
from roomkit.testing.phone import NetworkPath, Phone
from roomkit.voice.base import DisconnectReason, VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import frame_from_media

if TYPE_CHECKING:
    from roomkit.testing.backend import FakeBackend

__all__ = ["KeySent", "Line"]

TICK_MS: Final = 20
_PAUSE_MS: Final = 500
"""`,`, `w` and `p` in a dial string."""
_UNHEARD_MS: Final = 2000
"""Packets of which nothing is heard come for so long until it is told."""
_CONCEALED: Final = 3
"""Frames of a caller who has fallen silent that are made up before they are silence."""


@dataclass(frozen=True, slots=True)
class KeySent:
    """A digit that we sent, as the caller's end got it."""

    digit: str
    at_ms: float
    """When it ended there, in ms since the call was opened."""
    duration_ms: float


@dataclass(slots=True)
class _Dialled:
    digit: str
    duration_ms: int
    gap_ms: int
    left_ms: float
    done: asyncio.Future[bool]


class Line:
    """Belongs to the event loop on which it was made."""

    def __init__(
        self, backend: FakeBackend, session: VoiceSession, path: NetworkPath, seed: int
    ) -> None:
        rate, channels = backend.sample_rate, backend.channels
        self.session = session
        self.phone = Phone(rate, channels, path, seed)
        self.playout = Playout(rate, channels, backend.lead_ms, session.id)
        self.loop = asyncio.get_running_loop()
        self.opened = self.loop.time()
        self.ticks = 0
        self.masked = False
        self.muted = False
        self.held: str | None = None
        self.over = False
        self.keys_sent: list[KeySent] = []
        self.hung_up = asyncio.Event()
        """We hung up, and the caller knows."""
        self._backend = backend
        self._samples = rate * TICK_MS // 1000
        self._silence = bytes(2 * channels * self._samples)
        self._dialled: deque[_Dialled] = deque()
        self._gap_ms = 0.0
        self._missed = 0  # frames since the caller was heard last
        self._away = False  # he hung up, or nothing has come for too long
        self._frames = 0
        self._unheard = 0  # frames for which packets came and nothing was heard
        self._timer = self.loop.call_at(self.opened + TICK_MS / 1000, self._tick)
        self._timers: set[asyncio.TimerHandle] = set()
        self.playout.told = self._tell_played

    @property
    def now_ms(self) -> float:
        """Since it was opened."""
        return round((self.loop.time() - self.opened) * 1000, 6)

    @property
    def now_sample(self) -> int:
        """The same in samples."""
        return round((self.loop.time() - self.opened) * self._backend.sample_rate)

    def at(self, ms: float, call: object) -> None:
        """Calls `call()` so many ms from now, unless the call is over by then."""
        assert callable(call)

        def due() -> None:
            self._timers.discard(timer)
            call()

        timer = self.loop.call_later(ms / 1000, due)
        self._timers.add(timer)

    def end(self) -> None:
        """The call is over. Idempotent."""
        if self.over:
            return
        self.over = True
        self._timer.cancel()
        for timer in self._timers:
            timer.cancel()
        while self._dialled:
            self._dialled.popleft().done.set_result(False)
        self.playout.end()
        # What is on its way arrives, and his phone plays what it has.
        self.loop.call_later(self.phone.path.heard_after_ms / 1000, self._told_of_the_end)

    # --- digits -------------------------------------------------------------------------------

    def dial(self, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Queues digits for sending."""
        for digit in digits.upper():
            length = _PAUSE_MS if digit in ",WP" else duration_ms
            done: asyncio.Future[bool] = self.loop.create_future()
            self._dialled.append(_Dialled(digit, length, gap_ms, float(length), done))

    def cancel_dialling(self) -> bool:
        """Drops those that wait, and ends the one on its way."""
        found = bool(self._dialled)
        while self._dialled:
            self._dialled.popleft().done.set_result(False)
        return found

    @property
    def dialled(self) -> int:
        """Digits that wait."""
        return len(self._dialled)

    async def wait_dialled(self) -> bool:
        """Returns when those that wait now have left."""
        waiting = [each.done for each in self._dialled]
        if waiting:
            await asyncio.wait(waiting)
        return all(done.result() for done in waiting)

    def press(self, digit: str, duration_ms: float) -> None:
        """The caller pressed a key until now."""
        if not self.over:
            event = DTMFEvent(digit.upper(), duration_ms, masked=self.masked)
            self._backend.dtmf_received.fire(self.session, event)

    # --- the end ------------------------------------------------------------------------------

    def bye(self, detail: str = "") -> None:
        """The caller hung up."""
        if not self.over:
            self.phone.gone = True
            self._away = True
            reason = DisconnectReason("bye", detail)
            self._backend.client_disconnected.fire(self.session, reason)

    def _told_of_the_end(self) -> None:
        self.phone.heard.until(self.now_sample + self._samples)
        self.phone.heard.end()
        self.hung_up.set()

    # --- the clock ----------------------------------------------------------------------------

    def _tick(self) -> None:
        self.ticks += 1
        at = self.opened + self.ticks * TICK_MS / 1000
        # Set first: what is called below may end the call.
        self._timer = self.loop.call_at(at + TICK_MS / 1000, self._tick)
        self._send(at)
        self._receive()

    def _send(self, at: float) -> None:
        if self._dialled and self._gap_ms <= 0:
            self._dial()
            return  # a digit takes the place of the audio, which waits
        self._gap_ms -= TICK_MS
        if self.held == "inactive":
            return
        frame = self.playout.take(self._samples, at)
        if frame:
            if len(frame) < len(self._silence):
                frame += self._silence[len(frame) :]
            self.phone.receive(self.ticks * self._samples, frame)

    def _dial(self) -> None:
        dialled = self._dialled[0]
        dialled.left_ms -= TICK_MS
        if dialled.left_ms > 0:
            return
        self._dialled.popleft()
        dialled.done.set_result(True)
        if dialled.digit not in ",WP":
            self._gap_ms = dialled.gap_ms
            at_ms = self.now_ms + TICK_MS + self.phone.path.delay_ms
            self.keys_sent.append(KeySent(dialled.digit, at_ms, dialled.duration_ms))

    def _receive(self) -> None:
        end = self.ticks * self._samples
        data = self.phone.send(end, self._samples, without_keys=self.masked)
        metadata = None
        self._mind_unheard()
        if data is not None:
            self._missed = 0
            if self._away:
                self._away = False
                self._backend.client_resumed.fire(self.session)
        elif self._away:
            return  # nobody is there who could be heard
        else:
            self._missed += 1
            data = self._silence
            metadata = {"kind": "concealed" if self._missed <= _CONCEALED else "silence"}
            if self._is_time_out():
                self._away = True
                reason = DisconnectReason("rtp_timeout")
                self._backend.client_disconnected.fire(self.session, reason)
        if self.muted or self.held is not None:
            data = self._silence
        if self.over:
            return  # whoever was told has ended it
        frame = frame_from_media(
            data,
            self._backend.sample_rate,
            self._backend.channels,
            float(self._frames * TICK_MS),
            metadata,
            float(self.ticks * TICK_MS),
        )
        self._frames += 1
        self._backend.audio_received.fire(self.session, frame)

    def _mind_unheard(self) -> None:
        reason = self.phone.unheard
        if reason is not None and not self.phone.gone:
            self._unheard += 1
            if self._unheard * TICK_MS == _UNHEARD_MS:
                self._backend.client_unheard.fire(self.session, reason)
        elif self._unheard:
            told, self._unheard = self._unheard * TICK_MS >= _UNHEARD_MS, 0
            if told and not self.phone.gone:
                self._backend.client_heard_again.fire(self.session)

    def _is_time_out(self) -> bool:
        timeout = self._backend.rtp_timeout
        if timeout is None or self.held is not None or self._unheard:
            return False
        return self._missed * TICK_MS >= math.ceil(timeout * 1000)

    def _tell_played(self, pcm: bytes, at: float) -> None:
        if not len(self._backend.audio_played):
            return
        frame = frame_from_media(
            pcm,
            self._backend.sample_rate,
            self._backend.channels,
            float(self._frames * TICK_MS),
            None,
            float(self.ticks * TICK_MS),
        )
        self._backend.audio_played.fire(self.session, frame)
