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


def make() -> tuple[PlayedTap, list[AudioFrame]]:
    told: list[AudioFrame] = []
    return PlayedTap(told.append), told


def test_only_what_left_is_told() -> None:
    tap, told = make()
    tap.pushed(1, tone(440, 100), 8000, 1)
    tap.left(1, 0.0, None)
    assert told == []
    tap.left(1, 59.0, 1000.0)
    assert [frame.duration_ms for frame in told] == [20, 20]
    assert [frame.timestamp_ms for frame in told] == [941, 961]
    tap.left(1, 60.0, 1020.0)
    assert len(told) == 3


def test_what_a_cancel_left_over_is_never_told() -> None:
    tap, told = make()
    tap.pushed(1, b"\1\0" * 800, 8000, 1)
    tap.pushed(2, b"\2\0" * 160, 8000, 1)
    tap.ended(1, 40.0, None)
    tap.ended(2, 20.0, None)
    assert b"".join(frame.data for frame in told) == b"\1\0" * 320 + b"\2\0" * 160


def test_a_playback_that_was_skipped_altogether_is_forgotten() -> None:
    tap, told = make()
    tap.pushed(1, b"\1\0" * 160, 8000, 1)
    tap.pushed(2, b"\2\0" * 160, 8000, 1)
    tap.left(2, 20.0, None)
    assert [frame.data for frame in told] == [b"\2\0" * 160]


@given(
    pieces=st.lists(st.integers(1, 2000), min_size=1, max_size=8),
    steps=st.lists(st.floats(0, 100), max_size=40),
    rate=st.sampled_from([8000, 11025, 16000, 24000, 44100, 48000]),
)
def test_all_of_a_playback_is_told_once_however_it_was_cut(
    pieces: list[int], steps: list[float], rate: int
) -> None:
    tap, told = make()
    pcm = b""
    for number, samples in enumerate(pieces):
        piece = bytes([number, 0]) * samples
        tap.pushed(7, piece, rate, 1)
        pcm += piece
    total = sum(pieces) * 1000 / rate
    played = 0.0
    for step in steps:
        played = min(total, played + step)
        tap.left(7, played, None)
        assert sum(frame.duration_ms for frame in told) <= played + 1
    tap.ended(7, total, None)
    assert b"".join(frame.data for frame in told) == pcm


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
