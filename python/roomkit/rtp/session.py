"""`RTPSession`: one RTP session with its media, for programs that want no framework around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self, Unpack

from roomkit.errors import check_text
from roomkit.rtp.addresses import Address
from roomkit.rtp.audio import Audio, Live, live_piece
from roomkit.rtp.checks import flag
from roomkit.rtp.codecs import Codec
from roomkit.rtp.digits import Digits
from roomkit.rtp.events import Disconnected, RTPEvent, Unheard
from roomkit.rtp.media import Media
from roomkit.rtp.options import (
    DTMFMethod,
    MediaDirection,
    RTPExtra,
    RTPOptions,
    RTPWishes,
    check_names,
)
from roomkit.rtp.path import path_of
from roomkit.rtp.playback import RTPPlayback
from roomkit.rtp.playout import Playback
from roomkit.rtp.sdp.agreement import Agreement
from roomkit.rtp.sdp.negotiation import Negotiation
from roomkit.rtp.signalling import Signalling, begin_offering, begin_with_offer
from roomkit.rtp.srtp import SRTP
from roomkit.rtp.stats import RTPStats
from roomkit.rtp.terms import Terms
from roomkit.voice.base import PathDelay, PlaybackPosition, Unsubscribe
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame

__all__ = ["RTPSession"]


class RTPSession:
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

    _opening = False  # or open, or opened once

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
        self._assemble(
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
    def from_options(cls, options: RTPOptions, *, shared: bool = False) -> Self:
        """A session with options that have been checked already. Raises `TypeError` for what are
        none."""
        if not isinstance(options, RTPOptions):
            raise TypeError(f"options: {type(options).__name__}; RTPOptions fit")
        return cls._made(options, shared=shared)

    @classmethod
    def from_offer(
        cls, sdp: str | bytes, *, shared: bool = False, **options: Unpack[RTPWishes]
    ) -> Self:
        """A session that answers a gateway's offer; when it is open, `answer` is to be sent back::

            async with RTPSession.from_offer(invite.body) as session:
                respond(200, session.answer)

        The options are those of `RTPSession`. Codecs, `ptime_ms`, `direction`, digits and `rtcp`
        are wishes: `codecs` alone are taken, in their order; without them, all that the offer has
        and we know. The address is the offer's.

        Raises `SDPError`, a `ValueError`, that names the line where the offer is malformed or there
        is nothing to agree on, and `ValueError` as `RTPSession` does.
        """
        negotiation, agreed = begin_with_offer(sdp, options)
        return cls._made(agreed, shared=shared, negotiation=negotiation)

    @classmethod
    def for_offer(cls, *, shared: bool = False, **options: Unpack[RTPWishes]) -> Self:
        """A session whose peer is told by the answer to an offer of ours::

            async with RTPSession.for_offer(codecs=["opus", "PCMU"]) as session:
                response = await invite(session.offer())
                await session.accept_answer(response.body)

        Before the answer nobody is heard, and nothing is sent. Frames have the rate of the first
        codec offered, whatever is answered, unless `sample_rate` says another. Raises `ValueError`
        as `RTPSession` does.
        """
        negotiation, offered = begin_offering(options)
        return cls._made(offered, shared=shared, negotiation=negotiation)

    # --- life -----------------------------------------------------------------------------------

    async def open(self) -> RTPSession:
        """Binds the ports and starts the media. `async with` does it.

        Raises `OSError` when an address cannot be bound or a name not be resolved (of these,
        `PortsExhaustedError` when no port is left to take), `ValueError`
        when addresses do not fit together, or `srtp` has a receive key that another live session
        of the process receives with, `AddressConflictError` when the peer could not be told
        from that of another session on a shared address. Nothing is left open then.
        """
        if self._opening:
            raise RuntimeError("this session was opened before; make a new one")
        self._opening = True
        await self._terms.open(by_sdp=self._signalling.speaks)
        try:
            self._signalling.write_answer()
        except BaseException:
            await self.close()
            raise
        self._terms.warn()
        return self

    async def close(self, reason: str = "") -> None:
        """Says RTCP BYE (with `reason`) and gives the ports back. What plays is cancelled,
        iterators end. Idempotent; concurrent calls return when the first has done it.

        Frames on their way are not heard any longer; only where digits were masked
        (`mask_digits`), what that held back is, before this returns. Raises `TypeError` for a
        reason that is no string."""
        check_text(reason, "reason")
        await self._media.close(reason)

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
        return self._media.id

    @property
    def ssrc(self) -> int:
        """The synchronisation source of what is sent, random; another one after a collision
        (RFC 3550 §8)."""
        return self._media.native.ssrc

    @property
    def local_addr(self) -> Address:
        """The bound (host, port), with the actual port."""
        return self._media.native.local_addr

    @property
    def advertised_addr(self) -> Address:
        """The (host, port) to tell the peer in signalling: `advertised_host`, if it was given.
        Bound to all of the host's addresses, it is the one that the peer sends to, once heard, and
        before that the one on the way to it.

        Raises `OSError` when there is no way.
        """
        return self._terms.advertised()

    @property
    def rtcp_addr(self) -> Address | None:
        """Where RTCP is received; None when it is off."""
        return self._media.native.rtcp_addr

    @property
    def remote_addr(self) -> Address | None:
        """Where packets go now: as signalled, or as symmetric RTP learned it (RFC 4961)."""
        return self._media.native.remote_addr()

    @property
    def options(self) -> RTPOptions:
        """Those that hold now."""
        return self._terms.options

    @property
    def codec(self) -> Codec:
        """The codec that is sent."""
        return self.options.codec

    @property
    def sample_rate(self) -> int:
        """Of frames delivered and of plain bytes played, in Hz."""
        return self._media.rate

    @property
    def channels(self) -> int:
        """Of frames delivered and of plain bytes played."""
        return self._media.channels

    @property
    def closed(self) -> bool:
        """Whether it was closed, or the core gave it up."""
        return self._media.closed

    def stats(self) -> RTPStats:
        """Counters and measurements of this moment; after the end, the last ones."""
        return self._media.stats()

    # --- audio out ------------------------------------------------------------------------------

    async def play(self, audio: Audio) -> Playback:
        """Plays `audio` and returns when it has left on the wire or was cancelled.

        `audio`: bytes or another buffer of 16 bit PCM in the session's rate and channels, an
        `AudioChunk` or `AudioFrame` in its own, or an iterator of these, which is read ahead by
        `lead_ms` and closed at the end: an async one here, a list here, any other in a thread, so
        that it may block. Concurrent calls play one after another without a gap.

        What the source raises is raised here, and what was queued of it is dropped; cancelling the
        task drops it too. Raises `SessionEndedError` when the session is not open, `TypeError` or
        `ValueError` for what is no such audio.
        """
        return await self._media.playout_for("play audio").play(audio)

    def start_play(self, audio: Audio) -> RTPPlayback:
        """Begins to play `audio`, as `play` does, behind what plays and waits, and returns at once
        with what tells of it and commands it: its position, pause and resume, the marks in its
        audio (`AudioChunk.marks`), its end.

        Raises `SessionEndedError` when the session is not open, `TypeError` or `ValueError` for
        what can be seen at once to be no such audio.
        """
        return self._media.playout_for("play audio").start(audio)

    def send(self, audio: Live) -> int:
        """Queues live audio, a frame or so at a time, without waiting; from any thread.

        `audio`: a buffer, an `AudioChunk` or an `AudioFrame`. Returns the bytes taken: all, or none
        when it does not fit into `lead_ms`, or while `play` has the line. What is not taken is
        dropped, counted, and warned of once; `wait_playback` is False then.
        """
        playout = self._media.playout_for("send audio")
        return playout.send(live_piece(audio, self._media.rate, self._media.channels))

    def cancel(self) -> bool:
        """Drops all that plays or waits now, before the next packet leaves. True if there was
        anything; pending `play` calls return as cancelled. From any thread."""
        playout = self._media.playout
        return playout is not None and playout.cancel()

    @property
    def playing(self) -> bool:
        """Whether anything plays or waits to be played."""
        playout = self._media.playout
        return playout is not None and playout.playing

    @property
    def position(self) -> PlaybackPosition:
        """The playback heard last and the ms of it that left on the wire."""
        playout = self._media.playout
        return PlaybackPosition(0, 0.0) if playout is None else playout.position

    def path_delay(self) -> PathDelay:
        """How long audio takes from leaving here until it is heard at the far end, with bounds, by
        what its reports tell: `roomkit.rtp.path.path_of` says how."""
        return path_of(self.stats())

    async def wait_playback(self) -> bool:
        """Returns when all that plays or waits now has ended: True if all of it was played, and
        nothing was dropped of what `send` was given since the playback before."""
        playout = self._media.playout
        return True if playout is None else await playout.wait()

    def end_live(self) -> None:
        """What was given to `send` so far is complete; what follows is another playback."""
        playout = self._media.playout
        if playout is not None:
            playout.end_live()

    # --- beside the audio -----------------------------------------------------------------------

    def set_input_muted(self, muted: bool) -> None:
        """While muted, the frames delivered are silence. From any thread."""
        self._media.native.set_input_muted(flag(muted, "muted"))

    def retarget(self, remote_addr: Address) -> None:
        """Sends to another address from the next packet on, and expects the peer there. Its host is
        a numeric address, since looking up a name would take time. From any thread.

        Raises `ValueError` for an address that does not fit, `AddressConflictError` as `open` does,
        `QueueFullError` when too many changes wait. Nothing has changed then.
        """
        self._terms.retarget(remote_addr)

    # --- digits ---------------------------------------------------------------------------------

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
        `"rfc4733"`, events, or `"inband"`, tones in the audio (ITU-T Q.23); None:
        the option `dtmf_method`.

        Raises `ValueError` for anything else, also where the peer takes no events,
        and `QueueFullError` when more than 128 digits and pauses would wait. Nothing is
        queued then.
        """
        return self._digits.send(digits, duration_ms, gap_ms, method)

    def cancel_dtmf(self) -> bool:
        """Drops the digits that wait. One on its way ends at once, 40 ms long at least, so that no
        key is left pressed. True if not all had left. From any thread."""
        return self._digits.cancel()

    async def wait_dtmf(self) -> bool:
        """Returns when the digits queued so far have left: True if all were sent whole."""
        return await self._digits.wait()

    def inject_dtmf(self, digit: str, duration_ms: int = 160) -> None:
        """A key was pressed until now for `duration_ms`, 1 to 60000, as signalling says: SIP INFO.
        From any thread.

        It arrives as one that was received, once: if events or tones of the same key come within a
        second of it, they are taken for the same press.

        Raises `ValueError` for anything but one digit.
        """
        self._digits.inject(digit, duration_ms)

    def mask_digits(self, masked: bool = True) -> None:
        """While masked, nobody who takes the frames can hear a digit: for card numbers. From any
        thread; holds from the next frame on.

        Frames are delivered 60 ms later then. Silenced in them are tones of a key that last for
        15 ms or more, with 40 ms before and behind them, and the audio from 60 ms before to 60 ms
        behind the packets of a signalled digit. Digits are still told, those in the audio too
        whether or not `dtmf_inband` is set, with `masked` set, and roomkit logs none of them.

        Unmasked again, the session stays masked until a tone that sounds is over, whether audio
        comes or not; a key that is pressed later is not told as masked. Closed, it is heard to
        the end first, without a tone that has just begun.
        """
        self._digits.mask(masked)

    @contextmanager
    def digits_masked(self) -> Iterator[None]:
        """`with session.digits_masked():` masks digits inside it, see `mask_digits`."""
        self.mask_digits(True)
        try:
            yield
        finally:
            if not self.closed:
                self.mask_digits(False)

    # --- what was agreed on ---------------------------------------------------------------------

    @property
    def answer(self) -> str:
        """The answer to the offer that the session was made of, or that `update` was given last.

        Raises `RuntimeError` before the session is open: its port is not known yet.
        """
        return self._signalling.answer

    @property
    def descriptions(self) -> dict[str, str]:
        """What was written last, to be sent: `sdp_answer`, or `sdp_offer` before it is answered."""
        return self._signalling.descriptions

    @property
    def agreement(self) -> Agreement | None:
        """What the descriptions came to so far; None before an answer, or without SDP."""
        return self._signalling.agreement

    def offer(
        self,
        *,
        codecs: Sequence[Codec | str] | None = None,
        ptime_ms: int | None = None,
        direction: MediaDirection | None = None,
    ) -> str:
        """An offer of ours, to begin with or to change what there is: `direction="sendonly"` holds
        the far end, `codecs` ask for others. It changes nothing before `accept_answer`.

        Raises `ValueError` for what does not fit, `OSError` where the far end's address has no
        route, `RuntimeError` while `update` or `accept_answer` take what the far end has said
        (RFC 3264 §4). Nothing has been offered then.
        """
        return self._signalling.offer(codecs=codecs, ptime_ms=ptime_ms, direction=direction)

    async def accept_answer(self, sdp: str | bytes) -> None:
        """What the far end answered to `offer` holds from the next frame on, without a gap.

        Raises `SDPError` that names the line, where it is malformed or refuses the audio, and as
        `update` does; nothing has changed then.
        """
        await self._signalling.accept_answer(sdp)

    async def update(
        self,
        *,
        remote_addr: Address | None = None,
        sdp: str | bytes | None = None,
        **changes: Unpack[RTPExtra],
    ) -> str | None:
        """Changes options in the middle of the call, as a re-INVITE asks for, without a gap either
        way: `codecs`, payload types of digits and comfort noise, `fill`, `ptime_ms`, `remote_addr`,
        `remote_rtcp_addr`, `rtcp`, `direction`, timeouts, `srtp` (see `rekey`). What is not named
        stays, the rate and channels of the frames always. With `sdp`, an offer of the far end's,
        that decides, and the answer is returned.

        RTCP that no longer shares the port of RTP (RFC 5761 §5.1.1) gets the port after it, which
        is then kept to the end: `OSError` where that is taken.

        A name in `remote_addr` or `remote_rtcp_addr` is resolved first, and not again when
        something else changes; the change has its effect with the next frame. Raises `ValueError`
        for what does not fit or cannot change, `TypeError` for a name that no option has, `OSError`
        for a host name that does not resolve or an answer for want of a route,
        `AddressConflictError` as `open` does, `QueueFullError` when too many changes wait. Nothing
        has changed then.
        """
        self._media.check_opened()
        check_names(changes)
        asked = {**changes} if remote_addr is None else {**changes, "remote_addr": remote_addr}
        if sdp is not None:
            return await self._signalling.receive_offer(sdp, asked)
        await self._terms.update(asked)
        return None

    async def rekey(self, srtp: SRTP) -> None:
        """Goes over to other keys in mid-call; a session in plain becomes an encrypted one.

        What is sent has the new key from the next packet on. What comes in may have the old one
        until the far end has begun with the new one and two seconds more, 32 seconds at most. So
        nothing is lost where each end knows a key before the other sends with it: give the old
        `send_key` with the new `receive_key` first, and both when the far end is ready.

        Raises `ValueError` for what is no `SRTP`, for a receive key that another live session of
        the process has, and as `update` does.
        """
        await self.update(srtp=srtp)

    async def hold(self, direction: Literal["sendonly", "inactive"] = "sendonly") -> None:
        """Puts the far end on hold: it is not heard any more, while frames of silence go on, and
        `rtp_timeout_on_hold` is its limit. With `"sendonly"` it may hear music, which is played
        like all else; with `"inactive"` nothing, and what is to be played waits. So it is, whatever
        is asked for, where the far end has put us on hold as well.

        The signalling is to say the same; answers to offers of the far end do. Idempotent. Raises
        `ValueError` for another direction, and what `update` raises.
        """
        await self._terms.hold.begin(direction)

    async def resume(self) -> None:
        """Takes the far end off hold. Call it when the offer to do so leaves: it may answer with
        audio at once. The direction is what it was before `hold`. Idempotent."""
        await self._terms.hold.end()

    @property
    def on_hold(self) -> bool:
        """Whether one side has put the other on hold: by `hold`, or by a change of direction after
        audio went both ways."""
        return self._terms.hold.on_hold

    # --- what comes in --------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[AudioFrame]:
        """Frames from now on. The iteration ends when the session is closed or the peer is gone;
        after a timeout a new one may be started, in case it comes back.

        A consumer that falls behind by `inbound_ms` loses the oldest frames, not the newest.
        """
        options = self._terms.options
        return self._media.frame_stream(max(1, options.inbound_ms // options.ptime_ms))

    def events(self) -> AsyncIterator[RTPEvent]:
        """Digits, and what else happens, from now on; ends when the session is closed."""
        return self._media.event_stream()

    def on_frame(self, callback: Callable[[AudioFrame], object]) -> Unsubscribe:
        """`callback(frame)` for every frame, on the event loop: keep it short. One that raises is
        logged and harms no other. Returns an idempotent unsubscribe.

        It runs in the context (`contextvars`) in which the session was opened. What it returns that
        can be awaited, as async functions do, is awaited in the order of the frames; of those for
        which the one before is not done, 256 wait at most. So it is with all callbacks here.
        """
        return self._media.frames.add(callback)

    def on_played(self, callback: Callable[[AudioFrame], object]) -> Unsubscribe:
        """`callback(frame)` for audio that has left, in frames of 20 ms in the rate and channels in
        which it was given; shorter where a playback ends, pauses or runs dry. `clock_ms` is when
        its first sample was due on the media clock, which frames received have too;
        `timestamp_ms` is the same on their timeline (None before the first). Both come from the
        core, and hold however late the program is. It is told within a frame or two.

        While there is a callback, copies of what is pushed are kept until it has left.
        """
        return self._media.on_played(callback)

    def on_event(self, callback: Callable[[RTPEvent], object]) -> Unsubscribe:
        """`callback(event)` for everything that `events` tells."""
        return self._media.events.add(callback)

    def on_unheard(self, callback: Callable[[Unheard], object]) -> Unsubscribe:
        """`callback(unheard)` when packets have come for 2 s and nothing of them was heard."""
        return self._media.events.add_for(Unheard, callback)

    def on_disconnected(self, callback: Callable[[Disconnected], object]) -> Unsubscribe:
        """`callback(disconnected)` when the peer hung up or fell silent, or the core failed."""
        return self._media.events.add_for(Disconnected, callback)

    def on_dtmf(self, callback: Callable[[DTMFEvent], object]) -> Unsubscribe:
        """`callback(dtmf_event)` for every digit, once, when its end is known."""
        return self._media.events.add_for(DTMFEvent, callback)

    # --- inside ---------------------------------------------------------------------------------

    @classmethod
    def _made(
        cls, options: RTPOptions, *, shared: bool, negotiation: Negotiation | None = None
    ) -> Self:
        session = cls.__new__(cls)
        session._assemble(options, shared=shared, negotiation=negotiation)
        return session

    def _assemble(
        self, options: RTPOptions, *, shared: bool, negotiation: Negotiation | None = None
    ) -> None:
        if options.remote_addr is None and not options.learns and negotiation is None:
            raise ValueError(
                "remote_addr: None; a (host, port) pair fits, or source_policy='learn' to take the"
                " first peer that sends valid RTP"
            )
        # Each part knows those before it, and none knows this session.
        self._media = Media(options.frame_rate, options.frame_channels)
        self._terms = Terms(options, self._media, shared=flag(shared, "shared"))
        self._signalling = Signalling(self._media, self._terms, negotiation)
        self._digits = Digits(self._media, self._terms, self._signalling.why_no_events)
