"""Interruption: how soon the wire is silent, and what it costs with much or little waiting.

    python benches/interrupt.py [--calls 10] [--times 40] [--each 25]

`--calls` calls play ten seconds and are interrupted at random moments, `--times` each. The kernel's
receive timestamps say when the last packet came, counted from the call of `cancel_audio`. Then 0.1,
1, 60 and 600 s of audio wait, in turn, and `cancel_audio` is timed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import arrivals
from harness import PROGRAMS, Program, Row, loadgen, machine, median, percentiles, save, table

ONE_FRAME_MS = 20.0
INTERRUPTED: list[str | Path] = [sys.executable, PROGRAMS / "interrupted.py"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--times", type=int, default=40, help="interruptions of each call")
    parser.add_argument("--each", type=int, default=25, help="interruptions of each amount")
    args = parser.parse_args()

    generator = loadgen()
    rows = moments(generator, args.calls, args.times)
    tails = [row["tail_ms"] for row in rows]
    silent = percentiles(tails)
    packets = [row["packets_after"] for row in rows]
    print(f"{len(rows)} interruptions")
    phases = percentiles([row["phase_ms"] for row in rows])
    lines = [
        ["last packet before to call", *phases.values()],
        ["call to last packet", *silent.values()],
    ]
    print(table(["ms", *silent], lines))
    print(f"packets after the call: {packets.count(0)} times none, {packets.count(1)} times one,")
    print(f"  {sum(count > 1 for count in packets)} times more")
    met = silent["max"] <= ONE_FRAME_MS and max(packets) <= 1
    print(f"at most one frame ({ONE_FRAME_MS:g} ms) is wanted: {'met' if met else 'MISSED'}\n")

    costs = amounts(generator, args.each)
    groups: list[Row] = []
    for lead, seconds in dict.fromkeys((row["lead_ms"], row["seconds"]) for row in costs):
        own = [row for row in costs if (row["lead_ms"], row["seconds"]) == (lead, seconds)]
        medians = {of: median(row[of] for row in own) for of in ("cancel_us", "over_ms", "cpu_us")}
        groups.append({"lead_ms": lead, "seconds": seconds, **medians})
    head = ["lead_ms", "audio s", "cancel_audio µs", "send_audio returned ms", "CPU µs"]
    print(table(head, (list(group.values()) for group in groups)))
    summary = {"tail_ms": silent, "costs": groups}
    print(f"{machine()}\nrows: {save('interrupt', rows + costs, summary)}")


def moments(generator: Path, calls: int, times: int) -> list[Row]:
    """One row per interruption."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "arrivals"
        receiver = Program([generator, "receive", str(calls), record])
        command = [*INTERRUPTED, "moments", str(times)]
        with receiver, Program(command) as program:
            program.tell(*receiver.ports())
            per_call: list[list[Row]] = program.result()
            receiver.end_input()
            receiver.result()
        flows = arrivals.read(record)
    rows: list[Row] = []
    for flow, interruptions in enumerate(per_call):
        for index, row in enumerate(interruptions):
            following = interruptions[index + 1 : index + 2]
            until = following[0]["began"] if following else float("inf")
            called = row["called"]
            after = [
                packet.at_ms - called * 1000
                for packet in flows[flow]
                if called < packet.at_ms / 1000 < until
            ]
            before = [
                called * 1000 - packet.at_ms
                for packet in flows[flow]
                if row["began"] < packet.at_ms / 1000 <= called
            ]
            if not (row["found"] and before):
                raise SystemExit(f"call {flow}: nothing was playing to be interrupted: {row}")
            # `phase_ms`: since the last packet before the call; it shows that moments are random.
            measured = {"tail_ms": max(after, default=0.0), "phase_ms": min(before)}
            rows.append({"call": flow, **row, **measured, "packets_after": len(after)})
    return rows


def amounts(generator: Path, each: int) -> list[Row]:
    """One row per interruption of some amount."""
    with tempfile.TemporaryDirectory() as folder:
        receiver = Program([generator, "receive", "1", Path(folder) / "arrivals"])
        command = [*INTERRUPTED, "amounts", str(each)]
        with receiver, Program(command) as program:
            program.tell(*receiver.ports())
            rows: list[Row] = program.result()
    return rows


if __name__ == "__main__":
    main()
