"""Call: what the caller says, asked for, recorded, or as an answer."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from roomkit import Call
from roomkit._calls.taking import joined, level_db
from roomkit.call import Recorded
from roomkit.cli import wav
from roomkit.testing import virtual_time
from roomkit.voice.base import AudioChunk
from roomkit.voice.stt.base import STTProvider, TranscriptionResult
from support.calls import Line, a_call, heard, say_words, soon, texts, until_playing
from support.sound import noise, silence, tone


class Length(STTProvider):
    """A recogniser that hears how long it was."""

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        return TranscriptionResult(f"{round(audio.duration_ms, -3):.0f} ms")

    async def transcribe_stream(
        self, chunks: AsyncIterator[AudioChunk]
    ) -> AsyncIterator[TranscriptionResult]:
        ms = sum([chunk.duration_ms async for chunk in chunks])
        yield TranscriptionResult(f"{round(ms, -3):.0f} ms", is_final=True)


# --- utterance -----------------------------------------------------------------------------------


@virtual_time
async def test_what_the_caller_says_is_told_with_its_sound_and_what_he_said_before_counts() -> None:
    async with a_call() as (call, backend):
        await say_words(call, backend, 600)
        said = await call.utterance()
        assert said is not None
        assert said.text is None
        assert 600 <= said.duration_ms <= 2000
        waiting = asyncio.create_task(call.utterance())
        await say_words(call, backend, 1600)
        again = await waiting
        assert again is not None
        assert again.duration_ms - said.duration_ms == pytest.approx(1000, abs=120)
        assert await call.utterance(0.5) is None


@virtual_time
async def test_with_a_recogniser_it_has_its_text() -> None:
    async with a_call(stt=Length()) as (call, backend):
        await say_words(call, backend, 1800)
        said = await call.utterance(10)
        assert said is not None
        assert said.text == "3000 ms"
        assert said.audio.duration_ms > 1800


@virtual_time
async def test_who_speaks_is_waited_for() -> None:
    """The time in which he is to begin is not the time in which he is to end."""
    async with a_call() as (call, backend):
        began = asyncio.get_running_loop().time()
        waiting = asyncio.create_task(call.utterance(1))
        await heard(call, backend, silence(500) + tone(5000) + silence(2000))
        said = await waiting
        assert said is not None
        assert asyncio.get_running_loop().time() - began > 5
        assert await call.utterance(1, flush=True) is None


@virtual_time
async def test_of_a_caller_who_talks_on_the_newest_wait() -> None:
    async with a_call() as (call, backend):
        for n in range(10):
            await say_words(call, backend, 400 + 100 * n)
        lengths = []
        while (said := await call.utterance(0)) is not None:
            lengths.append(said.duration_ms)
        assert len(lengths) == 8
        assert lengths == sorted(lengths)


# --- ask -----------------------------------------------------------------------------------------


@virtual_time
async def test_an_answer_is_keys_or_speech_or_nothing() -> None:
    async with a_call(stt=Length()) as (call, backend):
        nothing = await call.ask("Well?", timeout=3)
        assert not nothing
        assert (nothing.reason, nothing.key, nothing.text) == ("timeout", None, None)

        asking = asyncio.create_task(call.ask("Well?"))
        await asyncio.sleep(1)  # sleep: on virtual time
        backend.press(call.session, "2")
        answer = await asking
        assert (answer.reason, answer.key, answer.digits) == ("keys", "2", "2")
        assert answer

        asking = asyncio.create_task(call.ask("Well?"))
        await asyncio.sleep(1)  # sleep: on virtual time
        await say_words(call, backend, 1800)
        answer = await asking
        assert (answer.reason, answer.text, answer.key) == ("speech", "3000 ms", None)
        assert answer.audio is not None
        assert "3000" not in repr(answer)


@virtual_time
async def test_a_question_is_stopped_by_what_answers_it() -> None:
    for keys, speech, does, cut in (
        (True, True, "key", True),
        (True, True, "voice", True),
        (False, True, "key", False),
        (True, False, "voice", False),
    ):
        async with a_call() as (call, backend):
            backend.running.clear()
            asking = asyncio.create_task(call.ask("Well?", keys=keys, speech=speech, timeout=3))
            await until_playing(backend)
            if does == "key":
                backend.press(call.session, "2")
            else:
                await say_words(call, backend)
            await asyncio.sleep(0.5)  # sleep: on virtual time
            assert call.channel.is_speaking(call.session) is not cut
            backend.running.set()
            assert bool(await asking) is cut


@virtual_time
async def test_several_keys_may_be_the_answer() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "12#")
        answer = await call.ask("Your number, or your name?", digits=None)
        assert answer.digits == "12"
        assert texts(call) == []


async def test_a_question_that_nothing_can_answer_is_none() -> None:
    async with a_call() as (call, _):
        with pytest.raises(ValueError, match="keys or speech"):
            await call.ask("Well?", keys=False, speech=False)


# --- record --------------------------------------------------------------------------------------


async def recorded(call: Call, backend: Line, pcm: bytes, **options: Any) -> Recorded:
    recording = asyncio.create_task(call.record(**options))
    await asyncio.sleep(0)
    await heard(call, backend, pcm)
    if not recording.done():
        backend.press(call.session, "#")
    return await recording


@virtual_time
async def test_a_message_is_what_was_said_without_the_quiet_around_it(tmp_path: Path) -> None:
    words = tone(1000)
    async with a_call() as (call, backend):
        path = tmp_path / "message.wav"
        pcm = silence(2000) + words + silence(500) + words + silence(3000)
        message = await recorded(call, backend, pcm, path=path)
        assert message
        assert (message.reason, message.key, message.path) == ("key", "#", path)
        assert message.audio.data == silence(100) + words + silence(500) + words + silence(100)
        assert message.duration_ms == 2700
        assert wav.read(path).pcm() == message.audio.data
        assert list(tmp_path.iterdir()) == [path]
        assert await call.key(0) is None  # the key that ended it is taken


@virtual_time
async def test_silence_ends_a_message_and_one_of_nothing_is_none(tmp_path: Path) -> None:
    async with a_call() as (call, backend):
        message = await recorded(
            call, backend, silence(500) + tone(500) + noise(3000, dbfs=-60), silence=1.5
        )
        assert (message.reason, message.duration_ms) == ("silence", 700)
        path = tmp_path / "nothing.wav"
        message = await recorded(call, backend, silence(3000), silence=1.5, path=path)
        assert (message.reason, bool(message), message.path) == ("silence", False, None)
        assert message.audio.data == b""
        assert not path.exists()


@virtual_time
async def test_time_ends_a_message_of_whoever_talks_on_and_of_frames_that_never_come() -> None:
    async with a_call() as (call, backend):
        message = await recorded(call, backend, tone(5000), max_seconds=2)
        assert (message.reason, message.duration_ms) == ("time", 2000)
        message = await call.record(max_seconds=2)
        assert (message.reason, bool(message)) == ("time", False)


@virtual_time
async def test_keys_pressed_before_end_no_message_and_others_stay() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "7")
        recording = asyncio.create_task(call.record(stop_on="#*"))
        await asyncio.sleep(0)
        backend.press(call.session, "89")
        await asyncio.sleep(1)  # sleep: on virtual time
        assert not recording.done()
        backend.press(call.session, "*")
        assert (await recording).key == "*"
        assert (await call.collect(3)).digits == "789"


@virtual_time
async def test_a_message_is_kept_when_the_caller_hangs_up(tmp_path: Path) -> None:
    path = tmp_path / "message.wav"
    async with a_call() as (call, backend):
        recording = asyncio.create_task(call.record(path, stop_on=None))
        await heard(call, backend, silence(500) + tone(500))
        backend.hang_up(call.session)
        message = await soon(recording)
        assert (message.reason, message.path) == ("hangup", path)
        assert wav.read(path).seconds == pytest.approx(0.6)


@virtual_time
async def test_a_message_is_kept_when_it_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "message.wav"
    async with a_call() as (call, backend):
        recording = asyncio.create_task(call.record(path, stop_on=None))
        await heard(call, backend, silence(500) + tone(500))
        recording.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recording
        await call.settle(5)
        assert wav.read(path).seconds == pytest.approx(0.6)


async def test_where_nothing_can_be_written_it_is_told_before(tmp_path: Path) -> None:
    async with a_call() as (call, _):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            await call.record(tmp_path / "no" / "message.wav")
        for wrong in ({"stop_on": "x"}, {"max_seconds": 4000}, {"silence": -1}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                await call.record(**wrong)


@virtual_time
async def test_another_rate_in_mid_recording_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    from roomkit.voice.frame import AudioFrame

    async with a_call() as (call, backend):
        recording = asyncio.create_task(call.record())
        await asyncio.sleep(0)
        backend.speak(call.session, tone(200))
        for _ in range(3):
            frame = AudioFrame(b"\x00\x20" * 320, 16000, timestamp_ms=200.0)
            backend.audio_received.fire(call.session, frame)
        await asyncio.sleep(0)
        backend.press(call.session, "#")
        assert (await recording).duration_ms == 200
    assert len([r for r in caplog.records if "left out" in r.getMessage()]) == 1


# --- parts ---------------------------------------------------------------------------------------


def test_levels() -> None:
    assert level_db(b"") == level_db(bytes(320)) == -96.0
    assert level_db(array("h", [32767, -32768] * 80).tobytes()) == pytest.approx(0, abs=0.001)
    assert level_db(tone(100, dbfs=-20)) == pytest.approx(-20, abs=0.1)


def test_chunks_are_joined_where_they_can_be() -> None:
    one, two = AudioChunk(b"\1\0", 8000), AudioChunk(b"\2\0", 8000)
    other = AudioChunk(b"\3\0", 16000)
    assert joined([one, two]).data == b"\1\0\2\0"
    assert joined([other, one, two]).data == b"\1\0\2\0"
    assert joined([one, other]).sample_rate == 16000
    assert joined([]).data == b""
