"""The code blocks of a Markdown page, and a runner that executes them as a reader would type them.

As a program, `python snippets.py PAGE LOCAL_PORT REMOTE_PORT` runs a page's Python blocks in order,
in one namespace, top-level `await` allowed, and then calls the functions `test_…` that they define,
as pytest would. The addresses that the documentation uses become ports of the loopback, where the
test has a peer.

Blocks in a comment (`<!--` before the fence) run as the others do, unseen by readers. One with a
title is a file of that name: it is run as a program, and those after it can import it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import runpy
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r'^```(\w*)(?: title="([\w.]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    title: str
    """The file that it is; empty: it is none."""
    text: str
    line: int
    """Number of its first line in the page, from 1."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start(3)) + 1)
        for match in _FENCE.finditer(text)
    ]


def on_loopback(text: str, local: int, remote: int) -> str:
    """`text` with the documentation's addresses replaced."""
    for written, port in (
        ('"0.0.0.0", 10000', local),
        ('"192.168.1.100", 20000', remote),
        ('"192.168.1.100", 20002', remote + 2),
    ):
        text = text.replace(written, f'"127.0.0.1", {port}')
    return text


def run(page: Path, local: int, remote: int) -> int:
    """Executes the page's Python blocks and its tests; returns how many blocks there were."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    python = [block for block in blocks(page) if block.language == "python"]
    with asyncio.Runner() as runner:
        for block in python:
            # Blank lines in front, so that a traceback has the page's line numbers.
            source = "\n" * (block.line - 1) + on_loopback(block.text, local, remote)
            if block.title:
                Path(block.title).write_text(source)
                namespace |= runpy.run_path(block.title, run_name="__main__")
                continue
            code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, namespace)
            if inspect.iscoroutine(result):
                runner.run(result)
    for name, test in list(namespace.items()):
        if name.startswith("test_") and callable(test):
            test()
    return len(python)


if __name__ == "__main__":
    page = Path(sys.argv[1]).resolve()
    # What a page writes, it writes where nobody misses it.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        count = run(page, int(sys.argv[2]), int(sys.argv[3]))
        os.chdir("/")
    print(f"ran {count} blocks")
