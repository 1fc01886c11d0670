"""Recorded prompts: WAV files as audio to play, and as a voice."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, Mapping
from os import PathLike
from pathlib import Path

from roomkit.errors import SynthesisError
from roomkit.voice.base import AudioChunk
from roomkit.voice.tts.base import TTSProvider

__all__ = ["WavPrompts", "read_wav"]

# Long enough that a file costs few reads, short enough that a long recording stays on the disk.
_CHUNK_SECONDS = 0.5


async def read_wav(path: str | PathLike[str]) -> AsyncGenerator[AudioChunk]:
    """The audio of a WAV file (16 bit PCM, any rate and channels) in chunks of half a second.

    The file is read off the event loop. Raises `SynthesisError` naming the file when it cannot be
    read or is something else.
    """
    file = await asyncio.to_thread(_open, Path(path))
    try:
        rate, channels = file.getframerate(), file.getnchannels()
        frames = max(1, int(rate * _CHUNK_SECONDS))
        position_ms = 0.0
        while data := await asyncio.to_thread(file.readframes, frames):
            chunk = AudioChunk(data, rate, channels, timestamp_ms=position_ms)
            position_ms += chunk.duration_ms
            yield chunk
    finally:
        file.close()


class WavPrompts(TTSProvider):
    """Prompts from a directory, or from a mapping of texts to files.

    ::

        WavPrompts("prompts")  # say(session, "welcome") plays welcome.wav
        WavPrompts({"Good morning.": "gm.wav"})  # says exactly these texts

    Raises `ValueError` if the directory is none. An unknown text is a `SynthesisError` when it is
    said; a text cannot reach outside the directory.
    """

    def __init__(self, prompts: str | PathLike[str] | Mapping[str, str | PathLike[str]]) -> None:
        if isinstance(prompts, Mapping):
            self._files = {text: Path(path) for text, path in prompts.items()}
            return
        directory = Path(prompts)
        if not directory.is_dir():
            raise ValueError(f"prompts: {str(directory)!r} is not a directory")
        self._files = {path.stem: path for path in sorted(directory.glob("*.wav"))}

    @property
    def whole_texts(self) -> bool:
        return True

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk]:
        path = self._files.get(text)
        if path is None:
            names = ", ".join(map(repr, list(self._files)[:10])) or "none"
            raise SynthesisError(f"no recorded prompt for this text; the prompts are: {names}")
        async for chunk in read_wav(path):
            yield chunk


def _open(path: Path) -> wave.Wave_read:
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115 (closed by read_wav)
    except (OSError, EOFError, wave.Error) as error:
        raise SynthesisError(f"{path}: cannot be read as WAV: {error}") from error
    if file.getsampwidth() != 2:
        bits = 8 * file.getsampwidth()
        file.close()
        raise SynthesisError(
            f"{path}: {bits} bit samples; 16 bit PCM fits"
            f" (`ffmpeg -i {path.name} -c:a pcm_s16le out.wav` makes it)"
        )
    return file
