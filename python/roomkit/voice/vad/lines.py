"""`Line`: what is known of one call, and `ask`: the next window of several calls in one question.

The model is not asked about what is as quiet as the moment before: most of a call is one side that
listens. When something rises, it is first asked about the windows that came just before, so that it
hears the beginning as it would have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from roomkit.voice.vad.activity import Activity, ActivitySettings
from roomkit.voice.vad.base import VADEvent
from roomkit.voice.vad.evidence import is_tone, levels_dbfs
from roomkit.voice.vad.windows import RATE, Windows

__all__ = ["CONTEXT", "STATE", "WINDOW", "WINDOW_MS", "Infer", "Line", "Samples", "ask"]

Samples = npt.NDArray[np.float32]
Infer = Callable[[Samples, Samples], tuple[Samples, Samples]]
"""The model: windows (one a row, each with its context before it) and states (2, rows, STATE) give
probabilities (rows) and the states after it."""

WINDOW: Final = 256
"""Samples of a window at 8 kHz: 32 ms."""
CONTEXT: Final = 32
"""Samples of the window before that the model wants again."""
STATE: Final = 128
WINDOW_MS: Final = WINDOW * 1000 / RATE

# What is asked about before a beginning: a quarter of a second. With less the model remembers too
# little, and takes for speech what it does not after hearing all.
_LOOK_BACK: Final = 8


class Line:
    """One call, as the model knows it."""

    __slots__ = ("activity", "left_out", "state", "windows")

    def __init__(self, settings: ActivitySettings) -> None:
        self.windows = Windows(WINDOW, CONTEXT)
        self.activity = Activity(settings)
        self.state: Samples = np.zeros((2, STATE), np.float32)
        self.left_out: deque[Samples] = deque(maxlen=_LOOK_BACK)
        """The last windows that the model was not asked about."""


def ask(infer: Infer, lines: Sequence[Line], rows: Sequence[Samples]) -> list[VADEvent | None]:
    """What follows of the window that each of these lines has cut last (`Line.windows`), in 16 bit
    steps. The model may fail, and raise whatever it does."""
    windows = np.stack(rows)
    windows *= np.float32(1 / 32768)
    levels: list[float] = levels_dbfs(windows[:, CONTEXT:]).tolist()
    asked = []
    for index, line in enumerate(lines):
        if line.activity.is_idle(levels[index]):
            line.left_out.append(windows[index].copy())
        else:
            asked.append(index)
    probabilities = [0.0] * len(lines)
    if asked:
        for back in range(_LOOK_BACK, 0, -1):
            late = [lines[index] for index in asked if len(lines[index].left_out) >= back]
            if late:
                _asked(infer, late, np.stack([line.left_out[-back] for line in late]))
        chosen = [lines[index] for index in asked]
        answers = _asked(infer, chosen, windows if len(asked) == len(lines) else windows[asked])
        for index, probability in zip(asked, answers, strict=True):
            lines[index].left_out.clear()
            probabilities[index] = probability
    return [
        _heard(line, probabilities[index], levels[index], windows[index])
        for index, line in enumerate(lines)
    ]


def _asked(infer: Infer, lines: Sequence[Line], windows: Samples) -> list[float]:
    probabilities, after = infer(windows, np.stack([line.state for line in lines], axis=1))
    for index, line in enumerate(lines):
        line.state[:] = after[:, index]
    found: list[float] = probabilities.tolist()
    return found


def _heard(line: Line, probability: float, level: float, window: Samples) -> VADEvent | None:
    # What was filled in for a lost packet neither begins a word nor ends one.
    if line.windows.made_up:
        return None
    tone = partial(is_tone, window[CONTEXT:])
    return line.activity.hear(probability, level, WINDOW_MS, line.windows.at_ms, tone)
