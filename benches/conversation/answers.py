"""Answers: from the end of the caller's speech to our first loud packet, and whether the account of
each turn says the same."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from line import (
    Answers,
    Hears,
    LoudVoice,
    Row,
    calls,
    first_after,
    loud_times,
    our_voice,
    people,
)
from phones import MS, Phone, percentiles

from roomkit import HookExecution, HookTrigger
from roomkit.voice.turns import Turns

STOP_MS = 600.0
WANTED = (40.0, 65.0)


def caller(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Says something, hears the answer to its end, says the next."""
    mine = told["people"]
    yield from phone.wait(1500 + phone.random.uniform(0, 800))
    for turn in range(told["turns"]):
        said = mine[(phone.number * told["turns"] + turn) % len(mine)]
        phone.say(said.samples, said.onset, said.end, turn)
        while phone.saying:
            yield
        asked = phone.now
        for _ in range(200):
            if phone.last_loud > asked and phone.quiet_for(200):
                break
            yield
        yield from phone.wait(phone.random.uniform(600, 1200))


async def run(vad: str, count: int, turns: int, seed: int = 11) -> dict[str, Any]:
    told = {"turns": turns, "people": people(min(60, count * turns), seed)}
    times: dict[str, list[Any]] = {}
    our_voice(0.9)  # so that the voice is instant the first time too
    delays: list[float] = []

    def prepare(line: Any) -> None:
        async def on_turn_ended(event: Any, ctx: Any) -> None:
            times.setdefault(event.session.id, []).append(event.times)
            delays.append(line.backend.stats(event.session).buffer_delay_ms)

        ended = HookTrigger.ON_TURN_ENDED
        line.kit.add_hook(ended, on_turn_ended, execution=HookExecution.ASYNC)

    async with calls(
        count,
        caller,
        told,
        vad=vad,
        stt=Hears(),
        tts=LoudVoice(),
        model=Answers("yes of course"),
        turns=Turns(silence_ms=STOP_MS, adaptive=False),
        prepare=prepare,
    ) as line:
        await line.scripts_end(30 + turns * 12)
        records = line.phones.records()
        ids = [session.id for session in line.sessions]
    buffer_ms = sum(delays) / max(1, len(delays))
    beyond, packet_off, end_off, sum_off, late, unanswered = [], [], [], [], [], 0
    for record, session in zip(records, ids, strict=True):
        loud = loud_times(record.packets)
        accounts = list(times.get(session, ()))
        for said in record.said:
            first = first_after(loud, said.end_ns)
            if first is None or first - said.end_ns > 3000 * MS:
                unanswered += 1
                continue
            wire_ms = (first - said.end_ns) / MS
            beyond.append(wire_ms - STOP_MS - buffer_ms)
            mine = [one for one in accounts if abs((one.first_packet_ms or 0) - first / MS) < 500]
            if not mine:
                continue
            packet_off.append(mine[0].first_packet_ms - first / MS)
            end_off.append(mine[0].speech_ended_ms - said.end_ns / MS)
            sum_off.append(sum(mine[0].parts().values()) - wire_ms)
            if beyond[-1] > 150:
                late.append(
                    {
                        "beyond_ms": beyond[-1],
                        **mine[0].parts(),
                        "end_off": end_off[-1],
                        "said": said.tag,
                    }
                )
    return {
        "vad": vad, "turns": len(beyond), "unanswered": unanswered, "buffer_ms": buffer_ms,
        "beyond": beyond, "packet_off": packet_off, "end_off": end_off, "sum_off": sum_off,
        "accounts": sum(map(len, times.values())), "late": late,
    }  # fmt: skip


def rows(found: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        p50, p95, worst = percentiles(one["beyond"], 50, 95, 100)
        silero = one["vad"] == "silero"
        lines.append(
            Row(
                f"answer, {one['vad']}: end of speech → first answer packet, beyond"
                f" {STOP_MS:g} ms and the buffer ({one['buffer_ms']:.0f} ms)",
                "p50 ≤ 40, p95 ≤ 65 ms" if silero else "(beside it)",
                f"p50 {p50:.0f}, p95 {p95:.0f}, max {worst:.0f} ms in {one['turns']} turns;"
                f" {one['unanswered']} unanswered",
                (p50 <= WANTED[0] and p95 <= WANTED[1]) if silero else None,
            )
        )
        off = [abs(value) for value in one["packet_off"]]
        low, mid, high = percentiles(one["end_off"], 5, 50, 95)
        # A packet is the unit of the wire; and a ms for both ends' clocks and rounding.
        # A packet is what the wire tells of; a ms is left for clocks and rounding.
        within = sum(abs(value) <= 21 for value in one["sum_off"])
        lines.append(
            Row(
                f"the account of a turn, {one['vad']}: its parts against the wire",
                "within a frame",
                f"within a frame in {within} of {len(one['sum_off'])}; the first packet off by p95"
                f" {percentiles(off, 95)[0]:.1f} ms, the end of speech by p5 {low:.0f}, p50"
                f" {mid:.0f}, p95 {high:.0f} ms (what speech is, the detector decides)",
                within >= 0.95 * len(one["sum_off"]),
            )
        )
    return lines
