"""A voice bot that books a table: recognised, answered, interrupted.

The mind is a set of rules, so that it runs anywhere; a language model takes its place by the same
interface, `AIProvider`. The recogniser is yours:

    python examples/bot.py --remote 192.0.2.10:20000 --stt my_module:MyRecogniser
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import re
from collections.abc import AsyncIterator, Sequence

from roomkit import (
    AIChannel,
    AIProvider,
    AudioPipelineConfig,
    Call,
    RoomKit,
    RTPVoiceBackend,
    Turn,
    VoiceChannel,
    VoiceSession,
)
from roomkit.voice.events import AfterTTSEvent
from roomkit.voice.stt import STTProvider
from roomkit.voice.tts import EspeakTTS
from roomkit.voice.vad import EnergyVAD

GREETING = "Good evening. A table for how many?"
GOODBYE = "Goodbye."
NUMBERS = {word: n for n, word in enumerate("one two three four five six".split(), 1)}


class Rules(AIProvider):
    """What a language model would do: the conversation so far in, the answer out, piece by piece.
    What the caller did not hear of an answer is not in `turns`."""

    async def reply(self, session: VoiceSession, turns: Sequence[Turn]) -> AsyncIterator[str]:
        said = " ".join(turn.text for turn in turns if turn.role == "user").lower()
        people = next((word for word in NUMBERS if re.search(rf"\b{word}\b", said)), None)
        if re.search(r"\b(bye|goodbye)\b", said):
            yield GOODBYE
        elif people is None:
            yield "For how many, please? "
            yield "We have tables for up to six."
        elif not re.search(r"\b(yes|right)\b", said):
            yield f"A table for {people}. Is that right?"
        else:
            yield f"It is booked for {people}. "
            yield GOODBYE


async def bot(call: Call) -> None:
    """The framework listens, asks the model and speaks; this begins and ends it."""
    await call.say(GREETING)
    async for event in call:
        if isinstance(event, AfterTTSEvent) and event.text.endswith(GOODBYE):
            break


async def take_calls(remote: tuple[str, int], local: tuple[str, int], stt: STTProvider) -> None:
    """Calls of one PBX, one after another."""
    backend = RTPVoiceBackend(local_addr=local, remote_addr=remote)
    pipeline = AudioPipelineConfig(vad=EnergyVAD())
    voice = VoiceChannel("phone", backend=backend, stt=stt, tts=EspeakTTS(), pipeline=pipeline)
    async with RoomKit() as kit:
        kit.register_channel(voice)
        kit.register_channel(AIChannel("model", provider=Rules()))
        kit.answer(bot, fallback="Something went wrong. Please call again.")
        while True:
            room = await kit.create_room()
            await kit.attach_channel(room.id, "phone")
            await kit.attach_channel(room.id, "model")
            session = await kit.join(room.id, "phone")
            await kit.call(session).ended()
            await kit.close_room(room.id)


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="A voice bot that books a table.")
    parser.add_argument("--local", type=address, default=("0.0.0.0", 10000), metavar="HOST:PORT")
    parser.add_argument("--remote", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--stt", required=True, metavar="MODULE:CLASS", help="a recogniser")
    options = parser.parse_args()
    module, _, name = options.stt.partition(":")
    stt = getattr(importlib.import_module(module), name)()
    asyncio.run(take_calls(options.remote, options.local, stt))


if __name__ == "__main__":
    main()
