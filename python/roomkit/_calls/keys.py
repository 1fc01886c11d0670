"""`Keys`: what a caller has pressed and nobody has taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from roomkit.errors import shown

__all__ = [
    "KEYS",
    "Keys",
    "Press",
    "check_digits",
    "check_ending",
    "check_ends",
    "check_keys",
    "check_retries",
]

KEYS: Final = "0123456789*#ABCD"
"""The keys of a telephone."""


@dataclass(frozen=True, slots=True)
class Press:
    """One key, as it was pressed."""

    number: int
    """Of all keys of the call, from 0."""
    digit: str = field(repr=False)


class Keys:
    """Keys wait here in the order in which they were pressed, until somebody takes them.

    Whoever collects them looks first and takes when he is through, in one step without an `await`:
    so a collector that is cancelled half-way has taken nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pressed = 0
        """Keys pressed so far: the number of the next one."""
        self.dropped = 0
        """Keys that found no room: a machine that dials on must not fill memory."""
        self._waiting: deque[Press] = deque()

    def press(self, digit: str) -> bool:
        """A key was pressed; False if it found no room."""
        number = self.pressed
        self.pressed += 1
        if len(self._waiting) >= self.limit:
            self.dropped += 1
            return False
        self._waiting.append(Press(number, digit))
        return True

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Press]:
        return iter(self._waiting)

    def take(self, count: int) -> str:
        """Takes the oldest `count` away and returns their digits."""
        return "".join(self._waiting.popleft().digit for _ in range(count))

    def first_of(self, digits: str, since: int) -> Press | None:
        """The first press of one of `digits` from number `since` on."""
        return next((p for p in self._waiting if p.number >= since and p.digit in digits), None)

    def remove(self, press: Press) -> None:
        """Takes one away, wherever it stands."""
        self._waiting.remove(press)

    def clear(self) -> int:
        """Forgets all that wait; how many there were."""
        count = len(self._waiting)
        self._waiting.clear()
        return count


def check_keys(keys: object, name: str) -> str:
    """`keys`, in capitals, if it is a text of keys; else raises `TypeError` or `ValueError`, which
    do not show it: it may be half of a card number."""
    if not isinstance(keys, str):
        raise TypeError(f"{name}: {type(keys).__name__}; a str of keys, {KEYS}, fits")
    if not keys or any(key not in KEYS for key in keys.upper()):
        raise ValueError(f"{name}: something that is no key of {KEYS} is in it, or nothing")
    return keys.upper()


def check_digits(digits: object, most: int) -> None:
    """Raises for anything but None or a number of keys that can wait."""
    if digits is not None and (type(digits) is not int or not 1 <= digits <= most):
        raise ValueError(f"digits: {shown(digits)}; 1 to {most} (CallOptions.keys), or None, fits")


def check_ends(terminator: object) -> str:
    """The keys that end a number; "" for None."""
    return "" if terminator is None else check_keys(terminator, "terminator")


def check_ending(digits: int | None, ends: str, between: float | None) -> None:
    """Raises if keys could be waited for without an end."""
    if digits is None and not ends and between is None:
        raise ValueError("digits, terminator, between_timeout: nothing would end it; one of them")


def check_retries(retries: object, prompt: object) -> None:
    """Raises for anything but a small number, and for a prompt that cannot be given again."""
    if type(retries) is not int or not 0 <= retries <= 100:
        raise ValueError(f"retries: {shown(retries)}; 0 to 100 fits")
    if retries and (hasattr(prompt, "__next__") or hasattr(prompt, "__anext__")):
        raise TypeError("prompt: an iterator cannot be played again; a text, path or list fits")
