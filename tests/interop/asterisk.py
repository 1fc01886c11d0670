"""Runs an Asterisk of its own on the loopback: `chan_rtp`, ARI, and nothing of the machine's.

Debian 12 has no package of it, so nobody can be required to have it. docs/testing.md says how to
build one; `ROOMKIT_ASTERISK` names its prefix if it is not on the PATH.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest

from interop.ari import PASSWORD, USER
from interop.peers import LOOPBACK, Peer, port_range

# More than the channels of any test.
PAIRS = 40


@cache
def program() -> Path:
    """The program; without it the test is skipped, also where peers are required."""
    prefix = os.environ.get("ROOMKIT_ASTERISK")
    found = shutil.which("asterisk", path=f"{prefix}/sbin" if prefix else None)
    if found is None and not prefix:
        found = shutil.which("asterisk", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        _skip(f"no asterisk in {prefix}/sbin" if prefix else "asterisk is missing")
    assert found is not None
    return Path(found)


def _skip(what: str) -> None:
    pytest.skip(
        f"NOT TESTED: {what}; Debian 12 has no package, so it is not required: docs/testing.md has"
        " how to build one, ROOMKIT_ASTERISK=PREFIX says where it is",
        allow_module_level=True,
    )


class Asterisk:
    """Enter it, and it answers on `http_port`; its sounds and recordings are in `path`."""

    def __init__(self, dialplan: str = "") -> None:
        self.program = program()
        # Its control socket has to fit into 107 characters: not below pytest's directories.
        self.path = Path(tempfile.mkdtemp(prefix="roomkit-ast-"))
        self.http_port = _free_tcp_port()
        self.rtp_ports = port_range(PAIRS)
        self._configure(dialplan)
        self.peer = Peer([self.program, "-C", self.path / "asterisk.conf", "-f", "-n", "-vvvv"])

    @property
    def sounds(self) -> Path:
        return self.path / "sounds" / "en"

    def recording(self, name: str) -> Path:
        return self.path / "spool" / "recording" / name

    async def __aenter__(self) -> Asterisk:
        await self.peer.__aenter__()
        try:
            await self.peer.line("Asterisk Ready", timeout=40)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.peer.stop()
        shutil.rmtree(self.path, ignore_errors=True)

    def _configure(self, dialplan: str) -> None:
        for folder in ("run", "log", "spool/recording", "sounds/en", "lib"):
            (self.path / folder).mkdir(parents=True)
        # Where Asterisk was built with them, modules do not load without their descriptions.
        for documentation in _below(self.program.parents[1], "var/lib", "share"):
            if (documentation / "documentation").exists():
                (self.path / "lib" / "documentation").symlink_to(documentation / "documentation")
                break
        first, last = self.rtp_ports
        directories = {
            "astetcdir": self.path,
            "astmoddir": next(
                folder / "modules"
                for folder in _below(self.program.parents[1], "lib", "lib64", "lib/*")
                if (folder / "modules" / "chan_rtp.so").exists()
            ),
            "astvarlibdir": self.path / "lib",
            "astdbdir": self.path / "lib",
            "astkeydir": self.path / "lib",
            "astdatadir": self.path / "lib",
            "astagidir": self.path / "lib",
            "astspooldir": self.path / "spool",
            "astrundir": self.path / "run",
            "astlogdir": self.path / "log",
        }
        (self.path / "lib" / "sounds").symlink_to(self.path / "sounds")
        files = {
            "asterisk.conf": "[directories]\n"
            + "".join(f"{name} => {folder}\n" for name, folder in directories.items()),
            "modules.conf": "[modules]\nautoload=yes\n",
            "logger.conf": "[logfiles]\nconsole => notice,warning,error,verbose(4)\n",
            "http.conf": f"[general]\nenabled=yes\nbindaddr={LOOPBACK}\n"
            f"bindport={self.http_port}\n",
            "ari.conf": f"[general]\nenabled=yes\n[{USER}]\ntype=user\npassword={PASSWORD}\n",
            "rtp.conf": f"[general]\nrtpstart={first}\nrtpend={last}\nrtcpinterval=500\n",
            "extensions.conf": f"[default]\n{dialplan}",
        }
        for name, text in files.items():
            (self.path / name).write_text(text)


def _below(prefix: Path, *folders: str) -> list[Path]:
    """Where Asterisk's own directory may be: below the prefix, or where Debian had it."""
    roots = (prefix, Path("/"))
    return [
        place / "asterisk" for root in roots for folder in folders for place in root.glob(folder)
    ]


def _free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
