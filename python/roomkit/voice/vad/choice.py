"""`best_vad` and `resolve_vad`: which detector a call gets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from roomkit.errors import ProviderUnavailableError, shown
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.base import VADEvent, VADProvider, VADStream
from roomkit.voice.vad.energy import EnergyVAD
from roomkit.voice.vad.silero import SileroVAD

__all__ = ["best_vad", "resolve_vad"]

_log = logging.getLogger("roomkit.voice.vad")
_told: set[str] = set()


def best_vad() -> VADProvider:
    """The best detector that is installed: `SileroVAD` with the extra `vad`, else `EnergyVAD`. The
    choice is logged once."""
    try:
        found: VADProvider = SileroVAD()
        reason = ""
    except ProviderUnavailableError as error:
        found = EnergyVAD()
        reason = f": {error}"
    if found.name not in _told:
        _told.add(found.name)
        _log.info("voice activity by %s%s", found.name, reason)
    return found


def resolve_vad(value: Any) -> VADProvider | None:
    """A detector of what `AudioPipelineConfig(vad=…)` takes: one, a callable that makes one for
    every call (a class too), `"auto"` (`best_vad`), `"silero"`, `"energy"`, or None.

    Raises `ValueError` for another name, `TypeError` for another kind, and
    `ProviderUnavailableError` for `"silero"` where the extra is missing.
    """
    if value is None or isinstance(value, VADProvider):
        return value
    if isinstance(value, str):
        if value == "auto":
            return best_vad()
        if value == "silero":
            return SileroVAD()
        if value == "energy":
            return EnergyVAD()
        raise ValueError(f"vad: {shown(value)}; 'auto', 'silero' or 'energy' fits")
    if callable(value):
        return _Made(value)
    raise TypeError(
        f"vad: {type(value).__name__}; a VADProvider, a callable that makes one, 'auto', 'silero',"
        " 'energy' or None fits"
    )


class _Made(VADProvider):
    """A detector for every call, made when the call begins."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._own: VADProvider | None = None

    @property
    def name(self) -> str:
        return getattr(self._make, "__name__", type(self._make).__name__)

    def open(self, tell: Callable[[VADEvent], None]) -> VADStream:
        return self._one().open(tell)

    def process(self, frame: AudioFrame) -> VADEvent | None:
        if self._own is None:
            self._own = self._one()
        return self._own.process(frame)

    def reset(self) -> None:
        self._own = None

    def _one(self) -> VADProvider:
        made = self._make()
        if not isinstance(made, VADProvider):
            raise TypeError(f"vad: {self.name} made a {type(made).__name__}; a VADProvider fits")
        return made
