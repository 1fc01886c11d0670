"""`Answering`: the caller has said something, and the models of the room answer it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from roomkit._clock import now_ms
from roomkit._limits import Beside
from roomkit.hooks import HookRunner, HookTrigger
from roomkit.voice._speaking import Speech
from roomkit.voice.base import VoiceSession
from roomkit.voice.commands import EndTurn
from roomkit.voice.events import TurnEndedEvent
from roomkit.voice.ledger import TurnLedger
from roomkit.voice.marks import HeardText

if TYPE_CHECKING:
    from roomkit.ai import AIChannel

__all__ = ["Answering", "AnsweringSink"]

_log = logging.getLogger("roomkit.voice.channel")

# Utterances whose texts are kept: those of a turn, and of the answers dropped before it.
_TEXTS: Final = 256


class AnsweringSink(Protocol):
    """What answers are spoken by, and who is told of them."""

    def say_answer(self, pieces: AsyncGenerator[str]) -> Speech:
        """Has an answer spoken."""

    async def fall_back(self) -> None:
        """The caller was to hear something and does not: he hears the channel's fallback."""

    def heard_late_ms(self) -> float | None:
        """How long what is heard had waited in the jitter buffer; None where that is not known."""

    def answering(self, turn: int) -> None: ...
    def answered(self, turn: int) -> None: ...


class Answering:
    """One call's. Turns are answered one after another, in a task each."""

    def __init__(
        self,
        session: VoiceSession,
        hooks: HookRunner,
        sink: AnsweringSink,
        beside: Beside,
    ) -> None:
        self._session = session
        self._hooks = hooks
        self._sink = sink
        self._beside = beside
        self._texts: OrderedDict[int, list[asyncio.Task[str]]] = OrderedDict()
        self._turns: dict[int, asyncio.Task[None]] = {}
        self._recognised_ms: OrderedDict[int, float] = OrderedDict()
        self._ledger = TurnLedger()
        self._closed = False

    def transcribed(self, utterance: int, work: Awaitable[str]) -> None:
        """`work` runs the hooks of a transcript of that utterance, and returns what they let
        pass."""
        self._texts.setdefault(utterance, []).append(
            self._beside.run(_awaited(work), f"transcript of utterance {utterance}")
        )
        while len(self._texts) > _TEXTS:
            self._texts.popitem(last=False)

    def end_turn(
        self, turn: EndTurn, models: Sequence[AIChannel], context: contextvars.Context
    ) -> None:
        """It is our move: the models answer, in a copy of `context`."""
        if self._closed:
            return
        name = f"answer to turn {turn.turn}"
        task = self._beside.run(self._answer(turn, models), name, context)
        self._turns[turn.turn] = task
        task.add_done_callback(lambda _: self._turns.pop(turn.turn, None))

    def drop(self, turn: int) -> None:
        """The caller went on before he heard anything of the answer."""
        task = self._turns.get(turn)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """The call is over: nothing more is answered. Idempotent."""
        self._closed = True
        for task in list(self._turns.values()):
            self._beside.end(task)

    def recognised(self, utterance: int) -> None:
        """All of its texts are there."""
        self._recognised_ms[utterance] = now_ms()
        while len(self._recognised_ms) > _TEXTS:
            self._recognised_ms.popitem(last=False)

    # --- inside -------------------------------------------------------------------------------

    async def _answer(self, turn: EndTurn, models: Sequence[AIChannel]) -> None:
        number = turn.turn
        known = [self._recognised_ms.get(each) for each in turn.utterances]
        recognised_ms = max((each for each in known if each is not None), default=None)
        # What was heard then had come a little before.
        late_ms = self._sink.heard_late_ms()
        ended_ms = turn.speech_ended_ms - (late_ms or 0.0)
        self._ledger.begin(number, ended_ms, turn.decided_ms, recognised_ms)
        if late_ms is not None:
            self._ledger.note(number, "arrived", turn.speech_ended_ms)
        answer = _Answer(number)
        self._sink.answering(number)
        try:
            answer.text = await self._text_of(turn)
            if answer.text:
                for model in models:
                    await self._answer_by(model, answer)
        except asyncio.CancelledError:
            answer.dropped = not self._closed
            raise
        finally:
            self._sink.answered(number)
            times = self._ledger.end(
                number, answer.heard, interrupted=answer.interrupted, dropped=answer.dropped
            )
            if times is not None:
                event = TurnEndedEvent(
                    self._session, times, answer.text, turn.utterances, answer.error
                )
                self._hooks.emit(HookTrigger.ON_TURN_ENDED, event)

    async def _text_of(self, turn: EndTurn) -> str:
        texts: list[str] = []
        for utterance in turn.utterances:
            for task in self._texts.get(utterance, ()):
                # Not cancelled with this: its hooks run to their end.
                await asyncio.wait([task])
                if not task.cancelled() and task.exception() is None and task.result():
                    texts.append(task.result())
        return " ".join(texts)

    async def _answer_by(self, model: AIChannel, answer: _Answer) -> None:
        speech = self._sink.say_answer(self._pieces(model, answer))
        try:
            await speech.wait()
        except asyncio.CancelledError:
            # Whoever goes on before he has heard anything has not been answered.
            speech.cancel("session_ended" if self._closed else "barge_in")
            self._settle(model, speech, answer, forget=not self._closed)
            raise
        except Exception as error:  # noqa: BLE001 (a model, hook or voice may raise anything)
            _log.error("session %s: %r could not answer: %r", self._session.id, model, error)
            self._settle(model, speech, answer)
            answer.error = error
            self._hooks.report(self._session, f"ai {model.channel_id}", error)
            await self._sink.fall_back()
        else:
            self._settle(model, speech, answer)

    def _settle(
        self, model: AIChannel, speech: Speech, answer: _Answer, *, forget: bool = False
    ) -> None:
        """The model remembers what was heard, and the turn's account is closed."""
        for step, at_ms in (
            ("first_sentence", speech.sentence_ms),
            ("first_audio", speech.audio_ms),
            ("first_packet", speech.started_ms),
        ):
            if at_ms is not None:
                self._ledger.note(answer.turn, step, at_ms)  # type: ignore[arg-type]
        answer.interrupted = answer.interrupted or speech.cancelled not in (None, "error")
        if forget:
            model.forget(self._session)
            return
        heard = speech.heard()
        answer.heard = answer.heard or heard
        model.remember(self._session, (speech.text or "") if heard is None else heard.text)

    async def _pieces(self, model: AIChannel, answer: _Answer) -> AsyncGenerator[str]:
        """What the model gives."""
        async with aclosing(model.reply(self._session, answer.text)) as reply:
            async for piece in reply:
                if piece.strip():
                    self._ledger.note(answer.turn, "first_token", now_ms())
                yield piece


@dataclass(slots=True)
class _Answer:
    """What becomes of a turn."""

    turn: int
    text: str = ""
    heard: HeardText | None = None
    interrupted: bool = False
    dropped: bool = False
    error: BaseException | None = None


async def _awaited(work: Awaitable[str]) -> str:
    return await work
