"""How long audio takes until it is heard, by the far end's reports."""

from __future__ import annotations

import pytest

from roomkit.rtp.path import path_of
from roomkit.rtp.stats import RTPStats
from roomkit.voice.base import PathDelay


def test_without_a_round_trip_nothing_is_known() -> None:
    assert path_of(RTPStats(), 20) is None
    assert path_of(RTPStats(remote_end_delay_ms=80.0), 20) is None


def test_a_far_end_that_does_not_tell_its_buffer_may_have_any() -> None:
    assert path_of(RTPStats(round_trip_ms=100.0), 20) == PathDelay(0.0, 110.0, 1100.0)


@pytest.mark.parametrize(
    ("round_trip_ms", "end_ms", "jitter_ms", "path"),
    [
        (0.0, 80.0, 0.0, PathDelay(40.0, 60.0, 100.0)),
        (200.0, 80.0, 0.0, PathDelay(40.0, 160.0, 300.0)),
        (200.0, 80.0, 10.0, PathDelay(0.0, 160.0, 340.0)),
        (40.0, 10.0, 0.0, PathDelay(0.0, 20.0, 80.0)),
        (40.0, 65_000.0, 0.0, PathDelay(980.0, 1020.0, 1080.0)),
    ],
)
def test_the_way_is_half_of_the_round_trip_and_the_buffer_is_what_is_told_without_a_packet(
    round_trip_ms: float, end_ms: float, jitter_ms: float, path: PathDelay
) -> None:
    stats = RTPStats(
        round_trip_ms=round_trip_ms, remote_end_delay_ms=end_ms, remote_jitter_ms=jitter_ms
    )
    assert path_of(stats, 20) == path
