"""`VoiceChannel`: joins a backend to rooms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from roomkit.errors import CloseError, ProviderMissingError, SessionNotFoundError
from roomkit.hooks import HookRunner, HookTrigger
from roomkit.rooms import Channel, ChannelCategory
from roomkit.voice._hearing import FrameFeed, Hearing
from roomkit.voice._sources import WholeChunks, chunks_of, close_source, sentences
from roomkit.voice._speaking import Playback, Reason, Speaking
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import (
    AudioChunk,
    DisconnectReason,
    Unsubscribe,
    VoiceSession,
    check_session,
)
from roomkit.voice.events import (
    AfterTTSEvent,
    BargeInEvent,
    BeforeTTSEvent,
    ClientDisconnectedEvent,
    ClientHeardAgainEvent,
    ClientResumedEvent,
    ClientUnheardEvent,
    DTMFEvent,
    TTSCancelledEvent,
)
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import AudioPipelineConfig
from roomkit.voice.stt.base import STTProvider
from roomkit.voice.tts.base import TTSProvider

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from roomkit.kit import RoomKit

__all__ = ["VoiceChannel"]

_log = logging.getLogger("roomkit.voice.channel")


class _Call:
    """What the channel keeps for one session."""

    __slots__ = ("hearing", "session", "speaking")

    def __init__(self, session: VoiceSession, hearing: Hearing, speaking: Speaking) -> None:
        self.session = session
        self.hearing = hearing
        self.speaking = speaking


class VoiceChannel(Channel):
    """Calls of one backend, in the rooms of a kit.

    In: the backend's digits become ON_DTMF, its frames go through `pipeline` to speech hooks and,
    with `stt`, to ON_TRANSCRIPTION. Out: `say` (with `tts`), `play`, `interrupt`.

    `barge_in`: the caller's speech interrupts what is played to him (needs a `vad` stage).
    `hang_up`: a call whose far end has gone (BYE, media timeout) is ended on this side too.

    The channel closes its backend and providers with itself. Several channels may share a backend:
    each minds the sessions of its own id.
    """

    category = ChannelCategory.TRANSPORT

    def __init__(
        self,
        channel_id: str,
        *,
        stt: STTProvider | None = None,
        tts: TTSProvider | None = None,
        backend: VoiceBackend,
        pipeline: AudioPipelineConfig | None = None,
        barge_in: bool = False,
        hang_up: bool = True,
    ) -> None:
        super().__init__(channel_id)
        for name, value, kind in (
            ("backend", backend, VoiceBackend),
            ("stt", stt, STTProvider | None),
            ("tts", tts, TTSProvider | None),
            ("pipeline", pipeline, AudioPipelineConfig | None),
        ):
            if not isinstance(value, kind):
                fits = getattr(kind, "__name__", str(kind))
                raise TypeError(f"{name}: {type(value).__name__}; a {fits} fits")
        self.backend = backend
        self.stt = stt
        self.tts = tts
        self.pipeline = pipeline or AudioPipelineConfig()
        self.barge_in = barge_in
        self.hang_up = hang_up
        self._kit: RoomKit | None = None
        self._calls: dict[str, _Call] = {}
        self._feed = FrameFeed()
        self._subscriptions: list[Unsubscribe] = []
        self._ending: dict[str, asyncio.Task[None]] = {}
        # Strong references: the event loop keeps only weak ones to tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    # --- speaking -----------------------------------------------------------------------------

    async def say(
        self,
        session: VoiceSession,
        text: str | AsyncIterable[str] | Iterable[str],
        *,
        voice: str | None = None,
    ) -> bool:
        """Speaks `text` and returns when it was spoken: True, or False if it was interrupted or
        blocked by a BEFORE_TTS hook.

        `text` may come piece by piece, as models give it: it is spoken sentence by sentence, and
        each sentence passes the hooks. A plain iterator of pieces is read in a thread, and may
        block. Texts for one session are spoken one after another; a
        BEFORE_TTS hook must therefore not await another `say` to the same session.

        Raises `ProviderMissingError` without `tts`, `SessionNotFoundError` if the call is not
        up, and what the voice raises.
        """
        call = self._call(session)
        if self.tts is None:
            raise ProviderMissingError(
                f"channel {self.channel_id!r} has no voice; VoiceChannel(…, tts=…) gives it one"
            )
        playback = Playback(text if isinstance(text, str) else "")
        spoken = _Spoken(playback)
        speech = self._speech(session, self.tts, text, voice, spoken)
        await self._play(session, call, playback, speech)
        return playback.cancelled is None and spoken.sentences > 0

    async def play(
        self,
        session: VoiceSession,
        audio: str
        | PathLike[str]
        | Buffer
        | AudioChunk
        | AudioFrame
        | Iterable[Buffer | AudioChunk | AudioFrame]
        | AsyncIterable[Buffer | AudioChunk | AudioFrame],
    ) -> bool:
        """Plays a WAV file (path), 16 bit PCM in the session's format, or chunks and frames in
        their own; returns when it was played: True, or False if it was interrupted. Waits for its
        turn as `say` does. An iterator that is no async one is read in a thread, and may block.

        Raises `SessionNotFoundError` if the call is not up, `SynthesisError` for a file that is
        not 16 bit WAV, `ValueError`/`TypeError` for audio that is none.
        """
        call = self._call(session)
        playback = Playback(None)
        await self._play(session, call, playback, chunks_of(session, audio))
        return playback.cancelled is None

    async def interrupt(self, session: VoiceSession) -> bool:
        """Cuts short what is played and forgets what waits; True if there was anything."""
        return await self._call(session).speaking.cancel("interrupt")

    def is_speaking(self, session: VoiceSession) -> bool:
        """True while something is played to this session."""
        return self._call(session).speaking.current is not None

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """Sends a digit to the far end, as `VoiceBackend.send_dtmf` does."""
        self._call(session)
        self.backend.send_dtmf(session, digit, duration_ms)

    def mask_digits(self, session: VoiceSession, masked: bool = True) -> None:
        """While masked, neither recorder nor recogniser nor log gets to know the digits that are
        pressed; the ON_DTMF hook does, with `masked` set. As `VoiceBackend.mask_digits` does."""
        self._call(session)
        self.backend.mask_digits(session, masked)

    async def hold(self, session: VoiceSession) -> None:
        """Puts the far end on hold: it is not heard, the session is PAUSED, and music may be played
        to it. Raises `NotImplementedError` where the backend cannot."""
        self._call(session)
        await self.backend.hold(session)

    async def resume(self, session: VoiceSession) -> None:
        """Takes the far end off hold."""
        self._call(session)
        await self.backend.resume(session)

    # --- life ---------------------------------------------------------------------------------

    def bind(self, kit: RoomKit) -> None:
        self._kit = kit
        backend = self.backend
        self._subscriptions = [
            backend.on_session_ready(self._ready),
            backend.on_audio_received(self._frame),
            backend.on_dtmf_received(self._digit),
            backend.on_client_disconnected(self._gone),
            backend.on_client_resumed(self._back),
            backend.on_client_unheard(self._unheard),
            backend.on_client_heard_again(self._heard_again),
            backend.on_barge_in(self._barged_in),
        ]

    async def connect(
        self, room_id: str, participant_id: str, metadata: Mapping[str, Any] | None
    ) -> VoiceSession:
        """Opens a call. Used by `RoomKit.join`, which see."""
        session = await self.backend.connect(
            room_id, participant_id, self.channel_id, metadata=metadata
        )
        # A backend that told no one of its readiness is ready now.
        self._ready(session)
        return session

    async def disconnect(self, session: VoiceSession, reason: str = "left") -> None:
        """Ends a call: what plays is cut short, the recording completed, the backend's session
        closed, ON_SESSION_ENDED emitted. Idempotent. All of it is tried; then the first failure is
        raised."""
        check_session(session)
        ending = self._ending.get(session.id)
        if ending is None:
            # A task of its own: a hook or a model that hangs up may be cancelled by doing so.
            ending = self._ending[session.id] = asyncio.create_task(self._end(session, reason))
            ending.add_done_callback(lambda _: self._ending.pop(session.id, None))
        await asyncio.shield(ending)

    async def _end(self, session: VoiceSession, reason: str) -> None:
        call = self._calls.pop(session.id, None)
        failures: list[Exception] = []
        if call is not None:
            self._spawn(call.hearing.settle())
            for part in (call.speaking.cancel("session_ended"), call.hearing.end()):
                try:
                    await part
                except Exception as error:  # noqa: BLE001 (the rest is ended too)
                    failures.append(error)
        try:
            await self.backend.disconnect(session)
        except Exception as error:  # noqa: BLE001 (the hooks are told nevertheless)
            failures.append(error)
        if call is not None and self._kit is not None:
            self._kit.session_ended(session, reason)
        if failures:
            raise failures[0]

    async def close(self) -> None:
        """Ends every call, then closes the backend and the providers. Idempotent."""
        errors: list[BaseException] = []
        ending = [self.disconnect(call.session) for call in list(self._calls.values())]
        ended = await asyncio.gather(*ending, return_exceptions=True)
        errors += [each for each in ended if each is not None]
        while self._subscriptions:
            self._subscriptions.pop()()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks)
        for part in (self.backend, self.stt, self.tts):
            if part is not None:
                try:
                    await part.close()
                except Exception as error:  # noqa: BLE001 (the other parts are closed too)
                    errors.append(error)
        if errors:
            raise CloseError(f"channel {self.channel_id!r}", errors)

    # --- what the backend reports -------------------------------------------------------------

    def _ready(self, session: VoiceSession) -> None:
        kit = self._kit
        if kit is None or session.channel_id != self.channel_id or session.id in self._calls:
            return
        if not kit.session_started(session):
            return
        hearing = Hearing(
            session,
            kit.hooks,
            self.pipeline,
            self.stt,
            speaking=lambda: self._spoke_up(session),
            heard=kit.heard,
        )
        speaking = Speaking(session, self.backend, hearing.recording, lambda: hearing.now_ms)
        self._calls[session.id] = _Call(session, hearing, speaking)

    def _frame(self, session: VoiceSession, frame: AudioFrame) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            self._feed.put(call.hearing, frame)

    def _digit(self, session: VoiceSession, event: DTMFEvent) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            call.hearing.signalled(event)

    def _gone(self, session: VoiceSession, reason: str) -> None:
        if session.id not in self._calls:
            return
        if not isinstance(reason, DisconnectReason):
            reason = DisconnectReason(reason)
        gone = ClientDisconnectedEvent(session, reason, reason.detail)
        self._hooks.emit(HookTrigger.ON_CLIENT_DISCONNECTED, gone)
        if self.hang_up:
            self._spawn(self._hang_up(session, str(reason)))

    def _back(self, session: VoiceSession) -> None:
        if session.id in self._calls:
            self._hooks.emit(HookTrigger.ON_CLIENT_RESUMED, ClientResumedEvent(session))

    def _unheard(self, session: VoiceSession, reason: str) -> None:
        if session.id in self._calls:
            self._hooks.emit(HookTrigger.ON_CLIENT_UNHEARD, ClientUnheardEvent(session, reason))

    def _heard_again(self, session: VoiceSession) -> None:
        if session.id in self._calls:
            self._hooks.emit(HookTrigger.ON_CLIENT_HEARD_AGAIN, ClientHeardAgainEvent(session))

    async def _hang_up(self, session: VoiceSession, reason: str) -> None:
        try:
            await self.disconnect(session, reason)
        except Exception:  # noqa: BLE001 (nobody waits for this)
            _log.exception("session %s did not end cleanly", session.id)

    def _barged_in(self, session: VoiceSession) -> None:
        if session.id in self._calls:
            self._barge_in(session)

    def _spoke_up(self, session: VoiceSession) -> None:
        if self.barge_in:
            self._barge_in(session)

    def _barge_in(self, session: VoiceSession) -> None:
        speaking = self._calls[session.id].speaking
        current = speaking.current
        if current is None or current.cancelled is not None:
            return
        event = BargeInEvent(session, current.text, speaking.position_ms())
        self._hooks.emit(HookTrigger.ON_BARGE_IN, event)
        self._spawn(self._cut_short(speaking))

    async def _cut_short(self, speaking: Speaking) -> None:
        try:
            await speaking.cancel("barge_in")
        except Exception:  # noqa: BLE001 (nobody waits for this)
            _log.exception("playback could not be cut short")

    # --- playing ------------------------------------------------------------------------------

    async def _play(
        self,
        session: VoiceSession,
        call: _Call,
        playback: Playback,
        source: AsyncIterator[AudioChunk],
    ) -> None:
        """Plays and emits what came of it: AFTER_TTS for speech that was spoken to its end,
        ON_TTS_CANCELLED for whatever was cut short."""
        try:
            await call.speaking.play(playback, source)
        except Exception:
            playback.cancelled = "error"
            raise
        finally:
            if playback.cancelled is not None:
                self._cancelled(session, playback, playback.cancelled)
            elif playback.text:
                after = AfterTTSEvent(session, playback.text, playback.played_ms)
                self._hooks.emit(HookTrigger.AFTER_TTS, after)

    def _cancelled(self, session: VoiceSession, playback: Playback, reason: Reason) -> None:
        event = TTSCancelledEvent(session, reason, playback.text, playback.played_ms)
        self._hooks.emit(HookTrigger.ON_TTS_CANCELLED, event)

    async def _speech(
        self,
        session: VoiceSession,
        tts: TTSProvider,
        text: str | AsyncIterable[str] | Iterable[str],
        voice: str | None,
        spoken: _Spoken,
    ) -> AsyncGenerator[AudioChunk]:
        """The audio of `text`, made as it is needed."""
        parts = sentences(text)
        spoken.start()
        try:
            async for part in parts:
                before = BeforeTTSEvent(session, part)
                verdict = await self._hooks.run(HookTrigger.BEFORE_TTS, before)
                if not verdict.allowed:
                    continue
                spoken.add(verdict.event.text)
                made = tts.synthesize_stream(verdict.event.text, voice=voice)
                audio = WholeChunks(session, made)
                try:
                    async for chunk in audio:
                        yield chunk
                finally:
                    await close_source(audio)
        finally:
            await close_source(parts)
            if not isinstance(text, str):
                await close_source(text)

    # --- helpers ------------------------------------------------------------------------------

    @property
    def _hooks(self) -> HookRunner:
        assert self._kit is not None  # there are no calls before `bind`
        return self._kit.hooks

    def _call(self, session: VoiceSession) -> _Call:
        check_session(session)
        call = self._calls.get(session.id)
        if call is None:
            raise SessionNotFoundError(
                session.id, f"the calls of channel {self.channel_id!r} that are up"
            )
        return call

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Spoken:
    """Keeps account of the sentences that the hooks let pass."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self.sentences = 0

    def start(self) -> None:
        self._playback.text = ""

    def add(self, text: str) -> None:
        self.sentences += 1
        before = self._playback.text
        self._playback.text = f"{before} {text}" if before else text
