"""`AIChannel`: a model that answers what is said in a room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from roomkit.rooms import Channel, ChannelCategory
from roomkit.voice._sources import close_source
from roomkit.voice.base import VoiceSession

__all__ = ["AIChannel", "AIProvider", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: Literal["user", "assistant"]
    text: str = field(repr=False)
    """Of an answer: what of it the caller heard."""


class AIProvider(ABC):
    """A model, or anything else that answers: a rule, a script, a person at a keyboard."""

    @abstractmethod
    def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """The answer to a conversation whose last turn is the user's, in pieces as it is thought
        of. Usually an async generator: it is closed when the caller interrupts.

        It may speak by itself (`VoiceChannel.say`, `Call.say`), as a tool does that takes a while:
        that is spoken after the sentence on air, and what it gives next comes after that.
        """

    async def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what the provider holds. Idempotent."""


class AIChannel(Channel):
    """Answers the callers of a room.

    Attached to a room together with a `VoiceChannel` that has `stt` and `tts`, it closes the
    circle: what ON_TRANSCRIPTION lets pass goes to `provider`, and the answer is spoken::

        kit.register_channel(VoiceChannel("phone", backend=backend, stt=stt, tts=tts, pipeline=…))
        kit.register_channel(AIChannel("model", provider=provider))

    What it remembers of its answers is what the caller heard of them.

    `history`: how many turns of a call the provider gets to see, 1 to 1000.
    """

    category = ChannelCategory.INTELLIGENCE

    def __init__(self, channel_id: str, *, provider: AIProvider, history: int = 40) -> None:
        super().__init__(channel_id)
        if not isinstance(provider, AIProvider):
            raise TypeError(f"provider: {type(provider).__name__}; an AIProvider fits")
        if not 1 <= history <= 1000:
            raise ValueError(f"history: {history!r}; 1 to 1000 fits")
        self.provider = provider
        self._history = history
        self._turns: dict[str, list[Turn]] = {}
        # The answer that is being given; who settles what of it counts takes it away.
        self._answers: dict[str, _Answer] = {}

    def turns(self, session: VoiceSession) -> list[Turn]:
        """The conversation with this session so far. It never begins with an answer."""
        return list(self._turns.get(session.id, ()))

    async def reply(self, session: VoiceSession, text: str) -> AsyncGenerator[str]:
        """Takes the user's `text` into the conversation and yields the answer in pieces.

        What was given of it is remembered, unless `remember` or `forget` says otherwise.
        """
        self._append(session, Turn("user", text))
        answer = self._answers[session.id] = _Answer()
        pieces = self.provider.reply(session, self.turns(session))
        try:
            async for piece in pieces:
                answer.given.append(piece)
                yield piece
        finally:
            if self._answers.get(session.id) is answer:
                self.remember(session, "".join(answer.given))
            await close_source(pieces)

    def remember(self, session: VoiceSession, heard: str) -> None:
        """What of the answer that is being given, or was given last, counts; empty: nothing."""
        self._answers.pop(session.id, None)
        turns = self._turns.get(session.id)
        if turns and turns[-1].role == "assistant":
            turns.pop()
        if turns and heard.strip():
            self._append(session, Turn("assistant", heard))

    def forget(self, session: VoiceSession) -> None:
        """The answer that is being given, and what it answers, were never said: the caller went on
        before he heard any of it."""
        self.remember(session, "")
        turns = self._turns.get(session.id)
        if turns and turns[-1].role == "user":
            turns.pop()

    def session_ended(self, session: VoiceSession) -> None:
        self._turns.pop(session.id, None)
        self._answers.pop(session.id, None)

    async def close(self) -> None:
        await self.provider.close()

    def _append(self, session: VoiceSession, turn: Turn) -> None:
        turns = self._turns.setdefault(session.id, [])
        turns.append(turn)
        while turns and (len(turns) > self._history or turns[0].role == "assistant"):
            del turns[0]


class _Answer:
    """What was given of an answer."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given: list[str] = []
