"""Voices that are programs: run for real where they are installed."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from interop.peers import require
from roomkit.errors import ProviderUnavailableError, SynthesisError
from roomkit.voice.frame import AudioFrame
from roomkit.voice.tts import EspeakTTS, FliteTTS, TTSProvider
from roomkit.voice.vad.energy import level_dbfs

VOICES = [(EspeakTTS, "espeak-ng"), (FliteTTS, "flite")]


@pytest.mark.parametrize(("kind", "package"), VOICES)
async def test_a_longer_text_is_longer_speech(kind: type[TTSProvider], package: str) -> None:
    require(package, package)
    voice = kind()
    short, long = [await voice.synthesize(text) for text in ("One.", "One, two, three, four.")]
    assert 200 < short.duration_ms < long.duration_ms < 10_000
    frame = AudioFrame(long.data, long.sample_rate, long.channels)
    assert -40 < level_dbfs(frame) < -6


@pytest.mark.parametrize(("kind", "package"), VOICES)
async def test_stopping_early_leaves_no_process_behind(
    kind: type[TTSProvider], package: str
) -> None:
    require(package, package)
    stream = kind().synthesize_stream("This is a long text. " * 100)
    async with aclosing(stream) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            assert chunk.data
            break


async def test_a_voice_that_does_not_exist_is_an_error_that_quotes_the_program() -> None:
    require("espeak-ng", "espeak-ng")
    with pytest.raises(SynthesisError, match="espeak-ng"):
        await EspeakTTS(voice="klingonish").synthesize("hello")


@pytest.mark.parametrize(("kind", "package"), VOICES)
def test_a_missing_program_names_the_package(
    kind: type[TTSProvider], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ProviderUnavailableError, match=f"apt install {package}"):
        kind()


def test_a_speed_out_of_range_is_named() -> None:
    require("espeak-ng", "espeak-ng")
    with pytest.raises(ValueError, match="words_per_minute: 79"):
        EspeakTTS(words_per_minute=79)
