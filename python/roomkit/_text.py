"""Text of others, fit for a log: it must not turn, hide or end a line there."""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST", "LONGEST_TRANSCRIPT", "printable"]

LONGEST: Final = 200
"""Characters of the far end's that one line of a log, or one error, shows."""
LONGEST_TRANSCRIPT: Final = 10_000
"""Characters of what somebody said, where it is logged: it is wanted whole."""


def printable(text: str, limit: int = LONGEST) -> str:
    """`text` in at most `limit` characters, all of which can be seen.

    What cannot is written as `repr` does: controls of either set and line ends (`\\n`, `\\x9b`,
    `\\u2028`), which forge lines and drive terminals; marks that turn the direction (`\\u202e`) or
    take no room (`\\u200b`), which make a text look like another; halves of surrogate pairs, which
    no file takes. What is cut off ends in `…`.
    """
    # Cut first, so that the work is bounded too; with one more, to see that something is missing.
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
