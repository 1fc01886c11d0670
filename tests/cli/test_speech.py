"""The clips that ship with the package."""

from __future__ import annotations

from importlib.resources import files

import pytest

from roomkit.cli import signals, speech


@pytest.mark.parametrize("name", list(speech.WORDS))
def test_each_clip_is_telephone_speech_at_a_natural_level(name: str) -> None:
    clip = speech.clip(name)
    assert (clip.sample_rate, clip.channels) == (8000, 1)
    assert 0.8 < clip.seconds < 13
    assert -26 < signals.level_db(clip.samples) < -14
    assert max(map(abs, clip.samples)) < 32767


def test_the_folder_is_small_and_says_how_it_was_made() -> None:
    folder = files("roomkit") / "data"
    sizes = [len(entry.read_bytes()) for entry in folder.iterdir() if entry.name.endswith(".wav")]
    assert len(sizes) == len(speech.WORDS)
    assert sum(sizes) < 600_000
    readme = (folder / "README.md").read_text()
    for name in speech.WORDS:
        assert f"say {name}.wav" in readme


def test_the_tone_has_soft_edges() -> None:
    tone = speech.tone()
    assert abs(tone.samples[0]) < 50
    assert abs(tone.samples[-1]) < 300
    assert tone.seconds == pytest.approx(0.25)
