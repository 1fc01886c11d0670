"""What may be played, brought to one form: pieces of PCM with their rate and channels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from roomkit._items import Items
from roomkit.errors import shown
from roomkit.voice.base import AudioChunk, Mark
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pcm import SampleJoiner, is_buffer, pcm_bytes, refuse_container

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Audio", "Live", "Piece", "PieceReader", "live_piece"]

Live: TypeAlias = "Buffer | AudioChunk | AudioFrame"
"""What `send` takes. A buffer (bytes, bytearray, memoryview, array, numpy …) is 16 bit PCM in the
session's rate and channels; an `AudioChunk` or an `AudioFrame` says its own."""
Audio: TypeAlias = "Live | AsyncIterable[Live] | Iterable[Live]"
"""What `play` takes: one piece, or an (async) iterator of pieces."""

_PIECE_FITS: Final = "bytes of 16 bit PCM, an AudioChunk or an AudioFrame fits"
_FITS: Final = (
    "bytes of 16 bit PCM, an AudioChunk, an AudioFrame, or an (async) iterator of these fits"
)


class Piece(NamedTuple):
    """PCM of 16 bits, little-endian."""

    pcm: bytes
    sample_rate: int
    channels: int
    marks: tuple[tuple[int, Mark], ...] = ()
    """What is marked in it, each at a sample (of each channel) from its first, in rising order."""


class PieceReader:
    """Reads a source piece by piece, and joins samples that the source cut in two.

    A synthesiser that streams over a network hands out whatever a read returned, so a piece may end
    in the middle of a sample: its bytes are kept for the next one.

    The constructor raises `TypeError` or `ValueError` for what can be seen at once, which is all
    of a list; `pieces` raises them for an item of a stream.
    """

    def __init__(self, audio: Audio, sample_rate: int, channels: int) -> None:
        self._format = (sample_rate, channels)
        self._joiner = SampleJoiner("audio")
        self._known: list[Piece] = []
        self._items: Items | None = None
        # What came and has not been given out, in ms; and marks, in ms from the end of what has.
        self._held_ms = 0.0
        self._marks: list[tuple[float, Mark]] = []
        if isinstance(audio, (AudioChunk, AudioFrame)) or is_buffer(audio):
            piece = live_piece(audio, sample_rate, channels)
            width = 2 * piece.channels
            if len(piece.pcm) % width:
                raise ValueError(
                    f"audio: {len(piece.pcm)} bytes; a multiple of {width} fits"
                    f" (2 bytes per sample, {piece.channels} channel(s))"
                )
            self._known = [self._marked(piece, audio)]
        elif isinstance(audio, (list, tuple)):
            # It is here as a whole, so nothing of it is played if something of it does not fit.
            self._known = [piece for item in audio for piece in self._whole(item)]
            self._known += self._given(self._joiner.end())
        elif isinstance(audio, (AsyncIterable, Iterable)) and not isinstance(audio, str):
            self._items = Items(audio)
        else:
            raise TypeError(f"audio: {type(audio).__name__}; {_FITS}")

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces in order, in whole samples, each read when it is asked for. Reading ends with
        the source."""
        for piece in self._known:
            yield piece
        if self._items is None:
            return
        async for item in self._items:
            for piece in self._whole(item):
                yield piece
        for piece in self._given(self._joiner.end()):
            yield piece

    @property
    def marks_behind(self) -> tuple[Mark, ...]:
        """Those behind the end of all audio, once that was read."""
        return tuple(mark for _, mark in self._marks)

    async def aclose(self) -> None:
        """Closes the source, if it is a generator or knows how to close. Idempotent."""
        if self._items is not None:
            await self._items.aclose()

    def _whole(self, item: object) -> list[Piece]:
        piece = live_piece(item, *self._format, where=" in the stream")
        pcm, rate, channels, _ = piece
        self._note(item)
        self._held_ms += len(pcm) / (2 * channels) * 1000 / rate
        return self._given(self._joiner.join(pcm, rate, channels))

    def _marked(self, piece: Piece, item: object) -> Piece:
        self._note(item)
        return self._with_marks(piece)

    def _note(self, item: object) -> None:
        if isinstance(item, AudioChunk) and item.marks:
            new = ((self._held_ms + mark.offset_ms, mark) for mark in item.marks)
            # One that lies beyond its chunk may be overtaken by the next chunk's.
            self._marks = sorted([*self._marks, *new], key=lambda each: each[0])

    def _given(self, joined: list[tuple[bytes, int, int]]) -> list[Piece]:
        return [self._with_marks(Piece(*each)) for each in joined]

    def _with_marks(self, piece: Piece) -> Piece:
        """With the marks that lie in it; the others come nearer."""
        pcm, rate, channels, _ = piece
        samples = len(pcm) // (2 * channels)
        length_ms = samples * 1000 / rate
        self._held_ms = max(0.0, self._held_ms - length_ms)
        if not self._marks:
            return piece
        placed = [(max(0, round(ms * rate / 1000)), mark) for ms, mark in self._marks]
        here = tuple(each for each in placed if each[0] < samples)
        self._marks = [(ms - length_ms, mark) for ms, mark in self._marks[len(here) :]]
        return piece._replace(marks=here)


def live_piece(item: Any, sample_rate: int, channels: int, *, where: str = "") -> Piece:
    """One buffer, chunk or frame, with its rate and channels: those given, where it says none. It
    may end in the middle of a sample. Raises `TypeError` or `ValueError` for what is none."""
    if type(item) is bytes:
        refuse_container(item, "audio")
        return Piece(item, sample_rate, channels)
    if isinstance(item, AudioChunk):
        if item.format != "pcm_s16le":
            raise ValueError(f"chunk format: {shown(item.format)}; only 'pcm_s16le' fits")
    elif isinstance(item, AudioFrame):
        if item.sample_width != 2:
            raise ValueError(f"sample_width: {shown(item.sample_width)}; only 2 (16 bit PCM) fits")
    elif is_buffer(item):
        return Piece(pcm_bytes(item, "audio", channels), sample_rate, channels)
    else:
        raise TypeError(f"audio: {type(item).__name__}{where}; {_PIECE_FITS}")
    # Its fields may have been assigned since it was made.
    return Piece(pcm_bytes(item.data, "data", item.channels), item.sample_rate, item.channels)
