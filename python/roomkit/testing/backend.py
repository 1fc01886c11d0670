"""`FakeBackend`: calls without a network, on the event loop's clock."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from roomkit.errors import (
    BackendClosedError,
    QueueFullError,
    SessionEndedError,
    SessionNotFoundError,
    check_mapping,
    check_text,
)
from roomkit.rtp import checks
from roomkit.rtp.audio import live_piece
from roomkit.testing._line import TICK_MS, Line
from roomkit.testing.caller import Caller
from roomkit.testing.phone import NetworkPath
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import (
    DisconnectReason,
    PathDelay,
    PlaybackPosition,
    VoiceCapability,
    VoiceSession,
    VoiceSessionState,
    check_session,
)

if TYPE_CHECKING:
    from roomkit.testing._playout import FakePlayback

__all__ = ["FakeBackend"]

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_DIGITS: Final = 128


class FakeBackend(VoiceBackend):
    """Carries calls as `RTPVoiceBackend` does, without sockets and threads: a frame of 20 ms leaves
    and one comes in at each tick of the event loop's clock. On a `VirtualTimeLoop` that takes no
    time, and is the same each time::

        backend = FakeBackend()
        session = await backend.connect("room", "ann", "phone")
        caller = backend.caller(session)
        await caller.says("two please")

    At the far end of each session is a `Caller`, who hears what is played to him after `path`. What
    ids and losses are made of is `seed`: the same seed, the same calls.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 8000,
        channels: int = 1,
        lead_ms: int = 1000,
        path: NetworkPath | None = None,
        rtp_timeout: float | None = 30.0,
        seed: int = 1,
    ) -> None:
        """
        Args:
            sample_rate: Of the frames, in Hz: 8000 to 48000, a multiple of 50.
            channels: Of the frames: 1 or 2.
            lead_ms: How far a source is read ahead, 100 to 60000.
            path: To each caller; `NetworkPath()` unless given.
            rtp_timeout: Seconds without a packet until the caller counts as gone; None: never.
            seed: Of session ids and of packets lost.

        Raises `ValueError` that names the parameter, its value and what fits.
        """
        super().__init__()
        checks.number(sample_rate, "sample_rate", 8000, 48_000)
        if sample_rate % (1000 // TICK_MS):
            raise ValueError(f"sample_rate: {sample_rate}; a multiple of 50 fits")
        checks.number(channels, "channels", 1, 2)
        checks.number(lead_ms, "lead_ms", 100, 60_000)
        if rtp_timeout is not None:
            checks.seconds(rtp_timeout, "rtp_timeout", 86_400.0, or_none=True)
        self.sample_rate = sample_rate
        self.channels = channels
        self.lead_ms = lead_ms
        self.path = path or NetworkPath()
        self.rtp_timeout = rtp_timeout
        self.fail_connect: BaseException | None = None
        """Raised by `connect`, once set."""
        self.options_of: dict[str, dict[str, object]] = {}
        """What `connect` was given as options, by session id."""
        self._random = random.Random(seed)
        self._lines: dict[str, Line] = {}
        self._callers: dict[str, Caller] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "fake"

    @property
    def capabilities(self) -> VoiceCapability:
        always = VoiceCapability.INTERRUPTION | VoiceCapability.PAUSE
        return VoiceCapability.DTMF_SIGNALING | always

    # --- life of a session --------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> VoiceSession:
        """Opens a session and returns it ACTIVE. `metadata` is the application's own; `options` are
        kept in `options_of`, and `path` among them, a `NetworkPath`, is the way to this caller."""
        if self._closed:
            raise BackendClosedError("the fake backend is closed; make a new one")
        check_text(room_id, "room_id")
        check_text(participant_id, "participant_id")
        check_text(channel_id, "channel_id")
        check_mapping(metadata, "metadata")
        check_mapping(options, "options")
        path = (options or {}).get("path", self.path)
        if not isinstance(path, NetworkPath):
            raise TypeError(
                f"options: path: {type(path).__name__}; a roomkit.testing.NetworkPath fits"
            )
        if self.fail_connect is not None:
            raise self.fail_connect
        session_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        session = VoiceSession(session_id, room_id, participant_id, channel_id)
        line = Line(self, session, path, self._random.getrandbits(64))
        session.created_at = _EPOCH + timedelta(seconds=line.opened)
        session.metadata = {
            **(metadata or {}),
            "backend": "fake",
            "sample_rate": self.sample_rate,
            "channels": self.channels,
        }
        session.state = VoiceSessionState.ACTIVE
        self.options_of[session.id] = dict(options or {})
        self._lines[session.id] = line
        self._callers[session.id] = Caller(line)
        self.sessions[session.id] = session
        self.session_ready.fire(session)
        return session

    def caller(self, session: VoiceSession) -> Caller:
        """Who is at the far end, also when the call is over."""
        check_session(session)
        caller = self._callers.get(session.id)
        if caller is None:
            raise SessionNotFoundError(session.id, "the fake backend's")
        return caller

    @property
    def callers(self) -> list[Caller]:
        """Everybody who was ever connected, in order."""
        return list(self._callers.values())

    async def disconnect(self, session: VoiceSession) -> None:
        """Ends the session: what plays is cancelled, and the caller told. Idempotent."""
        line = self._known(session)
        session.state = VoiceSessionState.ENDED
        self.sessions.pop(session.id, None)
        if line is not None:
            line.end()

    async def close(self) -> None:
        self._closed = True
        await super().close()

    def fault(self, session: VoiceSession, detail: str = "made up") -> None:
        """The media core gives the session up: it is over by itself."""
        line = self._require(session, "have a fault")
        session.state = VoiceSessionState.ENDED
        self.sessions.pop(session.id, None)
        line.end()
        self.client_disconnected.fire(session, DisconnectReason(f"fault: {detail}", detail))

    # --- audio out ----------------------------------------------------------------------------

    async def send_audio(self, session: VoiceSession, audio: Any) -> None:
        playback = self.start_playback(session, audio)
        try:
            await playback.wait()
        except asyncio.CancelledError:
            playback.cancel()
            with suppress(Exception):  # the cancellation is on its way up
                await playback.wait()
            raise

    def start_playback(self, session: VoiceSession, audio: Any) -> FakePlayback:
        return self._require(session, "send audio").playout.play(audio)

    def send_audio_sync(self, session: VoiceSession, chunk: Any) -> int:
        line = self._require(session, "send audio")
        return line.playout.send(*live_piece(chunk, self.sample_rate, self.channels)[:3])

    async def cancel_audio(self, session: VoiceSession) -> bool:
        line = self._known(session)
        return line is not None and line.playout.cancel()

    def interrupt(self, session: VoiceSession) -> None:
        line = self._known(session)
        if line is not None:
            line.playout.cancel()

    def is_playing(self, session: VoiceSession) -> bool:
        line = self._known(session)
        return line is not None and line.playout.playing

    async def wait_playback(self, session: VoiceSession) -> bool:
        line = self._known(session)
        return True if line is None else await line.playout.wait()

    def end_of_response(self, session: VoiceSession) -> None:
        line = self._known(session)
        if line is not None:
            line.playout.end_live()

    def playback_position(self, session: VoiceSession) -> PlaybackPosition:
        return self._require(session, "tell its position").playout.position

    def path_delay(self, session: VoiceSession) -> PathDelay | None:
        return self._require(session, "tell its delay").phone.path.path_delay

    # --- beside the audio ---------------------------------------------------------------------

    def send_dtmf(
        self, session: VoiceSession, digit: str, duration_ms: int = 160, *, gap_ms: int = 80
    ) -> None:
        line = self._require(session, "send a digit")
        checks.dial_string(digit, "digits")
        checks.number(duration_ms, "duration_ms", 20, 60_000)
        checks.number(gap_ms, "gap_ms", 40, 60_000)
        if line.dialled + len(digit) > _MOST_DIGITS:
            raise QueueFullError(
                f"{len(digit)} digits and pauses find no room; {_MOST_DIGITS} may wait"
            )
        line.dial(digit, duration_ms, gap_ms)

    def cancel_dtmf(self, session: VoiceSession) -> bool:
        return self._require(session, "cancel digits").cancel_dialling()

    async def wait_dtmf(self, session: VoiceSession) -> bool:
        return await self._require(session, "wait for digits").wait_dialled()

    def inject_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        line = self._require(session, "inject a digit")
        checks.number(duration_ms, "duration_ms", 1, 60_000)
        line.press(checks.digits(digit, "digit", most=1), duration_ms)

    def mask_digits(self, session: VoiceSession, masked: bool = True) -> None:
        line = self._require(session, "mask digits")
        line.masked = checks.flag(masked, "masked")

    def set_input_muted(self, session: VoiceSession, muted: bool) -> None:
        line = self._require(session, "mute its input")
        line.muted = checks.flag(muted, "muted")

    async def hold(
        self, session: VoiceSession, direction: Literal["sendonly", "inactive"] = "sendonly"
    ) -> None:
        line = self._require(session, "put it on hold")
        checks.one_of(direction, "direction", ("sendonly", "inactive"))
        line.held = direction
        session.state = VoiceSessionState.PAUSED

    async def resume(self, session: VoiceSession) -> None:
        line = self._require(session, "take it off hold")
        line.held = None
        session.state = VoiceSessionState.ACTIVE

    def stats(self, session: VoiceSession) -> dict[str, Any]:
        """Frames and packets of the session until now, or its end."""
        check_session(session)
        line = self._lines.get(session.id)
        if line is None:
            raise SessionNotFoundError(session.id, "the fake backend's")
        return {
            "ticks": line.ticks,
            "packets_lost_in": line.phone.lost_in,
            "packets_lost_out": line.phone.lost_out,
            "live_bytes_dropped": line.playout.live_dropped,
        }

    # --- inside -------------------------------------------------------------------------------

    def _known(self, session: VoiceSession) -> Line | None:
        check_session(session)
        line = self._lines.get(session.id)
        return None if line is None or line.over else line

    def _require(self, session: VoiceSession, doing: str) -> Line:
        line = self._known(session)
        if line is None or session.state is VoiceSessionState.ENDED:
            if session.ended:
                raise SessionEndedError(session.id, doing)
            raise SessionNotFoundError(session.id, "the fake backend's")
        return line
