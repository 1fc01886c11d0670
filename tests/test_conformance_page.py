"""The page on conformance names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conformance.md"


def missing(page: str) -> list[str]:
    """The tests that a page names and that are not where it says."""
    named = re.findall(r"`([\w/.]+\.(?:rs|py))::(\w+)`", page)
    assert len(named) == page.count("::"), "a test is named in another way than `file::name`"
    absent = []
    for file, name in named:
        path = ROOT / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        marked = r"#\[test\]\s+fn" if path.suffix == ".rs" else r"^(?:async )?def"
        if not re.search(rf"{marked} {name}\(", text, re.MULTILINE):
            absent.append(f"{file}::{name}")
    return absent


def test_every_test_that_the_page_names_exists() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert missing(page) == []
    assert page.count("::") > 80


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    heads = [row for row in rows if row.endswith("| held by |") or row.startswith("| ---")]
    assert [row for row in rows if row not in heads and "::" not in row] == []


def test_a_test_that_is_gone_is_noticed() -> None:
    here = "tests/test_conformance_page.py"
    assert missing(f"`{here}::test_that_was_never_written`") != []
    assert missing(f"`{here}::test_a_test_that_is_gone_is_noticed`") == [], "what exists is found"
    assert missing("`crates/media/src/seq.rs::valid`") != [], "a helper is no test"
