"""Pause and resume: whether what is heard before and after is the original, sample by sample, and
how soon it goes on after a false alarm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from typing import Any

from line import Row, calls, first_after, loud_times, our_voice, people
from phones import MS, Phone, decoded, percentiles

WANTED_MS = 40.0


def listens(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Hears `playbacks` of ours, and coughs into them where it is asked to."""
    for playback in range(told["playbacks"]):
        while not phone.hears:
            yield
        if told["coughs"]:
            for _ in range(2):
                yield from phone.wait(phone.random.uniform(700, 1200))
                cough = told["coughs"][phone.random.randrange(len(told["coughs"]))]
                phone.say(cough, 0, None, playback)
                while phone.saying:
                    yield
        while not phone.quiet_for(2600):
            yield


async def run(
    count: int, playbacks: int, *, coughs: bool, vad: str = "silero", seed: int = 5
) -> dict[str, Any]:
    """By the program, at random moments for random times; or by coughs: a tenth of a sentence."""
    mine = [said.samples[said.onset : said.onset + 8 * 220] for said in people(40, seed)]
    told = {"playbacks": playbacks, "coughs": mine if coughs else []}
    source = random.Random(seed)
    async with calls(count, listens, told, vad=vad if coughs else None, barge_in=coughs) as line:
        playing = [
            asyncio.create_task(_play(line, session, number, playbacks, coughs, source))
            for number, session in enumerate(line.sessions)
        ]
        whole = await asyncio.gather(*playing)
        await line.scripts_end(30)
        decided = [
            [entry.at_ms for entry in line.trace(session) if entry.what == "resume_playback"]
            for session in line.sessions
        ]
        records = line.phones.records()
    gapless, total, differ = 0, 0, []
    for number, record in enumerate(records):
        packets = [each for each in record.packets if each.payload_type == 0]
        packets.sort(key=lambda each: each.at_ns)
        at = 0
        pcm = b"".join(decoded(each.payload).tobytes() for each in packets)
        for playback in range(playbacks):
            if not whole[number][playback]:
                continue  # it was taken for a true interruption
            total += 1
            original = our_voice(5.0, number * 10 + playback)
            found = pcm.find(original, at)
            gapless += found >= 0
            if found >= 0:
                at = found + len(original)
            else:
                differ.append((number, playback))
    after, resumes = [], 0
    for record, times in zip(records, decided, strict=True):
        loud = loud_times(record.packets)
        for at_ms in times:
            resumes += 1
            first = first_after(loud, round(at_ms * MS))
            if first is not None and first / MS - at_ms < 2000:
                after.append(first / MS - at_ms)
    return {
        "coughs": coughs, "playbacks": total, "gapless": gapless, "resumes": resumes,
        "after": after, "differ": differ,
    }  # fmt: skip


async def _play(
    line: Any, session: Any, number: int, playbacks: int, coughs: bool, source: random.Random
) -> list[bool]:
    await asyncio.sleep(1.0 + number * 0.05)
    whole = []
    for playback in range(playbacks):
        speech = line.channel.start_play(session, our_voice(5.0, number * 10 + playback))
        if not coughs:
            for _ in range(3):
                await asyncio.sleep(source.uniform(0.3, 0.9))
                speech.pause()
                await asyncio.sleep(source.uniform(0.0, 0.3))
                speech.resume()
        whole.append(await speech.wait())
        await asyncio.sleep(3.5)
    return whole


def rows(found: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        by = "a false alarm (0.2 s of speech)" if one["coughs"] else "the program, at random"
        lines.append(
            Row(
                f"held back and resumed by {by}: the wire equals the original",
                "to the sample",
                f"{one['gapless']} of {one['playbacks']} playbacks",
                one["gapless"] == one["playbacks"] and one["playbacks"] > 0,
            )
        )
        if one["coughs"]:
            p50, p95, worst = percentiles(one["after"], 50, 95, 100)
            lines.append(
                Row(
                    "a false alarm: decision → first packet of what goes on",
                    "≤ 40 ms",
                    f"p50 {p50:.0f}, p95 {p95:.0f}, max {worst:.0f} ms in {one['resumes']}",
                    worst <= WANTED_MS,
                )
            )
    return lines
