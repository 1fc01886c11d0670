"""Resampler: as many samples as the time has, the sound that was there, and none that was not."""

from __future__ import annotations

import math
import random
from array import array
from typing import Any

import numpy as np
import pytest

from roomkit.voice.pipeline.resample import _ONE, Resampler, _filter

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
def test_no_sum_leaves_its_field_whatever_comes(from_hz: int, to_hz: int) -> None:
    """The same filter, one product at a time, on the rails in any order and in the worst."""
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    half, reach, phases = _filter(up, down)
    rows = []  # of each phase: its coefficients by their place in the input
    for kernels in phases:
        row = np.zeros(down * (reach + 1))
        for first, kernel in kernels:
            row[first::down] = fields(kernel, reach + 1)[::-1]
        assert row.sum() == _ONE
        assert row[row > 0].sum() < 2 * _ONE
        assert row[row < 0].sum() > -_ONE
        rows.append(row)
    rng = random.Random(3)
    worst = np.concatenate([np.where(row >= 0, 1, -1) for row in rng.sample(rows, min(up, 5))])
    rails = np.array(rng.choices((-1, 1), k=600))
    audio = np.concatenate([np.ones(400), worst, -np.ones(400), -worst, rails]) * 32767.5 - 0.5
    before = np.zeros(half)
    padded = np.concatenate([before, audio, np.zeros(2 * half + 2 * down + len(rows[0]))])
    count = -(-len(audio) * up // down)
    exact = np.array(
        [rows[n % up] @ padded[n // up * down :][: len(rows[0])] for n in range(count)]
    )
    ideal = np.floor(exact / _ONE + 0.5).clip(-32768, 32767)
    assert (converted(audio, from_hz, to_hz) == ideal).all()


def fields(kernel: int, count: int) -> list[int]:
    """The signed coefficients in a kernel."""
    found = []
    for _ in range(count):
        low = kernel & 0xFFFF_FFFF
        low -= (low >> 31) << 32
        found.append(low)
        kernel = (kernel - low) >> 32
    assert kernel == 0
    return found
