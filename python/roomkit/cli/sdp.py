"""`roomkit sdp`: what would be made of a gateway's offer, in words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from roomkit._text import printable
from roomkit.rtp.sdp import Agreement, Media, Negotiation, SDPError, SessionDescription

__all__ = ["explain", "run"]

_DIRECTIONS = {
    "sendrecv": "both ends send",
    "sendonly": "only we send",
    "recvonly": "only the far end sends: we are on hold",
    "inactive": "nobody sends: the call is on hold",
}


def run(options: argparse.Namespace) -> int:
    """Reads the offer and prints what is in it; 1 where no call can be made of it."""
    try:
        data = sys.stdin.buffer.read() if options.file == Path("-") else options.file.read_bytes()
    except OSError as error:
        print(f"roomkit: {options.file}: {error.strerror}", file=sys.stderr)
        return 1
    wishes = {} if options.codec is None else {"codecs": options.codec}
    try:
        for line in explain(data, Negotiation(**wishes)):
            print(printable(line))
    except SDPError as error:
        print(f"roomkit: {error}", file=sys.stderr)
        return 1
    return 0


def explain(offer: str | bytes, negotiation: Negotiation) -> Iterator[str]:
    """Line by line; raises `SDPError` where no call can be made of it."""
    described = SessionDescription.parse(offer)
    agreement = negotiation.receive_offer(described)
    answer = negotiation.answer(("198.51.100.1", 4000))
    for asked, answered in zip(described.media, answer.media, strict=True):
        if answered.port:
            yield from _audio(asked, agreement)
        else:
            yield f"refused    {asked.kind} {asked.protocol} {' '.join(asked.formats)}"
    for problem in (*described.unread, *chain.from_iterable(m.unread for m in described.media)):
        yield f"ignored    line {problem.line_number}: {problem.line}: {problem.problem}"


def _audio(media: Media, agreement: Agreement) -> Iterator[str]:
    where = agreement.remote_addr
    yield "audio to   " + ("nowhere yet: on hold" if where is None else f"{where[0]}:{where[1]}")
    if agreement.mux:
        yield "RTCP to    the same port"
    elif agreement.remote_rtcp_addr is not None:
        yield "RTCP to    {}:{}".format(*agreement.remote_rtcp_addr)
    yield f"direction  {agreement.direction}: {_DIRECTIONS[agreement.direction]}"
    first, *others = agreement.codecs
    yield f"we send    {first.rtpmap} under {first.wire_type}, {agreement.ptime_ms} ms a packet"
    for codec in others:
        yield f"also heard {codec.rtpmap} under {codec.payload_type}"
    digits = ", ".join(f"{number} at {clock} Hz" for clock, number in agreement.events.items())
    yield f"digits     {digits or 'none'}"
    if agreement.noise:
        yield f"noise      {', '.join(map(str, agreement.noise.values()))}"
    yield f"encrypted  {'no' if agreement.srtp is None else agreement.srtp.suite}"
    known = {codec.payload_type for codec in agreement.codecs}
    known |= {*agreement.events.values(), *agreement.noise.values()}
    left = [each.rtpmap for each in media.encodings if each.payload_type not in known]
    if left:
        yield f"not taken  {', '.join(left)}"
