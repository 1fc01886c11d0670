"""CPU of echo calls: ours, the PyPI peers, and a plain epoll echo as the floor.

    python benches/echo_load.py [--calls 300] [--seconds 10] [--rounds 3] [--only ours floor …]

G.711 calls of 20 ms packets, each packet handed to one Python callback that sends it back. All
servers are measured in turn, round after round, so that whatever else the machine does meets all
of them. A server that returns less than 99 % of the packets is not carrying the calls: then the
number that it does carry is looked for, and its CPU per call is taken from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    wait_until_calm,
)

VALID = 0.99
WARMUP_S = 3
# Calls tried with a server that does not carry as many as asked, as shares of those.
FEWER = (2 / 3, 1 / 2, 1 / 3, 1 / 6, 1 / 12)
MOST_OF_PEER, MOST_OF_FLOOR = 1 / 5, 3.0


@dataclass(frozen=True)
class Server:
    """Something that echoes."""

    name: str
    command: Callable[[int], list[str | Path]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="SERVER", help="ours, roomkit, aiortp, floor")
    args = parser.parse_args()

    generator = loadgen()
    servers = [s for s in known_servers(generator) if not args.only or s.name in args.only]
    calls = {server.name: args.calls for server in servers}
    rows: list[Row] = []
    for server in servers:
        calls[server.name] = carried(generator, server, args.calls, rows)
    for number in range(1, args.rounds + 1):
        for server in servers:
            row = measure(generator, server, calls[server.name], args.seconds)
            rows.append({"round": number, **row})
            say(f"round {number}  {line_of(row)}")

    summary = summarise([row for row in rows if row["round"]])
    print(report(summary))
    print(verdict(summary))
    print(f"{machine()}\nrows: {save('echo_load', rows, summary)}")


def known_servers(generator: Path) -> list[Server]:
    backend = PROGRAMS / "echo_backend.py"
    servers = [Server("ours", lambda _: [sys.executable, backend, "one"])]
    if roomkit := peers.ROOMKIT.python():
        # Its sessions do not tell which port they got, and share none: a backend for each call.
        servers.append(Server("roomkit", lambda _: [roomkit, backend, "each"]))
    if aiortp := peers.AIORTP.python():
        servers.append(Server("aiortp", lambda _: [aiortp, PROGRAMS / "echo_aiortp.py"]))
    servers.append(Server("floor", lambda calls: [generator, "floor-echo", str(calls)]))
    return servers


def carried(generator: Path, server: Server, calls: int, rows: list[Row]) -> int:
    """The number of calls to measure with: those asked for, or as many as the server carries."""
    for number in (calls, *(max(1, round(calls * share)) for share in FEWER)):
        row = measure(generator, server, number, 4)
        rows.append({"round": 0, **row})
        say(f"trial    {line_of(row)}")
        if row["valid"]:
            return number
    say(f"!! {server.name} carries not even {number} calls")
    return number


def measure(generator: Path, server: Server, calls: int, seconds: int) -> Row:
    """One server under one load."""
    load = Program([generator, "echo", str(calls), str(WARMUP_S), str(seconds)])
    with load, Program(server.command(calls)) as echo:
        echo.tell(*load.ports())
        ports = echo.ports()
        wait_until_calm()
        used, started = used_cpu(), time.monotonic()
        load.tell(echo.pid, *ports)
        row: Row = load.result()
        took = time.monotonic() - started
        # Of the whole run, that begins and ends a little outside of what is measured.
        own = (row["server_cpu_s"] + row["own_cpu_s"]) * took / seconds
        row["others_cores"] = max(0.0, (used_cpu() - used - own) / took)
        row["ratio"] = row["echoed"] / row["sent"]
    row["server"] = server.name
    row["valid"] = row["ratio"] >= VALID
    row["cpu_per_call"] = row["server_cpu_s"] / (calls * seconds)
    row["us_per_packet"] = row["server_cpu_s"] / max(1, row["echoed"]) * 1e6
    return row


def line_of(row: Row) -> str:
    state = "" if row["valid"] else "  INVALID"
    p99_ms = row["latency_us"]["p99"] / 1000
    return (
        f"{row['server']:8} {row['calls']:4} calls  {row['cpu_per_call'] * 100:6.3f} % of a core"
        f" per call  {row['ratio'] * 100:6.2f} % came back  p99 {p99_ms:.1f} ms"
        f"  others {row['others_cores']:.2f} cores{state}"
    )


def summarise(rows: list[Row]) -> Row:
    """Medians over the rounds, per server."""
    summary: Row = {}
    for name in dict.fromkeys(row["server"] for row in rows):
        own = [row for row in rows if row["server"] == name]
        summary[name] = {
            "calls": own[0]["calls"],
            "valid": all(row["valid"] for row in own),
            "cpu_per_call": median(row["cpu_per_call"] for row in own),
            "us_per_packet": median(row["us_per_packet"] for row in own),
            "ratio": median(row["ratio"] for row in own),
            "p50_ms": median(row["latency_us"]["p50"] for row in own) / 1000,
            "p99_ms": median(row["latency_us"]["p99"] for row in own) / 1000,
            "load_late_p99_us": median(row["send_late_us"]["p99"] for row in own),
            "others_cores": median(row["others_cores"] for row in own),
            "load_cpu": median(row["own_cpu_s"] / row["seconds"] for row in own),
        }
    return summary


def report(summary: Row) -> str:
    head = [
        "server",
        "calls",
        "core %/call",
        "µs/packet",
        "calls/core",
        "back %",
        "p50 ms",
        "p99 ms",
    ]
    return table(
        [*head, "load late p99 µs", "load core %", "others core %", ""],
        (
            [
                name,
                of["calls"],
                of["cpu_per_call"] * 100,
                of["us_per_packet"],
                1 / of["cpu_per_call"],
                f"{of['ratio'] * 100:.2f}",
                of["p50_ms"],
                of["p99_ms"],
                of["load_late_p99_us"],
                of["load_cpu"] * 100,
                of["others_cores"] * 100,
                "" if of["valid"] else "INVALID",
            ]
            for name, of in summary.items()
        ),
    )


def verdict(summary: Row) -> str:
    """The ratios that matter, against what they should be."""
    lines = []
    for other, most in (("roomkit", MOST_OF_PEER), ("aiortp", None), ("floor", MOST_OF_FLOOR)):
        if "ours" not in summary or other not in summary:
            continue
        ratio = summary["ours"]["cpu_per_call"] / summary[other]["cpu_per_call"]
        text = f"ours / {other}: {ratio:.3f}"
        if most is not None:
            text += f", at most {most:g} is wanted: {'met' if ratio <= most else 'MISSED'}"
        lines.append(text)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
