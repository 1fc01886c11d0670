from __future__ import annotations

import pytest

from roomkit.voice.conversation import (
    BargedIn,
    CancelPlayback,
    DropAnswer,
    EndTurn,
    OpenUtterance,
    PausePlayback,
    Phase,
    ResumePlayback,
)
from roomkit.voice.turns import BargeIn, TurnDetector, Turns, TurnSoFar
from support.conversing import asked, script

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


def test_what_he_said_before_a_prompt_is_answered_after_it_even_if_the_text_is_late() -> None:
    s = script()
    s.starts(0)
    s.plays(200, 1)
    s.ends(1000)
    s.to(1590)
    assert s.of(ResumePlayback) == []
    s.hears(2500, 1, "hello?")
    assert s.of(ResumePlayback) == [ResumePlayback(1, "silence")]
    assert s.when(ResumePlayback) == 1600
    s.played(5000, 1)
    assert s.texts() == ["hello?"]


def test_a_long_monologue_over_the_answer_is_one_interruption() -> None:
    s = asked()
    s.plays(2500, 1)
    s.starts(4000)
    for n in range(40):
        s.partial(4500 + n * 500, 2, "and another thing " * (n + 1))
    s.ends(25_000)
    s.hears(25_500, 2, "and another thing")
    assert s.of(BargedIn) == [BargedIn(2, 1, 4000, "words")]
    assert s.of(CancelPlayback) == [CancelPlayback(1)]


def test_words_that_come_after_it_was_resumed_interrupt_still() -> None:
    s = asked()
    s.plays(2500, 1)
    s.speaks(4000, 4300)
    s.to(6200)
    assert s.of(ResumePlayback) == [ResumePlayback(1, "silence")]
    assert s.when(ResumePlayback) == 4600 + 1500  # the utterance was closed at 4600
    s.hears(6500, 2, "please stop")
    assert s.of(BargedIn) == [BargedIn(2, 1, 4000, "words")]


def test_all_that_may_be_interrupted_is_cancelled_and_nothing_else() -> None:
    s = asked()
    s.plays(2500, 1, interruptible=False)
    s.plays(2600, 2)
    s.plays(2700, 3)
    s.starts(4000)
    s.to(5000)
    assert s.of(PausePlayback) == [PausePlayback(2), PausePlayback(3)]
    assert s.of(BargedIn) == [BargedIn(2, 3, 4000, "speech")]
    assert s.of(CancelPlayback) == [CancelPlayback(2), CancelPlayback(3)]
    assert s.phase() is Phase.SPEAKING


def test_a_playback_that_ends_while_it_is_paused_is_no_longer_held() -> None:
    s = asked()
    s.plays(2500, 1)
    s.starts(4000)
    s.played(4100, 1)
    s.answered(4100, 1)
    s.ends(4800)
    s.hears(5200, 2, "yes")
    s.to(9000)
    assert s.of(ResumePlayback, CancelPlayback) == []
    assert s.texts() == ["yes"], "what played is over: this is the reply"


def test_two_back_channels_and_then_words_are_one_turn() -> None:
    s = asked()
    s.plays(2500, 1)
    s.speaks(4000, 4300)
    s.hears(4700, 2, "yeah")
    s.speaks(5000, 5900)
    s.hears(6300, 3, "but not on Monday")
    s.to(9000)
    assert s.texts() == ["yeah but not on Monday"]


def test_an_answer_that_was_dropped_takes_the_word_no_more() -> None:
    s = asked()
    s.speaks(2200, 2900)
    s.hears(3100, 2, "in Tokyo")
    assert s.of(DropAnswer) == [DropAnswer(1)]
    s.answered(3150, 1)
    s.to(9000)
    assert s.texts() == ["what is the time in Tokyo"]
    s.answering(9000, 2)
    s.plays(9100, 4)
    assert s.phase() is Phase.SPEAKING


def test_he_goes_on_before_anybody_has_begun_to_answer() -> None:
    s = script()
    s.speaks(0, 1000)
    s.hears(1400, 1, "what is the time")
    s.starts(1800)
    s.partial(2000, 2, "in")
    assert s.of(DropAnswer) == []
    s.answering(2100, 1)
    assert s.of(DropAnswer) == [DropAnswer(1)]
    s.ends(2500)
    s.hears(2900, 2, "in Tokyo")
    s.to(9000)
    assert s.texts() == ["what is the time", "what is the time in Tokyo"]


def test_without_a_recogniser_speech_goes_on_with_the_turn() -> None:
    s = asked(recognises=False)
    s.speaks(2200, 3500)
    assert s.of(DropAnswer) == [DropAnswer(1)]
    s.to(9000)
    assert s.of(EndTurn) == [EndTurn(2, (1, 2), "", 3500, 4100, "silence")]


def test_an_answer_waits_for_an_overdue_text_no_longer_than_what_plays_does() -> None:
    s = asked()
    s.speaks(2200, 2500)
    s.plays(2900, 7)  # its utterance is closed, its text is not there
    s.to(9000)
    assert s.of(ResumePlayback) == [ResumePlayback(7, "silence")]
    assert s.when(ResumePlayback) == 2900 + 1500


def test_an_answer_does_not_begin_while_it_is_open_whether_he_went_on() -> None:
    s = asked()
    s.starts(2200)
    s.plays(2300, 7)
    s.ends(2900)
    s.to(3900)  # the turn was decided at 3500
    assert s.of(ResumePlayback) == []
    s.hears(4000, 2, "in Tokyo")
    assert s.of(DropAnswer, CancelPlayback) == [DropAnswer(1), CancelPlayback(7)]


def test_music_that_was_given_up_holds_nothing_back_any_longer() -> None:
    s = asked()
    s.conversation.partial(2000, 1, "")
    s.plays(2500, 1)
    s.starts(4000)
    s.partial(4100, 2, "mm")  # no more than that comes of it
    s.to(8100)
    assert s.of(ResumePlayback) == [ResumePlayback(1, "silence")]
    s.played(9000, 1)
    s.plays(9100, 2)
    s.played(20_000, 2)
    s.plays(45_000, 3)  # the watchdog has opened another utterance by now
    s.to(50_000)
    assert s.of(PausePlayback) == [PausePlayback(1)]
    assert s.of(BargedIn) == []


def test_he_interrupts_what_began_while_he_spoke_where_nothing_is_held_back() -> None:
    s = script(barge_in=BargeIn(pause=False))
    s.starts(0)
    s.plays(2000, 1)
    s.to(2499)
    assert s.of(BargedIn) == []
    s.to(2500)
    assert s.of(BargedIn) == [BargedIn(1, 1, 0, "speech")]


def test_a_back_channel_before_the_answer_is_no_turn() -> None:
    s = script()
    s.speaks(0, 1000)
    s.hears(1400, 1, "what is the time")
    s.starts(1700)  # before anybody has begun to answer
    s.answering(1800, 1)
    s.ends(2000)
    s.hears(2500, 2, "mm-hm")
    s.plays(2600, 1)
    s.played(9000, 1)
    s.answered(9000, 1)
    s.to(20_000)
    assert s.texts() == ["what is the time"]
    assert s.of(DropAnswer, BargedIn) == []


def test_nothing_is_resumed_while_he_speaks_again() -> None:
    s = asked()
    s.plays(2500, 1)
    s.speaks(4000, 4300)
    s.starts(5000)  # the text of the first was waited for until 6100
    s.partial(5200, 3, "mm")
    s.to(8000)
    assert s.of(ResumePlayback) == []


def test_the_pauses_of_a_turn_that_was_cut_off_are_kept() -> None:
    class Watching(TurnDetector):
        def silence_ms(self, turn: TurnSoFar) -> float:
            seen.append(turn)
            return 400

    seen: list[TurnSoFar] = []
    s = script(Turns(detector=Watching()))
    s.speaks(0, 500)
    s.speaks(850, 1500)
    s.hears(1600, 1, "what is")
    s.hears(1850, 2, "the time")
    s.to(1900)
    s.answering(1900, 1)
    s.speaks(2300, 2900)
    s.hears(3250, 3, "in Tokyo")
    assert seen[-1] == TurnSoFar("what is the time in Tokyo", True, 1750, (350,), 3, (350, 800))
