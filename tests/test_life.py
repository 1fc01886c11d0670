"""Calls begin and end whole, whoever fails, hangs or gives up, and from wherever they are ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from roomkit import AIChannel, AIProvider, AudioPipelineConfig, RoomKit, Turn, VoiceChannel
from roomkit.errors import ChannelBoundError, KitClosedError, RoomNotFoundError
from roomkit.hooks import HookContext, HookTrigger
from roomkit.testing import FakeBackend, FakeModel, FakeSTT, FakeTTS, conversation, virtual_time
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.pipeline.base import RecorderProvider, Recording
from roomkit.voice.vad import EnergyVAD, VADEvent, VADProvider, VADStream
from support.sound import tone


def now() -> float:
    return asyncio.get_running_loop().time()


class Phones:
    """A kit with a channel, and what its hooks were told of calls."""

    def __init__(self, backend: FakeBackend | None = None, **channel: Any) -> None:
        self.kit = RoomKit()
        self.backend = backend or FakeBackend()
        self.channel = VoiceChannel("phone", backend=self.backend, **channel)
        self.kit.register_channel(self.channel)
        self.started: list[str] = []
        self.ended: list[tuple[str, str]] = []

        async def started(event: Any, ctx: HookContext) -> None:
            self.started.append(event.session.id)

        async def ended(event: Any, ctx: HookContext) -> None:
            self.ended.append((event.session.id, event.reason))

        self.kit.add_hook(HookTrigger.ON_SESSION_STARTED, started)
        self.kit.add_hook(HookTrigger.ON_SESSION_ENDED, ended)

    async def room(self) -> str:
        room = await self.kit.create_room("room")
        await self.kit.attach_channel(room.id, "phone")
        return room.id

    def check_nobody_is_here(self) -> None:
        assert not self.backend.sessions
        assert not self.channel._calls
        assert not self.kit.get_room("room").participants
        assert sorted(self.started) == sorted(session for session, _ in self.ended)


class NoDetector(VADProvider):
    def process(self, frame: Any) -> VADEvent | None:
        raise AssertionError

    def reset(self) -> None: ...

    def open(self, tell: Callable[[VADEvent], None]) -> VADStream:
        raise OSError("no model")


class NoRecorder(RecorderProvider):
    required = True

    def open(self, session: VoiceSession) -> Recording:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "pipeline",
    [AudioPipelineConfig(vad=NoDetector()), AudioPipelineConfig(recorder=NoRecorder())],
    ids=["detector", "recorder"],
)
@virtual_time
async def test_a_join_that_fails_leaves_nothing(pipeline: AudioPipelineConfig) -> None:
    phones = Phones(pipeline=pipeline)
    room = await phones.room()
    for _ in range(3):
        with pytest.raises(OSError, match="no model|No space"):
            await phones.kit.join(room, "phone")
        phones.check_nobody_is_here()
    assert phones.started == []
    await phones.kit.close()


@virtual_time
async def test_a_join_that_is_cancelled_at_any_step_leaves_nothing() -> None:
    class Slow(FakeBackend):
        async def connect(self, *args: Any, **options: Any) -> VoiceSession:
            await asyncio.sleep(0)
            session = await super().connect(*args, **options)  # tells that it is ready
            await asyncio.sleep(0)
            return session

    phones = Phones(Slow())
    room = await phones.room()
    cancelled = 0
    for steps in range(12):
        joining = asyncio.create_task(phones.kit.join(room, "phone"))
        for _ in range(steps):
            await asyncio.sleep(0)
        joining.cancel()
        try:
            await phones.kit.leave(await joining)
        except asyncio.CancelledError:
            cancelled += 1
        await asyncio.sleep(1)
        phones.check_nobody_is_here()
    assert 2 <= cancelled < 12
    await phones.kit.close()


@virtual_time
async def test_a_room_that_is_closed_while_somebody_joins_stays_closed() -> None:
    class Slow(FakeBackend):
        async def connect(self, *args: Any, **options: Any) -> VoiceSession:
            await asyncio.sleep(1)
            return await super().connect(*args, **options)

    phones = Phones(Slow())
    room = await phones.room()
    joining = asyncio.create_task(phones.kit.join(room, "phone"))
    await asyncio.sleep(0.5)
    await phones.kit.close_room(room)
    with pytest.raises(RoomNotFoundError):
        await joining
    assert not phones.backend.sessions
    await phones.kit.close()


ENDS: dict[str, Callable[[Any, Any], Any]] = {
    "leave": lambda talk, event: talk.kit.leave(event.session),
    "close_room": lambda talk, event: talk.kit.close_room(event.session.room_id),
    "close": lambda talk, event: talk.kit.close(),
}
TRIGGERS = (
    HookTrigger.ON_SESSION_STARTED,
    HookTrigger.ON_DTMF,
    HookTrigger.ON_SPEECH_START,
    HookTrigger.ON_SPEECH_END,
    HookTrigger.ON_PARTIAL_TRANSCRIPTION,
    HookTrigger.ON_TRANSCRIPTION,
    HookTrigger.BEFORE_TTS,
    HookTrigger.AFTER_TTS,
    HookTrigger.ON_TURN_ENDED,
)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
@pytest.mark.parametrize("end", ENDS)
@virtual_time
async def test_a_call_may_be_ended_in_any_hook(end: str, trigger: HookTrigger) -> None:
    took: list[float] = []
    done = asyncio.Event()

    def setup(talk: Any) -> None:
        async def hook(event: Any, ctx: HookContext) -> None:
            began = now()
            await ENDS[end](talk, event)
            took.append(now() - began)
            done.set()

        talk.kit.add_hook(trigger, hook)

    async with conversation(model=FakeModel({"": "Hello there."}), setup=setup) as talk:
        if not talk.session.ended:
            talk.caller.presses("1")
            talk.caller.says("good morning")
        await asyncio.wait_for(done.wait(), 20)
        assert talk.session.ended
    assert took[0] < 1


@virtual_time
async def test_voices_and_recorders_that_never_close_hold_up_nobody() -> None:
    class Stuck(Recording):
        def inbound(self, frame: Any, at_ms: float) -> None: ...
        def played(self, frame: Any, at_ms: float) -> None: ...
        def pause(self) -> None: ...
        def resume(self) -> None: ...

        async def close(self) -> Sequence[Any]:
            await asyncio.Event().wait()
            return ()

    class Recorder(RecorderProvider):
        def open(self, session: VoiceSession) -> Recording:
            return Stuck()

    tts = FakeTTS(close_ms=math.inf)
    phones = Phones(tts=tts, pipeline=AudioPipelineConfig(recorder=Recorder()))
    session = await phones.kit.join(await phones.room(), "phone")
    saying = asyncio.create_task(phones.channel.say(session, "a long story " * 50))
    await asyncio.sleep(1)
    began = now()
    await phones.channel.interrupt(session)
    assert not await saying
    assert now() - began <= 0.02
    again = phones.channel.start_say(session, "short")
    await asyncio.sleep(0.1)
    assert again.position.played_ms > 0
    began = now()
    ended = asyncio.create_task(phones.kit.leave(session))
    await asyncio.sleep(0.02)
    assert not phones.backend.sessions
    assert now() - began <= 0.02
    await ended
    assert now() - began <= phones.channel.limits.recorder + 1
    await phones.kit.close()


@virtual_time
async def test_a_hundred_calls_end_together() -> None:
    class Slow(FakeBackend):
        async def disconnect(self, session: VoiceSession) -> None:
            await asyncio.sleep(0.5)
            await super().disconnect(session)

    phones = Phones(Slow())
    room = await phones.room()
    for _ in range(100):
        await phones.kit.join(room, "phone")
    began = now()
    await phones.kit.close()
    assert now() - began < 2
    assert len(phones.ended) == 100


async def test_a_channel_belongs_to_one_kit() -> None:
    one, other = RoomKit(), RoomKit()
    channel = VoiceChannel("phone", backend=FakeBackend())
    one.register_channel(channel)
    with pytest.raises(ChannelBoundError, match="'phone' is registered with another RoomKit"):
        other.register_channel(channel)
    await other.close()
    session = await one.create_room("room")
    await one.attach_channel(session.id, "phone")
    await one.leave(await one.join("room", "phone"))
    await one.close()


@virtual_time
async def test_a_transient_room_goes_with_its_last_call() -> None:
    phones = Phones()
    room = await phones.kit.create_room(transient=True)
    await phones.kit.attach_channel(room.id, "phone")
    first = await phones.kit.join(room.id, "phone")
    second = await phones.kit.join(room.id, "phone")
    await phones.kit.leave(first)
    assert phones.kit.list_rooms() == [room]
    await phones.kit.leave(second)
    assert phones.kit.list_rooms() == []
    await phones.kit.close()


@virtual_time
async def test_drain_lets_calls_end_and_takes_no_more() -> None:
    phones = Phones()
    room = await phones.room()
    session = await phones.kit.join(room, "phone")
    assert not await phones.kit.drain(5)
    draining = asyncio.create_task(phones.kit.drain())
    await asyncio.sleep(1)
    with pytest.raises(KitClosedError):
        await phones.kit.join(room, "phone")
    assert not draining.done()
    await phones.kit.leave(session)
    assert await draining
    await phones.kit.close()


class Tool(AIProvider):
    """A model whose tool speaks."""

    def __init__(self, talk: Callable[[], Any]) -> None:
        self.talk = talk

    async def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
        yield "Let me look. It may take"
        channel = self.talk().channel
        yield " a while."
        assert await channel.say(session, "One moment.")
        yield " Here it is. "
        assert await channel.play(session, AudioChunk(tone(300), 8000))
        yield "Goodbye."


@virtual_time
async def test_what_is_said_from_within_an_answer_comes_after_the_sentence_on_air() -> None:
    async with conversation(model=Tool(lambda: talk)) as talk:
        talk.caller.says("where is it")
        await talk.expect_heard("Let me look. It may take a while. One moment. Here it is.")
        await talk.expect_heard("Goodbye.")
        await talk.waits(1)
        model = talk.kit.get_channel("model")
        assert isinstance(model, AIChannel)
        assert [turn.text for turn in model.turns(talk.session)] == [
            "where is it",
            "Let me look. It may take a while. Here it is. Goodbye.",
        ]


@virtual_time
async def test_what_is_said_too_late_to_be_within_a_speech_is_said_after_it() -> None:
    later: list[asyncio.Task[bool]] = []

    def setup(talk: Any) -> None:
        async def hook(event: Any, ctx: HookContext) -> None:
            async def say() -> bool:
                await asyncio.sleep(0.1)
                return bool(await talk.channel.say(event.session, "By the way."))

            if not later:
                later.append(asyncio.create_task(say()))

        talk.kit.add_hook(HookTrigger.BEFORE_TTS, hook)

    async with conversation(setup=setup) as talk:
        assert await talk.channel.say(talk.session, "The train is late. It comes at nine.")
        assert await asyncio.wait_for(later[0], 10)
        await talk.expect_heard("The train is late. It comes at nine. By the way.")


@virtual_time
async def test_marks_are_told_to_the_speech_that_they_are_of_as_they_leave() -> None:
    told: list[tuple[str, str]] = []

    async with conversation() as talk:

        async def answer() -> AsyncIterator[str]:
            yield "Let me look. "
            inner = talk.channel.start_say(talk.session, "One moment.")
            inner.on_mark(lambda mark, at: told.append(("inner", mark.text)))
            assert await inner.wait()
            yield "Here it is."

        outer = talk.channel.start_say(talk.session, answer())
        outer.on_mark(lambda mark, at: told.append(("outer", mark.text)))
        assert await outer.wait()
        assert outer._marks == {}
    assert told == [
        *(("outer", word) for word in ("Let", "me", "look.")),
        *(("inner", word) for word in ("One", "moment.")),
        *(("outer", word) for word in ("Here", "it", "is.")),
    ]


@virtual_time
async def test_a_hook_that_speaks_about_what_is_to_be_said_is_heard_before_it() -> None:
    def setup(talk: Any) -> None:
        async def hook(event: Any, ctx: HookContext) -> None:
            if event.text != "Attention.":
                await talk.channel.say(event.session, "Attention.")

        talk.kit.add_hook(HookTrigger.BEFORE_TTS, hook)

    async with conversation(setup=setup) as talk:
        saying = asyncio.create_task(talk.channel.say(talk.session, "The train is late."))
        await talk.expect_heard("Attention. The train is late.")
        assert await saying


@pytest.mark.parametrize(
    "options",
    [
        {"model": FakeModel({"": "x"}, fails=True), "tts": FakeTTS()},
        {"model": FakeModel({"": "x"}, hangs=True), "tts": FakeTTS()},
    ],
    ids=["fails", "hangs"],
)
@virtual_time
async def test_a_model_that_fails_or_hangs_is_stood_in_for_and_the_call_goes_on(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with conversation(fallback="Sorry, say that again.", **options) as talk:
        for _ in range(2):
            talk.caller.says("good morning")
            await talk.expect_heard("Sorry, say that again.", within=30)
            await talk.waits(1)
        errors = [event for event in talk.events if type(event).__name__ == "ErrorEvent"]
        assert [event.where for event in errors] == ["ai model"] * 2


@virtual_time
async def test_a_recogniser_that_hangs_makes_no_call_deaf(caplog: pytest.LogCaptureFixture) -> None:
    stt = FakeSTT(hangs=lambda number: number < 2)
    async with conversation(stt=stt, model=FakeModel({"morning": "Hello."})) as talk:
        talk.caller.says("good evening")
        await talk.waits(3)
        talk.caller.says("good morning")
        await talk.expect_heard("Hello.", within=30)


@virtual_time
async def test_a_caller_whom_no_recogniser_understands_hears_the_fallback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stt = FakeSTT(fails=lambda number: number < 2)
    async with conversation(stt=stt, model=FakeModel("Hello."), fallback="Pardon me?") as talk:
        talk.caller.says("good evening")
        await talk.expect_heard("Pardon me?")
        talk.caller.says("good morning")
        await talk.expect_heard("Hello.")


@virtual_time
async def test_an_audible_detector_has_its_name_in_the_statistics() -> None:
    async with conversation(vad=EnergyVAD()) as talk:
        stats = talk.channel.stats(talk.session)
    assert stats["vad"] == "energy"
    assert stats["phase"] == "listening"
