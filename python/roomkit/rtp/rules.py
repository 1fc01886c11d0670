"""`Rule`: what holds of one option, written where the option is: `field(metadata=rule(…))`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass
from typing import Any, Final, TypeAlias, get_args

from roomkit.errors import shown
from roomkit.rtp import checks

__all__ = ["Rule", "choice", "rule", "rule_of", "span", "switch", "whole"]

Check: TypeAlias = Callable[[Any, str], Any]
"""`check(value, name)`: the value to keep, or a `ValueError` that names the option."""

_KEY: Final = "rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an option may be, and where it counts."""

    check: Check
    changes: bool
    """Whether it may change in mid-call."""
    agreed: bool
    """Whether a session description decides it."""
    core: bool
    """Whether the media core takes it as it is, under its name."""


def rule(
    check: Check | None = None, *, changes: bool = False, agreed: bool = False, core: bool = False
) -> dict[str, Rule]:
    """Metadata of a field. Without a `check`, what it may be depends on other options."""
    return {_KEY: Rule(check or _anything, changes, agreed, core)}


def rule_of(option: Field[Any]) -> Rule:
    """The rule of a field."""
    found: Rule = option.metadata[_KEY]
    return found


def whole(low: int, high: int, *, or_none: bool = False) -> Check:
    """An integer of that range."""

    def check(value: Any, name: str) -> Any:
        return None if or_none and value is None else checks.number(value, name, low, high)

    return check


def span(high: float, *, least: float = 0, or_none: bool = False, or_zero: bool = False) -> Check:
    """Seconds, kept as a float: above 0, or 0 where that may be, and not below `least`."""

    def check(value: Any, name: str) -> Any:
        if or_none and value is None:
            return None
        checks.seconds(value, name, high, or_none=or_none, or_zero=or_zero)
        if value < least:
            none = ", or None," if or_none else ""
            raise ValueError(f"{name}: {value!r}; {least:g} to {high:g} seconds{none} fits")
        return float(value)

    return check


def choice(fitting: Any, *, or_none: bool = False) -> Check:
    """One of a `Literal`'s values, or of a tuple."""
    values = fitting if isinstance(fitting, tuple) else get_args(fitting)

    def check(value: Any, name: str) -> Any:
        if not (or_none and value is None):
            checks.one_of(value, name, values)
        return value

    return check


def switch(*, or_none: bool = False) -> Check:
    """True or False."""

    def check(value: Any, name: str) -> Any:
        if not or_none:
            return checks.flag(value, name)
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{name}: {shown(value)}; True, False or None fits")
        return value

    return check


def _anything(value: Any, name: str) -> Any:
    return value
