"""A tape keeps sound, what of it is real, and when it was heard."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from roomkit.cli import wav
from roomkit.cli.tape import Tape
from roomkit.voice.frame import AudioFrame

_KINDS = ["received", "concealed", "concealed", "received", "concealed", "silence"]


def frame(value: int, at_ms: float | None, kind: str = "received") -> AudioFrame:
    data = array("h", [value] * 160).tobytes()
    metadata = {} if kind == "received" else {"kind": kind}
    return AudioFrame(data, 8000, 1, timestamp_ms=at_ms, metadata=metadata)


def test_it_writes_what_it_hears_and_marks_what_was_concealed(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "t.wav", keep=True)
    for n, kind in enumerate(_KINDS):
        tape.add(frame(n * 100, n * 20.0, kind))
    tape.close()
    assert tape.lost == [(160, 480)]
    assert tape.faded == [(640, 800)], "before a pause nobody can know that nothing more will come"
    assert tape.seconds == pytest.approx(0.12)
    assert wav.read(tmp_path / "t.wav").samples == tape.samples
    assert tape.facts()["sample_rate"] == 8000


def test_what_is_concealed_before_the_end_was_not_lost() -> None:
    tape = Tape()
    for n, kind in enumerate(["received", "concealed", "received", "concealed", "concealed"]):
        tape.add(frame(100, n * 20.0, kind))
    tape.close()
    tape.close()
    assert tape.lost == [(160, 320)]
    assert tape.faded == [(480, 800)]
    assert tape.facts()["lost"] == tape.lost


def test_frames_that_were_dropped_leave_silence_that_is_marked_lost(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "t.wav", keep=True)
    tape.add(frame(100, 0.0))
    tape.add(frame(200, 60.0))
    tape.close()
    assert tape.lost == [(160, 480)]
    assert tape.samples == array("h", [100] * 160 + [0] * 320 + [200] * 160)
    assert wav.read(tmp_path / "t.wav").samples == tape.samples


def test_its_beginning_is_that_of_the_frame_with_the_least_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("roomkit.cli.tape.time.time", lambda: now)
    tape = Tape()
    for n, late in enumerate([0.005, 0.001, 0.300, 0.002]):
        now = 1000.0 + n * 0.020 + late
        tape.add(frame(0, n * 20.0))
    assert tape.start == pytest.approx(1000.001)


def test_a_tape_with_an_origin_begins_there_with_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("roomkit.cli.tape.time.time", lambda: 1000.5)
    tape = Tape(tmp_path / "t.wav", origin=1000.0)
    tape.add(frame(7, 0.0))
    tape.add(frame(8, 40.0))
    tape.close()
    assert wav.read(tmp_path / "t.wav").samples[3998:4002] == array("h", [0, 0, 7, 7])
    assert tape.lost == [(4160, 4320)]
    assert tape.seconds == pytest.approx(0.56)


def test_levels_are_those_of_the_latest_frames() -> None:
    tape = Tape()
    tape.add(frame(0, 0.0))
    tape.add(frame(32767, 20.0))
    assert list(tape.levels) == [-96.0, pytest.approx(0.0, abs=0.01)]
    assert tape.level_db == tape.levels[-1]


def test_nothing_heard_is_no_file(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "t.wav")
    tape.close()
    assert not (tmp_path / "t.wav").exists()
    assert tape.facts()["start"] is None
