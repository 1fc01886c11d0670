"""How long audio takes until the far end hears it, from what its reports tell."""

from __future__ import annotations

from typing import Final

from roomkit.rtp.stats import RTPStats
from roomkit.voice.base import PathDelay

__all__ = ["path_of"]

# Of a far end that does not say: what most telephones buffer, and all that any does.
_LIKELY_BUFFER_MS: Final = 60.0
_MOST_BUFFER_MS: Final = 1000.0
# What is told of a buffer is a mean of late: single packets are played by so much sooner or later.
_BUFFER_OFF_MS: Final = 20.0


def path_of(stats: RTPStats, ptime_ms: float) -> PathDelay | None:
    """The way, which is likely half of the round trip and may be any part of it, and the far end's
    buffer: by its extended reports, of its delay both ways without the packet that it fills before
    it sends it (RFC 3611 §4.7.3). None: no report has told a round trip."""
    round_trip_ms = stats.round_trip_ms
    if round_trip_ms is None:
        return None
    least_ms, likely_ms, most_ms = 0.0, _LIKELY_BUFFER_MS, _MOST_BUFFER_MS
    told_ms = stats.remote_end_delay_ms
    if told_ms is not None:
        off_ms = _BUFFER_OFF_MS + 4 * (stats.remote_jitter_ms or 0.0)
        likely_ms = min(max(0.0, told_ms - ptime_ms), _MOST_BUFFER_MS)
        # It may count what it fills, or not.
        least_ms, most_ms = max(0.0, likely_ms - off_ms), likely_ms + ptime_ms + off_ms
    return PathDelay(least_ms, round_trip_ms / 2 + likely_ms, round_trip_ms + most_ms)
