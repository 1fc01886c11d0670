"""`TTSProvider`: the interface of voices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import aclosing

from roomkit._items import Items
from roomkit.errors import SynthesisError
from roomkit.voice.base import AudioChunk
from roomkit.voice.pcm import SampleJoiner

__all__ = ["TTSProvider"]


class TTSProvider(ABC):
    """Turns text into audio. One object serves many calls at the same time."""

    @property
    def name(self) -> str:
        """For logs."""
        return type(self).__name__

    @property
    def whole_texts(self) -> bool:
        """True: it gets a text as it was given to `say`, as one that has recordings of whole texts
        must. False: sentence by sentence, so that the first is heard while the next is made, and
        that what was heard is known to the sentence."""
        return False

    @abstractmethod
    def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncIterator[AudioChunk]:
        """Audio of `text`, as it is made. Usually an async generator: it is closed when the caller
        interrupts, and should then stop what it started. A chunk may end in the middle of a sample,
        as what is read from a socket does: the next one goes on with it.

        Raises `SynthesisError` when it cannot be made.
        """

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioChunk:
        """The whole of it as one chunk. Raises `SynthesisError` when there is none, or when the
        voice changed its format on the way."""
        data = bytearray()
        rate = channels = 0
        samples = SampleJoiner(self.name)
        async with aclosing(Items(self.synthesize_stream(text, voice=voice))) as stream:
            async for chunk in stream:
                if data and (chunk.sample_rate, chunk.channels) != (rate, channels):
                    raise SynthesisError(f"{self.name}: the format changed within one text")
                rate, channels = chunk.sample_rate, chunk.channels
                whole = samples.join(chunk.data, rate, channels)
                data += b"".join(pcm for pcm, _, _ in whole)
        data += b"".join(pcm for pcm, _, _ in samples.end())
        if not data:
            raise SynthesisError(f"{self.name}: no audio came for {len(text)} characters of text")
        return AudioChunk(bytes(data), rate, channels, is_final=True)

    async def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what the voice holds. Idempotent."""
