"""`Call`: what a program holds per call.

::

    async def menu(call: Call) -> None:
        for _ in range(3):
            match await call.key(10, prompt="One for sales, two for support, zero to leave."):
                case "1":
                    await call.say("Sales is closed.")
                case "2":
                    await call.say("Support is asleep.")
                case "0":
                    break
        await call.say("Goodbye.")

An application is such a function. `roomkit serve`, `RoomKit.answer` and tests run it for a call;
when it returns, the call is hung up. Everything of the framework stays at hand: `call.kit`,
`call.channel`, `call.backend`, `call.room`, `call.session`.

Keys wait until they are taken, so those that were pressed while something else was done count. When
the call is over, what plays or collects returns with what there was until then, and whatever waits
for the caller raises `CallEnded`. Any method can be cancelled at any time: nothing that the caller
did is lost by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
)
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roomkit._calls import bridging
from roomkit._calls.ears import CallEvent, Ears
from roomkit._calls.keys import (
    KEYS,
    check_digits,
    check_ending,
    check_ends,
    check_keys,
    check_retries,
)
from roomkit._calls.mouth import Mouth, StopOn, check_stop_on
from roomkit._calls.outcomes import (
    Answer,
    CallOptions,
    Collected,
    Played,
    Recorded,
    Said,
    Utterance,
)
from roomkit._calls.taking import Take, write_wav
from roomkit._calls.waits import Claims, check_seconds
from roomkit._faults import log_fault
from roomkit.errors import SessionError, shown
from roomkit.hooks import HookTrigger
from roomkit.voice.base import AudioChunk, Unsubscribe, VoiceSession, VoiceSessionState
from roomkit.voice.events import (
    DTMFDetectedEvent,
    EndingSoonEvent,
    IdleEvent,
    SessionEndedEvent,
    SpeechStartEvent,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from roomkit.kit import RoomKit
    from roomkit.rooms import Room
    from roomkit.voice.backends.base import VoiceBackend
    from roomkit.voice.channel import VoiceChannel
    from roomkit.voice.frame import AudioFrame
    from roomkit.voice.pipeline.base import Recording

    Audio = (
        PathLike[str]
        | Buffer
        | AudioChunk
        | AudioFrame
        | Iterable[Buffer | AudioChunk | AudioFrame]
        | AsyncIterable[Buffer | AudioChunk | AudioFrame]
    )

__all__ = [
    "Answer",
    "Call",
    "CallEvent",
    "CallOptions",
    "Collected",
    "Played",
    "Recorded",
    "Said",
    "Utterance",
]

_log = logging.getLogger("roomkit.call")

_E = TypeVar("_E", bound=CallEvent)
_T = TypeVar("_T")


class Call:
    """One call that is up, as a program sees it. Belongs to the event loop it was made on.

    Times that methods take are in seconds, as everywhere in asyncio; None is for ever. Two tasks
    may use one call, but not wait for the same thing of it: the second raises `RuntimeError`.
    """

    def __init__(
        self,
        kit: RoomKit,
        channel: VoiceChannel,
        session: VoiceSession,
        *,
        options: CallOptions | None = None,
    ) -> None:
        self.kit = kit
        self.channel = channel
        self.session = session
        self.options = options or CallOptions()
        self._claims = Claims()
        self._masks = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ears = Ears(
            self.options,
            recognises=channel.stt is not None,
            idle=lambda count: kit.hooks.emit(HookTrigger.ON_IDLE, IdleEvent(session, count)),
            too_long=self._too_long,
            occupied=self._occupied,
        )
        self._mouth = Mouth(channel, session, self._ears)
        self._unwatch = kit.hooks.watch(session, self._told)
        if session.ended:
            self._unwatch()
            self._ears.end("ended")

    # --- the framework around it --------------------------------------------------------------

    @property
    def backend(self) -> VoiceBackend:
        """What carries it."""
        return self.channel.backend

    @property
    def room(self) -> Room:
        """The room it is in. Raises `RoomNotFoundError` once that is gone."""
        return self.kit.get_room(self.session.room_id)

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's: the backend's facts and the application's own."""
        return self.session.metadata

    def stats(self) -> Any:
        """Counters of the session, as `VoiceBackend.stats` gives them."""
        return self.backend.stats(self.session)

    @property
    def recording(self) -> Recording | None:
        """The recording of the call, to pause and resume it; None where it is not recorded."""
        return None if self.over else self.channel.recording(self.session)

    @property
    def over(self) -> bool:
        """True once the call has ended."""
        return self._ears.over

    @property
    def reason(self) -> str | None:
        """Why the call is over, as in `SessionEndedEvent.reason`; None while it is up."""
        return self._ears.reason

    def __repr__(self) -> str:
        state = f"over: {self.reason}" if self.over else str(self.session.state)
        return f"<Call {self.session.id} on {self.channel.channel_id!r}, {state}>"

    # --- speaking -----------------------------------------------------------------------------

    async def say(
        self,
        text: str | AsyncIterable[str] | Iterable[str],
        *,
        voice: str | None = None,
        stop_on: StopOn | Collection[StopOn] = (),
        interruptible: bool = True,
    ) -> Said:
        """Says `text`, or the pieces of it as they come, and returns when it was said or cut short.

        `stop_on`: what the caller does from now on that stops it: he presses a `"key"`, which stays
        for whoever asks for keys next, or raises his `"voice"`. Where the channel has barge-in, his
        voice stops it in any case, unless it is not `interruptible`.

        What several tasks say is said one after another. Raises `CallEnded` if the call is over,
        `ProviderMissingError` for a channel without `tts`, and what the voice raises.
        """
        stops = check_stop_on(stop_on, interruptible)
        return await self._mouth.say(text, voice, stops, interruptible)

    async def play(
        self,
        audio: str | Audio,
        *,
        stop_on: StopOn | Collection[StopOn] = (),
        interruptible: bool = True,
    ) -> Played:
        """Plays `audio`, which `VoiceChannel.play` describes: the path of a WAV file, PCM, chunks,
        an iterator of such. Otherwise as `say`."""
        stops = check_stop_on(stop_on, interruptible)
        return await self._mouth.play(audio, stops, interruptible)

    def pause(self) -> bool:
        """Holds back what plays, whoever plays it, before the next packet leaves; True if there was
        something that can be held back."""
        return self._mouth.pause()

    def resume(self) -> bool:
        """Goes on with the sample behind the last that left; True if something was paused."""
        return self._mouth.resume()

    # --- keys ---------------------------------------------------------------------------------

    async def key(
        self,
        timeout: float | None = None,
        *,
        prompt: str | Audio | None = None,
        flush: bool = False,
    ) -> str | None:
        """The next key: one of `0`-`9`, `*`, `#`, `A`-`D`; None when none came for `timeout`
        seconds behind the prompt.

        A key that was pressed before counts, and there is no prompt then, unless `flush` forgets
        such keys. `prompt`: a text to say, or audio to play (a path as `pathlib.Path`); the first
        key stops it. Raises `CallEnded`.
        """
        check_seconds(timeout, "timeout")
        with self._claims.of("key()", "keys"):
            await self._mouth.check_up("wait for a key")
            if flush:
                self._ears.keys.clear()
            await self._prompt(prompt, "key")
            if await self._ears.until(lambda: self._ears.keys, timeout):
                return self._ears.keys.take(1)
            await self._mouth.check_up("wait for a key")
            return None

    async def collect(
        self,
        digits: int | None = None,
        *,
        terminator: str | None = "#",
        first_timeout: float | None = 5.0,
        between_timeout: float | None = 3.0,
        prompt: str | Audio | None = None,
        retries: int = 0,
        masked: bool = False,
        flush: bool = False,
    ) -> Collected:
        """Several keys: up to `digits` of them (None: any number), or those before `terminator`
        (one key, or several of which each ends it; None: none does), or those that came until a
        pause.

        `first_timeout`, `between_timeout`: seconds until the first key, from the end of the prompt,
        and from each to the next. `prompt` and `flush`: as of `key`. `retries`: so many times more
        the prompt is given, and what came is forgotten, while it is not complete.

        `masked`: from now on until it returns the keys are in no recording and in nothing that a
        recogniser gets, and roomkit logs none of them (`VoiceChannel.mask_digits`). What was typed
        ahead, before this was called, came unmasked.

        When the caller hangs up, what he had pressed is returned, with the reason `"hangup"`.
        """
        check_digits(digits, self.options.keys)
        ends = check_ends(terminator)
        check_seconds(first_timeout, "first_timeout")
        check_seconds(between_timeout, "between_timeout")
        check_ending(digits, ends, between_timeout)
        check_retries(retries, prompt)
        with self._claims.of("collect()", "keys"):
            await self._mouth.check_up("collect digits")
            with self._masked(masked):
                if flush:
                    self._ears.keys.clear()
                for left in range(retries, -1, -1):
                    await self._prompt(prompt, "key")
                    got = await self._ears.collect(digits, ends, first_timeout, between_timeout)
                    if got.complete or got.reason == "hangup" or not left:
                        break
        return got

    # --- speech -------------------------------------------------------------------------------

    async def utterance(
        self, timeout: float | None = None, *, flush: bool = False
    ) -> Utterance | None:
        """What the caller says next, once he has said it: with its text where the channel has a
        recogniser. None when he did not begin within `timeout` seconds.

        What he has said before and nobody took counts, unless `flush` forgets it; at most eight
        utterances wait. Needs a `vad` stage in the pipeline. Raises `CallEnded`.
        """
        check_seconds(timeout, "timeout")
        with self._claims.of("utterance()", "speech"):
            await self._mouth.check_up("wait for speech")
            if flush:
                self._ears.said.clear()
            if await self._ears.until_said(lambda: self._ears.said, timeout):
                return self._ears.said.popleft()
            await self._mouth.check_up("wait for speech")
            return None

    async def ask(
        self,
        prompt: str | Audio | None = None,
        *,
        timeout: float | None = 5.0,
        keys: bool = True,
        speech: bool = True,
        digits: int | None = 1,
        terminator: str | None = "#",
        between_timeout: float | None = 3.0,
        flush: bool = False,
    ) -> Answer:
        """Asks, and takes what comes: keys or speech.

        A key or, with `speech`, the caller's voice stops the prompt. What he said before it is
        forgotten, keys typed ahead count unless `flush`. With the first key it is an answer by
        keys: `digits`, `terminator`, `between_timeout` are those of `collect`. `timeout`: seconds
        from the end of the prompt until he begins; then the answer is false. Raises `CallEnded`.
        """
        if not keys and not speech:
            raise ValueError("ask: keys or speech; with neither there is no answer")
        check_seconds(timeout, "timeout")
        check_seconds(between_timeout, "between_timeout")
        check_digits(digits, self.options.keys)
        ends = check_ends(terminator)
        check_ending(digits, ends, between_timeout)
        things = ["keys"] * keys + ["speech"] * speech
        stops: list[StopOn] = [*(["key"] * keys), *(["voice"] * speech)]  # type: ignore[list-item]
        with self._claims.of("ask()", *things):
            await self._mouth.check_up("ask")
            self._ears.said.clear()
            if keys and flush:
                self._ears.keys.clear()
            await self._prompt(prompt, *stops)

            def came() -> bool:
                return bool((keys and self._ears.keys) or (speech and self._ears.said))

            if not await (self._ears.until_said if speech else self._ears.until)(came, timeout):
                await self._mouth.check_up("ask")
                return Answer()
            if keys and self._ears.keys:
                got = await self._ears.collect(digits, ends, None, between_timeout)
                return Answer(got.digits, reason="keys")
            said = self._ears.said.popleft()
            return Answer(text=said.text, audio=said.audio, reason="speech")

    async def record(
        self,
        path: str | PathLike[str] | None = None,
        *,
        max_seconds: float = 120.0,
        silence: float | None = None,
        stop_on: str | None = "key",
    ) -> Recorded:
        """Takes down what the caller says from now on, until he presses a key of `stop_on`
        (`"key"`: any; `"#*"`: one of these; None: none ends it), has been quiet for `silence`
        seconds, hangs up, or `max_seconds` (0 to 3600) are over. It is kept in memory: at 8 kHz,
        1 MB a minute.

        Quiet before and behind is cut away. With a `path` it is written there as a WAV file, also
        when the caller hangs up or this is cancelled; not if nothing was said. The key that ended
        it is taken; keys typed ahead end nothing and stay. Raises `CallEnded` if the call was over
        before, `OSError` when the file cannot be written.
        """
        ends = KEYS if stop_on == "key" else check_keys(stop_on, "stop_on") if stop_on else ""
        check_seconds(max_seconds, "max_seconds", most=3600)
        check_seconds(silence, "silence", most=3600)
        file = None if path is None else Path(path)
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"path: there is no folder {str(file.parent)!r}")
        with self._claims.of("record()", "a recording", *(["keys"] if ends else [])):
            await self._mouth.check_up("record")
            take = Take(self._ears, ends, max_seconds, silence)
            stop = self.on_frame(take.add)
            self._ears.busy(take, True)
            try:
                await self._ears.until(lambda: take.ended, max_seconds)
            finally:
                stop()
                self._ears.busy(take, False)
                audio = take.audio()
                # Also when this is cancelled; `settle` waits for it.
                writing = self._spawn(self._write(file, audio))
            written = await asyncio.shield(writing)
            # Not before it is written: cancelled meanwhile, no key is lost.
            return take.recorded(audio, written)

    def on_frame(self, callback: Callable[[AudioFrame], object]) -> Unsubscribe:
        """`callback(frame)` for every frame that is heard, as the pipeline's stages leave it, until
        the result is called. Keep it short: it runs on the event loop."""
        return self.channel.on_frame(self.session, callback)

    # --- the call as a whole ------------------------------------------------------------------

    async def bridge(self, other: Call, *, digits: bool = True) -> Call:
        """Lets both callers hear each other, until one of the calls ends, which is returned, or
        this is cancelled. Their rates and codecs may differ. The audio goes through Python, 40 ms
        late: that much the event loop may be held up unheard.

        `digits`: keys are passed on to the other side, and taken by that; without, they wait for
        `key` and its like. Raises `CallEnded` if this call was over before.
        """
        if not isinstance(other, Call):
            raise TypeError(f"other: {shown(other)}; a Call fits")
        if other is self:
            raise ValueError("other: this very call; another one fits")
        things = ["a bridge"] + ["keys"] * digits
        with self._claims.of("bridge()", *things), other._claims.of("bridge()", *things):
            await self._mouth.check_up("bridge it")
            if other.over:
                return other
            with bridging.joined(self, other), contextlib.ExitStack() as stack:
                for of, to in ((self, other), (other, self)):
                    of._ears.busy("bridge", True)
                    stack.callback(of._ears.busy, "bridge", False)
                    if digits:
                        stack.callback(of._ears.divert(bridging.Dial(to)))
                ended = [asyncio.ensure_future(call.ended()) for call in (self, other)]
                try:
                    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in ended:
                        task.cancel()
        return self if self.over else other

    async def hold(self) -> None:
        """Puts the caller on hold: he is not heard, and music may be played to him. Times that
        this call waits for something stand still, and it is not idle. Raises as
        `VoiceChannel.hold`."""
        await self._mouth.check_up("hold it")
        await self.channel.hold(self.session)
        self._ears.hold(True)

    async def unhold(self) -> None:
        """Takes the caller off hold."""
        await self._mouth.check_up("take it off hold")
        await self.channel.resume(self.session)
        self._ears.hold(False)

    async def hang_up(self, reason: str = "left") -> None:
        """Ends the call; `reason` is what `SessionEndedEvent` and `call.reason` say. Idempotent."""
        if not self.over:
            await self.kit.leave(self.session, reason)

    async def ended(self) -> str:
        """Returns when the call is over: why."""
        await self._ears.until(lambda: self.over, to_the_end=True)
        return self.reason or "ended"

    # --- events -------------------------------------------------------------------------------

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> CallEvent:
        """The next of all events of the call, in order; those that came before it was asked for
        wait, as many as `CallOptions.events`. Ends with the call."""
        with self._claims.of("async for", "events"):
            if await self._ears.until(lambda: self._ears.inbox):
                return self._ears.inbox.take()
        raise StopAsyncIteration

    def on(
        self, kind: type[_E], handler: Callable[[_E], Awaitable[object] | object]
    ) -> Unsubscribe:
        """`handler(event)` for every event of that class, at once and before any hook; if it is
        async, one after another beside everything else, until the application is over::

            call.on(IdleEvent, lambda event: call.say("Are you still there?"))

        Returns what ends it, idempotent.
        """
        if not isinstance(kind, type):
            raise TypeError(f"kind: {shown(kind)}; a class of events fits, such as IdleEvent")
        if not callable(handler):
            raise TypeError(f"handler: {shown(handler)}; a function of the event fits")
        return self._ears.add(kind, handler)

    # --- for whoever runs an application ----------------------------------------------------------

    async def settle(self, seconds: float) -> None:
        """The application is over: ends what `on` registered, gives recordings that are still being
        written so long, and listens to nothing any more. Idempotent."""
        self._unwatch()
        self._ears.stop_handlers()
        if not self.over:
            self._ears.end("left")
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)

    # --- inside ---------------------------------------------------------------------------------

    def _told(self, trigger: HookTrigger, event: Any) -> None:
        """Of everything, at the moment it happens and before any hook."""
        if isinstance(event, DTMFDetectedEvent):
            self._mouth.stop("key")
        elif isinstance(event, SpeechStartEvent) and not _barges_in(self.channel):
            self._mouth.stop("voice")
        self._ears.hear(event)
        if isinstance(event, SessionEndedEvent):
            self._unwatch()
            self._ears.end(event.reason)

    def _occupied(self) -> bool:
        """Something is played, whoever plays it, or the caller is on hold, whoever put him there:
        he misses nothing."""
        return self._mouth.playing or self.session.state is VoiceSessionState.PAUSED

    def _too_long(self, left_ms: float) -> None:
        if left_ms:
            self._ears.hear(EndingSoonEvent(self.session, left_ms))
        else:
            _log.info("session %s: too long, it is hung up", self.session.id)
            self._spawn(self.hang_up("too_long"))

    async def _prompt(self, prompt: str | Audio | None, *stop_on: StopOn) -> None:
        """Says or plays it, unless a key that would stop it was pressed already."""
        if prompt is None or ("key" in stop_on and self._ears.keys):
            return
        if isinstance(prompt, str):
            await self.say(prompt, stop_on=stop_on)
        else:
            await self.play(prompt, stop_on=stop_on)

    @contextlib.contextmanager
    def _masked(self, masked: bool) -> Iterator[None]:
        if not masked:
            yield
            return
        self._masks += 1
        try:
            if self._masks == 1:
                self.channel.mask_digits(self.session, True)
            yield
        finally:
            self._masks -= 1
            if not self._masks and not self.over:
                with contextlib.suppress(SessionError):  # it is ending
                    self.channel.mask_digits(self.session, False)

    async def _write(self, path: Path | None, audio: AudioChunk) -> Path | None:
        if path is None or not audio.data:
            return None
        await asyncio.to_thread(write_wav, path, audio)
        return path

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Does it beside what goes on; `settle` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log_fault(_log, error, "session %s", self.session.id)


def _barges_in(channel: VoiceChannel) -> bool:
    """Whether the channel itself stops what plays when the caller speaks, by rules of its own."""
    return channel.barge_in.mode != "off"
