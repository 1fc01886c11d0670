"""A playback in the hand: held back and let go to the sample, marked, cancelled alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from roomkit.rtp import RTPSession
from roomkit.rtp.path import path_of
from roomkit.rtp.stats import RTPStats
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk, Mark, PathDelay, PlaybackPosition, VoiceCapability
from roomkit.voice.frame import AudioFrame
from rtp.sound import tone
from rtp.wire import Peer


def to(peer: Peer, *, lead_ms: int = 1000, ptime_ms: int = 20) -> RTPSession:
    return RTPSession(
        local_addr=("127.0.0.1", 0), remote_addr=peer.addr, lead_ms=lead_ms, ptime_ms=ptime_ms
    )


def wire(peer: Peer) -> bytes:
    """The audio that left, as it was encoded."""
    return b"".join(packet.payload for packet in peer.packets)


def reached(peer: Peer, packets: int) -> bool:
    return len(peer.packets) >= packets


async def endless(rate: int = 8000) -> AsyncIterator[AudioChunk]:
    while True:
        yield AudioChunk(tone(440, 100, rate), rate)


# --- pause and resume ----------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "ptime_ms"), [(8000, 20), (24000, 30), (44100, 10)])
async def test_what_leaves_around_a_pause_is_the_audio_bit_for_bit(
    peer: Peer, rate: int, ptime_ms: int
) -> None:
    said = AudioChunk(tone(440, 600, rate), rate)
    async with to(peer, ptime_ms=ptime_ms) as session:
        await session.play(said)
        count = 600 // ptime_ms
        await peer.until(lambda: len(peer.packets) >= count)
        whole = wire(peer)
        peer.packets.clear()
        playback = session.start_play(said)
        await peer.until(lambda: len(peer.packets) >= 5)
        assert (playback.pause(), playback.pause()) == (True, True)
        paused = playback.position
        assert (paused.paused, paused.over) == (True, False)
        session.send_dtmf("5")
        await session.wait_dtmf()  # the digit goes, while the audio does not
        digits = [packet for packet in peer.packets if packet.payload_type == 101]
        assert digits
        assert playback.position.played_ms <= paused.played_ms + ptime_ms
        assert (playback.resume(), playback.resume()) == (True, False)
        position = await playback.wait()
        await peer.until(lambda: len([p for p in peer.packets if p.payload_type == 0]) >= count)
    audio = [packet for packet in peer.packets if packet.payload_type == 0]
    assert b"".join(packet.payload for packet in audio) == whole
    assert [packet.marker for packet in audio[1:]].count(True) == 1, "another talkspurt"
    assert position.played_ms == pytest.approx(600, abs=0.1)
    assert (position.over, position.cancelled, position.paused) == (True, False, False)


async def test_nothing_leaves_once_pause_has_returned(peer: Peer) -> None:
    async with to(peer) as session:
        playback = session.start_play(endless())
        for _ in range(5):
            enough = len(peer.packets) + 1
            await peer.until(partial(reached, peer, enough))
            playback.pause()
            at = time.monotonic()
            waiting = session.start_play(tone(440, 20))
            waiting.cancel()
            await waiting.wait()
            assert not [packet for packet in peer.packets if packet.at > at + 0.005]
            playback.resume()
        playback.cancel()
        assert (await playback.wait()).cancelled


async def test_one_that_is_paused_before_its_turn_does_not_begin(peer: Peer) -> None:
    async with to(peer) as session:
        first = session.start_play(tone(440, 100))
        second = session.start_play(tone(440, 100))
        third = session.start_play(tone(440, 100))
        thread = threading.Thread(target=second.pause)
        thread.start()
        thread.join()
        assert second.position == PlaybackPosition(2, 0.0, paused=True)
        await first.wait()
        assert first.pause() is False, "it is over"
        assert session.send(tone(440, 20)) == 0, "live audio is refused as while it plays"
        assert second.position.started_at is None
        assert second.cancel()
        assert await second.wait() == PlaybackPosition(2, 0.0, over=True, cancelled=True)
        assert (second.pause(), second.resume(), second.cancel()) == (False, False, False)
        assert (await third.wait()).played_ms == 100


async def test_a_paused_playback_asks_for_no_more_than_the_lead(peer: Peer) -> None:
    read = 0

    async def voice() -> AsyncIterator[AudioChunk]:
        nonlocal read
        while True:
            read += 1
            yield AudioChunk(tone(440, 20), 8000)

    async with to(peer, lead_ms=200) as session:
        playback = session.start_play(voice())
        playback.pause()
        await peer.stream(session.local_addr, 40)
        assert read <= 11, "200 ms, and the piece that found no room"
        assert not peer.packets


async def test_in_a_call_on_hold_it_waits_twice(peer: Peer) -> None:
    async with to(peer) as session:
        playback = session.start_play(tone(440, 200))
        await peer.until(lambda: len(peer.packets) >= 2)
        await session.hold("inactive")
        playback.pause()
        await session.resume()
        count = len(peer.packets)
        await peer.stream(session.local_addr, 10)
        assert len(peer.packets) <= count + 1
        playback.resume()
        assert (await playback.wait()).played_ms == 200


# --- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
async def test_a_mark_is_told_when_the_packet_with_its_first_sample_leaves(
    peer: Peer, rate: int
) -> None:
    words = [Mark(str(n), 130.0 * n) for n in range(6)]
    pcm = tone(440, 500, rate)
    # In pieces that end anywhere, also inside a sample; the first has all marks.
    cut = [pcm[at : at + 4_001] for at in range(0, len(pcm), 4_001)]
    chunks = [AudioChunk(cut[0], rate, marks=tuple(words))]
    chunks += [AudioChunk(piece, rate) for piece in cut[1:]]
    told: list[tuple[str, float]] = []
    async with to(peer, lead_ms=100) as session:
        playback = session.start_play(iter(chunks))
        playback.on_mark(lambda mark, at: told.append((mark.text, at)))
        position = await playback.wait()
    assert [text for text, _ in told] == ["0", "1", "2", "3", "4", "5"]
    assert position.started_at is not None
    for text, at in told[:-2]:
        packet = int(130.0 * int(text) // 20)
        assert at - position.started_at == pytest.approx(0.02 * packet, abs=0.019)
    assert told[-1][1] == position.at, "what lies behind the end is told with it"


async def test_marks_in_audio_that_never_leaves_are_not_told(peer: Peer) -> None:
    told: list[str] = []
    async with to(peer) as session:
        said = AudioChunk(tone(440, 900), 8000, marks=(Mark("a", 0), Mark("b", 800)))
        playback = session.start_play(said)
        playback.on_mark(lambda mark, at: told.append(mark.text))
        await peer.until(lambda: len(peer.packets) >= 3)
        playback.cancel()
        await playback.wait()
    assert told == ["a"]


async def test_a_thousand_marks_and_more_are_told(peer: Peer) -> None:
    told: list[str] = []
    marks = tuple(Mark(str(n), n / 32) for n in range(6000))
    async with to(peer) as session:
        playback = session.start_play(AudioChunk(tone(440, 200), 8000, marks=marks))
        playback.on_mark(lambda mark, at: told.append(mark.text))
        await playback.wait()
    assert told == [mark.text for mark in marks]


# --- one of several ------------------------------------------------------------------------------


async def test_each_has_a_position_of_its_own(peer: Peer) -> None:
    async with to(peer) as session:
        playbacks = [session.start_play(tone(440, 40)) for _ in range(70)]
        positions = [await playback.wait() for playback in playbacks]
        assert [position.playback for position in positions] == list(range(1, 71))
        assert {position.played_ms for position in positions} == {40}
        started = [position.started_at or 0.0 for position in positions]
        assert started == sorted(started)
        assert positions[9].at == pytest.approx(started[9] + 0.02, abs=0.01)
        native = session._media.native
        assert native.position(70) is not None
        assert native.position(6) is None, "the last 64"


async def test_cancelling_one_leaves_the_others(peer: Peer) -> None:
    async with to(peer) as session:
        first, second, third = (session.start_play(tone(440, 200)) for _ in range(3))
        await peer.until(lambda: len(peer.packets) >= 2)
        began = time.monotonic()
        assert second.cancel()
        assert (await second.wait()).played_ms == 0
        assert time.monotonic() - began < 0.15, "told before its turn"
        assert (await first.wait()).played_ms == (await third.wait()).played_ms == 200
        await peer.until(lambda: len(peer.packets) >= 20)
    assert [packet.marker for packet in peer.packets].count(True) == 1, "they join without a gap"


class SlowVoice:
    """A voice whose connection never closes."""

    def __init__(self) -> None:
        self.closing = False

    async def chunks(self) -> AsyncIterator[AudioChunk]:
        try:
            while True:
                yield AudioChunk(tone(440, 100), 8000)
                await asyncio.sleep(0.05)  # sleep: a voice makes its audio little by little
        finally:
            self.closing = True
            await asyncio.Event().wait()


async def test_a_source_that_never_closes_delays_nothing(peer: Peer) -> None:
    voice = SlowVoice()
    session = to(peer)
    async with session:
        playback = session.start_play(voice.chunks())
        await peer.until(lambda: len(peer.packets) >= 3)
        began = time.monotonic()
        playback.cancel()
        position = await playback.wait()
        assert (voice.closing, position.cancelled) == (True, True)
        played = await session.play(tone(440, 40))
        assert played.played_ms == 40
        waiting = session.start_play(SlowVoice().chunks())
        await session.close()
        assert (await waiting.wait()).cancelled
        assert time.monotonic() - began < 0.6


async def test_a_source_that_never_closes_is_told_of_once_and_left(
    peer: Peer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomkit.rtp._closing._LIMIT_S", 0.05)
    async with to(peer) as session:
        playback = session.start_play(SlowVoice().chunks())
        await peer.until(lambda: len(peer.packets) >= 1)
        playback.cancel()
        await playback.wait()
        await peer.stream(session.local_addr, 10)
    assert [r.levelname for r in caplog.records if "has not closed" in r.message] == ["WARNING"]


async def test_what_a_source_raises_is_raised_where_it_is_awaited(peer: Peer) -> None:
    async def broken() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(tone(440, 100), 8000)
        raise ConnectionResetError("the voice is gone")

    async with to(peer) as session:
        playback = session.start_play(broken())
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await playback.wait()
        assert playback.position.cancelled
        with pytest.raises(TypeError):
            session.start_play(5)  # type: ignore[arg-type]


# --- what left, and when -------------------------------------------------------------------------


async def test_what_left_has_the_time_of_its_packet_however_late_python_is(peer: Peer) -> None:
    played: list[AudioFrame] = []
    heard: list[AudioFrame] = []
    async with to(peer) as session:
        session.on_played(played.append)
        session.on_frame(heard.append)
        playback = session.start_play(endless())
        await peer.until(lambda: len(peer.packets) >= 3)
        assert {frame.timestamp_ms for frame in played} <= {None}
        await peer.stream(session.local_addr, 15)
        playback.pause()
        await peer.stream(session.local_addr, 7)
        playback.resume()
        threading.Event().wait(0.3)  # the program is away
        await peer.stream(session.local_addr, 10)
        playback.cancel()
        await playback.wait()
    frames = {round(frame.clock_ms or 0.0, 3): frame for frame in played}
    first, zero = peer.packets[0].timestamp, played[0].clock_ms or 0.0
    packets = [
        round(((p.timestamp - first) % 2**32) / 8 + zero, 3)
        for p in peer.packets
        if p.payload_type == 0
    ]
    assert sorted(frames) == packets, "one frame for each packet, at the place of its packet"
    # What is heard has the same clock.
    offsets = {round((frame.clock_ms or 0) - (frame.timestamp_ms or 0), 3) for frame in heard}
    assert len(offsets) == 1
    later = [frame for frame in played if frame.timestamp_ms is not None]
    assert {round((f.clock_ms or 0) - (f.timestamp_ms or 0), 3) for f in later} == offsets


# --- the backend ---------------------------------------------------------------------------------


async def test_the_backend_hands_out_playbacks_and_the_delay_of_the_path(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)
    assert VoiceCapability.PAUSE in backend.capabilities
    session = await backend.connect("room", "caller", "phone")
    playback = backend.start_playback(session, tone(440, 40))
    assert (await playback.wait()).played_ms == 40
    assert backend.path_delay(session) == PathDelay(20, 80, 600)
    await backend.close()


@pytest.mark.parametrize(
    ("stats", "path"),
    [
        (RTPStats(round_trip_ms=100), (20, 110, 300)),
        (RTPStats(round_trip_ms=100, remote_jitter_ms=10), (20, 110, 340)),
        (RTPStats(round_trip_ms=40, remote_buffer_ms=60, remote_buffer_most_ms=90), (30, 80, 150)),
        (RTPStats(remote_buffer_ms=40, remote_end_delay_ms=120), (20, 60, 540)),
    ],
)
def test_the_path_is_bounded_by_what_is_known(
    stats: RTPStats, path: tuple[float, float, float]
) -> None:
    assert path_of(stats) == PathDelay(*path)
