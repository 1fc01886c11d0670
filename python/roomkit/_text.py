"""Text of others, fit for a log: it must not turn, hide or end a line there, nor tell a key."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LONGEST", "LONGEST_TRANSCRIPT", "printable", "without_runs"]

LONGEST: Final = 200
"""Characters of the far end's that one line of a log, or one error, shows."""
LONGEST_TRANSCRIPT: Final = 10_000
"""Characters of what somebody said, where it is logged: it is wanted whole."""

# The shortest key of SRTP has 40 characters in base64; half of one is still half of a secret. Names
# that are as long have other characters in them, save those of the alphabet for URLs (RFC 4648 §5).
_SHORTEST_RUN: Final = 20
_RUN: Final = re.compile(r"[A-Za-z0-9+/]{20,}=*|[A-Za-z0-9_-]{20,}=*")


def without_runs(text: str) -> str:
    """`text` without what may be a key in base64."""
    return _RUN.sub(lambda match: match[0] if _is_name(match[0]) else "…", text)


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


def _is_name(run: str) -> bool:
    """`AES_CM_128_HMAC_SHA1_80`, `x-a-long-name-of-a-vendor`: words with something between them, of
    one case. No key of more than some characters is."""
    words = re.split("[_-]", run)
    return max(map(len, words)) < _SHORTEST_RUN and (run.isupper() or run.islower())
