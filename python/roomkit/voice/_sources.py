"""What `say` and `play` accept, as a stream: text as sentences, audio as chunks."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from os import PathLike
from typing import Any

from roomkit._items import Items
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pcm import SampleJoiner, is_buffer, pcm_bytes
from roomkit.voice.tts.wav import read_wav

__all__ = ["WholeChunks", "chunks_of", "close_source", "sentences"]

# A sentence ends at its mark when white space follows: not at the point of "3.5" or "www.x.y".
_END = re.compile(r"[.!?…:;]['\")\]]*\s+|[。！？]|\n+")
# A voice gets something to say by here even if no sentence ends: models can ramble.
_LONGEST = 400


async def sentences(
    pieces: str | AsyncIterable[str] | Iterable[str],
) -> AsyncGenerator[str]:
    """A whole text as it is; of pieces, whole sentences, each as soon as it is complete; none is
    empty. The pieces' source is closed."""
    if isinstance(pieces, str):
        if pieces.strip():
            yield pieces
        return
    items = Items(pieces)
    try:
        async for sentence in _cut(items):
            yield sentence
    finally:
        await close_source(items)


async def _cut(pieces: AsyncIterable[str]) -> AsyncGenerator[str]:
    text = ""
    async for piece in pieces:
        text += piece
        while True:
            end = _END.search(text)
            cut = end.end() if end else 0
            if not cut and len(text) > _LONGEST:
                cut = text.rfind(" ", 0, _LONGEST) + 1 or _LONGEST
            if not cut:
                break
            if sentence := text[:cut].strip():
                yield sentence
            text = text[cut:]
    if sentence := text.strip():
        yield sentence


def chunks_of(session: VoiceSession, audio: Any) -> WholeChunks:
    """The audio of a WAV file, of PCM in the session's format, of a chunk or frame, or of many."""
    if isinstance(audio, (str, PathLike)):
        audio = read_wav(audio)
    elif isinstance(audio, (AudioChunk, AudioFrame)) or is_buffer(audio):
        audio = [audio]
    elif not isinstance(audio, (AsyncIterable, Iterable)):
        raise TypeError(f"audio: {type(audio).__name__}; a WAV path, PCM bytes or chunks fits")
    if isinstance(audio, (list, tuple)):
        # It is here as a whole, so nothing of it is played if something of it does not fit.
        samples = SampleJoiner("audio")
        audio = [chunk for item in audio for chunk in _joined(session, samples, item)]
        audio += [AudioChunk(*rest) for rest in samples.end()]
    return WholeChunks(session, audio)


class WholeChunks:
    """The audio of a source in whole samples, wherever it cut them: each chunk can be played and
    recorded by itself. `aclose` closes the source, whether or not it was read."""

    def __init__(self, session: VoiceSession, source: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._session = session
        self._items = Items(source)
        self._samples = SampleJoiner("audio")
        self._ready: deque[AudioChunk] = deque()
        self._ended = False

    def __aiter__(self) -> WholeChunks:
        return self

    async def __anext__(self) -> AudioChunk:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            try:
                item = await anext(self._items)
            except StopAsyncIteration:
                self._ended = True
                self._ready.extend(AudioChunk(*rest) for rest in self._samples.end())
            else:
                self._ready.extend(_joined(self._session, self._samples, item))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Closes the source. Idempotent."""
        await self._items.aclose()


def _joined(session: VoiceSession, samples: SampleJoiner, item: Any) -> list[AudioChunk]:
    """The whole samples that `item` completes; itself, if it was not cut."""
    chunk = _chunk(session, item)
    whole = samples.join(chunk.data, chunk.sample_rate, chunk.channels)
    if len(whole) == 1 and whole[0][0] == chunk.data:
        return [chunk]
    chunks = [AudioChunk(*joined) for joined in whole]
    if chunk.marks and chunks:
        # What it goes on with is less than a sample: its marks stay where they are.
        chunks[0].marks = chunk.marks
    return chunks


def _chunk(session: VoiceSession, item: Any) -> AudioChunk:
    if isinstance(item, AudioChunk):
        return item
    if isinstance(item, AudioFrame):
        return AudioChunk(item.data, item.sample_rate, item.channels)
    if not is_buffer(item):
        fits = "bytes of 16 bit PCM, an AudioChunk or an AudioFrame fits"
        raise TypeError(f"audio: {type(item).__name__} in the stream; {fits}")
    channels = session.metadata.get("channels", 1)
    pcm = pcm_bytes(item, "audio", channels)
    return AudioChunk(pcm, session.metadata.get("sample_rate", 8000), channels)


async def close_source(source: Any) -> None:
    """Closes a source that can be closed: an async generator holds files, processes, requests."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        # A generator that runs at this moment closes itself when its runner ends it.
        with contextlib.suppress(RuntimeError):
            await aclose()
