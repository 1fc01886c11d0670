"""`Codec`: what a payload type number means, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from roomkit.rtp.checks import number

__all__ = ["PCMA", "PCMU", "Codec", "codecs_for", "static_codec"]

CodecName = Literal["PCMU", "PCMA", "L16"]
_NAMES: Final = ("PCMU", "PCMA", "L16")
_DYNAMIC: Final = range(96, 128)
_L16_RATES: Final = (8000, 16000, 24000, 32000, 44100, 48000)


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec under its payload type, as one line `a=rtpmap` of SDP would name it.

    Raises `ValueError` for a combination that RFC 3551 does not know or that the media core cannot
    code.
    """

    name: CodecName
    """`"PCMU"`, `"PCMA"` (G.711, RFC 3551 §4.5.14) or `"L16"` (linear PCM, §4.5.11)."""
    payload_type: int
    """The static number of RFC 3551 §6, or a dynamic one, 96 to 127."""
    clock_rate: int = 8000
    """RTP ticks per second. G.711: 8000. L16: its sample rate, 8000 to 48000 Hz."""
    channels: int = 1
    """1, or 2 for L16."""
    send_payload_type: int | None = None
    """The far end's number for it, where that is another one: payload types belong to the receiver
    (RFC 3264 §5.1). None: `payload_type`."""

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            raise ValueError(f"codec name: {self.name!r}; {_or(_NAMES)} fits")
        number(self.payload_type, "payload_type", 0, 127)
        if self.name == "L16":
            if number(self.clock_rate, "clock_rate", 1, 192_000) not in _L16_RATES:
                raise ValueError(f"clock_rate: {self.clock_rate!r}; L16 has {_or(_L16_RATES)} Hz")
            number(self.channels, "channels", 1, 2)
        elif self.clock_rate != 8000 or self.channels != 1 or self.channels is True:
            raise ValueError(
                f"clock_rate: {self.clock_rate!r} with channels: {self.channels!r};"
                f" {self.name} is 8000 Hz and 1 channel"
            )
        if self.send_payload_type is not None:
            number(self.send_payload_type, "send_payload_type", 0, 127)
            if 64 <= self.send_payload_type <= 95:
                raise ValueError(
                    f"send_payload_type: {self.send_payload_type}; 0 to 63 or 96 to 127 fits"
                    " (others collide with RTCP, RFC 5761 §4)"
                )
        known = _STATIC.get(self.payload_type)
        if known is not None:
            if known != (self.name, self.clock_rate, self.channels):
                raise ValueError(
                    f"payload_type: {self.payload_type} is {_rtpmap(*known)} (RFC 3551 §6),"
                    f" not {self.rtpmap}; 96 to 127 fits"
                )
        elif self.payload_type not in _DYNAMIC:
            raise _unknown_type(self.payload_type)

    @property
    def wire_type(self) -> int:
        """The payload type under which it is sent."""
        return self.payload_type if self.send_payload_type is None else self.send_payload_type

    def native(self, payload_type: int) -> dict[str, Any]:
        """In the media core's form, under this payload type."""
        return {
            "kind": self.name,
            "payload_type": payload_type,
            "clock_rate": self.clock_rate,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
        }

    @property
    def sample_rate(self) -> int:
        """Samples of audio per second and channel."""
        return self.clock_rate

    @property
    def rtpmap(self) -> str:
        """`"L16/44100/2"`: the encoding as SDP writes it (RFC 8866 §6.6)."""
        return _rtpmap(self.name, self.clock_rate, self.channels)


# RFC 3551 §6, table 4: the static types that the media core codes. Before the constants below,
# which are checked against it.
_STATIC: Final[dict[int, tuple[str, int, int]]] = {
    0: ("PCMU", 8000, 1),
    8: ("PCMA", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
}

PCMU: Final = Codec("PCMU", 0)
PCMA: Final = Codec("PCMA", 8)


def static_codec(payload_type: int) -> Codec | None:
    """The codec of a static payload type, if the media core has it."""
    entry = _STATIC.get(payload_type)
    if entry is None:
        return None
    return Codec(cast(CodecName, entry[0]), payload_type, entry[1], entry[2])


def codecs_for(
    payload_type: int, clock_rate: int, codecs: Iterable[Codec | str] | None
) -> tuple[Codec, ...]:
    """What a session codes: the first is sent, all are received.

    Without `codecs` the number and the clock rate decide: static types are those of RFC 3551, a
    dynamic one is L16 mono at `clock_rate`. A session that sends one law of G.711 under its static
    type also receives the other one: gateways switch, and payload types need not be the same in
    both directions (RFC 3264 §5.1).

    With `codecs` that list decides; `payload_type` and `clock_rate` are then either left at their
    defaults or those of its first codec.
    """
    number(payload_type, "payload_type", 0, 127)
    number(clock_rate, "clock_rate", 1, 192_000)
    if codecs is not None:
        return _listed(codecs, payload_type, clock_rate)
    known = static_codec(payload_type)
    if known is None:
        if payload_type not in _DYNAMIC:
            raise _unknown_type(payload_type)
        return (Codec("L16", payload_type, clock_rate),)
    if payload_type in (10, 11) and clock_rate == 8000:
        clock_rate = known.clock_rate  # the default of a parameter that static types do not need
    if clock_rate != known.clock_rate:
        raise ValueError(
            f"clock_rate: {clock_rate}; payload_type {payload_type} is {known.name}"
            f" at {known.clock_rate} Hz (RFC 3551 §6)"
        )
    if known == PCMU:
        return (PCMU, PCMA)
    if known == PCMA:
        return (PCMA, PCMU)
    return (known,)


def _listed(codecs: Iterable[Codec | str], payload_type: int, clock_rate: int) -> tuple[Codec, ...]:
    if isinstance(codecs, (str, Codec)):
        codecs = (codecs,)
    try:
        listed = tuple(_codec(item) for item in codecs)
    except TypeError:
        raise ValueError(f"codecs: {codecs!r}; a list of Codec or of names fits") from None
    if not listed:
        raise ValueError("codecs: it is empty; at least one Codec fits")
    numbers = [codec.payload_type for codec in listed]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"codecs: payload types {numbers} repeat; each may occur once")
    first = listed[0]
    if payload_type not in (0, first.payload_type):
        raise ValueError(
            f"payload_type: {payload_type} contradicts codecs, whose first has"
            f" {first.payload_type}; leave it out"
        )
    if clock_rate not in (8000, first.clock_rate):
        raise ValueError(
            f"clock_rate: {clock_rate} contradicts codecs, whose first has {first.clock_rate};"
            " leave it out"
        )
    return listed


def _codec(item: object) -> Codec:
    if isinstance(item, Codec):
        return item
    if item == "PCMU":
        return PCMU
    if item == "PCMA":
        return PCMA
    raise ValueError(
        f"codecs: {item!r}; 'PCMU', 'PCMA' or a Codec such as Codec('L16', 96, 16000) fits"
    )


def _unknown_type(payload_type: int) -> ValueError:
    static = ", ".join(f"{number} {_rtpmap(*entry)}" for number, entry in _STATIC.items())
    return ValueError(
        f"payload_type: {payload_type}; {static}, or a dynamic type from 96 to 127 fits"
    )


def _rtpmap(name: str, clock_rate: int, channels: int) -> str:
    return f"{name}/{clock_rate}" + (f"/{channels}" if channels > 1 else "")


def _or(values: Iterable[object]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}"
