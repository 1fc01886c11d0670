"""Pacing on the wire while the event loop is blocked.

    python benches/pacing_under_stalls.py [--calls 20] [--streams 100] [--seconds 20] [--rounds 3]
                                          [--peer]

Calls whose audio is at hand: blocked 200 ms of every 300 while a thread spins. Streams from sources
three times faster than speech: blocked 500 ms of every 1000, without and with a thread that spins.

At the same time, on the same machine, bare timer loops in Rust send the same to the same receiver:
the floor, how exact pacing can be here. The kernel's receive timestamps judge both. With `--peer`
the PyPI `roomkit` plays too, in turn; as it does not pace, the program does, from its event loop.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import arrivals
import peers
from harness import (
    PROGRAMS,
    Program,
    Row,
    loadgen,
    machine,
    median,
    save,
    say,
    table,
    used_cpu,
)

MOST_OVER_FLOOR_MS = 1.0
MOST_LATE_MS = 10.0
GRACE_S = 3
PLAYER = PROGRAMS / "player.py"


@dataclass(frozen=True, slots=True)
class Scene:
    """Who plays how, and what the program does meanwhile."""

    python: str
    pacing: str
    calls: int
    stall_ms: int
    every_ms: int
    spins: bool = True

    def command(self, seconds: int) -> list[str | Path]:
        quiet = [] if self.spins else ["quiet"]
        stalls = [str(self.stall_ms), str(self.every_ms)]
        return [self.python, PLAYER, self.pacing, str(seconds), *stalls, *quiet]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="the PyPI roomkit too, for contrast")
    args = parser.parse_args()

    generator = loadgen()
    scenes = {
        "ours": Scene(sys.executable, "core", args.calls, 200, 300),
        "streams": Scene(sys.executable, "stream", args.streams, 500, 1000, spins=False),
        "streams, spinning": Scene(sys.executable, "stream", args.streams, 500, 1000),
    }
    if args.peer and (python := peers.ROOMKIT.python()):
        scenes["roomkit"] = Scene(str(python), "own", args.calls, 200, 300)
    rows: list[Row] = []
    for number in range(1, args.rounds + 1):
        for name, scene in scenes.items():
            for row in play(generator, name, scene, args.seconds):
                rows.append({"round": number, **row})
                say(f"round {number}  {line_of(row)}")

    summary = {name: summarise(rows, name) for name in dict.fromkeys(r["sender"] for r in rows)}
    print(report(summary))
    print(verdict(summary))
    print(f"{machine()}\nrows: {save('pacing_under_stalls', rows, summary)}")


def play(generator: Path, name: str, scene: Scene, seconds: int) -> list[Row]:
    """One player and the floor beside it."""
    calls = scene.calls
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "arrivals"
        receiver = Program([generator, "receive", str(2 * calls), record])
        with (
            receiver,
            Program(scene.command(seconds)) as player,
            Program([generator, "floor-timers"]) as floor,
        ):
            ports = receiver.ports()
            player.tell(*ports[:calls])
            player.line()
            floor.ports()
            busy, started = used_cpu(), time.monotonic()
            player.tell()
            floor.tell(seconds, *ports[calls:])
            floor.result()
            if not player.wait(GRACE_S):
                say(f"!! {name} is not done {GRACE_S} s after its time; the rest counts as lost")
            busy = (used_cpu() - busy) / (time.monotonic() - started)
            receiver.end_input()
            receiver.result()
        flows = arrivals.read(record)
    of_player = [flows.get(flow, []) for flow in range(calls)]
    of_floor = [flows.get(flow, []) for flow in range(calls, 2 * calls)]
    return [
        {"sender": name, "busy": busy, **arrivals.pacing(of_player, 50 * seconds)},
        {"sender": f"floor beside {name}", "busy": busy, **arrivals.pacing(of_floor, 50 * seconds)},
    ]


def line_of(row: Row) -> str:
    jitter, late = row["jitter_ms"], row["late_ms"]
    return (
        f"{row['sender']:20} |interval − 20 ms| p99 {jitter['p99']:.3f}  late p99 {late['p99']:.3f}"
        f"  max {late['max']:.3f} ms  missing {row['missing']}  lost {row['lost']}"
        f"  busy {row['busy']:.2f} cores"
    )


def summarise(rows: list[Row], name: str) -> Row:
    """Medians over the rounds; of what must never happen, the worst round."""
    own = [row for row in rows if row["sender"] == name]
    summary: Row = {
        f"{what}_{of}": median(row[f"{what}_ms"][of] for row in own)
        for what in ("jitter", "late")
        for of in ("p50", "p99", "p999", "max")
    }
    summary["worst_p99"] = median(row["worst_p99_ms"] for row in own)
    summary["latest"] = max(row["late_ms"]["max"] for row in own)
    summary["missing"] = sum(row["missing"] for row in own)
    summary["lost"] = sum(row["lost"] for row in own)
    return summary


def report(summary: Row) -> str:
    columns = ["p50", "p99", "p999", "max"]
    head = ["in ms", *(f"|Δ−20| {of}" for of in columns), "worst call p99"]
    head += [*(f"late {of}" for of in ("p99", "p999")), "latest", "missing", "lost"]
    return table(
        head,
        (
            [
                name,
                *(f"{of[f'jitter_{column}']:.3f}" for column in columns),
                f"{of['worst_p99']:.3f}",
                f"{of['late_p99']:.3f}",
                f"{of['late_p999']:.3f}",
                f"{of['latest']:.3f}",
                of["missing"],
                of["lost"],
            ]
            for name, of in summary.items()
        ),
    )


def verdict(summary: Row) -> str:
    ours, floor = summary["ours"], summary["floor beside ours"]
    over = ours["jitter_p99"] - floor["jitter_p99"]

    def of(value: float, most: float) -> str:
        return f"at most {most:g} is wanted: {'met' if value <= most else 'MISSED'}"

    lines = [f"p99 over the floor's: {over:+.3f} ms, {of(over, MOST_OVER_FLOOR_MS)}"]
    for name in ("ours", "streams", "streams, spinning"):
        row, beside = summary[name], summary[f"floor beside {name}"]
        lines += [
            f"{name}: latest packet of all rounds {row['latest']:.3f} ms,"
            f" {of(row['latest'], MOST_LATE_MS)} (the floor's: {beside['latest']:.3f} ms)",
            f"{name}: missing {row['missing']}, lost {row['lost']},"
            f" {of(row['missing'] + row['lost'], 0)}",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
