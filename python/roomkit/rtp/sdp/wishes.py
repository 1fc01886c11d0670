"""`Wishes`: what we want of a call, before the far end has been heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from roomkit.rtp.codecs import DYNAMIC_TYPES, G722, OPUS, PCMA, PCMU, Codec
from roomkit.rtp.options import RTPOptions, check_names
from roomkit.rtp.opus import unreadable

if TYPE_CHECKING:
    from roomkit.rtp.options import MediaDirection, RTCPMode, SDPSecurity
    from roomkit.rtp.sdp.parts import Encoding

__all__ = ["FITS_A_PACKET", "Wishes", "asked_of"]

FITS_A_PACKET: Final = 1400
"""Octets of payload that no network on the way is likely to break into fragments."""

_OFFERED: Final = (OPUS, G722, PCMU, PCMA)
_EVENT_TYPE: Final = 101  # what most of the world calls telephone events
_OURS: Final = {name.upper(): name for name in ("PCMU", "PCMA", "G722", "L16", "opus")}


@dataclass(frozen=True)
class Wishes:
    """Options as far as an offer or an answer is about them. What the program did not say is open,
    and the far end's to decide."""

    codecs: tuple[Codec, ...] | None
    """Ours, in our order; None: all we have, in the order of who offers."""
    event_types: Mapping[int, int] | None
    """Payload types of digits by clock, where the program gave them."""
    event_type: int | None
    """The first payload type that we take for digits; None: no digits."""
    noise_types: Mapping[int, int] | None
    """Payload types of comfort noise by clock, where the program gave them."""
    ptime_ms: int | None
    sample_rate: int | None
    """Of the frames that the program gets: they are whole ones."""
    direction: MediaDirection
    rtcp: RTCPMode | None
    security: SDPSecurity

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wishes:
        """Those of the options that the program named, which raise `ValueError` as `RTPOptions`
        does."""
        check_names(options)
        checked = RTPOptions(**options)
        named = "codecs" in options or "payload_type" in options
        return cls(
            codecs=checked.active if named else None,
            event_types=None if checked.dtmf_types is None else checked.events,
            event_type=checked.dtmf_payload_type,
            noise_types=None if checked.comfort_noise_types is None else checked.noise,
            ptime_ms=checked.ptime_ms if "ptime_ms" in options else None,
            sample_rate=checked.sample_rate,
            direction=checked.direction,
            rtcp=checked.rtcp if "rtcp" in options else None,
            security=checked.sdp_security,
        )

    @property
    def offered(self) -> tuple[Codec, ...]:
        """The codecs of an offer of ours."""
        return _OFFERED if self.codecs is None else self.codecs

    def events_for(self, codecs: tuple[Codec, ...]) -> dict[int, int]:
        """Payload types of digits beside these codecs, in an offer of ours: one for each clock
        (RFC 4733 §2.1). Raises `ValueError` where none is left."""
        if self.event_types is not None:
            return dict(self.event_types)
        if self.event_type is None:
            return {}
        taken = {codec.payload_type for codec in codecs}
        free = [number for number in DYNAMIC_TYPES if number not in taken]
        types: dict[int, int] = {}
        for clock in sorted({codec.clock_rate for codec in codecs}):
            if not free:
                raise ValueError(
                    f"codecs: no payload type is left for digits at {clock} Hz; fewer codecs, or"
                    " dtmf_payload_type=None, fits"
                )
            preferred = self.event_type if self.event_type in free else _EVENT_TYPE
            number = preferred if preferred in free else free[0]
            types[clock] = number
            free.remove(number)
        return types

    def codec_for(self, encoding: Encoding) -> Codec | None:
        """What an encoding of the far end is here, under its number; None: nothing that we have."""
        name = _OURS.get(encoding.name.upper())
        if name is None:
            return None
        clock, channels = encoding.clock_rate, encoding.channels
        for meant in (OPUS, G722):
            if encoding.is_same(meant.name, meant.clock_rate, meant.channels):
                clock, channels = meant.clock_rate, meant.channels
        asked = asked_of(encoding) if name == "opus" else None
        number = encoding.payload_type
        try:
            known = Codec(name, number, clock, channels, send_fmtp=asked)  # type: ignore[arg-type]
        except ValueError:
            return None  # a rate, or a number, under which we have no such codec
        if self.codecs is None:
            return known
        for codec in self.codecs:
            if encoding.is_same(codec.name, codec.clock_rate, codec.channels):
                return replace(codec, payload_type=number, send_payload_type=None, send_fmtp=asked)
        return None


def asked_of(encoding: Encoding) -> str:
    """The parameters of Opus in its `a=fmtp`, but for those that cannot be read."""
    unread = set(unreadable(encoding.parameters))
    if not unread:
        return encoding.parameters
    return ";".join(item for item in encoding.parameters.split(";") if item not in unread)
