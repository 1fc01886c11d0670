"""Seeded conversations over sockets, whatever happens in them: hang-ups at every stage, providers
that fail or hang, floods of keys. What is left afterwards, and whether the model remembers what the
far end heard.

What the far end heard is read from its packets: each word of `FakeTTS` sounds so that it can be
told from the samples alone.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Any

from line import Row, calls, people
from phones import MS, Packet, Phone, decoded

from roomkit import AIChannel, AudioChunk, HookExecution, HookTrigger, VoiceSession
from roomkit.ai import AIProvider, Turn
from roomkit.errors import SynthesisError
from roomkit.testing import Ear, FakeSTT, FakeTTS, speech
from roomkit.voice.limits import ProviderLimits

# The fallback is no word: too soft for the ear that reads words.
_SORRY = AudioChunk((300).to_bytes(2, "little") * 2400, 8000)


def caller(phone: Phone, told: dict[str, Any]) -> Generator[None, None, None]:
    """Talks, interrupts, floods keys, and hangs up at a random moment, or has us hang up."""
    mine, source = told["people"], phone.random
    ends = phone.now + round(source.uniform(0.2, told["seconds"]) * 1000 * MS)
    by_us = source.random() < 0.4
    flood_at = phone.now + round(source.uniform(0, told["seconds"]) * 1000 * MS)
    floods = source.random() < 0.3
    phone.notes.append({"by_us": by_us})
    turn = 0
    wait_until = phone.now + round(source.uniform(100, 1500) * MS)
    while phone.now < ends:
        if floods and phone.now > flood_at:
            floods = False
            for _ in range(40):
                phone.press(source.randrange(12), packets=source.randrange(2, 5))
        if not phone.saying and phone.now > wait_until:
            said = mine[(phone.number * 3 + turn) % len(mine)]
            phone.say(said.samples, said.onset, said.end, turn)
            turn += 1
            wait_until = phone.now + round(source.uniform(2000, 5000) * MS)
        yield
    if not by_us:
        phone.bye()
        phone.notes.append("bye")
    # What is on its way still comes.
    yield from phone.wait(300)


class Voice(FakeTTS):
    """Every 13th text fails after a word or two, every 17th hangs."""

    def __init__(self) -> None:
        super().__init__(per_word_ms=300.0)
        self._numbers = itertools.count(1)

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk, None]:
        number = next(self._numbers)
        chunks = 0
        async for chunk in super().synthesize_stream(text, voice=voice):
            if chunks == 4 and number % 13 == 0:
                raise SynthesisError("told to fail")
            if chunks == 4 and number % 17 == 0:
                await asyncio.Event().wait()
            chunks += 1
            yield chunk


class Model(AIProvider):
    """Answers with words that are never the same; every 7th fails on the way, every 19th hangs."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def reply(
        self, session: VoiceSession, turns: Sequence[Turn]
    ) -> AsyncGenerator[str, None]:
        number = next(self._numbers)
        for place in range(8):
            if place == 3 and number % 7 == 0:
                raise ConnectionError("told to fail")
            if place == 3 and number % 19 == 0:
                await asyncio.Event().wait()
            yield f"a{number}b{place}{'.' if place in (2, 7) else ''} "


class Remembers(AIChannel):
    """Keeps what it knew of a call when that ended."""

    def __init__(self) -> None:
        super().__init__("model", provider=Model(), history=1000)
        self.kept: dict[str, list[Turn]] = {}

    def session_ended(self, session: VoiceSession) -> None:
        self.kept[session.id] = self.turns(session)
        super().session_ended(session)


async def run(total: int, at_once: int, seconds: float = 9.0, seed: int = 41) -> dict[str, Any]:
    sockets, tasks = _sockets(), len(asyncio.all_tasks())
    differ: list[dict[str, Any]] = []
    left: list[str] = []
    words = ended = keys = done = 0
    for batch in range((total + at_once - 1) // at_once):
        told = {"seconds": seconds, "people": people(40, seed)}
        model = Remembers()
        counts = {"ended": 0, "keys": 0}
        stt = FakeSTT(
            texts=itertools.repeat("tell me more"), streaming=False, fails=lambda n: n % 11 == 5
        )
        channel: dict[str, Any] = {
            "stt": stt,
            "tts": Voice(),
            "limits": ProviderLimits(voice=1.0, model=1.0, recogniser=1.0),
            "fallback": _SORRY,
        }
        prepare = _prepare(counts, model)
        async with calls(
            at_once, caller, told, seed=seed + batch, prepare=prepare, **channel
        ) as line:
            leaving = [
                asyncio.create_task(_leave(line, session, random.Random(seed + batch), seconds))
                for session in line.sessions[::3]
            ]
            await line.scripts_end(seconds * 4 + 20)
            await asyncio.gather(*leaving)
            for session in line.sessions:
                await line.kit.leave(session)
            ids = [session.id for session in line.sessions]
            records = line.phones.records()
            if line.backend.sessions:
                left.append(f"{len(line.backend.sessions)} sessions")
        for number, (session_id, record) in enumerate(zip(ids, records, strict=True)):
            done += 1
            heard = heard_words(record.packets)
            known = [
                word
                for turn in model.kept.get(session_id, [])
                if turn.role == "assistant"
                for word in turn.text.split()
            ]
            words += len(heard)
            if heard != known:
                differ.append({"batch": batch, "call": number, "heard": heard, "known": known})
        ended += counts["ended"]
        keys += counts["keys"]
        await asyncio.sleep(0.2)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if len(others) + 1 > tasks:
            left.append(f"tasks {sorted(task.get_name() for task in others)}")
    if _sockets() > sockets:
        left.append(f"{_sockets() - sockets} sockets")
    return {
        "conversations": done, "differ": differ, "left": left, "words": words,
        "ended": ended, "keys": keys,
    }  # fmt: skip


def _prepare(counts: dict[str, int], model: Remembers) -> Any:
    def prepare(line: Any) -> None:
        async def on_ended(event: Any, ctx: Any) -> None:
            counts["ended"] += 1

        async def on_key(event: Any, ctx: Any) -> None:
            counts["keys"] += 1

        asynchronous = HookExecution.ASYNC
        line.kit.add_hook(HookTrigger.ON_SESSION_ENDED, on_ended, execution=asynchronous)
        line.kit.add_hook(HookTrigger.ON_DTMF, on_key, execution=asynchronous)
        line.kit.register_channel(model)
        line.model = model

    return prepare


async def _leave(line: Any, session: Any, source: random.Random, seconds: float) -> None:
    await asyncio.sleep(source.uniform(0.1, seconds))
    await line.kit.leave(session)


def heard_words(packets: Sequence[Packet]) -> list[str]:
    """The words that came, with how many ms of one that was cut. What pauses leave out is no part
    of a word."""
    audio = sorted((each for each in packets if each.payload_type == 0), key=lambda one: one.at_ns)
    ear = Ear()
    found = [*ear.hear(b"".join(decoded(each.payload).tobytes() for each in audio)), *ear.end()]
    words: list[str] = []
    for word in found:
        if word.whole:
            words.append(word.text)
        else:
            words.append(f"…{word.end_ms - word.begin_ms:.0f}")
    return words


def _matches(heard: list[str], known: list[str]) -> bool:
    """Whether what is known is what was heard, where a word counts of which half was heard."""
    at = 0
    for word in heard:
        if not word.startswith("…"):
            if at >= len(known) or known[at] != word:
                return False
            at += 1
            continue
        part_ms = float(word[1:])
        here = known[at] if at < len(known) else None
        if here is not None and here not in heard:
            length = speech(here).marks[0].end_ms or 0.0
            if part_ms < length / 2 - 20:
                return False
            at += 1
        elif part_ms > 130 + 20:
            return False
    return at == len(known)


def _sockets() -> int:
    """Open sockets of this process."""
    count = 0
    for one in Path("/proc/self/fd").iterdir():
        try:
            count += str(one.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


def rows(found: list[dict[str, Any]]) -> list[Row]:
    lines = []
    for one in found:
        wrong = [each for each in one["differ"] if not _matches(each["heard"], each["known"])]
        lines.append(
            Row(
                f"{one['conversations']} seeded conversations over sockets: hang-ups at any moment,"
                " failing and hanging providers, floods of keys",
                "no task, session, port left; transcript = heard",
                f"left: {', '.join(one['left']) or 'nothing'}; {len(wrong)} transcripts differ from"
                f" the {one['words']} words heard; {one['ended']} ends told, {one['keys']} keys",
                not one["left"] and not wrong and one["ended"] == one["conversations"],
            )
        )
    return lines
