"""A peer made of bare sockets, so that nothing of what is tested helps it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Packet", "Peer", "digit_payload", "free_port_pair", "rtcp_bye", "rtp"]

_SO_TIMESTAMPNS = 35  # of Linux; Python has no name for it


@dataclass(frozen=True)
class Packet:
    """One datagram as it came off the wire."""

    at: float
    """`time.monotonic` of its arrival, in s."""
    source: tuple[str, int]
    data: bytes

    @property
    def marker(self) -> bool:
        return bool(self.data[1] & 0x80)

    @property
    def payload_type(self) -> int:
        return self.data[1] & 0x7F

    @property
    def seq(self) -> int:
        return int(struct.unpack_from("!H", self.data, 2)[0])

    @property
    def timestamp(self) -> int:
        return int(struct.unpack_from("!I", self.data, 4)[0])

    @property
    def ssrc(self) -> int:
        return int(struct.unpack_from("!I", self.data, 8)[0])

    @property
    def payload(self) -> bytes:
        return self.data[12:]


class Peer:
    """An RTP port and an RTCP port on loopback, read by a thread that the tested code cannot stall
    except by the GIL: times of arrival are those of the kernel (SO_TIMESTAMPNS)."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._rtp, self._rtcp = _pair(host)
        self.addr: tuple[str, int] = self._rtp.getsockname()[:2]
        self.rtcp_addr: tuple[str, int] = self._rtcp.getsockname()[:2]
        self.packets: list[Packet] = []
        self.reports: list[Packet] = []
        self._changed = threading.Condition()
        self._over = False
        self._threads = [
            threading.Thread(target=self._read, args=(self._rtp, self.packets), daemon=True),
            threading.Thread(target=self._read, args=(self._rtcp, self.reports), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.ssrc = 0x5EED5EED
        self.seq = 65_530  # wraps soon
        self.timestamp = 0xFFFF_FF00

    def audio(self, to: tuple[str, int], payload: bytes = b"\xff" * 160, *, pt: int = 0) -> None:
        """Sends the next audio packet."""
        self._rtp.sendto(rtp(self.seq, self.timestamp, self.ssrc, payload, pt=pt), to)
        self.seq = (self.seq + 1) % 65_536
        self.timestamp = (self.timestamp + 160) % 2**32

    def greet(self, to: tuple[str, int]) -> None:
        """Sends 100 ms of audio at once: enough to be trusted, and frames flow from then on."""
        for _ in range(5):
            self.audio(to)

    async def stream(
        self,
        to: tuple[str, int],
        packets: int | Sequence[bytes],
        *,
        lose: Container[int] = (),
        skip: Container[int] = (),
        payload: bytes = b"\x2a" * 160,
        ptime: float = 0.02,
        pt: int = 0,
        clock: int = 8000,
    ) -> list[float]:
        """Sends audio in real time, on absolute deadlines of a thread; some of it is lost. Returns
        by how many seconds each packet left late, which a busy machine is to blame for.

        `packets`: how many of `payload`, or the payload of each. For those of `skip` nothing is
        sent, and time goes on: they have no sequence number.
        """
        payloads = [payload] * packets if isinstance(packets, int) else packets
        ticks = threading.Event()
        late: list[float] = []

        def send() -> None:
            start = time.monotonic()
            for number, payload in enumerate(payloads):
                ticks.wait(max(0.0, start + number * ptime - time.monotonic()))
                late.append(time.monotonic() - start - number * ptime)
                if number not in lose and number not in skip:
                    header = (self.seq, self.timestamp, self.ssrc)
                    self._rtp.sendto(rtp(*header, payload, pt=pt), to)
                self.seq = (self.seq + (number not in skip)) % 65_536
                self.timestamp = (self.timestamp + round(ptime * clock)) % 2**32

        await asyncio.to_thread(send)
        return late

    def digit(self, to: tuple[str, int], event: int, *, pt: int = 101) -> None:
        """Sends a whole digit of 100 ms in one go."""
        for packet, duration in enumerate((160, 320, 800, 800, 800)):
            payload = digit_payload(event, duration, end=packet >= 2)
            self._rtp.sendto(
                rtp(self.seq, self.timestamp, self.ssrc, payload, pt=pt, marker=packet == 0), to
            )
            self.seq = (self.seq + 1) % 65_536
        self.timestamp = (self.timestamp + 1600) % 2**32

    def send(self, datagram: bytes, to: tuple[str, int]) -> None:
        """Sends anything."""
        self._rtp.sendto(datagram, to)

    def send_rtcp(self, datagram: bytes, to: tuple[str, int]) -> None:
        """Sends anything from the RTCP port."""
        self._rtcp.sendto(datagram, to)

    def bye(self, to: tuple[str, int], reason: str | bytes = "") -> None:
        """Sends an RTCP BYE from the RTCP port to the RTCP port."""
        self._rtcp.sendto(rtcp_bye(self.ssrc, reason), to)

    def report(self, to: tuple[str, int]) -> None:
        """Sends an RTCP compound without a BYE, RTCP port to RTCP port."""
        bye = rtcp_bye(self.ssrc)
        self._rtcp.sendto(bye[: len(bye) - 8], (to[0], to[1] + 1))

    async def until(
        self, condition: Callable[[], bool], timeout: float = 10.0, what: str = ""
    ) -> None:
        """Returns when `condition` holds after some datagram; fails when it does not in time."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(condition, timeout)

        held = await asyncio.to_thread(wait)
        assert held, f"not within {timeout} s: {what or condition}"

    def audio_packets(self, pt: int = 0) -> list[Packet]:
        """The packets of one payload type so far."""
        return [packet for packet in list(self.packets) if packet.payload_type == pt]

    def close(self) -> None:
        self._over = True
        for closing, address in ((self._rtp, self.addr), (self._rtcp, self.rtcp_addr)):
            with contextlib.suppress(OSError):
                closing.sendto(b"", address)  # wakes its thread
        for thread in self._threads:
            thread.join(5)
        self._rtp.close()
        self._rtcp.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, sock: socket.socket, into: list[Packet]) -> None:
        # The kernel stamps in wall-clock time; the difference to the monotonic clock is taken now.
        offset = time.monotonic() - time.time()
        while True:
            data, ancillary, _, source = sock.recvmsg(65_536, 128)
            if not data and self._over:
                return
            stamps = [struct.unpack("ll", body) for _, _, body in ancillary if len(body) == 16]
            at = stamps[0][0] + stamps[0][1] / 1e9 + offset if stamps else time.monotonic()
            with self._changed:
                into.append(Packet(at, source[:2], data))
                self._changed.notify_all()


def rtp(
    seq: int, timestamp: int, ssrc: int, payload: bytes, *, pt: int = 0, marker: bool = False
) -> bytes:
    """An RTP packet (RFC 3550 §5.1)."""
    return struct.pack("!BBHII", 0x80, pt | (marker << 7), seq, timestamp, ssrc) + payload


def digit_payload(event: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    """A telephone event (RFC 4733 §2.3)."""
    return struct.pack("!BBH", event, (end << 7) | volume, duration)


def rtcp_bye(ssrc: int, reason: str | bytes = "") -> bytes:
    """A compound of an empty receiver report, SDES CNAME and BYE (RFC 3550 §6.1)."""
    report = struct.pack("!BBHI", 0x80, 201, 1, ssrc)
    item = b"\x01\x04peer"
    chunk = struct.pack("!I", ssrc) + item + b"\0" * (4 - len(item) % 4)
    sdes = struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk
    said = reason.encode() if isinstance(reason, str) else reason
    text = bytes([len(said)]) + said if said else b""
    body = struct.pack("!I", ssrc) + text + b"\0" * (-len(text) % 4)
    return report + sdes + struct.pack("!BBH", 0x81, 203, len(body) // 4) + body


def free_port_pair(host: str = "127.0.0.1") -> int:
    """An even port that was free together with the next one a moment ago."""
    pair = _pair(host)
    port = int(pair[0].getsockname()[1])
    for sock in pair:
        sock.close()
    return port


def _pair(host: str) -> tuple[socket.socket, socket.socket]:
    for first in _bound(host):
        port = first.getsockname()[1]
        if port % 2 == 0 and port < 65_535:
            second = socket.socket(first.family, socket.SOCK_DGRAM)
            try:
                second.bind((host, port + 1))
            except OSError:
                second.close()
            else:
                return first, second
        first.close()
    raise AssertionError("no free pair of ports")


def _bound(host: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind((host, 0))
        yield sock
