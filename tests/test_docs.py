"""Runs what the README and the documentation show, against a real peer, so that neither can lie."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import re
import shlex
import sys
import types
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np
import pytest

import roomkit.cli
import snippets
from interop.peers import LOOPBACK, Peer, bound, free_ports, require, until
from interop.sound import write_wav
from roomkit.rtp import RTPOptions, RTPSession, RTPStats
from snippets import blocks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What a program imports from; the rest of the package is reached by these.
PUBLIC = [
    "roomkit",
    "roomkit.errors",
    "roomkit.rtp",
    "roomkit.rtp.sdp",
    "roomkit.testing",
    "roomkit.voice",
    "roomkit.voice.pipeline",
    "roomkit.voice.stt",
    "roomkit.voice.tts",
    "roomkit.voice.vad",
]
# What runs a pipeline for a channel.
INNER = {"PipelineEngine", "PipelineSink", "open_recording"}
RUNNABLE = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


async def keep_calling(port: int, own_port: int) -> None:
    """Calls whoever listens on `port`, speaks, presses 5, and hangs up; again and again."""
    while True:
        await until(lambda: bound(port), "the page's program listens", timeout=60)
        async with RTPSession(
            local_addr=(LOOPBACK, own_port), remote_addr=(LOOPBACK, port), rtcp_interval=0.5
        ) as call:
            # Two seconds of a tone-like pattern, with a digit in between.
            half = bytes([0, 16, 0, 32, 0, 16, 0, 240]) * 2000
            await call.play(half)
            call.send_dtmf("5", duration_ms=80)
            await call.play(half)
        # A call at once after the goodbye would be the same call under another SSRC.
        with contextlib.suppress(TimeoutError):
            await until(lambda: not bound(port), "the page's program is over", timeout=1)


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.relative_to(ROOT).as_posix())
async def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    if "EspeakTTS()" in page.read_text():
        require("espeak-ng", "espeak-ng")
    local, remote, _ = free_ports(3)
    caller = asyncio.create_task(keep_calling(local, remote))
    command: list[str | Path] = [
        sys.executable,
        "-W",
        "error",
        snippets.__file__,
        page,
        str(local),
        str(remote),
    ]
    try:
        async with Peer(command) as program:
            code = await program.exit(timeout=60)
    finally:
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller
    assert code == 0, program
    count = sum(block.language == "python" for block in blocks(page))
    assert program.lines[-1] == f"ran {count} blocks", program


def test_the_pages_that_are_meant_to_run_do() -> None:
    assert {"README.md", "backend.md", "quickstart.md", "session.md"} <= {
        page.name for page in RUNNABLE
    }


def test_every_option_is_documented_with_its_default() -> None:
    documented = dict(table(ROOT / "docs/options.md"))
    options = {
        option.name: option.default
        for option in fields(RTPOptions)
        if option.init and option.default is not MISSING
    }
    assert documented == {name: repr(default) for name, default in options.items()}


def test_every_statistic_is_documented() -> None:
    documented = [name for name, _ in table(ROOT / "docs/statistics.md")]
    assert sorted(documented) == sorted(counter.name for counter in fields(RTPStats))


def test_every_public_name_has_its_place_in_the_reference() -> None:
    shown = [
        name
        for page in (ROOT / "docs/reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)
    ]
    assert len(shown) == len(set(shown))
    described = {name.rpartition(".")[2] for name in shown}
    public: set[str] = set()
    for module in PUBLIC:
        public |= set(importlib.import_module(module).__all__)
    assert public - INNER - described == set()


def test_every_local_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_line_shown_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(ROOT / "docs/tutorial.md"):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    monkeypatch.syspath_prepend(tmp_path)
    lines = [
        command
        for page in PAGES
        for block in blocks(page)
        if block.language == "sh"
        for line in block.text.replace("\\\n", " ").splitlines()
        if (command := line.rpartition("&& ")[2]).startswith("roomkit ")
    ]
    assert len(lines) > 2
    # Parsed and checked to the end, and then not run.
    ran: list[str] = []

    def note(options: argparse.Namespace) -> int:
        ran.append(options.command)
        return 0

    monkeypatch.setattr(roomkit.cli, "import_module", lambda _: types.SimpleNamespace(run=note))
    monkeypatch.delitem(sys.modules, "menu", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "offer.sdp").touch()
    write_wav(tmp_path / "question.wav", np.zeros(160, np.int16), 8000)
    for line in lines:
        assert roomkit.cli.main(shlex.split(line)[1:]) == 0, line
    assert set(ran) == {"demo", "serve", "call", "sdp"}


def table(page: Path) -> list[tuple[str, str]]:
    """The first two cells of each table row whose first is one name in code style."""
    return [
        (name, second.strip().strip("`").replace("\\|", "|"))
        for name, second in re.findall(r"^\| `(\w+)` \| (.*?) \|", page.read_text(), re.MULTILINE)
    ]
