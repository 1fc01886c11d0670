"""`LiveCall`: one call inside a `VoiceChannel`. What is heard goes to the conversation, what that
decides goes to what is played and answered, and each has its hooks."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Final

from roomkit._items import Items
from roomkit._limits import Beside
from roomkit.errors import ProviderMissingError
from roomkit.hooks import HookTrigger
from roomkit.voice._answering import Answering
from roomkit.voice._dialogue import Dialogue
from roomkit.voice._hearing import Hearing
from roomkit.voice._saying import played_parts, spoken_parts
from roomkit.voice._sources import chunks_of
from roomkit.voice._speaking import Speaking, Speech
from roomkit.voice.base import VoiceSession
from roomkit.voice.commands import (
    BargedIn,
    CancelPlayback,
    CloseUtterance,
    Command,
    DropAnswer,
    EndTurn,
    OpenUtterance,
    PausePlayback,
    ResumePlayback,
)
from roomkit.voice.conversation import Conversation
from roomkit.voice.events import (
    AfterTTSEvent,
    BargeInEvent,
    DTMFEvent,
    TTSCancelledEvent,
)
from roomkit.voice.pipeline.engine import open_recording

if TYPE_CHECKING:
    from roomkit.kit import RoomKit
    from roomkit.voice.channel import VoiceChannel

__all__ = ["SILENT_SECONDS", "LiveCall"]

_log = logging.getLogger("roomkit.voice.channel")

SILENT_SECONDS: Final = 0.5
"""What the backend's `cancel` has stopped is told as ended within a frame, on a busy machine."""


class LiveCall:
    """Made when its session is there. `open` opens it, `start` says that it is known; `stop` ends
    it at once, and `settle` what that leaves."""

    def __init__(
        self, channel: VoiceChannel, kit: RoomKit, session: VoiceSession, beside: Beside
    ) -> None:
        self.session = session
        self.channel = channel
        self.kit = kit
        self.hooks = kit.hooks
        self.beside = beside
        self.started = False
        """ON_SESSION_STARTED was told."""
        limits = channel.limits
        self.answers = Answering(session, kit.hooks, self, beside)
        self.hearing = Hearing(
            session,
            kit.hooks,
            channel.pipeline,
            channel.stt,
            self,
            beside,
            recogniser_seconds=limits.recogniser,
            transcribed=self.answers.transcribed,
        )
        self.speaking = Speaking(session, channel.backend, self, beside)
        conversation = Conversation(
            channel.turns, channel.barge_in, recognises=channel.stt is not None
        )
        self.dialogue = Dialogue(conversation, self._obey)
        self._digits: list[DTMFEvent] = []
        self._late_ms: float | None = None

    # --- its course ---------------------------------------------------------------------------

    async def open(self) -> None:
        """Opens recording and stages. Raises what they raise, and then leaves nothing open."""
        recording = await open_recording(self.channel.pipeline, self.session, self.hearing)
        try:
            self.hearing.open(recording)
        except BaseException:
            if recording is not None:
                self.beside.run(self._close_recording(recording), "closing a recording")
            raise

    def start(self) -> None:
        """The hooks know of it."""
        self.started = True
        digits, self._digits = self._digits, []
        for digit in digits:
            self.hearing.signalled(digit)

    def signalled(self, event: DTMFEvent) -> None:
        """The backend told a digit."""
        if self.started:
            self.hearing.signalled(event)
        else:
            self._digits.append(event)

    def stop(self) -> None:
        """The call is over: it is silent and deaf from now on. Idempotent, waits for nothing."""
        self.speaking.close()
        self.dialogue.finish()
        self.answers.close()
        self.hearing.finish()

    async def settle(self) -> None:
        """What is left to do of it, within limits: the end of what played, the recording."""
        await self.speaking.ended(SILENT_SECONDS)
        recording = self.hearing.recording
        if recording is not None:
            await self._close_recording(recording)

    async def _close_recording(self, recording: Any) -> None:
        try:
            paths = await self.beside.within(
                recording.close(), self.channel.limits.recorder, "closing the recording"
            )
        except Exception as error:  # noqa: BLE001 (the call is over nevertheless)
            _log.error("session %s: the recording is not complete: %r", self.session.id, error)
            self.hooks.report(self.session, "pipeline recorder", error)
        else:
            self.session.metadata["recordings"] = [str(path) for path in paths]

    # --- saying and playing -------------------------------------------------------------------

    def say(
        self,
        text: str | AsyncIterable[str] | Iterable[str],
        *,
        voice: str | None = None,
        interruptible: bool = True,
        text_seconds: float | None = None,
    ) -> Speech:
        """Has `text` spoken when its turn comes; its source may take so long for each piece."""
        tts = self.channel.tts
        if tts is None:
            raise ProviderMissingError(
                f"channel {self.channel.channel_id!r} has no voice;"
                " VoiceChannel(…, tts=…) gives it one"
            )
        voice_seconds = self.channel.limits.voice
        source = text if isinstance(text, str) else Items(text)
        return self.speaking.start(
            lambda speech: spoken_parts(
                speech,
                source,
                tts=tts,
                voice=voice,
                hooks=self.hooks,
                voice_seconds=voice_seconds,
                text_seconds=text_seconds,
            ),
            text if isinstance(text, str) else "",
            source=source,
            interruptible=interruptible,
        )

    def play(self, audio: Any, *, interruptible: bool = True) -> Speech:
        """Has `audio` played when its turn comes."""
        chunks = chunks_of(self.session, audio)
        return self.speaking.start(
            lambda speech: played_parts(speech, chunks),
            None,
            source=chunks,
            interruptible=interruptible,
        )

    def hold(self, held: bool) -> None:
        """The far end is on hold, or no longer."""
        conversation = self.dialogue.conversation
        self.dialogue.tell(lambda now: conversation.hold(now, held))

    def stats(self) -> dict[str, Any]:
        """See `VoiceChannel.stats`."""
        engine = self.hearing.engine
        return {
            "vad": None if engine is None else engine.vad_name,
            "phase": str(self.dialogue.conversation.phase),
            "frames_dropped": self.hearing.dropped,
            "stages": {} if engine is None else engine.stats,
        }

    # --- what speaking tells (SpeakingSink) ---------------------------------------------------

    def playing(self, speech: Speech) -> None:
        number, interruptible = speech.number, speech.interruptible
        conversation = self.dialogue.conversation
        self.dialogue.tell(
            lambda now: conversation.playing(now, number, interruptible=interruptible)
        )

    def played(self, speech: Speech) -> None:
        if speech.is_playing:
            number, conversation = speech.number, self.dialogue.conversation
            self.dialogue.tell(lambda now: conversation.played(now, number))
        if speech.cancelled is not None and speech.text != "":
            cancelled = TTSCancelledEvent(
                self.session, speech.cancelled, speech.text, speech.played_ms, speech.heard()
            )
            self.hooks.emit(HookTrigger.ON_TTS_CANCELLED, cancelled)
        elif speech.said.said:
            after = AfterTTSEvent(self.session, speech.text or "", speech.played_ms)
            self.hooks.emit(HookTrigger.AFTER_TTS, after)

    # --- what hearing tells (HearingSink) -----------------------------------------------------

    def speech(self, started: bool, at_ms: float) -> None:
        if not started:
            # As it is now: what the buffer gives back in the pause is no part of this.
            self._late_ms = self._buffer_delay_ms()
        conversation = self.dialogue.conversation
        told = conversation.speech_started if started else conversation.speech_ended
        self.dialogue.tell(lambda now: told(now, at_ms))

    def key(self) -> None:
        self.dialogue.tell(self.dialogue.conversation.key)

    def partial(self, utterance: int, text: str) -> None:
        conversation = self.dialogue.conversation
        self.dialogue.tell(lambda now: conversation.partial(now, utterance, text))

    def recognised(self, utterance: int, text: str) -> None:
        self.answers.recognised(utterance)
        conversation = self.dialogue.conversation
        self.dialogue.tell(lambda now: conversation.recognised(now, utterance, text))

    def not_recognised(self) -> None:
        if self.channel.fallback is not None and not self.speaking.busy:
            self.beside.run(self.fall_back(), "the fallback", self.hearing.context)

    # --- what answering asks for (AnsweringSink) ----------------------------------------------

    def say_answer(self, pieces: AsyncGenerator[str]) -> Speech:
        return self.say(pieces, text_seconds=self.channel.limits.model)

    def heard_late_ms(self) -> float | None:
        return self._late_ms

    def _buffer_delay_ms(self) -> float | None:
        if self.session.ended:
            return None
        late_ms: object = self.channel.backend.stats(self.session).get("buffer_delay_ms")
        return float(late_ms) if isinstance(late_ms, (int, float)) else None

    def answering(self, turn: int) -> None:
        conversation = self.dialogue.conversation
        self.dialogue.tell(lambda now: conversation.answering(now, turn))

    def answered(self, turn: int) -> None:
        conversation = self.dialogue.conversation
        self.dialogue.tell(lambda now: conversation.answered(now, turn))

    async def fall_back(self) -> None:
        fallback = self.channel.fallback
        if fallback is None or self.session.ended:
            return
        try:
            speech = self.say(fallback) if isinstance(fallback, str) else self.play(fallback)
            await speech.wait()
        except Exception as error:  # noqa: BLE001 (there is nothing else to say)
            _log.error("session %s: the fallback failed: %r", self.session.id, error)

    # --- what the conversation decides --------------------------------------------------------

    def _obey(self, command: Command) -> None:
        match command:
            case OpenUtterance(utterance, at_ms):
                self.hearing.open_utterance(utterance, at_ms)
            case CloseUtterance(utterance, _, reason):
                self.hearing.close_utterance(utterance, goes_on=reason == "watchdog")
            case PausePlayback(number):
                if (speech := self.speaking.find(number)) is not None:
                    speech.pause()
            case ResumePlayback(number):
                if (speech := self.speaking.find(number)) is not None:
                    speech.resume()
            case BargedIn():
                self._barged_in(command)
            case CancelPlayback():
                # And what waits behind it, but for what may not be interrupted.
                self.speaking.interrupt("barge_in")
            case EndTurn():
                models = self.kit.models_of(self.session)
                self.answers.end_turn(command, models, self.hearing.context)
            case DropAnswer(turn):
                self.answers.drop(turn)

    def _barged_in(self, command: BargedIn) -> None:
        speech = self.speaking.find(command.playback)
        if speech is not None:
            event = BargeInEvent(
                self.session,
                speech.text,
                speech.played_ms,
                speech.heard(),
                command.confirmed_by,
                command.at_ms,
            )
            self.hooks.emit(HookTrigger.ON_BARGE_IN, event)

    def barged_in(self) -> None:
        """The backend itself noticed that the caller speaks over what is played."""
        speech = self.speaking.current
        if speech is None or speech.cancelled is not None or not speech.interruptible:
            return
        event = BargeInEvent(self.session, speech.text, speech.played_ms, speech.heard())
        self.hooks.emit(HookTrigger.ON_BARGE_IN, event)
        self.speaking.interrupt("barge_in")
