"""`Presses`: tells a key that was pressed again from one press that is reported twice."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["Presses"]

# A stage hears a press behind the jitter buffer, some 60 ms and more after it was signalled, and
# a gateway needs up to 50 ms to recognise the tone before it signals it.
_APART_MS = 250.0
# Presses that are remembered: nobody presses more keys while one may be reported again.
_REMEMBERED = 32


@dataclass(slots=True)
class _Press:
    digit: str
    origin: str
    began_ms: float
    ended_ms: float
    also: set[str] = field(default_factory=set)


class Presses:
    """Of one call. A backend signals digits and a pipeline stage hears their tones: what is of the
    same key at the same time is one press."""

    def __init__(self) -> None:
        self._told: deque[_Press] = deque(maxlen=_REMEMBERED)

    def is_new(self, digit: str, origin: str, ended_ms: float, duration_ms: float) -> bool:
        """Whether this report is of a press that no other origin has reported."""
        report = _Press(digit, origin, ended_ms - duration_ms, ended_ms)
        for told in self._told:
            if told.digit != digit or told.origin == origin:
                continue
            apart = max(report.began_ms - told.ended_ms, told.began_ms - report.ended_ms)
            # A backend reports a press once. Tones come in pieces where a gateway or the network
            # cuts them, and a gateway that signals keys signals each: tones near one are its own.
            if apart <= _APART_MS and (told.origin == "backend" or origin not in told.also):
                told.also.add(origin)
                return False
        self._told.append(report)
        return True
