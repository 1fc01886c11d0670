"""baresip, a softphone: calls us by SIP, plays a file into the call, records what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import json
import wave
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from interop.peers import LOOPBACK, Peer, free_ports, port_range, require
from interop.sound import Pcm

PACKAGE = "baresip-core"
_MODULES = Path("/usr/lib/baresip/modules")


class Baresip:
    """A softphone of our own on the loopback, in a directory of its own."""

    def __init__(self, path: Path, codec: str, play: Path) -> None:
        """`codec`: as baresip names it, `"pcmu/8000/1"`; `play`: a WAV file in its rate and
        channels, at whose end it hangs up."""
        self._path = path
        [port, self._control_port] = free_ports(2, media=False)
        first, last = port_range(2)
        modules = "g711 g722 l16 opus aufile aubridge sndfile".split()
        lines = [
            f"sip_listen {LOOPBACK}:{port}",
            f"net_interface {LOOPBACK}",
            f"audio_source aufile,{play}",
            "audio_player aubridge,nobody",
            "audio_alert aubridge,nobody",
            f"rtp_ports {first}-{last}",
            "jitter_buffer_delay 0-50",
            f"module_path {_MODULES}",
            *(f"module {name}.so" for name in modules),
            "module_tmp account.so",
            "module_app menu.so",
            "module_app ctrl_tcp.so",
            f"ctrl_tcp_listen {LOOPBACK}:{self._control_port}",
            f"snd_path {path}",
        ]
        (path / "config").write_text("\n".join(lines) + "\n")
        (path / "accounts").write_text(
            f"<sip:baresip@{LOOPBACK}:{port}>;regint=0;audio_codecs={codec}\n"
        )
        (path / "contacts").write_text("")
        self._peer = Peer([require("baresip", PACKAGE), "-f", path, "-v"], stdin=True)
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Baresip:
        await self._peer.__aenter__()
        try:
            await self._peer.line("baresip is ready")
            reader, self._writer = await asyncio.open_connection(LOOPBACK, self._control_port)
            self._reading = asyncio.create_task(self._read(reader))
        except BaseException:
            await self._peer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._peer.stop()  # which ends the control connection
        if self._reading is not None:
            await self._reading
        if self._writer is not None:
            self._writer.close()

    def command(self, command: str, parameters: str = "") -> None:
        """One of the menu's commands, in a netstring of JSON."""
        assert self._writer is not None, "baresip has not been started"
        text = json.dumps({"command": command, "params": parameters})
        self._writer.write(f"{len(text)}:{text},".encode())

    def dial(self, uri: str) -> None:
        self.command("dial", uri)

    def press(self, digit: str) -> None:
        self.command("sndcode", digit)

    @property
    def digits(self) -> str:
        """The digits that it was sent, each as it began."""
        return "".join(
            event["param"] for event in self._events if event.get("type") == "CALL_DTMF_START"
        )

    @property
    def heard(self) -> Pcm:
        """One channel of what it decoded; whole when the call is over."""
        [recording] = self._path.glob("dump-*-dec.wav")
        with wave.open(str(recording)) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return pcm[:: file.getnchannels()]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Events and responses, netstrings of JSON, until baresip ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = await reader.readuntil(b":")
                text = await reader.readexactly(int(length[:-1]) + 1)
                self._events.append(json.loads(text[:-1]))
