"""roomkit: the RTP voice backend for Python voice applications.

Names are loaded when they are first used: `import roomkit` is quick, and the native media core
comes in with the first `RTPVoiceBackend` or `RTPSession`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit.ai import AIChannel, AIProvider, Turn
    from roomkit.call import Call, CallOptions
    from roomkit.errors import RoomKitError
    from roomkit.hooks import HookContext, HookExecution, HookResult, HookTrigger
    from roomkit.kit import RoomKit
    from roomkit.rooms import Channel, ChannelBinding, ChannelCategory, Participant, Room
    from roomkit.voice.backends.base import VoiceBackend
    from roomkit.voice.backends.rtp import RTPVoiceBackend
    from roomkit.voice.base import (
        AudioChunk,
        Mark,
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
    "AIChannel",
    "AIProvider",
    "AudioChunk",
    "AudioFrame",
    "AudioPipelineConfig",
    "AudioQueue",
    "BargeIn",
    "Call",
    "CallOptions",
    "Channel",
    "ChannelBinding",
    "ChannelCategory",
    "DTMFEvent",
    "HeardText",
    "HookContext",
    "HookExecution",
    "HookResult",
    "HookTrigger",
    "Mark",
    "Participant",
    "Playback",
    "PlaybackPosition",
    "ProviderLimits",
    "RTPVoiceBackend",
    "Room",
    "RoomKit",
    "RoomKitError",
    "Turn",
    "TurnDetector",
    "Turns",
    "VoiceBackend",
    "VoiceCapability",
    "VoiceChannel",
    "VoiceSession",
    "VoiceSessionState",
]

_HOMES = {
    "AIChannel": "ai",
    "AIProvider": "ai",
    "AudioChunk": "voice.base",
    "AudioFrame": "voice.frame",
    "AudioPipelineConfig": "voice.pipeline.base",
    "AudioQueue": "voice.queue",
    "BargeIn": "voice.turns",
    "Call": "call",
    "CallOptions": "call",
    "Channel": "rooms",
    "ChannelBinding": "rooms",
    "ChannelCategory": "rooms",
    "DTMFEvent": "voice.events",
    "HeardText": "voice.marks",
    "HookContext": "hooks",
    "HookExecution": "hooks",
    "HookResult": "hooks",
    "HookTrigger": "hooks",
    "Mark": "voice.base",
    "Participant": "rooms",
    "Playback": "voice.playback",
    "PlaybackPosition": "voice.base",
    "ProviderLimits": "voice.limits",
    "RTPVoiceBackend": "voice.backends.rtp",
    "Room": "rooms",
    "RoomKit": "kit",
    "RoomKitError": "errors",
    "Turn": "ai",
    "TurnDetector": "voice.turns",
    "Turns": "voice.turns",
    "VoiceBackend": "voice.backends.base",
    "VoiceCapability": "voice.base",
    "VoiceChannel": "voice.channel",
    "VoiceSession": "voice.base",
    "VoiceSessionState": "voice.base",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("roomkit")
    if name in _HOMES:
        return getattr(import_module(f"roomkit.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
