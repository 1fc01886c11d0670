"""Floods: what becomes of the calls whose ports are flooded, and of the calls beside them.

    python benches/flood.py [flooded|beside] [--rounds 3] [--seconds 5] [--gbit 1]

`flooded`: one call alone on its port, ten calls on ports of their own, and fifty on one shared
port, each with 50 000 datagrams a second of strangers and without. Of every call, all that its peer
spoke must be received and heard as it was spoken, and all that is played to it must arrive.

`beside`: ten calls that play, and one more whose port gets the datagrams that cost most, of five
kinds, as if its far end's address were forged; the generator is on the last core, the calls are on
the first, with real-time scheduling and without the right to it (CAP_SYS_NICE, dropped by setpriv).
What is measured are the intervals between the packets of the ten, in one run before the flood and
in it.
"""

from __future__ import annotations

import argparse
import sys

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
    wait_until_calm,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("part", nargs="?", choices=("flooded", "beside"), help="both by default")
    parser.add_argument("--rate", type=int, default=50_000, help="datagrams a second, of `flooded`")
    parser.add_argument("--gbit", type=float, default=1.0, help="Gbit/s on the wire, of `beside`")
    parser.add_argument(
        "--sink",
        action="store_true",
        help="of `beside`: in the calm, flood a port that nobody reads",
    )
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.part in (None, "flooded"):
        flooded(args.rounds, args.seconds, args.rate)
    if args.part in (None, "beside"):
        beside(args.rounds, args.seconds, round(args.gbit * 1e9), args.sink)


# The flooded calls themselves.

SCENES = ((1, "alone"), (10, "alone"), (50, "shared"))
LOSSES = {
    "lost": "lost",
    "late": "late",
    "concealed": "concealed",
    "wrong": "misheard",
    "kernel_drops": "kernel drops",
}


def flooded(rounds: int, seconds: int, flood: int) -> None:
    rows = []
    for number in range(rounds):
        for calls, ports in SCENES:
            for rate in (0, flood):
                wait_until_calm()
                say(f"round {number + 1} of {rounds}: {calls} {ports}, {rate} datagrams/s")
                rows.append({"round": number, **run(calls, ports, seconds, rate)})
    lines = []
    for calls, ports in SCENES:
        for rate in (0, flood):
            own = [
                row
                for row in rows
                if (row["calls"], row["ports"], row["rate"]) == (calls, ports, rate)
            ]
            lines.append(
                [
                    f"{calls} {ports}",
                    median(row["flooded_per_s"] for row in own),
                    *(sum(row[n] for row in own) for n in ("refused", "spoken", *LOSSES)),
                    max(row["interval_error_ms"] for row in own),
                    median(row["cpu_percent"] for row in own),
                ]
            )
    head = [
        "calls and ports",
        "flood/s",
        "refused",
        "spoken",
        *LOSSES.values(),
        "max|interval-20| ms",
        "CPU %",
    ]
    print(table(head, lines))
    lost = sum(row[name] for row in rows for name in LOSSES)
    print(f"no loss, nothing heard but what was spoken: {'met' if not lost else 'MISSED'}")
    print(f"{machine()}\nrows: {save('flood', rows, {'lost': lost})}")


def run(calls: int, ports: str, seconds: int, rate: int) -> Row:
    generator = Program([loadgen(), "flood", str(calls), str(seconds), str(rate)])
    with generator, Program([sys.executable, PROGRAMS / "flooded.py", ports]) as server:
        server.tell(*generator.ports())
        generator.tell(*server.ports())
        sent = generator.result()
        server.end_input()
        verdict = server.result()
        own = verdict["calls"]
    received = sum(call["packets_received"] for call in own)
    # Every datagram of the flood is accounted for: refused by its reason, or for no call at all.
    refused = ("stranger", "malformed", "unknown_payload_type", "rtcp_stranger", "rtcp_malformed")
    # A shared socket's own counts are the same in all of its calls.
    sockets = own if ports == "alone" else own[:1]
    return {
        "calls": calls,
        "ports": ports,
        "rate": rate,
        "flooded_per_s": sent["flooded"] / seconds,
        "spoken": sent["spoken"] * calls,
        "lost": sent["spoken"] * calls - received,
        "late": sum(call["late"] for call in own),
        "concealed": sum(call["concealed"] for call in own),
        "wrong": sum(call["wrong"] for call in own),
        "refused": sum(call[reason] for call in own for reason in refused)
        + sum(call["unmatched"] for call in sockets),
        "kernel_drops": sum(call["kernel_drops"] for call in sockets),
        "interval_error_ms": sent["interval_error_us"]["max"] / 1000,
        "cpu_percent": 100 * verdict["cpu_s"] / (seconds + 2),
        "detail": own,
    }


# The calls beside one that is flooded.

CALLS = 10
KINDS = {
    "tiny": "1 to 11 octets",
    "audio": "172 octets of made-up sources",
    "largest": "64 KiB of RTP and of RTCP",
    "reports": "2 KiB of RTCP",
    "forged": "2 KiB of SRTP, 16 keys",
}
WITHOUT_THE_RIGHT = ("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice")
# What a flood of one call may add to how uneven the packets of the others leave.
MOST_ADDED_MS = 5.0


def beside(rounds: int, seconds: int, bits: int, sink: bool) -> None:
    rows = []
    for number in range(rounds):
        for realtime in (True, False):
            for kind in KINDS:
                # Each run is its own measure of how calm it was.
                wait_until_calm(3)
                say(f"round {number + 1} of {rounds}: {kind}, {_scheduling(realtime)}")
                rows.append({"round": number, **run_beside(kind, realtime, seconds, bits, sink)})
    lines, missed = [], []
    for realtime in (True, False):
        for kind, what in KINDS.items():
            own = [row for row in rows if (row["kind"], row["realtime"]) == (kind, realtime)]
            calm, flood = (
                {at: median(row[phase][at] / 1000 for row in own) for at in ("p50", "p999", "max")}
                for phase in ("calm_us", "flooded_us")
            )
            added = median((r["flooded_us"]["p999"] - r["calm_us"]["p999"]) / 1000 for r in own)
            if added > MOST_ADDED_MS:
                missed.append(f"{kind}, {_scheduling(realtime)}")
            lines.append(
                [
                    f"{what}, {_scheduling(realtime)}",
                    median(row["per_s"] for row in own),
                    median(row["read_percent"] for row in own),
                    calm["p50"],
                    flood["p50"],
                    calm["p999"],
                    flood["p999"],
                    added,
                    max(row["flooded_us"]["max"] / 1000 for row in own),
                    sum(row["missing"] for row in own),
                    median(row["cpu_percent"] for row in own),
                ]
            )
    head = [
        "flood of the other call",
        "flood/s",
        "read %",
        "p50",
        "p50 flood",
        "p99.9",
        "p99.9 flood",
        "added",
        "max flood",
        "missing",
        "CPU %",
    ]
    print(table(head, lines))
    print("|interval - 20 ms| of the calls beside it in ms; medians, but of `max` the largest")
    verdict = f"MISSED by {'; '.join(missed)}" if missed else "met"
    print(f"p99.9 at most {MOST_ADDED_MS:g} ms above the same run without the flood: {verdict}")
    print(f"{machine()}\nrows: {save('flood-beside', rows, {'missed': missed})}")


def run_beside(kind: str, realtime: bool, seconds: int, bits: int, sink: bool) -> Row:
    numbers = [str(number) for number in (CALLS, seconds, bits, int(sink))]
    generator = Program([loadgen(), "worst", kind, *numbers])
    program = [sys.executable, PROGRAMS / "beside.py", "keyed" if kind == "forged" else "plain"]
    with generator, Program([*(() if realtime else WITHOUT_THE_RIGHT), *program]) as server:
        server.tell(*generator.ports())
        generator.tell(*server.ports())
        sent = generator.result()
        server.end_input()
        verdict = server.result()
    if verdict["realtime"] != realtime:
        say(f"!! meant to be {_scheduling(realtime)}, and is not")
    dropped = verdict["flooded"].get("kernel_drops", 0)
    return {
        "kind": kind,
        "realtime": realtime,
        "per_s": sent["sent"] / seconds,
        "read_percent": 100 * (1 - dropped / max(sent["sent"], 1)),
        "calm_us": sent["calm_us"],
        "flooded_us": sent["flooded_us"],
        "missing": max(0, sent["expected"] - sent["intervals"]),
        "cpu_percent": 100 * verdict["cpu_s"] / (2 * seconds + 1),
        "flooded": verdict["flooded"],
    }


def _scheduling(realtime: bool) -> str:
    return "real time" if realtime else "without CAP_SYS_NICE"


if __name__ == "__main__":
    main()
