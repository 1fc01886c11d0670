"""The voice side: sessions, frames, backends, channels."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit.voice.backends.base import VoiceBackend
    from roomkit.voice.backends.rtp import RTPVoiceBackend
    from roomkit.voice.base import (
        AudioChunk,
        PlaybackPosition,
        VoiceCapability,
        VoiceSession,
        VoiceSessionState,
    )
    from roomkit.voice.channel import VoiceChannel
    from roomkit.voice.events import DTMFEvent
    from roomkit.voice.frame import AudioFrame
    from roomkit.voice.pipeline.base import AudioPipelineConfig
    from roomkit.voice.queue import AudioQueue

__all__ = [
    "AudioChunk",
    "AudioFrame",
    "AudioPipelineConfig",
    "AudioQueue",
    "DTMFEvent",
    "PlaybackPosition",
    "RTPVoiceBackend",
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
    "DTMFEvent": "events",
    "PlaybackPosition": "base",
    "RTPVoiceBackend": "backends.rtp",
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
