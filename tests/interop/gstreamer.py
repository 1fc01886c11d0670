"""Drives `gst_peer.py`, a GStreamer call in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from interop.peers import Peer, not_tested, require
from interop.sound import Pcm

# Debian's own Python: the bindings are not on PyPI.
PYTHON = "/usr/bin/python3"
ELEMENTS = {
    "rtpbin": "gstreamer1.0-plugins-good",
    "rtppcmupay": "gstreamer1.0-plugins-good",
    "rtpdtmfsrc": "gstreamer1.0-plugins-bad",
    "rtpdtmfmux": "gstreamer1.0-plugins-bad",
    "rtpdtmfdepay": "gstreamer1.0-plugins-bad",
    "srtpenc": "gstreamer1.0-plugins-bad",
    "avdec_g722": "gstreamer1.0-libav",
    "opusenc": "gstreamer1.0-plugins-base",
    "audioresample": "gstreamer1.0-plugins-base",
}
EVENTS = "0123456789*#ABCD"


@cache
def missing() -> str | None:
    """The packages to install before GStreamer can be a peer; None if it can."""
    bindings = "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst"
    if (
        not Path(PYTHON).exists()
        or subprocess.run([PYTHON, "-c", bindings], check=False).returncode
    ):
        return "python3-gi gir1.2-gstreamer-1.0"
    inspect = require("gst-inspect-1.0", "gstreamer1.0-tools")
    packages = {
        package
        for element, package in ELEMENTS.items()
        if subprocess.run([inspect, "--exists", element], check=False).returncode
    }
    return " ".join(sorted(packages)) or None


class GStreamer:
    """One call of rtpbin: plays a file, records what it hears, presses keys, tells statistics."""

    def __init__(self, port: int, remote: int, record: Path, **options: object) -> None:
        if packages := missing():
            not_tested("GStreamer is missing, or parts of it", f"apt-get install {packages}")
        self.record = record
        command: list[str | Path] = [PYTHON, Path(__file__).with_name("gst_peer.py")]
        command += ["--port", str(port), "--remote", str(remote), "--record", record]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        self.peer = Peer(command, stdin=True)

    async def __aenter__(self) -> GStreamer:
        await self.peer.__aenter__()
        try:
            await self.wait("running")
        except AssertionError:
            await self.peer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.peer.stop()

    def said(self, what: str) -> list[dict[str, Any]]:
        """All messages of that name so far."""
        messages = [json.loads(line) for line in self.peer.lines if line.startswith("{")]
        return [message for message in messages if message["what"] == what]

    async def wait(self, what: str, *, after: int = 0, timeout: float = 15.0) -> dict[str, Any]:
        """The first message of that name from output line number `after` on."""
        line = await self.peer.line(rf'^{{"what": "{what}"', after=after, timeout=timeout)
        message: dict[str, Any] = json.loads(line)
        return message

    @property
    def digits(self) -> str:
        """The digits that rtpdtmfdepay reported."""
        return "".join(EVENTS[message["number"]] for message in self.said("dtmf-event"))

    def press(self, digit: str, milliseconds: int) -> None:
        self.peer.tell(f"digit {EVENTS.index(digit)} {milliseconds}")

    async def source(self, ssrc: int, packets: int) -> dict[str, Any]:
        """What rtpbin knows of that source once it has got that many packets of it."""
        source: dict[str, Any] = {}
        async with asyncio.timeout(10):
            while source.get("packets-received", 0) < packets:
                after = len(self.peer.lines)
                self.peer.tell("stats")
                stats = await self.wait("stats", after=after)
                found = [each for each in stats["sources"] if each["ssrc"] == ssrc]
                source = found[0] if found else {}
        return source

    async def quit(self) -> None:
        """Ends the call, so that the recording is whole."""
        self.peer.tell("quit")
        assert await self.peer.exit() == 0, self.peer

    @property
    def heard(self) -> Pcm:
        return np.frombuffer(self.record.read_bytes(), "<i2")
