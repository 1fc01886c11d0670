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
    line = _SECRET.sub(lambda match: f"{match[match.lastindex or 0]}…", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
