"""Words as sound: read from the samples, and lost with them."""

from __future__ import annotations

import random
import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkit.cli import g711
from roomkit.testing import Ear, speech, words_in
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.base import VADEventType
from roomkit.voice.vad.energy import EnergyVAD

TEXT = "Hello there, how much is € 3.50 for two Donaudampfschifffahrtsgesellschaften please?"


def texts(audio: AudioChunk) -> str:
    return " ".join(word.text for word in words_in(audio))


@given(
    st.text(max_size=40),
    st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    st.sampled_from([60.0, 200.0, 300.0, 333.0]),
)
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_from_its_sound(text: str, rate: int, per_word_ms: float) -> None:
    said = speech(text, sample_rate=rate, per_word_ms=per_word_ms)
    assert texts(said) == " ".join(text.split())
    for word, mark in zip(words_in(said), said.marks, strict=True):
        assert mark.text == word.text
        assert word.begin_ms == pytest.approx(mark.offset_ms, abs=0.2)
        assert word.end_ms == pytest.approx(mark.end_ms, abs=0.3)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_word_takes_as_long_as_it_is_to_take(rate: int) -> None:
    said = speech("a word or two and Supercalifragilistic", sample_rate=rate, per_word_ms=300)
    assert [mark.offset_ms for mark in said.marks] == [300 * n for n in range(6)]
    assert speech("a", per_word_ms=500).duration_ms == 500


@pytest.mark.parametrize("size", [2, 6, 160, 320, 4000])
def test_it_does_not_matter_how_the_audio_is_cut(size: int) -> None:
    said = speech(TEXT)
    ear = Ear()
    found = [
        word
        for at in range(0, len(said.data), size)
        for word in ear.hear(said.data[at : at + size])
    ]
    assert [*found, *ear.end()] == words_in(said)


@pytest.mark.parametrize("cut_ms", range(8, 250, 11))
def test_whoever_misses_a_part_of_a_word_has_not_heard_it(cut_ms: int) -> None:
    said = speech("one two three")
    front = AudioChunk(said.data[cut_ms * 16 :], 8000)
    assert texts(front) == "… two three"
    back = AudioChunk(said.data[: (600 + cut_ms) * 16], 8000)
    heard = words_in(back)
    assert " ".join(word.text for word in heard) == "one two …"
    assert [word.whole for word in heard] == [True, True, False]


@pytest.mark.parametrize("at_ms", range(300, 560, 13))
def test_a_packet_missing_in_the_middle_is_a_word_missing(at_ms: int) -> None:
    said = bytearray(speech("one two three").data)
    said[at_ms * 16 : (at_ms + 20) * 16] = bytes(320)
    words = texts(AudioChunk(bytes(said), 8000)).split()
    assert words[0] == "one"
    assert words[-1] == "three"
    assert "two" not in words


@given(at=st.integers(0, 7200), silence=st.integers(40, 8000))
@settings(max_examples=200, deadline=None)
def test_a_pause_anywhere_loses_nothing(at: int, silence: int) -> None:
    """As when a playback is held and goes on with the next sample."""
    said = speech("one two three").data
    paused = said[: 2 * at] + bytes(2 * silence) + said[2 * at :]
    assert texts(AudioChunk(paused, 8000)) == "one two three"


def test_levels_g711_and_noise_do_not_matter() -> None:
    for dbfs in (-30.0, -9.0):
        assert texts(speech(TEXT, dbfs=dbfs)) == TEXT
    said = speech(TEXT).data
    for law in ("PCMU", "PCMA"):
        assert texts(AudioChunk(g711.through(law, array("h", said)).tobytes(), 8000)) == TEXT
    rng, sigma = random.Random(1), 32768 * 10 ** (-40 / 20)
    samples = struct.unpack(f"<{len(said) // 2}h", said)
    noisy = struct.pack(f"<{len(samples)}h", *(round(s + rng.gauss(0, sigma)) for s in samples))
    assert texts(AudioChunk(noisy, 8000)) == TEXT


def test_what_is_no_speech_is_no_words() -> None:
    rng = random.Random(2)
    assert words_in(AudioChunk(bytes(16000), 8000)) == []
    assert texts(AudioChunk(rng.randbytes(160_000), 8000)).strip("… ") == ""


def test_it_is_speech_to_a_detector_by_level() -> None:
    vad, events = EnergyVAD(), []
    audio = bytes(16000) + speech("two tables please", per_word_ms=400).data + bytes(16000)
    for at in range(0, len(audio), 320):
        event = vad.process(AudioFrame(audio[at : at + 320], 8000, timestamp_ms=at / 16))
        if event is not None:
            events.append(event)
    assert [event.type for event in events] == [VADEventType.SPEECH_START, VADEventType.SPEECH_END]
    assert events[0].timestamp_ms == 1000


@pytest.mark.parametrize(("name", "value"), [("per_word_ms", 59), ("dbfs", 0), ("dbfs", -31)])
def test_what_does_not_fit_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        speech("word", **{name: value})  # type: ignore[arg-type]
