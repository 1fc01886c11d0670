"""What `import roomkit` costs and brings in."""

from __future__ import annotations

import subprocess
import sys

import pytest

import roomkit
import roomkit.voice

_MEASURE = """
import sys, time
began = time.perf_counter()
import roomkit
print(time.perf_counter() - began, "roomkit._native" in sys.modules, "asyncio" in sys.modules)
"""


def test_importing_takes_less_than_100_ms_and_loads_no_native_module() -> None:
    # The best of three: the machine may be busy with something else.
    runs = [
        subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, native, loop = min(run.stdout.split() for run in runs)
    assert float(seconds) < 0.1
    assert (native, loop) == ("False", "False")


@pytest.mark.parametrize("module", [roomkit, roomkit.voice])
def test_every_public_name_is_there_and_no_other(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in set(names) - {"RTPVoiceBackend"}:  # that one brings the native module in
        assert getattr(module, name).__name__ == name
    assert set(dir(module)) >= set(names)
    with pytest.raises(AttributeError, match="Telegraph"):
        module.Telegraph  # type: ignore[attr-defined]  # noqa: B018
