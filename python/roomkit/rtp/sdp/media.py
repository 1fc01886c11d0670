"""`Media`: an `m=` line with what belongs to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from roomkit.rtp.opus import unreadable as unread_parameters
from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.parts import (
    STATIC,
    Attribute,
    Attributed,
    Connection,
    Encoding,
    Line,
    parse_connection,
)
from roomkit.rtp.sdp.text import quoted, shown, whole

__all__ = ["Media", "unreadable"]

T = TypeVar("T")

_MOST_TOLD: Final = 8  # parameters of one line


@dataclass(frozen=True, repr=False)
class Media(Attributed):
    """An `m=` line with what belongs to it (RFC 8866 §5.14)."""

    kind: str
    """`audio`, `video`, …"""
    port: int
    """0: the medium is refused, or has ended (RFC 3264 §6, §8.2)."""
    protocol: str = "RTP/AVP"
    formats: tuple[str, ...] = ()
    """Of RTP: its payload types."""
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    others: tuple[Line, ...] = field(default=(), repr=False)
    """Its lines `i=`, `b=` and `k=`."""
    port_count: int = 1
    line_number: int | None = field(default=None, compare=False)
    unread: tuple[SDPError, ...] = field(default=(), compare=False, repr=False)
    """What could not be read of its lines, and why: it counts as not written."""

    def error(self, problem: str) -> SDPError:
        """That the `m=` line is wrong."""
        return SDPError(problem, line_number=self.line_number, line=f"m={self._value}")

    def __repr__(self) -> str:
        return f"<Media {shown(f'm={self._value}')[2:]!r} with {len(self.attributes)} attributes>"

    @property
    def is_rtp(self) -> bool:
        """Whether it is RTP, under whatever profile."""
        return "RTP/" in self.protocol.upper()

    @property
    def payload_types(self) -> tuple[int, ...]:
        """Its formats as numbers, in the order of preference; those that are none are left out."""
        numbers = (whole(text, 0, 127) for text in self.formats)
        return tuple(dict.fromkeys(number for number in numbers if number is not None))

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """What its payload types stand for, in the order of preference. Static ones keep their
        meaning without a line (RFC 3551 §6); a dynamic one without is left out: nobody can know."""
        return self._encodings

    @cached_property
    def _encodings(self) -> tuple[Encoding, ...]:
        maps = dict(self._readable("rtpmap", _rtpmap))
        parameters: dict[int, list[str]] = {}
        for number, text in self._readable("fmtp", _of_type):
            # Some stacks spread what belongs to one type over several lines.
            parameters.setdefault(number, []).append(text)
        found: list[Encoding] = []
        for number in self.payload_types:
            entry = maps.get(number) or STATIC.get(number)
            if entry is not None:
                found.append(Encoding(number, *entry, ";".join(parameters.get(number, ()))))
        return tuple(found)

    @property
    def ptime(self) -> float | None:
        """Milliseconds of audio in a packet that its sender would like to get (RFC 8866 §6.4)."""
        # Some phones write 0 where they have no wish.
        return next(iter(self._readable("ptime", _milliseconds)), None) or None

    @property
    def maxptime(self) -> float | None:
        """The most milliseconds of audio that it takes in a packet."""
        return next(iter(self._readable("maxptime", _milliseconds)), None) or None

    @property
    def rtcp_mux(self) -> bool:
        """Whether RTCP may come on RTP's port (RFC 5761 §5.1.1)."""
        return self.first("rtcp-mux") is not None

    @property
    def rtcp(self) -> tuple[int, Connection | None] | None:
        """Where RTCP goes to, if a line says so (RFC 3605): the port, and the host if it is
        another."""
        return next(iter(self._readable("rtcp", _rtcp)), None)

    @property
    def ssrcs(self) -> tuple[int, ...]:
        """The SSRCs that it names (RFC 5576), each once."""
        return tuple(dict.fromkeys(self._readable("ssrc", _ssrc)))

    def lines(self) -> Iterator[str]:
        """Its lines, as they are written."""
        yield f"m={self._value}"
        yield from (f"{letter}={value}" for letter, value in self.others if letter == "i")
        if self.connection is not None:
            yield f"c={self.connection}"
        yield from (f"{letter}={value}" for letter, value in self.others if letter != "i")
        yield from (f"a={attribute}" for attribute in self.attributes)

    @property
    def _value(self) -> str:
        count = f"/{self.port_count}" if self.port_count != 1 else ""
        parts = (self.kind, f"{self.port}{count}", self.protocol, *self.formats)
        return " ".join(part for part in parts if part)

    def _readable(self, name: str, read: Callable[[str], T]) -> Iterator[T]:
        """The values of the attributes of that name, without those that cannot be read."""
        for attribute in self.named(name):
            with contextlib.suppress(ValueError):
                yield read(attribute.value or "")


def unreadable(media: Media) -> Iterator[SDPError]:
    """What cannot be read of its formats, and of those attributes that mean something here. A call
    does without, as if it were not written."""
    none = [text for text in media.formats if whole(text, 0, 127) is None]
    if none:
        more = f" and {len(none) - 1} more" if len(none) > 1 else ""
        yield media.error(f"format {quoted(none[0])}{more}; a payload type from 0 to 127 fits")
    opus = {each.payload_type for each in media.encodings if each.name.lower() == "opus"}
    for attribute in media.attributes:
        name = attribute.name.lower()
        read = _READERS.get(name)
        if read is None:
            continue
        try:
            value = read(attribute.value or "")
        except ValueError as error:
            yield attribute.error(str(error))
            continue
        if name == "fmtp" and isinstance(value, tuple) and value[0] in opus:
            for parameter in unread_parameters(value[1])[:_MOST_TOLD]:
                yield attribute.error(f"parameter {quoted(parameter)} of Opus (RFC 7587 §6.1)")


def _rtpmap(value: str) -> tuple[int, tuple[str, int, int]]:
    """RFC 8866 §6.6: `96 opus/48000/2`."""
    number, encoding = _of_type(value)
    name, *rest = (part.strip() for part in encoding.split("/"))
    usual = _USUAL_CLOCKS.get(name.upper())
    if not rest and usual is not None:
        return number, (name, usual, 1)
    if not name or not 1 <= len(rest) <= 2:
        raise ValueError("an encoding such as 'opus/48000/2' fits behind the number")
    rate = whole(rest[0], 1, 1_000_000)
    if rate is None:
        raise ValueError(f"clock rate {quoted(rest[0])}; a number of Hz fits")
    channels = whole(rest[1], 1, 255) if len(rest) > 1 else 1
    if channels is None:
        raise ValueError(f"channels {quoted(rest[1])}; 1 to 255 fits")
    return number, (name, rate, channels)


def _of_type(value: str) -> tuple[int, str]:
    """The payload type that a value begins with, and what follows (RFC 8866 §6.15: `101 0-16`)."""
    text, *rest = value.split(None, 1) or [""]
    number = whole(text, 0, 127)
    if number is None:
        raise ValueError(f"payload type {quoted(text)}; 0 to 127 fits")
    return number, rest[0].strip() if rest else ""


def _milliseconds(value: str) -> float:
    text = value.strip()
    before, _, behind = text.partition(".")
    if whole(before, 0, 10_000) is None or whole(behind or "0", 0, 10**9) is None:
        raise ValueError(f"{quoted(text)}; a number of milliseconds, at most 10000, fits")
    return float(text)


def _rtcp(value: str) -> tuple[int, Connection | None]:
    text, *address = value.split(None, 1) or [""]
    port = whole(text, 1, 65535)
    if port is None:
        raise ValueError(f"port {quoted(text)}; 1 to 65535 fits")
    return port, parse_connection(address[0]) if address else None


def _ssrc(value: str) -> int:
    text = (value.split(None, 1) or [""])[0]
    ssrc = whole(text, 0, 0xFFFF_FFFF)
    if ssrc is None:
        raise ValueError(f"SSRC {quoted(text)}; 0 to 4294967295 fits")
    return ssrc


_USUAL_CLOCKS: Final = {
    **dict.fromkeys(("PCMU", "PCMA", "G722", "CN", "TELEPHONE-EVENT"), 8000),
    "OPUS": 48000,
}
"""Of encodings that some write without a clock."""

_READERS: Final[dict[str, Callable[[str], object]]] = {
    "rtpmap": _rtpmap,
    "fmtp": _of_type,
    "ptime": _milliseconds,
    "maxptime": _milliseconds,
    "rtcp": _rtcp,
    "ssrc": _ssrc,
}
"""Attributes whose values mean something here."""
