"""Side: frames of one side to segments on the timeline."""

from __future__ import annotations

import pytest

from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.timeline import Side


def frames_of(rate: int, hours: float) -> tuple[AudioFrame, int]:
    """A frame as the core cuts them, and how many there are."""
    frame = AudioFrame(bytes(2 * (rate // 50)), rate, clock_ms=0.0)
    return frame, int(hours * 3600 * 1000 / frame.duration_ms)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050])
def test_hours_of_frames_are_one_run_to_the_sample(rate: int) -> None:
    side = Side(0)
    frame, count = frames_of(rate, hours=2)
    begun = 0
    for n in range(count):
        at = 1000 + n * frame.duration_ms
        frame.clock_ms = at
        side.add(frame, at)
        if n % 50 == 49:
            begun += sum(segment.begins for segment in side.take())
    assert begun == 1
    assert side.end_ms == pytest.approx(1000 + count * frame.duration_ms, abs=1e-6)
    assert side.overlapped_ms == 0


def test_a_clock_that_runs_off_the_samples_is_followed_in_small_steps() -> None:
    """A sender whose samples are 100 ppm slow: 72 ms in 12 minutes, in steps of some 2 ms."""
    side = Side(0)
    for n in range(36_000):
        at = n * 20.002
        side.add(AudioFrame(bytes(320), 8000, clock_ms=at), at)
        assert abs(side.end_ms - (at + 20)) <= 2.001
    assert 30 <= sum(segment.begins for segment in side.take()) <= 40


def test_segments_say_whether_they_go_on_and_end_where_the_format_does() -> None:
    side = Side(1)

    def take() -> list[tuple[bool, float, int, float]]:
        return [(s.begins, s.at_ms, s.sample_rate, s.duration_ms) for s in side.take()]

    for n, rate in enumerate([8000, 8000, 16_000, 16_000]):
        side.add(AudioFrame(bytes(rate // 25), rate, clock_ms=0.0), 20.0 * n)
    assert take() == [(True, 0, 8000, 40), (True, 40, 16_000, 40)]
    side.add(AudioFrame(bytes(640), 16_000, clock_ms=0.0), 80)
    assert take() == [(False, 80, 16_000, 20)]
    side.break_off()
    side.add(AudioFrame(bytes(640), 16_000, clock_ms=0.0), 100)
    assert take() == [(True, 100, 16_000, 20)]


def test_what_is_before_the_beginning_is_left_out_and_nothing_is_no_segment() -> None:
    side = Side(0)
    side.add(AudioFrame(bytes(320), 8000, clock_ms=-15.0), -15)
    side.add(AudioFrame(b"", 8000, clock_ms=50.0), 50)
    side.add(AudioFrame(bytes(320), 8000, clock_ms=-100.0), -100)
    (segment,) = side.take()
    assert (segment.at_ms, segment.duration_ms) == (0, 5)
    assert side.overlapped_ms == 35
