"""Barge-in: from the caller's first speech packet on the wire to our last loud one.

Speech begins where the clean recording does; in noise, where it is as loud as that: what is 25 dB
below the noise nobody hears. How much sooner the recording began is told beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from line import (
    LEVEL_DBFS,
    Row,
    calls,
    loud_times,
    noise_of,
    our_voice,
    people,
    silent_after,
)
from phones import MS, Phone, percentiles

from roomkit import HookExecution, HookTrigger

NOISES = ("white", "car")
WANTED = (180.0, 210.0)


def caller(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Waits until we speak, then speaks himself, again and again."""
    trials, snr = told["trials"], told["snr"]
    mine = told["people"]
    if snr is not None:
        phone.background = told["noises"][phone.number % len(NOISES)]
    for trial in range(trials):
        said = mine[(phone.number * trials + trial) % len(mine)]
        for _ in range(600):
            if phone.hears:
                break
            yield
        yield from phone.wait(phone.random.uniform(900, 2000))
        phone.say(said.samples, said.audible, said.end, (said.audible - said.onset) / 8)
        while phone.saying:
            yield
        for _ in range(600):
            if phone.quiet_for(600):
                break
            yield


async def run(
    vad: str, snr: float | None, count: int, trials: int, seed: int = 8
) -> dict[str, Any]:
    """`count` calls at once, each interrupted `trials` times."""
    noises = [] if snr is None else [noise_of(kind, snr, seed) for kind in NOISES]
    mine = people(min(60, count * trials), seed)
    if snr is not None:
        mine = [one.in_noise(LEVEL_DBFS - snr) for one in mine]
    told = {"trials": trials, "snr": snr, "people": mine, "noises": noises}
    barged = 0

    def prepare(line: Any) -> None:
        async def on_barge_in(event: Any, ctx: Any) -> None:
            nonlocal barged
            barged += 1

        line.kit.add_hook(HookTrigger.ON_BARGE_IN, on_barge_in, execution=HookExecution.ASYNC)

    async with calls(count, caller, told, vad=vad, barge_in=True, prepare=prepare) as line:
        playing = [
            asyncio.create_task(_play(line, session, number))
            for number, session in enumerate(line.sessions)
        ]
        await line.scripts_end(30 + trials * 25)
        for task in playing:
            task.cancel()
        records = line.phones.records()
    tails, clean, missed = [], [], 0
    for record in records:
        loud = loud_times(record.packets)
        for said in record.said:
            last = silent_after(loud, said.onset_ns)
            if last is None:
                continue
            if last - said.onset_ns > 1500 * MS and last > said.end_ns:
                missed += 1
            else:
                tails.append(max(0, last - said.onset_ns) / MS)
                clean.append(tails[-1] + said.tag)
    p50, p95, worst = percentiles(tails, 50, 95, 100)
    late = max(record.latest_ms for record in records)
    return {
        "vad": vad, "snr": snr, "trials": len(tails) + missed, "missed": missed,
        "p50": p50, "p95": p95, "max": worst, "barged_in": barged, "phones_late_ms": late,
        "tails": tails, "clean_p50": percentiles(clean, 50)[0],
        "clean_p95": percentiles(clean, 95)[0],
    }  # fmt: skip


async def _play(line: Any, session: Any, number: int) -> None:
    await asyncio.sleep(1.0 + number * 0.05)
    while True:
        await line.channel.play(session, our_voice(12.0, number))
        await asyncio.sleep(2.5)


def rows(found: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        recorded = ""
        if one["snr"] is not None:
            clean = f"{one['clean_p50']:.0f}, {one['clean_p95']:.0f}"
            recorded = f" (from the recording's own beginning {clean})"
        noise = "quiet" if one["snr"] is None else f"{one['snr']:g} dB SNR"
        silero = one["vad"] == "silero"
        lines.append(
            Row(
                f"barge-in, {one['vad']}, {noise}: first speech packet → our last loud packet",
                "p50 ≤ 180, p95 ≤ 210 ms" if silero else "(beside it)",
                f"p50 {one['p50']:.0f}, p95 {one['p95']:.0f}, max {one['max']:.0f} ms{recorded};"
                f" {one['missed']} of {one['trials']} missed, {one['barged_in']} confirmed",
                (one["p50"] <= WANTED[0] and one["p95"] <= WANTED[1]) if silero else None,
            )
        )
    return lines
