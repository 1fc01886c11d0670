"""Bits of text: numbers as RFC 8866 writes them, lines that stay lines, keys that stay secret."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["one_line", "shown", "whole"]

_LONGEST: Final = 80  # characters of a line that are shown: enough to find it
# Keys of `a=crypto` and `k=`, of MIKEY (RFC 4567), and the password of ICE (RFC 8839 §5.4).
_SECRET: Final = re.compile(
    r"(inline:)[^|;\s]+|^(k=\w+:).*|(key-mgmt:\w+ |ice-pwd:).*", re.IGNORECASE
)

_CRYPTO: Final = re.compile(r"((?:a=)?\s*crypto\s*:)", re.IGNORECASE)
_NO_KEY: Final = 24  # characters: the names of suites have so many, keys have more


def whole(text: str, low: int, high: int) -> int | None:
    """The number that `text` is, if it is one of that range, in plain digits."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:
        return None
    number = int(text)
    return number if low <= number <= high else None


def one_line(text: str, what: str) -> None:
    """Raises `ValueError` where `text` would break out of its line."""
    if any(character in text for character in "\r\n\0"):
        raise ValueError(f"{what}: it has a line end; text of one line fits")


def shown(line: str) -> str:
    """`line` fit for an error or a log: no key, no more than one can read."""
    crypto = _CRYPTO.match(line)
    if crypto is not None:
        line = _without_keys(crypto[1], line[crypto.end() :])
    line = _SECRET.sub(lambda match: f"{match[match.lastindex or 0]}…", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _without_keys(name: str, value: str) -> str:
    """A line `a=crypto` (RFC 4568 §9.1). Where it is malformed, its key may stand anywhere."""
    words = value.split(None, 2)
    head = " ".join(word if len(word) <= _NO_KEY else "…" for word in words[:2])
    if len(words) < 3:
        return f"{name}{head}"
    return f"{name}{head} {'inline:' if words[2].lower().startswith('inline:') else ''}…"
