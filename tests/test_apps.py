"""run_app: whatever an application does, its call ends with it, and it with its call."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from interop.peers import until
from roomkit import Call, CallOptions, HookTrigger
from roomkit._calls.apps import run_app
from roomkit.errors import CallEnded, SynthesisError
from roomkit.testing import FakeTTS, Talk, conversation, run, virtual_time
from roomkit.voice.base import AudioChunk
from roomkit.voice.events import DTMFDetectedEvent
from support.calls import Letters, a_call, soon, texts, until_playing

AT_ONCE = CallOptions(linger_ms=0)


def ends(call: Call) -> list[str]:
    """The reasons of all ends of the call that are told; filled as they are."""
    reasons: list[str] = []

    def watch(trigger: HookTrigger, event: Any) -> None:
        if trigger is HookTrigger.ON_SESSION_ENDED:
            reasons.append(event.reason)

    call.kit.hooks.watch(call.session, watch)
    return reasons


async def test_an_application_that_returns_has_its_call_hung_up() -> None:
    async def app(call: Call) -> None:
        await call.say("Hello.")

    async with a_call() as (call, backend):
        reasons = ends(call)
        assert await soon(run_app(call, app)) is None
        assert (reasons, call.over, backend.sessions) == (["left"], True, {})
        assert texts(call) == ["Hello."]


@pytest.mark.parametrize("fallback", ["Sorry.", AudioChunk(bytes(320), 8000), None])
async def test_one_that_raises_plays_the_fallback_and_hangs_up(
    fallback: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(call: Call) -> None:
        raise LookupError("no such thing")

    async with a_call() as (call, backend):
        reasons = ends(call)
        errors = []

        @call.kit.hook(HookTrigger.ON_ERROR)
        async def on_error(event: Any, ctx: Any) -> None:
            errors.append((event.where.split()[0], event.error))

        error = await soon(run_app(call, app, fallback=fallback))
        assert isinstance(error, LookupError)
        assert reasons == ["app_failed"]
        assert len(backend.heard) == {str: 6, AudioChunk: 1, type(None): 0}[type(fallback)]
        await call.kit.hooks.drain(1)
        assert errors == [("application", error)]
    (line,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert "LookupError('no such thing')" in line.getMessage()


async def test_a_fallback_that_fails_too_still_hangs_up() -> None:
    class Hoarse(Letters):
        async def synthesize_stream(self, text: str, *, voice: str | None = None) -> Any:
            for _ in text:
                raise SynthesisError("no voice today")
            yield

    async def app(call: Call) -> None:
        await call.say("Hello.")

    async with a_call(tts=Hoarse()) as (call, _):
        assert isinstance(await soon(run_app(call, app, fallback="Sorry.")), SynthesisError)
        assert call.reason == "app_failed"


async def test_what_it_left_playing_does_not_delay_the_fallback() -> None:
    tasks = []

    async def app(call: Call) -> None:
        tasks.append(asyncio.create_task(call.say("A long story")))
        async with asyncio.timeout(5):
            await call.backend.playing.wait()  # type: ignore[attr-defined]
        raise ValueError

    async with a_call() as (call, backend):
        backend.running.clear()
        running = asyncio.create_task(run_app(call, app, fallback="Sorry."))
        await until_playing(backend)
        await until(lambda: texts(call)[-1] == "Sorry.", "the fallback begins")
        backend.running.set()
        await soon(running)
        assert (await tasks[0]).cut == "interrupt"


@pytest.mark.parametrize("waits", ["key", "utterance", "ask"])
async def test_when_the_caller_leaves_what_it_waits_for_ends_and_so_does_it(waits: str) -> None:
    seen = []

    async def app(call: Call) -> None:
        try:
            await getattr(call, waits)()
        except CallEnded as error:
            seen.append(error.reason)
            raise

    async with a_call() as (call, backend):
        running = asyncio.create_task(run_app(call, app, fallback="Sorry."))
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        assert await soon(running) is None  # no fault of the application
        assert seen == ["bye"]
        assert texts(call) == []


async def test_what_it_has_can_be_kept_after_the_caller_has_left() -> None:
    kept: list[tuple[str, str]] = []

    async def app(call: Call) -> None:
        got = await call.collect(4)
        await asyncio.sleep(0)  # a database
        kept.append((got.digits, got.reason))
        await call.say("Thank you.")
        kept.append(("never", "reached"))

    async with a_call() as (call, backend):
        running = asyncio.create_task(run_app(call, app))
        backend.press(call.session, "12")
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        assert await soon(running) is None
        assert kept == [("12", "hangup")]


async def test_one_that_waits_elsewhere_is_cancelled() -> None:
    cancelled = []

    async def app(call: Call) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(call.reason)
            raise

    async with a_call(AT_ONCE) as (call, backend):
        running = asyncio.create_task(run_app(call, app))
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        assert await soon(running) is None
        assert cancelled == ["bye"]


async def test_one_that_will_not_be_cancelled_is_abandoned_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()
    stubborn: list[asyncio.Task[Any]] = []

    async def app(call: Call) -> None:
        task = asyncio.current_task()
        assert task is not None
        stubborn.append(task)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with a_call(AT_ONCE) as (call, backend):
        running = asyncio.create_task(run_app(call, app, limit=0.01))
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        assert await soon(running) is None
        (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
        assert "does not end when it is cancelled" in line
        release.set()
        await soon(asyncio.wait(stubborn))


async def test_one_that_catches_everything_does_not_stop_the_world() -> None:
    async def app(call: Call) -> None:
        while True:
            try:
                await call.key()
            except Exception:  # noqa: BLE001 (that is what this is about)
                logging.getLogger("app").debug("again")

    async with a_call(CallOptions(linger_ms=20)) as (call, backend):
        running = asyncio.create_task(run_app(call, app))
        await asyncio.sleep(0)
        backend.hang_up(call.session)
        assert await soon(running) is None


async def test_one_that_hangs_up_may_go_on_to_its_end() -> None:
    done = []

    async def app(call: Call) -> None:
        await call.hang_up("bored")
        await asyncio.sleep(0)
        done.append(call.reason)

    async with a_call() as (call, _):
        reasons = ends(call)
        await soon(run_app(call, app))
        assert (done, reasons) == (["bored"], ["bored"])


async def test_one_that_cancels_itself_is_over() -> None:
    async def app(call: Call) -> None:
        raise asyncio.CancelledError

    async with a_call() as (call, _):
        assert await soon(run_app(call, app)) is None
        assert call.reason == "left"


async def test_whoever_cancels_it_cancels_the_application_and_the_call_ends() -> None:
    async def app(call: Call) -> None:
        await call.key()

    async with a_call() as (call, backend):
        running = asyncio.create_task(run_app(call, app))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(running)
        assert backend.sessions == {}


async def test_handlers_end_with_the_application() -> None:
    began = asyncio.Event()
    ended = []

    async def slow(event: DTMFDetectedEvent) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(event.digit)

    async def app(call: Call) -> None:
        call.on(DTMFDetectedEvent, slow)
        call.backend.press(call.session, "12")  # type: ignore[attr-defined]
        await began.wait()

    async with a_call() as (call, _):
        await soon(run_app(call, app))
        await asyncio.sleep(0)
        assert ended == ["1"]


async def test_an_object_with_an_async_call_is_an_application() -> None:
    class App:
        async def __call__(self, call: Call) -> None:
            await call.say("Hello.")

    async with a_call() as (call, _):
        await soon(run_app(call, App()))
        assert texts(call) == ["Hello."]


# --- over the whole stack -----------------------------------------------------------------------


@virtual_time
async def test_the_caller_of_a_failing_application_hears_why() -> None:
    async def app(call: Call) -> None:
        await call.say("one moment")
        raise LookupError("no such thing")

    def answer(talk: Talk) -> None:
        talk.kit.answer(app, fallback="please call again")

    async with conversation(setup=answer) as talk:
        await talk.expect_heard("one moment please call again")
        await talk.expect_hangup()
        ended = await talk.expect_event(HookTrigger.ON_SESSION_ENDED)
        assert ended.reason == "app_failed"
        failed = await talk.expect_event(HookTrigger.ON_ERROR)
        assert failed.where.startswith("application")


@pytest.mark.parametrize("trouble", [{"fail_after": 0}, {"hang_after": 0}])
def test_a_fallback_that_cannot_be_said_does_not_keep_the_line(trouble: dict[str, Any]) -> None:
    async def app(call: Call) -> None:
        raise LookupError("no such thing")

    def answer(talk: Talk) -> None:
        talk.kit.answer(app, fallback="please call again")

    async def one() -> None:
        async with conversation(setup=answer, tts=FakeTTS(**trouble)) as talk:
            await talk.expect_hangup(within=40)
            ended = await talk.expect_event(HookTrigger.ON_SESSION_ENDED)
            assert ended.reason == "app_failed"

    run(one())


@virtual_time
async def test_an_application_that_never_ends_ends_with_its_call() -> None:
    cancelled: list[float] = []

    async def app(call: Call) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(asyncio.get_running_loop().time())

    async with conversation(app) as talk:
        await talk.caller.waits(1)
        await talk.caller.hangs_up()
        gone = asyncio.get_running_loop().time()
        await talk.caller.waits(5)
        assert cancelled[0] - gone == pytest.approx(CallOptions().linger_ms / 1000, abs=0.1)
