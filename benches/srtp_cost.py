"""What it costs to protect and to unprotect a packet of 20 ms of G.711, beside libsrtp.

    python benches/srtp_cost.py [--rounds 15]

Both are native programs that are asked in turn, suite by suite and round after round: ours
(`crates/media/examples/srtp_cost.rs`) and libsrtp called directly (`srtp/libsrtp.c`; needs cc and
`libsrtp2-dev`). Each answer is the mean of 20 000 packets; the table has the medians.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from harness import (
    BENCHES,
    GENERATED,
    Program,
    Row,
    machine,
    median,
    save,
    say,
    table,
    wait_until_calm,
)

SUITES = (
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()

    rows: list[Row] = []
    wait_until_calm()
    try:
        theirs = libsrtp()
    except (OSError, subprocess.CalledProcessError):
        say("srtp_cost: not run, for want of cc or libsrtp2-dev")
        return
    with Program([ours()]) as us, Program([theirs]) as them:
        for number in range(args.rounds):
            for suite in SUITES:
                for name, program in (("ours", us), ("libsrtp", them)):
                    program.tell_line(suite)
                    protect, unprotect = map(float, program.line().split())
                    rows.append(
                        {
                            "round": number,
                            "suite": suite,
                            "of": name,
                            "protect_ns": protect,
                            "unprotect_ns": unprotect,
                        }
                    )
    summary: Row = {}
    for suite in SUITES:
        for name in ("ours", "libsrtp"):
            for what in ("protect_ns", "unprotect_ns"):
                of = [row[what] for row in rows if (row["suite"], row["of"]) == (suite, name)]
                summary[f"{suite} {name} {what}"] = median(of)
    lines = []
    for suite in SUITES:
        figures = [
            summary[f"{suite} {name} {what}"] / 1000
            for what in ("protect_ns", "unprotect_ns")
            for name in ("ours", "libsrtp")
        ]
        lines.append([suite, *figures])
    head = ["suite", "protect µs", "libsrtp", "unprotect µs", "libsrtp"]
    print(table(head, lines))
    print(f"{machine()}\n{save('srtp_cost', rows, summary)}")


def ours() -> Path:
    """Builds our program if it has to be, and returns its path."""
    target = GENERATED / "srtp"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(target)]
    command += ["-p", "roomkit-media", "--example", "srtp_cost"]
    subprocess.run(command, check=True, cwd=BENCHES.parent)
    return target / "release" / "examples" / "srtp_cost"


def libsrtp() -> Path:
    """The same of libsrtp's."""
    program = GENERATED / "srtp" / "libsrtp"
    program.parent.mkdir(parents=True, exist_ok=True)
    source = BENCHES / "srtp" / "libsrtp.c"
    subprocess.run(["cc", "-O2", "-o", program, source, "-lsrtp2"], check=True)
    return program


if __name__ == "__main__":
    main()
