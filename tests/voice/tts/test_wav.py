"""Recorded prompts, and files that are none."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from roomkit.errors import SynthesisError
from roomkit.voice.tts import WavPrompts, read_wav


def write(path: Path, *, seconds: float = 1.2, rate: int = 8000, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(range(250)) * 2 * width * 8 + bytes(int(seconds * rate) * width))
    return path


async def test_a_file_comes_in_chunks_that_make_up_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    chunks = [chunk async for chunk in read_wav(path)]
    with wave.open(str(path)) as file:
        assert b"".join(chunk.data for chunk in chunks) == file.readframes(file.getnframes())
    assert [chunk.timestamp_ms for chunk in chunks] == [500.0 * n for n in range(len(chunks))]


async def test_prompts_are_found_by_name_or_by_text(tmp_path: Path) -> None:
    path = write(tmp_path / "welcome.wav")
    whole = await WavPrompts(tmp_path).synthesize("welcome")
    assert whole == await WavPrompts({"Good morning.": path}).synthesize("Good morning.")
    assert whole.is_final


async def test_an_unknown_text_names_the_prompts_there_are(tmp_path: Path) -> None:
    write(tmp_path / "welcome.wav")
    for text in ("goodbye", "../welcome"):
        with pytest.raises(SynthesisError, match="'welcome'"):
            await WavPrompts(tmp_path).synthesize(text)
    with pytest.raises(ValueError, match="prompts:"):
        WavPrompts(tmp_path / "welcome.wav")


async def test_files_that_are_no_16_bit_wav_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "empty.wav").touch()
    write(tmp_path / "byte.wav", width=1)
    for name in ("text", "empty", "byte", "missing"):
        with pytest.raises(SynthesisError, match=f"{name}.wav"):
            await WavPrompts({"x": tmp_path / f"{name}.wav"}).synthesize("x")
