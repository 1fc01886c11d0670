"""What `say` and `play` accept, as a stream: text as sentences, audio as chunks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from os import PathLike
from typing import Any

from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.tts.wav import read_wav

__all__ = ["chunks_of", "close_source", "sentences"]

# A sentence ends at its mark when white space follows: not at the point of "3.5" or "www.x.y".
_END = re.compile(r"[.!?…:;]['\")\]]*\s+|[。！？]|\n+")
# A voice gets something to say by here even if no sentence ends: models can ramble.
_LONGEST = 400


async def sentences(pieces: str | AsyncIterable[str]) -> AsyncGenerator[str]:
    """A whole text as it is; of pieces, whole sentences, each as soon as it is complete; none is
    empty."""
    if isinstance(pieces, str):
        if pieces.strip():
            yield pieces
        return
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


async def chunks_of(session: VoiceSession, audio: Any) -> AsyncGenerator[AudioChunk]:
    """The audio of a WAV file, of PCM in the session's format, of a chunk or of many."""
    if isinstance(audio, (str, PathLike)):
        audio = read_wav(audio)
    elif isinstance(audio, (bytes, bytearray, memoryview)):
        rate = session.metadata.get("sample_rate", 8000)
        audio = [AudioChunk(bytes(audio), rate, session.metadata.get("channels", 1))]
    elif isinstance(audio, AudioChunk):
        audio = [audio]
    if hasattr(audio, "__aiter__"):
        try:
            async for chunk in audio:
                yield chunk
        finally:
            await close_source(audio)
    elif isinstance(audio, Iterable):
        for chunk in audio:
            yield chunk
    else:
        raise TypeError(f"audio: {type(audio).__name__}; a WAV path, PCM bytes or chunks fits")


async def close_source(source: Any) -> None:
    """Closes a source that can be closed: an async generator holds files, processes, requests."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        # A generator that runs at this moment closes itself when its runner ends it.
        with contextlib.suppress(RuntimeError):
            await aclose()
