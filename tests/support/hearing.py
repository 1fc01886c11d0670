"""A call's hearing by itself, with a sink that obeys as a conversation without rules would: what
the detector takes for speech is an utterance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from roomkit._limits import Beside
from roomkit.hooks import HookRunner
from roomkit.voice._hearing import Hearing
from roomkit.voice.base import VoiceSession
from roomkit.voice.pipeline.base import AudioPipelineConfig
from roomkit.voice.stt.base import STTProvider


class Sink:
    """What was told; `texts` are what the hooks let pass."""

    def __init__(self) -> None:
        self.hearing: Hearing | None = None
        self.told: list[tuple[Any, ...]] = []
        self.texts: list[str] = []
        self.beside = Beside("test")
        self._utterances = 0

    def speech(self, started: bool, at_ms: float) -> None:
        assert self.hearing is not None
        self.told.append(("speech", started))
        if started:
            self._utterances += 1
            self.hearing.open_utterance(self._utterances, at_ms)
        else:
            self.hearing.close_utterance(self._utterances, goes_on=False)

    def key(self) -> None:
        self.told.append(("key",))

    def partial(self, utterance: int, text: str) -> None:
        self.told.append(("partial", utterance, text))

    def recognised(self, utterance: int, text: str) -> None:
        self.told.append(("recognised", utterance, text))

    def not_recognised(self) -> None:
        self.told.append(("not recognised",))

    def transcribed(self, utterance: int, work: Awaitable[str]) -> None:
        async def run() -> None:
            self.texts.append(await work)

        self.beside.run(run(), "transcript")


def hearing(
    hooks: HookRunner, config: AudioPipelineConfig, stt: STTProvider | None = None
) -> tuple[Hearing, Sink]:
    """Of a session in the room `"room"`."""
    sink = Sink()
    session = VoiceSession("s", "room", "ann", "phone")
    one = sink.hearing = Hearing(
        session,
        hooks,
        config,
        stt,
        sink,
        sink.beside,
        recogniser_seconds=5.0,
        transcribed=sink.transcribed,
    )
    one.open(None)
    return one, sink


async def settled(one: Hearing, sink: Sink) -> None:
    """All that was said has been recognised, and its hooks have run."""
    async with asyncio.timeout(10):
        await one.settle()
    await sink.beside.finish(5)
