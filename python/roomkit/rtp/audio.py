"""What may be played, brought to one form: pieces of PCM with their rate and channels."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from roomkit.voice.base import AudioChunk

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Audio", "Piece", "PieceReader"]

_log = logging.getLogger("roomkit.rtp")

Audio: TypeAlias = (
    "Buffer | AudioChunk | AsyncIterable[Buffer | AudioChunk] | Iterable[Buffer | AudioChunk]"
)
"""What `play` takes. A buffer (bytes, bytearray, memoryview, array …) is 16 bit little-endian PCM
in the session's rate and channels; an `AudioChunk` says its own."""

_FITS: Final = "bytes of 16 bit PCM, an AudioChunk, or an (async) iterator of these fits"


class Piece(NamedTuple):
    """Whole samples of PCM."""

    pcm: memoryview
    sample_rate: int
    channels: int


class PieceReader:
    """Reads a source piece by piece, and joins samples that the source cut in two.

    A synthesiser that streams over a network hands out whatever a read returned, so a piece may end
    in the middle of a sample: its bytes are kept for the next one.

    The constructor raises `TypeError` or `ValueError` for what can be seen at once; `pieces` raises
    them for an item of a stream.
    """

    def __init__(self, audio: Audio, sample_rate: int, channels: int) -> None:
        self._format = (sample_rate, channels)
        self._carry = b""
        self.whole: Piece | None = None
        """The one piece, when the audio is no stream."""
        self._source: AsyncIterable[Any] | Iterable[Any] = ()
        if isinstance(audio, AudioChunk) or _is_buffer(audio):
            self.whole = self._piece(audio)
            if self._carry:
                raise ValueError(
                    f"audio: {len(self.whole.pcm) + len(self._carry)} bytes; a multiple of"
                    f" {2 * self.whole.channels} fits (2 bytes per sample,"
                    f" {self.whole.channels} channel(s))"
                )
        elif isinstance(audio, (AsyncIterable, Iterable)) and not isinstance(audio, str):
            self._source = audio
        else:
            raise TypeError(f"audio: {type(audio).__name__}; {_FITS}")

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces in order, each read when it is asked for. Reading ends with the source."""
        if self.whole is not None:
            yield self.whole
        elif isinstance(self._source, AsyncIterable):
            async for item in self._source:
                yield self._piece(item)
        else:
            for item in self._source:
                yield self._piece(item)
        if self._carry:
            _log.warning("audio ended in the middle of a sample; its last bytes are left out")

    async def aclose(self) -> None:
        """Closes the source, if it is a generator or knows how to close. Idempotent."""
        close: Callable[[], Any] | None = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
            return
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _piece(self, item: object) -> Piece:
        if isinstance(item, AudioChunk):
            if item.format != "pcm_s16le":
                raise ValueError(f"chunk format: {item.format!r}; only 'pcm_s16le' fits")
            data, rate, channels = item.data, item.sample_rate, item.channels
        elif _is_buffer(item):
            data, (rate, channels) = _bytes(item), self._format
        else:
            raise TypeError(f"audio: {type(item).__name__} in the stream; {_FITS}")
        return self._join(data, rate, channels)

    def _join(self, data: bytes, rate: int, channels: int) -> Piece:
        if self._carry:
            data = self._carry + data
        whole = len(data) - len(data) % (2 * channels)
        self._carry = data[whole:]
        return Piece(memoryview(data)[:whole], rate, channels)


def _is_buffer(item: object) -> bool:
    try:
        memoryview(item).release()  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _bytes(item: Any) -> bytes:
    """A copy, unless it cannot change: it is read while it plays."""
    return item if type(item) is bytes else memoryview(item).tobytes()
