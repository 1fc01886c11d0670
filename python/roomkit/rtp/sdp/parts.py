"""What the lines of a session description say: attributes, addresses, encodings (RFC 8866)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.text import one_line, quoted, shown

if TYPE_CHECKING:
    from roomkit.rtp.options import MediaDirection

__all__ = [
    "STATIC",
    "Attribute",
    "Attributed",
    "Connection",
    "Encoding",
    "Line",
    "Origin",
    "attributes",
    "in_order",
    "parse_connection",
]

Line: TypeAlias = tuple[str, str]
"""A line of another type than those that have a field: its letter and its value."""

_RANKS: Final = {"i": 0, "u": 0, "e": 0, "p": 0, "b": 1, "t": 2, "r": 2, "z": 2, "k": 3}
_LONGEST_HOST: Final = 255  # characters of a name (RFC 1035 §2.3.4)
_DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")

# RFC 3551 §6, table 4: what a static type means without a line a=rtpmap. 19 is reserved there: it
# was comfort noise before that had its number, and some gateways still say so.
STATIC: Final[dict[int, tuple[str, int, int]]] = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1),
    13: ("CN", 8000, 1),
    14: ("MPA", 90000, 1),
    15: ("G728", 8000, 1),
    16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1),
    19: ("CN", 8000, 1),
}


# What is written wrong and means one thing only.
_MEANT: Final[dict[tuple[str, int, int], tuple[str, int, int]]] = {
    ("opus", 48000, 1): ("opus", 48000, 2),
    ("g722", 16000, 1): ("g722", 8000, 1),
}


@dataclass(frozen=True)
class Attribute:
    """One line `a=name:value` or `a=name`. Its `repr` shows no key."""

    name: str
    value: str | None = None
    line_number: int | None = field(default=None, compare=False)
    """Where it was read, counted from 1."""

    def __post_init__(self) -> None:
        one_line(self.name + (self.value or ""), f"attribute {quoted(self.name)}")

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"

    def __repr__(self) -> str:
        return f"<Attribute {shown(f'a={self}')[2:]!r}>"

    def error(self, problem: str) -> SDPError:
        """That this line is wrong."""
        return SDPError(problem, line_number=self.line_number, line=f"a={self}")


@dataclass(frozen=True)
class Connection:
    """Where media goes to: `IN IP4 192.0.2.10` (RFC 8866 §5.7)."""

    host: str
    """A numeric address, or a name."""
    kind: Literal["IP4", "IP6"] = "IP4"
    suffix: str = ""
    """What a multicast address has behind it: `/127`."""

    @classmethod
    def of(cls, host: str) -> Connection:
        """That of a numeric address; the zone of a link-local one means nothing to others."""
        host = host.partition("%")[0]
        return cls(host, "IP6" if ":" in host else "IP4")

    @property
    def is_unspecified(self) -> bool:
        """`0.0.0.0`, by which older phones say that nothing is to be sent to them (RFC 3264 §8.4),
        or a name under `invalid`, which says it with IPv6 (RFC 6157 §3.2.1)."""
        ip = _ip(self.host)
        return ip.is_unspecified if ip is not None else self.host.endswith(".invalid")

    @property
    def is_multicast(self) -> bool:
        """Whether it is the address of a group."""
        ip = _ip(self.host)
        # Some write a TTL behind an address of one host, where it means nothing.
        return bool(self.suffix) if ip is None else ip.is_multicast

    def __str__(self) -> str:
        return f"IN {self.kind} {self.host}{self.suffix}"

    def __repr__(self) -> str:
        return f"<Connection {shown(f'c={self}')[2:]!r}>"


@dataclass(frozen=True)
class Origin:
    """Who made the description, and which of its versions this is (RFC 8866 §5.2)."""

    username: str = "-"
    session_id: str = "0"
    version: str = "0"
    address: Connection = Connection("127.0.0.1")

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {self.address}"

    def __repr__(self) -> str:
        return f"<Origin {shown(f'o={self}')[2:]!r}>"


@dataclass(frozen=True)
class Encoding:
    """What a payload type stands for: its `a=rtpmap` with its `a=fmtp`."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    parameters: str = ""
    """The value of its `a=fmtp`."""

    @property
    def rtpmap(self) -> str:
        """`opus/48000/2`, as RFC 8866 §6.6 writes it."""
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.name}/{self.clock_rate}{channels}"

    def is_same(self, name: str, clock_rate: int, channels: int) -> bool:
        """Whether it is that encoding. Names know no case (RFC 4855 §3), and where clock or
        channels are written wrong and can mean one thing only, they mean that: Opus has two
        channels in SDP, however many are written (RFC 7587 §7), and G.722 a clock of 8000 Hz,
        though it samples 16000 (RFC 3551 §4.5.2)."""
        written = self.name.lower(), self.clock_rate, self.channels
        meant = _MEANT.get(written, written)
        return meant == (name.lower(), clock_rate, channels)


class Attributed:
    """What a description and its media have in common."""

    attributes: tuple[Attribute, ...]

    def named(self, name: str) -> tuple[Attribute, ...]:
        """All attributes of that name, which some write in capitals."""
        return tuple(each for each in self.attributes if each.name.lower() == name)

    def first(self, name: str) -> Attribute | None:
        """The first attribute of that name."""
        return next(iter(self.named(name)), None)

    @property
    def direction(self) -> MediaDirection | None:
        """`sendrecv`, `sendonly`, `recvonly` or `inactive`, if a line says so here."""
        said = [each.name.lower() for each in self.attributes if each.name.lower() in _DIRECTIONS]
        # Where lines contradict one another, the last is what a stack added on its way.
        return cast("MediaDirection", said[-1]) if said else None


def parse_connection(value: str) -> Connection:
    """`IN IP4 192.0.2.10` as a `Connection`; raises `ValueError` saying what does not fit."""
    parts = value.split()
    if len(parts) != 3:
        raise ValueError("an address such as 'IN IP4 192.0.2.10' fits")
    net, kind, address = parts
    if net.upper() != "IN":
        raise ValueError(f"network {quoted(net)}; 'IN' fits")
    kind = kind.upper()
    if kind not in ("IP4", "IP6"):
        raise ValueError(f"kind of address {quoted(kind)}; 'IP4' or 'IP6' fits")
    host, slash, count = address.partition("/")
    if re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", host, re.ASCII):
        host = ".".join(str(int(part)) for part in host.split("."))  # 192.000.002.010
    ip = _ip(host)
    if ip is None and (":" in host or host.replace(".", "").isdecimal()):
        raise ValueError(f"address {quoted(host)} is none")
    if len(host) > _LONGEST_HOST:
        raise ValueError(f"address of {len(host)} characters; at most {_LONGEST_HOST} fit")
    if ip is not None:
        kind = f"IP{ip.version}"  # the address itself knows better
    return Connection(host, cast("Literal['IP4', 'IP6']", kind), slash + count)


def attributes(lines: Iterable[tuple[str, object]]) -> tuple[Attribute, ...]:
    """Attributes of (name, value) pairs; True stands for no value."""
    return tuple(Attribute(name, None if value is True else str(value)) for name, value in lines)


def in_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    """The lines in the order of RFC 8866 §5: those before `c=`, `b=`, times, `k=`."""
    return tuple(sorted(lines, key=lambda line: _RANKS.get(line[0], 2)))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
