"""Voices that are programs on this machine: `espeak-ng` and `flite`."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

from roomkit.errors import ProviderUnavailableError, SynthesisError
from roomkit.voice.base import AudioChunk
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.tts.wav import read_wav

__all__ = ["EspeakTTS", "FliteTTS"]

# A tenth of a second: the first audio comes soon, and a sentence is not hundreds of chunks.
_CHUNK_SECONDS = 0.1


class EspeakTTS(TTSProvider):
    """The `espeak-ng` program: robotic, in a hundred languages, streams while it speaks.

    `voice`: as listed by `espeak-ng --voices`, `"en"` by default. `words_per_minute`: 80 to 450.
    Raises `ProviderUnavailableError` when the program is not installed, `ValueError` for a speed
    out of range.
    """

    def __init__(self, *, voice: str = "en", words_per_minute: int = 165) -> None:
        if not 80 <= words_per_minute <= 450:
            raise ValueError(f"words_per_minute: {words_per_minute!r}; 80 to 450 fits")
        self._program = _find("espeak-ng")
        self._voice = voice
        self._speed = words_per_minute

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk]:
        # The text goes in by stdin: on the command line everyone on the machine could read it.
        arguments = ["-v", voice or self._voice, "-s", str(self._speed), "--stdin", "--stdout"]
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(text.encode())
            process.stdin.close()
            rate, channels = await _wav_header(process.stdout, process.stderr)
            block = int(rate * _CHUNK_SECONDS) * 2 * channels
            while data := await _read_up_to(process.stdout, block):
                yield AudioChunk(data[: len(data) // (2 * channels) * 2 * channels], rate, channels)
            if await process.wait():
                raise SynthesisError(await _complaint("espeak-ng", process.stderr))
        finally:
            await _end(process)


class FliteTTS(TTSProvider):
    """The `flite` program: small English voices, made a text at a time within milliseconds.

    `voice`: as listed by `flite -lv`, such as `"slt"`; None is the program's own choice.
    Raises `ProviderUnavailableError` when the program is not installed.
    """

    def __init__(self, *, voice: str | None = None) -> None:
        self._program = _find("flite")
        self._voice = voice

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk]:
        # flite measures its input file and seeks in its output: pipes will not do.
        with tempfile.TemporaryDirectory(prefix="roomkit-") as directory:
            source, target = Path(directory, "text"), Path(directory, "speech.wav")
            await asyncio.to_thread(source.write_text, text, encoding="utf-8")
            chosen = voice or self._voice
            process = await asyncio.create_subprocess_exec(
                self._program,
                *(["-voice", chosen] if chosen else []),
                *["-f", str(source), "-o", str(target)],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                assert process.stderr is not None
                if await process.wait():
                    raise SynthesisError(await _complaint("flite", process.stderr))
            finally:
                await _end(process)
            async for chunk in read_wav(target):
                yield chunk


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise ProviderUnavailableError(
            f"the program {program!r} is not installed; on Debian: apt install {program}"
        )
    return found


async def _wav_header(
    stream: asyncio.StreamReader, errors: asyncio.StreamReader
) -> tuple[int, int]:
    """Reads up to the first sample of a WAV stream; its rate and channels.

    Written here because `wave` wants a file whose sizes are known; a program that writes to a
    pipe cannot know them.
    """
    try:
        riff = await stream.readexactly(12)
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            raise SynthesisError("espeak-ng: its output is not WAV")
        rate = channels = 0
        while True:
            kind, size = await stream.readexactly(4), await stream.readexactly(4)
            if kind == b"data":
                break
            body = await stream.readexactly(min(int.from_bytes(size, "little"), 1024))
            if kind == b"fmt ":
                channels = int.from_bytes(body[2:4], "little")
                rate = int.from_bytes(body[4:8], "little")
    except asyncio.IncompleteReadError:
        raise SynthesisError(await _complaint("espeak-ng", errors)) from None
    if not rate or not channels:
        raise SynthesisError("espeak-ng: its WAV does not say what it holds")
    return rate, channels


async def _read_up_to(stream: asyncio.StreamReader, size: int) -> bytes:
    """`size` bytes, or what is left at the end."""
    try:
        return await stream.readexactly(size)
    except asyncio.IncompleteReadError as end:
        return end.partial


async def _complaint(program: str, errors: asyncio.StreamReader) -> str:
    text = (await errors.read(500)).decode(errors="replace").strip()
    return f"{program} made no audio: {text or 'it did not say why'}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """The process is gone when this returns, also when the listener interrupted."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    # Reading out what is left lets the transport close its pipes.
    await process.communicate()
