"""`RTPVoiceBackend`: calls over RTP, with a PBX, a SIP gateway or anything that speaks RTP."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Unpack
from uuid import uuid4

from roomkit._text import LONGEST_TRANSCRIPT, printable
from roomkit.errors import (
    BackendClosedError,
    CloseError,
    SessionEndedError,
    SessionNotFoundError,
    check_text,
)
from roomkit.rtp.addresses import Address, check_address
from roomkit.rtp.audio import Audio, Live
from roomkit.rtp.checks import flag
from roomkit.rtp.codecs import Codec
from roomkit.rtp.events import Disconnected, HeardAgain, Resumed, RTPEvent, Unheard
from roomkit.rtp.options import DTMFMethod, MediaDirection, RTPExtra, RTPOptions, check_names
from roomkit.rtp.playback import RTPPlayback
from roomkit.rtp.session import RTPSession
from roomkit.rtp.stats import RTPStats
from roomkit.voice.backends._metadata import SessionMetadata
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import (
    AudioPlayedCallback,
    DisconnectReason,
    PathDelay,
    PlaybackPosition,
    Unsubscribe,
    VoiceCapability,
    VoiceSession,
    VoiceSessionState,
    check_session,
)
from roomkit.voice.events import DTMFEvent

__all__ = ["RTPVoiceBackend"]

_log = logging.getLogger("roomkit.voice.backends.rtp")


class RTPVoiceBackend(VoiceBackend):
    """Sends and receives voice over RTP::

        backend = RTPVoiceBackend(
            local_addr=("0.0.0.0", 10000),
            remote_addr=("192.168.1.100", 20000),
        )

    Each `connect` opens a `roomkit.rtp.RTPSession`. Clock, pacing, jitter buffer, codecs, digits
    and RTCP run in native threads: a stall of the program delays no packet.

    Sessions may share a fixed `local_addr`: they have one socket and are told apart by the remote
    address, then by SSRC. With port 0 each has ports of its own.

    `session.metadata` is a copy of the metadata given, with `backend` ("rtp"), `remote_addr`,
    `local_addr` (the bound one), `payload_type`, `clock_rate`, `codec`, and the `sample_rate` and
    `channels` of its frames; beside `sdp`, an offer, also `sdp_answer`.
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
        log_transcripts: bool = False,
        **extra: Unpack[RTPExtra],
    ) -> None:
        """
        Args:
            local_addr: (host, port) to bind RTP. Port 0: a free even one, per session.
            remote_addr: (host, port) to send RTP to. May be None if supplied per session by
                `metadata["remote_addr"]` in `connect`, or with `source_policy="learn"`.
            payload_type: RTP payload type (0 PCMU, 8 PCMA, 9 G.722, 10 and 11 L16 at 44.1 kHz; 96
                to 127, or 35 to 63: Opus at a `clock_rate` of 48000, L16 mono at any other).
            clock_rate: RTP clock rate in Hz (8000 for G.711 and G.722, 48000 for Opus).
            dtmf_payload_type: RTP payload type of RFC 4733 digits; None: no digits.
            rtcp_interval: Seconds between RTCP reports, before RFC 3550's randomisation.
            log_transcripts: Log the text of transcripts at INFO. Otherwise only at DEBUG: what
                people say is not for logs.
            extra: The other options, `RTPExtra`; `roomkit.rtp.RTPOptions` says what each is:
                `codecs`, `ptime_ms`, `sample_rate`, `jitter_ms`, `source_policy`, … Not `srtp`:
                keys are given per call, in the options of `connect`, or by SDP.

        Raises `ValueError` that names the parameter, its value and what fits.
        """
        super().__init__()
        check_names(extra)
        self._options = RTPOptions(
            local_addr=local_addr,
            remote_addr=remote_addr,
            payload_type=payload_type,
            clock_rate=clock_rate,
            dtmf_payload_type=dtmf_payload_type,
            rtcp_interval=rtcp_interval,
            **extra,
        )
        if self._options.srtp is not None:
            raise ValueError(
                "srtp: an SRTP; a key of the backend's would serve all its calls, and each could be"
                ' sent into the other: connect(..., options={"srtp": SRTP(...)}) gives a call its'
                " own, and an offer in metadata brings one"
            )
        self._metadata = SessionMetadata(self._options)
        self._log_transcripts = flag(log_transcripts, "log_transcripts")
        self._media: dict[str, RTPSession] = {}
        self._tells_played = False
        # What can still be asked about a session that has ended, for as long as someone holds it.
        self._last_stats: weakref.WeakKeyDictionary[VoiceSession, RTPStats] = (
            weakref.WeakKeyDictionary()
        )
        self._closed = False

    @property
    def name(self) -> str:
        return "RTP"

    @property
    def capabilities(self) -> VoiceCapability:
        inband = VoiceCapability.DTMF_INBAND if self._options.dtmf_inband else VoiceCapability.NONE
        always = VoiceCapability.INTERRUPTION | VoiceCapability.PAUSE
        return VoiceCapability.DTMF_SIGNALING | always | inband

    @property
    def options(self) -> RTPOptions:
        """What every session starts from."""
        return self._options

    # --- life of a session ----------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> VoiceSession:
        """Opens a session and returns it ACTIVE; `on_session_ready` callbacks have been called.

        `options` (`roomkit.rtp.RTPCallOptions`) override the backend's for this session: `codecs`,
        `ptime_ms`, `source_policy`, `local_addr`, `srtp`, … None leaves the backend's.

        `metadata` is the application's own, and is copied into the session's. Three of its keys are
        read: `remote_addr`, a (host, port) pair, `sdp` and `offer_sdp`. Names of other options are
        read as well where their values fit, for now, with a warning.

        With `sdp`, a gateway's offer, that decides on addresses, codecs, payload types and
        direction, and the options are wishes, as in `RTPSession.from_offer`;
        `session.metadata["sdp_answer"]` is to be sent back. With `offer_sdp=True` we have the first
        word: `session.metadata["sdp_offer"]` is to be sent, and `accept_answer` called with what
        comes back.

        Raises `ValueError` for an address that does not fit or is missing, and for `srtp` with a
        receive key that another live session of the process has, `AddressConflictError`
        when the peer cannot be told from that of another session on the same port, `OSError` when
        a port is taken or a name does not resolve. Nothing is left open then.
        """
        self._check_open()
        check_text(room_id, "room_id")
        check_text(participant_id, "participant_id")
        check_text(channel_id, "channel_id")
        media = self._metadata.media_for(metadata, options)
        session = VoiceSession(str(uuid4()), room_id, participant_id, channel_id)
        media.on_frame(partial(self.audio_received.fire, session))
        media.on_dtmf(partial(self._on_dtmf, session))
        media.on_event(partial(self._on_event, session))
        if self._tells_played:
            media.on_played(partial(self.audio_played.fire, session))
        await media.open()
        self._media[session.id] = media
        try:
            self._check_open()  # close() may have come while a name was being resolved
            session.metadata = {**(metadata or {})}
            if session.metadata.get("offer_sdp"):
                media.offer()
            self._metadata.describe(session, media)
            self.sessions[session.id] = session
            self.session_ready.fire(session)
            await asyncio.sleep(0)  # async callbacks begin
        except BaseException:
            await self.disconnect(session)
            raise
        _log.info(
            "session %s: %s from %s:%d to %s",
            session.id,
            media.codec.rtpmap,
            *media.local_addr,
            media.options.remote_addr or "whoever proves to be the peer",
        )
        return session

    async def disconnect(self, session: VoiceSession) -> None:
        """Ends the session: what plays is cancelled, the peer gets an RTCP BYE, the ports are free
        when this returns. Idempotent, at any moment, also from another event loop."""
        media = self._known(session)
        session.state = VoiceSessionState.ENDED
        self.sessions.pop(session.id, None)
        if media is None:
            return
        try:
            await media.close()
        finally:
            if self._media.pop(session.id, None) is not None:
                self._last_stats[session] = media.stats()

    async def close(self) -> None:
        """Ends every session and refuses new ones. Idempotent. If some fail to close, the others
        are closed nevertheless; `CloseError` then lists what failed."""
        self._closed = True
        results = await asyncio.gather(
            *(self.disconnect(session) for session in list(self.sessions.values())),
            return_exceptions=True,
        )
        failed = [result for result in results if result is not None]
        if failed:
            raise CloseError("the RTP backend", failed)

    # --- audio out ------------------------------------------------------------------------------

    async def send_audio(
        self,
        session: VoiceSession,
        audio: Audio,
    ) -> None:
        """Plays `audio`, paced by the media clock, and returns when it has left on the wire or was
        cancelled.

        Buffers are 16 bit PCM in the session's rate and channels; chunks and frames say their own,
        and are resampled and mixed. An iterator is read ahead by `lead_ms` and closed at the end; a
        plain one is read in a thread, and may block. What it raises is raised here, and what was
        queued of it is dropped. Concurrent calls for a session play one after another.
        """
        await self._require(session, "send audio").play(audio)

    def start_playback(self, session: VoiceSession, audio: Audio) -> RTPPlayback:
        """Begins to play `audio`, as `send_audio` does, and returns at once with what tells of it
        and commands it: see `RTPSession.start_play`."""
        return self._require(session, "send audio").start_play(audio)

    def send_audio_sync(self, session: VoiceSession, chunk: Live) -> int:
        """Queues a frame or so of live audio without waiting, from any thread, and returns the
        bytes of it that were taken: all, or none.

        What finds no room within `lead_ms`, or comes while `send_audio` plays, is dropped: late
        audio is of no use to a live listener. It is counted (`live_bytes_dropped` in `stats`) and
        warned of once, and `wait_playback` is False. Audio that comes faster than it is played, as
        a realtime model's, is for an `AudioQueue`, which `send_audio` plays.
        """
        return self._require(session, "send audio").send(chunk)

    async def cancel_audio(self, session: VoiceSession) -> bool:
        """Stops what plays and forgets what waits, before the next packet leaves; pending
        `send_audio` calls return. True only if there was something."""
        media = self._known(session)
        return media is not None and media.cancel()

    def interrupt(self, session: VoiceSession) -> None:
        """`cancel_audio` for code that cannot await; from any thread."""
        media = self._known(session)
        if media is not None:
            media.cancel()

    def is_playing(self, session: VoiceSession) -> bool:
        """Whether audio plays or waits to be played."""
        media = self._known(session)
        return media is not None and media.playing

    async def wait_playback(self, session: VoiceSession) -> bool:
        """Returns when all that plays or waits now has ended: True if all of it was played, and
        nothing was dropped of what `send_audio_sync` was given since the playback before."""
        media = self._known(session)
        return True if media is None else await media.wait_playback()

    def end_of_response(self, session: VoiceSession) -> None:
        """The audio given to `send_audio_sync` so far is a whole."""
        media = self._known(session)
        if media is not None:
            media.end_live()

    def playback_position(self, session: VoiceSession) -> PlaybackPosition:
        """The playback heard last and the ms of it that left on the wire, to the frame."""
        return self._require(session, "tell its position").position

    def path_delay(self, session: VoiceSession) -> PathDelay:
        """How long audio takes from leaving here until it is heard at the far end: the least, the
        most likely and the most, in ms.

        The way is between nothing and the round trip that RTCP tells, most likely half of it, the
        far end's jitter buffer what its extended reports tell; of what is not known, wide bounds
        are taken. `roomkit.rtp.path.path_of` says how each comes about.
        """
        return self._require(session, "tell its delay").path_delay()

    def on_audio_played(self, callback: AudioPlayedCallback) -> Unsubscribe:
        """`callback(session, frame)` for audio that has left, as `RTPSession.on_played` tells it.

        Sessions keep copies of their audio for it, so only those that connect after the first
        registration report.
        """
        self._tells_played = True
        return super().on_audio_played(callback)

    # --- beside the audio -----------------------------------------------------------------------

    def send_dtmf(
        self,
        session: VoiceSession,
        digit: str,
        duration_ms: int = 160,
        *,
        gap_ms: int = 80,
        method: DTMFMethod | None = None,
    ) -> None:
        """Queues a digit (`0`-`9`, `*`, `#`, `A`-`D`, any case) or several, with `,`, `w` or `p`
        for pauses of 500 ms, each of 20 to 60000 ms, sent at the pace of the media clock.
        `method`: `"rfc4733"`, events, or `"inband"`, tones in the audio; None: the
        option `dtmf_method`.

        Raises `ValueError` for anything else, `QueueFullError` when too many wait; nothing is
        queued then.
        """
        self._require(session, "send a digit").send_dtmf(
            digit, duration_ms, gap_ms=gap_ms, method=method
        )

    def cancel_dtmf(self, session: VoiceSession) -> bool:
        """Drops the digits that wait and ends the one on its way; True if not all had left."""
        return self._require(session, "cancel digits").cancel_dtmf()

    async def wait_dtmf(self, session: VoiceSession) -> bool:
        """Returns when the digits queued so far have left: True if all were sent."""
        return await self._require(session, "wait for digits").wait_dtmf()

    def inject_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """A key was pressed until now for `duration_ms`, as SIP INFO says. It arrives as a digit
        that was received, once, even if it was received as well."""
        self._require(session, "inject a digit").inject_dtmf(digit, duration_ms)

    def mask_digits(self, session: VoiceSession, masked: bool = True) -> None:
        """While masked, digits cannot be heard in the frames received, and are not logged: for card
        numbers. `RTPSession.mask_digits` says what exactly."""
        self._require(session, "mask digits").mask_digits(masked)

    def set_input_muted(self, session: VoiceSession, muted: bool) -> None:
        """While muted, the frames received are silence; the timeline goes on."""
        self._require(session, "mute its input").set_input_muted(muted)

    async def send_transcription(
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        """Logs that there is a transcript (RTP has no screen to show it on); its text only at
        DEBUG, unless the backend was made with `log_transcripts=True`."""
        check_session(session)
        for name, value in (("text", text), ("role", role)):
            if not isinstance(value, str):
                raise TypeError(f"{name}: {type(value).__name__}; a str fits")
        role, shown = printable(role), printable(text, LONGEST_TRANSCRIPT)
        if self._log_transcripts:
            _log.info("session %s: %s: %s", session.id, role, shown)
        else:
            _log.info("session %s: transcript of %s, %d characters", session.id, role, len(text))
            _log.debug("session %s: %s: %s", session.id, role, shown)

    def stats(self, session: VoiceSession) -> RTPStats:
        """Counters and measurements of this moment; after the end of the session, the last ones."""
        check_session(session)
        last = self._last_stats.get(session)
        return self._require(session, "tell its statistics").stats() if last is None else last

    def retarget(self, session: VoiceSession, remote_addr: Address) -> None:
        """Sends to another address from the next packet on, and expects the peer there: what a
        re-INVITE asks for. The host is a numeric address."""
        self._require(session, "retarget it").retarget(remote_addr)
        session.metadata["remote_addr"] = check_address(remote_addr, "remote_addr")

    async def update(
        self,
        session: VoiceSession,
        *,
        remote_addr: Address | None = None,
        sdp: str | bytes | None = None,
        **changes: Unpack[RTPExtra],
    ) -> str | None:
        """Changes options of a session in mid-call, without a gap: see `RTPSession.update`. `sdp`:
        what a re-INVITE offers; the answer is returned, and is the new `sdp_answer`."""
        media = self._require(session, "update it")
        answer = await media.update(remote_addr=remote_addr, sdp=sdp, **changes)
        self._metadata.describe(session, media)
        return answer

    def offer(
        self,
        session: VoiceSession,
        *,
        codecs: Sequence[Codec | str] | None = None,
        ptime_ms: int | None = None,
        direction: MediaDirection | None = None,
    ) -> str:
        """An offer of ours for a re-INVITE, such as `direction="sendonly"` for hold: see
        `RTPSession.offer`. What comes back is for `accept_answer`."""
        media = self._require(session, "offer anything")
        offer = media.offer(codecs=codecs, ptime_ms=ptime_ms, direction=direction)
        self._metadata.describe(session, media)
        return offer

    async def accept_answer(self, session: VoiceSession, sdp: str | bytes) -> None:
        """What the far end answered to our offer holds from the next frame on: see
        `RTPSession.accept_answer`."""
        media = self._require(session, "take an answer")
        await media.accept_answer(sdp)
        self._metadata.describe(session, media)

    async def hold(
        self, session: VoiceSession, direction: Literal["sendonly", "inactive"] = "sendonly"
    ) -> None:
        """Puts the far end on hold: it is not heard, frames of silence go on, and the session is
        PAUSED. With `"sendonly"` it may hear music; with `"inactive"` what is to be played waits.
        See `RTPSession.hold`. Idempotent."""
        media = self._require(session, "put it on hold")
        await media.hold(direction)
        self._metadata.describe(session, media)

    async def resume(self, session: VoiceSession) -> None:
        """Takes the far end off hold, to what it was before; the session is ACTIVE again.
        Idempotent."""
        media = self._require(session, "take it off hold")
        await media.resume()
        self._metadata.describe(session, media)

    # --- inside ---------------------------------------------------------------------------------

    def _known(self, session: VoiceSession) -> RTPSession | None:
        """Its media, while it is one of this backend's. Raises `TypeError` for what is none."""
        check_session(session)
        return self._media.get(session.id)

    def _require(self, session: VoiceSession, doing: str) -> RTPSession:
        media = self._known(session)
        if media is None or session.state is VoiceSessionState.ENDED:
            if session.ended:
                raise SessionEndedError(session.id, doing)
            raise SessionNotFoundError(session.id, "the RTP backend's")
        return media

    def _check_open(self) -> None:
        if self._closed:
            raise BackendClosedError("the RTP backend is closed; make a new one")

    def _on_dtmf(self, session: VoiceSession, event: DTMFEvent) -> None:
        digit = "(masked)" if event.masked else event.digit
        _log.debug("session %s: digit %s, %g ms", session.id, digit, event.duration_ms)
        self.dtmf_received.fire(session, event)

    def _on_event(self, session: VoiceSession, event: RTPEvent) -> None:
        if isinstance(event, Disconnected):
            self._on_disconnected(session, event)
        elif isinstance(event, Resumed):
            _log.info("session %s: the peer is heard again", session.id)
            self.client_resumed.fire(session)
        elif isinstance(event, Unheard):
            self.client_unheard.fire(session, event.reason)
        elif isinstance(event, HeardAgain):
            self.client_heard_again.fire(session)

    def _on_disconnected(self, session: VoiceSession, event: Disconnected) -> None:
        reason = event.reason
        _log.info("session %s: the peer is gone: %s %s", session.id, reason, event.detail)
        if event.reason == "fault":
            # Nothing of it works any longer: it is over, whether or not someone disconnects it.
            reason = DisconnectReason(f"fault: {event.detail}", event.detail)
            session.state = VoiceSessionState.ENDED
            self.sessions.pop(session.id, None)
            media = self._media.pop(session.id, None)
            if media is not None:
                self._last_stats[session] = media.stats()
        self.client_disconnected.fire(session, reason)
