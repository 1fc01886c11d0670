"""`roomkit demo`, for real: three processes, UDP between them, and a verdict that can fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from roomkit.cli import speech, wav
from roomkit.cli.demo import PICTURE, conclude
from roomkit.cli.judge import (
    APPLICATION_WAV,
    CALLER_WAV,
    PACKETS,
    RECORD,
    Check,
    Evidence,
    judge,
    pacing,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def demo(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roomkit.cli", "demo", "--out", str(folder), "--plain", *more],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One real call: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("demo") / "call"
    done = demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder, done.stdout


def test_the_caller_heard_what_was_said_and_the_demo_says_so(call: tuple[Path, str]) -> None:
    _, printed = call
    assert "HEARD: all" in printed
    for part in ("greeting heard: ", "menu interrupted by key", "pressed 1#20"):
        assert part in printed
    assert "✗" not in printed


def test_it_leaves_both_recordings_the_packets_and_a_picture(call: tuple[Path, str]) -> None:
    folder, printed = call
    assert {path.name for path in folder.iterdir()} == {
        APPLICATION_WAV,
        CALLER_WAV,
        PACKETS,
        PICTURE,
        RECORD,
    }
    assert str(folder / PICTURE) in printed
    lengths = [wav.read(folder / name).seconds for name in (APPLICATION_WAV, CALLER_WAV)]
    assert 20 < min(lengths) < 60
    assert lengths[0] == pytest.approx(lengths[1], abs=1.0), "they lie side by side"
    root = ElementTree.fromstring((folder / PICTURE).read_text())
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in ("A call that was heard", "stopped by voice", "BYE", "#"):
        assert word in words


def test_the_wire_saw_every_packet_at_its_time(call: tuple[Path, str]) -> None:
    evidence = Evidence.load(call[0])
    for to in ("caller", "application"):
        paced = pacing(evidence, to)
        assert len(paced.points) > 150
        assert paced.missing == []
        assert paced.at(0.5) < 2.0, "half of the packets within 2 ms of their due time"


def test_a_folder_that_holds_a_call_is_not_written_over(call: tuple[Path, str]) -> None:
    done = demo(call[0])
    assert done.returncode == 1
    assert "another folder is expected" in done.stderr


# --- a verdict that can fail -----------------------------------------------------------------


Tamper = Callable[[Path], None]


def in_recording(change: Callable[[Any, Callable[[str], int]], None]) -> Tamper:
    """Changes the caller's recording; `at(clip)` tells where a sentence begins in it."""

    def tamper(folder: Path) -> None:
        evidence = Evidence.load(folder)
        samples = evidence.caller.samples

        def at(clip: str) -> int:
            said = next(e for e in evidence.of("said", "application") if e.data["clip"] == clip)
            from roomkit.cli import judge as module

            match = module._find(module._carried("PCMU", clip), evidence.caller, said.data["began"])
            assert match is not None
            return match.offset

        change(samples, at)
        wav.write(folder / CALLER_WAV, samples, 8000)

    return tamper


def in_record(change: Callable[[dict[str, Any]], None]) -> Tamper:
    def tamper(folder: Path) -> None:
        record = json.loads((folder / RECORD).read_text())
        change(record)
        (folder / RECORD).write_text(json.dumps(record))

    return tamper


def other_words(samples: Any, at: Callable[[str], int]) -> None:
    start, other = at("greeting"), speech.clip("record").samples
    samples[start : start + len(other)] = other


def one_sample(samples: Any, at: Callable[[str], int]) -> None:
    samples[at("record") + 5000] += 64


def unmarked_gap(samples: Any, at: Callable[[str], int]) -> None:
    start = at("message") + 8000
    for n in range(start, start + 160):
        samples[n] = 0


def half_level(samples: Any, at: Callable[[str], int]) -> None:
    start = at("goodbye")
    for n in range(start, start + 12_000):
        samples[n] //= 2


def talks_on(samples: Any, at: Callable[[str], int]) -> None:
    """The story goes on for 100 ms more after it was interrupted."""
    story = speech.clip("story").samples
    start = at("story")
    end = next(n for n in range(start + 8000, len(samples)) if not any(samples[n : n + 800]))
    samples[end : end + 800] = story[end - start : end - start + 800]


def late_silence(record: dict[str, Any]) -> None:
    for entry in record["entries"]:
        if entry["kind"] == "said" and entry["data"].get("cut") == "voice":
            entry["data"]["cut_at"] -= 0.060


def lost_digit(record: dict[str, Any]) -> None:
    keys = [e for e in record["entries"] if e["kind"] == "key" and e["who"] == "application"]
    record["entries"].remove(keys[1])


def no_bye(record: dict[str, Any]) -> None:
    record["entries"] = [e for e in record["entries"] if e["kind"] != "bye"]


def many_concealed(record: dict[str, Any]) -> None:
    """The receiver says that it made up most of the call."""
    record["tapes"]["caller"]["lost"] = [[0, 400_000]]


def refused_packets(record: dict[str, Any]) -> None:
    record["stats"]["application"]["packets_received"] -= 1


def unspoken(record: dict[str, Any]) -> None:
    entries = record["entries"]
    entries.remove(next(e for e in entries if e["kind"] == "said" and e["who"] == "application"))


@pytest.mark.parametrize(
    ("tamper", "complains"),
    [
        (in_recording(other_words), "greeting heard"),
        (in_recording(one_sample), "request to speak heard"),
        (in_recording(unmarked_gap), "the caller's own words, played back, heard"),
        (in_recording(half_level), "goodbye heard"),
        (in_recording(talks_on), "story interrupted by voice"),
        (in_record(late_silence), "story interrupted by voice"),
        (in_record(lost_digit), "keys:"),
        (in_record(no_bye), "end:"),
        (in_record(refused_packets), "packets to the application"),
        (in_record(unspoken), "the call took another way"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_verdict_fails_when_something_else_was_heard(
    call: tuple[Path, str],
    tmp_path: Path,
    tamper: Tamper,
    complains: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "call"
    shutil.copytree(call[0], folder)
    tamper(folder)
    failed = [check for check in judge(Evidence.load(folder)) if not check.passed]
    assert [check.text.startswith(complains) for check in failed] == [True], failed
    assert conclude(folder) == 1
    assert "NOT HEARD: 1 of" in capsys.readouterr().out
    assert "was not heard" in (folder / PICTURE).read_text()


def test_an_excuse_by_the_receiver_does_not_make_unequal_frames_heard(
    call: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "call"
    shutil.copytree(call[0], folder)
    in_record(many_concealed)(folder)
    assert all_passed(judge(Evidence.load(folder))), "equal is equal, whatever was excused"
    in_recording(half_level)(folder)
    failed = [check.text for check in judge(Evidence.load(folder)) if not check.passed]
    assert failed
    assert all("goodbye" in text for text in failed)


def all_passed(checks: list[Check]) -> bool:
    return all(check.passed for check in checks)


# --- other calls -----------------------------------------------------------------------------


def test_a_call_that_loses_a_third_of_its_packets_was_not_heard(tmp_path: Path) -> None:
    done = demo(tmp_path / "call", "--loss", "33")
    assert done.returncode == 1, done.stdout
    assert "NOT HEARD" in done.stdout or "broke off" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_all_three_processes_and_judges_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "roomkit.cli", "demo", "--out", str(tmp_path / "c"), "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while "says" not in (line := process.stdout.readline()):
        assert line, "it ended before anything was said"
    # As a terminal does it: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""
    assert "nothing was judged" in out
    deadline = time.monotonic() + 5
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)  # sleep: nobody is told when a grandchild ends
