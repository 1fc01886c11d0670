"""Resampler: as many samples as the time has, the sound that was there, and none that was not."""

from __future__ import annotations

import random
from array import array
from typing import Any

import numpy as np
import pytest

from roomkit.voice.pipeline.resample import Resampler

RATES = (8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# To the rates that calls have.
PAIRS = [(a, b) for a in RATES for b in (8000, 16_000, 48_000) if a != b]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def converted(audio: Floats, from_hz: int, to_hz: int, pieces: int = 0) -> Floats:
    samples = array("h", audio.round().astype(np.int16).tobytes())
    resampler, out = Resampler(from_hz, to_hz), array("h")
    cuts = random.Random(pieces)
    while samples:
        size = cuts.randrange(1, 2000) if pieces else len(samples)
        out += resampler.process(samples[:size])
        samples = samples[size:]
    return np.array(out + resampler.flush(), float)


def tone(hz: float, rate: int, ms: int = 400) -> Floats:
    return 20_000 * np.sin(2 * np.pi * hz * np.arange(rate * ms // 1000) / rate)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_tone_is_that_tone_in_phase_and_one_above_the_band_is_gone(
    from_hz: int, to_hz: int
) -> None:
    lower = min(from_hz, to_hz)
    for hz in (0.05 * lower, 0.2 * lower, 0.4 * lower):
        out, ideal = converted(tone(hz, from_hz), from_hz, to_hz), tone(hz, to_hz)
        inside = slice(to_hz // 100, len(ideal) - to_hz // 100)
        off = np.std((out - ideal[: len(out)])[inside]) / np.std(ideal)
        assert 20 * np.log10(off) < -50
    if from_hz > 1.12 * to_hz:
        out = converted(tone(0.56 * to_hz, from_hz), from_hz, to_hz)
        inside = slice(to_hz // 100, -to_hz // 100)
        assert 20 * np.log10(np.std(out[inside]) / 14_142) < -60


@pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (8000, 8001), (12_345, 8000)])
def test_it_has_as_many_samples_as_the_time_has_however_it_is_cut(from_hz: int, to_hz: int) -> None:
    noise = np.random.default_rng(1).normal(0, 8000, 3001).clip(-32768, 32767)
    whole = converted(noise, from_hz, to_hz)
    assert len(whole) == -(-3001 * to_hz // from_hz)
    assert (converted(noise, from_hz, to_hz, pieces=1) == whole).all()
    assert len(converted(noise[:0], from_hz, to_hz)) == 0
    assert len(converted(noise[:1], from_hz, to_hz)) == -(-to_hz // from_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_what_is_on_the_rails_stays_there(from_hz: int, to_hz: int) -> None:
    """A square wave overshoots in every filter: nothing turns around at the end of the range."""
    square = np.where(np.arange(from_hz // 4) // (from_hz // 100) % 2, 32_767.0, -32_768.0)
    out = converted(square, from_hz, to_hz)
    level = out[np.arange(len(out)) % (to_hz // 100) == to_hz // 200]
    assert {max(out), min(out)} == {32_767.0, -32_768.0}
    assert all(abs(level) > 31_000)
    assert all(np.sign(level[:-1]) == -np.sign(level[1:]))


def test_rates_that_fit_no_audio_are_refused() -> None:
    for from_hz, to_hz in [(7999, 8000), (8000, 192_001), (-1, 8000), (0, 8000)]:
        with pytest.raises(ValueError, match=f"^from_hz {from_hz}, to_hz {to_hz}"):
            Resampler(from_hz, to_hz)
