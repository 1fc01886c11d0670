"""Call: what is said and played, keys and numbers, on a backend in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from interop.peers import until
from roomkit import Call, HookResult, HookTrigger, VoiceChannel
from roomkit.errors import CallEnded, ProviderMissingError, RoomKitError, SessionEndedError
from roomkit.testing import virtual_time
from roomkit.voice.base import AudioChunk
from support.calls import Line, a_call, say_words, soon, texts, until_playing

AUDIO = [AudioChunk(bytes(320), 8000) for _ in range(5)]


# --- say and play --------------------------------------------------------------------------------


async def test_all_of_the_framework_is_reachable() -> None:
    async with a_call() as (call, backend):
        assert isinstance(call.channel, VoiceChannel)
        assert call.backend is backend
        assert call.room is call.kit.get_room("room")
        assert call.metadata is call.session.metadata
        assert call.stats() == {}
        assert not call.over
        assert call.reason is None
        assert call.session.id in repr(call)


async def test_what_was_said_whole_is_true_and_tells_its_length() -> None:
    async with a_call() as (call, _):
        said = await call.say("Hello.")
        assert said
        assert (said.text, said.cut, said.played_ms) == ("Hello.", None, 120)
        assert "Hello" not in repr(said)
        played = await call.play(AUDIO)
        assert played
        assert (played.cut, played.played_ms) == (None, 100)


async def test_pieces_are_said_as_sentences() -> None:
    async def pieces() -> AsyncIterator[str]:
        yield "One. Tw"
        yield "o."

    async with a_call() as (call, _):
        said = await call.say(pieces())
        assert said
        assert texts(call) == ["One.", "Two."]


async def test_a_text_that_hooks_block_was_not_said() -> None:
    async with a_call() as (call, _):

        @call.kit.hook(HookTrigger.BEFORE_TTS)
        async def never(event: Any, ctx: Any) -> HookResult:
            return HookResult.block("no")

        said = await call.say("Hello.")
        assert not said
        assert said.cut == "blocked"


@pytest.mark.parametrize("stop_on", ["key", ("key",), {"key", "voice"}])
async def test_a_key_stops_what_it_may_stop_and_is_still_there(stop_on: Any) -> None:
    async with a_call() as (call, backend):
        backend.running.clear()
        playing = asyncio.create_task(call.play(AUDIO, stop_on=stop_on))
        await until_playing(backend)
        backend.press(call.session, "5")
        played = await soon(playing)
        assert not played
        assert (played.cut, played.played_ms) == ("key", 0)
        assert await call.key(0) == "5"
        assert await call.key(0) is None


async def test_a_key_stops_nothing_that_it_may_not_and_nothing_that_begins_behind_it() -> None:
    async with a_call() as (call, backend):
        backend.running.clear()
        playing = asyncio.create_task(call.say("Hello.", stop_on="voice"))
        await until_playing(backend)
        backend.press(call.session, "5")
        backend.running.set()
        assert (await soon(playing)).cut is None
        assert (await soon(call.say("Hello.", stop_on="key"))).cut is None
        assert await call.key(0) == "5"


@virtual_time
async def test_the_caller_s_voice_stops_what_it_may_stop() -> None:
    async with a_call() as (call, backend):
        backend.running.clear()
        playing = asyncio.create_task(call.play(AUDIO, stop_on=("key", "voice")))
        await until_playing(backend)
        await say_words(call, backend)
        assert (await soon(playing)).cut == "voice"


async def test_whoever_interrupts_the_channel_cuts_it_short() -> None:
    async with a_call() as (call, backend):
        backend.running.clear()
        playing = asyncio.create_task(call.play(AUDIO))
        await until_playing(backend)
        await call.channel.interrupt(call.session)
        assert (await soon(playing)).cut == "interrupt"


async def test_cancelling_silences() -> None:
    async with a_call() as (call, backend):
        backend.running.clear()
        playing = asyncio.create_task(call.say("Hello."))
        await until_playing(backend)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        backend.running.set()
        await until(lambda: not call.channel.is_speaking(call.session), "silence")
        assert backend.heard == []


async def test_what_several_tasks_say_is_said_one_after_another() -> None:
    async with a_call() as (call, _):
        await soon(asyncio.gather(call.say("One."), call.play(AUDIO), call.say("Two.")))
        assert texts(call) == ["One.", "Two."]


async def test_what_the_voice_raises_reaches_the_program() -> None:
    async with a_call(tts=None) as (call, _):
        with pytest.raises(ProviderMissingError):
            await call.say("Hello.")


@pytest.mark.parametrize("stop_on", ["keys", ("key", 1), ["x"]])
async def test_what_stops_nothing_is_told(stop_on: Any) -> None:
    async with a_call() as (call, _):
        with pytest.raises(ValueError, match="stop_on"):
            await call.play(AUDIO, stop_on=stop_on)
        with pytest.raises(ValueError, match="interruptible"):
            await call.say("Hello.", stop_on="voice", interruptible=False)


# --- key -----------------------------------------------------------------------------------------


async def test_keys_come_in_order_and_those_pressed_before_count() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "12")
        assert [await call.key(), await call.key()] == ["1", "2"]
        waiting = asyncio.create_task(call.key())
        await asyncio.sleep(0)
        backend.press(call.session, "#")
        assert await soon(waiting) == "#"
        assert await call.key(0.001) is None


async def test_a_prompt_is_stopped_by_the_key_and_left_out_where_one_waits() -> None:
    async with a_call() as (call, backend):
        backend.running.clear()
        asked = asyncio.create_task(call.key(prompt="Press one."))
        await until_playing(backend)
        backend.press(call.session, "17")
        assert await soon(asked) == "1"
        assert await soon(call.key(prompt="Press one.")) == "7"
        assert texts(call) == ["Press one."]
        backend.running.set()
        backend.press(call.session, "3")
        assert await soon(call.key(0.001, prompt="Press one.", flush=True)) is None
        assert texts(call) == ["Press one."] * 2


async def test_keys_reach_a_call_while_hooks_of_keys_take_their_time() -> None:
    async with a_call() as (call, backend):
        never = asyncio.Event()

        @call.kit.hook(HookTrigger.ON_DTMF)
        async def slow(event: Any, ctx: Any) -> None:
            await never.wait()

        backend.press(call.session, "123")
        assert (await call.collect(3)).digits == "123"
        never.set()


async def test_two_who_wait_for_keys_are_told_who_does() -> None:
    async with a_call() as (call, backend):
        first = asyncio.create_task(call.key(), name="the menu")
        await asyncio.sleep(0)
        for second in (call.key, call.collect, call.ask, call.record):
            with pytest.raises(RuntimeError, match=r"key\(\) in task 'the menu' waits for keys"):
                await second()
        backend.press(call.session, "1")
        assert await soon(first) == "1"
        backend.press(call.session, "2")
        assert await call.key(0) == "2"


async def test_a_machine_that_dials_on_fills_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "1" * 10_000)
        got = await call.collect(None, between_timeout=0)
        assert len(got.digits) == 256
    dropped = [r for r in caplog.records if "dropped" in r.message]
    assert len([r for r in dropped if r.name == "roomkit.call"]) == 1


# --- collect -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pressed", "options", "digits", "complete", "reason", "left"),
    [
        ("1234", {"digits": 4}, "1234", True, "length", ""),
        ("123456", {"digits": 4}, "1234", True, "length", "56"),
        ("12#", {"digits": 4}, "12", True, "terminator", ""),
        ("12#34", {"digits": None}, "12", True, "terminator", "34"),
        ("#", {"digits": 4}, "", False, "terminator", ""),
        ("12", {"digits": 4}, "12", False, "timeout", ""),
        ("", {"digits": 4}, "", False, "timeout", ""),
        ("12", {"digits": None}, "12", False, "timeout", ""),
        ("12", {"digits": None, "terminator": None}, "12", True, "timeout", ""),
        ("", {"digits": None, "terminator": None}, "", False, "timeout", ""),
        ("1#*", {"digits": 3, "terminator": None}, "1#*", True, "length", ""),
        ("1*#", {"digits": 3, "terminator": "*#"}, "1", True, "terminator", "#"),
        ("12A", {"digits": None, "terminator": "a"}, "12", True, "terminator", ""),
    ],
)
async def test_a_number_ends_at_its_length_its_terminator_or_a_pause(
    pressed: str, options: dict[str, Any], digits: str, complete: bool, reason: str, left: str
) -> None:
    for typed_ahead in (True, False):
        async with a_call() as (call, backend):
            if typed_ahead:
                backend.press(call.session, pressed)
            collecting = asyncio.create_task(
                call.collect(**options, first_timeout=0.02, between_timeout=0.02)
            )
            await asyncio.sleep(0)
            if not typed_ahead:
                backend.press(call.session, pressed)
            got = await soon(collecting)
            assert (got.digits, got.complete, got.reason) == (digits, complete, reason)
            assert bool(got) is complete
            assert "12" not in repr(got)
            rest = await call.collect(None, terminator=None, between_timeout=0, first_timeout=0)
            assert rest.digits == left


async def test_the_prompt_is_given_again_while_nothing_whole_comes() -> None:
    async with a_call() as (call, backend):
        asked = {"prompt": "Your number?", "retries": 2, "first_timeout": 0.01}
        got = await soon(call.collect(4, between_timeout=0.01, **asked))  # type: ignore[arg-type]
        assert (got.reason, texts(call)) == ("timeout", ["Your number?"] * 3)
        texts(call).clear()
        backend.press(call.session, "12#")  # before the prompt, which is left out
        got = await soon(call.collect(4, **asked))  # type: ignore[arg-type]
        assert (got.digits, texts(call)) == ("12", [])


async def test_what_was_pressed_before_is_forgotten_where_it_is_to_be() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "99")
        collecting = asyncio.create_task(call.collect(2, prompt="Number?", flush=True))
        await asyncio.sleep(0)
        backend.press(call.session, "12")
        assert (await soon(collecting)).digits == "12"


@pytest.mark.parametrize("pressed", range(4))
async def test_cancelling_a_collector_at_any_key_loses_none(pressed: int) -> None:
    async with a_call() as (call, backend):
        collecting = asyncio.create_task(call.collect(4))
        await asyncio.sleep(0)
        backend.press(call.session, "1234"[:pressed])
        await asyncio.sleep(0)
        backend.press(call.session, "1234"[pressed : pressed + 1])
        collecting.cancel()  # at the very moment at which another key came
        with pytest.raises(asyncio.CancelledError):
            await collecting
        backend.press(call.session, "1234"[pressed + 1 :])
        assert (await soon(call.collect(4))).digits == "1234"


METHODS: dict[str, Callable[[Call], Coroutine[Any, Any, Any]]] = {
    "key": lambda call: call.key(),
    "key with a prompt": lambda call: call.key(prompt="Hello."),
    "collect": lambda call: call.collect(9, first_timeout=None),
    "masked": lambda call: call.collect(9, first_timeout=None, masked=True, prompt="Card?"),
    "ask": lambda call: call.ask("Well?", digits=9, timeout=None),
    "utterance": lambda call: call.utterance(),
    "record": lambda call: call.record(stop_on="D"),
    "say": lambda call: call.say("Hello.", stop_on="key"),
    "play": lambda call: call.play(AUDIO, stop_on="key"),
    "event": lambda call: anext(call),
    "ended": lambda call: call.ended(),
}


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("method", METHODS)
async def test_cancelling_any_method_at_any_step_loses_no_key(method: str, steps: int) -> None:
    """Keys before it, at each step of it, and with its cancellation: all are there, in order."""
    async with a_call() as (call, backend):
        keys = iter("0123456789*#")
        backend.press(call.session, next(keys))
        task = asyncio.create_task(METHODS[method](call))
        for _ in range(steps):
            await asyncio.sleep(0)
            backend.press(call.session, next(keys))
        backend.press(call.session, next(keys))
        task.cancel()
        await asyncio.wait([task])
        taken = "" if task.cancelled() or not isinstance(task.result(), str) else task.result()
        got = await call.collect(None, terminator=None, between_timeout=0, first_timeout=0)
        assert taken + got.digits == "0123456789*#"[: steps + 2]
        assert not backend.masked.get(call.session.id)
        assert await soon(call.key(0)) is None  # nothing is claimed any longer


# --- masked --------------------------------------------------------------------------------------


async def test_masked_keys_are_masked_from_the_prompt_on_and_logged_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_call() as (call, backend):
        backend.press(call.session, "4")
        backend.running.clear()
        collecting = asyncio.create_task(call.collect(4, prompt="Card?", masked=True, flush=True))
        await until_playing(backend)
        assert backend.masked[call.session.id]
        seen: list[Any] = []
        call.kit.hooks.watch(call.session, lambda trigger, event: seen.append(event))
        backend.press(call.session, "7391")
        got = await soon(collecting)
        assert got.digits == "7391"
        assert backend.masks == [True, False]
        assert all(event.masked for event in seen if hasattr(event, "digit"))
        await call.collect(1, first_timeout=0)
        assert backend.masks == [True, False]
        logged = " ".join(record.getMessage() for record in caplog.records)
        assert "7391" not in logged
        for text in (repr(got), repr(seen), repr(call), repr(vars(call._ears.keys))):
            assert "7391" not in text
            assert "'7'" not in text


async def test_where_nothing_can_mask_nothing_is_collected_masked() -> None:
    class Plain(Line):
        def mask_digits(self, session: Any, masked: bool = True) -> None:
            raise NotImplementedError("cannot mask")

    async with a_call() as (call, _):
        call.channel.backend = backend = Plain()
        with pytest.raises(NotImplementedError, match="cannot mask"):
            await call.collect(4, masked=True)
        assert backend.masks == []


# --- the end -------------------------------------------------------------------------------------


async def test_who_waits_is_told_why_the_call_ended() -> None:
    assert issubclass(CallEnded, RoomKitError)
    assert issubclass(CallEnded, SessionEndedError)
    for name in ("key", "ask", "utterance"):
        async with a_call() as (call, backend):
            waiting = asyncio.create_task(METHODS[name](call))
            await asyncio.sleep(0)
            backend.hang_up(call.session)
            with pytest.raises(CallEnded, match=r"\(bye\)") as info:
                await soon(waiting)
            assert info.value.reason == "bye"
            assert info.value.session_id == call.session.id
            assert (call.over, call.reason) == (True, "bye")


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("event", "ended")])
async def test_after_the_end_every_method_says_so_and_lets_others_run(method: str) -> None:
    async with a_call() as (call, _):
        await call.hang_up("enough")
        assert await call.ended() == "enough"
        ran: list[int] = []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        with pytest.raises(CallEnded, match="enough"):
            await METHODS[method](call)
        assert ran == [1]
        await call.hang_up()  # idempotent


async def test_what_plays_or_collects_at_the_end_tells_what_there_was() -> None:
    async with a_call() as (call, backend):
        backend.press(call.session, "12")
        collecting = asyncio.create_task(call.collect(4, masked=True))
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        got = await soon(collecting)
        assert (got.digits, got.complete, got.reason) == ("12", False, "hangup")

    async with a_call() as (call, backend):
        backend.running.clear()
        playing = asyncio.create_task(call.play(AUDIO, stop_on="key"))
        await until_playing(backend)
        backend.hang_up(call.session)
        assert (await soon(playing)).cut == "end"


async def test_the_channel_already_gone_is_the_end_too() -> None:
    """Between the moment at which a channel forgets a call and that at which its end is told."""
    async with a_call() as (call, backend):
        backend.gone.clear()
        leaving = asyncio.create_task(call.kit.leave(call.session))
        for _ in range(100):
            if not backend.sessions:
                break
            await asyncio.sleep(0)
        assert not backend.sessions
        saying = asyncio.create_task(call.say("Hello."))
        await asyncio.sleep(0)
        assert not call.over
        assert not saying.done()
        backend.gone.set()
        with pytest.raises(CallEnded, match="left"):
            await soon(saying)
        await leaving


async def test_a_call_made_of_a_session_that_is_over_is_over() -> None:
    async with a_call() as (call, _):
        await call.hang_up()
        late = Call(call.kit, call.channel, call.session)
        assert late.over
        with pytest.raises(CallEnded):
            await late.key()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"digits": 0}, "digits: 0"),
        ({"digits": True}, "digits: True"),
        ({"digits": 257}, "digits: 257"),
        ({"terminator": "x"}, "terminator"),
        ({"terminator": ""}, "terminator"),
        ({"first_timeout": -1}, "first_timeout: -1"),
        ({"between_timeout": float("nan")}, "between_timeout: nan"),
        ({"retries": -1}, "retries: -1"),
        ({"retries": 1, "prompt": iter([])}, "prompt"),
        ({"terminator": None, "between_timeout": None}, "nothing would end it"),
        ({"first_timeout": "5"}, "first_timeout: '5'"),
    ],
)
async def test_misuse_is_told_at_once(wrong: dict[str, Any], complaint: str) -> None:
    async with a_call() as (call, _):
        with pytest.raises((ValueError, TypeError), match=complaint):
            await call.collect(**wrong)


async def test_a_prompt_may_be_audio_or_a_file(tmp_path: Path) -> None:
    async with a_call() as (call, backend):
        assert await call.key(0.001, prompt=AUDIO) is None
        assert len(backend.heard) == 5
        with pytest.raises(RoomKitError, match=r"no\.wav"):
            await call.key(0.001, prompt=tmp_path / "no.wav")
