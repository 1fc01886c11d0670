"""Runs the Rust workspace's tests, so that one command runs every test there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Built from nothing on two busy cores, with the tests themselves to run after that.
TIMEOUT = 1500


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT + 30)
def test_the_rust_workspace_passes_its_tests() -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        message = "NOT TESTED: the Rust workspace, cargo is missing; to test it: install Rust"
        if os.environ.get("ROOMKIT_REQUIRE_PEERS") == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    run = subprocess.run(
        [cargo, "test", "--workspace", "--locked", "--no-fail-fast"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "PATH": with_cmake(), "CARGO_TERM_COLOR": "never"},
    )
    results = re.findall(r"^test result: (\w+)\. (\d+) passed", run.stdout, re.MULTILINE)
    passed = sum(int(count) for _, count in results)
    failures = re.findall(r"^---- .*?(?=^---- |^failures:$)", run.stdout, re.MULTILINE | re.DOTALL)
    shown = "".join(failures)[-20_000:] or run.stdout[-6000:]
    assert run.returncode == 0, f"cargo test exited with {run.returncode}\n{shown}"
    assert all(word == "ok" for word, _ in results)
    # A run that finds no tests must not pass: the media core alone has more than this.
    assert passed > 100, f"cargo test ran {passed} tests\n{shown}"
    print(f"cargo test: {passed} passed")


def with_cmake() -> str:
    """The search path with this environment's programs behind the system's: cmake, which builds
    libopus, is among them, whether or not the environment is activated."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")])
