"""What carries calls.

`RTPVoiceBackend` is loaded when it is first asked for: it brings in the native media core.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from roomkit.voice.backends.base import VoiceBackend

if TYPE_CHECKING:
    from roomkit.voice.backends.rtp import RTPVoiceBackend

__all__ = ["RTPVoiceBackend", "VoiceBackend"]


def __getattr__(name: str) -> Any:
    if name == "RTPVoiceBackend":
        return import_module("roomkit.voice.backends.rtp").RTPVoiceBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
