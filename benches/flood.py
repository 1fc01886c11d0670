"""A flood: what becomes of calls whose ports strangers send 50 000 datagrams a second to.

    python benches/flood.py [--rate 50000] [--seconds 3] [--rounds 3]

One call alone on its port, ten calls on ports of their own, and fifty on one shared port, each with
the flood and without. Of every call, all that its peer spoke must be received and heard as it was
spoken, and all that is played to it must arrive.
"""

from __future__ import annotations

import argparse
import sys

from harness import PROGRAMS, Program, Row, loadgen, machine, median, save, table, wait_until_calm

SCENES = ((1, "alone"), (10, "alone"), (50, "shared"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rate", type=int, default=50_000, help="datagrams a second, of all")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    rows = []
    for number in range(args.rounds):
        for calls, ports in SCENES:
            for rate in (0, args.rate):
                wait_until_calm()
                rows.append({"round": number, **run(calls, ports, args.seconds, rate)})
    lines = []
    for calls, ports in SCENES:
        for rate in (0, args.rate):
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


LOSSES = {
    "lost": "lost",
    "late": "late",
    "concealed": "concealed",
    "wrong": "misheard",
    "kernel_drops": "kernel drops",
}


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


if __name__ == "__main__":
    main()
