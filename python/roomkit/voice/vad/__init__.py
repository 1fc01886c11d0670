"""Voice activity: when the caller speaks."""

from roomkit.voice.vad.base import VADEvent, VADEventType, VADProvider, VADStream
from roomkit.voice.vad.choice import best_vad, resolve_vad
from roomkit.voice.vad.energy import EnergyVAD
from roomkit.voice.vad.silero import SileroVAD

__all__ = [
    "EnergyVAD",
    "SileroVAD",
    "VADEvent",
    "VADEventType",
    "VADProvider",
    "VADStream",
    "best_vad",
    "resolve_vad",
]
