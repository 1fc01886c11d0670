"""`RTPSession`: one RTP session with its media, for programs that want no framework around it."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Unpack

from roomkit import _bridge, _native
from roomkit._faults import log_fault
from roomkit._text import printable
from roomkit.errors import AddressConflictError, QueueFullError, SessionEndedError, check_text
from roomkit.rtp.addresses import (
    Address,
    advertised_address,
    check_address,
    check_family,
    is_numeric,
    resolve,
    resolve_rtcp,
)
from roomkit.rtp.audio import Audio, PieceReader
from roomkit.rtp.checks import flag
from roomkit.rtp.codecs import Codec
from roomkit.rtp.digits import Dialling, SessionDigits
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
from roomkit.rtp.opening import open_native, warn_of_fragments, warn_of_unread
from roomkit.rtp.options import RTPExtra, RTPOptions, check_names
from roomkit.rtp.played import PlayedTap
from roomkit.rtp.playout import Playback, Playout
from roomkit.rtp.signalling import Signalled
from roomkit.rtp.stats import RTPStats
from roomkit.rtp.streams import Listeners, Stream
from roomkit.voice.base import AudioChunk, PlaybackPosition, Unsubscribe
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import FRAME_KINDS, AudioFrame, frame_from_media

__all__ = ["RTPSession"]

_log = logging.getLogger("roomkit.rtp")

_EVENTS_WAITING: Final = 256  # of one `events()` iterator; the far end could send digits for ever


class RTPSession(Signalled, SessionDigits):
    """Audio and digits with one RTP peer, on the core's own clock::

        async with RTPSession(remote_addr=("192.0.2.10", 20000)) as session:
            await session.play(greeting)
            async for frame in session:
                recorder.write(frame.data)

    The session opens with `async with` (or `open`) on the running event loop and belongs to it.
    `play`, the iterators and what is awaited are used there; `send`, `cancel`, `stats`, what has
    to do with digits and the properties from any thread.

    Frames come from the peer's first packet on, contiguously, one per `ptime_ms`, whatever the
    network lost: `frame.kind` tells what was received and what was filled in.
    """

    def __init__(
        self,
        *,
        local_addr: Address = ("0.0.0.0", 0),
        remote_addr: Address | None = None,
        payload_type: int = 0,
        clock_rate: int = 8000,
        dtmf_payload_type: int | None = 101,
        rtcp_interval: float = 5.0,
        shared: bool = False,
        **extra: Unpack[RTPExtra],
    ) -> None:
        """`RTPOptions` says what each option is. `shared`: other sessions of this process may use
        the same fixed `local_addr`, told apart by their remote address, then SSRC.

        Raises `ValueError` naming the parameter. Nothing is opened yet.
        """
        check_names(extra)
        self._prepare(
            RTPOptions(
                local_addr=local_addr,
                remote_addr=remote_addr,
                payload_type=payload_type,
                clock_rate=clock_rate,
                dtmf_payload_type=dtmf_payload_type,
                rtcp_interval=rtcp_interval,
                **extra,
            ),
            shared=shared,
        )

    @classmethod
    def from_options(cls, options: RTPOptions, *, shared: bool = False) -> RTPSession:
        """A session with options that have been checked already. Raises `TypeError` for what are
        none."""
        if not isinstance(options, RTPOptions):
            raise TypeError(f"options: {type(options).__name__}; RTPOptions fit")
        session = cls.__new__(cls)
        session._prepare(options, shared=shared)
        return session

    def _prepare(self, options: RTPOptions, *, shared: bool) -> None:
        if options.remote_addr is None and not options.learns and self._negotiation is None:
            raise ValueError(
                "remote_addr: None; a (host, port) pair fits, or source_policy='learn' to take the"
                " first peer that sends valid RTP"
            )
        self.options = options
        self._shared = flag(shared, "shared")
        self._exchange = asyncio.Lock()
        self._changing = threading.Lock()
        self._remote = self._remote_rtcp = None
        self._native: _native.Session | None = None
        self._id = ""
        self._bridge: _bridge.LoopBridge | None = None
        self._playout: Playout | None = None
        self._opening = False
        self._closing: asyncio.Future[None] | None = None
        self._closed = False
        self._hears_out = False  # closed, and what masking held back is still to be heard
        self._held_back = False
        self._disconnected: Disconnected | None = None
        self._rate = options.frame_rate
        self._channels = options.frame_channels
        self._frames: Listeners[AudioFrame] = Listeners()
        self._events: Listeners[RTPEvent] = Listeners()
        self._dialling = Dialling()
        self._frame_streams: weakref.WeakSet[Stream[AudioFrame]] = weakref.WeakSet()
        self._event_streams: weakref.WeakSet[Stream[RTPEvent]] = weakref.WeakSet()
        self._frames_overrun = 0
        self._played: Listeners[AudioFrame] = Listeners()
        self._tap: PlayedTap | None = None
        self._now_ms: float | None = None  # the end of the newest inbound frame, while tapped

    # --- life -----------------------------------------------------------------------------------

    async def open(self) -> RTPSession:
        """Binds the ports and starts the media. `async with` does it.

        Raises `OSError` when an address cannot be bound or a name not be resolved (of these,
        `PortsExhaustedError` when no port is left to take), `ValueError`
        when addresses do not fit together, `AddressConflictError` when the peer could not be told
        from that of another session on a shared address. Nothing is left open then.
        """
        if self._opening:
            raise RuntimeError("this session was opened before; make a new one")
        self._opening = True
        options = self.options
        local = await resolve(options.local_addr, "local_addr")
        remote = options.remote_addr
        if remote is not None:
            remote = await resolve(remote, "remote_addr", like=local[0])
        rtcp = None if options.rtcp == "off" else options.remote_rtcp_addr
        rtcp = await resolve_rtcp(rtcp, options.remote_addr, remote, like=local[0])
        if self._closed:
            raise SessionEndedError(self.id, "open it")
        bridge = _bridge.running_bridge()
        # No await from here on: either all of it exists, or nothing.
        native = open_native(bridge, options, local, remote, rtcp, self, shared=self._shared)
        self._native = native
        self._id = f"{native.ssrc:08x}"
        self._remote, self._remote_rtcp = remote, rtcp
        self._bridge = bridge
        self._playout = Playout(
            native,
            bridge.loop,
            sample_rate=self._rate,
            channels=self._channels,
            lead_ms=options.lead_ms,
        )
        self._set_tap()
        try:
            self._write_answer()
        except BaseException:
            await self.close()
            raise
        _log.debug("session %s: open on %s:%d", self.id, *native.local_addr)
        warn_of_fragments(self.id, options)
        warn_of_unread(self.id, options)
        return self

    async def close(self, reason: str = "") -> None:
        """Says RTCP BYE (with `reason`) and gives the ports back. What plays is cancelled,
        iterators end. Idempotent; concurrent calls return when the first has done it.

        Frames on their way are not heard any longer; only where digits were masked
        (`mask_digits`), what that held back is, before this returns. Raises `TypeError` for a
        reason that is no string."""
        check_text(reason, "reason")
        loop = asyncio.get_running_loop()
        if self._closed:
            if self._closing is not None and self._closing.get_loop() is loop:
                await asyncio.wait((self._closing,))
            return
        bridge = self._bridge
        self._hears_out = self._held_back and bridge is not None and bridge.here
        self._end()
        if self._native is None or bridge is None:
            return
        self._closing = loop.create_future()
        try:
            # Half of a surrogate pair has no place in UTF-8, and no right to keep the ports open.
            said = reason.encode("utf-8", "replace").decode()
            await bridge.close(self._native, said, to_the_end=self._hears_out)
        finally:
            if self._hears_out:
                self._hears_out = False
                self._finish_streams()
            self._closing.set_result(None)

    async def __aenter__(self) -> RTPSession:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- what it is -----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The SSRC that it began with, in hexadecimal; empty before it opens."""
        return self._id

    @property
    def ssrc(self) -> int:
        """The synchronisation source of what is sent, random; another one after a collision
        (RFC 3550 §8)."""
        return self._opened().ssrc

    @property
    def local_addr(self) -> Address:
        """The bound (host, port), with the actual port."""
        return self._opened().local_addr

    @property
    def advertised_addr(self) -> Address:
        """The (host, port) to tell the peer in signalling: `advertised_host`, if it was given.
        Bound to all of the host's addresses, it is the one that the peer sends to, once heard, and
        before that the one on the way to it.

        Raises `OSError` when there is no way.
        """
        return self._advertised(None)

    @property
    def rtcp_addr(self) -> Address | None:
        """Where RTCP is received; None when it is off."""
        return self._opened().rtcp_addr

    @property
    def remote_addr(self) -> Address | None:
        """Where packets go now: as signalled, or as symmetric RTP learned it (RFC 4961)."""
        return self._opened().remote_addr()

    @property
    def codec(self) -> Codec:
        """The codec that is sent."""
        return self.options.codec

    @property
    def sample_rate(self) -> int:
        """Of frames delivered and of plain bytes played, in Hz."""
        return self._rate

    @property
    def channels(self) -> int:
        """Of frames delivered and of plain bytes played."""
        return self._channels

    @property
    def closed(self) -> bool:
        """Whether it was closed, or the core gave it up."""
        return self._closed

    def stats(self) -> RTPStats:
        """Counters and measurements of this moment; after the end, the last ones."""
        dropped = 0 if self._playout is None else self._playout.live_dropped
        return RTPStats.from_native(
            self._opened().stats(),
            frames_overrun=self._frames_overrun,
            live_bytes_dropped=dropped,
        )

    # --- audio out ------------------------------------------------------------------------------

    async def play(self, audio: Audio) -> Playback:
        """Plays `audio` and returns when it has left on the wire or was cancelled.

        `audio`: bytes or another buffer of 16 bit little-endian PCM in the session's rate and
        channels, an `AudioChunk` in its own, or an (async) iterator of these, which is read ahead
        by `lead_ms` and closed at the end. Concurrent calls play one after another without a gap.

        What the source raises is raised here, and what was queued of it is dropped; cancelling the
        task drops it too. Raises `SessionEndedError` when the session is not open.
        """
        return await self._out("play audio").play(audio)

    def send(self, audio: Audio) -> int:
        """Queues live audio, a frame or so at a time, without waiting; from any thread.

        `audio`: a buffer or an `AudioChunk`. Returns the bytes taken: fewer than given when
        `lead_ms` of audio wait, none while `play` has the line. The rest is dropped and counted.
        """
        playout = self._playout
        if self._closed or playout is None:
            playout = self._out("send audio")  # raises
        if type(audio) is bytes:  # the two forms of 50 frames a second and call
            return playout.send(audio, self._rate, self._channels)
        if type(audio) is AudioChunk and audio.format == "pcm_s16le":
            return playout.send(audio.data, audio.sample_rate, audio.channels)
        piece = PieceReader(audio, self._rate, self._channels).whole
        if piece is None:
            raise TypeError(f"audio: {type(audio).__name__}; bytes or an AudioChunk fits")
        return playout.send(*piece)

    def cancel(self) -> bool:
        """Drops all that plays or waits now, before the next packet leaves. True if there was
        anything; pending `play` calls return as cancelled. From any thread."""
        return self._playout is not None and self._playout.cancel()

    @property
    def playing(self) -> bool:
        """Whether anything plays or waits to be played."""
        return self._playout is not None and self._playout.playing

    @property
    def position(self) -> PlaybackPosition:
        """The playback heard last and the ms of it that left on the wire."""
        return PlaybackPosition(0, 0.0) if self._playout is None else self._playout.position

    async def wait_playback(self) -> bool:
        """Returns when all that plays or waits now has ended: True if all of it was played."""
        return True if self._playout is None else await self._playout.wait()

    def end_live(self) -> None:
        """What was given to `send` so far is complete; what follows is another playback."""
        if self._playout is not None:
            self._playout.end_live()

    # --- beside the audio -----------------------------------------------------------------------

    def set_input_muted(self, muted: bool) -> None:
        """While muted, the frames delivered are silence. From any thread."""
        self._opened().set_input_muted(flag(muted, "muted"))

    def retarget(self, remote_addr: Address) -> None:
        """Sends to another address from the next packet on, and expects the peer there. Its host is
        a numeric address, since looking up a name would take time. From any thread.

        Raises `ValueError` for an address that does not fit, `AddressConflictError` as `open` does,
        `QueueFullError` when too many changes wait. Nothing has changed then.
        """
        host, port = check_address(remote_addr, "remote_addr")
        if not is_numeric(host):
            raise ValueError(
                f"remote_addr: host {host!r}; a numeric address fits, looked up before"
            )
        check_family(host, "remote_addr", self.local_addr[0])
        self._out("retarget it")
        with self._changing:
            options = replace(self.options, remote_addr=(host, port))
            try:
                self._opened().retarget(host, port)
            except ValueError as error:
                raise AddressConflictError(f"remote_addr: {error}") from None
            except BlockingIOError:
                raise QueueFullError("too many changes wait for the media thread") from None
            self.options, self._remote = options, (host, port)

    # --- what comes in --------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[AudioFrame]:
        """Frames from now on. The iteration ends when the session is closed or the peer is gone;
        after a timeout a new one may be started, in case it comes back.

        A consumer that falls behind by `inbound_ms` loses the oldest frames, not the newest.
        """
        limit = max(1, self.options.inbound_ms // self.options.ptime_ms)
        stream = Stream(self._frames, limit, self._count_overrun)
        self._frame_streams.add(stream)
        if self._closed or self._disconnected is not None:
            stream.finish()
        return stream

    def events(self) -> AsyncIterator[RTPEvent]:
        """Digits, and what else happens, from now on; ends when the session is closed."""
        stream = Stream(self._events, _EVENTS_WAITING, _ignore)
        self._event_streams.add(stream)
        if self._closed:
            stream.finish()
        return stream

    def on_frame(self, callback: Callable[[AudioFrame], object]) -> Unsubscribe:
        """`callback(frame)` for every frame, on the event loop: keep it short. One that raises is
        logged and harms no other. Returns an idempotent unsubscribe.

        Raises `TypeError` for an async function: iterate over the session instead.
        """
        return self._frames.add(callback)

    def on_played(self, callback: Callable[[AudioFrame], object]) -> Unsubscribe:
        """`callback(frame)` for audio that has left, in frames of 20 ms in the rate and channels in
        which it was given. Its `timestamp_ms` is on the timeline of the frames received (None
        before the first). It is told as frames come in and when a playback ends.

        While there is a callback, copies of what is pushed are kept until it has left.
        """
        unsubscribe = self._played.add(callback)
        self._tap = self._tap or PlayedTap(self._played.call)
        self._set_tap()

        def take_back() -> None:
            unsubscribe()
            if not self._played.calls:
                self._tap = None
                self._set_tap()

        return take_back

    def on_event(self, callback: Callable[[RTPEvent], object]) -> Unsubscribe:
        """`callback(event)` for everything that `events` tells."""
        return self._events.add(callback)

    def on_unheard(self, callback: Callable[[Unheard], object]) -> Unsubscribe:
        """`callback(unheard)` when packets have come for 2 s and nothing of them was heard."""
        return self._events.add_for(Unheard, callback)

    def on_disconnected(self, callback: Callable[[Disconnected], object]) -> Unsubscribe:
        """`callback(disconnected)` when the peer hung up or fell silent, or the core failed."""
        return self._events.add_for(Disconnected, callback)

    # --- told by the bridge, on the loop's thread -----------------------------------------------

    def on_media_frame(self, pcm: bytes, timestamp_ms: float, kind: int) -> None:
        """One tick of audio from the core: the way that every frame of every call takes."""
        if self._closed and not self._hears_out:
            return  # it was on its way when the session was closed
        if self._tap is not None:
            self._now_ms = timestamp_ms + len(pcm) / (2 * self._channels) * 1000 / self._rate
            self._tell_played()
        for callback in self._frames.calls:
            # Each has a frame of its own: what one writes into its metadata is not another's.
            frame = frame_from_media(
                pcm,
                self._rate,
                self._channels,
                timestamp_ms,
                {"kind": FRAME_KINDS[kind]} if kind else None,
            )
            try:
                callback(frame)
            except Exception as error:  # noqa: BLE001 (one harms no other)
                log_fault(_log, error, "session %s: callback %r raised", self.id, callback)

    def on_media_item(self, kind: int, a: Any, b: Any, c: Any) -> None:
        """Anything else from the core."""
        playout = self._playout
        if playout is None:
            return
        if kind == _native.LOW_WATER:
            self._tell_played()
            playout.on_low_water()
        elif kind == _native.DIGIT:
            self._events.call(DTMFEvent(a, b, *c))
        elif kind == _native.DIALLED:
            self._dialling.on_ended(a, b)
            self._events.call(DTMFSent(a, b))
        elif kind == _native.PLAYBACK_STARTED:
            self._events.call(PlaybackStarted(a))
        elif kind == _native.PLAYBACK_ENDED:
            if self._tap is not None:
                self._tap.ended(a, b, self._now_ms)
            playout.on_ended(a, b, c)
            self._events.call(PlaybackEnded(a, b, c))
        elif kind == _native.SOURCE:
            self._events.call(SourceTrusted(a, b, c))
        elif kind == _native.RTP_RESUMED:
            self._disconnected = None
            self._events.call(Resumed())
        elif kind == _native.UNHEARD:
            _log.warning("session %s: packets come and nothing is heard of them: %s", self.id, a)
            self._events.call(Unheard(a))
        elif kind == _native.HEARD_AGAIN:
            _log.info("session %s: audio is heard again", self.id)
            self._events.call(HeardAgain())
        elif kind == _native.RTP_TIMEOUT:
            self._gone(Disconnected("rtp_timeout"))
        elif kind == _native.RTCP_TIMEOUT:
            self._gone(Disconnected("rtcp_timeout"))
        elif kind == _native.BYE:
            self._gone(Disconnected("bye", printable(a)))
        elif kind == _native.FAULT:
            _log.error("session %s: the media core gave it up: %s", self.id, a)
            self._gone(Disconnected("fault", a))
            self.on_loop_end()

    def on_loop_end(self) -> None:
        """The event loop ends, or the core has given up, with the session still open."""
        if not self._closed:
            self._end()
            if self._native is not None and self._bridge is not None:
                self._bridge.close_now(self._native)

    # --- inside ---------------------------------------------------------------------------------

    def _opened(self) -> _native.Session:
        if self._native is None:
            raise RuntimeError("the session is not open yet; use async with, or await open()")
        return self._native

    def _native_for(self, doing: str) -> _native.Session:
        self._out(doing)
        return self._opened()

    def _out(self, doing: str) -> Playout:
        self._opened()
        if self._closed or self._playout is None:
            raise SessionEndedError(self.id, doing)
        return self._playout

    def _advertised(self, remote: Address | None) -> Address:
        """`advertised_addr`; `remote`: where the peer will be, None for where it is."""
        native = self._opened()
        moves = remote is not None and (self._remote is None or remote[0] != self._remote[0])
        # Where it sends to now says nothing of how it reaches us from elsewhere.
        host = self.options.advertised_host or (None if moves else native.local_host())
        local = native.local_addr
        if host is not None:
            return host, local[1]
        return advertised_address(local, remote if moves else native.remote_addr())

    def _gone(self, event: Disconnected) -> None:
        self._disconnected = event
        self._events.call(event)
        for stream in list(self._frame_streams):
            stream.finish()

    def _set_tap(self) -> None:
        if self._playout is not None:
            self._playout.tap = self._tap

    def _tell_played(self) -> None:
        if self._tap is not None and self._native is not None:
            self._tap.left(*self._native.position(), self._now_ms)

    def _end(self) -> None:
        """Ends all that Python does for the session."""
        self._closed = True
        if self._playout is not None:
            self._playout.on_over()
        bridge = self._bridge
        if self._hears_out:
            return  # the streams end when all has been heard
        if bridge is None or bridge.here:
            self._finish_streams()
        elif not bridge.loop.is_closed():
            bridge.loop.call_soon_threadsafe(self._finish_streams)

    def _finish_streams(self) -> None:
        self._dialling.on_over()
        for frames in list(self._frame_streams):
            frames.finish()
        for events in list(self._event_streams):
            events.finish()

    def _count_overrun(self) -> None:
        self._frames_overrun += 1


def _ignore() -> None:
    """Events that nobody takes are not worth a counter."""
