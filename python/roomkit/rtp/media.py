"""`Media`: the running media of one session, from opening to the end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

from roomkit import _bridge, _native
from roomkit._text import printable
from roomkit.errors import SessionEndedError
from roomkit.rtp.addresses import Address
from roomkit.rtp.events import (
    Disconnected,
    DTMFSent,
    HeardAgain,
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    RTPEvent,
    SourceTrusted,
    Unheard,
)
from roomkit.rtp.opening import open_native, warn_of_reflection
from roomkit.rtp.options import RTPOptions
from roomkit.rtp.played import PlayedTap
from roomkit.rtp.playout import Playout
from roomkit.rtp.stats import RTPStats
from roomkit.rtp.streams import Listeners, Stream
from roomkit.voice.base import Unsubscribe
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import FRAME_KINDS, AudioFrame, frame_from_media

__all__ = ["Media"]

_log = logging.getLogger("roomkit.rtp")

_EVENTS_WAITING: Final = 256  # of one `events()` iterator; the far end could send digits for ever


class Media:
    """The session in the core, and who is told what comes from it. The bridge talks to this, and
    to nothing above it."""

    def __init__(self, rate: int, channels: int) -> None:
        """`rate`, in Hz, and `channels` of the frames, which stay to the end."""
        self.rate = rate
        self.channels = channels
        self.id = ""
        self.frames: Listeners[AudioFrame] = Listeners()
        self.events: Listeners[RTPEvent] = Listeners()
        self.closed = False
        self.when_ended: Callable[[], None] = _nothing
        """Called, on any thread, when the core has ended the session: it receives no longer."""
        self.holds_back = False
        """Digits were masked: the core may hold frames back, which are heard at the end."""
        self._context = contextvars.Context()
        self._native: _native.Session | None = None
        self._bridge: _bridge.LoopBridge | None = None
        self._playout: Playout | None = None
        self._closing: asyncio.Future[None] | None = None
        self._hears_out = False  # closed, and what masking held back is still to be heard
        self._reflects = False  # the far end sends back what we send, and that was told
        self._disconnected: Disconnected | None = None
        self._frame_streams: weakref.WeakSet[Stream[AudioFrame]] = weakref.WeakSet()
        self._event_streams: weakref.WeakSet[Stream[RTPEvent]] = weakref.WeakSet()
        self._frames_overrun = 0
        self._when_over: list[Callable[[], None]] = []
        self._played: Listeners[AudioFrame] = Listeners()
        self._taps = False  # someone wants to know what was played

    # --- life -----------------------------------------------------------------------------------

    def open(
        self,
        options: RTPOptions,
        local: Address,
        remote: Address | None,
        rtcp: Address | None,
        *,
        shared: bool,
    ) -> None:
        """Binds the ports and starts the media, on the running event loop; the addresses are
        numeric. Raises what `open_native` does, and `SessionEndedError` when it was closed before.
        Nothing is left open then."""
        if self.closed:
            raise SessionEndedError(self.id, "open it")
        bridge = _bridge.running_bridge()
        native = open_native(bridge, options, local, remote, rtcp, self, shared=shared)
        # Callbacks run in the context of whoever opened this session, not the loop's first.
        self._context = contextvars.copy_context()
        self._native = native
        self.id = f"{native.ssrc:08x}"
        self._bridge = bridge
        self._playout = Playout(
            native,
            bridge.loop,
            name=self.id,
            sample_rate=self.rate,
            channels=self.channels,
            lead_ms=options.lead_ms,
        )
        self._set_tap()
        _log.debug("session %s: open on %s:%d", self.id, *native.local_addr)

    async def close(self, reason: str) -> None:
        """Says RTCP BYE and gives the ports back. Idempotent; concurrent calls on one loop return
        when the first has done it."""
        loop = asyncio.get_running_loop()
        if self.closed:
            if self._closing is not None and self._closing.get_loop() is loop:
                await asyncio.wait((self._closing,))
            return
        bridge = self._bridge
        self._hears_out = self.holds_back and bridge is not None and bridge.here
        self._end()
        if self._native is None or bridge is None:
            return
        self._closing = loop.create_future()
        try:
            # Half of a surrogate pair has no place in UTF-8, and no right to keep the ports open.
            said = reason.encode("utf-8", "replace").decode()
            await bridge.close(self._native, said, to_the_end=self._hears_out)
        finally:
            self.when_ended()
            if self._taps and bridge.here:
                self._tell_played(None)  # up to the last packet
            if self._hears_out:
                self._hears_out = False
                self._finish()
            self._closing.set_result(None)

    def when_over(self, callback: Callable[[], None]) -> None:
        """`callback()`, on the loop's thread, when nothing more will come."""
        self._when_over.append(callback)

    # --- what it gives ---------------------------------------------------------------------------

    @property
    def native(self) -> _native.Session:
        """In the core, open or closed. Raises `RuntimeError` before it was opened."""
        if self._native is None:
            raise RuntimeError("the session is not open yet; use async with, or await open()")
        return self._native

    def check_opened(self) -> None:
        """Raises `RuntimeError` before it was opened."""
        _ = self.native

    def native_for(self, doing: str) -> _native.Session:
        """In the core, open. Raises `SessionEndedError` when it is not any longer."""
        native = self.native
        if self.closed:
            raise SessionEndedError(self.id, doing)
        return native

    @property
    def playout(self) -> Playout | None:
        """Its outbound side; None before it was opened."""
        return self._playout

    def playout_for(self, doing: str) -> Playout:
        """Its outbound side, open. Raises as `native_for` does."""
        playout = self._playout
        if self.closed or playout is None:
            self.native_for(doing)
            raise SessionEndedError(self.id, doing)
        return playout

    def stats(self) -> RTPStats:
        """Counters and measurements of this moment; after the end, the last ones."""
        return RTPStats.from_native(
            self.native.stats(),
            frames_overrun=self._frames_overrun,
            live_bytes_dropped=0 if self._playout is None else self._playout.live_dropped,
        )

    def frame_stream(self, limit: int) -> Stream[AudioFrame]:
        """Frames from now on, of which the newest `limit` wait to be taken."""
        stream = Stream(self.frames, limit, self._count_overrun)
        self._frame_streams.add(stream)
        if self.closed or self._disconnected is not None:
            stream.finish()
        return stream

    def event_stream(self) -> Stream[RTPEvent]:
        """Events from now on."""
        stream = Stream(self.events, _EVENTS_WAITING, _ignore)
        self._event_streams.add(stream)
        if self.closed:
            stream.finish()
        return stream

    def on_played(self, callback: Callable[[AudioFrame], object]) -> Unsubscribe:
        """`callback(frame)` for audio that has left."""
        unsubscribe = self._played.add(callback)
        if not self._taps:
            self._taps = True
            self._set_tap()

        def take_back() -> None:
            unsubscribe()
            if not self._played.calls and self._taps:
                self._taps = False
                self._set_tap()

        return take_back

    # --- told by the bridge, on the loop's thread -----------------------------------------------

    def on_media_frame(self, pcm: bytes, timestamp_ms: float, kind: int, clock_ms: float) -> None:
        """One tick of audio from the core: the way that every frame of every call takes."""
        self._context.run(self._on_frame, pcm, timestamp_ms, kind, clock_ms)

    def on_media_item(self, kind: int, a: Any, b: Any, c: Any, d: Any = None) -> None:
        """Anything else from the core."""
        self._context.run(self._on_item, kind, a, b, c, d)

    def on_loop_end(self) -> None:
        """The event loop ends, or the core has given up, with the session still open."""
        if not self.closed:
            self._end()
            if self._native is not None and self._bridge is not None:
                try:
                    self._bridge.close_now(self._native)
                finally:
                    self.when_ended()

    def on_fork(self) -> None:
        """In a forked child: the call is the parent's."""
        self.closed = True
        if self._playout is not None:
            self._playout.on_fork()

    # --- inside ---------------------------------------------------------------------------------

    def _on_frame(self, pcm: bytes, timestamp_ms: float, kind: int, clock_ms: float) -> None:
        if self.closed and not self._hears_out:
            return  # it was on its way when the session was closed
        if self._taps:
            self._tell_played(clock_ms)
        for each in self.frames.calls:
            # Each has a frame of its own: what one writes into its metadata is not another's.
            each.call(
                frame_from_media(
                    pcm,
                    self.rate,
                    self.channels,
                    timestamp_ms,
                    {"kind": FRAME_KINDS[kind]} if kind else None,
                    clock_ms,
                )
            )

    def _on_item(self, kind: int, a: Any, b: Any, c: Any, d: Any) -> None:
        playout = self._playout
        if playout is None:
            return
        if kind == _native.LOW_WATER:
            playout.on_low_water()
        elif kind == _native.LEFT:
            self._tell_played(None)
        elif kind == _native.PLAYBACK_MARK:
            playout.on_mark(a, b, d)
        elif kind == _native.DIGIT:
            self.events.call(DTMFEvent(a, b, *c))
        elif kind == _native.DIALLED:
            self.events.call(DTMFSent(a, b))
        elif kind == _native.PLAYBACK_STARTED:
            self.events.call(PlaybackStarted(a))
        elif kind == _native.PLAYBACK_ENDED:
            if self._taps:
                self._tell_played(None)
            playout.on_ended(a, b, c, d)
            self.events.call(PlaybackEnded(a, b, c))
        elif kind == _native.SOURCE:
            if b == self.native.ssrc and not self._reflects:
                self._reflects = True
                warn_of_reflection(self.id, a)
            self.events.call(SourceTrusted(a, b, c))
        elif kind == _native.RTP_RESUMED:
            self._disconnected = None
            self.events.call(Resumed())
        elif kind == _native.UNHEARD:
            _log.warning("session %s: packets come and nothing is heard of them: %s", self.id, a)
            self.events.call(Unheard(a))
        elif kind == _native.HEARD_AGAIN:
            _log.info("session %s: audio is heard again", self.id)
            self.events.call(HeardAgain())
        elif kind == _native.RTP_TIMEOUT:
            self._gone(Disconnected("rtp_timeout"))
        elif kind == _native.RTCP_TIMEOUT:
            self._gone(Disconnected("rtcp_timeout"))
        elif kind == _native.BYE:
            self._gone(Disconnected("bye", printable(a)))
        elif kind == _native.NOTHING_LEAVES:
            _log.warning("session %s: nothing of what it sends has left for 1 s: %s", self.id, a)
        elif kind == _native.FAULT:
            _log.error("session %s: the media core gave it up: %s", self.id, a)
            self._gone(Disconnected("fault", a))
            self.on_loop_end()

    def _gone(self, event: Disconnected) -> None:
        self._disconnected = event
        self.events.call(event)
        for stream in list(self._frame_streams):
            stream.finish()

    def _set_tap(self) -> None:
        if self._playout is not None and self._native is not None:
            self._playout.tap = PlayedTap() if self._taps else None
            self._native.tell_left(self._taps)

    def _tell_played(self, clock_ms: float | None) -> None:
        if self._playout is not None:
            for frame in self._playout.what_left(clock_ms):
                self._played.call(frame)

    def _end(self) -> None:
        """Ends all that Python does for the session."""
        self.closed = True
        if self._playout is not None:
            self._playout.on_over()
        bridge = self._bridge
        if self._hears_out:
            return  # the streams end when all has been heard
        if bridge is None or bridge.here:
            self._finish()
        elif not bridge.loop.is_closed():
            bridge.loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        for callback in self._when_over:
            callback()
        for frames in list(self._frame_streams):
            frames.finish()
        for events in list(self._event_streams):
            events.finish()

    def _count_overrun(self) -> None:
        self._frames_overrun += 1


def _ignore() -> None:
    """Events that nobody takes are not worth a counter."""


def _nothing() -> None:
    """Nobody wants to know."""
