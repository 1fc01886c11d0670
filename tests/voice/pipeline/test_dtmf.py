"""GoertzelDTMF: the core's detector as a stage, held against spandsp's.

What it accepts and what it does not is tested in the core, bound by bound; here is what the stage
adds, and a second opinion.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from interop.spandsp import digits_in
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import AudioPipelineConfig, Gain, GoertzelDTMF, PipelineEngine
from roomkit.voice.vad.base import VADEvent
from support.keys import KEYS, dbm0, key_tone, keys_tone


def heard(stage: GoertzelDTMF, pcm: bytes, rate: int = 8000, channels: int = 1) -> list[DTMFEvent]:
    size = rate // 50 * 2 * channels
    frames = (pcm[offset : offset + size] for offset in range(0, len(pcm), size))
    found: list[DTMFEvent] = []
    for frame in frames:
        found += stage.process(AudioFrame(frame, rate, channels))
    return found


def keys(events: list[DTMFEvent]) -> str:
    return "".join(event.digit for event in events)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 24000, 44100, 48000])
def test_all_keys_are_found_at_any_rate_and_say_how_long_and_how_sure(rate: int) -> None:
    found = heard(GoertzelDTMF(), keys_tone(KEYS, 60, 60, rate), rate)
    assert keys(found) == KEYS
    assert all(0.9 < event.confidence < 1 for event in found)
    assert [event.duration_ms for event in found] == pytest.approx([60] * 16, abs=14)


def test_a_whole_recording_may_be_given_at_once() -> None:
    recording = KEYS * 5
    found = GoertzelDTMF().process(AudioFrame(keys_tone(recording, 50, 60), 8000))
    assert keys(list(found)) == recording
    wide = np.repeat(np.frombuffer(keys_tone(recording, 50, 60, 48_000), "<i2"), 2).tobytes()
    found = GoertzelDTMF().process(AudioFrame(wide, 48_000, channels=2))
    assert keys(list(found)) == recording


def test_stereo_frames_are_mixed() -> None:
    mono = np.frombuffer(keys_tone("07", 60, 60), "<i2")
    left_only = np.column_stack((mono, np.zeros_like(mono))).tobytes()
    assert keys(heard(GoertzelDTMF(), left_only, channels=2)) == "07"


def test_a_change_of_format_in_the_middle_of_a_call_ends_a_tone_and_loses_none() -> None:
    stage = GoertzelDTMF()
    found = heard(stage, keys_tone("1", 100, 0))
    found += heard(stage, keys_tone("2", 100, 100, 16_000), 16_000)
    assert keys(found) == "12"


def test_each_call_has_a_detector_of_its_own() -> None:
    pattern = GoertzelDTMF()
    one, other = pattern.new_session(), pattern.new_session()
    tone = keys_tone("5", 60, 0)
    assert heard(one, tone) == heard(other, bytes(len(tone))) == []
    assert keys(heard(one, bytes(1600))) == "5"
    assert heard(other, bytes(1600)) == []


def test_among_the_stages_it_hears_what_those_before_it_have_left() -> None:
    told: list[str] = []

    class Sink:
        def digit(self, event: DTMFEvent) -> None:
            told.append(event.digit)

        def frame(self, frame: AudioFrame, at_ms: float) -> None: ...

        def vad(self, event: VADEvent) -> None: ...

        def stage_failed(self, stage: str, error: Exception) -> None:
            raise error

    pcm = keys_tone("159#", 60, 60) + bytes(1600)
    faint = (np.frombuffer(pcm, "<i2") // 100).astype("<i2").tobytes()
    lines: list[list[Any]] = [[Gain(30.0), GoertzelDTMF()], [GoertzelDTMF, Gain(30.0)]]
    for stages in lines:
        engine = PipelineEngine(AudioPipelineConfig(stages=stages), Sink())
        for at in range(0, len(faint), 320):
            engine.process(AudioFrame(faint[at : at + 320], 8000), at / 16)
        assert "".join(told) == "159#", "too faint without the gain"


def test_it_agrees_with_spandsp_on_every_digit_in_noise_off_frequency_and_with_twist() -> None:
    rng = random.Random(4)
    noise = np.random.default_rng(4)
    agreed = 0
    for run in range(40):
        pressed = "".join(rng.choices(KEYS, k=12))
        level = rng.uniform(-22, -3)
        parts = [np.zeros(800)]
        for key in pressed:
            off = (rng.uniform(-0.012, 0.012), rng.uniform(-0.012, 0.012))
            parts += [
                key_tone(key, 60, level=level, twist=rng.uniform(-4, 4), off=off),
                np.zeros(rng.randrange(480, 800)),
            ]
        audio = np.concatenate([*parts, np.zeros(800)])
        audio += noise.normal(0, dbm0(level - 20) / 2**0.5, len(audio))
        pcm = audio.clip(-32768, 32767).astype("<i2").tobytes()
        assert keys(heard(GoertzelDTMF(), pcm)) == pressed, f"run {run}"
        second = digits_in(pcm)
        # It misses one now and then; it adds none.
        rest = iter(pressed)
        assert all(key in rest for key in second), f"run {run}: {second} of {pressed}"
        agreed += len(second)
    assert agreed >= 0.98 * 40 * 12, agreed
