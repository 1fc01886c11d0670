#!/usr/bin/env python3
"""Writes THIRD_PARTY_NOTICES: the licences of what a wheel bundles beside roomkit itself.

    tools/notices.py            writes it
    tools/notices.py --check    fails if it is not what it would write

What is bundled is what cargo links: the crates of the lock file that the native module depends
on, on any of the platforms that there are wheels for, and libopus, which one of them brings along.
Their licences ask for it: a copy in binary form comes with the notice. Of a choice of licences,
this is MIT.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTICES = ROOT / "THIRD_PARTY_NOTICES"

PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)

HEAD = """\
roomkit is under the licence in the file LICENSE. A wheel of it bundles the software below, each
under the licence that follows its name. tools/notices.py has written this file.
"""

# It is linked into every module, and is no crate of the lock file.
RUST = "the Rust standard library, https://www.rust-lang.org"


def cargo(*arguments: str) -> str:
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def bundled() -> list[str]:
    """The names of the crates that are linked, without those of this workspace."""
    names: set[str] = set()
    for platform in PLATFORMS:
        tree = cargo(
            *("tree", "--package", "roomkit-python", "--edges", "normal,no-proc-macro"),
            *("--target", platform, "--prefix", "none", "--format", "{p}"),
        )
        names.update(line.split()[0] for line in tree.splitlines() if line.strip())
    return sorted(name for name in names if not name.startswith("roomkit-"))


def texts(folder: Path) -> list[str]:
    """The licence of a crate, and of what it bundles in turn."""
    found = [folder / name for name in ("LICENSE-MIT", "license-mit", "LICENSE", "LICENSE.txt")]
    found = [path for path in found if path.is_file()][:1]
    found += sorted(folder.glob("*/COPYING"))
    if not found:
        raise SystemExit(f"{folder}: no licence that this script knows of; name its file here")
    return [tidy(path.read_text()) for path in found]


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def notices() -> str:
    packages: list[dict[str, Any]] = json.loads(cargo("metadata", "--format-version", "1"))[
        "packages"
    ]
    # One text stands once, with all the software that is under it.
    under: dict[str, list[str]] = {}
    for name in bundled():
        for package in (each for each in packages if each["name"] == name):
            software = f"{name} {package['version']}, {package['repository'] or package['name']}"
            own, *brought = texts(Path(package["manifest_path"]).parent)
            under.setdefault(own, []).append(software)
            for text in brought:
                under.setdefault(text, []).append(f"libopus, bundled by {software}")
    plain = next(text for text in under if text.startswith("Permission is hereby granted"))
    under[plain].append(RUST)
    line = "=" * 80
    parts = [HEAD]
    for text, software in under.items():
        parts.append("\n".join([line, *software, line, "", text, ""]))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it is stale")
    wanted = notices()
    if not parser.parse_args().check:
        NOTICES.write_text(wanted)
    elif not NOTICES.is_file() or NOTICES.read_text() != wanted:
        sys.exit("THIRD_PARTY_NOTICES is not up to date: run tools/notices.py")


if __name__ == "__main__":
    main()
