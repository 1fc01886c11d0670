"""An utterance on its way through a recogniser, whatever that does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomkit._limits import Beside
from roomkit.testing import virtual_time
from roomkit.voice._recognition import Recognition, Utterance
from roomkit.voice.base import AudioChunk
from roomkit.voice.stt.base import STTProvider, TranscriptionResult


def chunk(number: int) -> AudioChunk:
    return AudioChunk(bytes([number, 0]) * 160, 8000, timestamp_ms=20.0 * number)


class Numbers(STTProvider):
    """Hears which chunks there were. `streams[n]` is what its nth stream does."""

    supports_streaming = True

    def __init__(self, *streams: str) -> None:
        self.streams = list(streams)
        self.heard: list[list[int]] = []

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        raise AssertionError("it streams")

    async def transcribe_stream(
        self, audio: AsyncIterator[AudioChunk]
    ) -> AsyncIterator[TranscriptionResult]:
        does = self.streams.pop(0) if self.streams else "all"
        heard: list[int] = []
        self.heard.append(heard)
        if does == "raises":
            raise ConnectionError("refused")
        if does == "hangs":
            await asyncio.Event().wait()
        async for piece in audio:
            heard.append(piece.data[0])
            yield TranscriptionResult(str(heard[-1]), is_final=False)
            if does == "ends early" and len(heard) == 3:
                yield TranscriptionResult("a sentence")
                return
            if does == "breaks" and len(heard) == 3:
                raise ConnectionError("broken")
        yield TranscriptionResult("to" if does == "two" else ",".join(map(str, heard)))
        if does == "two":
            yield TranscriptionResult("gether")


async def recognise(stt: STTProvider, count: int = 6) -> tuple[list[str], list[str], float]:
    """The finals, the failures and the time from the end of the utterance."""
    utterance, beside = Utterance(1, 60_000), Beside("test")
    finals: list[str] = []
    failed: list[str] = []
    recognition = Recognition(
        stt,
        utterance,
        beside,
        5.0,
        heard=lambda result: finals.append(result.text) if result.is_final else None,
        failed=lambda error: failed.append(type(error).__name__),
    )
    running: asyncio.Task[bool] = asyncio.create_task(recognition.run())
    for number in range(count):
        utterance.add(chunk(number))
        await asyncio.sleep(0.02)
    utterance.close()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await running is bool(finals)
    took = loop.time() - began
    await beside.finish(0)
    return finals, failed, took


@virtual_time
async def test_a_stream_has_the_utterance_while_it_is_said_and_all_its_finals_count() -> None:
    assert await recognise(Numbers()) == (["0,1,2,3,4,5"], [], 0)
    assert await recognise(Numbers("two")) == (["to", "gether"], [], 0)


@virtual_time
async def test_a_stream_that_hears_the_end_of_a_sentence_is_followed_by_one_for_the_rest() -> None:
    stt = Numbers("ends early")
    assert (await recognise(stt))[:2] == (["a sentence", "3,4,5"], [])
    assert stt.heard == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("does", ["raises", "breaks"])
@virtual_time
async def test_a_stream_that_fails_is_replaced_by_one_that_has_it_all(does: str) -> None:
    stt = Numbers(does)
    assert (await recognise(stt))[:2] == (["0,1,2,3,4,5"], ["ConnectionError"])
    assert stt.heard[-1] == [0, 1, 2, 3, 4, 5]


@virtual_time
async def test_a_stream_that_hangs_is_told_after_its_time_and_replaced() -> None:
    finals, failed, took = await recognise(Numbers("hangs"))
    assert (finals, failed) == (["0,1,2,3,4,5"], ["TimeoutError"])
    assert took == pytest.approx(5)


@virtual_time
async def test_two_failures_are_enough() -> None:
    finals, failed, took = await recognise(Numbers("hangs", "hangs", "all"))
    assert (finals, failed) == ([], ["TimeoutError", "TimeoutError"])
    assert took == pytest.approx(10)


@virtual_time
async def test_a_recogniser_of_whole_utterances_gets_one() -> None:
    class Whole(STTProvider):
        tries = 0

        async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
            Whole.tries += 1
            if Whole.tries == 1:
                raise ConnectionError("refused")
            return TranscriptionResult(f"{audio.duration_ms:.0f} ms at {audio.timestamp_ms}")

    assert await recognise(Whole()) == (["120 ms at 0.0"], ["ConnectionError"], 0)


@virtual_time
async def test_an_utterance_is_kept_up_to_its_length_and_in_one_format() -> None:
    utterance = Utterance(1, 100)
    for number in range(10):
        utterance.add(chunk(number))
    utterance.add(AudioChunk(bytes(640), 16000))
    assert utterance.truncated
    assert utterance.length_ms == 200
    assert utterance.audio.duration_ms == 100
    silent: Any = Utterance(2, 100).audio
    assert silent.data == b""
