"""`_native.pyi` says what the built module has: neither more nor less, with the same signatures.

`mypy.stubtest` says "success" where it does not find the stub of an underscore module, so the
check is made on the stub as it is, and again with faults in it, each of which must be seen.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import roomkit

INSTALLED = Path(roomkit.__file__).parent
STUB = INSTALLED / "_native.pyi"


def stubtest(stub: str, folder: Path) -> tuple[int, str]:
    """Compares the built module with a stub text, in a tree that has nothing else."""
    package = folder / "roomkit"
    package.mkdir()
    (package / "__init__.pyi").touch()
    (package / "_native.pyi").write_text(stub)
    # `mypy_path` from the project's own settings would put the source tree's stub first.
    settings = folder / "mypy.ini"
    settings.write_text("[mypy]\n")
    run = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "roomkit._native", "--mypy-config-file", settings],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def test_the_native_module_is_installed_and_has_its_stub() -> None:
    spec = importlib.util.find_spec("roomkit._native")
    assert spec is not None
    assert spec.origin is not None
    # A built module, not something of the same name in Python.
    assert Path(spec.origin).suffix in (".so", ".pyd"), spec.origin
    assert STUB.exists()
    assert (INSTALLED / "py.typed").exists()


def test_the_stub_says_what_the_module_has(tmp_path: Path) -> None:
    code, output = stubtest(STUB.read_text(), tmp_path)
    assert code == 0, output
    assert "Success" in output, output


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r"def cancel\(self, upto: int\)", "def cancel(self, up: int)", "Session.cancel"),
        (r"def queued_ms\(self\)", "def waiting_ms(self)", "Session.waiting_ms"),
        (r"\Z", "\ndef invented() -> None: ...\n", "_native.invented"),
        (r"@final\nclass Inbox:(.|\n)*?(?=\n@final|\Z)", "Inbox: int\n", "_native.Inbox"),
    ],
    ids=["renamed parameter", "renamed method", "function that is not there", "class as a value"],
)
def test_a_fault_in_the_stub_is_seen(
    pattern: str, replacement: str, complaint: str, tmp_path: Path
) -> None:
    faulty, changed = re.subn(pattern, replacement, STUB.read_text(), count=1)
    assert changed == 1, f"the stub has no {pattern!r} any longer: give this test another fault"
    code, output = stubtest(faulty, tmp_path)
    assert code != 0, output
    assert complaint in output, output
