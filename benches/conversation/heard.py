"""What the caller has heard: what we say of it against a far end that records what it plays, over
an impairing network.

The far end plays each packet at its place in the stream, `BUFFER_MS` after the first one came; one
that comes later than its place is lost. What it has played at some moment follows from when its
packets came; how long its buffer really holds them it says in its reports (RFC 3611 §4.7.6), as
telephones do. Where packets are missing it fills in, and time goes on. A word counts as heard when
what was played reaches beyond its middle; what was lost at the very end was not played. Where that
alone decides about a word it is told apart: nobody knows of it here but by the bounds, and the far
end has filled in most of that packet.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sounds
from line import FRAME_MS, Row, calls, people
from phones import MS, Phone, Record, percentiles
from relay import Relay, Sent, links

from roomkit import AudioChunk
from roomkit.voice.base import Mark
from roomkit.voice.tts.base import TTSProvider

FAR_BUFFER_MS = 60.0
WANTED_MS = 15.0
_WORDS = """the order that you placed on monday has been sent and will arrive at your address within
three working days please have your customer number at hand when you call again since we can find it
faster that way and thank you very much for your patience with us today""".split()


def text_of(seed: int, words: int = 18) -> str:
    """A sentence or three of so many words."""
    source = random.Random(seed)
    start = source.randrange(len(_WORDS) - words)
    chosen = _WORDS[start : start + words]
    third = words // 3
    chosen[third - 1] += ","
    chosen[2 * third - 1] += "."
    return " ".join(chosen) + "."


def timed(text: str) -> tuple[list[tuple[float, float]], bytes]:
    """When each word is said, and the audio: words last by their letters, a quarter more or less,
    with pauses at commas and stops, as people speak. A word is always said in the same way."""
    times, parts, at = [], [], 0.0
    for word in text.split():
        source = random.Random(word.strip(".,"))
        length = (70 + 52 * len(word.strip(".,"))) * source.uniform(0.8, 1.25)
        length = round(length / 10) * 10.0
        times.append((at, at + length))
        pause = 300.0 if word[-1] == "." else 160.0 if word[-1] == "," else 0.0
        t = np.arange(round(length * 8)) / sounds.RATE
        buzz = 0.2 * np.sign(np.sin(2 * np.pi * source.uniform(110, 150) * t))
        buzz *= 0.3 + 0.7 * np.sin(np.pi * np.arange(len(t)) / len(t))
        parts += [buzz, np.zeros(round(pause * 8))]
        at += length + pause
    return times, sounds.pcm(sounds.ulaw(np.concatenate(parts).astype(np.float32)))


class TimedVoice(TTSProvider):
    """Says at once what `timed` makes, with marks of words or without."""

    def __init__(self, marks: str) -> None:
        self._marks = marks

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk, None]:
        times, pcm = timed(text)
        marks = [
            Mark(word, begin, end) for word, (begin, end) in zip(text.split(), times, strict=True)
        ]
        yield AudioChunk(pcm, sounds.RATE, marks=tuple(marks) if self._marks == "words" else ())


def far_end(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Reports once a second, and interrupts each second thing that is said."""
    phone.reports_every_ns = 1000 * MS
    phone.fixed_ms = phone.buffer_ms = FAR_BUFFER_MS
    mine = told["people"]
    yield from phone.wait(500)
    for turn in range(told["turns"]):
        while not phone.hears:
            yield
        if turn % 2 == 0:
            yield from phone.wait(phone.random.uniform(200, 3500))
            said = mine[(phone.number * 7 + turn) % len(mine)]
            phone.say(said.samples, said.onset, said.end, turn)
            while phone.saying:
                yield
        while not phone.quiet_for(1500):
            yield


@dataclass(slots=True)
class Told:
    """What our side said of one thing that it said."""

    call: int
    text: str
    times: list[tuple[float, float]]
    started_ns: int = 0
    by: str = ""
    """Who interrupted."""
    text_heard: str = ""
    heard_ms: float = 0.0
    certain: tuple[int, float] = (0, 0.0)
    possible: tuple[int, float] = (0, 0.0)
    meanwhile: list[tuple[int, float, float, float, bool]] = field(default_factory=list)
    """Asked at that moment: what was heard, its bounds, and whether the path was known."""


async def run(marks: str, count: int, turns: int, seed: int = 21) -> dict[str, Any]:
    ways = links(count, seed)
    told = {"turns": turns, "people": people(40, seed)}
    found: list[Told] = []
    with Relay(ways, seed) as relay:
        async with calls(
            count,
            far_end,
            told,
            tts=TimedVoice(marks),
            barge_in=True,
            seed=seed,
            backend={"rtcp_interval": 1.0},
            relay=relay.to_far_end,
            answered=relay.to_us,
        ) as line:
            await asyncio.sleep(3.0)  # reports of both sides
            speaking = [
                asyncio.create_task(_speak(line, number, turns, seed, found))
                for number in range(count)
            ]
            await asyncio.gather(*speaking)
            await asyncio.sleep(1.0)
            paths = [line.backend.path_delay(session) for session in line.sessions]
            records = line.phones.records()
            sent = relay.sent()
    return _judged(marks, ways, found, records, sent, paths)


async def _speak(line: Any, number: int, turns: int, seed: int, found: list[Told]) -> None:
    source = random.Random(seed * 100 + number)
    session = line.sessions[number]
    for turn in range(turns):
        text = text_of(seed * 10_000 + number * 100 + turn)
        told = Told(number, text, timed(text)[0])
        speech = line.channel.start_say(session, text)
        over = asyncio.create_task(speech.wait())
        cut_after = source.uniform(0.3, 5.0) if turn % 2 else 60.0
        began = time.monotonic()
        while not over.done():
            await asyncio.wait([over], timeout=source.uniform(0.15, 0.5))
            heard = speech.heard()
            now = time.monotonic_ns()
            paused = speech.position.paused
            if heard is not None and not over.done() and speech.started_ms and not paused:
                known = line.backend.stats(session).round_trip_ms is not None
                asked = (now, heard.heard_ms, heard.certain_ms, heard.possible_ms, known)
                told.meanwhile.append(asked)
            if time.monotonic() - began > cut_after and not over.done():
                told.by = "program"
                speech.cancel()
        heard = speech.heard()
        told.by = told.by or ("caller" if speech.cancelled else "")
        if heard is not None and speech.started_ms is not None:
            told.started_ns = round(speech.started_ms * MS)
            told.text_heard, told.heard_ms = heard.text, heard.heard_ms
            told.certain = (heard.certain_to, heard.certain_ms)
            told.possible = (heard.possible_to, heard.possible_ms)
            found.append(told)
        await asyncio.sleep(2.6)


def _judged(
    marks: str,
    ways: list[Any],
    found: list[Told],
    records: list[Record],
    sent: list[list[Sent]],
    paths: list[Any],
) -> dict[str, Any]:
    wrong: list[dict[str, Any]] = []
    out_of_bounds = 0
    ends: list[float] = []
    now_off: list[float] = []
    unknown_off: list[float] = []  # before the first report that tells the round trip
    now_out = now_count = interruptions = 0
    for told in found:
        far = _FarEnd(records[told.call], sent[told.call])
        packets = far.of_playback(told.started_ns)
        if not packets:
            continue
        truth_ms = far.played_ms(packets)
        for at, heard_ms, certain_ms, possible_ms, known in told.meanwhile:
            true_ms = far.position_ms(packets, at)
            if true_ms is None:
                continue
            now_count += 1
            (now_off if known else unknown_off).append(heard_ms - true_ms)
            now_out += not certain_ms - 1 <= true_ms <= possible_ms + 1
        if not told.by:
            continue
        interruptions += 1
        ends.append(told.heard_ms - truth_ms)
        out_of_bounds += not told.certain[1] - 0.5 <= truth_ms <= told.possible[1] + 0.5
        true_words = sum((begin + end) / 2 <= truth_ms for begin, end in told.times)
        said_words = len(told.text_heard.split())
        if true_words != said_words:
            lost = packets[-1].lost
            wrong.append(
                {
                    "call": told.call, "by": told.by, "words": said_words - true_words,
                    "heard_ms": told.heard_ms, "truth_ms": truth_ms, "last_packet_lost": lost,
                }
            )  # fmt: skip
    return {
        "marks": marks, "interruptions": interruptions, "wrong": wrong,
        "out_of_bounds": out_of_bounds, "end_off": ends, "now_off": now_off,
        "unknown_off": unknown_off,
        "now_out_of_bounds": now_out, "now_count": now_count,
        "paths": [f"{way} {path}" for way, path in zip(ways, paths, strict=True)],
    }  # fmt: skip


class _FarEnd:
    """What one telephone has played, from its packets and those that were sent to it."""

    def __init__(self, record: Record, sent: list[Sent]) -> None:
        packets = [each for each in record.packets if each.payload_type == 0]
        self._sent = sent
        self._at = [each.at_ns for each in sent]
        self._base_ns, self._base_ts = packets[0].at_ns, packets[0].timestamp
        self._came = {
            (each.seq, each.timestamp)
            for each in packets
            if each.at_ns <= self.plays_ns(each.timestamp)
        }

    def plays_ns(self, timestamp: int) -> int:
        """When what has that timestamp is due."""
        ahead = (timestamp - self._base_ts + 2**31) % 2**32 - 2**31
        return self._base_ns + round(FAR_BUFFER_MS * MS) + ahead * MS // 8

    def of_playback(self, started_ns: int) -> list[Sent]:
        """Its packets as they left: from that moment until nothing leaves for two seconds."""
        first = bisect_left(self._at, started_ns - 5 * MS)
        found: list[Sent] = []
        for each in self._sent[first:]:
            if found and each.at_ns - found[-1].at_ns > 2000 * MS:
                break
            found.append(each)
        return found

    def played_ms(self, packets: list[Sent]) -> float:
        """How far into it the last packet reaches that was played."""
        played = 0.0
        for index, each in enumerate(packets):
            if (each.seq, each.timestamp) in self._came:
                played = (index + 1) * FRAME_MS
        return played

    def position_ms(self, packets: list[Sent], at_ns: int) -> float | None:
        """Where in it the telephone is at that moment; None: at nothing of it."""
        for index, each in enumerate(packets):
            begins = self.plays_ns(each.timestamp)
            if begins <= at_ns < begins + FRAME_MS * MS:
                return index * FRAME_MS + (at_ns - begins) / MS
        return None


def rows(found: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        words = [abs(each["words"]) for each in one["wrong"] if not each["last_packet_lost"]]
        lost = len(one["wrong"]) - len(words)
        worst, wanted = max(words, default=0), 0 if one["marks"] == "words" else 1
        lines.append(
            Row(
                f"heard text, marks of {one['marks']}, {one['interruptions']} interruptions"
                " (0–200 ms, jitter 0–20 ms, loss 0–5 %)",
                f"{wanted} words wrong; bounds always hold",
                f"{len(words)} wrong, by {worst} at most"
                f" (and {lost} whose last packet was lost); bounds missed {one['out_of_bounds']}"
                " times",
                worst <= wanted and one["out_of_bounds"] == 0,
            )
        )
        off = [abs(each) for each in one["end_off"]]
        p50, p95 = percentiles(off, 50, 95)
        lines.append(
            Row(
                f"heard_ms in the end, marks of {one['marks']}, against what the far end played",
                "p95 ≤ 15 ms",
                f"p50 {p50:.0f}, p95 {p95:.0f} ms",
                p95 <= WANTED_MS,
            )
        )
        off = [abs(each) for each in one["now_off"]]
        before = [abs(each) for each in one["unknown_off"]]
        p50, p95 = percentiles(off, 50, 95)
        bias = percentiles(one["now_off"], 50)[0]
        lines.append(
            Row(
                f"heard_ms while it plays, marks of {one['marks']}, against what the far end plays",
                "p95 ≤ 15 ms; bounds always hold",
                f"p50 {p50:.0f}, p95 {p95:.0f} ms (median {bias:+.0f}); bounds missed"
                f" {one['now_out_of_bounds']} of {one['now_count']} times; before the round trip"
                f" is known: p50 {percentiles(before, 50)[0]:.0f} ms ({len(before)})",
                p95 <= WANTED_MS and one["now_out_of_bounds"] == 0,
            )
        )
    return lines
