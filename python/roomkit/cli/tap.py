"""The wire of the demo: passes datagrams between the two ends and writes down when each went by.

Run as a process of its own, between application and caller, so that packet timing is measured from
outside and by the kernel: neither end is asked how it did. On demand it loses packets, seeded.

    python -m roomkit.cli.tap CSV [LOSS_PERCENT]

It binds an even/odd port pair for each end and prints them as a line of JSON; reads a line with the
ports of the two ends, `{"application": …, "caller": …}`; passes datagrams until its standard input
ends; then writes the CSV file and exits.
"""

from __future__ import annotations

import contextlib
import csv
import json
import random
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Packet", "Tap", "read_packets"]

_HOST = "127.0.0.1"
_OTHER = {"application": "caller", "caller": "application"}
_COLUMNS = (
    "time",
    "to",
    "kind",
    "dropped",
    "size",
    "payload_type",
    "marker",
    "sequence",
    "timestamp",
    "ssrc",
    "event",
)
_SEED = 3550  # the same packets are lost in every run


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as it went by."""

    at: float
    """Wall clock in seconds, by the kernel where it can."""
    to: str
    """`"caller"` or `"application"`."""
    dropped: bool
    """Lost on purpose."""
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    size: int
    """Of the whole UDP payload, in bytes."""
    event: str
    """First four bytes of the payload in hexadecimal when there are no more: an RFC 4733 event."""


def read_packets(path: Path) -> list[Packet]:
    """The RTP packets in a CSV file of `Tap`, in order of time. Raises `OSError`, `ValueError`."""
    with path.open(newline="") as file:
        packets = [
            Packet(
                at=float(row["time"]),
                to=row["to"],
                dropped=row["dropped"] == "1",
                marker=row["marker"] == "1",
                payload_type=int(row["payload_type"]),
                sequence=int(row["sequence"]),
                timestamp=int(row["timestamp"]),
                ssrc=int(row["ssrc"], 16),
                size=int(row["size"]),
                event=row["event"],
            )
            for row in csv.DictReader(file)
            if row["kind"] == "rtp"
        ]
    return sorted(packets, key=lambda packet: packet.at)


class Tap:
    """Two pairs of sockets and what went through them."""

    def __init__(self, loss: float = 0.0) -> None:
        """`loss`: share of RTP packets to lose, 0 to 1. Raises `OSError` when no ports are free."""
        self._loss = loss
        self._random = random.Random(_SEED)
        self._peers: dict[str, int] = {}
        self._sockets = {side: _bind_pair() for side in _OTHER}
        self._rows: list[tuple[int, str, str, bool, int, bytes]] = []

    def ports(self) -> dict[str, int]:
        """The RTP port that each end is to send to."""
        return {side: pair[0].getsockname()[1] for side, pair in self._sockets.items()}

    def route(self, peers: dict[str, int]) -> None:
        """The RTP ports at which the two ends listen; RTCP is at port + 1."""
        self._peers = {side: int(peers[side]) for side in _OTHER}

    def run(self, stop: threading.Event) -> None:
        """Passes datagrams until `stop`."""
        with selectors.DefaultSelector() as selector:
            for side, pair in self._sockets.items():
                for index, sock in enumerate(pair):
                    selector.register(sock, selectors.EVENT_READ, (side, index))
            while not stop.is_set():
                for key, _ in selector.select(timeout=0.1):
                    side, index = key.data
                    self._forward(self._sockets[side][index], side, index)

    def write(self, path: Path) -> None:
        """Writes one row per datagram."""
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(_COLUMNS)
            out.writerows(_row(*row) for row in self._rows)

    def close(self) -> None:
        """Gives the ports back."""
        for pair in self._sockets.values():
            for sock in pair:
                sock.close()

    def _forward(self, sock: socket.socket, side: str, index: int) -> None:
        to = _OTHER[side]
        # All that is there: a wake may find several after a stall.
        while True:
            try:
                at, data = _receive(sock)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP "port unreachable" of an earlier datagram: that end has gone
            is_rtp = index == 0 and len(data) >= 12
            drop = is_rtp and self._loss > 0 and self._random.random() < self._loss
            kind = "rtp" if is_rtp else "rtcp"
            self._rows.append((at, to, kind, drop, len(data), data[:16]))
            if not drop and to in self._peers:
                with contextlib.suppress(OSError):
                    self._sockets[to][index].sendto(data, (_HOST, self._peers[to] + index))


# Linux: the kernel notes when a datagram came, however late this process reads it. The constant
# is missing from the socket module; the value is that of all architectures but PA-RISC and SPARC.
_SO_TIMESTAMPNS = 35 if sys.platform == "linux" and struct.calcsize("l") == 8 else None


def _receive(sock: socket.socket) -> tuple[int, bytes]:
    """Time in ns since the epoch, and the datagram."""
    if _SO_TIMESTAMPNS is None:
        data = sock.recv(65536)
        return time.time_ns(), data
    data, notes, _, _ = sock.recvmsg(65536, 64)
    for level, kind, content in notes:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(content) == 16:
            seconds, nanoseconds = struct.unpack("@ll", content)
            return seconds * 1_000_000_000 + nanoseconds, data
    return time.time_ns(), data


def _bind_pair() -> tuple[socket.socket, socket.socket]:
    """RTP at an even port and RTCP at the next one (RFC 3550 §11)."""
    for _ in range(200):
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            first.bind((_HOST, 0))
            port = first.getsockname()[1]
            if port % 2 == 0:
                second.bind((_HOST, port + 1))
                for sock in (first, second):
                    sock.setblocking(False)
                    if _SO_TIMESTAMPNS is not None:
                        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                return first, second
        except OSError:
            pass  # the odd port is taken: try another pair
        first.close()
        second.close()
    raise OSError("no free pair of UDP ports on 127.0.0.1")


def _row(at: int, to: str, kind: str, drop: bool, size: int, head: bytes) -> Iterable[object]:
    row = (f"{at // 1_000_000_000}.{at % 1_000_000_000:09d}", to, kind, int(drop), size)
    if kind != "rtp":
        return row
    _, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", head[:12])
    event = head[12:16].hex() if size == 16 else ""
    return (*row, second & 0x7F, second >> 7, sequence, timestamp, f"{ssrc:08x}", event)


def main(argv: list[str]) -> int:
    """See the top of the file."""
    # Ctrl-C in a terminal reaches every process of the demo; this one ends when its parent says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tap = Tap(float(argv[1]) / 100 if len(argv) > 1 else 0.0)
    print(json.dumps(tap.ports()), flush=True)
    stop = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            tap.route(json.loads(line))
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    tap.run(stop)
    tap.write(Path(argv[0]))
    tap.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
