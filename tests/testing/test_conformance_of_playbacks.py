"""The fake backend behaves as the real one: what `start_playback` returns, run over both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from roomkit.errors import SessionEndedError
from roomkit.testing import FakeTTS
from roomkit.voice.base import (
    AudioChunk,
    Mark,
    PlaybackPosition,
    VoiceCapability,
    VoiceSession,
)
from roomkit.voice.frame import AudioFrame
from support.source import SOUND, Source
from testing.ends import End, on_both, say


def chunks(pcm: bytes, size: int = 1000) -> AsyncIterator[AudioChunk]:
    async def cut() -> AsyncIterator[AudioChunk]:
        for at in range(0, len(pcm), size):
            yield AudioChunk(pcm[at : at + size], 8000)

    return cut()


@on_both
async def test_it_returns_at_once_and_knows_how_far_it_has_come(end: End) -> None:
    backend, session = end.backend, await end.connect()
    assert VoiceCapability.PAUSE in backend.capabilities
    loop = asyncio.get_running_loop()
    pcm = say("one two three four five six seven")
    asked = loop.time()
    playback = backend.start_playback(session, chunks(pcm))
    assert backend.is_playing(session)
    assert playback.position == PlaybackPosition(1, 0.0)
    await end.until(lambda: end.packets >= 5)
    half = playback.position
    assert not half.over
    assert 80 <= half.played_ms < len(pcm) / 16
    assert half.started_at is not None
    assert half.at is not None
    assert asked <= half.started_at <= half.at
    # The newest packet of it left then, and holds 20 ms.
    assert (half.at - half.started_at) * 1000 == pytest.approx(half.played_ms - 20, abs=30)
    position = await playback.wait()
    assert position == playback.position
    assert (position.playback, position.over, position.cancelled, position.paused) == (
        1,
        True,
        False,
        False,
    )
    assert position.played_ms == pytest.approx(len(pcm) / 16, abs=0.5)
    assert position.started_at == half.started_at
    assert not backend.is_playing(session)


@on_both
async def test_what_is_no_audio_is_refused_at_once(end: End) -> None:
    backend, session = end.backend, await end.connect()
    for audio, error in (("x.wav", TypeError), (b"\0", ValueError), (["x"], TypeError)):
        with pytest.raises(error):
            backend.start_playback(session, audio)  # type: ignore[arg-type]
    await backend.disconnect(session)
    with pytest.raises(SessionEndedError):
        backend.start_playback(session, b"\0\0")


@on_both
async def test_a_pause_is_silent_and_goes_on_with_the_next_sample(end: End) -> None:
    backend, session = end.backend, await end.connect()
    text = "one two three four five six seven"
    pcm = say(text)
    playback = backend.start_playback(session, chunks(pcm))
    assert playback.resume() is False
    for packets in (3, 9):
        await end.until(lambda packets=packets: end.packets >= packets)  # type: ignore[misc]
        assert playback.pause() is True
        assert playback.pause() is True
        await end.passes(40)
        left = end.packets
        paused = playback.position
        assert paused.paused
        assert backend.is_playing(session)
        await end.passes(100)
        assert end.packets == left
        assert playback.position.played_ms == paused.played_ms
        assert playback.resume() is True
        assert playback.resume() is False
    position = await playback.wait()
    assert position.played_ms == pytest.approx(len(pcm) / 16, abs=0.5)
    await end.until(lambda: len(end.heard) >= len(pcm))
    assert end.heard_text == text
    # Every sample once, and the last packet filled up with silence.
    assert len(end.heard) == -(-len(pcm) // 320) * 320
    assert (playback.pause(), playback.resume(), playback.cancel()) == (False, False, False)


@on_both
async def test_one_may_be_paused_before_it_begins(end: End) -> None:
    backend, session = end.backend, await end.connect()
    playback = backend.start_playback(session, say("one"))
    assert playback.pause() is True
    await end.passes(100)
    assert end.packets == 0
    assert playback.position.paused
    assert playback.resume() is True
    await playback.wait()
    await end.until(lambda: end.heard_text == "one")


@on_both
async def test_what_waits_behind_one_that_is_paused_waits_on(end: End) -> None:
    backend, session = end.backend, await end.connect()
    first = backend.start_playback(session, say("one two four five six"))
    second = backend.start_playback(session, say("three"))
    await end.until(lambda: end.packets >= 3)
    first.pause()
    await end.passes(300)
    assert second.position.played_ms == 0
    assert backend.send_audio_sync(session, SOUND) == 0
    first.resume()
    await second.wait()
    await end.until(lambda: end.heard_text == "one two four five six three")


@on_both
async def test_one_is_cut_short_and_no_other(end: End) -> None:
    backend, session = end.backend, await end.connect()
    first = "one is long enough to wait behind"
    playbacks = [backend.start_playback(session, say(text)) for text in (first, "two", "three")]
    await end.until(lambda: end.packets >= 1)
    assert playbacks[1].cancel() is True
    assert playbacks[1].cancel() is False
    dropped = await playbacks[1].wait()
    assert (dropped.playback, dropped.played_ms, dropped.over, dropped.cancelled) == (
        2,
        0,
        True,
        True,
    )
    await playbacks[2].wait()
    await end.until(lambda: end.heard_text.endswith("three"))
    assert end.heard_text == f"{first} three"
    assert not (await playbacks[0].wait()).cancelled
    # The one on air, while another waits.
    on_air, waits = (backend.start_playback(session, say(text)) for text in (first, "d"))
    await end.until(lambda: on_air.position.played_ms >= 60)
    assert on_air.cancel() is True
    assert (await on_air.wait()).cancelled
    assert not (await waits.wait()).cancelled
    await end.until(lambda: end.heard_text.endswith("d"))


@on_both
async def test_one_that_is_paused_can_be_cut_short(end: End) -> None:
    backend, session = end.backend, await end.connect()
    first, second = (
        backend.start_playback(session, say(text)) for text in ("one two four five six", "three")
    )
    await end.until(lambda: end.packets >= 2)
    first.pause()
    await end.passes(60)
    assert first.cancel() is True
    position = await first.wait()
    assert (position.cancelled, position.paused) == (True, False)
    await second.wait()
    await end.until(lambda: end.heard_text.endswith("three"))
    third = backend.start_playback(session, say("four"))
    third.pause()
    assert await backend.cancel_audio(session) is True
    assert (await third.wait()).cancelled
    assert not backend.is_playing(session)


@on_both
async def test_several_may_wait_and_who_gives_up_ends_nothing(end: End) -> None:
    session = await end.connect()
    playback = end.backend.start_playback(session, say("one two and more and more"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(playback.wait(), 0.05)
    one, two = await asyncio.gather(playback.wait(), playback.wait())
    assert one == two
    assert not one.cancelled


@on_both
async def test_what_its_source_raises_reaches_all_who_wait(end: End) -> None:
    session, source = await end.connect(), Source(fail_after=2)
    playback = end.backend.start_playback(session, source.chunks())
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match="the voice is gone"):
            await playback.wait()
    assert playback.position.over
    assert source.closed
    assert not end.backend.is_playing(session)


@on_both
async def test_a_source_that_closes_slowly_delays_nothing(end: End) -> None:
    closes = asyncio.Event()

    async def slow() -> AsyncIterator[AudioChunk]:
        try:
            while True:
                yield SOUND
        finally:
            await closes.wait()

    backend, session = end.backend, await end.connect()
    loop = asyncio.get_running_loop()
    playback = backend.start_playback(session, slow())
    await end.until(lambda: end.packets >= 2)
    began = loop.time()
    playback.cancel()
    assert (await playback.wait()).cancelled
    assert loop.time() - began < 1
    await backend.send_audio(session, say("next"))
    assert loop.time() - began < 2
    sending = asyncio.create_task(backend.send_audio(session, slow()))
    await end.passes(50)
    await backend.disconnect(session)
    await asyncio.wait_for(sending, 1)
    closes.set()
    await end.passes(50)


@on_both
async def test_disconnecting_ends_it_where_it_was(end: End) -> None:
    backend, session = end.backend, await end.connect()
    first, second = (backend.start_playback(session, Source().chunks()) for _ in range(2))
    await end.until(lambda: end.packets >= 3)
    await backend.disconnect(session)
    one, two = await first.wait(), await second.wait()
    assert (one.over, one.cancelled, two.over, two.cancelled) == (True, True, True, True)
    assert one.played_ms >= 60
    assert two.played_ms == 0
    assert (first.pause(), first.resume(), first.cancel()) == (False, False, False)


# --- marks ---------------------------------------------------------------------------------------


@on_both
async def test_marks_are_told_when_their_first_sample_leaves(end: End) -> None:
    session = await end.connect()
    loop = asyncio.get_running_loop()
    for rate, chunk_ms in ((8000, 70), (16_000, 33)):
        voice = FakeTTS(per_word_ms=130, sample_rate=rate, chunk_ms=chunk_ms)
        playback = end.backend.start_playback(session, voice.synthesize_stream("a b c d"))
        told: list[tuple[str, float, float]] = []
        playback.on_mark(lambda mark, at, told=told: told.append((mark.text, at, loop.time())))  # type: ignore[misc]
        position = await playback.wait()
        assert [text for text, _, _ in told] == ["a", "b", "c", "d"]
        assert position.started_at is not None
        for number, (_, at, now) in enumerate(told):
            left_ms = (at - position.started_at) * 1000
            assert left_ms - 30 <= 130 * number <= left_ms + 50
            assert at <= now + 0.001


@on_both
async def test_marks_may_lie_behind_their_chunk_and_behind_all_audio(end: End) -> None:
    async def marked() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SOUND.data, 8000, marks=(Mark("now", 0), Mark("far", 130)))
        yield AudioChunk(SOUND.data, 8000, marks=(Mark("near", 10), Mark("end", 5000)))

    session = await end.connect()
    playback = end.backend.start_playback(session, marked())
    told: list[str] = []
    stop = playback.on_mark(lambda mark, at: told.append(mark.text))
    gone = playback.on_mark(lambda mark, at: told.append("unsubscribed"))
    gone()
    gone()
    await playback.wait()
    await end.until(lambda: len(told) >= 4)
    assert told == ["now", "near", "far", "end"]
    stop()


@on_both
async def test_marks_in_audio_that_never_leaves_are_not_told(end: End) -> None:
    session = await end.connect()
    audio = AudioChunk(SOUND.data * 5, 8000, marks=tuple(Mark(str(n), 100 * n) for n in range(6)))
    playback = end.backend.start_playback(session, [audio])  # type: ignore[arg-type]
    told: list[str] = []
    playback.on_mark(lambda mark, at: told.append(mark.text))
    await end.until(lambda: len(told) >= 2)
    playback.cancel()
    await playback.wait()
    await end.passes(100)
    assert told in (["0", "1"], ["0", "1", "2"])


@on_both
async def test_a_callback_for_marks_that_raises_harms_nothing(end: End) -> None:
    def broken(mark: Mark, at: float) -> None:
        raise RuntimeError("mine")

    session = await end.connect()
    voice = FakeTTS(per_word_ms=120)
    playback = end.backend.start_playback(session, voice.synthesize_stream("a b"))
    told: list[str] = []
    playback.on_mark(broken)
    playback.on_mark(lambda mark, at: told.append(mark.text))
    with pytest.raises(TypeError, match="callback"):
        playback.on_mark("no")  # type: ignore[arg-type]
    assert not (await playback.wait()).cancelled
    assert told == ["a", "b"]


# --- the clock -----------------------------------------------------------------------------------


@on_both
async def test_what_is_heard_and_what_is_played_are_on_one_clock(end: End) -> None:
    heard: list[AudioFrame] = []
    played: list[AudioFrame] = []
    end.backend.on_audio_received(lambda session, frame: heard.append(frame))
    beside: list[tuple[float, float]] = []

    def on_played(session: VoiceSession, frame: AudioFrame) -> None:
        played.append(frame)
        beside.append((frame.clock_ms or 0, heard[-1].clock_ms or 0))

    end.backend.on_audio_played(on_played)
    session = await end.connect()
    speaking = asyncio.create_task(end.speaks(60))
    await end.until(lambda: heard)
    pcm = say("one two three")
    playback = end.backend.start_playback(session, chunks(pcm))
    await end.until(lambda: played)
    playback.pause()
    await end.passes(100)
    playback.resume()
    await playback.wait()
    await end.until(lambda: sum(len(frame.data) for frame in played) >= len(pcm))
    await speaking
    assert b"".join(frame.data for frame in played) == pcm
    for frames in (heard, played):
        times = [frame.clock_ms for frame in frames]
        assert None not in times
        assert times == sorted(times, key=lambda at: at or 0)
    steps = [
        (after.clock_ms or 0) - (before.clock_ms or 0) - before.duration_ms
        for before, after in pairwise(played)
    ]
    # A gap where it was paused, of whole frames, and none elsewhere.
    gaps = [step for step in steps if abs(step) > 10]
    assert len(gaps) == 1
    assert 80 <= gaps[0] <= 400
    # Told soon after it left, and so beside what was heard then.
    assert max(abs(at - then) for at, then in beside) <= 150


@on_both
async def test_the_position_of_the_backend_is_that_of_what_is_heard(end: End) -> None:
    backend, session = end.backend, await end.connect()
    first = backend.start_playback(session, say("one and more and more"))
    second = backend.start_playback(session, say("two"))
    await end.until(lambda: end.packets >= 2)
    assert backend.playback_position(session).playback == 1
    second.cancel()
    await first.wait()
    await second.wait()
    position = backend.playback_position(session)
    assert (position.playback, position.over, position.cancelled) == (1, True, False)
    assert position.played_ms == first.position.played_ms
