"""Captures what crosses the loopback, and has tshark read it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from interop.peers import LOOPBACK, Peer, coming_ports, free_ports, not_tested, require, until

# No test lasts longer or sends more: a capture that is never stopped ends by itself.
MAX_SECONDS = 120
MAX_PACKETS = 40_000
# More than any test asks for.
PAIRS = 200

# Wireshark's severities: chat 0x200000, note 0x400000, warning 0x600000, error 0x800000.
WARNING = 0x600000


class Capture:
    """Everything sent to or from the given UDP ports of this machine, in a pcap file; without ports
    what goes over those that `free_ports` is about to hand out.

    Entering returns when the capture really runs, leaving when its last packet is in the file: both
    are proved by a datagram of our own, sent to a port of its own, which is seen in the file.
    """

    def __init__(self, path: Path, ports: Sequence[int] = ()) -> None:
        self.path = path
        [self._marker_port] = free_ports(1, media=False)
        # An even pair: nothing that is tested gets it while the marker's socket holds it.
        self._marker_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._marker_socket.bind((LOOPBACK, self._marker_port))
        wanted = f"udp port {self._marker_port}"
        if ports:
            wanted = " or ".join([wanted, *(f"udp port {port}" for port in ports)])
        else:
            first, last = coming_ports(PAIRS)
            wanted += f" or udp portrange {first}-{last}"
        self._peer = Peer(
            [
                require("dumpcap", "tshark"),
                "-q",
                *("-i", "lo", "-P", "-w", path, "-f", wanted),
                *("-a", f"duration:{MAX_SECONDS}", "-c", str(MAX_PACKETS)),
            ]
        )

    async def __aenter__(self) -> Capture:
        await self._peer.__aenter__()
        try:
            await self._marked()
        except AssertionError as error:
            await self.__aexit__(None, None, None)
            if "permission" in str(error):
                not_tested("captures on the loopback are not permitted", "run as root")
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._peer.process.returncode is None:
                await self.flush()
                await self._peer.interrupt()
        finally:
            self._marker_socket.close()
            await self._peer.stop()

    async def flush(self) -> None:
        """Returns when all that was sent so far is in the file."""
        if self._peer.process.returncode is None:
            await self._marked()

    async def _marked(self) -> None:
        """Sends a datagram until it is in the file, and with it all that was sent before."""
        marker = uuid.uuid4().bytes

        def written() -> bool:
            if self._peer.process.returncode is not None:
                raise AssertionError(f"the capture ended: {self._peer}")
            self._marker_socket.sendto(marker, (LOOPBACK, self._marker_port))
            return self.path.exists() and marker in self.path.read_bytes()

        await until(written, "a datagram of our own in the capture")


@dataclass(frozen=True)
class Packet:
    """One captured packet as tshark dissects it."""

    number: int
    time: float
    """Seconds since the epoch, by the kernel's capture clock."""
    source: int
    destination: int
    """UDP ports."""
    protocols: tuple[str, ...]
    fields: dict[str, list[str]] = field(repr=False)

    def first(self, name: str) -> str:
        return self.fields[name][0]

    def number_of(self, name: str) -> int:
        return int(self.fields[name][0], 0)

    @property
    def payload(self) -> bytes:
        """Of an RTP packet: what follows its header, without padding."""
        return bytes.fromhex("".join(self.all("rtp.payload")).replace(":", ""))

    def all(self, name: str) -> list[str]:
        return self.fields.get(name, [])


FIELDS = (
    "frame.number frame.time_epoch frame.protocols udp.srcport udp.dstport "
    "_ws.expert.severity _ws.expert.message _ws.expert.group "
    "rtp.version rtp.marker rtp.p_type rtp.seq rtp.timestamp rtp.ssrc rtp.payload rtp.padding "
    "rtpevent.event_id rtpevent.end_of_event rtpevent.duration rtpevent.volume rtpevent.reserved "
    "rtcp.pt rtcp.senderssrc rtcp.ssrc.identifier rtcp.sdes.text rtcp.sdes.type "
    "rtcp.timestamp.rtp rtcp.timestamp.ntp.msw rtcp.timestamp.ntp.lsw "
    "rtcp.sender.packetcount rtcp.sender.octetcount rtcp.bye_reason_not_padded "
    "rtcp.xr.voipmetrics.gmin rtcp.xr.voipmetrics.jbnominal rtcp.xr.voipmetrics.esdelay "
    "rtcp.xr.voipmetrics.rfactor rtcp.xr.voipmetrics.moslq rtcp.xr.voipmetrics.plc "
    "rtcp.xr.voipmetrics.jba rtcp.xr.voipmetrics.rerl "
    "rtcp.ssrc.fraction rtcp.ssrc.cum_nr rtcp.ssrc.jitter rtcp.ssrc.lsr rtcp.ssrc.dlsr"
).split()


async def dissect(
    path: Path, rtp_ports: Sequence[int], event_payload_type: int = 101
) -> list[Packet]:
    """Reads a capture with tshark: RTP on the given ports, RTCP on each port + 1."""
    command = [
        require("tshark", "tshark"),
        "-n",
        "-r",
        str(path),
        "-T",
        "json",
        "--no-duplicate-keys",
    ]
    for port in rtp_ports:
        command += ["-d", f"udp.port=={port},rtp", "-d", f"udp.port=={port + 1},rtcp"]
    command += ["-d", f"rtp.pt=={event_payload_type},rtpevent"]
    ports = " or ".join(f"udp.port == {port} or udp.port == {port + 1}" for port in rtp_ports)
    command += ["-Y", ports]
    for name in FIELDS:
        command += ["-e", name]
    run = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return [_packet(entry["_source"]["layers"]) for entry in json.loads(run.stdout or "[]")]


def complaints(packets: Sequence[Packet]) -> list[str]:
    """What tshark finds malformed or warns of in the packets, one line each."""
    found = []
    for packet in packets:
        severities = [int(value, 0) for value in packet.all("_ws.expert.severity")]
        messages = packet.all("_ws.expert.message")
        if "_ws.malformed" in packet.protocols or any(value >= WARNING for value in severities):
            found.append(f"packet {packet.number} {packet.protocols}: {messages}")
    return found


def _packet(layers: dict[str, Any]) -> Packet:
    fields = {name: [str(value) for value in values] for name, values in layers.items()}
    return Packet(
        number=int(fields["frame.number"][0]),
        time=float(fields["frame.time_epoch"][0]),
        source=int(fields["udp.srcport"][0]),
        destination=int(fields["udp.dstport"][0]),
        protocols=tuple(fields["frame.protocols"][0].split(":")),
        fields=fields,
    )
