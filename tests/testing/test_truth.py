"""What the framework believes that a caller heard, against what came out of his phone."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from roomkit import HookTrigger
from roomkit.testing import FakeTTS, NetworkPath, conversation, run

ANSWER = (
    "There is a table for two by the window, and another one in the garden. Both are free from"
    " seven to nine. Which of them would you like to have? Please say window or garden now."
)


@dataclass(frozen=True)
class Interruption:
    """What was believed and what was true."""

    said: list[str]
    estimate: list[str]
    certain: list[str]
    possible: list[str]
    heard: list[str]
    """Whole words that came out of his phone."""
    begun: bool
    """And a part of another one."""


async def interrupted(seed: int) -> Interruption:
    rng = random.Random(seed)
    path = NetworkPath(
        delay_ms=rng.uniform(0, 200), buffer_ms=rng.choice([0, 20, 60, 100]), unsure_ms=20.0
    )
    tts = FakeTTS(per_word_ms=rng.choice([160, 300, 450]), chunk_ms=rng.choice([20, 100, 1000]))
    model = {"table": ANSWER, "other": "Very well."}
    async with conversation(model=model, tts=tts, path=path, seed=seed, barge_in=True) as talk:
        await talk.caller.says("a table please")
        await talk.expect_heard("There")
        await talk.waits(rng.uniform(0, 0.9 * tts.per_word_ms / 1000 * len(ANSWER.split())))
        await talk.caller.says("other")
        event = await talk.expect_event(HookTrigger.ON_TTS_CANCELLED)
        await talk.expect_heard("Very well.")
        words = [word.text for word in talk.caller.heard.words][:-2]
    heard = event.heard
    assert heard is not None
    said = " ".join(event.text.split())
    assert said == event.text
    return Interruption(
        said.split(),
        heard.text.split(),
        said[: heard.certain_to].split(),
        said[: heard.possible_to].split(),
        [word for word in words if word != "…"],
        "…" in words,
    )


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_what_was_heard_lies_within_its_bounds_and_no_word_is_wrong(first: int) -> None:
    wrong = 0
    for seed in range(first, first + 15):
        it = run(interrupted(seed))
        count = len(it.heard)
        assert it.said[:count] == it.heard, seed
        # Whole words he has heard for certain, and words that he may have heard in part.
        assert len(it.certain) <= count, seed
        assert count + it.begun <= len(it.possible), seed
        assert it.said[: len(it.estimate)] == it.estimate
        # Half of a word counts, and half of one may have been heard.
        wrong += not count <= len(it.estimate) <= count + it.begun
    assert wrong == 0
