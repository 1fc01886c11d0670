"""What is 16 bit PCM and what would be noise; samples that were cut in two."""

from __future__ import annotations

import array
import ctypes
import io
import logging
import shutil
import subprocess
import wave
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit import AudioChunk, AudioFrame, AudioQueue
from roomkit.rtp.audio import PieceReader, live_piece
from roomkit.voice.pcm import SampleJoiner, pcm_bytes

SAMPLES = [1, -2, 300, -400]
PCM = np.array(SAMPLES, "<i2").tobytes()

RIGHT: dict[str, Any] = {
    "bytes": PCM,
    "bytearray": bytearray(PCM),
    "memoryview": memoryview(PCM),
    "characters": memoryview(PCM).cast("c"),
    "ctypes bytes": (ctypes.c_ubyte * 8)(*PCM),
    "array": array.array("h", PCM),
    "ctypes shorts": (ctypes.c_int16 * 4)(*SAMPLES),
    "numpy": np.array(SAMPLES, np.int16),
    "numpy bytes": np.frombuffer(PCM, np.uint8),
    "big-endian": np.array(SAMPLES, ">i2"),
    "strided": np.array([[1, 0], [-2, 0], [300, 0], [-400, 0]], np.int16)[:, 0],
    "a column": np.array(SAMPLES, np.int16).reshape(4, 1),
    "a row": np.array(SAMPLES, np.int16).reshape(1, 4),
}

NOISE: dict[str, tuple[Any, str]] = {
    "float32": (np.zeros(4, np.float32), "float32"),
    "float64": (np.zeros(4), "float64"),
    "float16": (np.zeros(4, np.float16), "float16"),
    "int32": (np.zeros(4, np.int32), "int32"),
    "int64": (np.zeros(4, np.int64), "int64"),
    "uint16": (np.zeros(4, np.uint16), "uint16"),
    "int8": (np.zeros(4, np.int8), "int8"),
    "bool": (np.zeros(4, bool), "bool"),
    "complex": (np.zeros(4, complex), "another format"),
    "array of floats": (array.array("f", [0.0]), "float32"),
    "array of ints": (array.array("i", [0]), "int32"),
    "view of floats": (memoryview(array.array("f", [0.0])), "float32"),
    "cast view": (memoryview(bytes(8)).cast("i"), "int32"),
    "ctypes floats": ((ctypes.c_float * 4)(), "float32"),
    "big-endian floats": (np.zeros(4, ">f4"), "float32"),
    "planar": (np.zeros((2, 4), np.int16), r"shape \(2, 4\)"),
    "three sides": (np.zeros((2, 2, 2), np.int16), "shape"),
}

ENTRANCES: dict[str, Callable[[Any], object]] = {
    "chunk": lambda data: AudioChunk(data, 8000),
    "frame": lambda data: AudioFrame(data, 8000),
    "play": lambda data: PieceReader(data, 8000, 1),
    "list": lambda data: PieceReader([PCM, data], 8000, 1),
    "send": lambda data: live_piece(data, 8000, 1),
    "queue": lambda data: AudioQueue().put(data),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_holds_16_bit_samples_is_those_samples(name: str) -> None:
    assert pcm_bytes(RIGHT[name], "audio") == PCM


def test_interleaved_channels_may_have_a_side_of_their_own() -> None:
    stereo = np.array([[1, 2], [3, 4], [5, 6]], np.int16)
    assert AudioChunk(stereo, 8000, 2).data == stereo.tobytes()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(2, 3\); \(samples, 2\), interleaved, fits"):
        AudioChunk(stereo.T, 8000, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("name", NOISE)
def test_what_would_be_noise_is_refused_by_its_name_everywhere(name: str, entrance: str) -> None:
    data, told = NOISE[name]
    with pytest.raises(ValueError, match=f"{told}.*fit"):
        ENTRANCES[entrance](data)


def test_the_way_from_floats_is_told_and_right() -> None:
    with pytest.raises(ValueError, match="makes them") as refused:
        pcm_bytes(np.zeros(1, np.float32), "audio")
    way = str(refused.value).split(": ")[-1].split(" makes")[0]
    x = np.array([0, 0.5, -0.5, 1.5, -1.5], np.float32)
    assert eval(way, {"x": x}).tolist() == [0, 16383, -16383, 32767, -32768]


# --- files ---------------------------------------------------------------------------------------


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(320))
    return file.getvalue()


FILES = {
    "WAV": wav(),
    "Ogg": b"OggS\0\2" + bytes(8) + b"\x12\x34\x56\x78" + bytes(4) + b"abcd\1\x13OpusHead",
    "FLAC": b"fLaC\0\0\0\x22\x10\0\x10\0" + bytes(30),
    "MP3": b"ID3\4\0\0\0\0\0\x23TSSE" + bytes(30),
    "AIFF": b"FORM\0\0\1\0AIFFCOMM" + bytes(30),
    "WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1" + bytes(30),
    "MP4": b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(30),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_in_the_place_of_its_audio_is_refused(kind: str, entrance: str) -> None:
    with pytest.raises(ValueError, match=f"a {kind} file.*read_wav"):
        ENTRANCES[entrance](FILES[kind])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 13, 44])
@pytest.mark.parametrize("kind", ["WAV", "Ogg", "FLAC", "MP3", "AIFF", "WebM"])
async def test_a_header_in_pieces_is_refused_before_anything_is_played(
    kind: str, size: int
) -> None:
    file = FILES[kind]
    parts = (file[at : at + size] for at in range(0, len(file), size))
    reader = PieceReader(parts, 8000, 1)
    with pytest.raises(ValueError, match=f"a {kind} file"):
        async for piece in reader.pieces():
            raise AssertionError(f"{piece} was played")
    await reader.aclose()


# An MP3 without a tag is nothing but frames, as synthesisers stream it.
BARE = ["-id3v2_version", "0", "-write_xing", "0"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg makes the files")
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *[(kind, []) for kind in ("mp3", "wav", "flac", "ogg", "aiff", "au", "mp4")],
        ("mp3", BARE),
        ("webm", ["-c:a", "libopus"]),
    ],
)
def test_files_as_ffmpeg_makes_them_are_refused(
    kind: str, how: list[str], rate: int, tmp_path: Path
) -> None:
    target = tmp_path / f"sound.{kind}"
    sine = ["-f", "lavfi", "-i", f"sine=frequency=440:duration=1:r={rate}"]
    command = ["ffmpeg", "-v", "error", *sine, *how, str(target)]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(ValueError, match=r"a \w+ file, header and all"):
        pcm_bytes(target.read_bytes()[:2048], "audio")


@given(st.binary(max_size=4096), st.sampled_from([b"", b"\xff\xfb", b"\xff\xf3", b"RIFF", b"ID3"]))
def test_audio_that_begins_as_a_file_does_is_no_file_yet(rest: bytes, begins: bytes) -> None:
    assert pcm_bytes(begins + b"\0\1" + rest, "audio").startswith(begins)


# --- samples cut in two --------------------------------------------------------------------------


def joined(parts: list[bytes], channels: int = 1) -> bytes:
    joiner = SampleJoiner("audio")
    whole = [each for part in parts for each in joiner.join(part, 8000, channels)]
    whole += joiner.end()
    assert all(len(pcm) % (2 * channels) == 0 for pcm, _, _ in whole)
    return b"".join(pcm for pcm, _, _ in whole)


@given(
    pcm=st.binary(max_size=80) | st.binary(max_size=20).map(lambda rest: b"RIF" + rest),
    cuts=st.lists(st.integers(0, 80)),
    channels=st.integers(1, 3),
)
def test_any_cuts_leave_the_samples_as_they_are(pcm: bytes, cuts: list[int], channels: int) -> None:
    places = sorted({0, len(pcm), *(cut for cut in cuts if cut < len(pcm))})
    parts = [pcm[begin:end] for begin, end in pairwise(places)]
    whole = len(pcm) - len(pcm) % (2 * channels)
    assert joined(parts, channels) == pcm[:whole]


@given(
    chunks=st.lists(
        st.tuples(st.binary(max_size=12), st.sampled_from([8000, 16000]), st.sampled_from([1, 2])),
        max_size=8,
    )
)
def test_any_formats_are_right_or_refused_before_anything_of_them_is_heard(
    chunks: list[tuple[bytes, int, int]],
) -> None:
    """The model: each run of one format is whole samples, or the next one's beginning is refused;
    at the very end, half a sample is left out."""
    runs: list[tuple[bytes, int, int]] = []
    for pcm, rate, channels in chunks:
        if not pcm:
            continue
        if runs and runs[-1][1:] == (rate, channels):
            runs[-1] = (runs[-1][0] + pcm, rate, channels)
        else:
            runs.append((pcm, rate, channels))
    halves = [len(pcm) % (2 * channels) for pcm, _, channels in runs]
    if any(halves[:-1]):
        with pytest.raises(ValueError, match="the format changed in the middle of a sample"):
            PieceReader([AudioChunk(*chunk) for chunk in chunks], 8000, 1)
        return
    known = PieceReader([AudioChunk(*chunk) for chunk in chunks], 8000, 1)._known
    heard: list[tuple[bytes, int, int]] = []
    for pcm, rate, channels, _ in known:
        if heard and heard[-1][1:] == (rate, channels):
            heard[-1] = (heard[-1][0] + pcm, rate, channels)
        else:
            heard.append((pcm, rate, channels))
    meant = [
        (pcm[: len(pcm) - half], rate, channels)
        for (pcm, rate, channels), half in zip(runs, halves, strict=True)
    ]
    assert heard == [run for run in meant if run[0]]


def test_half_a_sample_at_the_end_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert joined([b"\1", b"\2\3"]) == b"\1\2"
    assert "ended in the middle of a sample" in caplog.text


def test_after_a_refused_change_of_format_the_joiner_begins_anew() -> None:
    joiner = SampleJoiner("audio")
    assert joiner.join(b"\1\2\3", 8000, 1) == [(b"\1\2", 8000, 1)]
    with pytest.raises(ValueError, match=r"from 8000 Hz and 1 channel\(s\) to 16000 Hz and 1"):
        joiner.join(b"\4\5", 16000, 1)
    assert joiner.join(b"\4\5", 16000, 1) == [(b"\4\5", 16000, 1)]
