"""WavFile: written anywhere, playable at any time."""

from __future__ import annotations

import stat
import wave
from array import array
from pathlib import Path

import numpy as np
import pytest

from roomkit.voice.pipeline.wavfile import WavFile


def read(path: Path) -> list[list[int]]:
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert file.getnframes() * file.getnchannels() == len(data)
        return data.reshape(-1, file.getnchannels()).T.tolist()


def test_channels_are_written_apart_in_any_order_and_can_be_played_after_each(
    tmp_path: Path,
) -> None:
    file = WavFile(path := tmp_path / "a.wav", 8000, 2)
    assert read(path) == [[], []]
    file.put(3, array("h", [7, 8]), 1)
    assert read(path) == [[0, 0, 0, 0, 0], [0, 0, 0, 7, 8]]
    file.put(0, array("h", [1, 2, 3]), 0)
    assert read(path) == [[1, 2, 3, 0, 0], [0, 0, 0, 7, 8]]
    file.rest()
    file.put(4, array("h", [-1, -2, -32768]), 0)
    file.close()
    file.close()
    assert read(path) == [[1, 2, 3, 0, -1, -2, -32768], [0, 0, 0, 7, 8, 0, 0]]


def test_what_is_added_is_held_within_sixteen_bits(tmp_path: Path) -> None:
    file = WavFile(path := tmp_path / "a.wav", 8000, 1)
    file.put(0, array("h", [32767, -32768, 5]), None)
    file.put(0, array("h", [1, -1, 6, 7]), None)
    file.close()
    assert read(path) == [[32767, -32768, 11, 7]]


def test_it_is_new_its_owners_and_gone_if_it_is_not_to_be_kept(tmp_path: Path) -> None:
    file = WavFile(path := tmp_path / "a.wav", 8000, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        WavFile(path, 8000, 1)
    (tmp_path / "link.wav").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        WavFile(tmp_path / "link.wav", 8000, 1)
    file.close(keep=False)
    assert not path.exists()
