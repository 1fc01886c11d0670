"""What a test puts on the wire: captured while it runs, judged by tshark when it has run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from interop.capture import Capture, Packet, complaints, dissect
from interop.peers import media_ports


class Wire:
    """A capture of all media ports that are handed out while it runs.

    ::

        async with Wire(tmp_path / "call.pcap") as wire:
            …
        payloads = wire.payloads(source=port, payload_type=0)
        assert wire.complaints() == []
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packets: list[Packet] = []
        self._excused: dict[int, str] = {}
        self._first = len(media_ports())
        self._capture = Capture(path)

    async def __aenter__(self) -> Wire:
        await self._capture.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._capture.__aexit__(kind, error, trace)
        if kind is None:
            await self.read()

    async def read(self) -> None:
        """Reads what has been captured so far into `packets`."""
        await self.flush()
        if ports := media_ports(self._first):
            self.packets = await dissect(self.path, ports)

    async def flush(self) -> None:
        """Returns when all that was sent so far is in the file."""
        await self._capture.flush()

    def excuse(self, port: int, why: str) -> None:
        """tshark will not understand what is sent from this port, and need not: `why`."""
        self._excused[port] = why

    def complaints(self) -> list[str]:
        """What tshark finds wrong with what nobody has excused."""
        return complaints([each for each in self.packets if each.source not in self._excused])

    def rtp(self, source: int, destination: int | None = None) -> list[Packet]:
        """The RTP from a port, each packet once, in the order of its sequence numbers."""
        packets = [
            packet
            for packet in self.packets
            if packet.source == source
            and destination in (None, packet.destination)
            and "rtp.seq" in packet.fields
        ]
        return in_sequence(packets)

    def payloads(
        self, source: int, payload_type: int, destination: int | None = None
    ) -> list[bytes]:
        """The payloads of one type from a port, in sequence."""
        return [
            packet.payload
            for packet in self.rtp(source, destination)
            if packet.number_of("rtp.p_type") == payload_type
        ]


def can_capture() -> bool:
    """Whether there is anything to capture with; if not, `test_tshark` says so loudly."""
    return shutil.which("dumpcap") is not None and shutil.which("tshark") is not None


def in_sequence(packets: Iterable[Packet]) -> list[Packet]:
    """By sequence number across the wrap, without duplicates; packets of one stream."""
    found: dict[int, Packet] = {}
    extended = None
    for packet in packets:
        number = packet.number_of("rtp.seq")
        if extended is None:
            extended = number
        else:
            extended += (number - extended + 0x8000) % 0x10000 - 0x8000
        found.setdefault(extended, packet)
    return [found[number] for number in sorted(found)]
