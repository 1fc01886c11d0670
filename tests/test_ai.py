"""AIChannel: the conversation that a model gets to see."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from roomkit.ai import AIChannel, AIProvider, Turn
from roomkit.voice.base import VoiceSession


class Counting(AIProvider):
    """Answers with the number of turns it was shown, in two pieces."""

    def __init__(self) -> None:
        self.shown: list[Sequence[Turn]] = []
        self.closed = 0

    async def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        self.shown.append(turns)
        try:
            yield "turns: "
            yield str(len(turns))
        finally:
            self.closed += 1


def session(name: str = "a") -> VoiceSession:
    return VoiceSession(name, "room", "ann", "phone")


async def ask(channel: AIChannel, who: VoiceSession, text: str) -> str:
    return "".join([piece async for piece in channel.reply(who, text)])


async def test_each_call_has_a_conversation_of_its_own() -> None:
    channel = AIChannel("model", provider=Counting())
    a, b = session("a"), session("b")
    assert [await ask(channel, who, "x") for who in (a, a, b)] == [
        "turns: 1",
        "turns: 3",
        "turns: 1",
    ]
    assert channel.turns(b) == [Turn("user", "x"), Turn("assistant", "turns: 1")]
    channel.session_ended(a)
    assert channel.turns(a) == []


async def test_the_oldest_turns_are_forgotten() -> None:
    provider = Counting()
    channel = AIChannel("model", provider=provider, history=3)
    for text in "123":
        await ask(channel, session(), text)
    assert [turn.text for turn in provider.shown[-1]] == ["2", "turns: 3", "3"]


async def test_an_answer_cut_short_is_remembered_as_far_as_it_was_given() -> None:
    provider = Counting()
    channel = AIChannel("model", provider=provider)
    async with aclosing(channel.reply(session(), "hello")) as pieces:
        await anext(pieces)
    assert channel.turns(session())[-1] == Turn("assistant", "turns: ")
    assert provider.closed == 1


def test_what_people_say_is_not_in_reprs() -> None:
    assert "secret" not in repr(Turn("user", "secret"))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"provider": "gpt"}, TypeError),
        ({"history": 0}, ValueError),
        ({"history": 1001}, ValueError),
    ],
)
def test_options_that_do_not_fit_are_named(wrong: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match=next(iter(wrong))):
        AIChannel("model", **{"provider": Counting(), **wrong})
