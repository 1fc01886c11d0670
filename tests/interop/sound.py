"""Speech to send, and what a correct decoder makes of it: ffmpeg says, not our own codecs."""

from __future__ import annotations

import subprocess
import wave
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from interop.peers import REQUIRED, not_tested, require

Pcm: TypeAlias = npt.NDArray[np.int16]

# Debian's asterisk-core-sounds-en-wav: a human voice, 8 kHz, recorded for telephones; and the same
# with twice the band, of asterisk-core-sounds-en-g722.
HUMAN = Path("/usr/share/asterisk/sounds/en_US_f_Allison/vm-intro.wav")
WIDE = HUMAN.with_suffix(".g722")
SECONDS = 3.0

# The raw formats of ffmpeg that carry each codec, and its name there.
RAW = {"PCMU": ("mulaw", "pcm_mulaw"), "PCMA": ("alaw", "pcm_alaw"), "L16": ("s16be", "pcm_s16be")}


@cache
def speech(sample_rate: int = 8000) -> Pcm:
    """About three seconds of a human voice, mono; where there is none, the package's synthesised.

    Above 8 kHz it is recorded in 16 kHz: telephone speech would not show what a wide-band codec
    does to the upper band.
    It begins and ends in the middle of a sound: what is missing there cannot be mistaken for a
    pause. It is whole packets of 20 ms long, so that a sender need not pad the last one.
    """
    source = HUMAN if sample_rate <= 8000 else WIDE
    if not source.exists():
        if REQUIRED:
            packages = "asterisk-core-sounds-en-wav asterisk-core-sounds-en-g722"
            not_tested("real human speech", f"apt-get install {packages}")
        source = Path(str(files("roomkit") / "data" / "story.wav"))
    raw = _ffmpeg(
        *("-i", str(source), "-t", str(SECONDS + 1), "-ac", "1", "-ar", str(sample_rate)),
        *("-f", "s16le", "-"),
    )
    pcm = np.frombuffer(raw, "<i2")
    loud = np.abs(pcm.astype(int)) > 500
    pcm, loud = pcm[np.argmax(loud) :], loud[np.argmax(loud) :]
    packet = sample_rate // 50
    ends = np.flatnonzero(loud[packet - 1 : int(SECONDS * sample_rate) : packet])
    pcm = pcm[: (int(ends[-1]) + 1) * packet]
    assert len(pcm) > 2 * sample_rate, "the clip is too short"
    return pcm


def coded(pcm: Pcm, codec: str) -> Pcm:
    """What is left of the samples after ffmpeg has encoded and decoded them.

    Encoders of G.711 differ in how they round what lies between two code words, decoders in
    nothing. Samples that have been through one are code words, which all agree on.
    """
    raw_format, encoder = RAW[codec]
    packets = _ffmpeg(
        *("-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-"),
        *("-c:a", encoder, "-f", raw_format, "-"),
        stdin=pcm.astype("<i2").tobytes(),
    )
    decoded = _ffmpeg(
        *("-f", raw_format, "-ar", "8000", "-ac", "1", "-i", "-"),
        *("-c:a", "pcm_s16le", "-f", "s16le", "-"),
        stdin=packets,
    )
    return np.frombuffer(decoded, "<i2")


def write_wav(path: Path, pcm: Pcm, sample_rate: int, channels: int = 1) -> Path:
    """Mono, or the same in each of the channels."""
    pcm = np.repeat(pcm, channels)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(2)
        wav.setframerate(sample_rate)
        wav.writeframes(pcm.astype("<i2").tobytes())
    return path


def assert_contains(heard: Pcm, wanted: Pcm) -> int:
    """The whole of `wanted` is in `heard`, sample for sample and in one piece; returns where.

    That says at once: right codec, right speed, right polarity, nothing lost at the start, in the
    middle or at the end, nothing inserted.
    """
    at = best_offset(heard, wanted)
    piece = heard[at : at + len(wanted)]
    if len(piece) == len(wanted) and np.array_equal(piece, wanted):
        return at
    differs = np.flatnonzero(piece != wanted[: len(piece)])
    first = int(differs[0]) if len(differs) else len(piece)
    raise AssertionError(
        f"heard {len(heard)} samples, wanted {len(wanted)} of them; best fit at sample {at};"
        f" {len(differs)} differ, the first at {first}; {len(wanted) - len(piece)} are missing:"
        f" heard {piece[first : first + 8].tolist()}, wanted {wanted[first : first + 8].tolist()}"
    )


def best_offset(heard: Pcm, wanted: Pcm, before: int = 0) -> int:
    """Where `wanted` fits best, by cross-correlation; it may begin `before` samples too early."""
    size = 1 << (len(heard) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(
        np.fft.rfft(wanted.astype(float), size)
    )
    correlation = np.roll(np.fft.irfft(spectrum, size), before)[: max(1, len(heard)) + before]
    return int(np.argmax(correlation)) - before


def _ffmpeg(*arguments: str, stdin: bytes | None = None) -> bytes:
    command = [require("ffmpeg", "ffmpeg"), "-hide_banner", "-loglevel", "error", *arguments]
    run = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout
