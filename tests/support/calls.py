"""A call for tests of `Call`: a kit, a channel with a voice of letters, and a backend in this
process that also masks, sends digits, takes live audio and holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from roomkit import AudioPipelineConfig, Call, CallOptions, RoomKit, VoiceChannel
from roomkit.voice.base import AudioChunk, VoiceSession, VoiceSessionState
from roomkit.voice.events import DTMFEvent
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.vad.energy import EnergyVAD
from support.loopback import LoopbackBackend
from support.sound import silence, tone

__all__ = [
    "Letters",
    "Line",
    "a_call",
    "heard",
    "say_words",
    "soon",
    "texts",
    "two_calls",
    "until_playing",
]

_T = TypeVar("_T")


class Line(LoopbackBackend):
    """A loopback on which everything that a `Call` asks of a backend can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.masked: dict[str, bool] = {}
        self.masks: list[bool] = []
        self.dialled: list[tuple[str, str, int]] = []
        self.live: dict[str, list[AudioChunk]] = {}
        self.media_ms: dict[str, float] = {}
        self.gone = asyncio.Event()
        """Cleared, a call takes its time to end."""
        self.gone.set()

    async def disconnect(self, session: VoiceSession) -> None:
        await super().disconnect(session)
        await self.gone.wait()

    def mask_digits(self, session: VoiceSession, masked: bool = True) -> None:
        self.require(session)
        self.masked[session.id] = masked
        self.masks.append(masked)

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        self.dialled.append((self.require(session).id, digit, duration_ms))

    def is_playing(self, session: VoiceSession) -> bool:
        return bool(self.live.get(session.id))

    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> int:
        self.live.setdefault(self.require(session).id, []).append(chunk)
        return len(chunk.data)

    async def hold(self, session: VoiceSession) -> None:
        self.require(session).state = VoiceSessionState.PAUSED

    async def resume(self, session: VoiceSession) -> None:
        self.require(session).state = VoiceSessionState.ACTIVE

    def press(self, session: VoiceSession, digit: str, duration_ms: float = 100) -> None:
        """Keys: one or several."""
        for each in digit:
            masked = self.masked.get(session.id, False)
            self.dtmf_received.fire(session, DTMFEvent(each, duration_ms, masked=masked))


class Letters(TTSProvider):
    """A voice that gives 20 ms of audio per character."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk]:
        self.texts.append(text)
        for _ in text:
            yield AudioChunk(bytes(320), 8000)


@asynccontextmanager
async def a_call(
    options: CallOptions | None = None, **channel: Any
) -> AsyncIterator[tuple[Call, Line]]:
    """A call that is up; `call.channel.tts.texts` is what was said."""
    backend = Line()
    channel.setdefault("tts", Letters())
    channel.setdefault("pipeline", AudioPipelineConfig(vad=EnergyVAD()))
    async with RoomKit() as kit:
        phone = VoiceChannel("phone", backend=backend, **channel)
        kit.register_channel(phone)
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")
        session = await kit.join("room", "phone")
        call = Call(kit, phone, session, options=options)
        yield call, backend
        await call.settle(1)


@asynccontextmanager
async def two_calls() -> AsyncIterator[tuple[Call, Call, Line]]:
    """Two calls of one room."""
    async with a_call() as (one, backend):
        session = await one.kit.join("room", "phone")
        other = Call(one.kit, one.channel, session)
        yield one, other, backend
        await other.settle(1)


async def heard(call: Call, backend: Line, pcm: bytes, *, at_ms: float | None = None) -> float:
    """The caller is heard at the pace of his phone (for tests on virtual time); the media time of
    its end. By default it goes on where it was, as a phone does."""
    if at_ms is None:
        at_ms = backend.media_ms.get(call.session.id, 0.0)
    for start in range(0, len(pcm), 320):
        backend.speak(call.session, pcm[start : start + 320], at_ms=at_ms)
        at_ms += 20
        backend.media_ms[call.session.id] = at_ms
        await asyncio.sleep(0.02)  # sleep: on virtual time, the pace of frames
    return at_ms


async def say_words(call: Call, backend: Line, ms: float = 600) -> float:
    """The caller says something and is quiet behind it; the media time of its end."""
    return await heard(call, backend, silence(200) + tone(ms) + silence(1800))


def texts(call: Call) -> list[str]:
    """What was said."""
    assert isinstance(call.channel.tts, Letters)
    return call.channel.tts.texts


async def soon(work: Awaitable[_T]) -> _T:
    """What it gives, within five seconds."""
    async with asyncio.timeout(5):
        return await work


async def until_playing(backend: Line) -> None:
    """Returns when something is on its way that waits for `backend.running`."""
    async with asyncio.timeout(5):
        await backend.playing.wait()
