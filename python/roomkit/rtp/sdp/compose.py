"""Our own `m=` lines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from roomkit.rtp.sdp.media import Media
from roomkit.rtp.sdp.parts import attributes

if TYPE_CHECKING:
    from roomkit.rtp.addresses import Address
    from roomkit.rtp.sdp.agreement import Agreement

__all__ = ["audio", "refused"]

_EVENTS = "0-15"  # 0 to 9, *, #, A to D: the events of RFC 4733 §3.2 that we know


def audio(agreement: Agreement, local: Address, rtcp: Address | None, protocol: str) -> Media:
    """The audio as we receive it, at `local`."""
    lines: list[tuple[str, object]] = []
    for codec in agreement.codecs:
        # Those of static types too: RFC 8866 §6.6 recommends it.
        lines.append(("rtpmap", f"{codec.payload_type} {codec.rtpmap}"))
        if codec.parameters:
            lines.append(("fmtp", f"{codec.payload_type} {codec.parameters}"))
    for clock, number in agreement.events.items():
        lines.append(("rtpmap", f"{number} telephone-event/{clock}"))
        lines.append(("fmtp", f"{number} {_EVENTS}"))
    for clock, number in agreement.noise.items():
        lines.append(("rtpmap", f"{number} CN/{clock}"))
    lines.append(("ptime", agreement.ptime_ms))
    lines.append((agreement.direction, True))
    if agreement.mux:
        lines.append(("rtcp-mux", True))
    elif rtcp is not None and rtcp[1] not in (local[1], local[1] + 1):
        lines.append(("rtcp", rtcp[1]))
    lines += (("crypto", line.to_sdp()) for line in agreement.crypto)
    numbers = [codec.payload_type for codec in agreement.codecs]
    numbers += (*agreement.events.values(), *agreement.noise.values())
    return Media(
        kind="audio",
        port=local[1],
        protocol=protocol,
        formats=tuple(map(str, numbers)),
        attributes=attributes(lines),
    )


def refused(media: Media) -> Media:
    """What is not taken, in its place (RFC 3264 §6)."""
    return replace(
        media,
        port=0,
        port_count=1,
        # One at least is to be there (RFC 8866 §9), whatever an offer has that is refused already.
        formats=media.formats or ("0",),
        connection=None,
        attributes=(),
        others=(),
    )
