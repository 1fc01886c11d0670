"""Bits of text: numbers as RFC 8866 writes them, lines that stay lines, keys that stay secret."""

from __future__ import annotations

import re
from typing import Final

from roomkit._text import printable, without_runs

__all__ = ["one_line", "quoted", "shown", "whole"]

_LONGEST: Final = 80  # characters of a line that are shown: enough to find it
_LONGEST_PIECE: Final = 40  # of a piece of it, so that an error never quotes more than 200

# Keys of `a=crypto` and `k=`, of MIKEY (RFC 4567), and the password of ICE (RFC 8839 §5.4).
_SECRET: Final = re.compile(
    r"(inline\s*:?).*|^(k=(?:\w+:)?).*|((?:key-mgmt:\w+|ice-pwd)[\s:]).*", re.IGNORECASE | re.DOTALL
)
_CRYPTO: Final = re.compile(r"((?:a=)?\s*crypto\s*:)", re.IGNORECASE)
_NO_KEY: Final = 24  # characters: the names of suites have so many, keys have more
_PIECE: Final = re.compile(r"[A-Za-z0-9+/=_-]{12,}")


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
    elif line[1:2] != "=":
        # No line at all, so it may be what was behind a line end in the middle of a key.
        line = _PIECE.sub("…", line)
    line = _SECRET.sub(lambda match: f"{match[match.lastindex or 0]}…", line)
    return printable(without_runs(line), _LONGEST)


def quoted(text: str) -> str:
    """A piece of a line in quotation marks, fit for an error as well."""
    return f"'{printable(without_runs(_SECRET.sub('…', text)), _LONGEST_PIECE)}'"


def _without_keys(name: str, value: str) -> str:
    """A line `a=crypto` (RFC 4568 §9.1). Where it is malformed, its key may stand anywhere."""
    words = value.split(None, 2)
    head = " ".join(word if len(word) <= _NO_KEY else "…" for word in words[:2])
    if len(words) < 3:
        return f"{name}{head}"
    return f"{name}{head} {'inline:' if words[2].lower().startswith('inline:') else ''}…"
