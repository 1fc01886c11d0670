"""Pacing on the wire while the event loop is blocked 200 ms of every 300 and a thread spins.

    python benches/pacing_under_stalls.py [--calls 20] [--seconds 20] [--rounds 3] [--peer]

At the same time, on the same machine, bare timer loops in Rust send the same to the same receiver:
the floor, how exact pacing can be here. The kernel's receive timestamps judge both. With `--peer`
the PyPI `roomkit` plays too, in turn; as it does not pace, the program does, from its event loop.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
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
STALL_MS, EVERY_MS = 200, 300
GRACE_S = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="the PyPI roomkit too, for contrast")
    args = parser.parse_args()

    generator = loadgen()
    players: dict[str, list[str | Path]] = {
        "ours": [sys.executable, PROGRAMS / "player.py", "core"]
    }
    if args.peer and (python := peers.ROOMKIT.python()):
        players["roomkit"] = [python, PROGRAMS / "player.py", "own"]
    rows: list[Row] = []
    for number in range(1, args.rounds + 1):
        for name, command in players.items():
            for row in play(generator, name, command, args.calls, args.seconds):
                rows.append({"round": number, **row})
                say(f"round {number}  {line_of(row)}")

    summary = {name: summarise(rows, name) for name in dict.fromkeys(r["sender"] for r in rows)}
    print(report(summary))
    print(verdict(summary))
    print(f"{machine()}\nrows: {save('pacing_under_stalls', rows, summary)}")


def play(
    generator: Path, name: str, command: list[str | Path], calls: int, seconds: int
) -> list[Row]:
    """One player and the floor beside it."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "arrivals"
        stalls = [str(seconds), str(STALL_MS), str(EVERY_MS)]
        receiver = Program([generator, "receive", str(2 * calls), record])
        with (
            receiver,
            Program([*command, *stalls]) as player,
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
        f"  max {late['max']:.3f} ms  lost {row['lost']}  busy {row['busy']:.2f} cores"
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
    summary["lost"] = sum(row["lost"] for row in own)
    return summary


def report(summary: Row) -> str:
    columns = ["p50", "p99", "p999", "max"]
    head = ["in ms", *(f"|Δ−20| {of}" for of in columns), "worst call p99"]
    head += [*(f"late {of}" for of in ("p99", "p999")), "latest", "lost"]
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

    return (
        f"p99 over the floor's: {over:+.3f} ms, {of(over, MOST_OVER_FLOOR_MS)}\n"
        f"latest packet of all rounds: {ours['latest']:.3f} ms, {of(ours['latest'], MOST_LATE_MS)}"
        f" (the floor's: {floor['latest']:.3f} ms)\n"
        f"lost: {ours['lost']}, {of(ours['lost'], 0)}"
    )


if __name__ == "__main__":
    main()
