"""What must not interrupt us: hold music, tones, keys and noises, and our own voice coming back;
and whether a caller who does is missed beside that."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from itertools import pairwise
from typing import Any

import numpy as np
import sounds
from line import Row, calls, loud_times, our_voice, people, silent_after
from phones import MS, Phone, samples_of

from roomkit import HookExecution, HookTrigger

PAUSED_MS = 60.0
REFLECTIONS_DB = (-12.0, -30.0)
REFLECTIONS_MS = (25, 400)  # a packet is not heard before it is there


def noisy(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Sends its share of what is no speech, while we play."""
    yield from phone.wait(2000)
    phone.say(told["sounds"][phone.number])
    while phone.saying:
        yield


def reflecting(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Sends back what it hears; of each second answer it interrupts, where it is asked to."""
    low, high = REFLECTIONS_DB
    delay = phone.random.uniform(*REFLECTIONS_MS)
    gain_db = phone.random.uniform(high, low)
    phone.echo = (round(delay * 8), 10 ** (gain_db / 20))
    phone.notes.append({"delay_ms": delay, "gain_db": gain_db})
    mine = told["people"]
    for answer in range(told["answers"]):
        while not phone.hears:
            yield
        if told["interrupts"]:
            yield from phone.wait(phone.random.uniform(800, 2000))
            said = mine[(phone.number * told["answers"] + answer) % len(mine)]
            phone.say(said.samples, said.onset, said.end, answer)
            while phone.saying:
                yield
        while not phone.quiet_for(700):
            yield


async def run(vad: str, minutes: float, count: int, seed: int = 8) -> dict[str, Any]:
    """That many minutes in all, shared out to `count` calls at once."""
    whole = np.concatenate([sound for _, _, sound in sounds.not_speech(max(minutes, 20.0), seed)])
    size = round(minutes * 60 * sounds.RATE / count)
    # Of less than the whole, pieces from all of it.
    starts = np.linspace(0, len(whole) - size, count).astype(int)
    told = {"sounds": [samples_of(whole[start : start + size]) for start in starts]}
    barged: list[dict[str, Any]] = []
    async with calls(
        count, noisy, told, vad=vad, barge_in=True, prepare=lambda line: _count(line, barged)
    ) as line:
        playing = [
            asyncio.create_task(_play(line, session, number, 12.0, 0.1))
            for number, session in enumerate(line.sessions)
        ]
        await line.scripts_end(30 + size / sounds.RATE * 1.5)
        resumed = [_resumed(line.trace(session)) for session in line.sessions]
        for task in playing:
            task.cancel()
        records = line.phones.records()
    pauses = []
    for record in records:
        loud = loud_times(record.packets)
        pauses += [
            (after - before) / MS
            for before, after in pairwise(loud)
            if after - before > PAUSED_MS * MS
        ]
    # Between two playbacks there is a gap of 0.1 s and a little.
    held = [each for each in pauses if not 80 < each < 190]
    return {
        "vad": vad, "minutes": size * count / sounds.RATE / 60, "barged_in": len(barged),
        "pauses": sum(resumed), "gaps_ms": held,
    }  # fmt: skip


async def reflect(
    vad: str, count: int, answers: int, *, interrupts: bool, seed: int = 9
) -> dict[str, Any]:
    """`answers` of each of `count` calls, whose far ends send our voice back."""
    told = {
        "answers": answers,
        "interrupts": interrupts,
        "people": people(min(60, count * answers), seed),
    }
    barged: list[dict[str, Any]] = []
    async with calls(
        count,
        reflecting,
        told,
        vad=vad,
        barge_in=True,
        seed=seed + interrupts,
        prepare=lambda line: _count(line, barged),
    ) as line:
        seconds = 8.0 if interrupts else 4.0
        playing = [
            asyncio.create_task(_play(line, session, number, seconds, 1.5))
            for number, session in enumerate(line.sessions)
        ]
        await line.scripts_end(40 + answers * 16)
        resumed = [_resumed(line.trace(session)) for session in line.sessions]
        for task in playing:
            task.cancel()
        records = line.phones.records()
    true = missed = 0
    by_call = []
    for record in records:
        loud = loud_times(record.packets)
        missed_here = 0
        for said in record.said:
            last = silent_after(loud, said.onset_ns)
            if last is None:
                continue  # it had been silent already
            true += 1
            missed_here += last > said.end_ns + 500 * MS
        missed += missed_here
        by_call.append({**record.notes[0], "missed": missed_here})
    return {
        "vad": vad, "answers": count * answers, "interrupts": interrupts, "barged_in": len(barged),
        "pauses": sum(resumed), "true": true, "missed": missed, "calls": by_call,
        "barges": barged,
    }  # fmt: skip


def _count(line: Any, barged: list[dict[str, Any]]) -> None:
    async def on_barge_in(event: Any, ctx: Any) -> None:
        began = 0.0 if event.speech_at_ms is None else event.speech_at_ms
        call = line.sessions.index(event.session)
        # How long into the call he was thought to speak: a guard knows an echo that it has heard.
        barged.append(
            {
                "call": call,
                "played_ms": event.played_ms,
                "confirmed_by": event.confirmed_by,
                "speech_at_ms": began - line.began_ms,
            }
        )

    trigger = HookTrigger.ON_BARGE_IN
    line.kit.add_hook(trigger, on_barge_in, execution=HookExecution.ASYNC)


def _resumed(trace: Any) -> int:
    return sum(entry.what == "resume_playback" for entry in trace)


async def _play(line: Any, session: Any, number: int, seconds: float, pause_s: float) -> None:
    await asyncio.sleep(0.5 + number * 0.03)
    turn = 0
    while True:
        await line.channel.play(session, our_voice(seconds, number + 31 * turn % 7))
        await asyncio.sleep(pause_s)
        turn += 1


def rows(found: list[dict[str, Any]], reflected: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        gaps = sorted(one["gaps_ms"])
        longest = f", the longest {gaps[-1]:.0f} ms" if gaps else ""
        lines.append(
            Row(
                f"{one['minutes']:.0f} min of hold music, tones, keys, noise while we play,"
                f" {one['vad']}: cancelled",
                "0",
                f"{one['barged_in']}; held back and resumed {one['pauses']} times{longest}",
                one["barged_in"] == 0 if one["vad"] == "silero" else None,
            )
        )
    for one in reflected:
        if one["interrupts"]:
            share = one["missed"] / max(1, one["true"])
            lines.append(
                Row(
                    f"our voice reflected, {one['vad']}: callers who interrupt missed",
                    "< 2 %",
                    f"{one['missed']} of {one['true']} ({share:.1%})",
                    share < 0.02,
                )
            )
        else:
            lines.append(
                Row(
                    f"our voice reflected (−12…−30 dB, 20–400 ms), {one['vad']}: cancelled",
                    "0 in 200 answers",
                    f"{one['barged_in']} in {one['answers']};"
                    f" held back and resumed {one['pauses']} times",
                    one["barged_in"] == 0,
                )
            )
    return lines
