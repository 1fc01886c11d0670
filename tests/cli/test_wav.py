"""WAV files of every kind that telephone people have, and files that are none."""

from __future__ import annotations

import contextlib
import struct
import sys
import wave
from array import array
from pathlib import Path

import pytest

from roomkit.cli import g711, wav

SAMPLES = array("h", [0, 1, -1, 1000, -1000, 32767, -32768, 256])


def riff(
    kind: int, bits: int, data: bytes, *, channels: int = 1, extensible: bool = False
) -> bytes:
    size = bits // 8 * channels
    header = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else kind, channels, 8000, 8000 * size, size, bits
    )
    if extensible:
        header += struct.pack("<HHIH", 22, bits, 0, kind) + bytes(14)
    chunks = b"LIST\x03\0\0\0abc\0"  # of odd length: padded to an even one
    chunks += b"fmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("kind", "bits", "data", "expected"),
    [
        (1, 16, SAMPLES.tobytes(), SAMPLES),
        (1, 8, bytes([0, 128, 255]), array("h", [-32768, 0, 32512])),
        (1, 24, b"\x12\x34\x56\xff\xff\xff", array("h", [0x5634, -1])),
        (1, 32, struct.pack("<ii", 0x12345678, -(1 << 16)), array("h", [0x1234, -1])),
        (3, 32, struct.pack("<ffff", 0.5, -1.0, 2.0, float("nan")), None),
        (6, 8, bytes(range(256)), g711.decode("PCMA", bytes(range(256)))),
        (7, 8, bytes(range(256)), g711.decode("PCMU", bytes(range(256)))),
    ],
)
def test_every_supported_encoding_is_read(
    tmp_path: Path,
    kind: int,
    bits: int,
    data: bytes,
    expected: array[int] | None,
    extensible: bool,
) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(riff(kind, bits, data, extensible=extensible))
    audio = wav.read(path)
    assert audio.samples == (expected or array("h", [16384, -32768, 32767, 0]))
    assert (audio.sample_rate, audio.channels) == (8000, 1)


def test_what_is_written_is_read_and_is_what_the_standard_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    wav.write(path, SAMPLES, 16000, 2)
    audio = wav.read(path)
    assert audio == wav.Audio(SAMPLES, 16000, 2)
    assert audio.seconds == pytest.approx(4 / 16000)
    with wave.open(str(path)) as file:
        assert file.readframes(99) == audio.pcm()
        assert (file.getnchannels(), file.getframerate()) == (2, 16000)


def test_a_recording_whose_recorder_was_killed_is_read_to_its_end(tmp_path: Path) -> None:
    whole = bytearray(riff(1, 16, SAMPLES.tobytes()))
    for length in (0, 0xFFFFFFFF):
        at = whole.index(b"data") + 4
        whole[at : at + 4] = struct.pack("<I", length)
        path = tmp_path / "killed.wav"
        path.write_bytes(whole)
        assert wav.read(path).samples == SAMPLES


def test_a_sample_or_frame_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(riff(1, 16, SAMPLES.tobytes()[:-3], channels=2))
    assert wav.read(path).samples == SAMPLES[:6]


def test_stereo_becomes_mono_by_the_mean() -> None:
    audio = wav.Audio(array("h", [100, 300, -2, -4, 32767, 32767]), 8000, 2)
    assert audio.mono() == wav.Audio(array("h", [200, -3, 32767]), 8000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not begin with RIFF"),
        (b"OggS" + bytes(40), "does not begin with RIFF"),
        (riff(1, 16, b"")[:20], "no usable format"),
        (riff(1, 16, b""), "holds no sound"),
        (riff(1, 16, b"ab").replace(b"data", b"junk"), "no data chunk"),
        (riff(0x55, 16, b"abcd"), "encoding 85"),
        (riff(1, 12, b"abcd"), "12 bits"),
        (riff(1, 16, b"ab", channels=9), "9 channels"),
    ],
)
def test_what_cannot_be_used_says_why_and_names_the_file(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "wrong.wav"
    path.write_bytes(content)
    with pytest.raises(wav.WavError, match=says) as caught:
        wav.read(path)
    assert "wrong.wav" in str(caught.value)


def test_any_truncation_of_a_file_is_read_or_refused_in_words(tmp_path: Path) -> None:
    whole = riff(1, 16, SAMPLES.tobytes(), extensible=True)
    path = tmp_path / "part.wav"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with contextlib.suppress(wav.WavError):
            assert len(wav.read(path).samples) <= len(SAMPLES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(wav.WavError, match=r"nowhere\.wav: No such file"):
        wav.read(tmp_path / "nowhere.wav")


def test_a_recorder_grows_and_its_header_is_right_once_closed(tmp_path: Path) -> None:
    path = tmp_path / "grow.wav"
    with wav.Recorder(path, 8000) as recorder:
        for _ in range(50):
            recorder.add(bytes(320))
        assert recorder.seconds == pytest.approx(1.0)
    recorder.close()
    assert wav.read(path).seconds == pytest.approx(1.0)


@pytest.mark.skipif(sys.byteorder != "little", reason="writes the test's bytes by hand")
def test_samples_are_little_endian_on_the_wire_of_python() -> None:
    assert wav.samples_of(b"\x01\x00\xff\xff") == array("h", [1, -1])
