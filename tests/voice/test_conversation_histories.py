"""Any history of a conversation ends well, and is twice the same.

`ROOMKIT_SOAK=1` runs all 10 000 of them; otherwise a tenth.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter

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

HISTORIES = 10_000 if os.environ.get("ROOMKIT_SOAK") else 1000
STEPS = 200

TEXTS = ["", "", "mm-hm", "yes", "stop", "I would like a table", "no wait", "  ", "嗯", "okay so"]


class Moody(TurnDetector):
    """Answers what it likes, also what it may not."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def silence_ms(self, turn: TurnSoFar) -> float:
        mood = self.dice.random()
        if mood < 0.1:
            raise RuntimeError("not today")
        return math.nan if mood < 0.2 else self.dice.uniform(-100, 5000)


class History:
    """One conversation with everything around it behaving at random, then well."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.recognises = dice.random() < 0.7
        self.barge_in = BargeIn(
            mode=dice.choice(["immediate", "confirmed", "confirmed", "words", "off"]),
            after_ms=dice.choice([0, 200, 500]),
            words=dice.choice([1, 1, 3]),
            pause=dice.random() < 0.8,
            resume_after_ms=dice.choice([0, 500, 1500]),
            longest_pause_ms=dice.choice([0, 1000, 4000]),
            back_channels=dice.choice([None, None, frozenset(), frozenset(["stop"])]),
        )
        self.conversation = Conversation(
            Turns(
                silence_ms=dice.choice([300, 600, 1500]),
                adaptive=dice.random() < 0.7,
                longest_ms=dice.choice([1000, 5000, 30_000]),
                text_within_ms=dice.choice([0, 500, 5000]),
                detector=Moody(dice) if dice.random() < 0.2 else None,
            ),
            self.barge_in,
            recognises=self.recognises,
        )
        self.ticked = dice.random() < 0.5  # always in time
        self.now = 0.0
        self.log: list[tuple[float, Command]] = []
        self.speaking = False
        self.finished = False
        self.held = False
        self.opened: dict[int, bool] = {}  # closed?
        self.unrecognised: list[int] = []
        self.most_unrecognised = 0
        self.said: dict[int, str] = {}
        self.playing: dict[int, bool] = {}  # paused?
        self.paused_since: dict[int, float] = {}
        self.held_since = 0.0
        self.fixed: set[int] = set()  # those that may not be interrupted
        self.playback = 0
        # Told in this step, so after what was due before it.
        self.fresh: set[int] = set()
        self.gone: dict[int, bool] = {}
        self.gone_answer = 0
        self.late = False  # it was due before speech began
        self.turns: dict[int, EndTurn] = {}
        self.answers: list[int] = []
        self.unasked: list[int] = []
        self.dropped: set[int] = set()

    def run(self) -> History:
        for _ in range(self.dice.randrange(5, STEPS)):
            self.step()
        if not self.finished:
            self.end_well()
        return self

    def step(self) -> None:
        dice, c = self.dice, self.conversation
        if dice.random() < 0.7:
            self.pass_time(dice.choice([0, 10, 100, 400, 1000, 3000]) * dice.random())
        if dice.random() < 0.02:
            if self.ticked:
                self.pass_time(40_000)
            self.now += 0 if self.ticked else 40_000
        now = self.now
        self.fresh, self.gone, self.late = set(), {}, False
        told = now if dice.random() < 0.98 else now - dice.choice([1, 500, 1e6])
        match dice.randrange(13):
            case 0 | 1 | 2:
                at = now - dice.choice([0, 30, 60, 200]) if dice.random() < 0.98 else math.nan
                if self.speaking != (dice.random() < 0.03):
                    c.speech_ended(told, at)
                    self.speaking = False
                else:
                    c.speech_started(told, at)
                    self.speaking = self.late = True
            case 3 if self.unrecognised:
                c.partial(told, dice.choice(self.unrecognised), dice.choice(TEXTS))
            case 4 | 5 if self.unrecognised:
                self.recognise(dice.randrange(len(self.unrecognised)), told)
            case 6:
                self.playback += 1
                self.playing[self.playback] = False
                self.fresh = {self.playback}
                interruptible = dice.random() < 0.8
                if not interruptible:
                    self.fixed.add(self.playback)
                c.playing(told, self.playback, interruptible=interruptible)
            case 7 if self.playing:
                number = dice.choice(list(self.playing))
                self.gone = {number: self.playing.pop(number)}
                c.played(told, number)
            case 8 if self.unasked:
                turn = self.unasked.pop(dice.randrange(len(self.unasked)))
                self.answers.append(turn)
                c.answering(told, turn)
            case 9 if self.answers:
                self.gone_answer = self.answers.pop(dice.randrange(len(self.answers)))
                c.answered(told, self.gone_answer)
            case 10:
                if dice.random() < 0.2:
                    self.held = not self.held
                    c.hold(told, self.held)
                    # On hold no pause grows older: it is not measured.
                    self.paused_since.clear()
                else:
                    c.key(told)
            case 11:
                self.stray(told)
            case 12 if dice.random() < 0.02:
                c.finish(told)
                self.finished = True
            case _:
                c.tick(told)
        self.drain()

    def recognise(self, index: int, told: float) -> None:
        utterance = self.unrecognised.pop(index)
        text = self.dice.choice(TEXTS)
        if text.strip():
            text = f"{text} "  # joined texts can be told apart
            self.said[utterance] = text.strip()
        self.conversation.recognised(told, utterance, text)

    def stray(self, told: float) -> None:
        c, number = self.conversation, self.dice.choice([0, -1, 10**6])
        match self.dice.randrange(5):
            case 0:
                c.recognised(told, number, "x")
            case 1:
                c.partial(told, number, "x")
            case 2:
                c.played(told, number)
            case 3:
                c.answering(told, number)
            case _:
                c.answered(told, number)

    def pass_time(self, span: float) -> None:
        until = self.now + span
        for _ in range(2000):
            due = self.conversation.deadline_ms()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.conversation.tick(self.now)
            after = self.conversation.deadline_ms()
            assert after is None or after > due or after > self.now, "a deadline that stays"
            self.drain()
        else:
            raise AssertionError("deadlines without end")
        self.now = until

    def drain(self) -> None:
        while (command := self.conversation.poll()) is not None:
            self.log.append((self.now, command))
            self.check(command)

    def check(self, command: Command) -> None:
        match command:
            case OpenUtterance(number):
                assert number == len(self.opened) + 1
                assert all(self.opened.values()), "one is open at a time"
                self.opened[number] = False
                if self.recognises:
                    self.unrecognised.append(number)
                    self.most_unrecognised = max(self.most_unrecognised, len(self.unrecognised))
            case CloseUtterance(number):
                assert self.opened[number] is False
                self.opened[number] = True
            case PausePlayback(number):
                playing = self.of(number)
                assert playing[number] is False
                assert number not in self.fixed
                playing[number] = True
                assert self.barge_in.pauses
                if not self.held:
                    self.paused_since[number] = self.now
            case ResumePlayback(number):
                playing = self.of(number)
                assert playing[number] is True
                playing[number] = False
                self.check_pause(number)
            case BargedIn(utterance, number):
                assert utterance in self.opened
                assert number in self.of(number)
                assert self.barge_in.mode != "off"
                assert command.confirmed_by != "immediate" or self.barge_in.mode == "immediate"
            case CancelPlayback(number):
                del self.of(number)[number]
                assert number not in self.fixed
                self.check_pause(number)
            case EndTurn(number):
                assert command.reason == "watchdog" or not self.speaking or self.late
                assert number == len(self.turns) + 1
                assert set(self.playing) <= self.fresh
                self.turns[number] = command
                self.unasked.append(number)
                self.check_turn(command)
            case DropAnswer(number):
                assert number in [*self.answers, self.gone_answer]
                if number in self.answers:
                    self.answers.remove(number)
                self.dropped.add(number)

    def check_pause(self, playback: int) -> None:
        since = self.paused_since.pop(playback, None)
        if since is not None and self.ticked:
            assert self.now - since <= self.barge_in.longest_pause_ms + 1e-6

    def of(self, playback: int) -> dict[int, bool]:
        return self.gone if playback in self.gone else self.playing

    def check_turn(self, turn: EndTurn) -> None:
        assert list(turn.utterances) == sorted(set(turn.utterances))
        assert turn.utterances
        assert all(self.opened[number] for number in turn.utterances)
        if self.recognises:
            assert turn.text == " ".join(self.said[number] for number in turn.utterances)
            assert turn.text
        assert turn.speech_ended_ms <= turn.decided_ms <= self.now
        again = {n for told in self.dropped for n in self.turns[told].utterances}
        before = [n for t in self.turns.values() if t is not turn for n in t.utterances]
        assert not (set(before) - again) & set(turn.utterances), "told once"

    def end_well(self) -> None:
        c = self.conversation
        if self.held:
            c.hold(self.now, False)
            self.drain()
        if self.speaking:
            c.speech_ended(self.now, self.now - 50)
            self.drain()
        self.speaking = False
        for _ in range(50):
            self.pass_time(10_000)
            while self.unrecognised:
                self.recognise(0, self.now)
                self.drain()
            assert not any(self.playing.values()) or c.deadline_ms() is not None
            self.pass_time(10_000)
            assert not any(self.playing.values()), "paused for ever"
            for number in list(self.playing):
                del self.playing[number]
                c.played(self.now, number)
                self.drain()
            for turn in list(self.answers):
                self.answers.remove(turn)
                c.answered(self.now, turn)
                self.drain()
            if not (self.unrecognised or self.playing or self.answers):
                break
        self.pass_time(10_000)
        assert all(self.opened.values())
        assert c.phase is Phase.LISTENING
        assert c.deadline_ms() is None
        assert len(c.trace) <= 512
        if self.recognises:
            told = Counter(
                number
                for turn in self.turns.values()
                if turn.turn not in self.dropped
                for number in turn.utterances
            )
            assert set(told) <= set(self.said)
            assert set(told.values()) <= {1}
            if self.most_unrecognised > 64:
                return  # more than are waited for
            lost = set(self.said) - set(told)
            assert not {n for n in lost if not self.ignored(n)}, "a text that nobody was told"

    def ignored(self, utterance: int) -> bool:
        """A back-channel may come to nothing."""
        return self.barge_in.is_back_channel(self.said[utterance])


@pytest.mark.timeout(600)
def test_every_history_ends_well() -> None:
    began = time.process_time()
    seen: Counter[type] = Counter()
    for seed in range(HISTORIES):
        try:
            seen.update(type(command) for _, command in History(seed).run().log)
        except Exception as error:
            raise AssertionError(f"history {seed}") from error
    took = time.process_time() - began
    counts = {kind.__name__: count for kind, count in seen.items()}
    print(f"{HISTORIES} histories, {took:.1f} s of CPU: {counts}")
    assert took < HISTORIES * 0.006, "10 000 in a minute"
    # Each kind of command was seen often: the histories are worth something.
    assert len(seen) == 8
    assert min(seen.values()) > HISTORIES / 20


def test_a_history_is_twice_the_same() -> None:
    for seed in range(HISTORIES // 10):
        first, second = History(seed).run(), History(seed).run()
        assert repr(first.log).encode() == repr(second.log).encode()
        assert repr(first.conversation.trace).encode() == repr(second.conversation.trace).encode()
