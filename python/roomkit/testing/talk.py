"""`conversation`: a call into a kit of its own, with a caller, and what is expected of it."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, TypeAlias

from roomkit._calls.apps import App
from roomkit._calls.outcomes import CallOptions
from roomkit.ai import AIChannel, AIProvider
from roomkit.call import Call
from roomkit.hooks import HookContext, HookTrigger
from roomkit.kit import RoomKit
from roomkit.testing.backend import FakeBackend
from roomkit.testing.caller import Caller
from roomkit.testing.clock import VirtualTimeLoop
from roomkit.testing.phone import NetworkPath
from roomkit.testing.providers import FakeModel, FakeSTT, FakeTTS, Reply
from roomkit.testing.timeline import Entry, Spoken, entries_of_caller, entry_of_event, spoken_by
from roomkit.voice.base import VoiceSession
from roomkit.voice.channel import VoiceChannel
from roomkit.voice.pipeline.base import AudioPipelineConfig
from roomkit.voice.stt.base import STTProvider
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.vad.base import VADProvider
from roomkit.voice.vad.energy import EnergyVAD

__all__ = ["Talk", "conversation"]

Setup: TypeAlias = Callable[["Talk"], Awaitable[None] | None]

_LOOK_S: Final = 0.02
"""How often an expectation looks: at every frame."""
_SETTLES_S: Final = 10.0
"""What ends late has ended by then: hooks have five seconds when a kit closes."""


@asynccontextmanager
async def conversation(
    app: App | None = None,
    *,
    model: AIProvider | Mapping[str, Reply] | Reply | None = None,
    tts: TTSProvider | None = None,
    stt: STTProvider | None = None,
    vad: VADProvider | str | None = None,
    backend: FakeBackend | None = None,
    path: NetworkPath | None = None,
    seed: int = 1,
    setup: Setup | None = None,
    call_options: CallOptions | None = None,
    metadata: Mapping[str, Any] | None = None,
    **channel: Any,
) -> AsyncIterator[Talk]:
    """A call that is up, with a caller at its other end::

        @virtual_time
        async def test_a_table_for_two() -> None:
            async with conversation(model={"two": "A table for two."}) as talk:
                await talk.caller.says("two please")
                await talk.expect_heard("A table for two.")

    A kit with one room and one `VoiceChannel`, closed at the end; then nothing may be left, neither
    a session nor a task nor a timer, or it raises an `AssertionError` that names it.

    Args:
        app: Answers the calls, as `RoomKit.answer` has it: `async def app(call: Call)`.
        model: Answers what the caller says: an `AIProvider`, or what a `FakeModel` takes.
        tts, stt, vad: The channel's; `FakeTTS()`, `FakeSTT()` and `EnergyVAD()` unless given. A
            detector that decides on a thread is to decide at once (`SileroVAD(at_once=True)`): the
            clock does not wait for it.
        backend: `FakeBackend(path=path, seed=seed)` unless given.
        path: The way to the caller.
        seed: Of all that is left to chance.
        setup: `setup(talk)`, called before the caller comes: for hooks. It may be async.
        call_options: Of `app`'s calls, or of `talk.call`.
        metadata: Of the session.
        channel: All other options of the `VoiceChannel`, such as `barge_in=True`. A `pipeline`
            decides on `vad` as well.
    """
    backend = backend or FakeBackend(path=path, seed=seed)
    tts = FakeTTS() if tts is None else tts
    stt = FakeSTT() if stt is None else stt
    if "pipeline" not in channel:
        detector = EnergyVAD() if vad is None else vad
        # Caller and voice speak with one tongue here, and nothing comes back by itself.
        channel["pipeline"] = AudioPipelineConfig(vad=detector, echo_guard=False)
    elif vad is not None:
        raise ValueError("vad: not beside pipeline, which has its own: AudioPipelineConfig(vad=…)")
    if model is not None and not isinstance(model, AIProvider):
        model = FakeModel(model)
    before = _Left.now()
    kit = RoomKit()
    phone = VoiceChannel("phone", backend=backend, stt=stt, tts=tts, **channel)
    kit.register_channel(phone)
    room = await kit.create_room("room")
    await kit.attach_channel(room.id, "phone")
    if model is not None:
        kit.register_channel(AIChannel("model", provider=model))
        await kit.attach_channel(room.id, "model")
    talk = Talk(kit, phone, backend, tts=tts, stt=stt, model=model, options=call_options)
    loop = asyncio.get_running_loop()
    witnesses = loop.witnesses if isinstance(loop, VirtualTimeLoop) else []
    witnesses.append(talk.timeline)
    try:
        try:
            if setup is not None:
                waits = setup(talk)
                if inspect.isawaitable(waits):
                    await waits
            if app is not None:
                kit.answer(app, options=call_options)
            await talk.join("caller", metadata=metadata)
            yield talk
        finally:
            await kit.close()
    except Exception as error:
        if not isinstance(error, _UnmetError):
            error.add_note(talk.timeline())
        raise
    finally:
        witnesses.remove(talk.timeline)
    await talk.check_nothing_is_left(before)


class Talk:
    """What a test holds of a conversation. Times are in ms since the first caller's call was
    opened."""

    def __init__(
        self,
        kit: RoomKit,
        channel: VoiceChannel,
        backend: FakeBackend,
        *,
        tts: TTSProvider,
        stt: STTProvider,
        model: AIProvider | None,
        options: CallOptions | None = None,
    ) -> None:
        """Made by `conversation`."""
        self.kit = kit
        self.channel = channel
        self.backend = backend
        self.tts = tts
        self.stt = stt
        self.model = model
        self._options = options
        self.callers: list[Caller] = []
        """Everybody who called, in order."""
        self.events: list[Any] = []
        """What the hooks were told, of all triggers and callers, in order."""
        self._entries: list[Entry] = []
        self._began = asyncio.get_running_loop().time()
        self._heard_to: dict[Caller, int] = {}  # words that expectations have found
        self._said_to = 0
        self._keys_to: dict[Caller, int] = {}
        for trigger in HookTrigger:
            # First in the chain: it sees what happened, before anybody changes it.
            kit.add_hook(trigger, self._recorder(trigger), priority=-1_000_000_000)

    @property
    def caller(self) -> Caller:
        """The first caller."""
        return self.callers[0]

    @property
    def session(self) -> VoiceSession:
        """His session."""
        return self.caller.session

    @property
    def call(self) -> Call:
        """His call, as an application has it."""
        return self.kit.call(self.session, self._options)

    @property
    def now_ms(self) -> float:
        """The time now."""
        return round((asyncio.get_running_loop().time() - self._began) * 1000, 3)

    async def join(
        self,
        participant_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        path: NetworkPath | None = None,
    ) -> Caller:
        """Another caller comes into the room."""
        session = await self.kit.join(
            "room",
            "phone",
            participant_id=participant_id,
            metadata=metadata,
            options=None if path is None else {"path": path},
        )
        caller = self.backend.caller(session)
        self.callers.append(caller)
        return caller

    async def waits(self, seconds: float) -> None:
        """Lets time pass."""
        await asyncio.sleep(seconds)

    # --- expectations -------------------------------------------------------------------------

    async def expect_heard(
        self, text: str, *, within: float = 10.0, caller: Caller | None = None
    ) -> float:
        """The caller hears these words one after another, within so many seconds: read from the
        samples that came out of his phone, in the order of the expectations. Marks around words do
        not matter. Returns when he had heard the last one, in ms; raises an `AssertionError` with
        the timeline otherwise."""
        listener = caller or self.caller
        words = [_bare(word) for word in text.split()]
        if not words:
            raise ValueError("text: no words; one or more fits")

        def heard() -> float | None:
            found = listener.heard.words
            for place in range(self._heard_to.get(listener, 0), len(found) - len(words) + 1):
                if [_bare(word.text) for word in found[place : place + len(words)]] == words:
                    self._heard_to[listener] = place + len(words)
                    return found[place + len(words) - 1].end_ms
            return None

        at_ms: float | None = await self._look(heard, within)
        if at_ms is None:
            rest = listener.heard.words[self._heard_to.get(listener, 0) :]
            self._fail(
                f"the caller did not hear {text!r} within {within:g} s,"
                f" but {' '.join(word.text for word in rest)!r}"
            )
        return at_ms

    async def expect_said(self, text: str, *, within: float = 10.0) -> None:
        """We say this within so many seconds: it stands in something that was spoken to its end, or
        in what the caller has heard of something that was cut short. White space does not
        matter, and each expectation looks behind what the one before found."""
        wanted = " ".join(text.split())
        if not wanted:
            raise ValueError("text: empty; some words fit")

        def said() -> bool:
            whole = " ".join(each.text for each in self.spoken)
            place = whole.find(wanted, self._said_to)
            if place < 0:
                return False
            self._said_to = place + len(wanted)
            return True

        if not await self._look(said, within):
            whole = " ".join(each.text for each in self.spoken)
            self._fail(
                f"we did not say {wanted!r} within {within:g} s, but {whole[self._said_to :]!r}"
            )

    async def expect_key(
        self, keys: str, *, within: float = 10.0, caller: Caller | None = None
    ) -> None:
        """The caller's end gets these digits from us, one after another."""
        listener = caller or self.caller
        first = self._keys_to.get(listener, 0)

        def got() -> bool:
            return "".join(key.digit for key in listener.keys_heard[first:]).startswith(keys)

        if not await self._look(got, within):
            digits = "".join(key.digit for key in listener.keys_heard[first:])
            self._fail(f"we did not send the keys {keys!r} within {within:g} s, but {digits!r}")
        self._keys_to[listener] = first + len(keys)

    async def expect_hangup(self, *, within: float = 10.0, caller: Caller | None = None) -> None:
        """We end the call, and the caller notices."""
        listener = caller or self.caller
        if not await self._look(lambda: listener.hung_up_on, within):
            self._fail(f"we did not hang up within {within:g} s")

    async def expect_event(
        self,
        trigger: HookTrigger | str,
        *,
        within: float = 10.0,
        where: Callable[[Any], bool] = lambda event: True,
    ) -> Any:
        """The hooks are told of this, from the beginning of the call on: the event."""
        trigger = HookTrigger(trigger)

        def told() -> Any:
            for entry in self._entries:
                if entry.trigger is trigger and where(entry.event):
                    return entry.event
            return None

        event = await self._look(told, within)
        if event is None:
            self._fail(f"no {trigger} within {within:g} s that fits")
        return event

    # --- what happened ------------------------------------------------------------------------

    @property
    def spoken(self) -> list[Spoken]:
        """What we said, as far as it was spoken, in order."""
        return [each for entry in self._entries if (each := spoken_by(entry)) is not None]

    @property
    def transcript(self) -> list[tuple[str, str]]:
        """The conversation: `("caller", text)` as it was recognised, `("we", text)` as it was
        spoken."""
        lines: list[tuple[str, str]] = []
        for entry in self._entries:
            spoken = spoken_by(entry)
            if spoken is not None:
                lines.append(("we", spoken.text))
            elif entry.trigger is HookTrigger.ON_TRANSCRIPTION:
                lines.append(("caller", entry.event.text))
        return lines

    def timeline(self) -> str:
        """What happened when, for people."""
        return self.log()

    def log(self) -> str:
        """All that happened: events, what callers did and what they heard. The same conversation
        gives the same text, to the byte."""
        entries = list(self._entries)
        for number, caller in enumerate(self.callers):
            offset = (caller.opened_at - self._began) * 1000
            name = "caller" if number == 0 else f"caller {number + 1}"
            entries += entries_of_caller(caller, name, offset)
        # The sort is stable: what happens at the same moment stays in its order.
        entries.sort(key=lambda entry: entry.at_ms)
        return "\n".join(str(entry) for entry in entries)

    # --- the end ------------------------------------------------------------------------------

    async def check_nothing_is_left(self, before: _Left) -> None:
        """Raises an `AssertionError` that names what is still there."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _SETTLES_S
        left = _Left.now().since(before)
        while left and loop.time() < until:
            await asyncio.sleep(0.1)  # nobody tells when the last task has ended
            left = _Left.now().since(before)
        lines = left.lines() if left else []
        lines += [f"session of {each.participant_id}" for each in self.backend.sessions.values()]
        for provider, doing in ((self.tts, "speaking"), (self.stt, "listening")):
            if getattr(provider, doing, 0):
                lines.append(f"{provider.name} is still {doing}")
        if getattr(self.model, "thinking", 0):
            lines.append("the model is still thinking")
        if lines:
            self._fail("left when the call was over: " + "; ".join(lines))

    # --- inside -------------------------------------------------------------------------------

    def _recorder(self, trigger: HookTrigger) -> Callable[[Any, HookContext], Awaitable[None]]:
        async def record(event: Any, ctx: HookContext) -> None:
            self.events.append(event)
            self._entries.append(entry_of_event(self.now_ms, trigger, event))

        return record

    async def _look(self, found: Callable[[], Any], within: float) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while not (result := found()):
            if loop.time() >= until:
                return None
            await asyncio.sleep(min(_LOOK_S, until - loop.time()))
        return result

    def _fail(self, what: str) -> NoReturn:
        raise _UnmetError(f"{what}\n{self.timeline()}")


def _bare(word: str) -> str:
    """Without the marks around it, if anything else is left."""
    return word.strip(".,;:!?…\"'()") or word


class _UnmetError(AssertionError):
    """An expectation was not met. Its message has the timeline already."""


class _Left:
    """Tasks and timers of the running loop."""

    def __init__(self, tasks: set[asyncio.Task[Any]], timers: set[asyncio.TimerHandle]) -> None:
        self.tasks = tasks
        self.timers = timers

    def __bool__(self) -> bool:
        return bool(self.tasks or self.timers)

    @classmethod
    def now(cls) -> _Left:
        loop = asyncio.get_running_loop()
        timers = set(loop.timers()) if isinstance(loop, VirtualTimeLoop) else set()
        return cls({task for task in asyncio.all_tasks() if not task.done()}, timers)

    def since(self, before: _Left) -> _Left:
        return _Left(self.tasks - before.tasks, self.timers - before.timers)

    def lines(self) -> list[str]:
        named = [f"task {task.get_name()}" for task in self.tasks]
        named += [f"timer {re.sub(r' at 0x[0-9a-f]+', '', repr(timer))}" for timer in self.timers]
        return sorted(named)
