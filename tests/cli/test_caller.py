"""The caller's ear: speech, pauses between words, and the end of what is said."""

from __future__ import annotations

import asyncio
from array import array

import pytest

from roomkit.cli import caller as module
from roomkit.cli.caller import Ear
from roomkit.voice.frame import AudioFrame

FRAME = AudioFrame(array("h", [0] * 160).tobytes(), 8000, 1)


def hear(ear: Ear, level_db: float, ms: int) -> None:
    for _ in range(ms // 20):
        ear.hear(FRAME, level_db)


def test_speech_goes_on_through_short_pauses_and_ends_with_a_long_one() -> None:
    ear = Ear()
    hear(ear, -20, 100)
    hear(ear, -90, 60)
    hear(ear, -20, 100)
    assert ear.speech_ms == 200
    hear(ear, -90, 80)
    assert (ear.speech_ms, ear.quiet_ms) == (0, 80)
    hear(ear, -20, 20)
    assert (ear.speech_ms, ear.quiet_ms) == (20, 0)


async def test_waiting_ends_with_the_frame_that_makes_it_true() -> None:
    ear = Ear()
    waiting = asyncio.ensure_future(ear.speech("anybody"))
    for _ in range(2):
        hear(ear, -20, 20)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not waiting.done()
    hear(ear, -20, 20)
    await asyncio.wait_for(waiting, 1)


async def test_patience_has_an_end_and_says_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    with pytest.raises(TimeoutError, match="in vain for the greeting"):
        await Ear().speech("the greeting")
