"""Tests of what is written with roomkit: whole conversations in milliseconds, the same each time.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit.testing.backend import FakeBackend
    from roomkit.testing.caller import Caller, Doing, Said
    from roomkit.testing.clock import StuckError, VirtualTimeLoop, run, virtual_time
    from roomkit.testing.phone import Heard, NetworkPath
    from roomkit.testing.providers import FakeModel, FakeSTT, FakeTTS, ScriptedVAD
    from roomkit.testing.talk import Talk, conversation
    from roomkit.testing.words import Ear, HeardWord, speech, words_in

__all__ = [
    "Caller",
    "Doing",
    "Ear",
    "FakeBackend",
    "FakeModel",
    "FakeSTT",
    "FakeTTS",
    "Heard",
    "HeardWord",
    "NetworkPath",
    "Said",
    "ScriptedVAD",
    "StuckError",
    "Talk",
    "VirtualTimeLoop",
    "conversation",
    "run",
    "speech",
    "virtual_time",
    "words_in",
]

_HOMES = {
    "Caller": "caller",
    "Doing": "caller",
    "Ear": "words",
    "FakeBackend": "backend",
    "FakeModel": "providers",
    "FakeSTT": "providers",
    "FakeTTS": "providers",
    "Heard": "phone",
    "HeardWord": "words",
    "NetworkPath": "phone",
    "Said": "caller",
    "ScriptedVAD": "providers",
    "StuckError": "clock",
    "Talk": "talk",
    "VirtualTimeLoop": "clock",
    "conversation": "talk",
    "run": "clock",
    "speech": "words",
    "virtual_time": "clock",
    "words_in": "words",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"roomkit.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
