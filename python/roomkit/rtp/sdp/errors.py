"""`SDPError`: what is wrong with a session description, and where."""

from __future__ import annotations

from roomkit.rtp.sdp.text import shown

__all__ = ["SDPError"]


class SDPError(ValueError):
    """A session description that is malformed, or that no call can be made of.

    Its text names the line's number, the line, and what is wrong with it; keys are left out.
    """

    def __init__(self, problem: str, *, line_number: int | None = None, line: str = "") -> None:
        self.problem = problem
        """What is wrong, and what fits."""
        self.line_number = line_number
        """Counted from 1, as an editor does; None when it is about the description as a whole."""
        self.line = shown(line)
        """The line, without keys, shortened if it is long."""
        where = "" if line_number is None else f"line {line_number}: {self.line!r}: "
        super().__init__(f"SDP: {where}{problem}")
