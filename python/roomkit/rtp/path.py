"""`path_of`: how long audio takes until it is heard, by what the far end reports."""

from __future__ import annotations

from typing import Final

from roomkit.rtp.stats import RTPStats
from roomkit.voice.base import PathDelay

__all__ = ["path_of"]

_LONGEST_WAY_MS: Final = 400.0
"""No call is planned with more one way (ITU-T G.114 §4.1)."""
_USUAL_WAY_MS: Final = 20.0
_BUFFER_MS: Final = (20.0, 60.0, 200.0)
"""What jitter buffers hold where nothing is known of them: a packet at the least, the usual
setting, and as much as adaptive ones grow to."""
_SHRINKS_TO: Final = 0.5
"""An adaptive buffer may hold so much less than it told seconds ago."""
_JITTERS: Final = 4.0
"""The reports that measure the way may have been quick ones: packets vary by some of the jitter,
which is a mean deviation (RFC 3550 §A.8)."""


def path_of(stats: RTPStats) -> PathDelay:
    """The bounds within which the delay lies, and the best guess between them.

    **The way.** RTCP tells the round trip (RFC 3550 §6.4.1), and not how it is shared between there
    and back: one way takes from nothing to all of it and four times the jitter that the far end
    measures, most likely half. Before the first report: up to 400 ms, which ITU-T G.114 has as the
    limit, likely 20.

    **The buffer there.** A far end with extended reports tells what its jitter buffer holds, and
    what it may hold (RFC 3611 §4.7.7), and the delay within it, both ways, which bounds it too.
    From half of what it holds to the longest of these. Else 20 to 200 ms, likely 60.
    """
    jitter_ms = stats.remote_jitter_ms or 0.0
    if stats.round_trip_ms is None:
        way = (0.0, _USUAL_WAY_MS, _LONGEST_WAY_MS + _JITTERS * jitter_ms)
    else:
        round_trip_ms = stats.round_trip_ms
        way = (0.0, round_trip_ms / 2, round_trip_ms + _JITTERS * jitter_ms)
    buffer = _BUFFER_MS
    if stats.remote_buffer_ms is not None:
        held_ms = stats.remote_buffer_ms
        # With what it takes to play, which no report tells apart: another frame.
        most_ms = max(held_ms, stats.remote_buffer_most_ms or 0.0, stats.remote_end_delay_ms or 0.0)
        buffer = (held_ms * _SHRINKS_TO, held_ms, most_ms + 20.0)
    return PathDelay(*(a + b for a, b in zip(way, buffer, strict=True)))
