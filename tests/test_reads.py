"""How often the media thread wakes for a call, and how soon the program hears of what came."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import pytest

from roomkit.rtp import RTPSession
from roomkit.voice.events import DTMFEvent
from rtp.wire import Peer


def to(peer: Peer, ptime_ms: int) -> RTPSession:
    return RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr, ptime_ms=ptime_ms)


async def test_a_digit_is_told_within_20_ms_however_long_frames_are() -> None:
    with Peer() as peer:
        async with to(peer, 60) as session:
            peer.greet(session.local_addr)
            frames, events = aiter(session), session.events()
            took = []
            for digit in range(7):
                await anext(frames)  # right behind it the next one is furthest away
                sent = time.monotonic()
                peer.digit(session.local_addr, digit)
                while not isinstance(await anext(events), DTMFEvent):
                    pass
                took.append(time.monotonic() - sent)
    assert statistics.median(took) < 0.04, took


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("ptime_ms", "wakes"), [(10, 100), (20, 50), (30, 67), (40, 50), (50, 60), (60, 50)]
)
async def test_a_socket_is_read_with_each_frame_and_once_in_20_ms_where_they_are_longer(
    ptime_ms: int, wakes: int
) -> None:
    with Peer() as peer:
        async with to(peer, ptime_ms) as session:
            peer.greet(session.local_addr)
            frames = aiter(session)
            await anext(frames)
            before, began = sleeps(), time.monotonic()
            for _ in range(1200 // ptime_ms):
                await anext(frames)
            rate = (sleeps() - before) / (time.monotonic() - began)
    # A machine that is busy merges wakes, and never adds one.
    assert 0.5 * wakes <= rate <= 1.1 * wakes + 3


def sleeps() -> int:
    """Times that the media thread has slept."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("roomkit-media"):
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    return int(line.split()[1])
    raise AssertionError("no media thread")
