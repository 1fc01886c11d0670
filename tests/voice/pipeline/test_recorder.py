"""WavRecorder: what was heard and said, where it belongs, readable whatever happens."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from roomkit import AudioPipelineConfig, RoomKit, VoiceChannel
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import WavRecorder
from support.loopback import LoopbackBackend
from support.sound import tone


def session(name: str = "s") -> VoiceSession:
    return VoiceSession(name, "room", "ann", "phone")


def frame(value: int, ms: float = 20) -> AudioFrame:
    return AudioFrame(struct.pack("<h", value) * round(8 * ms), 8000)


def read(path: Path) -> tuple[int, int, tuple[int, ...]]:
    with wave.open(str(path)) as file:
        data = file.readframes(file.getnframes())
        return file.getframerate(), file.getnchannels(), struct.unpack(f"<{len(data) // 2}h", data)


async def test_frames_stand_where_their_time_says_and_gaps_are_silence(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    recording.inbound(frame(1), 40)
    recording.inbound(frame(2), 60.0001)
    recording.inbound(frame(3), 100)
    (path,) = await recording.close()
    assert path == tmp_path / "s-in.wav"
    rate, channels, samples = read(path)
    assert (rate, channels) == (8000, 1)
    assert samples == (0,) * 320 + (1,) * 160 + (2,) * 160 + (0,) * 160 + (3,) * 160


async def test_audio_that_overlaps_what_is_written_adds_only_what_is_new(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    recording.inbound(frame(1), 0)
    recording.inbound(frame(2), 10)
    recording.inbound(frame(3), 0)
    (path,) = await recording.close()
    assert read(path)[2] == (1,) * 160 + (2,) * 80


async def test_what_was_played_has_a_file_of_its_own_in_one_format(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    recording.outbound(AudioChunk(frame(5).data, 8000), 0)
    recording.outbound(AudioChunk(struct.pack("<h", 7) * 2 * 320, 16000, 2), 20)
    (path,) = await recording.close()
    assert path.name == "s-out.wav"
    assert read(path) == (8000, 1, (5,) * 160 + (7,) * 160)


async def test_closing_twice_or_with_nothing_recorded_does_no_harm(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path).open(session())
    assert await recording.close() == []
    assert await recording.close() == []
    recording.inbound(frame(1), 0)
    assert list(tmp_path.iterdir()) == []


async def test_a_session_id_cannot_leave_the_directory(tmp_path: Path) -> None:
    recording = WavRecorder(tmp_path / "calls").open(session("../../evil"))
    recording.inbound(frame(1), 0)
    (path,) = await recording.close()
    assert path.parent == tmp_path / "calls"


async def test_a_disk_that_cannot_be_written_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = WavRecorder(tmp_path).open(session())
    (tmp_path / "s-in.wav").mkdir()
    recording.inbound(frame(1), 0)
    await recording.close()
    assert "cannot be written" in caplog.text


_DIES = """
import os, sys
from roomkit.voice.base import VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.recorder import WavRecorder
recording = WavRecorder(sys.argv[1]).open(VoiceSession("s", "room", "ann", "phone"))
for n in range(130):
    recording.inbound(AudioFrame(bytes(320), 8000), n * 20)
recording._thread.submit(int).result()  # what was handed over has been written
os._exit(1)
"""


def test_of_a_process_that_dies_all_but_the_last_second_can_be_played(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)], check=False)
    assert died.returncode == 1
    assert len(read(tmp_path / "s-in.wav")[2]) == 2 * 8000


async def test_a_call_is_recorded_on_both_sides_as_far_as_it_was_played(tmp_path: Path) -> None:
    backend = LoopbackBackend()
    async with RoomKit() as kit:
        pipeline = AudioPipelineConfig(recorder=WavRecorder(tmp_path))
        channel = VoiceChannel("phone", backend=backend, pipeline=pipeline)
        kit.register_channel(channel)
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")
        session = await kit.join("room", "phone")
        backend.speak(session, tone(100))
        await channel.play(session, [AudioChunk(frame(9, 100).data, 8000)])
        backend.running.clear()
        playing = asyncio.create_task(channel.play(session, [AudioChunk(frame(8).data, 8000)]))
        await backend.playing.wait()
        await kit.leave(session)
        await playing
        paths = [Path(path) for path in session.metadata["recordings"]]
        assert [path.name for path in paths] == [f"{session.id}-in.wav", f"{session.id}-out.wav"]
        heard, said = (read(path)[2] for path in paths)
        assert struct.pack("<800h", *heard[-800:]) == tone(100)
        # What was interrupted before it left was not said.
        assert said[-800:] == (9,) * 800
        assert 8 not in said
