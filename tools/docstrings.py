"""Docstrings as the pages show them: blocks of code are highlighted, and names of what is in the
reference lead there."""

from __future__ import annotations

import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import griffe

_REFERENCE = Path(__file__).parents[1] / "docs/reference"

# `… like this::`, or `::` alone, and what is indented below it. Sections (`Args:`) are left.
_BLOCK = re.compile(r"^(?P<head>\S.*|)::[ ]*\n\n(?P<code>(?:[ ]{4,}.*\n|[ ]*\n)+)", re.MULTILINE)
# `Name`, `Name.member` or `module.Name` in the style of code.
_NAME = re.compile(r"(?<!`)`(?P<name>[A-Za-z_][\w.]*)(?P<rest>\([^`]*\))?`(?!`)")


def fenced(text: str) -> str:
    """`text` with its indented blocks of code in fences."""

    def fence(match: re.Match[str]) -> str:
        head = match["head"].rstrip()
        code = textwrap.dedent(match["code"]).strip("\n")
        language = "text" if re.search(r"[►│├└─]", code) else "python"
        lead = f"{head}:\n\n" if head else ""
        return f"{lead}```{language}\n{code}\n```\n\n"

    return _BLOCK.sub(fence, text + "\n").rstrip("\n")


def linked(text: str, places: dict[str, str]) -> str:
    """`text` in which names lead to where `places` has them; blocks of code are left."""

    def link(match: re.Match[str]) -> str:
        first, dot, member = match["name"].rpartition("roomkit.")[2].partition(".")
        if first not in places:
            return match[0]
        # Optional: where the reference leaves a member out, it is no link.
        to = places[first] + dot + member
        shown = f"{match['name']}{match['rest'] or ''}"
        return f'<autoref optional identifier="{to}"><code>{shown}</code></autoref>'

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _NAME.sub(link, part) for part in parts)


@cache
def reference() -> dict[str, str]:
    """Where each class and function of the reference is, by its name; not names of two things."""
    found: dict[str, list[str]] = {}
    for page in sorted(_REFERENCE.glob("*.md")):
        for place in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE):
            found.setdefault(place.rpartition(".")[2], []).append(place)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


class Docstrings(griffe.Extension):
    """Rewrites each docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = linked(fenced(obj.docstring.value), reference())
