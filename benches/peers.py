"""Environments of the PyPI peers that the benches compare with: never the one under test.

They are made on first use from pinned versions and kept in the tree's `target/benches/peers`.
`python benches/peers.py` makes them and says which there are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import GENERATED, say

PEERS = GENERATED / "peers"


@dataclass(frozen=True)
class Peer:
    """One environment."""

    name: str
    requirements: tuple[str, ...]
    oldest_python: tuple[int, int]

    def python(self) -> Path | None:
        """Its interpreter, made if need be; None, with the reason said aloud, if that fails."""
        home = PEERS / self.name
        python = home / "bin" / "python"
        if (home / "complete").exists():
            return python
        base = find_python(self.oldest_python)
        if base is None:
            version = ".".join(map(str, self.oldest_python))
            say(f"!! {self.name} is LEFT OUT: it needs Python {version} or later, and none is here")
            return None
        try:
            subprocess.run([base, "-m", "venv", "--clear", str(home)], check=True)
            pip = [str(python), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "--disable-pip-version-check", *self.requirements], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"!! {self.name} is LEFT OUT: it could not be installed: {error}")
            return None
        (home / "complete").write_text("\n".join(self.requirements))
        return python


# aiortp encodes G.711 faster where there is numpy: the peers get it, to be seen at their best.
AIORTP = Peer("aiortp", ("aiortp==0.8.0", "numpy"), (3, 11))
ROOMKIT = Peer("roomkit", ("roomkit==0.109.0", "aiortp==0.8.0", "numpy"), (3, 12))


def find_python(oldest: tuple[int, int]) -> str | None:
    """The oldest interpreter that fits, of those on the path or of pyenv: the peers then run on
    versions as near to each other as they allow."""
    for minor in range(oldest[1], 15):
        name = f"python3.{minor}"
        found = [Path(path)] if (path := shutil.which(name)) else []
        found += sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for python in found:
            test = [
                str(python),
                "-c",
                f"import sys, venv; sys.exit(sys.version_info[1] != {minor})",
            ]
            if subprocess.run(test, capture_output=True, check=False).returncode == 0:
                return str(python)
    return None


if __name__ == "__main__":
    interpreters = {peer.name: peer.python() for peer in (AIORTP, ROOMKIT)}
    for name, python in interpreters.items():
        print(f"{name:8} {python or 'not here'}")
    sys.exit(None in interpreters.values())
