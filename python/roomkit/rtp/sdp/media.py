"""`Media`: an `m=` line with what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
from roomkit.rtp.sdp.text import whole

__all__ = ["Media"]


@dataclass(frozen=True)
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

    def error(self, problem: str) -> SDPError:
        """That the `m=` line is wrong."""
        return SDPError(problem, line_number=self.line_number, line=f"m={self._value}")

    @property
    def is_rtp(self) -> bool:
        """Whether it is RTP, under whatever profile."""
        return "RTP/" in self.protocol.upper()

    @property
    def payload_types(self) -> tuple[int, ...]:
        """Its formats as numbers, in the order of preference."""
        numbers: list[int] = []
        for text in self.formats:
            number = whole(text, 0, 127)
            if number is None:
                raise self.error(f"format {text!r}; a payload type from 0 to 127 fits")
            if number not in numbers:
                numbers.append(number)
        return tuple(numbers)

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """What its payload types stand for, in the order of preference. Static ones keep their
        meaning without a line (RFC 3551 §6); a dynamic one without is left out: nobody can know."""
        maps = dict(map(_rtpmap, self.named("rtpmap")))
        parameters: dict[int, str] = {}
        for number, text in map(_fmtp, self.named("fmtp")):
            # Some stacks spread what belongs to one type over several lines.
            parameters[number] = f"{parameters[number]};{text}" if number in parameters else text
        found: list[Encoding] = []
        for number in self.payload_types:
            entry = maps.get(number) or STATIC.get(number)
            if entry is not None:
                found.append(Encoding(number, *entry, parameters.get(number, "")))
        return tuple(found)

    @property
    def ptime(self) -> float | None:
        """Milliseconds of audio in a packet that its sender would like to get (RFC 8866 §6.4)."""
        return self._milliseconds("ptime")

    @property
    def maxptime(self) -> float | None:
        """The most milliseconds of audio that it takes in a packet."""
        return self._milliseconds("maxptime")

    @property
    def rtcp_mux(self) -> bool:
        """Whether RTCP may come on RTP's port (RFC 5761 §5.1.1)."""
        return self.first("rtcp-mux") is not None

    @property
    def rtcp(self) -> tuple[int, Connection | None] | None:
        """Where RTCP goes to, if a line says so (RFC 3605): the port, and the host if it is
        another."""
        attribute = self.first("rtcp")
        if attribute is None:
            return None
        text, _, address = (attribute.value or "").strip().partition(" ")
        port = whole(text, 1, 65535)
        if port is None:
            raise attribute.error(f"port {text!r}; 1 to 65535 fits")
        try:
            return port, parse_connection(address) if address.strip() else None
        except ValueError as error:
            raise attribute.error(str(error)) from None

    @property
    def ssrcs(self) -> tuple[int, ...]:
        """The SSRCs that it names (RFC 5576), each once."""
        found: dict[int, None] = {}
        for attribute in self.named("ssrc"):
            text = (attribute.value or "").strip().partition(" ")[0]
            ssrc = whole(text, 0, 0xFFFF_FFFF)
            if ssrc is None:
                raise attribute.error(f"SSRC {text!r}; 0 to 4294967295 fits")
            found[ssrc] = None
        return tuple(found)

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
        return " ".join((self.kind, f"{self.port}{count}", self.protocol, *self.formats))

    def _milliseconds(self, name: str) -> float | None:
        attribute = self.first(name)
        if attribute is None:
            return None
        text = (attribute.value or "").strip()
        before, _, behind = text.partition(".")
        if whole(before, 0, 10_000) is None or whole(behind or "0", 0, 10**9) is None:
            raise attribute.error(f"{name} {text!r}; a number of milliseconds, at most 10000, fits")
        # Some phones write 0 where they have no wish.
        return float(text) or None


def _rtpmap(attribute: Attribute) -> tuple[int, tuple[str, int, int]]:
    """RFC 8866 §6.6: `96 opus/48000/2`."""
    number, encoding = _of_type(attribute)
    name, *rest = encoding.split("/")
    if not name or not 1 <= len(rest) <= 2:
        raise attribute.error("an encoding such as 'opus/48000/2' fits behind the number")
    rate = whole(rest[0], 1, 1_000_000)
    if rate is None:
        raise attribute.error(f"clock rate {rest[0]!r}; a number of Hz fits")
    channels = whole(rest[1], 1, 255) if len(rest) > 1 else 1
    if channels is None:
        raise attribute.error(f"channels {rest[1]!r}; 1 to 255 fits")
    return number, (name, rate, channels)


def _fmtp(attribute: Attribute) -> tuple[int, str]:
    """RFC 8866 §6.15: `101 0-16`."""
    return _of_type(attribute)


def _of_type(attribute: Attribute) -> tuple[int, str]:
    """The payload type that a value begins with, and what follows."""
    text, _, rest = (attribute.value or "").strip().partition(" ")
    number = whole(text, 0, 127)
    if number is None:
        raise attribute.error(f"payload type {text!r}; 0 to 127 fits")
    return number, rest.strip()
