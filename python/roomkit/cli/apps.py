"""The applications of `roomkit serve`, and what one of your own is given.

An application is `async def application(call: Call)`. It is called when media can flow; when it
returns, the call is hung up; when the far end leaves, it is cancelled. All of the framework is at
hand: `call.kit`, `call.channel`, `call.session`, with hooks, rooms and all.

    # answer.py, for: roomkit serve --app answer:greet
    async def greet(call):
        await call.play(call.clip("greeting"))
        digit = await call.key(timeout=10)
        await call.play(call.clip("goodbye"))
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from roomkit import HookExecution, HookTrigger, RoomKit, VoiceChannel
from roomkit.cli import speech
from roomkit.cli.journal import Journal
from roomkit.cli.signals import level_db
from roomkit.cli.wav import Audio, samples_of
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import AudioChunk, Unsubscribe, VoiceSession
from roomkit.voice.frame import AudioFrame

__all__ = ["APPS", "App", "Call", "Played", "echo", "menu", "parrot"]


@dataclass(frozen=True, slots=True)
class Played:
    """How a `Call.play` ended."""

    seconds: float
    """What of it left for the far end."""
    cut: str | None
    """None: played to its end. `"key"`, `"voice"`: the caller interrupted. `"end"`: the call is
    over, or the program interrupted it."""


class Call:
    """One call, as an application sees it."""

    def __init__(
        self,
        kit: RoomKit,
        channel: VoiceChannel,
        backend: VoiceBackend,
        session: VoiceSession,
        journal: Journal,
    ) -> None:
        self.kit, self.channel, self.backend = kit, channel, backend
        self.session = session
        self.journal = journal
        """What happens is noted here, and shown by the live view."""
        self.ended = asyncio.Event()
        """Set when the far end has left."""
        self._keys: asyncio.Queue[str] = asyncio.Queue()
        self._utterances: asyncio.Queue[AudioChunk] = asyncio.Queue(maxsize=8)
        self._stop_on: tuple[str, ...] = ()
        self._cut: tuple[str, float] | None = None
        for trigger, handler in (
            (HookTrigger.ON_DTMF, self._on_dtmf),
            (HookTrigger.ON_SPEECH_START, self._on_speech_start),
            (HookTrigger.ON_SPEECH_END, self._on_speech_end),
            (HookTrigger.ON_SESSION_ENDED, self._on_ended),
        ):
            kit.hook(trigger, execution=HookExecution.ASYNC, room_ids=[session.room_id])(handler)

    @staticmethod
    def clip(name: str) -> Audio:
        """Recorded speech that ships with the package: `"greeting"`, `"menu"`, `"goodbye"` …"""
        return speech.clip(name)

    async def play(
        self, audio: Audio | AudioChunk, name: str = "", *, stop_on: tuple[str, ...] = ()
    ) -> Played:
        """Plays `audio` to its end, or until the caller does one of `stop_on`: presses a `"key"`
        (which `key` still tells) or raises his `"voice"`."""
        if isinstance(audio, Audio):
            audio = AudioChunk(audio.pcm(), audio.sample_rate, audio.channels)
        name = name or f"{audio.duration_ms / 1000:.1f} s of sound"
        said = speech.WORDS.get(name)
        begun = self.journal.note("says", f"says “{said}”" if said else f"plays {name}", clip=name)
        self._cut, self._stop_on = None, stop_on
        try:
            whole = await self.channel.play(self.session, audio)
        finally:
            self._stop_on = ()
        played_ms = self.backend.playback_position(self.session).played_ms
        by, at = self._cause(whole)
        self.journal.note(
            "said",
            "",
            clip=name,
            began=begun.at,
            played_ms=played_ms,
            cut=by,
            cut_at=at if by else None,
        )
        if by:
            heard = f"after {played_ms / 1000:.2f} s"
            self.journal.note("cut", f"is interrupted by {by} {heard}", at=at, by=by)
        return Played(played_ms / 1000, by)

    async def key(self, timeout: float | None = None) -> str | None:
        """The next key that the caller presses or has pressed; None after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._keys.get()
        except TimeoutError:
            return None

    async def utterance(self) -> AudioChunk:
        """The next sentence that the caller speaks, from its beginning to the pause after it."""
        return await self._utterances.get()

    def on_frame(self, callback: Callable[[AudioFrame], Any]) -> Unsubscribe:
        """`callback(frame)` for every frame heard, until the result is called."""

        def mine(session: VoiceSession, frame: AudioFrame) -> None:
            if session is self.session:
                callback(frame)

        return self.backend.on_audio_received(mine)

    def _cause(self, whole: bool) -> tuple[str | None, float]:
        """What cut the playback short, and when."""
        return self._cut or (None if whole else "end", time.time())

    async def _interrupt(self, by: str) -> None:
        if by in self._stop_on and self._cut is None and self.channel.is_speaking(self.session):
            self._cut = (by, time.time())
            await self.channel.interrupt(self.session)

    async def _on_dtmf(self, event: Any, _: Any) -> None:
        self.journal.note(
            "key", f"hears key {event.digit} ({event.duration_ms:.0f} ms)", digit=event.digit
        )
        self._keys.put_nowait(event.digit)
        await self._interrupt("key")

    async def _on_speech_start(self, event: Any, _: Any) -> None:
        self.journal.note("speech", "hears the caller begin to speak")
        await self._interrupt("voice")

    async def _on_speech_end(self, event: Any, _: Any) -> None:
        self.journal.note("speech", f"heard {event.duration_ms / 1000:.1f} s of speech")
        if self._utterances.full():  # nobody takes them: the newest are worth more
            self._utterances.get_nowait()
        self._utterances.put_nowait(event.audio)

    async def _on_ended(self, event: Any, _: Any) -> None:
        if event.reason != "left":
            self.journal.note("bye", f"the caller has left ({event.reason})", reason=event.reason)
        self.ended.set()


App = Callable[[Call], Awaitable[Any]]


async def echo(call: Call) -> None:
    """Sends back every frame as it comes, 40 ms late: that much the event loop may be late
    without being heard."""

    def back(frame: AudioFrame) -> None:
        data = frame.data
        if not call.backend.is_playing(call.session):
            data = bytes(2 * len(data)) + data
        call.backend.send_audio_sync(
            call.session, AudioChunk(data, frame.sample_rate, frame.channels)
        )

    stop = call.on_frame(back)
    try:
        await call.ended.wait()
    finally:
        stop()


async def parrot(call: Call) -> None:
    """Repeats each sentence after the pause that ends it."""
    while True:
        await call.play(await call.utterance(), "what it heard", stop_on=("voice",))


async def menu(call: Call) -> None:
    """An answering machine: a menu of digits, a recording played back, a story to interrupt."""
    await call.play(call.clip("greeting"), "greeting", stop_on=("key",))
    await asyncio.sleep(_BREATH)
    for _ in range(_ROUNDS):
        await call.play(call.clip("menu"), "menu", stop_on=("key",))
        match await call.key(timeout=_KEY_TIME):
            case "1":
                await _record_and_repeat(call)
            case "2":
                await asyncio.sleep(_BREATH)
                await call.play(call.clip("story"), "story", stop_on=("key", "voice"))
            case "0":
                break
        await asyncio.sleep(_PAUSE)
    await asyncio.sleep(_BREATH)
    await call.play(call.clip("goodbye"), "goodbye")


_BREATH, _PAUSE = 0.3, 0.9
"""Seconds: between two sentences of one thought, and between two thoughts."""
_KEY_TIME = 15.0
_ROUNDS = 20
"""Whoever never hangs up is left in the end."""
_MESSAGE_TIME = 30.0


async def _record_and_repeat(call: Call) -> None:
    await asyncio.sleep(_BREATH)
    await call.play(call.clip("record"), "record")
    await call.play(speech.tone(), "tone")
    frames: list[AudioFrame] = []
    stop = call.on_frame(frames.append)
    try:
        # Any key ends the message; so does its time.
        await call.key(timeout=_MESSAGE_TIME)
    finally:
        stop()
    message = _trimmed(frames)
    await asyncio.sleep(_BREATH)
    if message is not None:
        call.journal.note(
            "recorded", f"has recorded {message.seconds:.1f} s", seconds=message.seconds
        )
        await call.play(message, "message")


def _trimmed(frames: list[AudioFrame], quiet_db: float = -50.0, margin: int = 5) -> Audio | None:
    """What was spoken, without the quiet before and after; None if nothing was."""
    loud = [n for n, f in enumerate(frames) if level_db(samples_of(f.data)) > quiet_db]
    if not loud:
        return None
    kept = frames[max(loud[0] - margin, 0) : loud[-1] + 1 + margin]
    samples: array[int] = array("h")
    for frame in kept:
        samples.extend(samples_of(frame.data))
    return Audio(samples, kept[0].sample_rate, kept[0].channels)


APPS: dict[str, App] = {"echo": echo, "parrot": parrot, "menu": menu}
