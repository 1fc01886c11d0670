"""`AIChannel`: a model that answers what is said in a room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
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


class AIProvider(ABC):
    """A model, or anything else that answers: a rule, a script, a person at a keyboard."""

    @abstractmethod
    def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """The answer to a conversation whose last turn is the user's, in pieces as it is thought
        of. Usually an async generator: it is closed when the caller interrupts.
        """

    async def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what the provider holds. Idempotent."""


class AIChannel(Channel):
    """Answers the callers of a room.

    Attached to a room together with a `VoiceChannel` that has `stt` and `tts`, it closes the
    circle: what ON_TRANSCRIPTION lets pass goes to `provider`, and the answer is spoken::

        kit.register_channel(VoiceChannel("phone", backend=backend, stt=stt, tts=tts, pipeline=…))
        kit.register_channel(AIChannel("model", provider=provider))

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
        self._turns: dict[str, deque[Turn]] = {}

    def turns(self, session: VoiceSession) -> list[Turn]:
        """The conversation with this session so far."""
        return list(self._turns.get(session.id, ()))

    async def reply(self, session: VoiceSession, text: str) -> AsyncGenerator[str]:
        """Takes the user's `text` into the conversation and yields the answer in pieces.

        An answer that is cut short is remembered as far as it had been given.
        """
        turns = self._turns.setdefault(session.id, deque(maxlen=self._history))
        turns.append(Turn("user", text))
        given: list[str] = []
        pieces = self.provider.reply(session, list(turns))
        try:
            async for piece in pieces:
                given.append(piece)
                yield piece
        finally:
            if given:
                turns.append(Turn("assistant", "".join(given)))
            await close_source(pieces)

    def session_ended(self, session: VoiceSession) -> None:
        self._turns.pop(session.id, None)

    async def close(self) -> None:
        await self.provider.close()
