"""The caller's side of a `Conversation`: his utterances and turns."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["Turn", "Utterance", "joined"]


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


def joined(utterances: Iterable[Utterance]) -> str:
    """Their texts, as far as they are known."""
    return " ".join(one.heard for one in utterances if one.heard)
