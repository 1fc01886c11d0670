"""Whether a peer kept its own time, as the capture shows: what leaves late, nobody plays in time.

Our jitter buffer plays from the first packet on. What a peer that does not get the processor sends
later than the buffer waits for is rightly silence; and where all others are earlier than the first,
the buffer rightly gives that delay back, and leaves a frame out. A comparison sample by sample says
nothing about us then. Such a call is made again, and the run tells so at its end.

What is of our own making is never repeated: a failure with a peer that was on time, or with packets
of ours that were not.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

from interop.capture import Packet, dissect
from interop.wire import Wire
from roomkit.rtp import RTPSession

Arguments = ParamSpec("Arguments")

# A call is made so often at most.
ATTEMPTS = 3
# What was made again and why, for the summary at the end of the run.
REPEATED: list[str] = []
# Playout begins at the frame that is nearest to the jitter buffer's delay: half a frame of 20 ms.
GRID_MS = 10.0
# Our own packets may leave so late where the machine is busy, the first one too. It is far less
# than any buffer of these tests waits, and no hole.
OURS_MS = 100.0


@dataclass(frozen=True)
class End:
    """An end of ours, by its RTP port."""

    clock_rate: int
    jitter_ms: float


# Every one of this process so far. No port is handed out twice.
_ends: dict[int, End] = {}


def note(session: RTPSession) -> None:
    """This session of ours takes part in a call."""
    assert session.local_addr is not None, "the session is not open"
    _ends[session.local_addr[1]] = End(session.codec.clock_rate, session.options.jitter_ms)


@dataclass(frozen=True)
class Pace:
    """How a stream kept its time, reckoned from its first packet."""

    late_ms: float
    """The most that a packet left after its time."""
    early_ms: float
    """So much all packets of a whole second left before it."""
    missing: int
    """Sequence numbers that were never sent."""

    @classmethod
    def of(cls, packets: Sequence[Packet], clock_rate: int) -> Pace:
        """`packets`: one stream, as it was sent."""
        # Digits have a time of their own.
        audio = [packet for packet in packets if not packet.all("rtpevent.event_id")]
        if not audio:
            return cls(0.0, 0.0, 0)
        start, ticks = audio[0].time, audio[0].number_of("rtp.timestamp")
        off = [
            1000 * (packet.time - start)
            - 1000 * _ahead(packet.number_of("rtp.timestamp"), ticks, 32) / clock_rate
            for packet in audio
        ]
        seconds: dict[int, float] = {}
        for packet, late in zip(audio, off, strict=True):
            second = int(packet.time - start)
            seconds[second] = min(seconds.get(second, -late), -late)
        # The last may not be a whole one.
        early = [least for second, least in seconds.items() if second < max(seconds)]
        first = packets[0].number_of("rtp.seq")
        numbers = {_ahead(packet.number_of("rtp.seq"), first, 16) for packet in packets}
        missing = max(numbers) - min(numbers) + 1 - len(numbers)
        return cls(max(off), max(early, default=0.0), missing)


def unsteady(packets: Iterable[Packet]) -> list[str]:
    """What of a peer's making would be heard, a line for each of its streams to an end of ours.

    Nothing if a stream of ours is behind its time as well: then it may be all our own.
    """
    streams: dict[tuple[int, int, str], list[Packet]] = {}
    for packet in packets:
        if "rtp.ssrc" in packet.fields:
            key = packet.source, packet.destination, packet.first("rtp.ssrc")
            streams.setdefault(key, []).append(packet)
    found = []
    for (source, destination, _), stream in streams.items():
        if mine := _ends.get(source):
            pace = Pace.of(stream, mine.clock_rate)
            if max(pace.late_ms, pace.early_ms) > OURS_MS or pace.missing:
                return []
        elif end := _ends.get(destination):
            pace = Pace.of(stream, end.clock_rate)
            if (
                pace.late_ms > end.jitter_ms - GRID_MS
                or pace.early_ms > GRID_MS
                or pace.missing > 0
            ):
                found.append(f"from port {source}: {pace}, and we wait {end.jitter_ms} ms")
    return found


def again_if_unsteady(
    test: Callable[Arguments, Awaitable[None]],
) -> Callable[Arguments, Awaitable[None]]:
    """Makes a test that has failed again if its peer did not keep its time. It needs `wire`."""

    @functools.wraps(test)
    async def repeated(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        wire = kwargs["wire"]
        assert wire is None or isinstance(wire, Wire)
        for attempt in range(1, ATTEMPTS + 1):
            began = len(_ends)
            try:
                await test(*args, **kwargs)
            except AssertionError:
                if wire is None or attempt == ATTEMPTS:
                    raise
                await wire.flush()
                why = unsteady(await dissect(wire.path, list(_ends)[began:]))
                if not why:
                    raise
                REPEATED.append(f"{test.__module__}.{test.__name__}: {'; '.join(why)}")
            else:
                return

    return repeated


def _ahead(number: int, first: int, bits: int) -> int:
    """How far a number is ahead of another, around the wrap; negative behind it."""
    half = 1 << (bits - 1)
    return (number - first + half) % (1 << bits) - half
