"""WavRecorder: what was heard and played, where the media clock says, readable whatever happens."""

from __future__ import annotations

import gc
import random
import stat
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import WavRecorder
from roomkit.voice.pipeline.writer import WRITER
from support.recorded import expected, frame, read, session, until, written

# --- where things stand ---------------------------------------------------------------------------


async def test_one_file_the_caller_left_what_was_played_right_from_the_opening_on(
    tmp_path: Path,
) -> None:
    call = session()
    recording = WavRecorder(tmp_path).open(call)
    recording.inbound(frame(1, 40))
    recording.inbound(frame(2, 60.0001))
    recording.played(frame(5, 70))
    recording.inbound(frame(3, 100))
    (path,) = await recording.close()
    assert path == tmp_path / "s.wav"
    assert call.metadata["recordings"] == [str(path)]
    left, right = read(path).T
    assert list(left) == expected(960, (1, 40, 60), (2, 60, 80), (3, 100, 120))
    assert list(right) == expected(960, (5, 70, 90))


@pytest.mark.parametrize("channels", ["stereo", "mixed", "split"])
async def test_both_sides_mixed_or_in_a_file_each(channels: Any, tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path, channels=channels).open(session())
    for n in range(100):
        recording.inbound(frame(100, 20.0 * n))
        if 30 <= n < 60:
            recording.played(frame(32_700, 20.0 * n))
    paths = await recording.close()
    left, right = expected(16_000, (100, 0, 2000)), expected(9600, (32_700, 600, 1200))
    if channels == "split":
        assert [path.name for path in paths] == ["s-in.wav", "s-out.wav"]
        assert [list(read(path)[:, 0]) for path in paths] == [left, right]
    elif channels == "mixed":
        mixed = expected(16_000, (100, 0, 600), (32_767, 600, 1200), (100, 1200, 2000))
        assert list(read(paths[0])[:, 0]) == mixed
    else:
        assert [list(side) for side in read(paths[0]).T] == [left, right + [0] * 6400]


async def test_a_pause_inside_an_answer_is_as_long_as_the_caller_heard_it(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(250):
        recording.inbound(frame(1, 20.0 * n))
        if n < 25 or n >= 175:
            recording.played(frame(5, 20.0 * n))
    (path,) = await recording.close()
    left, right = read(path).T
    assert list(left) == expected(40_000, (1, 0, 5000))
    assert list(right) == expected(40_000, (5, 0, 500), (5, 3500, 5000))


async def test_a_program_that_stalls_gets_a_burst_and_nothing_moves(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(100):
        recording.inbound(frame(1, 3000 + 20.0 * n))
    # Two seconds and more of one side are on disk when the other side's burst begins.
    await written()
    for n in range(100):
        recording.played(frame(5, 3000 + 20.0 * n))
    for n in range(100, 150):
        recording.inbound(frame(1, 3000 + 20.0 * n))
        recording.played(frame(5, 3000 + 20.0 * n))
    (path,) = await recording.close()
    left, right = read(path).T
    assert list(left) == expected(48_000, (1, 3000, 6000))
    assert list(right) == expected(48_000, (5, 3000, 6000))


async def test_what_comes_twice_is_taken_once(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    recording.inbound(frame(1, 0))
    recording.inbound(frame(2, 10))
    recording.inbound(frame(3, 0))
    (path,) = await recording.close()
    assert list(read(path)[:, 0]) == expected(240, (1, 0, 20), (2, 20, 30))
    assert recording.overlapped_ms == 30


async def test_rounding_is_no_gap_and_a_real_one_of_three_ms_is(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(5):
        recording.inbound(frame(1, 20.0 * n + (0.9 if n % 2 else 0)))
    recording.inbound(frame(2, 103))
    (path,) = await recording.close()
    assert list(read(path)[:, 0]) == expected(984, (1, 0, 100), (2, 103, 123))


async def test_without_the_media_clock_a_place_is_near_enough_to_be_told(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(50):
        recording.played(frame(5, None), 20.0 * n + (7.0 if n % 3 else -4.0) * (n > 0))
    recording.played(frame(6, None), 2000.0)
    with pytest.raises(ValueError, match="at_ms"):
        recording.inbound(frame(1, None), float("nan"))
    (path,) = await recording.close()
    assert list(read(path)[:, 1]) == expected(16_160, (5, 0, 1000), (6, 2000, 2020))


@pytest.mark.parametrize(("rate", "channels"), [(22_050, 1), (24_000, 2), (48_000, 1), (11_025, 1)])
async def test_what_is_played_at_another_rate_keeps_its_place_and_sound(
    rate: int, channels: int, tmp_path: Path
) -> None:
    recording = WavRecorder(tmp_path).open(session())
    seconds = np.arange(rate * 2) / rate
    tone = np.repeat((10_000 * np.sin(2 * np.pi * 440 * seconds)).round().astype("<i2"), channels)
    at, place = 500.0, 0
    while place < rate * 2:  # as the core does: as many whole samples as 20 ms have
        size = min(rate // 50, rate * 2 - place)
        data = tone[place * channels : (place + size) * channels].tobytes()
        recording.played(AudioFrame(data, rate, channels, clock_ms=at + place * 1000 / rate))
        place += size
    recording.played(frame(7, 4000))
    (path,) = await recording.close()
    right = read(path)[:, 1].astype(float)
    assert not right[:3900].any()
    ideal = 10_000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 8000)
    # The filter rings at the edges of the tone; within, it is the tone, in phase.
    assert np.abs(right[4100:19_900] - ideal[100:-100]).max() < 40
    assert not right[20_001:32_000].any()
    assert set(right[32_000:32_160]) == {7}


async def test_a_rate_that_changes_in_the_middle_of_the_call_changes_nothing_else(
    tmp_path: Path,
) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(200):
        rate = 8000 if n % 100 < 50 else 16_000
        recording.inbound(frame(1000, 20.0 * n, rate=rate))
    (path,) = await recording.close()
    left = read(path)[:, 0]
    assert len(left) == 32_000
    # Beside the seams (a filter that begins or ends there) it is what was heard.
    inside = [n for n in range(32_000) if 40 <= n % 8000 < 7960]
    assert set(left[inside]) <= {999, 1000, 1001}


async def test_the_files_rate_is_the_calls_else_that_of_what_comes_first(tmp_path: Path) -> None:
    rates = []
    for name, known, given_rate in (("a", 16_000, None), ("b", None, None), ("c", 16_000, 24_000)):
        call = session(name, sample_rate=known)
        recording = WavRecorder(tmp_path, sample_rate=given_rate).open(call)
        recording.played(frame(1, 0, rate=24_000))
        recording.inbound(frame(1, 0, rate=48_000))
        (path,) = await recording.close()
        with wave.open(str(path)) as file:
            rates.append((file.getframerate(), file.getnframes() * 50 / file.getframerate()))
    assert rates == [(16_000, 1), (48_000, 1), (24_000, 1)]


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(
        *[st.lists(st.tuples(st.integers(1, 80), st.integers(0, 120)), max_size=8)] * 2
    ),
    seed=st.integers(0, 2**32 - 1),
    lead=st.tuples(st.integers(0, 200), st.integers(0, 200)),
)
async def test_every_sample_stands_at_its_place(
    sides: tuple[list[tuple[int, int]], ...],
    seed: int,
    lead: tuple[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Any schedule of frames and gaps of both sides, in any interleaving: the program may get one
    side's seconds after the other's."""
    order = random.Random(seed)
    recording = WavRecorder(tmp_path_factory.mktemp("calls")).open(session())
    queues: list[list[AudioFrame]] = [[], []]
    truth = np.zeros((2, 8000 * 60), "<i2")
    for side, pieces in enumerate(sides):
        at = lead[side]
        for frames, pause in pieces:
            for _ in range(frames):
                sound = np.frombuffer(order.randbytes(320), "<i2")
                queues[side].append(AudioFrame(sound.tobytes(), 8000, clock_ms=at * 20.0))
                truth[side, at * 160 : (at + 1) * 160] = sound
                at += 1
            at += pause
    while any(queues):
        side = order.randrange(2)
        for _ in range(order.randrange(1, 150)):
            if queues[side]:
                (recording.played if side else recording.inbound)(queues[side].pop(0))
    paths = await recording.close()
    if not paths:
        assert not truth.any()
        return
    found = read(paths[0]).T
    assert (found == truth[:, : found.shape[1]]).all()
    assert not truth[:, found.shape[1] :].any()
    assert recording.lost_ms == recording.overlapped_ms == 0


# --- files ----------------------------------------------------------------------------------------


async def test_a_call_without_a_sound_has_no_file(tmp_path: Path) -> None:
    call = session()
    recording = WavRecorder(tmp_path).open(call)
    await recording.ready()
    assert await recording.close() == []
    assert await recording.close() == []
    recording.inbound(frame(1, 0))
    assert list(tmp_path.iterdir()) == []
    assert call.metadata["recordings"] == []


@pytest.mark.parametrize(("heard", "said"), [(True, False), (False, True)])
async def test_one_side_may_be_missing(heard: bool, said: bool, tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(100):
        if heard:
            recording.inbound(frame(1, 20.0 * n))
        if said:
            recording.played(frame(1, 20.0 * n))
    (path,) = await recording.close()
    assert [side.any() for side in read(path).T] == [heard, said]
    assert len(read(path)) == 16_000


async def test_the_caller_alone(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path, outbound=False).open(session())
    recording.inbound(frame(1, 0))
    recording.played(frame(2, 0))
    (path,) = await recording.close()
    assert read(path).tolist() == [[1]] * 160


async def test_files_are_their_owners_and_named_as_asked(tmp_path: Path) -> None:
    call = session("../../evil")
    name = "{room_id}_{participant_id}_{channel_id}_{date}_{time}_{session_id}"
    recording = WavRecorder(tmp_path / "a/b", name=name).open(call)
    recording.inbound(frame(1, 0))
    (path,) = await recording.close()
    assert path.parent == tmp_path / "a/b"
    stamp = f"{call.created_at:%Y-%m-%d_%H-%M-%S}"
    assert path.name == f"room_ann_phone_{stamp}_.._.._evil.wav"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "s.wav").write_bytes(b"dear")
    recordings = [WavRecorder(tmp_path).open(session()) for _ in range(3)]
    for n, recording in enumerate(recordings):
        recording.inbound(frame(n, 0))
    paths = [(await recording.close())[0] for recording in recordings]
    assert [path.name for path in paths] == ["s.2.wav", "s.3.wav", "s.4.wav"]
    assert [read(path)[0, 0] for path in paths] == [0, 1, 2]
    assert (tmp_path / "s.wav").read_bytes() == b"dear"


async def test_nor_by_two_who_choose_a_name_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)  # not yet
    recordings = [WavRecorder(tmp_path, channels="split").open(session()) for _ in range(2)]
    for n, recording in enumerate(recordings):
        recording.inbound(frame(n, 0))
        recording.played(frame(n + 5, 0))
    names = [[path.name for path in await recording.close()] for recording in recordings]
    assert names == [["s-in.wav", "s-out.wav"], ["s.2-in.wav", "s.2-out.wav"]]
    assert [read(tmp_path / path)[0, 0] for two in names for path in two] == [0, 5, 1, 6]


async def test_a_full_file_is_followed_by_another_that_begins_with_the_next_sample(
    tmp_path: Path,
) -> None:
    call = session()
    recording = WavRecorder(tmp_path, max_file_bytes=2**16).open(call)
    sound = np.arange(8000 * 8, dtype="<i2")
    for n in range(400):
        data = sound[n * 160 : (n + 1) * 160].tobytes()
        recording.inbound(AudioFrame(data, 8000, clock_ms=20.0 * n))
    await written()
    for n in range(0, 400, 2):  # all of it late: into files that had been given back
        data = sound[n * 160 : (n + 1) * 160].tobytes()
        recording.played(AudioFrame(data, 8000, clock_ms=20.0 * n))
    paths = await recording.close()
    assert [path.name for path in paths] == [
        "s.wav", *(f"s-part{n}.wav" for n in range(2, 5))
    ]  # fmt: skip
    assert [path.stat().st_size <= 2**16 for path in paths] == [True] * 4
    left, right = np.concatenate([read(path) for path in paths]).T
    assert (left == sound).all()
    twos = np.arange(63_840) // 160 % 2 == 0
    assert (right[:63_840] == np.where(twos, sound[:63_840], 0)).all()
    assert call.metadata["recordings"] == [str(path) for path in paths]


_DIES = """
import os, sys, threading
from roomkit.voice.base import VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.recorder import WavRecorder
from roomkit.voice.pipeline.writer import WRITER
recording = WavRecorder(sys.argv[1]).open(VoiceSession("s", "room", "ann", "phone"))
for n in range(130):
    recording.inbound(AudioFrame(b"11" * 160, 8000, clock_ms=n * 20))
    if n < 30:
        recording.played(AudioFrame(b"22" * 160, 8000, clock_ms=n * 20))
done = threading.Event()
WRITER.submit(done.set)
done.wait(30)  # what was handed over has been written
os._exit(1)
"""


def test_of_a_process_that_dies_all_but_the_last_second_can_be_played(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)], check=False)
    assert died.returncode == 1
    left, right = read(tmp_path / "s.wav").T
    assert len(left) == 2 * 8000
    assert left.all()
    assert right[: 30 * 160].all()


async def test_a_recording_that_is_dropped_is_completed_as_far_as_it_was_handed_over(
    tmp_path: Path,
) -> None:
    recording = WavRecorder(tmp_path).open(session())
    for n in range(60):
        recording.inbound(frame(1, 20.0 * n))
    await recording.ready()
    del recording
    gc.collect()
    await written()
    assert len(read(tmp_path / "s.wav")) == 8000


@pytest.mark.parametrize(
    "wrong",
    [{"channels": "both"}, {"name": "{caller}"}, {"name": "{"}, {"sample_rate": 7999},
     {"consent_timeout_ms": 0}, {"close_timeout_ms": 0}, {"max_file_bytes": 2**31},
     {"max_file_bytes": 1}, {"mode": 0o1777}],
)  # fmt: skip
def test_options_that_do_not_fit_are_named(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WavRecorder(tmp_path, **wrong)
    for name in ("consent", "name"):
        with pytest.raises(TypeError, match=name):
            WavRecorder(tmp_path, **{name: 1})  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
async def the_thread_ends() -> AsyncIterator[None]:
    yield
    await until(lambda: not WRITER.running)
