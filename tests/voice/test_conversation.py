from __future__ import annotations

import pytest

from roomkit.voice.conversation import (
    CloseUtterance,
    Conversation,
    EndTurn,
    OpenUtterance,
    Phase,
)
from roomkit.voice.turns import BargeIn, TurnDetector, Turns, TurnSoFar
from support.conversing import script

# Turns


def test_an_utterance_becomes_a_turn_when_the_caller_is_quiet() -> None:
    s = script()
    s.speaks(100, 1000)
    s.to(1300)
    assert s.of(CloseUtterance) == [CloseUtterance(1, 1000, "silence")]
    s.hears(1400, 1, " hello there ")
    assert s.of(EndTurn) == []
    s.to(5000)
    assert s.of(OpenUtterance, EndTurn) == [
        OpenUtterance(1, 100),
        EndTurn(1, (1,), "hello there", 1000, 1600, "silence"),
    ]
    assert s.when(EndTurn) == 1600
    assert s.phase() is Phase.LISTENING
    assert s.conversation.deadline_ms() is None


def test_a_slow_recogniser_is_waited_for_and_the_decision_keeps_its_time() -> None:
    s = script()
    s.speaks(0, 1000)
    s.hears(3000, 1, "hello")
    assert s.of(EndTurn) == [EndTurn(1, (1,), "hello", 1000, 1600, "silence")]
    assert s.when(EndTurn) == 3000


def test_what_comes_after_a_pause_belongs_to_the_turn() -> None:
    s = script()
    s.speaks(0, 1000)
    s.speaks(1450, 2000)
    s.hears(2100, 1, "I would like")
    s.hears(2500, 2, "a table for two")
    s.to(9000)
    assert s.of(EndTurn) == [
        EndTurn(1, (1, 2), "I would like a table for two", 2000, 2600, "silence")
    ]


def test_a_gap_between_words_does_not_cut_an_utterance() -> None:
    s = script()
    s.speaks(0, 1000)
    s.speaks(1230, 2000)  # told at 1290: before the 300 ms that end an utterance
    s.to(9000)
    assert s.of(OpenUtterance, CloseUtterance) == [
        OpenUtterance(1, 0),
        CloseUtterance(1, 2000, "silence"),
    ]


def test_he_speaks_on_while_the_recogniser_works() -> None:
    s = script()
    s.speaks(0, 1000)
    s.starts(2000)  # decided at 1600, but not told: the text was not there
    s.hears(2100, 1, "one")
    s.ends(3000)
    s.hears(3400, 2, "two")
    s.to(9000)
    assert s.texts() == ["one two"]


def test_a_cough_is_no_turn() -> None:
    s = script()
    s.speaks(0, 200)
    s.hears(600, 1, "")
    s.to(9000)
    assert s.of(EndTurn) == []


def test_without_a_recogniser_the_turn_has_no_text() -> None:
    s = script(recognises=False)
    s.speaks(0, 1000)
    s.to(9000)
    assert s.of(EndTurn) == [EndTurn(1, (1,), "", 1000, 1600, "silence")]


def test_a_recogniser_that_never_answers_holds_nothing_up_and_its_late_text_counts() -> None:
    s = script()
    s.speaks(0, 1000)
    s.to(6400)
    assert s.of(EndTurn) == []
    s.hears(7000, 1, "better late")
    assert s.of(EndTurn) == [EndTurn(1, (1,), "better late", 1000, 7000, "silence")]
    s.hears(7100, 1, "twice")
    s.to(20_000)
    assert len(s.of(EndTurn)) == 1


def test_the_watchdog_ends_music_and_opens_again() -> None:
    s = script()
    s.starts(0)
    s.hears(31_500, 1, "la la")
    assert s.of(EndTurn) == [EndTurn(1, (1,), "la la", 30_000, 30_000, "watchdog")]
    s.to(61_000)
    assert s.of(OpenUtterance, CloseUtterance) == [
        OpenUtterance(1, 0),
        CloseUtterance(1, 30_000, "watchdog"),
        OpenUtterance(2, 30_000),
        CloseUtterance(2, 60_000, "watchdog"),
        OpenUtterance(3, 60_000),
    ]
    assert len(s.of(EndTurn)) == 1


def test_short_pauses_for_ever_are_ended_by_the_watchdog_too() -> None:
    s = script()
    for n in range(40):
        s.speaks(n * 1000, n * 1000 + 600)
        s.hears(n * 1000 + 950, n + 1, f"w{n}")
    ended = s.of(EndTurn)
    assert isinstance(ended[0], EndTurn)
    assert ended[0].reason == "watchdog"
    assert 29_000 < ended[0].decided_ms <= 30_000


def test_the_pauses_of_the_caller_are_learnt() -> None:
    slow = script()
    at = 0.0
    for n in range(4):
        slow.speaks(at, at + 800)
        slow.hears(at + 1200, n + 1, "and")
        at += 800 + 500
    slow.speaks(at, at + 800)
    slow.hears(at + 1200, 5, "done")
    slow.to(at + 9000)
    (turn,) = slow.of(EndTurn)
    assert isinstance(turn, EndTurn)
    assert turn.decided_ms - turn.speech_ended_ms == 500 * 1.25 + 50
    quick = script()
    at = 0.0
    for _ in range(4):
        quick.speaks(at, at + 800)
        at += 800 + 150
    quick.hears(at + 160, 1, "quick")
    (turn,) = quick.of(EndTurn)
    assert isinstance(turn, EndTurn)
    assert turn.decided_ms - turn.speech_ended_ms == 300


def test_a_detector_is_asked_when_speech_ends_and_when_a_text_comes() -> None:
    seen: list[TurnSoFar] = []

    class Unfinished(TurnDetector):
        def silence_ms(self, turn: TurnSoFar) -> float:
            seen.append(turn)
            return 1200 if turn.text.endswith(" to") else 100

    s = script(Turns(detector=Unfinished()))
    s.speaks(0, 1000)
    s.hears(1290, 1, "I want to go to")
    s.speaks(2000, 2500)
    s.hears(2900, 2, "Rome")
    s.to(9000)
    assert s.of(EndTurn) == [EndTurn(1, (1, 2), "I want to go to Rome", 2500, 2900, "silence")]
    assert seen[0] == TurnSoFar("", False, 1000, (), 1, ())
    assert seen[-1] == TurnSoFar("I want to go to Rome", True, 1500, (1000,), 2, (1000,))


@pytest.mark.parametrize("answer", [float("nan"), "x", None, RuntimeError("boom")])
def test_a_detector_that_fails_is_replaced_by_the_built_in_rule(answer: object) -> None:
    class Broken(TurnDetector):
        def silence_ms(self, turn: TurnSoFar) -> float:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]

    s = script(Turns(detector=Broken()))
    s.speaks(0, 1000)
    s.hears(1400, 1, "hello")
    s.to(1700)
    assert s.when(EndTurn) == 1600
    assert "detector_failed" in {entry.what for entry in s.conversation.trace}


# Hold, keys, the end


def test_on_hold_all_timers_stop() -> None:
    s = script()
    s.speaks(0, 1000)
    s.conversation.hold(1250, True)
    assert s.conversation.deadline_ms() is None
    s.to(100_000)
    assert s.of(CloseUtterance) == []
    s.conversation.hold(101_250, False)
    assert s.conversation.deadline_ms() == 101_300
    s.to(102_000)
    assert s.when(CloseUtterance) == 101_300


def test_the_end_closes_what_is_open_and_commands_nothing_more() -> None:
    s = script()
    s.plays(0, 1)
    s.starts(1000)
    s.to(1500)
    s.conversation.finish(1500)
    s.drain()
    assert s.last() == (1500, CloseUtterance(1, 1500, "finished"))
    count = len(s.commands)
    s.conversation.speech_ended(1600, 1550)
    s.conversation.speech_started(1700, 1650)
    s.conversation.recognised(1800, 1, "hello")
    s.conversation.playing(1900, 2)
    s.conversation.finish(1900)
    s.to(90_000)
    assert len(s.commands) == count
    assert s.phase() is Phase.LISTENING


def test_the_trace_is_bounded_and_tells_nothing_of_what_was_said() -> None:
    s = script()
    for n in range(500):
        s.speaks(n * 3000, n * 3000 + 1000)
        s.hears(n * 3000 + 1400, n + 1, "secret")
        s.conversation.key(n * 3000 + 1500)
    assert len(s.conversation.trace) == 512
    assert "secret" not in repr(s.conversation.trace)
    assert "secret" not in repr(s.of(EndTurn)[0])


def test_what_does_not_fit_changes_nothing() -> None:
    s = script()
    c = s.conversation
    c.speech_ended(10, 5)
    c.recognised(20, 9, "x")
    c.partial(20, 9, "x")
    c.played(30, 4)
    c.answering(30, 4)
    c.answered(30, 4)
    assert c.poll() is None
    assert {entry.what for entry in c.trace} == {"stray"}
    with pytest.raises(TypeError, match="text: None; a str fits"):
        c.recognised(40, 1, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="turns: 3; a Turns or None fits"):
        Conversation(3)  # type: ignore[arg-type]


def test_a_pause_at_which_he_was_cut_off_is_learnt_but_not_a_reply() -> None:
    class Watching(TurnDetector):
        def silence_ms(self, turn: TurnSoFar) -> float:
            seen.append(turn.past_pauses_ms)
            return 300

    seen: list[tuple[float, ...]] = []
    s = script(Turns(detector=Watching()))
    s.speaks(0, 1000)
    s.hears(1250, 1, "I would like")
    s.plays(1600, 1)
    s.speaks(1900, 2500)  # 300 ms into the answer: he was not finished
    assert seen[-1:] == [(900,)]
    s = script(Turns(detector=Watching()))
    s.speaks(0, 1000)
    s.hears(1250, 1, "I would like")
    s.plays(1350, 1)
    s.speaks(1900, 2500)
    assert seen[-1:] == [()]


def test_time_that_goes_back_or_is_none_stands_still() -> None:
    s = script()
    c = s.conversation
    s.starts(5000)
    c.speech_ended(4000, 99_999)  # neither date can be
    c.tick(float("nan"))
    c.tick(-1.0)
    s.to(5360)
    assert s.of(CloseUtterance) == [CloseUtterance(1, 5060, "silence")]
    c.speech_started(6000, -1e9)
    s.drain()
    opened = s.of(OpenUtterance)[-1]
    assert isinstance(opened, OpenUtterance)
    assert 5060 <= opened.at_ms <= 6000


def test_of_many_turns_that_wait_for_the_end_of_what_plays_none_is_lost() -> None:
    s = script(Turns(longest_ms=1000), BargeIn(mode="off"))
    s.plays(0, 1)
    s.starts(100)
    for n in range(200):
        s.hears(1050 + 1000 * n, n + 1, f"w{n}")
    s.ends(201_000)
    s.hears(201_400, 201, "end")
    s.to(203_000)
    assert s.texts() == []
    s.played(203_000, 1)
    assert " ".join(s.texts()).split() == [f"w{n}" for n in range(200)] + ["end"]
