"""Pins what users import and call. A change of it is made on purpose, in the same commit as this:

    python tests/test_public_surface.py > tests/public_surface.txt

and the difference is what the changelog has to say.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, is_typeddict

PINNED = Path(__file__).with_name("public_surface.txt")
MODULES = (
    "roomkit",
    "roomkit.ai",
    "roomkit.call",
    "roomkit.errors",
    "roomkit.hooks",
    "roomkit.kit",
    "roomkit.rooms",
    "roomkit.rtp",
    "roomkit.rtp.sdp",
    "roomkit.testing",
    "roomkit.voice",
    "roomkit.voice.backends",
    "roomkit.voice.backends.base",
    "roomkit.voice.backends.rtp",
    "roomkit.voice.base",
    "roomkit.voice.channel",
    "roomkit.voice.conversation",
    "roomkit.voice.events",
    "roomkit.voice.frame",
    "roomkit.voice.ledger",
    "roomkit.voice.limits",
    "roomkit.voice.marks",
    "roomkit.voice.pipeline",
    "roomkit.voice.playback",
    "roomkit.voice.stt",
    "roomkit.voice.tts",
    "roomkit.voice.turns",
    "roomkit.voice.vad",
)


def test_the_public_surface_is_as_pinned() -> None:
    now, pinned = list(surface()), PINNED.read_text().splitlines()
    gone = [line for line in pinned if line not in set(now)]
    new = [line for line in now if line not in set(pinned)]
    assert not gone, f"no longer there: {gone}; new: {new}"
    assert not new, f"new, and not pinned: {new}"
    assert now == pinned, "the same in another order: pin it again"


def test_everything_in_all_exists_and_says_what_it_is() -> None:
    for module in map(importlib.import_module, MODULES):
        assert module.__doc__, module
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                assert thing.__doc__, f"{module.__name__}.{name} has no docstring"


# --- the published page, exactly -----------------------------------------------------------------


def test_the_backend_has_the_published_parameters_and_defaults() -> None:
    from roomkit.voice.backends.base import VoiceBackend
    from roomkit.voice.backends.rtp import RTPVoiceBackend

    parameters = inspect.signature(RTPVoiceBackend).parameters
    published = {
        "local_addr": ("0.0.0.0", 0),
        "remote_addr": None,
        "payload_type": 0,
        "clock_rate": 8000,
        "dtmf_payload_type": 101,
        "rtcp_interval": 5.0,
    }
    assert list(parameters)[: len(published)] == list(published)
    assert {name: parameters[name].default for name in published} == published
    # Keyword-only, and ours all have defaults: the six alone make a call.
    extra = parameters["extra"]
    assert extra.kind is inspect.Parameter.VAR_KEYWORD
    named = [each for each in parameters.values() if each is not extra]
    assert {each.kind for each in named} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(each.default is not inspect.Parameter.empty for each in named)
    assert issubclass(RTPVoiceBackend, VoiceBackend)


def test_the_backend_is_found_where_the_page_imports_it() -> None:
    import roomkit.voice.backends
    from roomkit.voice.backends.rtp import RTPVoiceBackend

    assert roomkit.voice.backends.RTPVoiceBackend is RTPVoiceBackend


def test_the_backend_declares_the_published_capabilities() -> None:
    from roomkit.voice.backends.rtp import RTPVoiceBackend
    from roomkit.voice.base import VoiceCapability

    backend = RTPVoiceBackend()
    assert backend.name == "RTP"
    wanted = VoiceCapability.DTMF_SIGNALING | VoiceCapability.INTERRUPTION
    assert backend.capabilities & wanted == wanted


def test_the_published_methods_have_their_parameters() -> None:
    from roomkit.voice.backends.rtp import RTPVoiceBackend

    transcription = inspect.signature(RTPVoiceBackend.send_transcription)
    assert list(transcription.parameters) == ["self", "session", "text", "role"]
    assert transcription.parameters["role"].default == "user"
    assert inspect.iscoroutinefunction(RTPVoiceBackend.send_transcription)
    assert list(inspect.signature(RTPVoiceBackend.on_dtmf_received).parameters) == [
        "self",
        "callback",
    ]
    connect = inspect.signature(RTPVoiceBackend.connect).parameters
    published = ["self", "room_id", "participant_id", "channel_id", "metadata"]
    assert list(connect) == [*published, "options"]
    assert connect["metadata"].kind is inspect.Parameter.KEYWORD_ONLY
    assert connect["metadata"].default is None


# The page's two listings, letter for letter.
QUICK_START = """\
from roomkit.voice.backends.rtp import RTPVoiceBackend

backend = RTPVoiceBackend(
    local_addr=("0.0.0.0", 10000),
    remote_addr=("192.168.1.100", 20000),
)
"""
DTMF = """\
@kit.hook(HookTrigger.ON_DTMF, execution=HookExecution.ASYNC)
async def on_dtmf(event, ctx):
    print(f"DTMF: {event.digit}")
"""


def test_the_published_listings_run_letter_for_letter() -> None:
    namespace: dict[str, Any] = {}
    exec(QUICK_START, namespace)
    assert namespace["backend"].name == "RTP"
    exec("from roomkit import HookExecution, HookTrigger, RoomKit\nkit = RoomKit()", namespace)
    exec(DTMF, namespace)
    # The decorator gives the function back, so that it can be called and tested by itself.
    assert inspect.iscoroutinefunction(namespace["on_dtmf"])


# --- the surface as text -------------------------------------------------------------------------


def surface() -> Iterator[str]:
    """One line for each thing that a user can name, in a fixed order."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            yield from describe(f"{module_name}.{name}", getattr(module, name), module_name)


def describe(path: str, thing: Any, module: str) -> Iterator[str]:
    home = getattr(thing, "__module__", None)
    named = hasattr(thing, "__name__")
    if named and home != module and home in MODULES and not isinstance(thing, enum.Enum):
        yield f"{path} = {home}.{thing.__name__}"
    elif inspect.isclass(thing):
        yield from describe_class(path, thing)
    elif inspect.isfunction(thing):
        yield f"{path}{signature(thing)}"
    else:
        yield f"{path}: {type(thing).__name__}"


def describe_class(path: str, cls: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__)
    yield f"class {path}({bases})"
    if issubclass(cls, enum.Enum):
        for name, member in cls.__members__.items():
            yield f"{path}.{name} = {member.value!r}"
    elif dataclasses.is_dataclass(cls):
        for each in dataclasses.fields(cls):
            if each.init and not each.name.startswith("_"):
                yield f"{path}.{each.name}: {each.type}{default(each)}"
    elif is_typeddict(cls):
        yield from (f"{path}.{name}: {kind}" for name, kind in cls.__annotations__.items())
    elif "__init__" in cls.__dict__:
        yield f"{path}.__init__{signature(cls.__dict__['__init__'])}"
    for name, member in sorted(members(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"{path}.{name} -> {annotation(member.fget)}"
        elif isinstance(member, classmethod | staticmethod):
            yield f"{path}.{name}{signature(member.__func__)}"
        elif inspect.isfunction(member):
            prefix = "async " if inspect.iscoroutinefunction(member) else ""
            yield f"{prefix}{path}.{name}{signature(member)}"


def members(cls: type) -> dict[str, Any]:
    """Its own, and those of the halves it is made of: classes of roomkit that are not public."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        home = base.__module__
        if base is cls or (home.startswith("roomkit.rtp.") and home not in MODULES):
            found.update(base.__dict__)
    return found


def signature(function: Any) -> str:
    """As written: annotations are not evaluated, so that all Python versions say the same."""
    text = str(inspect.signature(function)).replace("'", '"')
    # What has no order, or an address.
    return re.sub(r"frozenset\(\{.*?\}\)|<function .*? at 0x\w+>", "…", text)


def annotation(function: Any) -> str:
    return str(inspect.get_annotations(function).get("return", ""))


def default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        return " = <made>"
    return ""


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in surface())
