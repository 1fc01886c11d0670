"""The fake backend behaves as the real one: life, and audio that goes out. Each is run over both.

The real one talks to a peer of bare sockets, in real time; so what is played is short.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomkit.errors import BackendClosedError, SessionEndedError, SessionNotFoundError
from roomkit.voice.base import (
    AudioChunk,
    PlaybackPosition,
    VoiceCapability,
    VoiceSession,
    VoiceSessionState,
)
from roomkit.voice.frame import AudioFrame
from support.source import SOUND, Source
from testing.ends import End, on_both, say

# --- life ----------------------------------------------------------------------------------------


@on_both
async def test_a_session_is_up_when_connect_returns(end: End) -> None:
    ready: list[VoiceSession] = []
    end.backend.on_session_ready(ready.append)
    given = {"tenant": "acme"}
    session = await end.backend.connect("room", "caller", "voice", metadata=given)
    assert given == {"tenant": "acme"}
    assert ready == [session]
    assert session.state is VoiceSessionState.ACTIVE
    assert (session.room_id, session.participant_id, session.channel_id) == (
        "room",
        "caller",
        "voice",
    )
    metadata = session.metadata
    assert metadata["tenant"] == "acme"
    assert metadata["backend"] == end.name
    assert (metadata["sample_rate"], metadata["channels"]) == (8000, 1)
    assert end.backend.get_session(session.id) is session
    assert end.backend.list_sessions("room") == [session]
    wanted = VoiceCapability.DTMF_SIGNALING | VoiceCapability.INTERRUPTION
    assert end.backend.capabilities & wanted == wanted


@on_both
async def test_what_is_asked_of_a_session_that_has_ended_says_so(end: End) -> None:
    backend, session = end.backend, await end.connect()
    await backend.disconnect(session)
    await backend.disconnect(session)
    assert session.ended
    assert backend.list_sessions("room") == []
    for use in (
        lambda: backend.send_audio_sync(session, AudioChunk(b"\0\0")),
        lambda: backend.send_dtmf(session, "1"),
        lambda: backend.inject_dtmf(session, "1"),
        lambda: backend.mask_digits(session),
        lambda: backend.set_input_muted(session, True),
        lambda: backend.playback_position(session),
    ):
        with pytest.raises(SessionEndedError):
            use()
    for wait in (backend.send_audio(session, b"\0\0"), backend.hold(session)):
        with pytest.raises(SessionEndedError):
            await wait
    # What only asks, or stops what does not play, has an answer.
    assert backend.stats(session)
    assert await backend.cancel_audio(session) is False
    assert await backend.wait_playback(session) is True
    assert not backend.is_playing(session)
    backend.interrupt(session)
    backend.end_of_response(session)


@on_both
async def test_a_session_of_another_backend_is_not_found(end: End) -> None:
    stranger = VoiceSession("x", "room", "caller", "voice", VoiceSessionState.ACTIVE)
    with pytest.raises(SessionNotFoundError):
        await end.backend.send_audio(stranger, b"\0\0")
    with pytest.raises(SessionNotFoundError):
        end.backend.stats(stranger)
    with pytest.raises(TypeError, match="^session: "):
        end.backend.is_playing("x")  # type: ignore[arg-type]


@on_both
async def test_a_closed_backend_connects_no_more(end: End) -> None:
    session = await end.connect()
    await end.backend.close()
    await end.backend.close()
    assert session.ended
    with pytest.raises(BackendClosedError):
        await end.connect()


# --- audio out -----------------------------------------------------------------------------------


@on_both
async def test_what_is_sent_is_heard_and_its_end_awaited(end: End) -> None:
    backend, session = end.backend, await end.connect()
    assert backend.playback_position(session) == PlaybackPosition(0, 0.0)
    assert not backend.is_playing(session)
    sending = asyncio.create_task(backend.send_audio(session, say("one two three")))
    await end.until(lambda: end.packets >= 1)
    assert backend.is_playing(session)
    assert await backend.wait_playback(session) is True
    await sending
    assert not backend.is_playing(session)
    position = backend.playback_position(session)
    assert position.playback == 1
    assert position.played_ms == pytest.approx(len(say("one two three")) / 16, abs=0.5)
    await end.until(lambda: end.packets >= 15)
    assert end.heard_text == "one two three"


@on_both
async def test_playbacks_at_the_same_time_follow_one_another_without_a_gap(end: End) -> None:
    backend, session = end.backend, await end.connect()
    # Neither length is one of whole frames.
    first, second = say("one")[: -2 * 30], say("two")
    await asyncio.gather(backend.send_audio(session, first), backend.send_audio(session, second))
    await end.until(lambda: end.packets >= -(-(len(first) + len(second)) // 320))
    assert end.heard_text == "one two"
    assert end.packets == -(-(len(first) + len(second)) // 320)
    assert backend.playback_position(session).playback == 2


@on_both
async def test_a_source_of_any_kind_is_played_to_its_end(end: End) -> None:
    async def stream() -> AsyncIterator[Any]:
        pcm = say("stream")
        yield AudioChunk(pcm[:101], 8000)
        yield AudioChunk(pcm[101:], 8000, is_final=True)

    session = await end.connect()
    sources: list[Any] = [
        bytearray(say("bytearray")),
        memoryview(say("memoryview")),
        AudioChunk(say("chunk"), 8000),
        AudioFrame(say("frame"), 8000),
        [say("list"), AudioChunk(say("of"), 8000), AudioFrame(say("all"), 8000)],
        (say(word) for word in ("generator",)),
        stream(),
    ]
    for source in sources:
        await end.backend.send_audio(session, source)
    await end.until(lambda: end.heard_text.endswith("stream"))
    assert end.heard_text == "bytearray memoryview chunk frame list of all generator stream"


@on_both
async def test_audio_in_another_rate_is_converted(end: End) -> None:
    session = await end.connect()
    for rate in (16_000, 24_000, 48_000):
        pcm = say(f"{rate}", sample_rate=rate)
        chunk: Any = AudioChunk(pcm, rate)
        await end.backend.send_audio(session, chunk)
        played = end.backend.playback_position(session).played_ms
        assert played == pytest.approx(len(pcm) / 2 * 1000 / rate, abs=21)
    await end.until(lambda: end.heard_text.endswith("48000"))
    assert end.heard_text == "16000 24000 48000"


@on_both
async def test_what_is_no_audio_is_refused(end: End) -> None:
    async def wrong() -> AsyncIterator[Any]:
        yield "text"

    session = await end.connect()
    for audio, error in (
        ("speech.wav", TypeError),
        (None, TypeError),
        (5, TypeError),
        (b"\0", ValueError),
        (b"RIFF\0\0\0\0WAVEfmt ", ValueError),
        (["text"], TypeError),
        (wrong(), TypeError),
    ):
        with pytest.raises(error):
            await end.backend.send_audio(session, audio)  # type: ignore[arg-type]
    assert not end.backend.is_playing(session)


@on_both
async def test_nothing_at_all_is_played_at_once(end: End) -> None:
    async def empty() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(b"", 8000, is_final=True)

    session = await end.connect()
    await end.backend.send_audio(session, b"")
    await end.backend.send_audio(session, empty())
    assert end.packets == 0
    assert not end.backend.is_playing(session)


@on_both
async def test_a_fast_source_is_read_ahead_by_the_lead_and_no_further(end: End) -> None:
    session, source = await end.connect(), Source()
    sending = asyncio.create_task(end.backend.send_audio(session, source.chunks()))
    await end.until(lambda: end.packets >= 10)
    # What has left, and 1000 ms that may wait.
    read_ms = source.read * 100
    assert 1100 <= read_ms <= end.packets * 20 + 1200
    await end.backend.cancel_audio(session)
    await sending
    assert source.closed


@on_both
async def test_a_cancel_silences_what_plays_and_forgets_what_waits(end: End) -> None:
    backend, session = end.backend, await end.connect()
    assert await backend.cancel_audio(session) is False
    source, waits = Source(), Source()
    sending = [
        asyncio.create_task(backend.send_audio(session, s.chunks())) for s in (source, waits)
    ]
    await end.until(lambda: end.packets >= 3)
    waiting = asyncio.create_task(backend.wait_playback(session))
    await asyncio.sleep(0)
    assert await backend.cancel_audio(session) is True
    assert not backend.is_playing(session)
    left = end.packets
    await asyncio.gather(*sending)
    assert await waiting is False
    assert source.closed
    assert waits.read == 0
    await end.passes(100)
    assert end.packets <= left + 1
    position = backend.playback_position(session)
    assert position.playback == 1
    assert position.played_ms == pytest.approx(end.packets * 20, abs=0.5)
    # What comes next is played from its beginning.
    await backend.send_audio(session, say("next"))
    await end.until(lambda: end.heard_text.endswith("next"))
    assert backend.playback_position(session).playback == 3


@on_both
async def test_interrupting_does_the_same_without_waiting(end: End) -> None:
    backend, session = end.backend, await end.connect()
    sending = asyncio.create_task(backend.send_audio(session, Source().chunks()))
    await end.until(lambda: end.packets >= 2)
    backend.interrupt(session)
    await sending
    assert not backend.is_playing(session)


@on_both
async def test_a_cancel_reaches_a_source_that_gives_nothing(end: End) -> None:
    session, source = await end.connect(), Source(stall_after=0)
    sending = asyncio.create_task(end.backend.send_audio(session, source.chunks()))
    await end.passes(30)
    assert end.backend.is_playing(session)
    assert await end.backend.cancel_audio(session) is True
    await sending
    assert source.closed


@on_both
async def test_cancelling_a_task_drops_its_audio_and_not_that_before_or_behind(end: End) -> None:
    backend, session = end.backend, await end.connect()
    sending = [
        asyncio.create_task(backend.send_audio(session, say(text)))
        for text in ("one two", "three four", "five six")
    ]
    await end.until(lambda: end.packets >= 2)
    sending[1].cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    await end.until(lambda: end.heard_text.endswith("six"))
    assert end.heard_text == "one two five six"


@on_both
async def test_what_the_source_raises_is_raised_and_its_audio_dropped(end: End) -> None:
    session, source = await end.connect(), Source(fail_after=2)
    with pytest.raises(ConnectionResetError, match="the voice is gone"):
        await end.backend.send_audio(session, source.chunks())
    assert source.closed
    assert not end.backend.is_playing(session)
    await end.backend.send_audio(session, say("next"))
    await end.until(lambda: end.heard_text.endswith("next"))


@on_both
async def test_a_source_that_is_slow_loses_nothing(end: End) -> None:
    async def slow() -> AsyncIterator[AudioChunk]:
        pcm = say("one two three")
        for at in range(0, len(pcm), 1000):
            await end.passes(70)
            yield AudioChunk(pcm[at : at + 1000], 8000)

    session = await end.connect()
    await end.backend.send_audio(session, slow())
    await end.until(lambda: end.heard_text.endswith("three"))
    assert end.heard_text == "one two three"
    played = end.backend.playback_position(session).played_ms
    assert played == pytest.approx(len(say("one two three")) / 16, abs=1)


@on_both
async def test_disconnecting_ends_what_plays_and_waits(end: End) -> None:
    backend, session = end.backend, await end.connect()
    source = Source()
    sending = [
        asyncio.create_task(backend.send_audio(session, each))
        for each in (source.chunks(), say("never"))
    ]
    waiting = asyncio.create_task(backend.wait_playback(session))
    await end.until(lambda: end.packets >= 2)
    await backend.disconnect(session)
    await asyncio.gather(*sending)
    assert source.closed
    await waiting
    left = end.packets
    await end.passes(60)
    assert end.packets <= left + 1


@on_both
async def test_waiting_tells_whether_all_was_played(end: End) -> None:
    backend, session = end.backend, await end.connect()
    assert await backend.wait_playback(session) is True
    sending = asyncio.create_task(backend.send_audio(session, say("one")))
    await asyncio.sleep(0)
    assert await backend.wait_playback(session) is True
    await sending


@on_both
async def test_what_left_is_told_as_frames(end: End) -> None:
    backend = end.backend
    told: list[AudioFrame] = []
    backend.on_audio_played(lambda session, frame: told.append(frame))
    session = await end.connect()
    await end.speaks(10)
    pcm = say("one two")
    await backend.send_audio(session, pcm)
    await end.until(lambda: sum(len(frame.data) for frame in told) >= len(pcm))
    assert b"".join(frame.data for frame in told) == pcm
    times = [-1.0 if frame.timestamp_ms is None else frame.timestamp_ms for frame in told]
    assert times[0] >= 0
    assert times == pytest.approx([times[0] + 20 * n for n in range(len(told))], abs=10)


# --- live audio ----------------------------------------------------------------------------------


@on_both
async def test_live_audio_is_taken_whole_or_not_at_all(end: End) -> None:
    backend, session = end.backend, await end.connect()
    pcm = say("one two")
    taken = await asyncio.to_thread(backend.send_audio_sync, session, AudioChunk(pcm, 8000))
    assert taken == len(pcm)
    assert backend.is_playing(session)
    backend.end_of_response(session)
    assert await backend.wait_playback(session) is True
    await end.until(lambda: end.heard_text == "one two")
    # A second finds room, and no more of it.
    taken = sum(backend.send_audio_sync(session, SOUND) > 0 for _ in range(20))
    assert 9 <= taken <= 11
    assert backend.stats(session)["live_bytes_dropped"] == (20 - taken) * len(SOUND.data)
    assert await backend.cancel_audio(session) is True
    assert await backend.wait_playback(session) is False


@on_both
async def test_live_audio_yields_to_a_playback(end: End) -> None:
    backend, session = end.backend, await end.connect()
    sending = asyncio.create_task(backend.send_audio(session, say("one two")))
    await end.until(lambda: end.packets >= 1)
    assert backend.send_audio_sync(session, AudioChunk(say("live"), 8000)) == 0
    await sending
    assert backend.send_audio_sync(session, AudioChunk(say("now"), 8000)) > 0
    await end.until(lambda: end.heard_text.endswith("now"))
    assert end.heard_text == "one two now"
