"""`VoiceBackend`: what carries the audio of calls, seen from the framework."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

from roomkit._text import LONGEST_TRANSCRIPT, printable
from roomkit.errors import SessionNotFoundError
from roomkit.voice.base import (
    AudioChunk,
    AudioPlayedCallback,
    AudioReceivedCallback,
    BargeInCallback,
    ClientDisconnectedCallback,
    ClientHeardAgainCallback,
    ClientResumedCallback,
    ClientUnheardCallback,
    DTMFReceivedCallback,
    PathDelay,
    PlaybackPosition,
    SessionReadyCallback,
    Unsubscribe,
    VoiceCapability,
    VoiceSession,
    check_session,
)
from roomkit.voice.callbacks import CallbackList
from roomkit.voice.events import DTMFEvent
from roomkit.voice.playback import Playback, SentPlayback

__all__ = ["VoiceBackend"]

_log = logging.getLogger("roomkit.voice.backends")


class VoiceBackend(ABC):
    """Carries calls. One object serves many sessions; all methods but `send_audio_sync` belong on
    the event loop's thread.

    A subclass calls `super().__init__()`, keeps `self.sessions` up to date, and reports by::

        self.session_ready.fire(session)  # the call is up, before connect() returns
        self.audio_received.fire(session, frame)  # contiguous frames, in order
        self.dtmf_received.fire(session, dtmf_event)
        self.client_disconnected.fire(session, reason)  # the far end went away
        self.client_resumed.fire(session)  # and is heard again
        self.client_unheard.fire(session, reason)  # its packets come, and nothing is heard
        self.client_heard_again.fire(session)  # now it is

    Registrations (`on_…`) are for the application and for `VoiceChannel`.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, VoiceSession] = {}
        """Sessions that are up, by id."""
        self.session_ready = CallbackList("on_session_ready")
        self.audio_received = CallbackList("on_audio_received")
        self.dtmf_received = CallbackList("on_dtmf_received")
        self.client_disconnected = CallbackList("on_client_disconnected")
        self.client_resumed = CallbackList("on_client_resumed")
        self.client_unheard = CallbackList("on_client_unheard")
        self.client_heard_again = CallbackList("on_client_heard_again")
        self.audio_played = CallbackList("on_audio_played")
        self.barge_in = CallbackList("on_barge_in")

    # --- what it is ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, such as `"RTP"`."""

    @property
    def capabilities(self) -> VoiceCapability:
        """What this backend does by itself."""
        return VoiceCapability.NONE

    # --- life of a session --------------------------------------------------------------------

    @abstractmethod
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

        `options` are this backend's, for this call; only given where there are any. `metadata` is
        the application's, and never changed. Raises what the transport raises (`OSError`,
        `ValueError`), and then leaves nothing open.
        """

    @abstractmethod
    async def disconnect(self, session: VoiceSession) -> None:
        """Ends the session and gives back all it held. Idempotent."""

    async def close(self) -> None:
        """Disconnects every session. Idempotent; goes on when one of them fails, then raises the
        first failure."""
        first: Exception | None = None
        for session in list(self.sessions.values()):
            try:
                await self.disconnect(session)
            except Exception as error:  # noqa: BLE001 (the other sessions are closed too)
                _log.exception("%s: session %s did not close cleanly", self.name, session.id)
                first = first or error
        if first is not None:
            raise first

    def get_session(self, session_id: str) -> VoiceSession | None:
        """The session of that id while it is up. Raises `TypeError` for what is no id."""
        if not isinstance(session_id, str):
            raise TypeError(f"session_id: {type(session_id).__name__}; a str fits")
        return self.sessions.get(session_id)

    def list_sessions(self, room_id: str) -> list[VoiceSession]:
        """The room's sessions that are up, oldest first."""
        return [session for session in self.sessions.values() if session.room_id == room_id]

    # --- audio out ----------------------------------------------------------------------------

    @abstractmethod
    async def send_audio(
        self,
        session: VoiceSession,
        audio: bytes | bytearray | memoryview | AsyncIterator[AudioChunk],
    ) -> None:
        """Plays `audio` and returns when it has been played out or cancelled.

        Plain bytes are 16 bit PCM in the session's sample rate and channels
        (`session.metadata["sample_rate"]` and `["channels"]`). Concurrent calls for one session
        play one after another. An iterator is read ahead only so far; it is closed
        (`aclose`) however playing ends; what it raises reaches the caller.
        """

    def start_playback(
        self,
        session: VoiceSession,
        audio: bytes | bytearray | memoryview | AsyncIterator[AudioChunk],
    ) -> Playback:
        """Begins to play `audio` and returns at once with what tells of it and commands it: its
        position, pause, marks, its end. Otherwise as `send_audio`.

        Here it is made of `send_audio` and `playback_position`.
        """
        return SentPlayback(self, self.require(session), audio)

    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> int:
        """Queues one chunk without blocking, from any thread: frame-wise forwarding. Returns the
        bytes of it that were taken."""
        raise NotImplementedError(f"{self.name} has no send_audio_sync")

    async def cancel_audio(self, session: VoiceSession) -> bool:
        """Stops what plays and forgets what waits; True only if there was something."""
        return False

    def interrupt(self, session: VoiceSession) -> None:
        """`cancel_audio` for code that cannot await."""
        raise NotImplementedError(f"{self.name} cannot interrupt")

    def is_playing(self, session: VoiceSession) -> bool:
        """True while audio plays or waits to be played."""
        return False

    async def wait_playback(self, session: VoiceSession) -> bool:
        """Returns when nothing plays any longer: True if it was played out, False if cut short."""
        return True

    def end_of_response(self, session: VoiceSession) -> None:
        """Says that the response is complete, to backends that play as audio comes in."""
        return

    def playback_position(self, session: VoiceSession) -> PlaybackPosition:
        """How far the current playback, or else the last, has come.

        Raises `NotImplementedError` where the backend does not know.
        """
        raise NotImplementedError(f"{self.name} does not know what was played")

    def path_delay(self, session: VoiceSession) -> PathDelay | None:
        """How long audio takes from here until it is heard, as far as it is known; None: not at
        all."""
        self.require(session)
        return None

    # --- beside the audio ---------------------------------------------------------------------

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """Queues one digit (`0`-`9`, `*`, `#`, `A`-`D`, any case), sent at the media clock's pace.

        Raises `ValueError` for anything else, `QueueFullError` when too many wait.
        """
        raise NotImplementedError(f"{self.name} cannot send digits")

    def cancel_dtmf(self, session: VoiceSession) -> bool:
        """Drops the digits that wait to be sent; True if there were any."""
        raise NotImplementedError(f"{self.name} cannot cancel digits")

    async def wait_dtmf(self, session: VoiceSession) -> bool:
        """Returns when the digits queued so far have left: True if all were sent."""
        raise NotImplementedError(f"{self.name} does not know when digits have left")

    def inject_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """A key was pressed, as signalling says (SIP INFO): it arrives as one that was received."""
        self.dtmf_received.fire(self.require(session), DTMFEvent(digit.upper(), duration_ms))

    def mask_digits(self, session: VoiceSession, masked: bool = True) -> None:
        """While masked, digits cannot be heard in the frames received, and are not logged."""
        raise NotImplementedError(f"{self.name} cannot mask digits")

    def set_input_muted(self, session: VoiceSession, muted: bool) -> None:
        """While muted the caller is not heard: frames are silence."""
        raise NotImplementedError(f"{self.name} cannot mute its input")

    async def hold(self, session: VoiceSession) -> None:
        """Puts the far end on hold: it is not heard, and the session is PAUSED. Idempotent."""
        raise NotImplementedError(f"{self.name} cannot put on hold")

    async def resume(self, session: VoiceSession) -> None:
        """Takes the far end off hold: the session is ACTIVE again. Idempotent."""
        raise NotImplementedError(f"{self.name} cannot put on hold")

    async def send_transcription(
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        """Shows a transcript to the far end, where that has a screen. Here it is only logged, and
        its text at DEBUG: what people say is not for logs."""
        shown = printable(text, LONGEST_TRANSCRIPT)
        _log.debug("session %s: transcript of %s: %s", session.id, printable(role), shown)

    def stats(self, session: VoiceSession) -> Mapping[str, Any]:
        """Counters of the session; the keys are the backend's."""
        return {}

    # --- callbacks ----------------------------------------------------------------------------

    def on_session_ready(self, callback: SessionReadyCallback) -> Unsubscribe:
        """`callback(session)` when a session is up."""
        return self.session_ready.add(callback)

    def on_audio_received(self, callback: AudioReceivedCallback) -> Unsubscribe:
        """`callback(session, frame)` for every inbound frame, on the event loop: keep it short."""
        return self.audio_received.add(callback)

    def on_dtmf_received(self, callback: DTMFReceivedCallback) -> Unsubscribe:
        """`callback(session, dtmf_event)` for every key pressed."""
        return self.dtmf_received.add(callback)

    def on_client_disconnected(self, callback: ClientDisconnectedCallback) -> Unsubscribe:
        """`callback(session, reason)` when the far end hung up or fell silent."""
        return self.client_disconnected.add(callback)

    def on_client_resumed(self, callback: ClientResumedCallback) -> Unsubscribe:
        """`callback(session)` when the far end is heard again after it was reported gone."""
        return self.client_resumed.add(callback)

    def on_client_unheard(self, callback: ClientUnheardCallback) -> Unsubscribe:
        """`callback(session, reason)` when packets of the far end come and nothing is heard."""
        return self.client_unheard.add(callback)

    def on_client_heard_again(self, callback: ClientHeardAgainCallback) -> Unsubscribe:
        """`callback(session)` when audio is heard after that."""
        return self.client_heard_again.add(callback)

    def on_audio_played(self, callback: AudioPlayedCallback) -> Unsubscribe:
        """`callback(session, frame)` for audio that has left, where the backend reports it."""
        return self.audio_played.add(callback)

    def on_barge_in(self, callback: BargeInCallback) -> Unsubscribe:
        """`callback(session)` when the backend itself notices the caller speaking over playback."""
        return self.barge_in.add(callback)

    # --- for subclasses -----------------------------------------------------------------------

    def require(self, session: VoiceSession) -> VoiceSession:
        """`session`, if it is one of this backend's that is up; else `SessionNotFoundError`."""
        check_session(session)
        if self.sessions.get(session.id) is not session:
            raise SessionNotFoundError(session.id, f"{self.name}'s sessions that are up")
        return session
