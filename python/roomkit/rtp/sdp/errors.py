"""`SDPError`: what is wrong with a session description, and where."""

from __future__ import annotations

from typing import Final

from roomkit._text import printable
from roomkit.rtp.sdp.text import shown

__all__ = ["SDPError"]

_LONGEST: Final = 400  # characters of what is wrong: more than any that quotes a piece or two


class SDPError(ValueError):
    """A session description that is malformed, or that no call can be made of.

    Its text names the line's number, the line, and what is wrong with it. It quotes 200 characters
    of the description at most, and nothing that may be a key.
    """

    def __init__(self, problem: str, *, line_number: int | None = None, line: str = "") -> None:
        self.problem = problem = printable(problem, _LONGEST)
        """What is wrong, and what fits."""
        self.line_number = line_number
        """Counted from 1, as an editor does; None when it is about the description as a whole."""
        self.line = shown(line)
        """The line, without keys, shortened if it is long."""
        where = "" if line_number is None else f"line {line_number}: '{self.line}': "
        super().__init__(f"SDP: {where}{problem}")
