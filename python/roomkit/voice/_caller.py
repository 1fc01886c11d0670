"""The caller's side of a `Conversation`: his utterances and turns, their texts, his pauses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Final

from roomkit.voice.commands import Confirmation
from roomkit.voice.turns import PAUSES_KEPT, BargeIn, Turns, TurnSoFar, count_words

__all__ = ["Pauses", "Texts", "Turn", "TurnQueue", "Utterance", "joined", "takes_the_word"]

# Turns that wait for the end of what plays; of more, the two oldest become one.
_TURNS: Final = 64
# Utterances whose text is overdue and still welcome.
_OVERDUE: Final = 64


class Utterance:
    """What a recogniser gets in one piece."""

    __slots__ = (
        "at_ms",
        "back_channel",
        "confirmed",
        "due",
        "ended",
        "ended_ms",
        "given_up",
        "long",
        "number",
        "open",
        "over",
        "partial",
        "speech_ms",
        "text",
    )

    def __init__(self, number: int, at_ms: float) -> None:
        self.number = number
        self.at_ms = at_ms
        self.open = True
        self.ended = -math.inf  # when he stopped speaking, without the holds
        self.ended_ms = at_ms
        self.speech_ms = 0.0
        self.partial = ""
        self.text: str | None = None
        self.due = math.inf
        self.over = False  # said over our voice, or over an answer in the making
        self.long = False  # so much speech in one piece that it is no cough
        self.confirmed = False  # it has interrupted
        self.given_up = False  # it went on for too long without doing so: it holds nothing back
        self.back_channel = False  # not a turn, unless what plays ends soon

    @classmethod
    def again(cls, late: Utterance) -> Utterance:
        """One whose turn is told without it, for the turn that its text will belong to."""
        utterance = cls(late.number, late.at_ms)
        utterance.open, utterance.speech_ms = False, late.speech_ms
        utterance.ended, utterance.ended_ms = late.ended, late.ended_ms
        utterance.over, utterance.long, utterance.confirmed = late.over, late.long, late.confirmed
        return utterance

    @property
    def heard(self) -> str:
        return self.partial if self.text is None else self.text


class Turn:
    """Utterances that belong together."""

    __slots__ = ("closed", "decided_ms", "ended", "ended_ms", "pauses", "utterances")

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self.pauses: list[float] = []
        self.ended = 0.0  # when he stopped speaking, without the holds
        self.ended_ms = 0.0
        self.decided_ms: float | None = None
        self.closed = False  # by the watchdog: nothing is added any longer

    def join(self, before: Turn) -> None:
        """It goes on with that one."""
        self.utterances += before.utterances
        self.pauses = before.pauses + self.pauses
        self.sort()

    def sort(self) -> None:
        """In the order in which they were said."""
        self.utterances.sort(key=lambda one: one.number)


def joined(utterances: Iterable[Utterance]) -> str:
    """Their texts, as far as they are known."""
    return " ".join(one.heard for one in utterances if one.heard)


def takes_the_word(
    utterance: Utterance, rules: BargeIn, recognises: bool, partials: bool
) -> tuple[bool, Confirmation | None]:
    """Whether that utterance, by what is known of it now, goes on with what he had said; and by
    what it interrupts. `partials`: the recogniser gives some."""
    heard = utterance.heard
    words = count_words(heard)
    if words and rules.is_back_channel(heard):
        return False, None
    goes_on = words > 0 or (utterance.long and not recognises)
    if words >= rules.words:
        return goes_on, "words"
    # Where there would be a partial text by now, none says something too.
    believed = utterance.long and (words > 0 or not (recognises and partials))
    if rules.mode == "words" and recognises:
        believed = False
    return goes_on, "speech" if believed and not utterance.given_up else None


class Texts:
    """The utterances that are with the recogniser."""

    def __init__(self) -> None:
        self.waiting: dict[int, Utterance] = {}
        """Those whose turn waits for their text, in order."""
        self._overdue: dict[int, Utterance] = {}

    def take(self, number: int) -> tuple[Utterance | None, bool]:
        """The utterance whose text has come, and whether it is overdue; None: nobody's."""
        utterance = self.waiting.pop(number, None)
        if utterance is not None:
            return utterance, False
        return self._overdue.pop(number, None), True

    def due(self) -> float:
        """When one of them is not waited for any longer."""
        return min((one.due for one in self.waiting.values()), default=math.inf)

    def lapse(self, now: float) -> list[Utterance]:
        """Those that are not waited for any longer. Their text becomes "", and what will come for
        them all the same is another utterance's."""
        lapsed = [one for one in self.waiting.values() if one.due <= now]
        for utterance in lapsed:
            del self.waiting[utterance.number]
            if len(self._overdue) >= _OVERDUE:
                del self._overdue[next(iter(self._overdue))]
            self._overdue[utterance.number] = Utterance.again(utterance)
            utterance.text = ""
        return lapsed

    def clear(self) -> None:
        """The call is over."""
        self.waiting.clear()
        self._overdue.clear()


class Pauses:
    """How the caller pauses within his turns, and what ends them therefore."""

    def __init__(self, rules: Turns) -> None:
        self._rules = rules
        self._pauses: deque[float] = deque(maxlen=PAUSES_KEPT)

    def learn(self, pause_ms: float, turn: Turn | None) -> None:
        """After a pause that lay within `turn`, or cut it off (None), he speaks on."""
        if pause_ms <= self._rules.max_silence_ms:
            self._pauses.append(pause_ms)
            if turn is not None:
                turn.pauses.append(pause_ms)

    def silence_ms(self, turn: Turn) -> tuple[float, Exception | None]:
        """How much quiet ends that turn, and what the detector raised."""
        detector = self._rules.detector
        failed: Exception | None = None
        if detector is not None:
            so_far = TurnSoFar(
                text=joined(turn.utterances),
                recognised=all(one.text is not None for one in turn.utterances),
                speech_ms=sum(one.speech_ms for one in turn.utterances),
                pauses_ms=tuple(turn.pauses),
                utterances=len(turn.utterances),
                past_pauses_ms=tuple(self._pauses),
            )
            try:
                asked_ms = float(detector.silence_ms(so_far))
                if not math.isnan(asked_ms):
                    return self._rules.within(asked_ms), None
                failed = ValueError("silence_ms: nan; a number of ms fits")
            except Exception as error:  # noqa: BLE001 (a detector that fails must not hold a call)
                failed = error
        return self._rules.builtin_silence_ms(tuple(self._pauses)), failed


class TurnQueue:
    """The turns that were not told yet, oldest first; the last is going on."""

    def __init__(self, recognises: bool) -> None:
        self._recognises = recognises
        self._turns = deque([Turn()])

    @property
    def oldest(self) -> Turn:
        """The one that is told next."""
        return self._turns[0]

    @property
    def current(self) -> Turn:
        """The one that is going on; it may be empty."""
        return self._turns[-1]

    def utterances(self) -> list[Utterance]:
        """Those of all turns."""
        return [utterance for turn in self._turns for utterance in turn.utterances]

    def close(self) -> None:
        """Nothing is added any longer to the one that is going on."""
        self.current.closed = True
        self._turns.append(Turn())
        if len(self._turns) > _TURNS:
            oldest = self._turns.popleft()
            self.oldest.join(oldest)

    def take(self, busy: bool) -> Turn | None:
        """The next turn that is over and has its texts, left with what was said to us, which may be
        nothing. While we are `busy`, only one with nothing."""
        turn = self._turns[0]
        if turn.decided_ms is None or any(one.text is None for one in turn.utterances):
            return None
        turn.utterances = [one for one in turn.utterances if self._counts(one)]
        if turn.utterances and busy:
            return None
        self._turns.popleft()
        if not self._turns:
            self._turns.append(Turn())
        return turn

    def _counts(self, utterance: Utterance) -> bool:
        """Whether that is something said to us."""
        if self._recognises:
            return bool(utterance.text)
        # Where nothing is recognised: any speech, but not the cough that did not interrupt.
        return utterance.long or utterance.confirmed or not utterance.over

    def forget_back_channels(self) -> None:
        """They were no more than that."""
        for turn in self._turns:
            turn.utterances = [one for one in turn.utterances if not one.back_channel]

    def welcome(self, utterance: Utterance, now_ms: float) -> None:
        """Its text comes after all, too late for its turn: it is of the one that is going on."""
        turn = self.current
        if not turn.utterances:
            turn.ended, turn.ended_ms = utterance.ended, utterance.ended_ms
            turn.decided_ms = now_ms
        turn.utterances.append(utterance)
        turn.sort()

    def clear(self) -> None:
        """The call is over."""
        self._turns = deque([Turn()])
