"""What is to be played, read piece by piece: audio, and what is said where."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Any, NamedTuple

from roomkit._items import Items
from roomkit.rtp.audio import PieceReader, live_piece
from roomkit.voice.base import AudioChunk, Mark
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pcm import SampleJoiner, is_buffer

__all__ = ["Piece", "Source"]


class Piece(NamedTuple):
    """PCM of 16 bits in whole samples."""

    pcm: bytes
    sample_rate: int
    channels: int
    marks: tuple[tuple[float, Mark], ...]
    """Each with its place, in ms from the first sample of the source."""


class Source:
    """A source of audio. Raises as `roomkit.rtp.audio.PieceReader` does, which reads those of the
    RTP backend."""

    def __init__(self, audio: Any, sample_rate: int, channels: int) -> None:
        self._format = (sample_rate, channels)
        self._items: Items | None = None
        self._known: list[Any] = []
        if isinstance(audio, (AsyncIterable, Iterable)) and not (
            isinstance(audio, (str, list, tuple, AudioChunk, AudioFrame)) or is_buffer(audio)
        ):
            self._items = Items(audio)
            return
        PieceReader(audio, sample_rate, channels)  # says at once what does not fit
        self._known = [*audio] if isinstance(audio, (list, tuple)) else [audio]

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces in order, each read when it is asked for."""
        joiner = SampleJoiner("audio")
        read_ms = 0.0
        async for item in self._items or Items(self._known):
            pcm, rate, channels = live_piece(item, *self._format, where=" in the stream")
            marks: tuple[tuple[float, Mark], ...] = ()
            if isinstance(item, AudioChunk) and item.marks:
                marks = tuple((read_ms + mark.offset_ms, mark) for mark in item.marks)
            read_ms += len(pcm) * 500 / channels / rate
            whole = joiner.join(pcm, rate, channels)
            if marks and not whole:
                yield Piece(b"", rate, channels, marks)
            for joined in whole:
                yield Piece(*joined, marks)
                marks = ()
        for rest in joiner.end():
            yield Piece(*rest, ())

    async def aclose(self) -> None:
        """Closes the source. Idempotent."""
        if self._items is not None:
            await self._items.aclose()
