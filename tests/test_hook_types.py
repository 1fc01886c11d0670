"""A type checker knows which event each trigger brings, and what a hook may return."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

HEAD = """
from typing import Any
from roomkit import HookContext, HookExecution, HookResult, HookTrigger, RoomKit
from roomkit.voice.events import DTMFDetectedEvent, SpeechEndEvent, TranscriptionEvent

kit = RoomKit()


async def digit(event: DTMFDetectedEvent, ctx: HookContext) -> None: ...
async def anything(event: Any, ctx: HookContext) -> None: ...
async def text(event: TranscriptionEvent, ctx: HookContext) -> HookResult | None: ...
async def word(event: DTMFDetectedEvent, ctx: HookContext) -> str: return ""
def plain(event: DTMFDetectedEvent, ctx: HookContext) -> None: ...

"""
RIGHT = """
kit.hook(HookTrigger.ON_DTMF)(digit)
kit.hook(HookTrigger.ON_DTMF, HookExecution.ASYNC, 3, "name", None, room_ids=["a"])(digit)
kit.hook(HookTrigger.ON_TRANSCRIPTION, priority=1)(text)
kit.add_hook(HookTrigger.ON_DTMF, digit, timeout=None)()
for trigger in HookTrigger:
    kit.hook(trigger)(anything)
    kit.add_hook(trigger, anything)
"""
WRONG = """
kit.hook(HookTrigger.ON_SPEECH_END)(digit)
kit.add_hook(HookTrigger.ON_TRANSCRIPTION, digit)
kit.hook(HookTrigger.ON_DTMF)(word)
kit.hook(HookTrigger.ON_DTMF)(plain)
kit.hook(HookTrigger.ON_DTMF, timeout="1 s")
kit.hook(HookTrigger.ON_DTMF, room="a")
"""


@pytest.mark.slow
def test_mypy_finds_a_handler_of_another_event(tmp_path: Path) -> None:
    from mypy import api

    program = tmp_path / "program.py"
    program.write_text(HEAD + RIGHT + WRONG)
    told, failed, _ = api.run(
        [
            "--strict",
            "--follow-imports=silent",
            f"--python-executable={sys.executable}",
            f"--cache-dir={tmp_path}",
            str(program),
        ]
    )
    assert not failed, failed
    found = {int(line) for line in re.findall(r"program\.py:(\d+): error", told)}
    first = (HEAD + RIGHT + WRONG[:1]).count("\n") + 1
    assert found == set(range(first, first + WRONG.strip().count("\n") + 1)), told
