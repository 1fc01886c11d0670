"""`VoiceChannel`: joins a backend to rooms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from roomkit._limits import Beside
from roomkit.errors import CloseError, SessionNotFoundError
from roomkit.hooks import HookRunner, HookTrigger
from roomkit.rooms import Channel, ChannelCategory
from roomkit.voice._hearing import FrameFeed
from roomkit.voice._live import SILENT_SECONDS, LiveCall
from roomkit.voice._speaking import Speech
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import (
    AudioChunk,
    DisconnectReason,
    Unsubscribe,
    VoiceSession,
    check_session,
)
from roomkit.voice.commands import TraceEntry
from roomkit.voice.events import (
    ClientDisconnectedEvent,
    ClientHeardAgainEvent,
    ClientResumedEvent,
    ClientUnheardEvent,
    DTMFEvent,
)
from roomkit.voice.frame import AudioFrame
from roomkit.voice.limits import ProviderLimits
from roomkit.voice.pipeline.base import AudioPipelineConfig, Recording
from roomkit.voice.stt.base import STTProvider
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.turns import BargeIn, Turns

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from roomkit.kit import RoomKit

    Playable = (
        str
        | PathLike[str]
        | Buffer
        | AudioChunk
        | AudioFrame
        | Iterable[Buffer | AudioChunk | AudioFrame]
        | AsyncIterable[Buffer | AudioChunk | AudioFrame]
    )

__all__ = ["VoiceChannel"]

_log = logging.getLogger("roomkit.voice.channel")

# What is left of calls that are over: transcripts on their way, providers that close.
_CLOSE_SECONDS: Final = 5.0


class VoiceChannel(Channel):
    """Calls of one backend, in the rooms of a kit.

    In: the backend's digits become ON_DTMF, its frames go through `pipeline` to speech hooks and,
    with `stt`, to ON_TRANSCRIPTION. Out: `say` (with `tts`), `play`, `interrupt`.

    `barge_in`: what the caller's speech does to what is played to him, and when (`BargeIn`; needs a
    `vad` stage). True: the usual; False: nothing; None: the usual where there is an `stt`.
    `turns`: when the caller has finished (`Turns`).
    `limits`: how long providers may take.
    `fallback`: what the caller hears instead of an answer that could not be made: a text, or audio
    that `play` takes and that can be played again and again.
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
        barge_in: BargeIn | bool | None = None,
        turns: Turns | None = None,
        limits: ProviderLimits | None = None,
        fallback: str | PathLike[str] | AudioChunk | None = None,
        hang_up: bool = True,
    ) -> None:
        super().__init__(channel_id)
        for name, value, kind in (
            ("backend", backend, VoiceBackend),
            ("stt", stt, STTProvider | None),
            ("tts", tts, TTSProvider | None),
            ("pipeline", pipeline, AudioPipelineConfig | None),
            ("barge_in", barge_in, BargeIn | bool | None),
            ("turns", turns, Turns | None),
            ("limits", limits, ProviderLimits | None),
            ("fallback", fallback, str | PathLike | AudioChunk | None),
        ):
            if not isinstance(value, kind):
                fits = getattr(kind, "__name__", str(kind))
                raise TypeError(f"{name}: {type(value).__name__}; a {fits} fits")
        self.backend = backend
        self.stt = stt
        self.tts = tts
        self.pipeline = pipeline or AudioPipelineConfig()
        if barge_in is None:
            barge_in = stt is not None
        self.barge_in = barge_in if isinstance(barge_in, BargeIn) else _BARGE_IN[barge_in]
        self.turns = turns or Turns()
        self.limits = limits or ProviderLimits()
        self.fallback = fallback
        self.hang_up = hang_up
        self._kit: RoomKit | None = None
        self._calls: dict[str, LiveCall] = {}
        # Calls that `connect` opens, by room and participant: until it says so they have not begun.
        self._joining: set[tuple[str, str]] = set()
        self._feed = FrameFeed()
        self._subscriptions: list[Unsubscribe] = []
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._beside = Beside(f"channel {channel_id!r}")

    # --- speaking -----------------------------------------------------------------------------

    async def say(
        self,
        session: VoiceSession,
        text: str | AsyncIterable[str] | Iterable[str],
        *,
        voice: str | None = None,
        interruptible: bool = True,
    ) -> bool:
        """Speaks `text` and returns when it was spoken: True, or False if it was interrupted or
        blocked by a BEFORE_TTS hook. Cancelling it interrupts.

        `text` may come piece by piece, as models give it: it is spoken sentence by sentence, and
        each sentence passes the hooks. A plain iterator of pieces is read in a thread, and may
        block. Texts for one session are spoken one after another. Asked for from within another
        (by a model's tool, by a BEFORE_TTS hook), a text is spoken after the sentence on air.
        `interruptible`: whether the caller's speech cuts it short.

        Raises `ProviderMissingError` without `tts`, `SessionNotFoundError` if the call is not
        up, and what the voice raises.
        """
        speech = self.start_say(session, text, voice=voice, interruptible=interruptible)
        return await _whole(speech)

    async def play(
        self, session: VoiceSession, audio: Playable, *, interruptible: bool = True
    ) -> bool:
        """Plays a WAV file (path), 16 bit PCM in the session's format, or chunks and frames in
        their own; returns when it was played: True, or False if it was interrupted. Waits for its
        turn as `say` does. An iterator that is no async one is read in a thread, and may block.

        Raises `SessionNotFoundError` if the call is not up, `SynthesisError` for a file that is
        not 16 bit WAV, `ValueError`/`TypeError` for audio that is none.
        """
        return await _whole(self.start_play(session, audio, interruptible=interruptible))

    def start_say(
        self,
        session: VoiceSession,
        text: str | AsyncIterable[str] | Iterable[str],
        *,
        voice: str | None = None,
        interruptible: bool = True,
    ) -> Speech:
        """`say` without waiting: what is returned can be awaited, held back, cut short, and asked
        what of it was heard."""
        return self._call(session).say(text, voice=voice, interruptible=interruptible)

    def start_play(
        self, session: VoiceSession, audio: Playable, *, interruptible: bool = True
    ) -> Speech:
        """`play` without waiting."""
        return self._call(session).play(audio, interruptible=interruptible)

    async def interrupt(self, session: VoiceSession) -> bool:
        """Cuts short what is played and forgets what waits; True if there was anything. It is
        silent when this returns."""
        speaking = self._call(session).speaking
        found = speaking.cancel("interrupt")
        await speaking.ended(SILENT_SECONDS)
        return found

    def is_speaking(self, session: VoiceSession) -> bool:
        """True while something is played to this session."""
        return self._call(session).speaking.current is not None

    def speech(self, session: VoiceSession) -> Speech | None:
        """What is being played to this session; None when it is quiet."""
        return self._call(session).speaking.current

    def on_frame(
        self, session: VoiceSession, callback: Callable[[AudioFrame], object]
    ) -> Unsubscribe:
        """`callback(frame)` for every frame that is heard, as the pipeline's stages leave it, until
        the result is called. Keep it short: it runs on the event loop."""
        return self._call(session).hearing.frames.add(lambda _, frame: callback(frame))

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
        to it. The conversation's timers stand still. Raises `NotImplementedError` where the backend
        cannot."""
        call = self._call(session)
        await self.backend.hold(session)
        call.hold(True)

    async def resume(self, session: VoiceSession) -> None:
        """Takes the far end off hold."""
        call = self._call(session)
        await self.backend.resume(session)
        call.hold(False)

    def stats(self, session: VoiceSession) -> dict[str, Any]:
        """What the channel knows of a call: `"vad"`, the detector's name; `"phase"`, whose move it
        is; `"frames_dropped"`, frames that the stages were too slow for; `"stages"`, what each
        stage did. The media's own are `backend.stats`."""
        return self._call(session).stats()

    def recording(self, session: VoiceSession) -> Recording | None:
        """The recording of a call, to pause and resume it; None where it is not recorded."""
        return self._call(session).hearing.recording

    def trace(self, session: VoiceSession) -> tuple[TraceEntry, ...]:
        """What the conversation of a call was told, decided and commanded, oldest first: the last
        some hundred entries. Nothing of what was said or keyed is in it."""
        return self._call(session).dialogue.conversation.trace

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
        if self.pipeline.recorder is not None or (self.pipeline.vad and self.pipeline.echo_guard):
            self._subscriptions.append(backend.on_audio_played(self._played))

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        metadata: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None = None,
    ) -> VoiceSession:
        """Opens a call. Used by `RoomKit.join`, which see. Raises what the backend, the recorder
        and the stages raise, and then leaves nothing open."""
        key = (room_id, participant_id)
        self._joining.add(key)
        try:
            given = {} if options is None else {"options": options}
            session = await self.backend.connect(
                room_id, participant_id, self.channel_id, metadata=metadata, **given
            )
            call = self._calls.get(session.id) or self._adopt(session)
            if call is not None:
                await self._begin(call)
            return session
        except BaseException:
            # Also a session that was ready when `connect` was given up.
            for call in self._calls_of(key):
                await self.disconnect(call.session, "failed")
            raise
        finally:
            self._joining.discard(key)

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
        if call is not None:
            call.stop()
        failure: Exception | None = None
        try:
            await self._beside.within(
                self.backend.disconnect(session), self.limits.hang_up, "hanging up"
            )
        except Exception as error:  # noqa: BLE001 (the hooks are told nevertheless)
            failure = error
        if call is not None:
            await call.settle()
            if call.started and self._kit is not None:
                self._kit.session_ended(session, reason)
        if failure is not None:
            raise failure

    async def close(self) -> None:
        """Ends every call, then closes the backend and the providers. Idempotent."""
        errors: list[BaseException] = []
        ending = [self.disconnect(call.session) for call in list(self._calls.values())]
        others = map(asyncio.shield, list(self._ending.values()))
        ended = await asyncio.gather(*ending, *others, return_exceptions=True)
        errors += [each for each in ended if each is not None]
        while self._subscriptions:
            self._subscriptions.pop()()
        await self._beside.finish(_CLOSE_SECONDS)
        for part in (self.backend, self.stt, self.tts):
            if part is not None:
                try:
                    await self._beside.within(part.close(), _CLOSE_SECONDS, f"closing {part!r}")
                except Exception as error:  # noqa: BLE001 (the other parts are closed too)
                    errors.append(error)
        if errors:
            raise CloseError(f"channel {self.channel_id!r}", errors)

    # --- calls that begin ---------------------------------------------------------------------

    def _ready(self, session: VoiceSession) -> None:
        if session.channel_id != self.channel_id or session.id in self._calls:
            return
        call = self._adopt(session)
        if call is not None and (session.room_id, session.participant_id) not in self._joining:
            # Connected on the backend directly, without `join`: nobody else begins it.
            self._beside.run(self._begin_or_end(call), f"begin of session {session.id}")

    def _adopt(self, session: VoiceSession) -> LiveCall | None:
        """A session of this channel is there. Nothing of it can fail yet."""
        if self._kit is None:
            return None
        call = self._calls[session.id] = LiveCall(self, self._kit, session, self._beside)
        return call

    async def _begin(self, call: LiveCall) -> None:
        session = call.session
        await call.open()
        if self._calls.get(session.id) is not call or session.ended:
            raise SessionNotFoundError(session.id, f"the calls of channel {self.channel_id!r}")
        assert self._kit is not None
        if self._kit.session_started(session):
            call.start()
        else:
            # Its room is not known here: it belongs to whoever connected it.
            self._calls.pop(session.id, None)
            call.stop()

    async def _begin_or_end(self, call: LiveCall) -> None:
        try:
            await self._begin(call)
        except Exception:  # noqa: BLE001 (nobody waits for this)
            _log.exception("session %s could not begin and is ended", call.session.id)
            await self._hang_up(call.session, "failed")

    def _calls_of(self, key: tuple[str, str]) -> list[LiveCall]:
        return [
            call
            for call in self._calls.values()
            if (call.session.room_id, call.session.participant_id) == key
        ]

    # --- what the backend reports -------------------------------------------------------------

    def _frame(self, session: VoiceSession, frame: AudioFrame) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            self._feed.put(call.hearing, frame)

    def _played(self, session: VoiceSession, frame: AudioFrame) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            call.hearing.played(frame)

    def _digit(self, session: VoiceSession, event: DTMFEvent) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            call.signalled(event)

    def _gone(self, session: VoiceSession, reason: str) -> None:
        if session.id not in self._calls:
            return
        if not isinstance(reason, DisconnectReason):
            reason = DisconnectReason(reason)
        gone = ClientDisconnectedEvent(session, reason, reason.detail)
        self._hooks.emit(HookTrigger.ON_CLIENT_DISCONNECTED, gone)
        if self.hang_up:
            self._beside.run(self._hang_up(session, str(reason)), "hanging up")

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
        call = self._calls.get(session.id)
        if call is not None:
            call.barged_in()

    # --- helpers ------------------------------------------------------------------------------

    @property
    def _hooks(self) -> HookRunner:
        assert self._kit is not None  # there are no calls before `bind`
        return self._kit.hooks

    def _call(self, session: VoiceSession) -> LiveCall:
        check_session(session)
        call = self._calls.get(session.id)
        if call is None:
            raise SessionNotFoundError(
                session.id, f"the calls of channel {self.channel_id!r} that are up"
            )
        return call


_BARGE_IN: Final = {True: BargeIn(), False: BargeIn(mode="off")}


async def _whole(speech: Speech) -> bool:
    """Until it is over. Whoever is cancelled meanwhile cuts it short."""
    try:
        return await speech.wait()
    except asyncio.CancelledError:
        speech.cancel("interrupt")
        raise
