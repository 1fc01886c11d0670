"""Where the time of a turn went: `TurnTimes`, and the `TurnLedger` that collects them."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from roomkit.errors import shown
from roomkit.voice.marks import HeardText

__all__ = ["TurnLedger", "TurnTimes"]

Step = Literal[
    "speech_ended",
    "arrived",
    "decided",
    "recognised",
    "first_token",
    "first_sentence",
    "first_audio",
    "first_packet",
]
STEPS: Final[tuple[Step, ...]] = get_args(Step)

# Turns that are on their way at once: whoever never packs an answer in must not fill memory.
_OPEN: Final = 64


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """One turn of the caller and the answer to it, on one clock, in ms. None: it did not come to
    that, or nobody knows.

    The steps are in the order in which an answer takes them. One that was there early, such as a
    recogniser that had the text before the turn was decided, took no time of the answer's.
    """

    turn: int
    speech_ended_ms: float
    """The caller stopped speaking: his last packet with speech came."""
    arrived_ms: float | None = None
    """It was heard here: it had waited in the jitter buffer. None where no buffer is known."""
    decided_ms: float | None = None
    """He had been quiet for long enough."""
    recognised_ms: float | None = None
    """The last of his texts was there."""
    first_token_ms: float | None = None
    """The first of the answer's text came."""
    first_sentence_ms: float | None = None
    """The voice got its first sentence."""
    first_audio_ms: float | None = None
    """The first audio came from the voice."""
    first_packet_ms: float | None = None
    """The first packet of it left."""
    heard: HeardText | None = None
    """What the caller has heard of the answer, once it is over."""
    interrupted: bool = False
    """He interrupted it."""
    dropped: bool = False
    """He went on before anything of it was heard: its text is in a later turn."""

    def parts(self) -> dict[str, float]:
        """How long each step took after the one before it, in ms, in order; those that are not
        known are left out, their time is the next one's. They add up to `total_ms`, exactly."""
        known = self._known()
        if not known:
            return {}
        begin = _on_grid(self.speech_ended_ms)
        last = max(begin, known[-1][1])
        parts: dict[str, float] = {}
        for step, at_ms in known:
            # What was there before the step before it took no time; none lasts past the last.
            until = min(max(begin, at_ms), last)
            parts[step] = until - begin
            begin = until
        return parts

    @property
    def total_ms(self) -> float | None:
        """From the end of speech to the last step that is known: the first packet, where something
        was answered. None: none is known."""
        known = self._known()
        return max(0.0, known[-1][1] - _on_grid(self.speech_ended_ms)) if known else None

    def _known(self) -> list[tuple[str, float]]:
        times = [(step, getattr(self, f"{step}_ms")) for step in STEPS[1:]]
        return [(step, _on_grid(at_ms)) for step, at_ms in times if at_ms is not None]


class TurnLedger:
    """Collects the times of the turns of one call. A step's first time counts."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, TurnTimes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self,
        turn: int,
        speech_ended_ms: float,
        decided_ms: float | None = None,
        recognised_ms: float | None = None,
    ) -> None:
        """A turn has ended. Raises `ValueError` for one that has begun already."""
        if turn in self._open:
            raise ValueError(f"turn: {turn} has begun already")
        while len(self._open) >= _OPEN:
            self._open.popitem(last=False)
        self._open[turn] = TurnTimes(
            turn,
            _ms(speech_ended_ms, "speech_ended_ms"),
            decided_ms=None if decided_ms is None else _ms(decided_ms, "decided_ms"),
            recognised_ms=None if recognised_ms is None else _ms(recognised_ms, "recognised_ms"),
        )

    def note(self, turn: int, step: Step, at_ms: float) -> bool:
        """That step of that turn was at `at_ms`; True if it is the first time. Of a turn that is
        not open, nothing is noted. Raises `ValueError` for no step, or no time."""
        if step not in STEPS:
            raise ValueError(f"step: {shown(step)}; one of {', '.join(STEPS)} fits")
        name = f"{step}_ms"
        times = self._open.get(turn)
        at_ms = _ms(at_ms, "at_ms")
        if times is None or getattr(times, name) is not None:
            return False
        change: dict[str, Any] = {name: at_ms}
        self._open[turn] = replace(times, **change)
        return True

    def get(self, turn: int) -> TurnTimes | None:
        """What is known of an open turn."""
        return self._open.get(turn)

    def end(
        self,
        turn: int,
        heard: HeardText | None = None,
        *,
        interrupted: bool = False,
        dropped: bool = False,
    ) -> TurnTimes | None:
        """The answer is over: its times, which the ledger forgets. None: that turn is not open."""
        times = self._open.pop(turn, None)
        if times is None:
            return None
        return replace(times, heard=heard, interrupted=interrupted, dropped=dropped)


def _on_grid(at_ms: float) -> float:
    """To 1/1024 ms, of which every sum and difference within centuries is exact."""
    return round(at_ms * 1024) / 1024


def _ms(value: Any, name: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ValueError(f"{name}: {shown(value)}; a finite number of ms fits")
    return float(value)
