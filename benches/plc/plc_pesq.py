"""PESQ of packet loss concealment on human speech: ours, zero fill and spandsp's, same losses.

Needs `pip install numpy pesq` (builds from source), cargo, and a directory of 8 kHz mono WAV
speech, by default where Debian's `asterisk-core-sounds-en-wav` puts it. With Debian's `libspandsp2`
installed, its concealment is measured beside ours.

    python plc_pesq.py [--clips 60] [--frame-ms 20] [--loss 5 10] [--bursts] [--speech DIR]
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import random
import subprocess
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pesq import pesq  # type: ignore[import-untyped]

RATE = 8000
CLIP_SECONDS = 8
CRATE = Path(__file__).resolve().parents[2] / "crates" / "media"

Pcm = NDArray[np.int16]


def clips(directory: Path, count: int) -> list[Pcm]:
    """Speech of `CLIP_SECONDS` each: prompts of a second and more in a fixed random order, joined.

    PESQ needs active speech and stays comparable only between clips of like length.
    """
    names = sorted(directory.rglob("*.wav"))
    random.Random(1).shuffle(names)
    joined: list[Pcm] = []
    for name in names:
        with wave.open(str(name)) as wav:
            if wav.getframerate() != RATE or wav.getnchannels() != 1 or wav.getsampwidth() != 2:
                continue
            if wav.getnframes() >= RATE:
                joined.append(np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2"))
    speech = np.concatenate(joined)
    size = CLIP_SECONDS * RATE
    return [speech[i * size : (i + 1) * size] for i in range(min(count, len(speech) // size))]


def losses(frames: int, loss: float, bursts: bool, seed: int) -> list[bool]:
    """Which frames are lost; the first 25 never are.

    Bursts follow Gilbert's model: two frames long on average, at the same loss in all.
    """
    rng = random.Random(seed)
    lost: list[bool] = []
    for i in range(frames):
        p = loss
        if bursts:
            p = 0.5 if lost and lost[-1] else 0.5 * loss / (1 - loss)
        lost.append(rng.random() < p and i >= 25)
    return lost


def ours(binary: Path, mode: str, frame_ms: int) -> Callable[[Pcm, list[bool]], Pcm]:
    """The crate's example, which conceals raw PCM by a loss pattern."""

    def run(pcm: Pcm, lost: list[bool]) -> Pcm:
        with tempfile.NamedTemporaryFile("w") as pattern:
            pattern.write("".join("1" if x else "0" for x in lost))
            pattern.flush()
            command = [str(binary), str(RATE), str(frame_ms), pattern.name, mode]
            done = subprocess.run(command, input=pcm.tobytes(), capture_output=True, check=True)
        return np.frombuffer(done.stdout, dtype=np.int16)

    return run


def spandsp(library: str, frame_ms: int) -> Callable[[Pcm, list[bool]], Pcm]:
    """spandsp's `plc_rx`/`plc_fillin` through ctypes."""
    lib = ctypes.CDLL(library)
    lib.plc_init.restype = ctypes.c_void_p
    for name in ("plc_rx", "plc_fillin"):
        getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]

    def run(pcm: Pcm, lost: list[bool]) -> Pcm:
        out = pcm.copy()
        # The library may allocate the state itself, but a zeroed buffer of our own needs no free.
        state = ctypes.create_string_buffer(65536)
        lib.plc_init.argtypes = [ctypes.c_void_p]
        lib.plc_init(ctypes.addressof(state))
        size = RATE * frame_ms // 1000
        for i, gone in enumerate(lost):
            piece = out[i * size : (i + 1) * size]
            call = lib.plc_fillin if gone else lib.plc_rx
            call(ctypes.addressof(state), piece.ctypes.data, len(piece))
        return out

    return run


def build() -> Path:
    """Builds the example; returns its path."""
    command = ["cargo", "build", "--release", "--example", "conceal", "--message-format=short"]
    subprocess.run(command, cwd=CRATE, check=True)
    meta = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    text = subprocess.run(meta, cwd=CRATE, check=True, capture_output=True, text=True).stdout
    target = text.split('"target_directory":"')[1].split('"')[0]
    return Path(target) / "release" / "examples" / "conceal"


def main() -> None:
    """Prints a line per loss rate and method: mean and standard error of PESQ (P.862.1 MOS-LQO)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frame-ms", type=int, default=20)
    parser.add_argument("--loss", type=float, nargs="+", default=[5.0, 10.0], help="percent")
    parser.add_argument("--bursts", action="store_true")
    parser.add_argument("--speech", type=Path, default=Path("/usr/share/asterisk/sounds"))
    parser.add_argument("--binary", type=Path, help="the built example, instead of building it")
    args = parser.parse_args()

    binary = args.binary or build()
    methods = {
        "ours": ours(binary, "plc", args.frame_ms),
        "zero fill": ours(binary, "zero", args.frame_ms),
    }
    library = ctypes.util.find_library("spandsp")
    if library:
        methods["spandsp"] = spandsp(library, args.frame_ms)
    speech = clips(args.speech, args.clips)
    if not speech:
        raise SystemExit(f"no 8 kHz mono speech under {args.speech}")
    kind = "bursty" if args.bursts else "random"
    print(f"{len(speech)} clips of {CLIP_SECONDS} s, frames of {args.frame_ms} ms, {kind} loss")
    for percent in args.loss:
        for name, conceal in methods.items():
            scores = []
            for seed, clip in enumerate(speech):
                frames = len(clip) * 1000 // RATE // args.frame_ms
                lost = losses(frames, percent / 100, args.bursts, seed)
                scores.append(pesq(RATE, clip, conceal(clip, lost), "nb"))
            error = np.std(scores) / np.sqrt(len(scores))
            print(f"{percent:4.0f} % loss  {name:10s} PESQ {np.mean(scores):.3f} ± {error:.3f}")


if __name__ == "__main__":
    main()
