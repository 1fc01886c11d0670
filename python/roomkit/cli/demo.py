"""`roomkit demo`: a whole call on this machine, seen, heard, written down and judged.

Three processes: this one answers, with the `menu` application on the framework; the caller and the
wire between them are children. What they wrote down is judged when the call is over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from roomkit import Call
from roomkit.cli import arguments
from roomkit.cli.apps import menu
from roomkit.cli.figures import figures
from roomkit.cli.journal import Entry, Journal
from roomkit.cli.judge import (
    APPLICATION_WAV,
    CALLER_WAV,
    PACKETS,
    RECORD,
    Check,
    Evidence,
    judge,
    pacing,
)
from roomkit.cli.portrait import portrait
from roomkit.cli.running import failed, first_of, stop_on_signals
from roomkit.cli.serve import answer
from roomkit.cli.tape import Tape
from roomkit.cli.view import Meter, Step, View, open_view
from roomkit.errors import CallEnded

__all__ = ["run"]

_LIMIT = 90.0
"""Seconds after which a call that does not end is given up; it takes about 30."""
_GRACE = 5.0
"""Seconds that a child has to end."""
PICTURE = "call.svg"


def run(options: argparse.Namespace) -> int:
    """Makes the call and judges it. The exit code: 0 heard, 1 not heard or not possible, 130
    stopped by Ctrl-C."""
    try:
        folder = _folder(options.out)
        return asyncio.run(_demo(options, folder))
    except OSError as error:
        return failed(error)


def conclude(folder: Path) -> int:
    """Judges what lies in `folder`, draws the picture, prints the verdict; the exit code."""
    evidence = Evidence.load(folder)
    checks = judge(evidence)
    (folder / PICTURE).write_text(portrait(evidence, checks))
    _print(evidence, checks, folder)
    return 0 if all(check.passed for check in checks) else 1


async def _demo(options: argparse.Namespace, folder: Path) -> int:
    began = time.time()
    journal, tape = Journal("application"), Tape(folder / APPLICATION_WAV, origin=began)
    far: dict[str, Any] = {"status": {"levels": [], "figures": {}}}
    steps = _Steps(journal)
    meters = [Meter("caller hears"), Meter("application hears")]
    with stop_on_signals() as stop:
        loss = [f"{options.loss:g}"] if options.loss else []
        async with _child("tap", str(folder / PACKETS), *loss) as tap:
            ports = await _line(tap)
            far_end = (str(ports["caller"]), options.codec, str(folder / CALLER_WAV), f"{began}")
            async with _child("caller", *far_end) as caller:
                far.update(await _line(caller))
                backend_options = {
                    "local_addr": ("127.0.0.1", 0),
                    "remote_addr": ("127.0.0.1", ports["application"]),
                    "codecs": [arguments.codec(options.codec)],
                    "rtcp_interval": 2.0,
                }
                async with answer(journal, tape, backend_options) as call:
                    _send(tap, application=_port(call), caller=far["port"])

                    def refresh() -> None:
                        meters[0].levels = far["status"]["levels"]
                        meters[0].level_db = (meters[0].levels or [-96.0])[-1]
                        meters[0].figures = far["status"]["figures"]
                        meters[1].level_db, meters[1].levels = tape.level_db, tuple(tape.levels)
                        meters[1].figures = figures(call.backend.stats(call.session))

                    title = f"roomkit demo: {options.codec} over loopback"
                    view = View(title, journal, meters, steps.steps, refresh, began)
                    with open_view(view, plain=options.plain):
                        hearing = asyncio.ensure_future(_follow(caller, journal, far))
                        with contextlib.suppress(TimeoutError, CallEnded):
                            async with asyncio.timeout(_LIMIT):
                                await first_of(
                                    stop.wait(), call.ended(), menu(call), _over(hearing)
                                )
                        journal.note("end", "hangs up")
                        await call.hang_up()
                        stats = dict(call.backend.stats(call.session))
                        if not stop.is_set():
                            # The caller writes its recording when it has heard the BYE.
                            with contextlib.suppress(TimeoutError):
                                async with asyncio.timeout(_GRACE):
                                    await hearing
                        hearing.cancel()
    if stop.is_set():
        print(f"stopped; nothing was judged. What there is lies in {folder}")
        return 130
    if "tape" not in far or not tape.sample_rate:
        return failed(f"the call broke off: the caller ended early. What there is lies in {folder}")
    record = {
        "codec": options.codec,
        "loss": options.loss / 100,
        "began": began,
        "entries": [asdict(entry) for entry in journal.entries],
        "tapes": {"caller": far["tape"], "application": tape.facts()},
        "stats": {"caller": far["stats"], "application": stats},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1))
    return conclude(folder)


class _Steps:
    """The parts of the call, ticked off as its journal tells of them."""

    _PARTS = (
        ("greeting", "said", "greeting", None),
        ("menu", "said", "menu", None),
        ("recording", "recorded", None, None),
        ("playing it back", "said", "message", None),
        ("stopped by a key", "said", "menu", "key"),
        ("stopped by voice", "said", "story", "voice"),
        ("goodbye", "said", "goodbye", None),
    )

    def __init__(self, journal: Journal) -> None:
        self.steps = [Step(title) for title, *_ in self._PARTS]
        journal.listeners.append(self._on_entry)

    def _on_entry(self, entry: Entry) -> None:
        for step, (_, kind, clip, cut) in zip(self.steps, self._PARTS, strict=True):
            fits = clip is None or (entry.data.get("clip"), entry.data.get("cut")) == (clip, cut)
            if entry.kind == kind and entry.who == "application" and fits:
                step.done = True


# --- children --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _child(module: str, *argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of our modules as a process. It ends when its standard input does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"roomkit.cli.{module}",
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_GRACE):
                # It may still have something to say, and would wait for ever to be heard.
                while process.stdout is not None and await process.stdout.read(65536):
                    pass
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The first line that a child says: its ports."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = await process.stdout.readline()
    if not line:
        raise OSError("a child process of the demo did not start; see its message above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _send(process: asyncio.subprocess.Process, **message: int) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")


async def _follow(
    caller: asyncio.subprocess.Process, journal: Journal, far: dict[str, Any]
) -> None:
    """Takes what the caller tells, until it ends."""
    assert caller.stdout is not None
    while line := await caller.stdout.readline():
        message = json.loads(line)
        if "kind" in message:
            journal.take(Entry(**message))
        else:
            far.update(message)


async def _over(hearing: asyncio.Task[None]) -> None:
    await asyncio.shield(hearing)


def _port(call: Call) -> int:
    port: int = call.session.metadata["local_addr"][1]
    return port


# --- files and words -------------------------------------------------------------------------


def _folder(wanted: Path | None) -> Path:
    """A folder of its own for each call. Raises `OSError` when it cannot be made or holds one."""
    folder = wanted or Path(f"roomkit-demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD).exists():
        raise FileExistsError(f"{folder} holds a call already; another folder is expected")
    return folder


def _print(evidence: Evidence, checks: list[Check], folder: Path) -> None:
    print()
    for check in checks:
        print(f"{'✓' if check.passed else '✗'} {check.text}")
    for to in ("caller", "application"):
        paced = pacing(evidence, to)
        print(
            f"  packets to the {to}, interval against its due: median {paced.at(0.5):.2f} ms,"
            f" p99 {paced.at(0.99):.2f} ms, worst {paced.at(1.0):.2f} ms"
        )
    print()
    print(f"{folder / PICTURE}   the picture of the call (open it in a browser)")
    print(f"{folder / CALLER_WAV}   {folder / APPLICATION_WAV}")
    print(f"{folder / PACKETS}   {folder / RECORD}")
    failures = sum(not check.passed for check in checks)
    if failures:
        print(f"NOT HEARD: {failures} of {len(checks)} checks failed")
    else:
        print(f"HEARD: all {len(checks)} checks passed")
