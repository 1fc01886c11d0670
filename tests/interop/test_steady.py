"""A call is made again if its peer did not keep its time, and for no other reason."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from interop import steady
from interop.capture import Packet
from interop.ours import ours
from interop.peers import LOOPBACK, free_ports
from interop.steady import ATTEMPTS, End, Pace, again_if_unsteady, unsteady
from interop.wire import Wire

OURS, THEIRS = 2, 4


def stream(
    *off: float, source: int = THEIRS, destination: int = OURS, without: int = -1
) -> list[Packet]:
    """PCMU in packets of 20 ms, so many ms off their time, across both wraps; one is left out."""
    return [
        Packet(
            number=n,
            time=1e9 + 0.02 * n + ms / 1000,
            source=source,
            destination=destination,
            protocols=("rtp",),
            fields={
                "rtp.ssrc": ["7"],
                "rtp.seq": [str((65_530 + n) % 2**16)],
                "rtp.timestamp": [str((2**32 - 800 + 160 * n) % 2**32)],
            },
        )
        for n, ms in enumerate(off)
        if n != without
    ]


def test_what_left_late_what_left_early_and_what_never_left() -> None:
    def pace(packets: list[Packet]) -> tuple[int, int, int]:
        found = Pace.of(packets, 8000)
        return round(found.late_ms), round(found.early_ms), found.missing

    on_time = [0.0] * 120
    assert pace(stream(*on_time)) == (0, 0, 0)
    assert pace(stream(*on_time[:50], 700, *on_time[51:])) == (700, 0, 0)
    assert pace(stream(*on_time, without=60)) == (0, 0, 1)
    # The first was held up, which all others show.
    assert pace(stream(0, *[-40.0] * 179)) == (0, 40, 0)
    assert pace(stream(0, *[-40.0, 0.0] * 90)) == (0, 0, 0), "a burst now and then"
    # A digit's packets all have the time of its beginning.
    digit = stream(*on_time)
    for n in range(10, 20):
        digit[n].fields["rtp.timestamp"] = digit[10].fields["rtp.timestamp"]
        digit[n].fields["rtpevent.event_id"] = ["5"]
    assert pace(digit) == (0, 0, 0)


def test_only_a_peer_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "_ends", {OURS: End(8000, 500)})
    on_time = [0.0] * 120
    late = stream(*on_time[:50], 700, *on_time[51:])
    assert unsteady(stream(*on_time)) == []
    assert len(unsteady(late)) == 1
    assert unsteady(stream(*on_time[:50], 480, *on_time[51:])) == [], "our buffer waits so long"
    mine = stream(*on_time, source=OURS, destination=THEIRS)
    assert len(unsteady([*late, *mine])) == 1
    mine = stream(*on_time[:50], 120, *on_time[51:], source=OURS, destination=THEIRS)
    assert unsteady([*late, *mine]) == [], "we were late as well"


@pytest.mark.interop
async def test_a_test_is_made_again_only_where_the_capture_has_the_reason(
    tmp_path: Path, wire: Wire | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wire is None:
        pytest.skip("NOT TESTED: nothing can be captured, which test_tshark reports")
    monkeypatch.setattr(steady, "REPEATED", [])
    attempts = []

    @again_if_unsteady
    async def judged(*, stalls: bool, wire: Wire | None) -> None:
        attempts.append(stalls)
        port, theirs = free_ports(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((LOOPBACK, theirs))
            async with ours(port, theirs):
                for seq in range(3):
                    # At once, but by its timestamp the last should have left 600 ms before.
                    ticks = 48_000 - (4800 if stalls and seq == 2 else 0)
                    header = struct.pack("!BBHII", 0x80, 0, seq, ticks, 7)
                    peer.sendto(header + bytes(160), (LOOPBACK, port))
        assert len(attempts) == 2, "the judgement"

    await judged(stalls=True, wire=wire)
    assert attempts == [True, True]
    assert len(steady.REPEATED) == 1
    assert "judged" in steady.REPEATED[0]
    attempts.clear()
    with pytest.raises(AssertionError, match="the judgement"):
        await judged(stalls=False, wire=wire)
    assert attempts == [False], "nothing excuses it"
    attempts += [True, True]
    with pytest.raises(AssertionError, match="the judgement"):
        await judged(stalls=True, wire=wire)
    assert len(attempts) == 3 + ATTEMPTS, "and not for ever"
