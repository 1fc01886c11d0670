"""A hundred conversations at once: whether our packets stay in step, beside bare timer loops that
send as many in the same run (`benches/loadgen`)."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import arrivals
from harness import Program, loadgen
from line import FRAME_MS, Answers, Hears, LoudVoice, Row, calls, people
from phones import MS, Phone, Record, percentiles

WANTED_MS = 2.0
_CAP_SYS_NICE = 23


def caller(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Speaks, is answered, interrupts the answer, is answered again, until the time is over."""
    mine = told["people"]
    until = phone.now + round(told["seconds"] * 1000 * MS)
    yield from phone.wait(phone.random.uniform(200, 3000))
    turn = 0
    while phone.now < until:
        said = mine[(phone.number * 5 + turn) % len(mine)]
        phone.say(said.samples, said.onset, said.end, turn)
        while phone.saying:
            yield
        for _ in range(250):
            if phone.hears:
                break
            yield
        # Every second answer he lets us finish.
        if turn % 2:
            while phone.now < until and not phone.quiet_for(300):
                yield
        else:
            yield from phone.wait(phone.random.uniform(500, 1500))
        turn += 1


async def run(count: int, seconds: int, seed: int = 31) -> dict[str, Any]:
    generator = loadgen()
    told = {"seconds": seconds, "people": people(60, seed)}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "arrivals"
        with (
            Program([generator, "receive", str(count), record]) as receiver,
            Program([generator, "floor-timers"]) as floor,
        ):
            ports = receiver.ports()
            floor.ports()
            async with calls(
                count,
                caller,
                told,
                stt=Hears(),
                tts=LoudVoice(),
                model=Answers("yes of course let me tell you all about that one now"),
            ) as line:
                floor.tell(seconds, *ports)
                began, used = time.monotonic(), _used_s()
                await line.scripts_end(seconds * 2 + 60)
                cpu = (_used_s() - used) / (time.monotonic() - began)
                late = [line.backend.stats(one).worst_lateness_ms for one in line.sessions]
                skipped = sum(line.backend.stats(one).frames_skipped for one in line.sessions)
                turns = sum(
                    entry.what == "turn_ended"
                    for session in line.sessions
                    for entry in line.trace(session)
                )
                barged = sum(
                    entry.what == "barged_in"
                    for session in line.sessions
                    for entry in line.trace(session)
                )
                records = line.phones.records()
            await asyncio.to_thread(floor.result)
            receiver.end_input()
            receiver.result()
        flows = arrivals.read(record)
    ours, missing, packets = _intervals(records)
    bare = arrivals.pacing(list(flows.values()), seconds * 50)
    return {
        "calls": count, "seconds": seconds, "packets": packets, "missing": missing,
        "ours": percentiles(ours, 50, 99, 99.9, 100),
        "floor": [bare["jitter_ms"][each] for each in ("p50", "p99", "p999", "max")],
        "turns": turns, "barged_in": barged, "skipped": skipped, "worst_lateness_ms": max(late),
        "cpu_cores": cpu, "sys_nice": has_sys_nice(), "load": os.getloadavg()[0],
        "phones_late_ms": max(record.latest_ms for record in records),
    }  # fmt: skip


def _intervals(records: list[Record]) -> tuple[list[float], int, int]:
    """|interval − 20 ms| within talkspurts; numbers that never came; packets."""
    off: list[float] = []
    missing = total = 0
    for record in records:
        packets = sorted(record.packets, key=lambda each: each.at_ns)
        total += len(packets)
        for before, after in pairwise(packets):
            step = (after.seq - before.seq) & 0xFFFF
            if step != 1:
                missing += step - 1 if step < 0x8000 else 0
                continue
            ticks = (after.timestamp - before.timestamp) % 2**32
            # A marker begins a talkspurt; within one, time goes on frame by frame.
            if ticks == 160 and not after.marker:
                off.append(abs((after.at_ns - before.at_ns) / MS - FRAME_MS))
            elif not after.marker:
                missing += ticks // 160 - 1
    return off, missing, total


def has_sys_nice() -> bool:
    """Whether the media thread may ask for real-time scheduling (CAP_SYS_NICE)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


def _used_s() -> float:
    mine = resource.getrusage(resource.RUSAGE_SELF)
    return mine.ru_utime + mine.ru_stime


def rows(found: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        p50, _, p999, worst = one["ours"]
        floor = one["floor"][2]
        nice = "with" if one["sys_nice"] else "without"
        lines.append(
            Row(
                f"{one['calls']} conversations at once, {one['seconds']} s: \\|interval − 20 ms\\|"
                f" within talkspurts, {nice} CAP_SYS_NICE",
                "p99.9 ≤ 2 ms above a bare timer; none missing",
                f"p50 {p50:.3f}, p99.9 {p999:.2f} (bare timer {floor:.2f}), max {worst:.1f} ms;"
                f" {one['missing']} of {one['packets']} missing; {one['turns']} turns,"
                f" {one['barged_in']} interruptions, {one['cpu_cores']:.2f} cores",
                p999 <= floor + WANTED_MS and one["missing"] == 0,
            )
        )
    return lines
