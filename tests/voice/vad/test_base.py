"""VADProvider: one pattern, a detector for every call."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest

from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import EnergyVAD, VADEvent, VADEventType, VADProvider


class Counter(VADProvider):
    """Tells a start at its third frame. What it keeps, and how it forgets, are given."""

    def __init__(self, kept: Any, forget: str) -> None:
        self.lock = threading.Lock()  # cannot be copied deeply, as most models cannot
        self.kept = kept
        self.forget = forget

    def reset(self) -> None:
        if self.forget == "anew":
            self.kept = type(self.kept)()
        elif isinstance(self.kept, (list, deque, bytearray, set, dict)):
            self.kept.clear()

    def process(self, frame: AudioFrame) -> VADEvent | None:
        if isinstance(self.kept, dict):
            self.kept[len(self.kept)] = 1
        elif isinstance(self.kept, set):
            self.kept.add(len(self.kept))
        else:
            self.kept.append(1)
        return VADEvent(VADEventType.SPEECH_START) if len(self.kept) == 3 else None


@pytest.mark.parametrize("forget", ["anew", "emptied"])
@pytest.mark.parametrize("kept", [list, deque, bytearray, set, dict])
def test_calls_do_not_hear_one_another_however_a_detector_forgets(kept: Any, forget: str) -> None:
    pattern = Counter(kept(), forget)
    frame = AudioFrame(bytes(320), 8000)
    pattern.process(frame)
    told: list[list[VADEvent]] = [[], []]
    one, other = (pattern.open(each.append) for each in told)
    for _ in range(2):
        one.feed(frame)
        other.feed(frame)
    assert told == [[], []]
    one.feed(frame)
    late: list[VADEvent] = []
    third = pattern.open(late.append)
    for _ in range(2):
        third.feed(frame)
    assert [len(each) for each in (*told, late)] == [1, 0, 0]
    assert len(pattern.kept) == 1


def test_what_a_detector_refers_to_is_shared() -> None:
    pattern = Counter([], "anew")
    assert pattern.new_session().lock is pattern.lock


def test_a_detector_has_a_name() -> None:
    assert Counter([], "anew").name == "Counter"
    assert EnergyVAD().name == "energy"
