"""The fake backend behaves as the real one: audio that comes in, digits, and a far end that goes.
Each is run over both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomkit.errors import QueueFullError
from roomkit.voice.base import DisconnectReason, VoiceSession, VoiceSessionState
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from testing.ends import End, on_both, say

# --- audio in ------------------------------------------------------------------------------------


@on_both
async def test_frames_that_come_in_are_contiguous(end: End) -> None:
    frames: list[AudioFrame] = []
    end.backend.on_audio_received(lambda session, frame: frames.append(frame))
    await end.connect()
    await end.speaks(15)
    await end.until(lambda: sum(frame.kind == "received" for frame in frames) >= 10)
    assert {frame.duration_ms for frame in frames} == {20.0}
    assert {(frame.sample_rate, frame.channels) for frame in frames} == {(8000, 1)}
    assert [frame.timestamp_ms for frame in frames] == [20.0 * n for n in range(len(frames))]
    loud = [frame for frame in frames if frame.data.strip(b"\0")]
    assert len(loud) >= 10


@on_both
async def test_while_muted_the_caller_is_not_heard_and_time_goes_on(end: End) -> None:
    frames: list[AudioFrame] = []
    session = await end.connect()
    end.backend.set_input_muted(session, True)
    await end.passes(60)
    end.backend.on_audio_received(lambda session, frame: frames.append(frame))
    await end.speaks(15)
    await end.until(lambda: len(frames) >= 10)
    assert {frame.data for frame in frames} == {bytes(320)}
    end.backend.set_input_muted(session, False)
    frames.clear()
    await end.speaks(10)
    await end.until(lambda: any(frame.data.strip(b"\0") for frame in frames))


@on_both
async def test_a_call_on_hold_is_paused_and_hears_music(end: End) -> None:
    backend, session = end.backend, await end.connect()
    frames: list[AudioFrame] = []
    await end.speaks(10)
    await backend.hold(session)
    await backend.hold(session)
    states = [session.state]
    await end.passes(150)  # what is on its way is heard
    backend.on_audio_received(lambda session, frame: frames.append(frame))
    await backend.send_audio(session, say("music"))
    await end.speaks(10)
    assert {frame.data for frame in frames} == {bytes(320)}
    await backend.resume(session)
    await backend.resume(session)
    assert [*states, session.state] == ["paused", "active"]
    await end.until(lambda: end.heard_text == "music")


@on_both
async def test_on_hold_inactive_what_is_to_be_played_waits(end: End) -> None:
    backend: Any = end.backend
    session = await end.connect()
    await backend.hold(session, "inactive")
    sending = asyncio.create_task(backend.send_audio(session, say("later")))
    await end.passes(100)
    assert end.packets == 0
    assert not sending.done()
    await backend.resume(session)
    await sending
    await end.until(lambda: end.heard_text == "later")


# --- digits --------------------------------------------------------------------------------------


@on_both
async def test_keys_are_told_with_how_long_they_were_held(end: End) -> None:
    got: list[tuple[VoiceSession, DTMFEvent]] = []
    end.backend.on_dtmf_received(lambda session, event: got.append((session, event)))
    session = await end.connect()
    await end.speaks(10)
    for count, key in enumerate("1#D", 1):
        end.presses(key)
        await end.until(lambda count=count: len(got) == count)  # type: ignore[misc]
    assert got == [(session, DTMFEvent(key, 100.0)) for key in "1#D"]


@on_both
async def test_keys_pressed_while_masked_say_so(end: End) -> None:
    got: list[DTMFEvent] = []
    end.backend.on_dtmf_received(lambda session, event: got.append(event))
    session = await end.connect()
    await end.speaks(10)
    end.backend.mask_digits(session)
    await end.passes(60)
    end.presses("5")
    await end.until(lambda: got)
    assert (got[0].digit, got[0].masked) == ("5", True)


@on_both
async def test_a_key_that_signalling_tells_of_arrives_like_any_other(end: End) -> None:
    got: list[DTMFEvent] = []
    end.backend.on_dtmf_received(lambda session, event: got.append(event))
    session = await end.connect()
    end.backend.inject_dtmf(session, "d", 120)
    await end.until(lambda: got)
    assert got == [DTMFEvent("D", 120)]
    for wrong in ("", "12", "E"):
        with pytest.raises(ValueError, match="^digit: "):
            end.backend.inject_dtmf(session, wrong)


@on_both
async def test_digits_are_sent_in_order_and_awaited(end: End) -> None:
    backend, session = end.backend, await end.connect()
    assert await backend.wait_dtmf(session) is True
    for digit in ("1", "2", "a"):
        backend.send_dtmf(session, digit, 60)
    assert await backend.wait_dtmf(session) is True
    await end.until(lambda: end.keys == "12A")
    assert backend.cancel_dtmf(session) is False


@on_both
async def test_digits_that_wait_can_be_dropped(end: End) -> None:
    backend, session = end.backend, await end.connect()
    backend.send_dtmf(session, "123456789", 100)
    waiting = asyncio.create_task(backend.wait_dtmf(session))
    await end.passes(130)
    assert backend.cancel_dtmf(session) is True
    assert await waiting is False
    await end.passes(100)
    assert len(end.keys) < 4


@on_both
async def test_what_is_no_digit_is_refused_and_so_are_too_many(end: End) -> None:
    session = await end.connect()
    for wrong in ("", "E", "1 ", None, 1):
        with pytest.raises(ValueError, match=r"^digit.*0123456789\*#ABCD"):
            end.backend.send_dtmf(session, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^duration_ms: "):
        end.backend.send_dtmf(session, "1", 19)
    with pytest.raises(QueueFullError):
        end.backend.send_dtmf(session, "1" * 129)


@on_both
async def test_a_digit_takes_the_place_of_the_audio_and_none_of_it_is_lost(end: End) -> None:
    backend, session = end.backend, await end.connect()
    sending = asyncio.create_task(backend.send_audio(session, say("one two three four")))
    await end.until(lambda: end.packets >= 3)
    backend.send_dtmf(session, "7", 100)
    await sending
    await end.until(lambda: end.heard_text.endswith("four"))
    assert end.heard_text == "one two three four"
    assert end.keys == "7"


# --- the far end goes ----------------------------------------------------------------------------


@on_both
async def test_a_bye_is_told_and_the_session_stays_until_disconnected(end: End) -> None:
    told: list[tuple[VoiceSession, str]] = []
    end.backend.on_client_disconnected(lambda session, why: told.append((session, why)))
    session = await end.connect()
    await end.speaks(10)
    end.says_bye("hung up")
    await end.until(lambda: told)
    assert told == [(session, "bye")]
    why = told[0][1]
    assert isinstance(why, DisconnectReason)
    assert why.detail == "hung up"
    assert session.state is VoiceSessionState.ACTIVE
    await end.backend.disconnect(session)
    assert len(told) == 1


@on_both
async def test_a_peer_that_was_silent_and_speaks_again_is_told(end: End) -> None:
    told: list[str] = []
    end.backend.on_client_disconnected(lambda session, why: told.append(why))
    end.backend.on_client_resumed(lambda session: told.append("back"))
    await end.connect()
    await end.speaks(10)
    end.falls_silent()
    await end.until(lambda: told)
    assert told == ["rtp_timeout"]
    await end.speaks(10)
    await end.until(lambda: len(told) > 1)
    assert told == ["rtp_timeout", "back"]


@on_both
async def test_no_frames_come_from_a_far_end_that_is_gone(end: End) -> None:
    frames: list[AudioFrame] = []
    told: list[str] = []
    end.backend.on_audio_received(lambda session, frame: frames.append(frame))
    end.backend.on_client_disconnected(lambda session, why: told.append(why))
    end.backend.on_client_resumed(lambda session: told.append("back"))
    await end.connect()
    for said, gone in (("rtp_timeout", end.falls_silent), ("bye", lambda: end.says_bye(""))):
        await end.speaks(10)
        gone()
        await end.until(lambda said=said: said in told)  # type: ignore[misc]
        await end.passes(60)
        count = len(frames)
        await end.passes(500)  # what comes sooner behind a goodbye was overtaken by it
        assert len(frames) == count
    await end.speaks(10)
    await end.until(lambda: len(told) >= 4 and len(frames) >= count + 5)
    assert told == ["rtp_timeout", "back", "bye", "back"]
    # Their timeline knows nothing of it, and the clock does.
    assert [frame.timestamp_ms for frame in frames] == [20.0 * n for n in range(len(frames))]
    assert (frames[-1].clock_ms or 0) - (frames[-1].timestamp_ms or 0) > 300
