"""The voice side: sessions, frames, backends, channels."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit.voice._speaking import Speech
    from roomkit.voice.backends.base import VoiceBackend
    from roomkit.voice.backends.rtp import RTPVoiceBackend
    from roomkit.voice.base import (
        AudioChunk,
        Mark,
        PathDelay,
        PlaybackPosition,
        VoiceCapability,
        VoiceSession,
        VoiceSessionState,
    )
    from roomkit.voice.channel import VoiceChannel
    from roomkit.voice.events import DTMFEvent
    from roomkit.voice.frame import AudioFrame
    from roomkit.voice.limits import ProviderLimits
    from roomkit.voice.marks import HeardText
    from roomkit.voice.pipeline.base import AudioPipelineConfig
    from roomkit.voice.playback import Playback
    from roomkit.voice.queue import AudioQueue
    from roomkit.voice.turns import BargeIn, TurnDetector, Turns

__all__ = [
    "AudioChunk",
    "AudioFrame",
    "AudioPipelineConfig",
    "AudioQueue",
    "BargeIn",
    "DTMFEvent",
    "HeardText",
    "Mark",
    "PathDelay",
    "Playback",
    "PlaybackPosition",
    "ProviderLimits",
    "RTPVoiceBackend",
    "Speech",
    "TurnDetector",
    "Turns",
    "VoiceBackend",
    "VoiceCapability",
    "VoiceChannel",
    "VoiceSession",
    "VoiceSessionState",
]

_HOMES = {
    "AudioChunk": "base",
    "AudioFrame": "frame",
    "AudioPipelineConfig": "pipeline.base",
    "AudioQueue": "queue",
    "BargeIn": "turns",
    "DTMFEvent": "events",
    "HeardText": "marks",
    "Mark": "base",
    "PathDelay": "base",
    "Playback": "playback",
    "PlaybackPosition": "base",
    "ProviderLimits": "limits",
    "RTPVoiceBackend": "backends.rtp",
    "Speech": "_speaking",
    "TurnDetector": "turns",
    "Turns": "turns",
    "VoiceBackend": "backends.base",
    "VoiceCapability": "base",
    "VoiceChannel": "channel",
    "VoiceSession": "base",
    "VoiceSessionState": "base",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"roomkit.voice.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
