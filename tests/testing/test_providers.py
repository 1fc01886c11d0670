"""The voice, the recogniser, the model and the detector that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from roomkit import Turn, VoiceSession
from roomkit.errors import SynthesisError
from roomkit.testing import FakeModel, FakeSTT, FakeTTS, ScriptedVAD, speech, virtual_time, words_in
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.base import VADEvent, VADEventType

SESSION = VoiceSession("id", "room", "ann", "phone")


def now() -> float:
    return asyncio.get_running_loop().time()


async def times(items: Any) -> list[tuple[float, Any]]:
    """Each item with when it came, in s from the beginning."""
    began = now()
    return [(round(now() - began, 6), item) async for item in items]


# --- the voice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 24000])
@virtual_time
async def test_a_voice_says_what_can_be_read_from_its_sound(rate: int) -> None:
    voice = FakeTTS(sample_rate=rate)
    chunks = await times(voice.synthesize_stream("Hello there, you."))
    assert [at for at, _ in chunks] == [0] * len(chunks)
    whole = await voice.synthesize("Hello there, you.")
    assert b"".join(chunk.data for _, chunk in chunks) == whole.data
    assert " ".join(word.text for word in words_in(whole)) == "Hello there, you."
    assert [chunk.is_final for _, chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert (voice.texts, voice.speaking) == (["Hello there, you."] * 2, 0)


@virtual_time
async def test_a_voice_takes_its_time() -> None:
    voice = FakeTTS(delay_ms=250, speed=2.0, chunk_ms=100)
    chunks = await times(voice.synthesize_stream("a b"))
    assert [at for at, _ in chunks] == [0.3, 0.35, 0.4, 0.45, 0.5, 0.55]


@virtual_time
async def test_marks_are_words_or_sentences_or_none_and_lie_in_their_chunk() -> None:
    text = "One two. Three? Four five"
    for marks, wanted in (
        ("words", [("One", 0), ("two.", 300), ("Three?", 600), ("Four", 900), ("five", 1200)]),
        ("sentences", [("One two.", 0), ("Three?", 600), ("Four five", 900)]),
        (None, []),
    ):
        found: list[tuple[str, float]] = []
        at_ms = 0.0
        for _, chunk in await times(FakeTTS(marks=marks, chunk_ms=70).synthesize_stream(text)):  # type: ignore[arg-type]
            for mark in chunk.marks:
                assert 0 <= mark.offset_ms < chunk.duration_ms
                assert mark.end_ms is not None
                assert mark.end_ms > mark.offset_ms
                found.append((mark.text, round(at_ms + mark.offset_ms, 6)))
            at_ms += chunk.duration_ms
        assert found == wanted


@virtual_time
async def test_a_voice_fails_and_hangs_when_it_is_told_to() -> None:
    voice = FakeTTS(fail_after=2)
    stream = voice.synthesize_stream("one two")
    assert len([await anext(stream), await anext(stream)]) == 2
    with pytest.raises(SynthesisError, match="after 2 chunks"):
        await anext(stream)
    voice = FakeTTS(hang_after=1)
    stream = voice.synthesize_stream("one two")
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 800)
    assert voice.speaking == 0


@virtual_time
async def test_a_voice_closes_slowly_when_it_is_told_to() -> None:
    for close_ms, takes in ((0.0, 0.0), (700.0, 0.7), (math.inf, 5.0)):
        stream = FakeTTS(close_ms=close_ms).synthesize_stream("one")
        await anext(stream)
        began = now()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stream.aclose(), 5)
        assert now() - began == pytest.approx(takes)


# --- the recogniser ------------------------------------------------------------------------------


def cut(audio: AudioChunk, ms: int = 20) -> list[AudioChunk]:
    size = ms * 16
    return [AudioChunk(audio.data[at : at + size], 8000) for at in range(0, len(audio.data), size)]


async def live(audio: AudioChunk) -> AsyncIterator[AudioChunk]:
    """As it is spoken."""
    for chunk in cut(audio):
        await asyncio.sleep(chunk.duration_ms / 1000)  # sleep: on the virtual clock
        yield chunk


@virtual_time
async def test_a_recogniser_reads_the_words_as_they_come() -> None:
    stt = FakeSTT(delay_ms=100, confidence=0.9)
    assert stt.supports_streaming
    results = await times(stt.transcribe_stream(live(speech("two tables please"))))
    assert [(at, result.text, result.is_final) for at, result in results] == [
        (0.26, "two", False),
        (0.56, "two tables", False),
        (0.86, "two tables please", False),
        (1.0, "two tables please", True),
    ]
    assert {result.confidence for _, result in results} == {0.9}
    assert (stt.heard, stt.listening) == (["two tables please"], 0)
    quiet = FakeSTT(partials=False)
    assert len(await times(quiet.transcribe_stream(live(speech("two tables"))))) == 1


@virtual_time
async def test_a_recogniser_that_does_not_stream_gets_the_whole() -> None:
    stt = FakeSTT(streaming=False, delay_ms=300)
    assert not stt.supports_streaming
    began = now()
    assert (await stt.transcribe(speech("two please"))).text == "two please"
    assert now() - began == pytest.approx(0.3)


@virtual_time
async def test_words_of_which_a_part_is_missing_are_not_recognised() -> None:
    stt = FakeSTT()
    front = AudioChunk(speech("one two").data[1600:], 8000)
    assert (await stt.transcribe(front)).text == "two"
    assert (await stt.transcribe(AudioChunk(bytes(16000), 8000))).text == ""


@virtual_time
async def test_a_recogniser_mishears_fails_and_hangs_when_it_is_told_to() -> None:
    wrong = FakeSTT(mishears={"two": "too"}, texts=["a script"])
    assert (await wrong.transcribe(speech("two please"))).text == "a script"
    assert (await wrong.transcribe(speech("two please"))).text == "too please"
    failing = FakeSTT(fails=lambda n: n == 1)
    texts: list[str] = []
    for _ in range(3):
        try:
            texts.append((await failing.transcribe(speech("two"))).text)
        except ConnectionError:
            texts.append("failed")
    assert texts == ["two", "failed", "two"]
    hanging = FakeSTT(hangs=True)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging.transcribe(speech("two")), 800)
    assert hanging.listening == 0


# --- the model -----------------------------------------------------------------------------------


async def answer(model: FakeModel, text: str) -> str:
    pieces = [piece async for piece in model.reply(SESSION, [Turn("user", text)])]
    return "|".join(pieces)


@virtual_time
async def test_a_model_answers_by_rules_word_by_word() -> None:
    async def later(session: VoiceSession, turns: Sequence[Turn]) -> str:
        return f"{len(turns)} turn"

    async def stream() -> AsyncIterator[str]:
        yield "as "
        yield "stream"

    model = FakeModel(
        {
            r"\btwo\b": "A table for two.",
            "pieces": ["p", "ie", "ces"],
            "plain": lambda session, turns: session.id,
            "async": later,
            "stream": lambda session, turns: stream(),
        },
        default="Pardon?",
    )
    assert await answer(model, "TWO please") == "A |table |for |two."
    assert await answer(model, "pieces") == "p|ie|ces"
    assert await answer(model, "plain") == "id"
    assert await answer(model, "async") == "1 |turn"
    assert await answer(model, "stream") == "as |stream"
    assert await answer(model, "twofold") == "Pardon?"
    assert model.texts == ["TWO please", "pieces", "plain", "async", "stream", "twofold"]
    assert model.gave[:2] == ["A table for two.", "pieces"]
    assert model.thinking == 0
    assert await answer(FakeModel("Always this."), "x") == "Always |this."


@virtual_time
async def test_a_model_takes_its_time() -> None:
    model = FakeModel("one two three", first_ms=400, per_token_ms=50)
    pieces = await times(model.reply(SESSION, [Turn("user", "x")]))
    assert [at for at, _ in pieces] == [0.4, 0.45, 0.5]


@virtual_time
async def test_a_model_fails_hangs_and_does_not_end_when_it_is_told_to() -> None:
    model = FakeModel("one two three", fails=lambda n: n == 1, fail_after=2)
    assert await answer(model, "x") == "one |two |three"
    with pytest.raises(ConnectionError):
        await answer(model, "x")
    assert model.gave == ["one two three", "one two "]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer(FakeModel(hangs=True), "x"), 800)
    endless = FakeModel("and so on ", endless=True, per_token_ms=10)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer(endless, "x"), 1)
    assert endless.gave[0].startswith("and so on and so on ")
    assert endless.thinking == 0


def test_a_rule_that_is_no_pattern_is_refused_at_once() -> None:
    with pytest.raises(Exception, match="unterminated"):
        FakeModel({"[": "x"})


# --- the detector --------------------------------------------------------------------------------


def test_a_detector_finds_what_it_is_told_in_every_call() -> None:
    pattern = ScriptedVAD((50, 130), (500, 620), hangover_ms=100)
    for _ in range(2):
        vad = pattern.new_session()
        found: list[tuple[float, VADEvent]] = []
        for n in range(50):
            event = vad.process(AudioFrame(bytes(320), 8000, timestamp_ms=20.0 * n))
            if event is not None:
                found.append((20.0 * n, event))
        assert found == [
            (40, VADEvent(VADEventType.SPEECH_START, 50)),
            (220, VADEvent(VADEventType.SPEECH_END, 130)),
            (500, VADEvent(VADEventType.SPEECH_START, 500)),
            (720, VADEvent(VADEventType.SPEECH_END, 620)),
        ]


def test_a_detector_is_told_rising_times() -> None:
    for wrong in (((5, 5),), ((5, 9), (8, 10)), ((9, 5),)):
        with pytest.raises(ValueError, match="rising"):
            ScriptedVAD(*wrong)
