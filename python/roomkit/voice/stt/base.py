"""`STTProvider`: the interface of recognisers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from roomkit.voice.base import AudioChunk

__all__ = ["STTProvider", "TranscriptionResult"]


@dataclass(frozen=True, slots=True)
class TranscriptionResult:
    """What a recogniser heard."""

    text: str = field(repr=False)
    """Empty: nothing that was speech."""
    is_final: bool = True
    """False: it may still change."""
    language: str | None = None
    confidence: float | None = None
    """0 to 1, None: the recogniser does not say."""


class STTProvider(ABC):
    """Turns an utterance into text. One object serves many calls at the same time."""

    @property
    def name(self) -> str:
        """For logs."""
        return type(self).__name__

    @property
    def supports_streaming(self) -> bool:
        """True: `VoiceChannel` feeds `transcribe_stream` while the caller speaks. False: it calls
        `transcribe` when he has stopped."""
        return False

    @abstractmethod
    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        """The text of a whole utterance, in whatever sample rate the call has."""

    async def transcribe_stream(
        self, audio: AsyncIterator[AudioChunk]
    ) -> AsyncIterator[TranscriptionResult]:
        """Results while the utterance comes in; the last one is final.

        This one collects the audio and transcribes it at its end.
        """
        chunks = [chunk async for chunk in audio]
        if chunks:
            first = chunks[0]
            data = b"".join(chunk.data for chunk in chunks)
            yield await self.transcribe(AudioChunk(data, first.sample_rate, first.channels))

    async def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what the recogniser holds. Idempotent."""
