"""Time to import the package, and memory per session.

    python benches/footprint.py [--runs 20] [--idle 1000] [--active 300]

Import: whole processes (`python -c "import roomkit"` against `python -c pass`, in turn) and the
interpreter's own count (`-X importtime`). Memory: growth of the resident set from before the
sessions to after, divided by their number; the active ones echo for some seconds before. Sockets
are the kernel's and not in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from harness import PROGRAMS, Program, Row, loadgen, machine, median, save, table

MOST_IMPORT_MS = 100.0
MOST_SESSION_KIB = 100.0
MODULES = ("roomkit", "roomkit.voice.backends.rtp", "roomkit.rtp")
ACTIVE_S = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--active", type=int, default=300)
    args = parser.parse_args()

    rows = imports(args.runs)
    times = {
        module: {
            of: median(row[of] for row in rows if row["module"] == module)
            for of in ("process_ms", "import_ms")
        }
        for module in ("(nothing)", *MODULES)
    }
    bare = times["(nothing)"]["process_ms"]
    print(f"medians of {args.runs} processes, in ms")
    print(
        table(
            ["import", "process", "over bare", "-X importtime"],
            (
                [name, of["process_ms"], of["process_ms"] - bare, of["import_ms"]]
                for name, of in times.items()
            ),
        )
    )
    worst = times["roomkit"]["process_ms"] - bare
    print(f"import roomkit: {worst:.1f} ms, {verdict(worst, MOST_IMPORT_MS)}\n")

    memory = [idle(args.idle), active(args.active)]
    print(
        table(
            ["sessions", "count", "before MiB", "after MiB", "KiB each"],
            (
                [m["what"], m["count"], m["base"] / 1024, m["after"] / 1024, m["each"]]
                for m in memory
            ),
        )
    )
    for row in memory:
        print(f"{row['what']}: {row['each']:.1f} KiB, {verdict(row['each'], MOST_SESSION_KIB)}")
    path = save("footprint", rows + memory, {"imports": times, "memory": memory})
    print(f"{machine()}\nrows: {path}")


def verdict(value: float, most: float) -> str:
    return f"at most {most:g} is wanted: {'met' if value <= most else 'MISSED'}"


def imports(runs: int) -> list[Row]:
    """One row per process, all modules in turn. The first turn warms the file cache."""
    rows: list[Row] = []
    for run in range(runs + 1):
        for module in ("(nothing)", *MODULES):
            code = "pass" if module == "(nothing)" else f"import {module}"
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            took = (time.perf_counter() - started) * 1000
            if run:
                rows.append(
                    {"module": module, "process_ms": took, "import_ms": importtime(code, module)}
                )
    return rows


def importtime(code: str, module: str) -> float:
    """Cumulative ms of the top package, as the interpreter counts it."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    total = 0.0
    for line in done.stderr.splitlines():
        _, cumulative, name = (part for part in line.removeprefix("import time:").split("|"))
        # Not indented: imported by no other module. All of ours that are imported count.
        if name.startswith(" roomkit") and name[1] != " ":
            total += int(cumulative) / 1000
    return total


def idle(count: int) -> Row:
    """Sessions that have been opened and hear nothing."""
    generator = loadgen()
    receiver = Program([generator, "echo", "1", "1", "1"])
    command: list[str | Path] = [sys.executable, PROGRAMS / "footprint.py", "idle", str(count)]
    with receiver, Program(command) as program:
        program.tell(*receiver.ports())
        base = program.ports()[0]
        program.tell()
        after = program.ports()[0]
    return {
        "what": "idle",
        "count": count,
        "base": base,
        "after": after,
        "each": (after - base) / count,
    }


def active(count: int) -> Row:
    """Sessions that echo."""
    load = Program([loadgen(), "echo", str(count), "1", str(ACTIVE_S)])
    command: list[str | Path] = [sys.executable, PROGRAMS / "footprint.py", "echo", str(count)]
    with load, Program(command) as program:
        program.tell(*load.ports())
        base, *ports = program.ports()
        load.tell(program.pid, *ports)
        time.sleep(ACTIVE_S)
        program.tell()
        after = program.ports()[0]
        load.result()
    return {
        "what": "active",
        "count": count,
        "base": base,
        "after": after,
        "each": (after - base) / count,
    }


if __name__ == "__main__":
    main()
