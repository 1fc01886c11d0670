"""`Recognition`: one utterance on its way through a recogniser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final

from roomkit._limits import Beside, Pump
from roomkit.voice.base import AudioChunk
from roomkit.voice.stt.base import STTProvider, TranscriptionResult

__all__ = ["Recognition", "Utterance"]

_log = logging.getLogger("roomkit.voice.channel")

_ATTEMPTS: Final = 2
# A recogniser that hears ends of sentences hears no more of them in an utterance.
_STREAMS: Final = 64


class Utterance:
    """What the caller says in one piece, while and after it is said."""

    def __init__(self, number: int, longest_ms: float) -> None:
        self.number = number
        self.longest_ms = longest_ms
        self.chunks: list[AudioChunk] = []
        self.length_ms = 0.0
        """All of it, of which `longest_ms` are kept."""
        self.at_ms: float | None = None
        """Media time of its first sample."""
        self.closed = False
        self.changed = asyncio.Event()
        self._format = (0, 0)

    def add(self, chunk: AudioChunk) -> None:
        """More of it."""
        if not self.chunks:
            self._format = (chunk.sample_rate, chunk.channels)
            self.at_ms = chunk.timestamp_ms
        elif (chunk.sample_rate, chunk.channels) != self._format:
            # One utterance has one format; the codec of a call changes between them at best.
            return
        self.length_ms += chunk.duration_ms
        if not self.truncated:
            self.chunks.append(chunk)
            self.changed.set()

    def close(self) -> None:
        """He has said it."""
        self.closed = True
        self.changed.set()

    @property
    def truncated(self) -> bool:
        """It went on for longer than is kept."""
        return self.length_ms > self.longest_ms

    @property
    def audio(self) -> AudioChunk:
        """What is kept of it."""
        rate, channels = self._format if self.chunks else (8000, 1)
        data = b"".join(chunk.data for chunk in self.chunks)
        return AudioChunk(data, rate, channels, timestamp_ms=self.at_ms, is_final=True)

    async def stream(self, first: int = 0) -> AsyncGenerator[AudioChunk]:
        """It from a chunk on, as it is said; each reader has all of it."""
        given = first
        while True:
            while given < len(self.chunks):
                given += 1
                yield self.chunks[given - 1]
            if self.closed:
                return
            await self.news()

    async def news(self) -> None:
        """Waits until there is more of it, or it is closed."""
        self.changed.clear()
        await self.changed.wait()


class Recognition:
    """Has one utterance recognised, while it is said or afterwards, as the recogniser wants it.

    `heard(result)` is called for what comes, in order; `failed(error)` when the recogniser raised
    or took too long. It is then asked once more, with the whole utterance.
    """

    def __init__(
        self,
        stt: STTProvider,
        utterance: Utterance,
        beside: Beside,
        seconds: float,
        *,
        heard: Callable[[TranscriptionResult], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._stt = stt
        self._utterance = utterance
        self._beside = beside
        self._seconds = seconds
        self._heard = heard
        self._failed = failed
        self._finals = 0
        self._read = 0
        self._reader_done = False

    async def run(self) -> bool:
        """Returns when there is nothing more to come of it: False if the recogniser has failed and
        given no text. Never raises."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._finals = 0
            try:
                if self._stt.supports_streaming:
                    await self._streams()
                else:
                    await self._whole()
            except Exception as error:  # noqa: BLE001 (a provider may raise anything; the call goes on)
                self._failed(error)
                # What was final stands: asked again, it would be said twice.
                if self._finals or attempt == _ATTEMPTS:
                    break
                _log.info("utterance %d goes to the recogniser again", self._utterance.number)
            else:
                return True
        return self._finals > 0

    def _hear(self, result: TranscriptionResult) -> None:
        self._finals += result.is_final
        self._heard(result)

    async def _whole(self) -> None:
        utterance = self._utterance
        while not utterance.closed:
            await utterance.news()
        name = f"{self._stt.name}.transcribe"
        work = self._stt.transcribe(utterance.audio)
        self._hear(await self._beside.within(work, self._seconds, name))

    async def _streams(self) -> None:
        """One stream, or several: a recogniser may hear the end of a sentence, and end, while the
        caller speaks on."""
        utterance, first = self._utterance, 0
        for _ in range(_STREAMS):
            await self._stream(first)
            if utterance.closed and (first == len(utterance.chunks) or self._reader_done):
                return
            first = self._read
        raise EOFError(f"{self._stt.name} ends its streams before the utterance does")

    async def _stream(self, first: int) -> None:
        utterance = self._utterance
        name = f"{self._stt.name}.transcribe_stream"
        audio = self._reading(first)
        results = Pump(
            self._stt.transcribe_stream(audio), self._beside, name, changed=utterance.changed
        )
        try:
            while True:
                if not results.ready and not utterance.closed:
                    await utterance.news()
                    continue
                # From the end of the utterance on there is a limit.
                self._hear(await results.next(self._seconds))
        except StopAsyncIteration:
            return
        finally:
            results.leave()

    async def _reading(self, first: int) -> AsyncGenerator[AudioChunk]:
        self._read, self._reader_done = first, False
        async for chunk in self._utterance.stream(first):
            self._read += 1
            yield chunk
        self._reader_done = True
