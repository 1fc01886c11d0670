"""Docstrings as the pages show them: blocks of code are fenced, and highlighted."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

# `… like this::`, or `::` alone, and what is indented below it. Sections (`Args:`) are left.
_BLOCK = re.compile(r"^(?P<head>\S.*|)::[ ]*\n\n(?P<code>(?:[ ]{4,}.*\n|[ ]*\n)+)", re.MULTILINE)


def fenced(text: str) -> str:
    """`text` with its indented blocks of code in fences."""

    def fence(match: re.Match[str]) -> str:
        head = match["head"].rstrip()
        code = textwrap.dedent(match["code"]).strip("\n")
        language = "text" if re.search(r"[►│├└─]", code) else "python"
        lead = f"{head}:\n\n" if head else ""
        return f"{lead}```{language}\n{code}\n```\n\n"

    return _BLOCK.sub(fence, text + "\n").rstrip("\n")


class Docstrings(griffe.Extension):
    """Rewrites each docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
