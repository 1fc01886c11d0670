"""`python -m roomkit` is `roomkit`."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["roomkit", "roomkit.cli"])
def test_the_package_runs_as_the_command_does(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("usage: roomkit ")
    assert "serve" in done.stdout
