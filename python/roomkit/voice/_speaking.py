"""`Speaking`: one call's outbound side inside a `VoiceChannel`: one `Speech` after another, each of
which can be held back, cut short, and asked what of it was heard.

A speech made from within another (a model's tool that says "one moment" while its answer is spoken)
becomes a part of that: it is spoken after what came before it, and what comes after it waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeVar

from roomkit._clock import now_ms
from roomkit._deliveries import current_delivery
from roomkit._limits import Beside, Pump
from roomkit.hooks import speaking
from roomkit.voice._sources import close_source
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.base import AudioChunk, Mark, PlaybackPosition, Unsubscribe, VoiceSession
from roomkit.voice.marks import Heard, HeardText
from roomkit.voice.playback import MarkCallback, Playback, SentPlayback

__all__ = ["Part", "Reason", "Speaking", "SpeakingSink", "Speech"]

_T = TypeVar("_T")

Reason = Literal["interrupt", "barge_in", "key", "voice", "session_ended", "error"]
"""Why a speech was cut short."""

_FRAME_MS: Final = 20.0
_END_SECONDS: Final = 2.0
"""How long a backend may take to say that what was cut short has ended."""

_within: contextvars.ContextVar[Speech | None] = contextvars.ContextVar(
    "roomkit_speech", default=None
)


@dataclass(slots=True)
class Part:
    """A piece of a speech: a sentence, a chunk of audio, or another speech within it."""

    audio: Pump[AudioChunk] | None = None
    text: str | None = None
    """The sentence, as it is spoken."""
    within_seconds: float | None = None
    """How long each chunk of `audio` may take; None: as long as it likes."""
    chunk: AudioChunk | None = None
    inner: Speech | None = None


class SpeakingSink(Protocol):
    """Who is told what becomes of speeches. Called on the event loop, in order."""

    def playing(self, speech: Speech) -> None:
        """Its first audio is about to leave."""

    def played(self, speech: Speech) -> None:
        """It is over, however; also one that never began."""


class Speech:
    """One `say` or `play`, from the moment it was asked for. `VoiceChannel.start_say` and
    `start_play` make one; it belongs to the event loop."""

    def __init__(
        self, speaking: Speaking, number: int, text: str | None, interruptible: bool
    ) -> None:
        self.number = number
        """Its number within the call, rising from 1."""
        self.session: VoiceSession = speaking.session
        self.text = text
        """What is said, as far as it is known by now; None for a recording."""
        self.interruptible = interruptible
        """The caller's speech may hold it back and cut it short."""
        self.cancelled: Reason | None = None
        """Why it was cut short."""
        self.error: BaseException | None = None
        """What its source raised."""
        self.sentence_ms: float | None = None
        """When its first sentence went to the voice, and below, when its first audio came, in ms of
        the event loop's clock."""
        self.audio_ms: float | None = None
        self.playback: Playback | None = None
        """What the backend plays; None until it does."""
        self.said = Heard()
        """What was given to be played of the text, and where in the audio it lies."""
        self.outer = _within.get()
        """The speech from within which this one was asked for."""
        self.delivery = current_delivery()
        """The call of a hook from within which it was asked for."""
        self.context = contextvars.copy_context()
        self.context.run(_within.set, self)
        self.wake = asyncio.Event()
        """Set when there is something new for what makes it."""
        self.given_ms = 0.0
        """How much audio was given to be played."""
        self.complete = False
        """All of it was given."""
        self.is_playing = False
        self.stopped = asyncio.Event()
        """Set when it is cut short."""
        self.parts: Pump[Part] | None = None
        self.inside: list[Speech] = []
        """Speeches that came from within it."""
        self._speaking = speaking
        self._sentence: str | None = None
        self.ended = asyncio.Event()
        """Set when nothing more of it will be heard."""
        # From within it: from its source, in its place there; from a hook that is asked about it.
        self._waiting: deque[Speech] = deque()
        self._from_hooks: deque[Speech] = deque()
        self._pumps: list[Pump[Any]] = []
        self._sources: list[Any] = []
        self._base_ms = 0.0
        self._last: PlaybackPosition | None = None
        self._mark_callbacks: list[MarkCallback] = []
        # Marks that were given and have not left, by identity: equal ones are not the same.
        self._marks: dict[int, Mark] = {}

    # --- for the program ----------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing more of it will be heard."""
        return self.ended.is_set()

    async def wait(self) -> bool:
        """Returns when it is over: True if it was played whole; False if it was cut short, or
        nothing of it was allowed. Raises what its source raised. Whoever is cancelled while he
        waits ends his waiting alone."""
        with speaking():
            await self.ended.wait()
        if self.error is not None:
            raise self.error
        return self.cancelled is None and (self.text is None or bool(self.said.said))

    def cancel(self, reason: Reason = "interrupt") -> bool:
        """Cuts it short, before the next packet leaves; True if it was not over. One that is spoken
        within another takes that along."""
        outermost = self
        while outermost.outer is not None and not outermost._speaking.plays(outermost):
            outermost = outermost.outer
        return self._speaking.cancel(reason, outermost)

    def pause(self) -> bool:
        """Holds it back from the next packet on; True if the backend can."""
        return self.playback is not None and self.playback.pause()

    def resume(self) -> bool:
        """Goes on with the sample after the last that left; True if it was held back."""
        return self.playback is not None and self.playback.resume()

    @property
    def position(self) -> PlaybackPosition:
        """How far it has come."""
        if self._last is not None:
            return self._last
        if self.playback is None:
            return PlaybackPosition(0, 0.0)
        at = self.playback.position
        played_ms = min(max(at.played_ms - self._base_ms, 0.0), self.given_ms)
        return replace(at, played_ms=played_ms) if self._base_ms else at

    @property
    def played_ms(self) -> float | None:
        """What of it has left for the far end, in ms of audio; None where the backend does not
        say."""
        at = self.position
        unknown = isinstance(self.playback, SentPlayback) and not at.playback
        return None if unknown else at.played_ms

    @property
    def started_ms(self) -> float | None:
        """When its first packet left, in ms of the event loop's clock; None: not yet, or the
        backend does not say."""
        at = self.position.started_at
        return None if at is None else at * 1000

    def heard(self) -> HeardText | None:
        """What of the text the caller has heard: by now, while it plays; in the end, once it is
        over. As far as it can be known; None for a recording, and where the backend does not say
        what was played."""
        if self.text is None or self.played_ms is None:
            return None
        position = self.position
        if self.over or self.cancelled is not None:
            return self.said.in_the_end(position)
        path = self._speaking.backend.path_delay(self.session)
        return self.said.up_to(position, now_ms() / 1000, path)

    def on_mark(self, callback: MarkCallback) -> Unsubscribe:
        """`callback(mark, at)` for the marks of its audio as they leave, as `Playback.on_mark`."""
        self._mark_callbacks.append(callback)

        def remove() -> None:
            if callback in self._mark_callbacks:
                self._mark_callbacks.remove(callback)

        return remove

    # --- for what makes it --------------------------------------------------------------------

    async def next_of(self, pump: Pump[_T], seconds: float | None = None) -> _T | Speech:
        """The next item of what it is made of, or a speech from within it, which comes behind all
        that was given before it. Raises `StopAsyncIteration` at the end, `TimeoutError` when
        nothing came for `seconds`."""
        while True:
            if pump.has_item:
                return pump.take()
            for waiting in (self._waiting, self._from_hooks):
                if waiting:
                    return waiting.popleft()
            if pump.ready:
                return pump.take()
            self.wake.clear()
            async with asyncio.timeout(seconds):
                await self.wake.wait()

    async def inner_until(self, task: asyncio.Task[Any]) -> AsyncGenerator[Speech]:
        """What hooks say before `task` is done, which asks them."""
        task.add_done_callback(lambda _: self.wake.set())
        while not task.done():
            if self._from_hooks:
                yield self._from_hooks.popleft()
            else:
                self.wake.clear()
                await self.wake.wait()

    @property
    def speaks_inside(self) -> bool:
        """Something from within it is to be heard first."""
        return any(not inner.over for inner in self.inside)

    def pump(self, source: AsyncIterable[_T], what: str) -> Pump[_T]:
        """Reads `source` as a part of this speech: in its context, until it is over."""
        beside = self._speaking.beside
        pump = self.context.run(Pump, source, beside, what, changed=self.wake)
        # A long answer has thousands of sentences: those that were read have nothing left to close.
        self._pumps = [*(each for each in self._pumps if not each.over), pump]
        return pump

    def owns(self, source: Any) -> None:
        """`source`, if it can be closed, is closed with this speech, though it was never read."""
        if hasattr(source, "aclose"):
            self._sources.append(source)

    def add(self, sentence: str) -> None:
        """A sentence of it is about to be played."""
        before = self.said.said
        self.said.add_text(f" {sentence}" if before else sentence)
        self.text = self.said.said
        self._sentence = sentence

    def give(self, chunk: AudioChunk) -> AudioChunk:
        """`chunk` is its next audio. The first of a sentence gets a mark of that, unless the voice
        has set its own."""
        if self._sentence is not None:
            if not chunk.marks:
                chunk = replace(chunk, marks=(Mark(self._sentence, 0.0),))
            self._sentence = None
        for mark in chunk.marks:
            self._marks[id(mark)] = mark
            self.said.add_mark(mark, self.given_ms)
        if self.text is not None:
            self.said.add_audio(chunk.data, chunk.sample_rate, chunk.channels)
        self.given_ms += chunk.duration_ms
        return chunk

    def give_way(self, inner: Speech) -> None:
        """Another was played within it."""
        if self.text is not None:
            self.said.add_audio(bytes(2 * round(inner.given_ms * 8)), 8000)
        self.given_ms += inner.given_ms

    def given(self) -> None:
        """All of it was given."""
        self.complete = True
        self.said.end(self.given_ms)

    # --- for `Speaking` -----------------------------------------------------------------------

    def accepts(self, speaking: Speaking) -> bool:
        """Another may be spoken within it."""
        alive = not self.complete and not self.over and self.cancelled is None
        return alive and self._speaking is speaking

    def put_inside(self, inner: Speech) -> None:
        self.inside.append(inner)
        from_source = inner.delivery is self.delivery
        (self._waiting if from_source else self._from_hooks).append(inner)
        self.wake.set()

    def begin(self, playback: Playback | None, base_ms: float = 0.0) -> None:
        self.playback, self._base_ms = playback, base_ms

    def leave(self) -> None:
        """What makes it is left to itself."""
        for pump in self._pumps:
            pump.leave()
        while self._sources:
            self._speaking.beside.run(close_source(self._sources.pop()), "closing a source")

    def tell_mark(self, mark: Mark, at: float) -> None:
        """A mark of the playback has left: one of this speech, or of one within it."""
        if self._marks.pop(id(mark), None) is None:
            for inner in self.inside:
                inner.tell_mark(mark, at)
            return
        for callback in tuple(self._mark_callbacks):
            callback(mark, at)

    def end(self) -> None:
        """It is over, at the position at which it is now."""
        if not self.over:
            cancelled = self.cancelled is not None
            self._last = replace(self.position, over=True, cancelled=cancelled)
            self.ended.set()


class Speaking:
    """Plays to one session. Speeches wait for each other in the order in which they came."""

    def __init__(
        self, session: VoiceSession, backend: VoiceBackend, sink: SpeakingSink, beside: Beside
    ) -> None:
        self.session = session
        self.backend = backend
        self._sink = sink
        self.beside = beside
        self._speeches: list[Speech] = []
        self._numbers = 0
        # A backend that has no more than `send_audio` may not keep several apart.
        plain = type(backend).start_playback is VoiceBackend.start_playback
        self._turn = asyncio.Lock() if plain else None
        self._closed = False

    @property
    def current(self) -> Speech | None:
        """What is being played; None when it is quiet."""
        first = self._speeches[0] if self._speeches else None
        plays = first is not None and first.is_playing and first.cancelled is None
        return first if plays else None

    @property
    def busy(self) -> bool:
        """Something plays or is to be played."""
        return bool(self._speeches)

    def plays(self, speech: Speech) -> bool:
        """It is one of those that play one after another, not one within another."""
        return speech in self._speeches

    def find(self, number: int) -> Speech | None:
        """The speech of that number while it is not over."""
        return next((each for each in self._speeches if each.number == number), None)

    def start(
        self,
        make: Callable[[Speech], AsyncIterator[Part]],
        text: str | None,
        *,
        source: Any = None,
        interruptible: bool = True,
    ) -> Speech:
        """Has the parts that `make` gives played when all before it has been; asked for from within
        another speech, within that. `source`, of which they are made, is closed in any case."""
        self._numbers += 1
        speech = Speech(self, self._numbers, text, interruptible)
        speech.owns(source)
        if self._closed:
            speech.cancelled = "session_ended"
            self._end(speech)
            return speech
        speech.parts = speech.pump(make(speech), f"speech {speech.number}")
        outer = speech.outer
        if outer is not None and outer.accepts(self):
            outer.put_inside(speech)
        else:
            self._take_turn(speech)
        return speech

    def _take_turn(self, speech: Speech) -> None:
        """It is played when all before it has been."""
        speech.outer = None
        self._speeches.append(speech)
        self.beside.run(self._play(speech), f"speech {speech.number}")

    def cancel(self, reason: Reason, only: Speech | None = None) -> bool:
        """Cuts short what plays and forgets what waits, or one speech; True if there was
        anything."""
        return self._cancel(reason, [each for each in self._speeches if only in (None, each)])

    def interrupt(self, reason: Reason) -> bool:
        """The same for what may be interrupted."""
        return self._cancel(reason, [each for each in self._speeches if each.interruptible])

    def _cancel(self, reason: Reason, speeches: list[Speech]) -> bool:
        found = [each for each in speeches if each.cancelled is None and not each.over]
        for speech in found:
            speech.cancelled = reason
            # Silence first; what makes the audio is left to itself.
            if speech.playback is not None:
                speech.playback.cancel()
            speech.leave()
            for inner in speech.inside:
                inner.leave()
            speech.stopped.set()
        return bool(found)

    def close(self) -> None:
        """The call is over: nothing more is played."""
        self._closed = True
        self.cancel("session_ended")

    async def ended(self, seconds: float) -> None:
        """Returns when all that was asked for is over, or after `seconds`."""
        over = [asyncio.ensure_future(speech.ended.wait()) for speech in self._speeches]
        if over:
            await asyncio.wait(over, timeout=seconds)
            for waiting in over:
                waiting.cancel()

    # --- inside -------------------------------------------------------------------------------

    async def _play(self, speech: Speech) -> None:
        try:
            async with self._turn or nullcontext():
                if speech.cancelled is None:
                    await self._play_now(speech)
        except Exception as error:  # noqa: BLE001 (a source may raise anything; `wait` raises it)
            if speech.cancelled is None:
                speech.cancelled, speech.error = "error", error
        finally:
            self._end(speech)

    async def _play_now(self, speech: Speech) -> None:
        playback = self.backend.start_playback(self.session, self._audio(speech))
        speech.begin(playback)
        playback.on_mark(speech.tell_mark)
        loop = asyncio.get_running_loop()
        ending = loop.create_task(playback.wait(), name=f"end of speech {speech.number}")
        stopped = loop.create_task(speech.stopped.wait())
        try:
            await asyncio.wait([ending, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await asyncio.wait([ending], timeout=_END_SECONDS)
        finally:
            stopped.cancel()
            self.beside.end(ending)
        if not ending.done() or speech.cancelled is not None:
            return
        if ending.cancelled():
            raise RuntimeError(f"what made speech {speech.number} cancelled itself")
        if ending.result().cancelled:
            speech.cancelled = "interrupt"  # by way of the backend

    async def _audio(self, speech: Speech) -> AsyncGenerator[AudioChunk]:
        """All of a speech as the backend plays it."""
        given_ms = 0.0
        async with aclosing(self._chunks(speech, lambda: given_ms)) as chunks:
            async for chunk in chunks:
                if speech.audio_ms is None:
                    speech.audio_ms = now_ms()
                    self._tell()
                given_ms += chunk.duration_ms
                yield chunk

    async def _chunks(
        self, speech: Speech, given_ms: Callable[[], float]
    ) -> AsyncGenerator[AudioChunk]:
        assert speech.parts is not None
        while (part := await _next(speech.parts)) is not None:
            if part.inner is not None:
                inner = part.inner
                inner.begin(speech.playback, given_ms())
                inner.audio_ms = now_ms()
                async with aclosing(self._chunks(inner, given_ms)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                speech.give_way(inner)
                self.beside.run(self._end_when_played(inner), f"end of speech {inner.number}")
            elif part.chunk is not None:
                yield speech.give(part.chunk)
            elif part.audio is not None:
                speech.add(part.text or "")
                while (made := await _next(part.audio, part.within_seconds)) is not None:
                    yield speech.give(made)
        speech.given()

    async def _end_when_played(self, inner: Speech) -> None:
        """A speech within another is over when that has come so far."""
        while not inner.over and inner.given_ms > 0:
            played_ms = inner.played_ms
            left_ms = inner.given_ms - (inner.given_ms if played_ms is None else played_ms)
            if left_ms < _FRAME_MS / 2:
                break
            await asyncio.sleep(max(left_ms, _FRAME_MS) / 1000)
        self._end(inner)

    def _end(self, speech: Speech) -> None:
        if speech.over:
            return
        speech.leave()
        for inner in speech.inside:
            if speech.cancelled is None and inner.playback is None and not inner.over:
                # It came too late to be spoken within: it has its own turn.
                self._take_turn(inner)
                continue
            inner.cancelled = inner.cancelled or speech.cancelled
            inner.error = inner.error or speech.error
            self._end(inner)
        speech.end()
        if speech in self._speeches:
            self._speeches.remove(speech)
        self._sink.played(speech)
        self._tell()

    def _tell(self) -> None:
        """The first in the row plays as soon as it has audio."""
        first = self._speeches[0] if self._speeches else None
        if first is None or first.is_playing or first.over or first.audio_ms is None:
            return
        first.is_playing = True
        self._sink.playing(first)


async def _next(pump: Pump[_T], seconds: float | None = None) -> _T | None:
    try:
        return await pump.next(seconds)
    except StopAsyncIteration:
        return None
