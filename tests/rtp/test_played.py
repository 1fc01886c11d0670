"""What left is told, and nothing else: piece by piece in order, to the millisecond."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp import RTPSession
from roomkit.rtp.played import PlayedTap
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame
from rtp.sound import tone
from rtp.wire import Peer


def run(
    number: int, first: int, samples: int, clock_ms: float, *, over: bool = False
) -> tuple[int, int, int, float, float | None, bool]:
    """What the core tells; the inbound timeline began 100 ms after the session opened."""
    return number, first, samples, clock_ms, clock_ms - 100, over


def test_only_what_left_is_told_and_when() -> None:
    tap = PlayedTap()
    tap.pushed(1, 0, tone(440, 100), 8000, 1)
    assert tap.left([], None) == []
    told = tap.left([run(1, 0, 472, 1000.0)], None)
    assert [frame.duration_ms for frame in told] == [20, 20]
    assert [frame.clock_ms for frame in told] == [1000, 1020]
    assert [frame.timestamp_ms for frame in told] == [900, 920]
    assert [frame.clock_ms for frame in tap.left([run(1, 472, 8, 1059.0)], None)] == [1040]


def test_a_pause_inside_a_frame_makes_two_of_it() -> None:
    tap = PlayedTap()
    tap.pushed(1, 0, tone(440, 100), 8000, 1)
    told = tap.left([run(1, 0, 80, 0.0), run(1, 80, 160, 500.0, over=True)], None)
    assert [(frame.clock_ms, frame.duration_ms) for frame in told] == [(0, 10), (500, 20)]
    assert b"".join(frame.data for frame in told) == tone(440, 100)[:480]


def test_the_beginning_of_a_frame_is_told_when_its_time_is_over() -> None:
    tap = PlayedTap()
    tap.pushed(1, 0, tone(440, 100), 8000, 1)
    assert tap.left([run(1, 0, 80, 0.0)], 20.0) == []
    assert [frame.duration_ms for frame in tap.left([], 60.0)] == [10]


def test_what_a_cancel_left_over_is_never_told() -> None:
    tap = PlayedTap()
    tap.pushed(1, 0, b"\1\0" * 800, 8000, 1)
    tap.pushed(2, 0, b"\2\0" * 160, 8000, 1)
    tap.pushed(3, 0, b"\3\0" * 160, 8000, 1)
    # The second was cancelled while it waited.
    told = tap.left(
        [run(2, 0, 0, 0.0, over=True), run(1, 0, 320, 0.0, over=True), run(3, 0, 160, 40.0)], None
    )
    assert b"".join(frame.data for frame in told) == b"\1\0" * 320 + b"\3\0" * 160


def test_what_was_pushed_before_anybody_listened_is_left_out() -> None:
    tap = PlayedTap()
    tap.pushed(1, 100, b"\1\0" * 160, 8000, 1)
    told = tap.left([run(1, 20, 240, 0.0)], None)
    assert [(frame.clock_ms, frame.data) for frame in told] == [(10.0, b"\1\0" * 160)]


@given(
    pieces=st.lists(st.integers(1, 2000), min_size=1, max_size=8),
    rates=st.lists(
        st.sampled_from([8000, 11025, 16000, 24000, 44100, 48000]), min_size=1, max_size=2
    ),
    steps=st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=40),
)
def test_all_of_a_playback_is_told_once_at_its_time_however_it_was_cut(
    pieces: list[int], rates: list[int], steps: list[tuple[int, bool]]
) -> None:
    tap = PlayedTap()
    pcm = b""
    places: list[float] = []  # of each sample, in ms of audio
    at_ms = 0.0
    for number, samples in enumerate(pieces):
        rate = rates[number % len(rates)]
        piece = bytes([number, 0]) * samples
        tap.pushed(7, len(pcm) // 2, piece, rate, 1)
        pcm += piece
        for _ in range(samples):
            places.append(at_ms)
            at_ms += 1000 / rate
    told: list[AudioFrame] = []
    clocks: dict[int, float] = {}
    paused_ms = 0.0
    left = 0
    for samples, pauses in [*steps, (len(places), False)]:
        paused_ms += 1000.0 if pauses else 0.0
        samples = min(samples, len(places) - left)
        if samples:
            clock_ms = places[left] + paused_ms
            told += tap.left([(7, left, samples, clock_ms, None, False)], None)
            clocks.update((n, places[n] + paused_ms) for n in range(left, left + samples))
            left += samples
    told += tap.left([(7, 0, 0, 0.0, None, True)], None)
    assert b"".join(frame.data for frame in told) == pcm
    first = 0
    for frame in told:
        assert frame.clock_ms == pytest.approx(clocks[first], abs=0.2)
        first += frame.samples
        assert frame.duration_ms <= 20


async def test_a_call_tells_what_it_played_on_the_timeline_of_what_it_heard(peer: Peer) -> None:
    async with RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr) as session:
        told: list[AudioFrame] = []
        unsubscribe = session.on_played(told.append)
        said = tone(440, 400, 16000)
        await session.play(AudioChunk(tone(300, 40), 8000))
        assert {frame.timestamp_ms for frame in told} == {None}
        told.clear()
        playing = asyncio.create_task(session.play(AudioChunk(said, 16000)))
        await peer.stream(session.local_addr, 30)
        await playing
        assert b"".join(frame.data for frame in told) == said
        times = [frame.timestamp_ms for frame in told if frame.timestamp_ms is not None]
        assert times == sorted(times)
        assert times[-1] - times[0] == pytest.approx(20 * (len(times) - 1), abs=40)

        told.clear()
        playing = asyncio.create_task(session.play(tone(440, 5000)))
        await peer.until(lambda: len(peer.packets) >= 27)
        session.cancel()
        result = await playing
        assert sum(frame.duration_ms for frame in told) == pytest.approx(result.played_ms, abs=1)
        unsubscribe()
        told.clear()
        await session.play(tone(440, 40))
        assert told == []
