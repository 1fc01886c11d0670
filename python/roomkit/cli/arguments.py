"""What can be typed behind `roomkit`, checked before anything is opened.

Every function takes the text of one argument and returns its value, or raises
`argparse.ArgumentTypeError` that says what is wrong with it and what would be right.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roomkit._handlers import check_async

if TYPE_CHECKING:
    from roomkit.cli.apps import App
    from roomkit.cli.wav import Audio
    from roomkit.rtp.codecs import Codec

__all__ = ["address", "app", "codec", "digits", "output_file", "percent", "seconds", "sound"]


def address(text: str, *, free_port: bool = False) -> tuple[str, int]:
    """`HOST:PORT`; an IPv6 address stands in brackets. Port 0 ("any") only where `free_port`."""
    example = "0.0.0.0:10000" if free_port else "192.0.2.10:20000"
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise _wrong(text, f"HOST:PORT is expected, such as {example}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _wrong(text, "an IPv6 address stands in brackets, such as [2001:db8::1]:20000")
    low = 0 if free_port else 1
    if not port.isdecimal() or not low <= int(port) <= 65534:
        raise _wrong(text, f"the port must be a number from {low} to 65534")
    return host, int(port)


def local_address(text: str) -> tuple[str, int]:
    """`address` to bind: port 0 takes a free one."""
    return address(text, free_port=True)


def codec(text: str) -> Codec:
    """`PCMU`, `PCMA`, `G722`, `opus` or `L16/RATE[/CHANNELS]`, with `@PAYLOAD_TYPE` where it is not
    the usual."""
    from roomkit.rtp.codecs import Codec

    expected = "PCMU, PCMA, G722, opus, or L16/RATE[/CHANNELS] such as L16/16000 is expected"
    name, _, number = text.partition("@")
    kind, *parts = name.upper().split("/")
    known = {"PCMU": 0, "PCMA": 8, "G722": 9, "L16": 96, "OPUS": 111}
    if kind not in known or len(parts) > 2 or (kind == "L16" and not parts):
        raise _wrong(text, expected + " (with @96 and the like for another payload type)")
    if not all(part.isdecimal() for part in parts) or (number and not number.isdecimal()):
        raise _wrong(text, expected + ", and numbers in it as digits")
    # 0: those of the codec.
    rate = int(parts[0]) if parts else 0
    channels = int(parts[1]) if len(parts) > 1 else int(kind == "L16")
    usual = known[kind]
    if kind == "L16" and rate == 44100:  # the two static types of RFC 3551 §6
        usual = {1: 11, 2: 10}.get(channels, 96)
    try:
        spelt = kind.lower() if kind == "OPUS" else kind
        return Codec(spelt, int(number or usual), rate, channels)  # type: ignore[arg-type]
    except ValueError as error:
        raise _wrong(text, str(error)) from None


def preset(text: str) -> str:
    """The name of a preset for peers that send no SDP."""
    from roomkit.rtp.presets import PRESETS

    if text not in PRESETS:
        raise _wrong(text, f"one of {', '.join(PRESETS)} is expected")
    return text


def digits(text: str) -> str:
    """Keys of a telephone: 0-9 * # A-D; `,` pauses."""
    for character in text.upper():
        if character not in "0123456789*#ABCD,":
            raise _wrong(
                text, f"{character!r} is no key; 0-9, *, # and A-D are, and a comma pauses"
            )
    if not text:
        raise _wrong(text, "at least one of 0-9, *, #, A-D is expected")
    return text.upper()


def seconds(text: str) -> float:
    """A time above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise _wrong(text, "seconds, more than 0 and at most 86400, are expected")
    return value


def percent(text: str) -> float:
    """0 to 50."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 50:
        raise _wrong(text, "a percentage from 0 to 50 is expected")
    return value


def sound(text: str) -> Audio:
    """A WAV file, read at once, so that a wrong one is told before the call."""
    from roomkit.cli import wav

    try:
        audio = wav.read(text)
    except wav.WavError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 8000 <= audio.sample_rate <= 192_000:
        raise _wrong(text, f"it has {audio.sample_rate} Hz; 8000 to 192000 Hz can be played")
    return audio.mono() if audio.channels > 2 else audio


def output_file(text: str) -> Path:
    """A file that can be written: its folder exists."""
    path = Path(text)
    if path.is_dir():
        raise _wrong(text, "that is a folder; the name of a file is expected")
    if not path.parent.is_dir():
        raise _wrong(text, f"there is no folder {str(path.parent)!r}")
    return path


def app(text: str) -> App:
    """`echo`, `parrot`, `menu`, or `package.module:function` of one's own."""
    from roomkit.cli.apps import APPS

    if text in APPS:
        return APPS[text]
    expected = f"{', '.join(APPS)} or package.module:function is expected"
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise _wrong(text, expected)
    # As `python -m` does: what lies in the current folder can be named.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        function: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _wrong(text, f"there is no module {error.name!r}; {expected}") from None
    except Exception as error:  # noqa: BLE001 (a module of the user's: it may raise anything)
        raise _wrong(text, f"importing {module} failed: {error!r}") from None
    for part in name.split("."):
        function = getattr(function, part, None)
    if function is None:
        raise _wrong(text, f"{module} has no {name!r}")
    try:
        check_async("app", function, "call")
    except TypeError as error:
        raise _wrong(text, str(error)) from None
    found: App = function
    return found


def _wrong(text: str, why: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r}: {why}")
