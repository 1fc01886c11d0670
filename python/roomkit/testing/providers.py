"""A voice, a recogniser, a model and a detector that do as they are told: at once, late, wrong, or
never."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Literal, TypeAlias

from roomkit.ai import AIProvider, Turn
from roomkit.errors import SynthesisError
from roomkit.testing.words import Ear, HeardWord, speech
from roomkit.voice.base import AudioChunk, Mark, VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.stt.base import STTProvider, TranscriptionResult
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.vad.base import VADEvent, VADEventType, VADProvider

__all__ = ["FakeModel", "FakeSTT", "FakeTTS", "Reply", "ScriptedVAD"]


class FakeTTS(TTSProvider):
    """A voice whose words can be read from its sound (`roomkit.testing.speech`).

    It makes its audio at once unless told otherwise, and counts what it was asked for.
    """

    def __init__(
        self,
        *,
        per_word_ms: float = 300.0,
        marks: Literal["words", "sentences"] | None = "words",
        sample_rate: int = 8000,
        chunk_ms: float = 100.0,
        delay_ms: float = 0.0,
        speed: float | None = None,
        fail_after: int | None = None,
        hang_after: int | None = None,
        close_ms: float = 0.0,
    ) -> None:
        """
        Args:
            per_word_ms: Length of each word and the pause behind it, 60 to 5000.
            marks: Where each word begins is told with the audio, or each sentence, or nothing.
            sample_rate: Of its audio, in Hz.
            chunk_ms: Length of the chunks that it hands out, above 0.
            delay_ms: Until the first chunk.
            speed: How many seconds of audio it makes in a second; None: all at once.
            fail_after: Chunks after which it raises a `SynthesisError`; None: never.
            hang_after: Chunks after which nothing comes any more; None: never.
            close_ms: How long it takes to stop when it is cut short, `math.inf` for ever.
        """
        self.per_word_ms = per_word_ms
        self.marks = marks
        self.sample_rate = sample_rate
        self.chunk_ms = chunk_ms
        self.delay_ms = delay_ms
        self.speed = speed
        self.fail_after = fail_after
        self.hang_after = hang_after
        self.close_ms = close_ms
        self.texts: list[str] = []
        """What it was asked to say, in order."""
        self.made_ms = 0.0
        """Audio that it handed out."""
        self.speaking = 0
        """Texts that it is at."""
        self.closed = 0
        """How often `close` was called."""

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk, None]:
        self.texts.append(text)
        self.speaking += 1
        try:
            if self.delay_ms:
                await asyncio.sleep(self.delay_ms / 1000)
            for number, chunk in enumerate(self._chunks(text)):
                if number == self.fail_after:
                    raise SynthesisError(f"{self.name}: told to fail after {number} chunks")
                if number == self.hang_after:
                    await _for_ever()
                if self.speed is not None:
                    await asyncio.sleep(chunk.duration_ms / 1000 / self.speed)
                self.made_ms += chunk.duration_ms
                yield chunk
        finally:
            try:
                if self.close_ms:
                    await _for(self.close_ms)
            finally:
                self.speaking -= 1

    async def close(self) -> None:
        self.closed += 1

    def _chunks(self, text: str) -> list[AudioChunk]:
        whole = speech(text, per_word_ms=self.per_word_ms, sample_rate=self.sample_rate)
        marks = list(whole.marks) if self.marks == "words" else []
        if self.marks == "sentences":
            marks = _sentences(text, whole.marks)
        size = 2 * max(1, round(self.chunk_ms * self.sample_rate / 1000))
        chunks = []
        for begin in range(0, len(whole.data), size):
            data = whole.data[begin : begin + size]
            from_ms = begin * 500 / self.sample_rate
            to_ms = from_ms + len(data) * 500 / self.sample_rate
            mine = tuple(
                Mark(mark.text, mark.offset_ms - from_ms, mark.end_ms and mark.end_ms - from_ms)
                for mark in marks
                if from_ms <= mark.offset_ms < to_ms
            )
            chunks.append(
                AudioChunk(
                    data,
                    self.sample_rate,
                    is_final=begin + size >= len(whole.data),
                    marks=mine,
                )
            )
        return chunks


def _sentences(text: str, words: Sequence[Mark]) -> list[Mark]:
    found: list[Mark] = []
    begin: Mark | None = None
    said: list[str] = []
    for mark in words:
        begin = begin or mark
        said.append(mark.text)
        if mark.text[-1] in ".!?" or mark is words[-1]:
            found.append(Mark(" ".join(said), begin.offset_ms, mark.end_ms))
            begin, said = None, []
    return found


class FakeSTT(STTProvider):
    """A recogniser that reads the words of `Caller.says` from the audio. Words of which it did not
    get all are `"…"`, and left out; audio without words is heard as nothing."""

    def __init__(
        self,
        *,
        streaming: bool = True,
        partials: bool = True,
        delay_ms: float = 0.0,
        mishears: Mapping[str, str] | None = None,
        texts: Iterable[str] | None = None,
        fails: Callable[[int], bool] | bool = False,
        hangs: Callable[[int], bool] | bool = False,
        confidence: float | None = None,
    ) -> None:
        """
        Args:
            streaming: It listens while the caller speaks (`supports_streaming`).
            partials: It then tells after each word what it has heard so far.
            delay_ms: From the end of an utterance to its text.
            mishears: Words that it takes for others.
            texts: What it hears in the first, the second … utterance, whatever that was: for real
                speech. Then it goes back to listening.
            fails: Raises `ConnectionError` instead; or `fails(n)` says whether it does for
                utterance number n, from 0.
            hangs: Gives no text, ever; or the same.
            confidence: Of every result.
        """
        self._streaming = streaming
        self._partials = partials
        self._delay_ms = delay_ms
        self._mishears = dict(mishears or {})
        self._texts = iter(texts) if texts is not None else iter(())
        self._fails = _when(fails)
        self._hangs = _when(hangs)
        self._confidence = confidence
        self._numbers = itertools.count()
        self.heard: list[str] = []
        """The text of each utterance, in the order in which they were complete."""
        self.listening = 0
        """Utterances that it is at."""
        self.closed = 0
        """How often `close` was called."""

    @property
    def supports_streaming(self) -> bool:
        return self._streaming

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        async def one() -> AsyncIterator[AudioChunk]:
            yield audio

        results = [result async for result in self._listen(one(), partials=False)]
        return results[-1]

    async def transcribe_stream(
        self, audio: AsyncIterator[AudioChunk]
    ) -> AsyncGenerator[TranscriptionResult, None]:
        async for result in self._listen(audio, partials=self._partials):
            yield result

    async def close(self) -> None:
        self.closed += 1

    async def _listen(
        self, audio: AsyncIterator[AudioChunk], *, partials: bool
    ) -> AsyncGenerator[TranscriptionResult, None]:
        number = next(self._numbers)
        self.listening += 1
        try:
            if self._hangs(number):
                await _for_ever()
            ear: Ear | None = None
            words: list[str] = []
            async for chunk in audio:
                ear = ear or Ear(chunk.sample_rate, chunk.channels)
                found = self._understood(ear.hear(chunk.data))
                words += found
                if found and partials:
                    yield TranscriptionResult(
                        " ".join(words), is_final=False, confidence=self._confidence
                    )
            if ear is not None:
                words += self._understood(ear.end())
            if self._fails(number):
                raise ConnectionError(f"{self.name}: told to fail at utterance {number}")
            if self._delay_ms:
                await asyncio.sleep(self._delay_ms / 1000)
            text = next(self._texts, " ".join(words))
            self.heard.append(text)
            yield TranscriptionResult(text, confidence=self._confidence)
        finally:
            self.listening -= 1

    def _understood(self, words: Iterable[HeardWord]) -> list[str]:
        return [self._mishears.get(word.text, word.text) for word in words if word.whole]


_Pieces: TypeAlias = str | Iterable[str] | AsyncIterable[str]
Reply: TypeAlias = _Pieces | Callable[[VoiceSession, Sequence[Turn]], _Pieces | Awaitable[_Pieces]]
"""What a `FakeModel` answers: a text; pieces of one; or a function of `(session, turns)` that gives
either, or is async."""


class FakeModel(AIProvider):
    """A model that answers by rules::

        FakeModel({"two": "Two tables. Smoking or not?", "bye": "Good bye."}, default="Pardon?")

    The first rule whose pattern is found in what the user said, in any case, answers; a pattern is
    a regular expression. A text is given word by word, as models do.
    """

    def __init__(
        self,
        rules: Mapping[str, Reply] | Reply | None = None,
        *,
        default: Reply = "I see.",
        first_ms: float = 0.0,
        per_token_ms: float = 0.0,
        fails: Callable[[int], bool] | bool = False,
        fail_after: int = 0,
        hangs: Callable[[int], bool] | bool = False,
        endless: bool = False,
        close_ms: float = 0.0,
    ) -> None:
        """
        Args:
            rules: Answers by pattern; or one answer to everything.
            default: Answers where no rule fits.
            first_ms: Until the first piece.
            per_token_ms: Between pieces.
            fails: Raises `ConnectionError`; or `fails(n)` says whether it does for answer n, from
                0.
            fail_after: Pieces that it gives before that.
            hangs: Gives nothing, ever; or the same.
            endless: It begins its answer again and again.
            close_ms: How long it takes to stop when it is cut short, `math.inf` for ever.
        """
        self._rules: dict[str, Reply] = {}
        self._default = default
        if isinstance(rules, Mapping):
            self._rules.update(rules)
        elif rules is not None:
            self._default = rules
        for pattern in self._rules:
            re.compile(pattern)
        self._first_ms = first_ms
        self._per_token_ms = per_token_ms
        self._fails = _when(fails)
        self._fail_after = fail_after
        self._hangs = _when(hangs)
        self._endless = endless
        self._close_ms = close_ms
        self._numbers = itertools.count()
        self.asked: list[list[Turn]] = []
        """The turns that it was given, each time it was asked."""
        self.gave: list[str] = []
        """What it has given of each answer."""
        self.thinking = 0
        """Answers that it is at."""
        self.closed = 0
        """How often `close` was called."""

    @property
    def texts(self) -> list[str]:
        """What the user said last, each time it was asked."""
        return [turns[-1].text for turns in self.asked]

    async def reply(
        self, session: VoiceSession, turns: Sequence[Turn]
    ) -> AsyncGenerator[str, None]:
        number = next(self._numbers)
        self.asked.append(list(turns))
        self.gave.append("")
        place = len(self.gave) - 1
        self.thinking += 1
        try:
            if self._hangs(number):
                await _for_ever()
            if self._first_ms:
                await asyncio.sleep(self._first_ms / 1000)
            given = 0
            while True:
                async for piece in _pieces(self._answer_to(turns), session, turns):
                    if self._fails(number) and given >= self._fail_after:
                        raise ConnectionError(f"{type(self).__name__}: told to fail at {number}")
                    if given and self._per_token_ms:
                        await asyncio.sleep(self._per_token_ms / 1000)
                    given += 1
                    self.gave[place] += piece
                    yield piece
                if not self._endless:
                    return
                await asyncio.sleep(0)  # or whoever reads it would be kept from everything else
        finally:
            try:
                if self._close_ms:
                    await _for(self._close_ms)
            finally:
                self.thinking -= 1

    async def close(self) -> None:
        self.closed += 1

    def _answer_to(self, turns: Sequence[Turn]) -> Reply:
        text = turns[-1].text if turns else ""
        for pattern, reply in self._rules.items():
            if re.search(pattern, text, re.IGNORECASE):
                return reply
        return self._default


async def _pieces(
    reply: Reply, session: VoiceSession, turns: Sequence[Turn]
) -> AsyncGenerator[str, None]:
    made = reply(session, turns) if callable(reply) else reply
    pieces = await made if isinstance(made, Awaitable) else made
    if isinstance(pieces, str):
        for word in re.findall(r"\S+\s*|\s+", pieces):
            yield word
    elif isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


class ScriptedVAD(VADProvider):
    """A detector that finds speech where it is told to, whatever it hears::

        ScriptedVAD((500, 1200), (3000, 3800))

    Each pair is from when to when someone speaks, in ms of the frames' `timestamp_ms`, rising.
    """

    def __init__(self, *speech: tuple[float, float], hangover_ms: float = 200.0) -> None:
        """`hangover_ms`: how much later than it ended the end of speech is told."""
        last = 0.0
        for begin, end in speech:
            if not last <= begin < end:
                raise ValueError(f"speech: {speech!r}; pairs of rising times fit")
            last = end
        self.speech = speech
        self.hangover_ms = hangover_ms
        self.reset()

    def reset(self) -> None:
        self._events = [
            event
            for begin, end in self.speech
            for event in (
                (begin, begin, VADEventType.SPEECH_START),
                (end + self.hangover_ms, end, VADEventType.SPEECH_END),
            )
        ]

    def process(self, frame: AudioFrame) -> VADEvent | None:
        if frame.timestamp_ms is None or not self._events:
            return None
        due, at, kind = self._events[0]
        if due >= frame.timestamp_ms + frame.duration_ms:
            return None
        self._events = self._events[1:]
        return VADEvent(kind, at)


def _when(told: Callable[[int], bool] | bool) -> Callable[[int], bool]:
    if isinstance(told, bool):
        always = told
        return lambda _: always
    return told


async def _for(ms: float) -> None:
    if ms == float("inf"):
        await _for_ever()
    await asyncio.sleep(ms / 1000)


async def _for_ever() -> None:
    await asyncio.Event().wait()
