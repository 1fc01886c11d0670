"""The demo's wire: passes everything both ways, notes when, loses only what it is told to."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomkit.cli.tap import read_packets


def rtp(sequence: int, *, payload: bytes = bytes(160), payload_type: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence, sequence * 160, 7) + payload


class End:
    """One end of the call: an RTP and an RTCP socket."""

    def __init__(self) -> None:
        while True:
            self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtp.bind(("127.0.0.1", 0))
            self.port: int = self.rtp.getsockname()[1]
            try:
                self.rtcp.bind(("127.0.0.1", self.port + 1))
                break
            except OSError:
                self.close()
        for sock in (self.rtp, self.rtcp):
            sock.settimeout(5)

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    application, caller = End(), End()
    yield application, caller
    application.close()
    caller.close()


def start(path: Path, *loss: str) -> tuple[subprocess.Popen[str], dict[str, int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "roomkit.cli.tap", str(path), *loss],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=10)
    assert process.returncode == 0


def route(process: subprocess.Popen[str], application: End, caller: End) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"application": application.port, "caller": caller.port}) + "\n")
    process.stdin.flush()


def test_datagrams_pass_both_ways_and_are_noted_with_the_kernel_s_time(
    tmp_path: Path, ends: tuple[End, End]
) -> None:
    application, caller = ends
    process, ports = start(tmp_path / "packets.csv")
    route(process, application, caller)
    arrived = b""
    caller.rtp.settimeout(0.1)
    while not arrived:  # until the route is known, datagrams have nowhere to go
        application.rtp.sendto(rtp(1), ("127.0.0.1", ports["application"]))
        try:
            arrived = caller.rtp.recv(2000)
        except TimeoutError:
            continue
    before = time.time()
    caller.rtp.sendto(
        rtp(9, payload=b"\x01\x8a\x03\x20", payload_type=101), ("127.0.0.1", ports["caller"])
    )
    after = time.time()
    assert application.rtp.recv(2000)[-4:] == b"\x01\x8a\x03\x20"
    caller.rtcp.sendto(b"rtcp", ("127.0.0.1", ports["caller"] + 1))
    assert application.rtcp.recv(2000) == b"rtcp"
    finish(process)

    packets = read_packets(tmp_path / "packets.csv")
    assert arrived == rtp(1)
    digit = packets[-1]
    assert (digit.to, digit.payload_type, digit.event) == ("application", 101, "018a0320")
    assert before <= digit.at <= after + 0.001
    first = packets[0]
    assert (first.to, first.sequence, first.timestamp, first.ssrc) == ("caller", 1, 160, 7)
    assert (first.marker, first.dropped, first.size, first.event) == (False, False, 172, "")
    assert "rtcp" in (tmp_path / "packets.csv").read_text()


def test_it_loses_the_share_it_is_told_and_the_same_packets_each_time(
    tmp_path: Path, ends: tuple[End, End]
) -> None:
    application, caller = ends
    lost = []
    for name in ("a.csv", "b.csv"):
        process, ports = start(tmp_path / name, "20")
        route(process, application, caller)
        for n in range(500):
            application.rtp.sendto(rtp(n), ("127.0.0.1", ports["application"]))
            if n % 50 == 0:
                time.sleep(0.01)  # sleep: its socket has no room for all at once
        time.sleep(0.1)  # sleep: what it drops leaves no trace to wait for
        finish(process)
        packets = read_packets(tmp_path / name)
        assert len(packets) == 500
        lost.append([packet.sequence for packet in packets if packet.dropped])
    assert lost[0] == lost[1]
    assert 60 < len(lost[0]) < 140


def test_it_ends_when_its_parent_goes(tmp_path: Path) -> None:
    process, _ = start(tmp_path / "packets.csv")
    finish(process)
    assert read_packets(tmp_path / "packets.csv") == []
