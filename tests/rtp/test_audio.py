"""What may be played, and how it is brought to whole samples."""

from __future__ import annotations

import array
import logging
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp.audio import Audio, Piece, PieceReader
from roomkit.voice.base import AudioChunk


async def read(audio: Audio, rate: int = 8000, channels: int = 1) -> list[Piece]:
    return [piece async for piece in PieceReader(audio, rate, channels).pieces()]


async def stream(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.mark.parametrize(
    "audio",
    [
        b"\1\2\3\4",
        bytearray(b"\1\2\3\4"),
        memoryview(b"\1\2\3\4"),
        memoryview(b"\1\0\2\0\3\0\4\0")[::2],
        array.array("h", b"\1\2\3\4"),
        AudioChunk(b"\1\2\3\4", sample_rate=8000),
    ],
    ids=["bytes", "bytearray", "memoryview", "strided", "array", "chunk"],
)
async def test_anything_like_bytes_is_one_piece(audio: Audio) -> None:
    assert await read(audio) == [Piece(b"\1\2\3\4", 8000, 1)]


async def test_what_the_caller_changes_afterwards_does_not_change_what_is_played() -> None:
    mine = bytearray(b"\1\2")
    reader = PieceReader(mine, 8000, 1)
    mine[:] = b"\3\4"
    assert [bytes(piece.pcm) async for piece in reader.pieces()] == [b"\1\2"]


async def test_a_chunk_keeps_its_own_rate_and_channels() -> None:
    chunks: list[AudioChunk | bytes] = [
        AudioChunk(b"\0" * 8, 24000, 2),
        b"\0\0",
        AudioChunk(b"\0\0", 48000),
    ]
    formats = [(piece.sample_rate, piece.channels) for piece in await read(iter(chunks), 16000)]
    assert formats == [(24000, 2), (16000, 1), (48000, 1)]


@given(data=st.binary(max_size=64), cuts=st.lists(st.integers(0, 64)), channels=st.integers(1, 3))
async def test_samples_cut_in_two_are_joined_wherever_the_cuts_are(
    data: bytes, cuts: list[int], channels: int
) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[begin:end] for begin, end in pairwise(places)]
    pieces = await read(stream(parts), channels=channels)
    whole = len(data) - len(data) % (2 * channels)
    assert b"".join(bytes(piece.pcm) for piece in pieces) == data[:whole]
    assert all(len(piece.pcm) % (2 * channels) == 0 for piece in pieces)


async def test_half_a_sample_at_the_end_of_a_stream_is_left_out_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert [bytes(piece.pcm) for piece in await read([b"\1\2\3"])] == [b"\1\2"]
    assert "middle of a sample" in caplog.text


def test_half_a_sample_in_one_piece_is_refused() -> None:
    with pytest.raises(ValueError, match="audio: 3 bytes; a multiple of 2 fits"):
        PieceReader(b"\1\2\3", 8000, 1)
    with pytest.raises(ValueError, match="audio: 6 bytes; a multiple of 4 fits"):
        PieceReader(b"\0" * 6, 8000, 2)


@pytest.mark.parametrize("audio", [None, 5, "text", object()])
def test_what_is_no_audio_is_refused_at_once(audio: Any) -> None:
    with pytest.raises(TypeError, match="audio: .* fits"):
        PieceReader(audio, 8000, 1)


@pytest.mark.parametrize("item", [None, 5, "text"])
async def test_what_is_no_audio_in_a_stream_is_refused_when_it_comes(item: Any) -> None:
    with pytest.raises(TypeError, match="in the stream"):
        await read([b"\0\0", item])


async def test_a_chunk_of_another_format_is_refused() -> None:
    chunk = AudioChunk(b"\0\0")
    chunk.format = "mulaw"
    with pytest.raises(ValueError, match="chunk format: 'mulaw'; only 'pcm_s16le' fits"):
        await read([chunk])


async def test_closing_closes_the_source_whatever_it_is() -> None:
    closed: list[str] = []

    async def asynchronous() -> AsyncIterator[bytes]:
        try:
            yield b"\0\0"
        finally:
            closed.append("async")

    def synchronous() -> Iterable[bytes]:
        try:
            yield b"\0\0"
        finally:
            closed.append("sync")

    for source in (asynchronous(), synchronous(), [b"\0\0"]):
        reader = PieceReader(source, 8000, 1)
        async for _ in reader.pieces():
            break
        await reader.aclose()
    assert closed == ["async", "sync"]
