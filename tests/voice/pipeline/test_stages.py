"""Gain and NoiseGate: how loud the caller is, without a click and without clipping."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import Gain, NoiseGate, Stage
from roomkit.voice.vad.energy import level_dbfs


def sine(dbfs: float, ms: float, rate: int = 8000, channels: int = 1) -> np.ndarray:
    """A tone of that mean power."""
    n = np.arange(int(rate * ms / 1000))
    wave = 32768 * 10 ** (dbfs / 20) * math.sqrt(2) * np.sin(2 * np.pi * 400 * n / rate)
    return np.repeat(wave.round().clip(-32768, 32767).astype("<i2"), channels)


def passed(stage: Stage, audio: np.ndarray, rate: int = 8000, channels: int = 1) -> np.ndarray:
    size = rate // 50 * channels
    made = []
    for n in range(0, len(audio), size):
        out = stage.process(AudioFrame(audio[n : n + size].tobytes(), rate, channels))
        assert out is not None
        made.append(np.frombuffer(out.data, "<i2"))
    return np.concatenate(made)


def level(audio: np.ndarray) -> float:
    return level_dbfs(AudioFrame(audio.astype("<i2").tobytes(), 8000))


@pytest.mark.parametrize("db", [-60, -6, 0, 6, 20])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2)])
def test_a_gain_is_that_gain(db: float, rate: int, channels: int) -> None:
    audio = sine(-30, 200, rate, channels)
    out = passed(Gain(db), audio, rate, channels)
    assert np.abs(out - audio * 10 ** (db / 20)).max() <= 1


def test_what_would_clip_is_turned_down_whole_and_keeps_its_shape() -> None:
    audio = np.concatenate([sine(-40, 200), sine(-6, 200)])
    out = passed(Gain(20), audio)
    assert np.abs(out.astype(int)).max() < 32767 * 10 ** (-0.9 / 20)
    loud, was = out[-1600:].astype(float), audio[-1600:].astype(float)
    assert np.corrcoef(loud, was)[0, 1] > 0.9999


@pytest.mark.parametrize("dbfs", [-40, -30, -20, -10])
def test_who_is_too_quiet_or_too_loud_comes_to_the_target(dbfs: float) -> None:
    out = passed(Gain(target_dbfs=-20), sine(dbfs, 10_000))
    assert level(out[-1600:]) == pytest.approx(-20, abs=0.5)


def test_a_pause_does_not_turn_the_room_up() -> None:
    stage = Gain(target_dbfs=-20)
    passed(stage, sine(-30, 10_000))
    quiet = passed(stage, sine(-60, 5000))
    assert level(quiet[-1600:]) == pytest.approx(-50, abs=0.5)


def test_the_gain_has_a_limit() -> None:
    out = passed(Gain(target_dbfs=-10, most_db=6), sine(-40, 10_000))
    assert level(out[-1600:]) == pytest.approx(-34, abs=0.5)


def test_a_gate_takes_the_room_out_of_pauses_and_nothing_out_of_speech() -> None:
    audio = np.concatenate([sine(-60, 200), sine(-20, 200), sine(-60, 1000), sine(-20, 200)])
    out = passed(NoiseGate(-50, reduction_db=30, hold_ms=200), audio)
    assert level(out[:1600]) < -85
    # The first two milliseconds are the ramp.
    assert (out[1616:3200] == audio[1616:3200]).all()
    assert (out[3200:4800] == audio[3200:4800]).all(), "held for 200 ms"
    assert level(out[-3200:-1600]) < -85
    assert (out[-1584:] == audio[-1584:]).all()


@pytest.mark.parametrize("stage", [Gain(target_dbfs=-20), NoiseGate(-40)])
def test_a_gain_goes_over_into_another_without_a_click(stage: Stage) -> None:
    rng = np.random.default_rng(1)
    audio = np.concatenate([sine(level, 40) for level in rng.uniform(-55, -25, 100)])
    out = passed(stage, audio)
    clear = np.abs(audio) > 300
    gain = np.where(clear, out / np.where(clear, audio, 1), np.nan)
    steps = np.abs(np.diff(gain))
    # Two milliseconds are 16 samples; rounding makes up to 1 in 300 at either end.
    assert np.nanmax(steps) < np.nanmax(gain) / 16 + 0.01
    assert np.nanmax(gain) > 1.5 * np.nanmin(gain), "it changed"


def test_odd_frames_do_no_harm() -> None:
    for stage in (Gain(10), Gain(target_dbfs=-20), NoiseGate()):
        for data in (b"", b"\0\0", b"\0\x80" * 160, b"\xff\x7f" * 3):
            out = stage.process(AudioFrame(data, 8000))
            assert out is not None
            assert len(out.data) == len(data)


def test_a_call_begins_afresh() -> None:
    pattern = Gain(target_dbfs=-20)
    passed(pattern, sine(-40, 10_000))
    assert level(passed(pattern.new_session(), sine(-40, 20))) == pytest.approx(-40, abs=0.5)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"db": 1, "target_dbfs": -20}, {"db": 61}, {"db": True}, {"target_dbfs": -5},
     {"target_dbfs": -20, "most_db": 41}],
)  # fmt: skip
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="db"):
        Gain(**wrong)
    for name, value in (("threshold_dbfs", -9), ("reduction_db", 97), ("hold_ms", "x")):
        with pytest.raises(ValueError, match=name):
            NoiseGate(**{name: value})  # type: ignore[arg-type]
