"""What `play` accepts, as a stream of chunks."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterable, Iterable
from os import PathLike
from typing import Any

from roomkit._items import Items
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pcm import SampleJoiner, is_buffer, pcm_bytes
from roomkit.voice.tts.wav import read_wav

__all__ = ["WholeChunks", "chunks_of", "close_source"]


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
