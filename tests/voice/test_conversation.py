from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from roomkit.voice.conversation import (
    BargedIn,
    CancelPlayback,
    CloseUtterance,
    Command,
    Conversation,
    DropAnswer,
    EndTurn,
    OpenUtterance,
    PausePlayback,
    Phase,
    ResumePlayback,
)
from roomkit.voice.turns import BargeIn, TurnDetector, Turns, TurnSoFar

HANGOVER_MS = 200  # the detector's
ONSET_MS = 60


@dataclass
class Script:
    """A conversation that is told things at given times; what it commanded, with when."""

    conversation: Conversation
    now: float = 0.0
    commands: list[tuple[float, Command]] = field(default_factory=list)

    def to(self, until: float) -> None:
        """Lets time pass as a driver does: by deadline."""
        for _ in range(1000):
            self.drain()
            due = self.conversation.deadline_ms()
            if due is None or due > until:
                break
            assert due >= self.now, "a deadline in the past"
            self.now = due
            self.conversation.tick(due)
        else:
            raise AssertionError("deadlines without end")
        self.now = until
        self.conversation.tick(until)
        self.drain()

    def drain(self) -> None:
        while (command := self.conversation.poll()) is not None:
            self.commands.append((self.now, command))

    def starts(self, at: float) -> None:
        self.to(at + ONSET_MS)
        self.conversation.speech_started(self.now, at)
        self.drain()

    def ends(self, at: float) -> None:
        self.to(at + HANGOVER_MS)
        self.conversation.speech_ended(self.now, at)
        self.drain()

    def speaks(self, at: float, until: float) -> None:
        self.starts(at)
        self.ends(until)

    def hears(self, at: float, utterance: int, text: str) -> None:
        self.to(at)
        self.conversation.recognised(at, utterance, text)
        self.drain()

    def partial(self, at: float, utterance: int, text: str) -> None:
        self.to(at)
        self.conversation.partial(at, utterance, text)
        self.drain()

    def plays(self, at: float, playback: int, interruptible: bool = True) -> None:
        self.to(at)
        self.conversation.playing(at, playback, interruptible=interruptible)
        self.drain()

    def played(self, at: float, playback: int) -> None:
        self.to(at)
        self.conversation.played(at, playback)
        self.drain()

    def answering(self, at: float, turn: int) -> None:
        self.to(at)
        self.conversation.answering(at, turn)
        self.drain()

    def answered(self, at: float, turn: int) -> None:
        self.to(at)
        self.conversation.answered(at, turn)
        self.drain()

    def of(self, *kinds: type) -> list[Command]:
        return [command for _, command in self.commands if isinstance(command, kinds)]

    def last(self) -> tuple[float, Command]:
        return self.commands[-1]

    def last_two(self) -> list[tuple[float, Command]]:
        return self.commands[-2:]

    def when(self, kind: type) -> float:
        return next(at for at, command in self.commands if isinstance(command, kind))

    def texts(self) -> list[str]:
        return [command.text for _, command in self.commands if isinstance(command, EndTurn)]

    def phase(self) -> Phase:
        return self.conversation.phase


def script(
    turns: Turns | None = None, barge_in: BargeIn | None = None, recognises: bool = True
) -> Script:
    return Script(Conversation(turns, barge_in, recognises=recognises))


def asked(**settings: object) -> Script:
    """Somebody has asked, and is being answered: turn 1, utterance 1, from 2000 ms on."""
    s = script(**settings)  # type: ignore[arg-type]
    s.speaks(0, 1000)
    if settings.get("recognises", True):
        s.hears(1400, 1, "what is the time")
    s.to(1700)
    s.answering(2000, 1)
    s.commands.clear()
    return s


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


# Barge-in


def test_he_interrupts_by_speaking_for_long_enough() -> None:
    s = asked()
    s.plays(2500, 1)
    assert s.phase() is Phase.SPEAKING
    s.starts(4000)
    assert s.last_two() == [
        (4060, OpenUtterance(2, 4000)),
        (4060, PausePlayback(1)),
    ]
    assert s.phase() is Phase.PAUSED
    s.to(4800)
    assert s.last_two() == [
        (4700, BargedIn(2, 1, 4000, "speech")),
        (4700, CancelPlayback(1)),
    ]
    assert s.phase() is Phase.LISTENING
    s.played(4800, 1)
    s.answered(4800, 1)
    s.ends(5000)
    s.hears(5500, 2, "no wait")
    s.to(9000)
    assert s.of(EndTurn) == [EndTurn(2, (2,), "no wait", 5000, 5600, "silence")]


def test_a_cough_resumes_at_once_where_nothing_is_recognised() -> None:
    s = asked(recognises=False)
    s.plays(2500, 1)
    s.speaks(4000, 4300)
    assert s.last() == (4500, ResumePlayback(1, "false_alarm"))
    s.played(9000, 1)
    s.answered(9000, 1)
    s.to(20_000)
    assert s.of(EndTurn, BargedIn) == []


def test_a_short_word_interrupts_by_its_text() -> None:
    s = asked()
    s.plays(2500, 1)
    s.speaks(4000, 4300)
    s.hears(4800, 2, "stop")
    assert s.of(BargedIn) == [BargedIn(2, 1, 4000, "words")]
    s.to(9000)
    assert s.texts() == ["stop"]


def test_a_back_channel_does_not_interrupt_and_is_no_turn() -> None:
    s = asked()
    s.plays(2500, 1)
    s.speaks(4000, 4400)
    s.hears(4900, 2, "Mm-hm.")
    assert s.last() == (4900, ResumePlayback(1, "back_channel"))
    s.played(9000, 1)
    s.answered(9000, 1)
    s.to(20_000)
    assert s.of(EndTurn, BargedIn) == []


def test_a_yes_to_the_end_of_a_question_is_the_reply() -> None:
    s = asked()
    s.plays(2500, 1)
    s.speaks(4000, 4300)  # a moment before the question was out
    s.hears(4800, 2, "Yes.")
    s.played(5000, 1)
    s.answered(5000, 1)
    assert s.of(EndTurn) == [EndTurn(2, (2,), "Yes.", 4300, 4900, "silence")]


def test_a_long_back_channel_in_partial_texts_does_not_interrupt() -> None:
    s = asked()
    s.plays(2500, 1)
    s.starts(4000)
    s.partial(4300, 2, "mmmm")
    s.to(5500)
    assert s.of(BargedIn) == []
    s.partial(5600, 2, "mmmm no")
    assert s.of(BargedIn) == [BargedIn(2, 1, 4000, "words")]


def test_noise_without_words_resumes_what_plays() -> None:
    s = script()
    s.speaks(0, 1000)
    s.partial(1100, 1, "hello")  # the recogniser gives partial texts
    s.hears(1200, 1, "hello")
    s.answering(1700, 1)
    s.plays(2500, 1)
    s.starts(4000)
    s.to(60_000)
    assert s.of(BargedIn) == []
    assert s.of(ResumePlayback) == [ResumePlayback(1, "silence")]
    assert s.when(ResumePlayback) == 4060 + 4000
    assert s.phase() is Phase.SPEAKING


def test_words_are_counted() -> None:
    s = asked(barge_in=BargeIn(mode="words", words=3))
    s.plays(2500, 1)
    s.starts(4000)
    s.partial(4500, 2, "wait a")
    assert s.of(BargedIn) == []
    s.partial(4800, 2, "wait a minute")
    assert s.of(BargedIn) == [BargedIn(2, 1, 4000, "words")]


def test_too_few_words_are_a_turn_after_the_answer() -> None:
    s = asked(barge_in=BargeIn(mode="words", words=3))
    s.plays(2500, 1)
    s.speaks(4000, 5000)
    s.hears(5500, 2, "not now")
    assert s.of(ResumePlayback) == [ResumePlayback(1, "false_alarm")]
    s.to(8000)
    assert s.of(EndTurn) == []
    s.played(9000, 1)
    s.answered(9000, 1)
    assert s.of(EndTurn) == [EndTurn(2, (2,), "not now", 5000, 5600, "silence")]


def test_words_without_a_recogniser_are_a_length_of_speech() -> None:
    s = asked(barge_in=BargeIn(mode="words", words=3), recognises=False)
    s.plays(2500, 1)
    s.starts(4000)
    s.to(5000)
    assert s.of(BargedIn) == [BargedIn(2, 1, 4000, "speech")]


def test_immediate_cancels_with_the_first_sound() -> None:
    s = asked(barge_in=BargeIn(mode="immediate"))
    s.plays(2500, 1)
    s.starts(4000)
    assert s.of(PausePlayback) == []
    assert s.last_two() == [
        (4060, BargedIn(2, 1, 4000, "immediate")),
        (4060, CancelPlayback(1)),
    ]


@pytest.mark.parametrize("mode", ["off", "confirmed"])
def test_what_may_not_be_interrupted_is_not_and_the_caller_is_heard_afterwards(mode: str) -> None:
    s = asked(barge_in=BargeIn(mode=mode))  # type: ignore[arg-type]
    s.plays(2500, 1, interruptible=mode == "off")
    s.speaks(4000, 6000)
    s.hears(6500, 2, "I know all that")
    assert s.of(PausePlayback, CancelPlayback, BargedIn, EndTurn) == []
    s.played(9000, 1)
    assert s.of(EndTurn) == []
    s.answered(9100, 1)
    assert s.of(EndTurn) == [EndTurn(2, (2,), "I know all that", 6000, 6600, "silence")]


def test_without_pausing_it_plays_on_until_he_has_interrupted() -> None:
    s = asked(barge_in=BargeIn(pause=False))
    s.plays(2500, 1)
    s.starts(4000)
    s.to(4650)
    assert s.of(PausePlayback) == []
    s.to(4700)
    assert s.of(BargedIn, CancelPlayback) == [BargedIn(2, 1, 4000, "speech"), CancelPlayback(1)]


def test_the_first_cough_of_a_call_is_no_interruption_whatever_the_hangover() -> None:
    s = script(recognises=False)
    s.plays(0, 1)
    s.speaks(1000, 1450)  # told at 1650: by the clock it lasted longer than 500 ms
    assert s.of(BargedIn) == []
    assert s.of(ResumePlayback) == [ResumePlayback(1, "false_alarm")]


# Between the question and the answer


def test_he_goes_on_before_anything_of_the_answer_is_heard() -> None:
    s = asked()
    assert s.phase() is Phase.THINKING
    s.starts(2200)
    s.plays(2300, 7)
    assert s.last() == (2300, PausePlayback(7))
    s.ends(2900)
    s.hears(3400, 2, "in Tokyo")
    assert s.of(DropAnswer, CancelPlayback, BargedIn) == [DropAnswer(1), CancelPlayback(7)]
    s.to(9000)
    assert s.of(EndTurn) == [EndTurn(2, (1, 2), "what is the time in Tokyo", 2900, 3500, "silence")]


def test_a_cough_before_the_answer_only_delays_it() -> None:
    s = asked()
    s.starts(2200)
    s.plays(2300, 7)
    s.ends(2400)
    s.hears(2900, 2, "")
    assert s.last() == (2900, ResumePlayback(7, "false_alarm"))
    s.played(5000, 7)
    s.answered(5000, 1)
    s.to(9000)
    assert s.of(DropAnswer, EndTurn) == []


def test_an_answer_waits_for_the_text_of_what_was_just_said() -> None:
    s = asked()
    s.speaks(2200, 2500)
    s.plays(2750, 7)
    assert s.last() == (2750, PausePlayback(7))
    s.to(9000)
    assert s.of(ResumePlayback) == [ResumePlayback(7, "silence")]


def test_a_greeting_waits_until_the_caller_has_finished() -> None:
    s = script()
    s.starts(0)
    s.plays(200, 1)
    s.ends(1000)
    s.hears(1400, 1, "hello?")
    assert s.of(PausePlayback) == [PausePlayback(1)]
    s.to(1599)
    assert s.of(ResumePlayback) == []
    s.to(1600)
    assert s.of(ResumePlayback) == [ResumePlayback(1, "silence")]
    s.played(5000, 1)
    assert s.of(EndTurn) == [EndTurn(1, (1,), "hello?", 1000, 1600, "silence")]


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
