"""Any history of a call: what callers and programs do at random, seeded, over the whole stack on
virtual time. Keys are told once and in order whatever is cancelled, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from roomkit import Call
from roomkit._calls.keys import KEYS
from roomkit.errors import CallEnded, SynthesisError
from roomkit.testing import FakeTTS, conversation, run

HISTORIES = 100

STEPS: dict[str, Callable[[Call, random.Random], Awaitable[Any]]] = {
    "say": lambda call, dice: call.say("one two three", stop_on=dice.choice([(), "key", "voice"])),
    "play": lambda call, dice: call.play(bytes(16_000), stop_on=dice.choice([(), "key"])),
    "key": lambda call, dice: call.key(dice.uniform(0, 2), prompt=dice.choice([None, "which"])),
    "collect": lambda call, dice: call.collect(
        dice.choice([1, 3, None]),
        terminator=None,
        first_timeout=dice.uniform(0, 2),
        between_timeout=dice.uniform(0, 1),
        prompt=dice.choice([None, "number please"]),
        masked=dice.random() < 0.3,
    ),
    "ask": lambda call, dice: call.ask("well", timeout=dice.uniform(0, 2), terminator=None),
    "utterance": lambda call, dice: call.utterance(dice.uniform(0, 2)),
    "record": lambda call, dice: call.record(max_seconds=dice.uniform(0.1, 2), stop_on=None),
    "event": lambda call, dice: anext(call),
    "pause": lambda call, dice: asyncio.sleep(0, call.pause()),
    "resume": lambda call, dice: asyncio.sleep(0, call.resume()),
}


async def program(call: Call, dice: random.Random, taken: list[str]) -> None:
    """One thing after another, some of them cut off, some two at a time."""
    while not call.over:
        task = asyncio.create_task(attempt(call, dice, taken))
        if dice.random() < 0.4:
            await asyncio.wait([task], timeout=dice.choice([0, 0.001, dice.uniform(0, 1)]))
            if not task.done():
                task.cancel()
        await asyncio.wait([task])
        call.resume()
        if not task.cancelled():
            with contextlib.suppress(SynthesisError):  # of a voice that fails
                task.result()


async def attempt(call: Call, dice: random.Random, taken: list[str]) -> None:
    name = dice.choice(list(STEPS))
    got = await STEPS[name](call, dice)
    # What was taken is noted in the same step in which it was: nothing can come between.
    if name == "key":
        taken.append(got or "")
    elif name in ("collect", "ask"):
        taken.append(got.digits)


async def caller(talk: Any, dice: random.Random, pressed: list[str]) -> None:
    """Presses, talks and hangs up as it comes."""
    for _ in range(dice.randint(0, 12)):
        match dice.randrange(4):
            case 0:
                keys = "".join(dice.choice(KEYS) for _ in range(dice.randint(1, 6)))
                pressed.append(keys)
                await talk.caller.presses(keys, dice.choice([40, 100]), dice.choice([40, 300]))
            case 1:
                await talk.caller.says("yes please", per_word_ms=200)
            case _:
                await talk.caller.waits(dice.uniform(0, 2))
    await talk.caller.waits(0.3)  # the last key has arrived
    await talk.caller.hangs_up()


async def history(seed: int) -> str:
    dice = random.Random(seed)
    taken: list[str] = []
    pressed: list[str] = []
    left: list[str] = []

    async def app(call: Call) -> None:
        try:
            await program(call, random.Random(seed + 1_000_000), taken)
        finally:
            left.append(call._ears.keys.take(len(call._ears.keys)))
            assert not call._claims._claims

    tts = FakeTTS(
        speed=dice.choice([None, 1.5]),
        fail_after=dice.choice([None, None, None, 3]),
        close_ms=dice.choice([0, 50]),
    )
    async with conversation(app, tts=tts, seed=seed, barge_in=dice.random() < 0.5) as talk:
        await caller(talk, dice, pressed)
        await talk.caller.waits(10)
        log = talk.log()
    assert "".join(taken) + left[0] == "".join(pressed)
    return log


@pytest.mark.slow
def test_any_history_loses_no_key_and_leaves_nothing() -> None:
    for seed in range(HISTORIES):
        try:
            run(history(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def test_a_history_is_the_same_each_time() -> None:
    for seed in range(3):
        assert run(history(seed)) == run(history(seed))


def test_after_the_end_there_is_only_the_end() -> None:
    async def one() -> None:
        ended: list[str] = []

        async def app(call: Call) -> None:
            for name, step in STEPS.items():
                if name in ("pause", "resume"):
                    assert await step(call, random.Random(1)) in (True, False)
                    continue
                try:
                    while True:
                        await step(call, random.Random(1))
                except CallEnded as error:
                    ended.append(error.reason)
                except StopAsyncIteration:
                    ended.append("no more")

        async with conversation(app) as talk:
            await talk.caller.hangs_up()
            await talk.caller.waits(3)
        assert ended == ["bye"] * 7 + ["no more"]

    run(one())
