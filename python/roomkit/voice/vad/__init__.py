"""Voice activity: when the caller speaks."""

from roomkit.voice.vad.base import VADEvent, VADEventType, VADProvider
from roomkit.voice.vad.energy import EnergyVAD

__all__ = ["EnergyVAD", "VADEvent", "VADEventType", "VADProvider"]
