"""What the benches share: building the load generator, running programs, medians, results.

Nothing here runs in the process that is measured.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

BENCHES = Path(__file__).resolve().parent
PROGRAMS = BENCHES / "programs"
# Generated things lie in the tree's `target`, which version control and the linters leave alone.
GENERATED = BENCHES.parent / "target" / "benches"
RESULTS = GENERATED / "results"

Row = dict[str, Any]


def loadgen() -> Path:
    """Builds the load generator if it has to be, and returns its path."""
    target = GENERATED / "loadgen"
    manifest = BENCHES / "loadgen" / "Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    command += ["--manifest-path", str(manifest), "--target-dir", str(target)]
    subprocess.run(command, check=True)
    return target / "release" / "loadgen"


class Program(AbstractContextManager["Program"]):
    """A child that talks by lines, and ends when its input does: at the latest with the `with`."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path | None = None) -> None:
        self.name = " ".join(Path(word).name for word in command[:2])
        # Its own package directory must not be found before the installed package.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def tell(self, *numbers: int) -> None:
        """Writes one line of numbers."""
        self.tell_line(" ".join(map(str, numbers)))

    def tell_line(self, line: str) -> None:
        """Writes one line."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def line(self) -> str:
        """The next line it prints."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self.name} ended with code {self._child.wait(10)}, saying nothing"
            )
        return line.strip()

    def ports(self) -> list[int]:
        return [int(word) for word in self.line().split()]

    def result(self) -> Any:
        """Its next line, as JSON."""
        return json.loads(self.line())

    def end_input(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()

    def wait(self, seconds: float) -> bool:
        """Until it ends by itself, which is true; one that has not by then is killed."""
        try:
            code = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return False
        if code:
            raise RuntimeError(f"{self.name} ended with code {code}")
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the largest."""
    ordered = sorted(values)
    if not ordered:
        return dict.fromkeys(("p50", "p99", "p999", "max"), float("nan"))
    last = len(ordered) - 1
    at = {name: min(int(len(ordered) * share), last) for name, share in _SHARES.items()}
    return {name: ordered[index] for name, index in at.items()}


_SHARES = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}


def machine() -> Row:
    """What the figures were seen on."""
    model = "?"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
    }


def used_cpu() -> float:
    """CPU seconds that everybody on this machine, the bench included, has used so far."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    busy = sum(int(fields[index]) for index in (0, 1, 2, 5, 6, 7))
    return busy / os.sysconf("SC_CLK_TCK")


def wait_until_calm(patience_s: float = 20.0) -> None:
    """Returns when others leave the machine alone: less than a quarter of a core for a second; or
    when patience ends, and then says so. Rounds that are measured in turn even out the rest."""
    give_up = time.monotonic() + patience_s
    while True:
        before = used_cpu()
        time.sleep(1)
        busy = used_cpu() - before
        if busy < _CALM_CORES:
            return
        if time.monotonic() > give_up:
            say(f"!! others use {busy:.1f} cores of this machine; the figures suffer from it")
            return


_CALM_CORES = 0.25


def save(name: str, rows: list[Row], summary: Row) -> Path:
    """Writes the raw rows as JSON."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(
        json.dumps({"machine": machine(), "summary": summary, "rows": rows}, indent=1) + "\n"
    )
    return path


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns, the first left-aligned, the others right-aligned."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        first, *others = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def say(text: str) -> None:
    """Progress, at once."""
    print(text, file=sys.stderr, flush=True)
