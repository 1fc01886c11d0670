"""Checks of arguments: each raises one `ValueError` that names the parameter, the value and what
fits. A boolean is not a number here."""

from __future__ import annotations

import math
from typing import Final

from roomkit.errors import shown

__all__ = ["dial_string", "digits", "flag", "number", "one_of", "seconds"]

_DIGITS: Final = "0123456789*#ABCD"


def dial_string(value: object, name: str) -> None:
    """Digits and pauses, one at least. The answer does not show them: they are often secrets."""
    fits = f"one or more of {_DIGITS}, and , w p for pauses, fits"
    if not isinstance(value, str):
        raise ValueError(f"{name}: {type(value).__name__}; a string with {fits}")
    if not value:
        raise ValueError(f"{name}: {shown(value)}; {fits}")
    for place, key in enumerate(value):
        if not key.isascii() or key.upper() not in _DIGITS + ",WP":
            raise ValueError(f"{name}: {key!r} at place {place}; {fits}")


def digits(value: object, name: str, *, most: int | None = None) -> str:
    """`value` in upper case, if it is a string of telephone keys: at least one, at most `most`."""
    if isinstance(value, str) and 0 < len(value) <= (most or len(value)):
        keys = value.upper()
        if not keys.strip(_DIGITS):
            return keys
    how_many = "one" if most == 1 else "one or more"
    # As in `dial_string`, more digits than one are not shown.
    given = repr(value)
    if isinstance(value, str) and len(value) > 1:
        given = f"a string of {len(value)}"
    elif isinstance(value, int) and not isinstance(value, bool):
        given = "an int"
    raise ValueError(f"{name}: {given}; {how_many} of {_DIGITS} fits")


def flag(value: object, name: str) -> bool:
    """`value`, if it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {shown(value)}; True or False fits")
    return value


def number(value: object, name: str, low: int, high: int) -> int:
    """`value`, if it is an integer of that range."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name}: {shown(value)}; an integer from {low} to {high} fits")
    return value


def seconds(
    value: object, name: str, high: float, *, or_none: bool = False, or_zero: bool = False
) -> None:
    """A finite number of seconds above 0. `or_none`: the parameter may be None, says the answer;
    `or_zero`: it may be 0."""
    least = "at least 0" if or_zero else "more than 0"
    fits = f"{least} and at most {high:g} seconds{', or None,' if or_none else ''} fits"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name}: {shown(value)}; {fits}")
    # What is no number at all (NaN) is in no range either.
    if not (0 if or_zero else math.ulp(0.0)) <= value <= high:
        raise ValueError(f"{name}: {shown(value)}; {fits}")


def one_of(value: object, name: str, fitting: tuple[object, ...]) -> None:
    """One of a few values."""
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value not in fitting:
        *most, last = map(repr, fitting)
        raise ValueError(f"{name}: {shown(value)}; {', '.join(most)} or {last} fits")
