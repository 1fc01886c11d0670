"""`Codec`: what a payload type number means, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from roomkit.errors import shown
from roomkit.rtp.checks import number
from roomkit.rtp.opus import OPUS_RATES, OpusSettings

__all__ = [
    "COLLIDING_TYPES",
    "DYNAMIC_TYPES",
    "G722",
    "OPUS",
    "PCMA",
    "PCMU",
    "STATIC_NOISE",
    "Codec",
    "codecs_for",
    "static_codec",
]

CodecName = Literal["PCMU", "PCMA", "G722", "L16", "opus"]
_NAMES: Final = ("PCMU", "PCMA", "G722", "L16", "opus")
DYNAMIC_TYPES: Final = (*range(96, 128), *range(35, 64))
"""Payload types that have no meaning of their own, in the order in which they are given: those of
RFC 3551 §6, and where they run out the unassigned ones below 64 (RFC 5761 §4), as browsers do."""
COLLIDING_TYPES: Final = range(64, 96)
"""Payload types that nothing has: with the marker they look like RTCP (RFC 5761 §4)."""
STATIC_NOISE: Final = (13, 19)
"""Comfort noise at 8000 Hz: RFC 3389 §4, and what was its number before and is reserved since (RFC
3551 §6)."""
_DYNAMIC_FITS: Final = "96 to 127 or 35 to 63"
_L16_RATES: Final = (
    *(8000, 11025, 12000, 16000, 22050, 24000, 32000),
    *(44100, 48000, 96000, 192000),
)
# What everyone offers: packets from 10 ms on, and the copy of the packet before in each.
_OPUS_FMTP: Final = "minptime=10;useinbandfec=1"


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec under its payload type, as one line `a=rtpmap` of SDP and its `a=fmtp` name it.

    Raises `ValueError` for a combination that RFC 3551 or RFC 7587 does not know or that the media
    core cannot code.
    """

    name: CodecName
    """`"PCMU"`, `"PCMA"` (G.711, RFC 3551 §4.5.14), `"G722"` (§4.5.2), `"L16"` (linear PCM,
    §4.5.11) or `"opus"` (RFC 7587)."""
    payload_type: int
    """The static number of RFC 3551 §6, or a dynamic one, 96 to 127 or 35 to 63."""
    clock_rate: int = 0
    """RTP ticks per second; 0: those of the codec. G.711 and G.722: 8000, Opus: 48000. L16: its
    sample rate, 8000 to 192000 Hz."""
    channels: int = 0
    """As SDP writes them; 0: those of the codec. 1, for L16 1 or 2, for Opus always 2 (RFC 7587
    §7): whether it is stereo is a matter of `fmtp`."""
    send_payload_type: int | None = None
    """The far end's number for it, where that is another one: payload types belong to the receiver
    (RFC 3264 §5.1). None: `payload_type`."""
    fmtp: str | None = None
    """Format parameters of what is received, as SDP writes them: `"useinbandfec=1;stereo=1"`. None:
    what is usual, for Opus `minptime=10;useinbandfec=1`. See `parameters`."""
    send_fmtp: str | None = None
    """Those of the far end, which hold for what is sent. None: `fmtp` holds both ways."""
    bitrate: int | None = None
    """Opus: bits per second to send with, 6000 to 510000. None: what suits the bandwidth."""
    complexity: int = 5
    """Opus: 0 to 10, the encoder's pains: more is slower and a little better."""
    expected_loss: int = 10
    """Opus: the loss in percent, 0 to 100, that in-band FEC is measured out for."""

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            raise ValueError(f"codec name: {shown(self.name)}; {_or(_NAMES)} fits")
        number(self.payload_type, "payload_type", 0, 127)
        number(self.clock_rate, "clock_rate", 0, 192_000)
        number(self.channels, "channels", 0, 2)
        usual = (48000, 2) if self.name == "opus" else (8000, 1)
        put = object.__setattr__  # the dataclass is frozen for everyone else
        put(self, "clock_rate", self.clock_rate or usual[0])
        put(self, "channels", self.channels or usual[1])
        if self.name == "L16":
            if self.clock_rate not in _L16_RATES:
                raise ValueError(f"clock_rate: {self.clock_rate!r}; L16 has {_or(_L16_RATES)} Hz")
        elif (self.clock_rate, self.channels) != usual:
            raise ValueError(
                f"clock_rate: {self.clock_rate!r} with channels: {self.channels!r};"
                f" {self.name} is {usual[0]} Hz and {usual[1]} channel(s)"
            )
        if self.send_payload_type is not None:
            number(self.send_payload_type, "send_payload_type", 0, 127)
            if self.send_payload_type in COLLIDING_TYPES:
                raise ValueError(
                    f"send_payload_type: {self.send_payload_type}; 0 to 63 or 96 to 127 fits"
                    " (others collide with RTCP, RFC 5761 §4)"
                )
        known = _STATIC.get(self.payload_type)
        if known is not None:
            own = (self.name, self.clock_rate, self.channels)
            # Asterisk sends 8 kHz under 10, and takes it under 11, where it has no SDP.
            if known != own and not (known[0] == "L16" and own == ("L16", 8000, 1)):
                raise ValueError(
                    f"payload_type: {self.payload_type} is {_rtpmap(*known)} (RFC 3551 §6),"
                    f" not {self.rtpmap}; {_DYNAMIC_FITS} fits"
                )
        elif self.payload_type not in DYNAMIC_TYPES:
            raise _unknown_type(self.payload_type)
        for given, name in ((self.fmtp, "fmtp"), (self.send_fmtp, "send_fmtp")):
            if given is not None and not isinstance(given, str):
                raise ValueError(
                    f"{name}: {shown(given)}; a str such as 'useinbandfec=1', or None, fits"
                )
        self._check_opus()

    @property
    def wire_type(self) -> int:
        """The payload type under which it is sent."""
        return self.payload_type if self.send_payload_type is None else self.send_payload_type

    @property
    def parameters(self) -> str:
        """What the `a=fmtp` line of our own SDP says of it; empty where it needs none."""
        if self.fmtp is not None:
            return self.fmtp
        return _OPUS_FMTP if self.name == "opus" else ""

    @property
    def receives(self) -> OpusSettings:
        """Opus: what we ask for (`fmtp`)."""
        return OpusSettings.from_fmtp(self.parameters)

    @property
    def sends(self) -> OpusSettings:
        """Opus: what we are asked for (`send_fmtp`)."""
        fmtp = self.parameters if self.send_fmtp is None else self.send_fmtp
        return OpusSettings.from_fmtp(fmtp)

    @property
    def sample_rate(self) -> int:
        """Samples of audio per second and channel: G.722 has 16000 at a clock of 8000."""
        return 16000 if self.name == "G722" else self.clock_rate

    @property
    def audio_channels(self) -> int:
        """Channels of the audio received: for Opus 2 with `stereo=1` in `fmtp`, or else 1."""
        if self.name == "opus":
            return 1 + self.receives.stereo
        return self.channels

    @property
    def rtpmap(self) -> str:
        """`"L16/44100/2"`: the encoding as SDP writes it (RFC 8866 §6.6)."""
        return _rtpmap(self.name, self.clock_rate, self.channels)

    def native(self, frame_rate: int = 0) -> dict[str, Any]:
        """What is received, in the media core's form. An Opus decoder gives `frame_rate` itself, if
        it is one of its own."""
        fits = self.name == "opus" and frame_rate in OPUS_RATES
        return {
            "kind": self.name,
            "payload_type": self.payload_type,
            "clock_rate": self.clock_rate,
            "sample_rate": frame_rate if fits else self.sample_rate,
            "channels": self.audio_channels,
        }

    def native_sent(self) -> dict[str, Any]:
        """What is sent, in the media core's form."""
        native = self.native() | {"payload_type": self.wire_type}
        if self.name == "opus":
            asked = self.sends
            native |= {
                "channels": 1 + asked.stereo,
                "sample_rate": asked.playback_rate,
                "bitrate": asked.bitrate(self.bitrate),
                "complexity": self.complexity,
                "inband_fec": asked.inband_fec,
                "expected_loss": self.expected_loss,
                "dtx": asked.dtx,
                "cbr": asked.cbr,
            }
        return native

    def _check_opus(self) -> None:
        number(self.complexity, "complexity", 0, 10)
        number(self.expected_loss, "expected_loss", 0, 100)
        if self.bitrate is not None:
            number(self.bitrate, "bitrate", 6000, 510_000)
        if self.name == "opus":
            # Said now rather than when the call begins.
            _ = self.receives, self.sends
        elif self.bitrate is not None:
            raise ValueError(f"bitrate: {self.bitrate}; {self.name} has one alone, None fits")


# RFC 3551 §6, table 4: the static types that the media core codes. Before the constants below,
# which are checked against it.
_STATIC: Final[dict[int, tuple[str, int, int]]] = {
    0: ("PCMU", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
}

PCMU: Final = Codec("PCMU", 0)
PCMA: Final = Codec("PCMA", 8)
G722: Final = Codec("G722", 9)
OPUS: Final = Codec("opus", 111)
"""Under the number that browsers give it; there is no static one."""

_NAMED: Final = {"PCMU": PCMU, "PCMA": PCMA, "G722": G722, "OPUS": OPUS}


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

    Without `codecs` the number and the clock rate decide. Static types are those of RFC 3551; G.722
    may also be said to have 16000 Hz, the rate of its samples, though its clock is 8000 (§4.5.2). A
    dynamic type is Opus at 48000 Hz, the clock that it always has and linear audio hardly ever, and
    L16 mono at any other `clock_rate`. A session that sends one law of G.711 under its static type
    also receives the other one: gateways switch, and payload types need not be the same in both
    directions (RFC 3264 §5.1).

    With `codecs` that list decides; `payload_type` and `clock_rate` are then either left at their
    defaults or those of its first codec.
    """
    number(payload_type, "payload_type", 0, 127)
    number(clock_rate, "clock_rate", 1, 192_000)
    if codecs is not None:
        return _listed(codecs, payload_type, clock_rate)
    known = static_codec(payload_type)
    if known is None:
        if payload_type not in DYNAMIC_TYPES:
            raise _unknown_type(payload_type)
        name: CodecName = "opus" if clock_rate == OPUS.clock_rate else "L16"
        return (Codec(name, payload_type, clock_rate),)
    if payload_type in (10, 11) and clock_rate == 8000:
        clock_rate = known.clock_rate  # the default of a parameter that static types do not need
    if clock_rate == known.sample_rate:
        clock_rate = known.clock_rate
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
        raise ValueError(f"codecs: {shown(codecs)}; a list of Codec or of names fits") from None
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
    # Encoding names are compared without case (RFC 8866 §6.6).
    named = _NAMED.get(item.upper()) if isinstance(item, str) else None
    if named is None:
        raise ValueError(
            f"codecs: {shown(item)}; 'PCMU', 'PCMA', 'G722', 'opus' or a Codec such as"
            " Codec('L16', 96, 16000) fits"
        )
    return named


def _unknown_type(payload_type: int) -> ValueError:
    static = ", ".join(f"{number} {_rtpmap(*entry)}" for number, entry in _STATIC.items())
    collides = " (64 to 95 collide with RTCP, RFC 5761 §4)"
    return ValueError(
        f"payload_type: {payload_type}; {static}, or a dynamic type, {_DYNAMIC_FITS}, fits"
        + collides * (payload_type in COLLIDING_TYPES)
    )


def _rtpmap(name: str, clock_rate: int, channels: int) -> str:
    return f"{name}/{clock_rate}" + (f"/{channels}" if channels > 1 else "")


def _or(values: Iterable[object]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}"
