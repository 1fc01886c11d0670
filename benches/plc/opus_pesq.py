"""PESQ of Opus on human speech: what complexity is worth, and what becomes of lost packets.

Needs `pip install numpy pesq` (builds from source), cargo, ffmpeg, and 16 kHz speech in G.722
files, by default where Debian's `asterisk-core-sounds-en-g722` puts it.

    python opus_pesq.py [--clips 20] [--loss 0 5 10 20] [--complexity 0 5 10] [--speech DIR]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pesq import pesq

RATE = 16000
FRAME = RATE // 50
CLIP_SECONDS = 8
ROOT = Path(__file__).resolve().parents[2]
MODES = ("fec", "codec", "ours", "zero")

Pcm = NDArray[np.int16]


def clips(directory: Path, count: int) -> list[Pcm]:
    """Prompts in a fixed random order, joined and cut into speech of `CLIP_SECONDS` each."""
    names = sorted(directory.rglob("*.g722"))
    random.Random(1).shuffle(names)
    wanted, size = count * CLIP_SECONDS * RATE, CLIP_SECONDS * RATE
    joined: list[Pcm] = []
    for name in names:
        command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", name, "-f", "s16le", "-"]
        pcm = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, "<i2")
        if len(pcm) >= RATE:
            joined.append(pcm)
            if sum(map(len, joined)) >= wanted:
                break
    speech = np.concatenate(joined)
    return [speech[i * size : (i + 1) * size] for i in range(min(count, len(speech) // size))]


def heard(program: Path, pcm: Pcm, bitrate: int, complexity: int, lost: str, mode: str) -> Pcm:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pattern:
        pattern.write(lost)
        pattern.flush()
        arguments = [program, str(RATE), str(bitrate), str(complexity), pattern.name, mode]
        out = subprocess.run(arguments, input=pcm.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(out, dtype=np.int16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--loss", type=float, nargs="*", default=[0, 5, 10, 20])
    parser.add_argument("--complexity", type=int, nargs="*", default=[0, 5, 10])
    parser.add_argument("--bitrate", type=int, default=24000)
    parser.add_argument("--speech", type=Path, default=Path("/usr/share/asterisk/sounds"))
    options = parser.parse_args()
    build = ["cargo", "build", "--quiet", "--release", "-p", "roomkit-media"]
    subprocess.run([*build, "--example", "opus_loss"], cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
    found = subprocess.run(metadata, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    target = found.split('"target_directory":"')[1].split('"')[0]
    program = Path(target) / "release" / "examples" / "opus_loss"
    speech = clips(options.speech, options.clips)

    def quality(complexity: int, loss: float, mode: str) -> float:
        scores = []
        for number, pcm in enumerate(speech):
            rng = random.Random(number)
            lost = "".join("01"[rng.random() < loss / 100] for _ in range(len(pcm) // FRAME))
            out = heard(program, pcm, options.bitrate, complexity, lost, mode)
            scores.append(float(pesq(RATE, pcm, out, "wb")))
        return sum(scores) / len(scores)

    print(f"{len(speech)} clips of {CLIP_SECONDS} s, {options.bitrate} bit/s, wide band")
    for complexity in options.complexity:
        print(f"no loss, complexity {complexity:2}: {quality(complexity, 0, 'codec'):.2f}")
    for loss in options.loss:
        if loss:
            row = "  ".join(f"{mode} {quality(5, loss, mode):.2f}" for mode in MODES)
            print(f"{loss:4.0f} % lost: {row}")


if __name__ == "__main__":
    main()
