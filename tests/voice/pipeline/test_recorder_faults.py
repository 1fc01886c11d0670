"""WavRecorder where the disk is full, hangs or is not there: the call neither waits nor fails, what
was lost is told, and what follows stands at its place."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from roomkit.voice.base import VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import (
    AudioPipelineConfig,
    RecorderProvider,
    Recording,
    WavRecorder,
    open_recording,
)
from roomkit.voice.pipeline.writer import WRITER, Writer
from support.recorded import expected, frame, read, session, until, written


class Disk:
    """What files are written to: it can be full, and it can hang. All of it is real otherwise."""

    def __init__(self) -> None:
        self.full = False
        self.works = threading.Event()
        self.works.set()
        self.hangs_in = {"open", "write", "close"}
        self.waiting = threading.Event()

    def pass_by(self, what: str) -> None:
        if what in self.hangs_in and not self.works.is_set():
            self.waiting.set()
            assert self.works.wait(60)

    def open(self, path: Path, mode: int) -> io.FileIO:
        disk = self
        disk.pass_by("open")
        if disk.full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                disk.pass_by("write")
                if disk.full:
                    Path("/dev/full").write_bytes(b"x")
                return super().write(data)

            def close(self) -> None:
                if not self.closed:
                    disk.pass_by("close")
                super().close()

        return File(path, "x+b")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr("roomkit.voice.pipeline.wavfile.open_exclusively", made.open)
    return made


@pytest.fixture(autouse=True)
async def the_thread_ends() -> AsyncIterator[None]:
    yield
    await until(lambda: not WRITER.running)


def kinds(errors: Sequence[Exception]) -> list[type]:
    return [type(error) for error in errors]


# --- full -----------------------------------------------------------------------------------------


async def test_a_disk_that_is_full_for_a_while_leaves_silence_and_both_sides_in_step(
    tmp_path: Path, disk: Disk
) -> None:
    recording = WavRecorder(tmp_path).open(session())
    errors: list[Exception] = []
    recording.on_error(errors.append)
    for n in range(500):
        recording.inbound(frame(1, 20.0 * n))
        recording.played(frame(5, 20.0 * n))
        if n in (99, 299, 399):  # what was handed over is written before the disk changes
            await written()
            disk.full = n in (99, 299)
        if n == 199:
            await written()
            disk.full = False
    (path,) = await recording.close()
    assert kinds(errors) == [OSError, OSError], "once for each row"
    assert all(isinstance(error, OSError) and error.errno == errno.ENOSPC for error in errors)
    left, right = read(path).T
    assert len(left) == 80_000
    assert recording.lost_ms == pytest.approx(2 * 4000, abs=2 * 200)
    for side, value in ((left, 1), (right, 5)):
        assert set(side) == {0, value}
        assert (side[:15_000] == value).all()
        assert (side[34_000:46_000] == value).all()
        assert (side[66_000:] == value).all()
        assert not side[17_000:31_000].any()
    # A block may end between the frame of one side and that of the other.
    assert (left.astype(bool) != right.astype(bool)).sum() <= 4 * 160


_LIMITED = """
import asyncio, json, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.recorded import frame, session
from roomkit.voice.pipeline import WavRecorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
async def main():
    recording = WavRecorder(sys.argv[1]).open(session())
    errors = []
    recording.on_error(errors.append)
    for n in range(300):
        recording.inbound(frame(1, 20.0 * n))
    paths = await recording.close()
    print(json.dumps([[str(path) for path in paths], [repr(error) for error in errors]]))
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_where_the_system_refuses_to_write_on_the_file_can_be_played_to_there(
    tmp_path: Path,
) -> None:
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", _LIMITED, str(tmp_path), str(tests)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    (path,), errors = json.loads(done.stdout)
    assert len(errors) == 1
    assert "File too large" in errors[0]
    left, right = read(path).T
    assert 8000 <= len(left) <= 12_500
    assert (left == 1).all()
    assert not right.any()


@pytest.mark.parametrize("what", ["a file", "a full disk"])
async def test_what_cannot_be_opened_is_told_once_and_opened_later_if_it_can_be(
    what: str, tmp_path: Path, disk: Disk
) -> None:
    directory = tmp_path / "calls"
    if what == "a file":
        directory.write_text("")
    disk.full = what == "a full disk"
    call = session()
    recording = WavRecorder(directory).open(call)
    errors: list[Exception] = []
    recording.on_error(errors.append)
    for n in range(200):
        recording.inbound(frame(1, 20.0 * n))
    await written()
    assert len(errors) == 1
    assert isinstance(errors[0], OSError)
    assert call.metadata["recordings"] == []
    if what == "a file":
        directory.unlink()
    disk.full = False
    for n in range(200, 300):
        recording.inbound(frame(2, 20.0 * n))
    (path,) = await recording.close()
    assert list(read(path)[:, 0]) == expected(48_000, (2, 4000, 6000))


async def test_an_error_before_anybody_listens_is_told_to_the_first_who_does(
    tmp_path: Path,
) -> None:
    (tmp_path / "calls").write_text("")
    recording = WavRecorder(tmp_path / "calls").open(session())
    await written()
    errors: list[Exception] = []
    recording.on_error(errors.append)
    assert len(errors) == 1
    assert await recording.close() == []


# --- hanging --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["open", "write", "close"])
async def test_a_disk_that_hangs_holds_up_nobody_and_is_told(
    where: str, tmp_path: Path, disk: Disk
) -> None:
    disk.hangs_in = {where}
    disk.works.clear()
    recording = WavRecorder(tmp_path, close_timeout_ms=30).open(session())
    errors: list[Exception] = []
    recording.on_error(errors.append)
    for n in range(100):
        recording.inbound(frame(1, 20.0 * n))
        recording.played(frame(5, 20.0 * n))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await recording.close()
    assert loop.time() - began < 5
    assert kinds(errors) == [TimeoutError]
    assert await recording.close() == await recording.close()
    # Its turn comes when the disk is back, and nothing of it is missing.
    disk.works.set()
    await until(lambda: not WRITER.running)
    left, right = read(tmp_path / "s.wav").T
    assert list(left) == expected(16_000, (1, 0, 2000))
    assert list(right) == expected(16_000, (5, 0, 2000))


async def test_of_a_disk_that_hangs_for_minutes_what_waits_is_bounded_and_the_rest_is_in_step(
    tmp_path: Path, disk: Disk
) -> None:
    recording = WavRecorder(tmp_path).open(session())
    errors: list[Exception] = []
    recording.on_error(errors.append)
    disk.works.clear()
    for n in range(50 * 120):
        recording.inbound(frame(1, 20.0 * n))
        recording.played(frame(5, 20.0 * n))
    lost = recording.lost_ms
    assert 170_000 <= lost <= 180_000, "of 240 s of both sides 60 wait"
    disk.works.set()
    await written()
    for n in range(50 * 120, 50 * 125):
        recording.inbound(frame(1, 20.0 * n))
        recording.played(frame(5, 20.0 * n))
    (path,) = await recording.close()
    assert recording.lost_ms == lost
    assert kinds(errors) == [OSError]
    left, right = read(path).T
    assert len(left) == 8000 * 125
    assert left[: 8000 * 29].all()
    assert not left[8000 * 31 : 8000 * 120 - 8000].any()
    assert left[8000 * 120 :].all()
    # A block may end between the frame of one side and that of the other.
    assert (left.astype(bool) != right.astype(bool)).sum() <= 4 * 160


async def test_a_hundred_calls_are_closed_at_once_by_one_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    recordings = [WavRecorder(tmp_path).open(session(f"call-{n}")) for n in range(100)]
    for number, recording in enumerate(recordings):
        for n in range(60):
            recording.inbound(frame(number, 20.0 * n))
    most = threading.active_count() - before
    closed = await asyncio.gather(*(recording.close() for recording in recordings))
    assert most <= 1
    assert threading.active_count() - before <= 1
    for number, (path,) in enumerate(closed):
        assert list(read(path)[:, 0]) == expected(9600, (number, 0, 1200))


async def test_a_hundred_calls_and_a_disk_that_hangs_are_over_within_one_limit(
    tmp_path: Path, disk: Disk
) -> None:
    disk.works.clear()
    recordings = [
        WavRecorder(tmp_path, close_timeout_ms=50).open(session(f"call-{n}")) for n in range(100)
    ]
    for recording in recordings:
        recording.inbound(frame(1, 0))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(recording.close() for recording in recordings))
    assert loop.time() - began < 5
    disk.works.set()
    await until(lambda: not WRITER.running)
    assert len(list(tmp_path.iterdir())) == 100


def test_what_waits_in_all_is_bounded() -> None:
    writer = Writer(max_bytes=100)
    assert writer.reserve(60)
    assert not writer.reserve(41)
    assert writer.reserve(40)
    writer.free(60)
    assert writer.reserve(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_writes_nothing_into_its_parents_recording(tmp_path: Path) -> None:
    script = """
import asyncio, gc, os, sys
sys.path.insert(0, sys.argv[2])
from support.recorded import frame, session
from roomkit.voice.pipeline import WavRecorder
async def main():
    recording = WavRecorder(sys.argv[1]).open(session())
    dropped = WavRecorder(sys.argv[1]).open(session("t"))
    for n in range(100):
        recording.inbound(frame(1, 20.0 * n))
    await recording.ready()
    await dropped.ready()
    child = os.fork()
    if not child:
        async def goes_on():
            for n in range(200):
                recording.inbound(frame(2, 20.0 * n))
            await recording.close()
        asyncio.run(goes_on())
        del dropped
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    dropped.inbound(frame(3, 0))
    await dropped.close()
    await recording.close()
asyncio.run(main())
"""
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path), str(tests)]
    subprocess.run(command, check=True, timeout=60)
    assert list(read(tmp_path / "s.wav")[:, 0]) == expected(16_000, (1, 0, 2000))
    assert list(read(tmp_path / "t.wav")[:, 0]) == expected(160, (3, 0, 20))


# --- a recording that must be there, and one that need not ---------------------------------------


class Told:
    def __init__(self) -> None:
        self.failed: list[tuple[str, type]] = []

    def digit(self, event: object) -> None: ...

    def frame(self, frame: object, at_ms: float) -> None: ...

    def vad(self, event: object) -> None: ...

    def stage_failed(self, stage: str, error: Exception) -> None:
        self.failed.append((stage, type(error)))


class Refuses(RecorderProvider):
    def __init__(self, required: bool) -> None:
        self.required = required

    def open(self, session: VoiceSession) -> Recording:
        raise LookupError


async def test_a_recorder_that_need_not_be_there_never_refuses_a_call(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("")
    for recorder, error in (
        (WavRecorder(tmp_path / "calls"), FileExistsError),
        (Refuses(required=False), LookupError),
    ):
        told = Told()
        config = AudioPipelineConfig(recorder=recorder)
        recording = await open_recording(config, session(), told)
        if recording is not None:
            await written()
            assert await recording.close() == []
        assert told.failed == [("recorder", error)]
    assert await open_recording(AudioPipelineConfig(), session(), Told()) is None


async def test_one_that_must_be_refuses_it_and_leaves_nothing(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calls").write_text("")
    wav = WavRecorder(tmp_path / "calls", required=True)
    for recorder, error in ((wav, FileExistsError), (Refuses(required=True), LookupError)):
        with pytest.raises(error):
            await open_recording(AudioPipelineConfig(recorder=recorder), session(), Told())
    await until(lambda: not WRITER.running)
    # A disk that hangs is no recording either.
    monkeypatch.setattr("roomkit.voice.pipeline.engine._READY_S", 0.03)
    disk.works.clear()
    recorder = WavRecorder(tmp_path / "later", required=True, close_timeout_ms=10)
    with pytest.raises(TimeoutError):
        await open_recording(AudioPipelineConfig(recorder=recorder), session(), Told())
    disk.works.set()
    await until(lambda: not WRITER.running)
    assert list((tmp_path / "later").iterdir()) == []


async def test_one_that_must_be_and_is_there_has_its_file_before_the_call_goes_on(
    tmp_path: Path,
) -> None:
    call = session()
    config = AudioPipelineConfig(recorder=WavRecorder(tmp_path, required=True))
    recording = await open_recording(config, call, Told())
    assert recording is not None
    assert call.metadata["recordings"] == [str(tmp_path / "s.wav")]
    assert (tmp_path / "s.wav").exists()
    await recording.close()


Consent = Callable[[VoiceSession], Any]


async def test_nothing_is_kept_of_what_was_heard_before_consent(tmp_path: Path) -> None:
    asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def consent(call: VoiceSession) -> bool:
        assert call.id == "s"
        return await asked

    recording = WavRecorder(tmp_path, consent=consent).open(session())
    for n in range(100):
        recording.inbound(frame(1, 20.0 * n))
    await recording.ready()
    await written()
    assert list(tmp_path.iterdir()) == []
    asked.set_result(True)
    await until(lambda: (tmp_path / "s.wav").exists())
    # What the program gets now, but was said before, is not kept either.
    recording.played(frame(3, 1900))
    for n in range(101, 200):
        recording.inbound(frame(2, 20.0 * n))
    (path,) = await recording.close()
    left, right = read(path).T
    assert set(left) == {0, 2}
    assert not left[: 2000 * 8].any()
    assert (left[2100 * 8 :] == 2).all()
    assert len(left) == 32_000
    assert not right.any()


async def never(call: VoiceSession) -> bool:
    await asyncio.Event().wait()
    return True


async def stubborn(call: VoiceSession) -> bool:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return True
    return True


async def cancelled(call: VoiceSession) -> bool:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("consent", "errors"),
    [
        (lambda call: False, []),
        (lambda call: None, []),
        (lambda call: 1 / 0, [ZeroDivisionError]),
        (never, [TimeoutError]),
        (stubborn, [TimeoutError]),
        (cancelled, [RuntimeError]),
    ],
)
async def test_without_consent_there_is_no_file(
    consent: Consent, errors: list[type], tmp_path: Path
) -> None:
    recorder = WavRecorder(tmp_path, consent=consent, consent_timeout_ms=10)
    recording = recorder.open(session())
    told: list[Exception] = []
    recording.on_error(told.append)
    for n in range(100):
        recording.inbound(frame(1, 20.0 * n))
    await until(lambda: len(told) >= len(errors))
    await written()
    assert await recording.close() == []
    assert list(tmp_path.iterdir()) == []
    assert kinds(told) == errors


async def test_a_call_that_ends_before_the_answer_is_not_recorded(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path, consent=never).open(session())
    told: list[Exception] = []
    recording.on_error(told.append)
    recording.inbound(frame(1, 0))
    await asyncio.sleep(0)
    assert await recording.close() == []
    await asyncio.sleep(0)
    assert not told
    assert len(asyncio.all_tasks()) == 1


async def test_a_pause_is_silence_of_both_sides_also_of_what_comes_late(tmp_path: Path) -> None:
    call = session()
    recording = WavRecorder(tmp_path).open(call)
    late: list[AudioFrame] = []
    for n in range(300):
        if n == 100:
            recording.pause()
            recording.pause()
        if n == 200:
            recording.resume()
            recording.resume()
            # The program stalled: what was said in the pause comes now.
            for each in late:
                recording.played(each)
        recording.inbound(frame(1, 20.0 * n))
        if n < 150 or n >= 200:
            recording.played(frame(5, 20.0 * n))
        else:
            late.append(frame(5, 20.0 * n))
    (path,) = await recording.close()
    left, right = read(path).T
    # The media clock is known to a frame; a pause may be that much longer.
    for side, value in ((left, 1), (right, 5)):
        assert (side[:16_000] == value).all()
        assert not side[16_000:32_000].any()
        assert (side[32_640:] == value).all()
        assert len(side) == 48_000
    ((begins, ends),) = call.metadata["recording_pauses"]
    assert begins == pytest.approx(2000, abs=20)
    assert ends == pytest.approx(4000, abs=40)
