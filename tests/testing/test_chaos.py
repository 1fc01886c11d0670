"""Whole conversations in which anything may happen at any time: nothing is left of them, and each
is the same when it is run again."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import Counter
from typing import Any

import pytest

from roomkit import Call
from roomkit.errors import RoomKitError
from roomkit.testing import (
    Caller,
    FakeModel,
    FakeSTT,
    FakeTTS,
    NetworkPath,
    Talk,
    conversation,
    run,
)

WORDS = "a table for two please no yes stop the bill and some more water now thanks".split()
ANSWERS = (
    "Yes.",
    "There is a table for two. It is by the window, where it is quiet.",
    "One moment. I look for it now! It costs 3.50 in all, does it not?",
)


def providers(rng: random.Random) -> dict[str, Any]:
    """A voice, a recogniser and a model, of which some are slow, fail or hang."""

    def sometimes(share: float) -> Any:
        chosen = frozenset(n for n in range(100) if rng.random() < share)
        return lambda n: n in chosen

    close_ms = rng.choice([0.0, 0.0, 0.0, 300.0, math.inf])
    return {
        "tts": FakeTTS(
            per_word_ms=rng.choice([160, 300]),
            marks=rng.choice(["words", "sentences", None]),
            chunk_ms=rng.choice([20, 100, 700]),
            delay_ms=rng.choice([0, 0, 150]),
            speed=rng.choice([None, None, 1.5]),
            fail_after=rng.choice([None, None, None, 3]),
            hang_after=rng.choice([None, None, None, None, 5]),
            close_ms=close_ms,
        ),
        "stt": FakeSTT(
            streaming=rng.random() < 0.7,
            delay_ms=rng.choice([0, 100, 400]),
            fails=sometimes(0.1),
            hangs=sometimes(0.05),
        ),
        "model": FakeModel(
            lambda session, turns: ANSWERS[len(turns) % 3],
            first_ms=rng.choice([0, 200]),
            per_token_ms=rng.choice([0, 30]),
            fails=sometimes(0.1),
            hangs=sometimes(0.03),
            endless=rng.random() < 0.05,
            close_ms=close_ms,
        ),
    }


async def acts(rng: random.Random, talk: Talk, caller: Caller) -> None:
    """The caller does something, or someone on our side."""
    match rng.randrange(12):
        case 0 | 1 | 2:
            await caller.says(" ".join(rng.choices(WORDS, k=rng.randint(1, 6))))
            await talk.waits(rng.uniform(0, 6))
        case 3:
            caller.says("stop")
        case 4:
            caller.presses("".join(rng.choices("0123456789*#", k=rng.choice([1, 3, 40]))), 60, 40)
        case 5:
            caller.noise(rng.uniform(-60, -40))
        case 6:
            caller.path = NetworkPath(delay_ms=rng.uniform(0, 150))
        case 7:
            await talk.channel.interrupt(caller.session)
        case 8:
            asyncio.create_task(quietly(talk.channel.say(caller.session, "Just so you know.")))  # noqa: RUF006
        case 9:
            await talk.backend.hold(caller.session)
            await talk.waits(rng.uniform(0, 1))
            await talk.backend.resume(caller.session)
        case 10:
            caller.vanishes()
            await talk.waits(rng.uniform(0, 0.5))
            caller.returns()
        case _:
            await talk.waits(rng.uniform(0, 2))


async def quietly(doing: Any) -> None:
    with contextlib.suppress(RoomKitError):  # the call is over, or the voice has failed
        await doing


async def app(call: Call) -> None:
    """An application that talks with whoever listens."""
    await call.say("Welcome. What can I do for you?")
    async for _ in call:
        pass


async def chaos(seed: int) -> tuple[str, Counter[str]]:
    rng = random.Random(seed)
    async with conversation(
        app if rng.random() < 0.3 else None,
        **providers(rng),
        path=NetworkPath(delay_ms=rng.uniform(0, 100)),
        seed=seed,
        barge_in=rng.random() < 0.8,
    ) as talk:
        for _ in range(rng.randint(1, 15)):
            if talk.session.ended:
                break
            await quietly(acts(rng, talk, talk.caller))
        match rng.randrange(4):
            case 0:
                talk.caller.hangs_up()
                await talk.waits(rng.uniform(0, 2))
            case 1:
                await talk.kit.leave(talk.session)
            case 2:
                talk.caller.hangs_up()
                await talk.kit.leave(talk.session)
            case _:
                pass  # the kit closes with the call up
    kinds = Counter(type(event).__name__ for event in talk.events)
    said = [event.text for event in talk.events if type(event).__name__ == "BeforeTTSEvent"]
    assert kinds["SessionStartedEvent"] == kinds["SessionEndedEvent"] == 1
    # Nobody is told to have said what he was never given to say.
    assert all(text.split()[0] in " ".join(said) for who, text in talk.transcript if who == "we")
    # What was said to its end was heard, in this order, unless he hung up before.
    heard, place = talk.caller.heard_text, 0
    for spoken in talk.spoken:
        if spoken.whole and not any(did.what == "hangs up" for did in talk.caller.did):
            place = heard.find(spoken.text, place)
            assert place >= 0, f"{spoken.text!r} was not heard: {heard!r}"
            place += len(spoken.text)
    return talk.log(), kinds


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_nothing_is_left_of_a_conversation_in_which_anything_happens(first: int) -> None:
    kinds: Counter[str] = Counter()
    for seed in range(first, first + 20):
        try:
            log, found = run(chaos(seed))
            again, _ = run(chaos(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        assert log == again, f"seed {seed}"
        kinds += found
    for kind in ("TranscriptionEvent", "AfterTTSEvent", "TTSCancelledEvent", "DTMFDetectedEvent"):
        assert kinds[kind] > 0
