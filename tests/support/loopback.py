"""`LoopbackBackend`: a backend in this process, for tests of the framework around the call.

It moves audio without a network and without a clock: a test says when the caller speaks and when
playing goes on, so that what hooks, rooms and channels do can be tested to the step and without
sleeping. What the real backend does on the wire is tested with real sockets in
`tests/voice/backends`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import (
    AudioChunk,
    PlaybackPosition,
    VoiceCapability,
    VoiceSession,
    VoiceSessionState,
)
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame


class LoopbackBackend(VoiceBackend):
    """Plays as fast as it is given chunks while `running` is set; stands still while it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.running = asyncio.Event()
        self.running.set()
        self.playing = asyncio.Event()
        self.heard: list[AudioChunk] = []
        self.closed = 0
        self.fail_connect: Exception | None = None
        self.fail_disconnect: Exception | None = None
        self._cancelled = asyncio.Event()
        self._position = PlaybackPosition(0, 0.0)

    @property
    def name(self) -> str:
        return "loopback"

    @property
    def capabilities(self) -> VoiceCapability:
        return VoiceCapability.INTERRUPTION

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> VoiceSession:
        if self.fail_connect is not None:
            raise self.fail_connect
        session = VoiceSession(str(uuid4()), room_id, participant_id, channel_id)
        session.metadata = {**(metadata or {}), "sample_rate": 8000, "channels": 1}
        session.state = VoiceSessionState.ACTIVE
        self.sessions[session.id] = session
        self.session_ready.fire(session)
        return session

    async def disconnect(self, session: VoiceSession) -> None:
        session.state = VoiceSessionState.ENDED
        self.sessions.pop(session.id, None)
        if self.fail_disconnect is not None:
            raise self.fail_disconnect

    async def close(self) -> None:
        self.closed += 1
        await super().close()

    async def send_audio(
        self,
        session: VoiceSession,
        audio: bytes | bytearray | memoryview | AsyncIterator[AudioChunk],
    ) -> None:
        assert not isinstance(audio, (bytes, bytearray, memoryview))  # the channel sends chunks
        self._cancelled.clear()
        self._position = PlaybackPosition(self._position.playback + 1, 0.0)
        async for chunk in audio:
            self.playing.set()
            go = [asyncio.create_task(each.wait()) for each in (self.running, self._cancelled)]
            try:
                await asyncio.wait(go, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in go:
                    task.cancel()
                self.playing.clear()
            if self._cancelled.is_set():
                return
            self.heard.append(chunk)
            played = self._position.played_ms + chunk.duration_ms
            self._position = PlaybackPosition(self._position.playback, played)

    async def cancel_audio(self, session: VoiceSession) -> bool:
        self._cancelled.set()
        return True

    def playback_position(self, session: VoiceSession) -> PlaybackPosition:
        return self._position

    # --- the far end --------------------------------------------------------------------------

    def speak(self, session: VoiceSession, pcm: bytes, *, at_ms: float = 0.0) -> float:
        """The caller says `pcm` (8 kHz mono), in frames of 20 ms; the media time of its end."""
        for offset in range(0, len(pcm), 320):
            frame = AudioFrame(pcm[offset : offset + 320], 8000, timestamp_ms=at_ms)
            self.audio_received.fire(session, frame)
            at_ms += frame.duration_ms
        return at_ms

    def press(self, session: VoiceSession, digit: str, duration_ms: float = 100) -> None:
        """The caller presses a key."""
        self.dtmf_received.fire(session, DTMFEvent(digit, duration_ms))

    def hang_up(self, session: VoiceSession, reason: str = "bye") -> None:
        """The caller hangs up."""
        self.client_disconnected.fire(session, reason)
