"""`Activity`: of probabilities of speech, window by window, when it begins and ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from roomkit.errors import shown
from roomkit.voice.vad.base import VADEvent, VADEventType

__all__ = ["Activity", "ActivitySettings"]

# As benches/conversation/vad.py measures it, over 150 minutes of hold music, tones, keys and noises
# at five levels and 200 utterances in five languages in ten noises: no false start, and none missed
# but two of 600 among eight people who talk at once.
_SURE: Final = 0.9
"""From this probability on, nothing speaks against it: music and tones stay below."""
_RISE_DB: Final = 6.0
"""Somebody who begins to speak is by so much louder than the moment before; music goes on."""
_PERSISTENT_MS: Final = 320.0
"""What is likely for so long is speech, also where it does not rise above a noise."""
_LEARNING: Final = 0.1
"""The background follows every window by so much of the difference: in a third of a second."""
_AFTER_TONE_MS: Final = 500.0
"""For so long after a tone, its end and the next one's beginning are not taken for speech."""
_TONES_ABOVE: Final = 0.1
"""Below this probability nobody asks whether it is a tone."""
_QUIETEST_DBFS: Final = -60.0
"""G.711 carries what is quieter with a few steps: nobody is understood there."""
_IDLE_DB: Final = 1.0
"""A steady noise of a line stays within that from window to window; music does not."""
_SUDDEN_DB: Final = 18.0
"""What is by so much louder than the moment before is somebody who begins to speak, or a noise."""
_SUDDENLY: Final = 0.6
"""Then so much of the start threshold is enough: a first consonant is no more likely than that."""
_SURELY_NONE: Final = 0.05
"""Below this probability, the model is sure that nobody speaks."""
_SURE_WINDOWS: Final = 8
"""For so many windows it must have been."""
_FADED_DB: Final = 3.0
"""Within so much of the background nothing of a word is left."""
_LOWEST_DB: Final = 35.0
"""Nor is there so far below the loudest of what was said."""
_LINGERS_MS: Final = 160.0
"""For so long the model may go on to believe in a word that is over: in half of all by 80 ms, in
one of twenty by 130."""
_SILENT_DBFS: Final = -70.0
"""Digital silence is no more silent than this: the background is to come up from it soon."""


@dataclass(frozen=True, slots=True)
class ActivitySettings:
    """When probabilities are speech. Raises `ValueError` where they do not fit."""

    start: float
    """A window of at least this probability may begin speech, 0.05 to 0.99."""
    stop: float
    """While somebody speaks, a window below this is silence, 0.01 to `start`: a word fades out."""
    start_ms: float
    """For how long speech must last to be told, 0 to 1000; one window at least."""
    stop_ms: float
    """The silence that ends it, 50 to 5000. Shorter pauses are part of it."""

    def __post_init__(self) -> None:
        _within("start", self.start, 0.05, 0.99)
        _within("stop", self.stop, 0.01, self.start)
        _within("start_ms", self.start_ms, 0, 1000)
        _within("stop_ms", self.stop_ms, 50, 5000)


class Activity:
    """The state of one call. It is told windows in their order, and knows no clock.

    The model alone takes some bars of hold music and the onsets of quiet tones for speech, with
    probabilities of up to 0.88. Where something else speaks against it, it must therefore be surer.
    """

    __slots__ = (
        "_background_dbfs",
        "_faded_ms",
        "_heard_windows",
        "_likely_ms",
        "_loudest_dbfs",
        "_run_ms",
        "_settings",
        "_spoke_ms",
        "_sure_windows",
        "_tone_ms",
        "speaking",
    )

    def __init__(self, settings: ActivitySettings) -> None:
        self._settings = settings
        self.speaking = False
        """True between a start and its end."""
        self._likely_ms = 0.0  # for how long windows have been likely, whatever spoke against it
        self._run_ms = 0.0  # for how long the windows have contradicted `speaking`
        self._background_dbfs: float | None = None
        self._heard_windows = 0
        self._sure_windows = 0  # in which the model was sure that nobody speaks
        self._tone_ms = math.inf  # since the last window that was a tone
        # While somebody speaks: how loud he was, and for how long nothing of it is left, though
        # the model believes in it.
        self._loudest_dbfs = _SILENT_DBFS
        self._faded_ms = 0.0
        self._spoke_ms = 0.0  # since he began, until the last of his windows

    def is_idle(self, level_dbfs: float) -> bool:
        """Whether a window of that level needs no probability: nobody speaks, the model has been
        sure of that for a while, and it is no louder than the moment before."""
        background = self._background_dbfs
        if self.speaking or background is None or self._sure_windows < _SURE_WINDOWS:
            return False
        return level_dbfs < background + _IDLE_DB

    def hear(
        self,
        probability: float,
        level_dbfs: float,
        window_ms: float,
        ends_at_ms: float | None,
        is_tone: Callable[[], bool],
    ) -> VADEvent | None:
        """Takes the next window, which ends at that media time; the event that it settles.

        `is_tone`: whether the window is nothing but a tone or two; it is asked only when that
        matters.
        """
        level = max(level_dbfs, _SILENT_DBFS)
        self._heard_windows += 1
        self._sure_windows = self._sure_windows + 1 if probability < _SURELY_NONE else 0
        if self.speaking:
            if probability >= self._settings.stop:
                self._fade(level, window_ms)
                self._spoke_ms += self._run_ms + window_ms
                self._run_ms = 0.0
                return None
            self._learn(level)
            self._run_ms += window_ms
            if self._run_ms < self._settings.stop_ms:
                return None
            # It was over when nothing of it was left; the model says so later.
            length_ms = self._run_ms + min(self._faded_ms, _LINGERS_MS, self._spoke_ms)
        else:
            if not self._begins(probability, level, window_ms, is_tone):
                self._run_ms = 0.0
                self._learn(level)
                return None
            self._run_ms += window_ms
            if self._run_ms < self._settings.start_ms:
                return None
            length_ms = self._likely_ms
        # It began, or ended, when the row of contradicting windows did.
        at = None if ends_at_ms is None else ends_at_ms - length_ms
        self.speaking = not self.speaking
        self._run_ms = self._likely_ms = self._faded_ms = self._spoke_ms = 0.0
        self._loudest_dbfs = level
        kind = VADEventType.SPEECH_START if self.speaking else VADEventType.SPEECH_END
        return VADEvent(kind, at, level_dbfs)

    def _begins(
        self, probability: float, level: float, window_ms: float, is_tone: Callable[[], bool]
    ) -> bool:
        """Whether this window is one of those that speech begins with."""
        self._tone_ms += window_ms
        if probability < _TONES_ABOVE:
            self._likely_ms = 0.0
            return False
        if is_tone():
            self._tone_ms = 0.0
        rise = _RISE_DB if self._background_dbfs is None else level - self._background_dbfs
        sudden = rise >= _SUDDEN_DB and self._heard_windows > _SURE_WINDOWS
        enough = self._settings.start * (_SUDDENLY if sudden else 1)
        if probability < enough or level <= _QUIETEST_DBFS:
            self._likely_ms = 0.0
            return False
        self._likely_ms += window_ms
        if probability >= _SURE:
            return True
        if self._tone_ms <= _AFTER_TONE_MS:
            return False
        return rise >= _RISE_DB or self._likely_ms >= _PERSISTENT_MS

    def _fade(self, level: float, window_ms: float) -> None:
        """A window that the model takes for speech, while somebody speaks."""
        self._loudest_dbfs = max(self._loudest_dbfs, level)
        background = self._background_dbfs
        faded = self._loudest_dbfs - _LOWEST_DB
        if background is not None:
            faded = max(faded, background + _FADED_DB)
        if level < faded:
            self._faded_ms += self._run_ms + window_ms
        else:
            self._faded_ms = 0.0

    def _learn(self, level: float) -> None:
        background = self._background_dbfs
        self._background_dbfs = (
            level if background is None else background + _LEARNING * (level - background)
        )


def _within(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{name}: {shown(value)}; {low:g} to {high:g} fits")
