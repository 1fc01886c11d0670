"""House rules that no linter knows: short files, no sleeping tests, borders where they belong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("crates", "python", "tests", "fuzz", "benches", "examples", "tools")
MAX_LINES = 600

# What only the engine may name: the media core is told the time and touches nothing. clippy holds
# this border too; here it also covers paths that clippy is not told of.
OUTSIDE_THE_CORE = re.compile(
    r"std::(net::(Udp|Tcp)|time::(Instant|SystemTime)|thread|env|fs|process)\b"
)
# Wrapping numbers by hand: only seq.rs does, and the generator of random numbers, which are bits.
WRAPS = re.compile(r"\bwrapping_\w+\(|& *0x(ff_?ff|ffff_?ffff)\b", re.IGNORECASE)
MAY_WRAP = {"seq.rs", "rng.rs"}
SLEEP = re.compile(r"\b(asyncio|time)\.sleep\((?!0\))|\bthread::sleep\(")


def sources(*suffixes: str, under: tuple[str, ...] = SOURCES) -> Iterator[Path]:
    for folder in under:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and "target" not in path.relative_to(ROOT).parts:
                yield path


def test_the_rules_find_the_files_they_are_about() -> None:
    names = {str(path.relative_to(ROOT)) for path in sources(".rs", ".py", ".pyi")}
    assert {
        "crates/media/src/seq.rs",
        "python/roomkit/_native.pyi",
        "tests/test_layout.py",
    } <= names


def test_no_file_is_longer_than_a_person_reads_in_one_go() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(".rs", ".py", ".pyi", ".sh")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_the_media_core_names_no_clock_socket_or_thread() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources(".rs", under=("crates/media/src", "crates/netsim/src"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OUTSIDE_THE_CORE.search(line.partition("//")[0])
    ]
    assert not found


def test_wrapping_numbers_are_reckoned_with_in_one_file() -> None:
    """Tests may: what they compare with is reckoned in another way."""
    core = ROOT / "crates/media/src"
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources(".rs", under=("crates/media/src",))
        if "tests" not in path.stem and str(path.relative_to(core)) not in MAY_WRAP
        for number, line in enumerate(
            path.read_text().partition("#[cfg(test)]\nmod ")[0].splitlines(), 1
        )
        if WRAPS.search(line.partition("//")[0])
    ]
    assert not found
    assert WRAPS.search((core / "seq.rs").read_text())


def test_unsafe_code_is_forbidden_in_the_core() -> None:
    assert "#![forbid(unsafe_code)]" in (ROOT / "crates/media/src/lib.rs").read_text()
    assert "#![forbid(unsafe_code)]" in (ROOT / "crates/netsim/src/lib.rs").read_text()


def test_no_test_sleeps() -> None:
    """A line that must, because the sleep is what it tests, says so after `# sleep:`. On a virtual
    clock nobody sleeps."""
    rust = (path for path in sources(".rs", under=("crates",)) if "tests" in path.parts)
    python = sources(".py", under=("tests",))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (*rust, *python)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SLEEP.search(line)
        and not re.search(r"(#|//) sleep: \S", line)
        and not (virtual(path) and "asyncio.sleep" in line)
    ]
    assert not found


def virtual(path: Path) -> bool:
    """Whether what is in that file runs on a virtual clock."""
    return (
        re.search(r"^from roomkit\.testing[\w.]* import .*", path.read_text(), re.MULTILINE)
        is not None
    )
