"""Reads the load generator's record of arrivals, and judges pacing by it."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness import Row, percentiles

FRAME_MS = 20.0
TICKS = 160
_RECORD = struct.Struct("<HHIQ")


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as the kernel received it."""

    seq: int
    """RTP sequence number, unwrapped: it rises within a flow."""
    timestamp: int
    """RTP timestamp."""
    at_ms: float
    """CLOCK_MONOTONIC, the clock of `time.monotonic`."""


def read(path: Path) -> dict[int, list[Packet]]:
    """The packets of each flow, in the order of arrival."""
    flows: dict[int, list[Packet]] = defaultdict(list)
    last: dict[int, int] = {}
    for flow, seq, timestamp, ns in _RECORD.iter_unpack(path.read_bytes()):
        before = last.get(flow, seq)
        whole = before + ((seq - before + 0x8000) & 0xFFFF) - 0x8000  # RFC 3550 §A.1
        last[flow] = whole
        flows[flow].append(Packet(whole, timestamp, ns / 1e6))
    return dict(flows)


def pacing(flows: list[list[Packet]], frames: int) -> Row:
    """How exactly flows that were to send `frames` packets each did so.

    `jitter_ms`: |interval − 20 ms| of neighbouring packets. `late_ms`: behind the schedule that the
    flow's earliest packet sets. `worst_p99_ms`: the p99 of the worst flow. `missing`: frames
    between the first and last packet of a flow in whose time nothing was sent.
    """
    jitter: list[float] = []
    late: list[float] = []
    worst = 0.0
    received = missing = 0
    for packets in flows:
        ordered = sorted(packets, key=lambda packet: packet.seq)
        received += len({packet.seq for packet in packets})
        ticks = (ordered[-1].timestamp - ordered[0].timestamp) % 2**32 if ordered else 0
        frames_sent = ordered[-1].seq - ordered[0].seq if ordered else 0
        missing += ticks // TICKS - frames_sent
        own = [
            abs(after.at_ms - before.at_ms - FRAME_MS)
            for before, after in pairwise(ordered)
            if after.seq == before.seq + 1
        ]
        worst = max(worst, percentiles(own)["p99"])
        jitter += own
        offsets = [packet.at_ms - FRAME_MS * packet.seq for packet in ordered]
        late += [offset - min(offsets) for offset in offsets]
    return {
        "flows": len(flows),
        "lost": len(flows) * frames - received,
        "missing": missing,
        "jitter_ms": percentiles(jitter),
        "late_ms": percentiles(late),
        "worst_p99_ms": worst,
    }
