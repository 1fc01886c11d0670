"""Starts, watches and stops the other implementations, each by its own process id.

A peer that is not installed skips its test with a line that says what has not been tested; with
`ROOMKIT_REQUIRE_PEERS=1` in the environment, as in CI, it fails the test instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

REQUIRED = os.environ.get("ROOMKIT_REQUIRE_PEERS") == "1"
LOOPBACK = "127.0.0.1"
# Even ports below the range that the kernel hands out for port 0. Processes that test at the same
# time start looking at different places.
_LOWEST, _ABOVE = 12000, 32000
_next_port = _LOWEST + (os.getpid() * 64) % 16000
# What `free_ports` gave for media, in its order; see `media_ports`.
_media: list[int] = []


def not_tested(what: str, remedy: str) -> None:
    """Skips the test, or the file that calls this outside of one, loudly; or fails it where peers
    are required."""
    message = f"NOT TESTED: {what}; to test it: {remedy}"
    if REQUIRED:
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)


def require(program: str, package: str) -> str:
    """The program's path; without it the test is skipped or fails."""
    path = shutil.which(program)
    if path is None:
        not_tested(f"{program} is missing", f"apt-get install {package}")
    assert path is not None
    return path


def oracle(module: str, remedy: str) -> Any:
    """Another implementation that is a Python module. Some have no wheels for some machines, and
    one cannot be imported without its C library: a whole run must not end for that."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (opuslib raises a bare one where libopus is missing)
        not_tested(f"{module} is missing ({error})", remedy)


def free_ports(count: int = 1, *, media: bool = True) -> list[int]:
    """`count` even UDP ports of 127.0.0.1 whose odd neighbour is free too (RFC 3550 §11).

    No two calls return the same, so that nothing else in this process takes one between the look
    and the use. With `media=False` they are for signalling: no capture takes them for RTP.
    """
    found: list[int] = []
    for _ in range(8000):
        port = _take()
        if _free(port) and _free(port + 1):
            found.append(port)
            if len(found) == count:
                _media.extend(found if media else ())
                return found
    raise RuntimeError(f"no {count} free pairs of UDP ports below {_ABOVE}")


def port_range(pairs: int) -> tuple[int, int]:
    """The first and the last of so many free even ports in a row, odd neighbours included."""
    for _ in range(200):
        ports = [port for port in (_take() for _ in range(pairs)) if _free(port)]
        if len(ports) == pairs and ports[-1] - ports[0] == 2 * (pairs - 1):
            _media.extend(ports)
            return ports[0], ports[-1] + 1
    raise RuntimeError(f"no {pairs} free pairs of UDP ports in a row below {_ABOVE}")


def media_ports(since: int = 0) -> list[int]:
    """The even ports that were handed out for media, from the number `since` on."""
    return _media[since:]


def coming_ports(pairs: int) -> tuple[int, int]:
    """Where the next so many pairs are found: the first port and the last.

    Near the end of the range the search begins again at its start, lest they lie in two places.
    """
    global _next_port
    if _next_port + 2 * pairs > _ABOVE:
        _next_port = _LOWEST
    return _next_port, _next_port + 2 * pairs - 1


def bound(port: int) -> bool:
    """Whether a process has bound this UDP port of this machine."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                if line.split()[1].endswith(wanted):
                    return True
    return False


async def until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Waits for something outside of this process that announces itself to nobody."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"after {timeout} s still not: {what}")
        await asyncio.sleep(0.01)  # sleep: the period of a bounded look at another process


class Peer:
    """A process, its output lines, and a sure end.

    ::

        async with Peer([ffmpeg, …]) as peer:
            await peer.line("Stream mapping")
            …
            code = await peer.exit(timeout=10)
    """

    def __init__(self, command: Sequence[str | Path], *, stdin: bool = False) -> None:
        self.command = [str(part) for part in command]
        self.lines: list[str] = []
        self._stdin = stdin
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()
        self._ended = False

    async def __aenter__(self) -> Peer:
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE if self._stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
        )
        self._readers.append(asyncio.create_task(self._read()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the peer has not been started"
        return self._process

    async def line(self, pattern: str, *, after: int = 0, timeout: float = 15.0) -> str:
        """The first output line, from number `after` on, in which `pattern` is found."""
        wanted = re.compile(pattern)

        def found() -> str | None:
            return next((line for line in self.lines[after:] if wanted.search(line)), None)

        try:
            async with asyncio.timeout(timeout), self._news:
                while (line := found()) is None:
                    if self._ended:
                        raise AssertionError(f"no {pattern!r} before the end of {self}")
                    await self._news.wait()
                return line
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} in {timeout} s from {self}") from None

    def tell(self, line: str) -> None:
        """Writes one line to the peer's standard input."""
        stdin = self.process.stdin
        assert stdin is not None, "the peer was started without stdin"
        stdin.write(line.encode() + b"\n")

    async def exit(self, timeout: float = 15.0) -> int:
        """Waits for the peer to end by itself and returns its exit code."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._readers)
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"did not end in {timeout} s: {self}") from None

    async def interrupt(self, timeout: float = 5.0) -> int:
        """Asks the peer to end as Ctrl-C would, and waits."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        return await self.exit(timeout)

    async def stop(self) -> None:
        """Ends the process whatever it takes. Idempotent."""
        for send in (self.process.terminate, self.process.kill):
            if self.process.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                send()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), 3.0)
        if self.process.stdin is not None:
            self.process.stdin.close()
        await asyncio.gather(*self._readers)

    def __str__(self) -> str:
        tail = "\n  ".join(self.lines[-40:])
        return f"{' '.join(self.command)}\n  {tail}"

    async def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        while raw := await stdout.readline():
            async with self._news:
                # ffmpeg rewrites its progress line with carriage returns.
                self.lines += raw.decode(errors="replace").rstrip().split("\r")
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()


def _take() -> int:
    global _next_port
    port = _next_port
    _next_port = port + 2 if port + 2 < _ABOVE else _LOWEST
    return port


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
