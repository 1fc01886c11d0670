"""`Agreement`: what an offer and an answer come to, seen from here (RFC 3264)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from roomkit._text import printable, without_runs
from roomkit.rtp.codecs import COLLIDING_TYPES, Codec
from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.media import Media
from roomkit.rtp.sdp.security import answered, take
from roomkit.rtp.sdp.text import quoted
from roomkit.rtp.sdp.understood import (
    NOTHING,
    Types,
    Understood,
    by_clock,
    event_types,
    noise_types,
    understood,
)
from roomkit.rtp.sdp.wishes import FITS_A_PACKET, Wishes, asked_of

if TYPE_CHECKING:
    from roomkit.rtp.addresses import Address
    from roomkit.rtp.options import MediaDirection
    from roomkit.rtp.sdp.description import SessionDescription
    from roomkit.rtp.sdp.parts import Encoding
    from roomkit.rtp.srtp import SRTP, CryptoLine

__all__ = [
    "PROFILES",
    "Agreement",
    "agree",
    "agree_on_answer",
    "agree_on_first",
    "audio_lines",
    "turned",
]

PROFILES: Final = ("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF")
"""Of RTP, that can be spoken here."""

Both: TypeAlias = tuple[Mapping[int, int], Mapping[int, int]]
"""Payload types by clock, as we receive them and as the far end does."""

Place: TypeAlias = tuple[int, Media]
"""A line `m=` with its number among them, from 0."""

_PTIMES: Final = (10, 20, 30, 40, 50, 60)
_OPUS_PTIMES: Final = (10, 20, 40, 60)  # RFC 6716 §2.1.4 has no 30 and 50
_USUAL_PTIME: Final = 20
_MOST_TOLD: Final = 8  # encodings, and lines, that an error names
_LONGEST_LIST: Final = 70  # characters of all these encodings


@dataclass(frozen=True)
class Agreement:
    """What both ends have agreed on."""

    codecs: tuple[Codec, ...]
    """The first is sent, all are received."""
    events: Mapping[int, int]
    """Payload types of digits that are received, by their clock."""
    send_events: Mapping[int, int]
    """Those that the far end receives."""
    noise: Mapping[int, int]
    """Payload types of comfort noise that are received (RFC 3389), by their clock."""
    send_noise: Mapping[int, int]
    """Those that the far end receives."""
    ptime_ms: int
    direction: MediaDirection
    """Seen from here."""
    remote_addr: Address | None
    """None while the far end has said that nothing is to be sent to it."""
    remote_rtcp_addr: Address | None
    """Where it is not the usual place."""
    mux: bool
    """Whether RTCP goes to RTP's port."""
    crypto: tuple[CryptoLine, ...] = field(default=(), repr=False)
    """Our lines `a=crypto`, with our keys."""
    srtp: SRTP | None = None
    """The keys both ways; None: plain RTP."""
    ended: bool = False
    """The far end has given the audio port 0: there is no stream (RFC 3264 §8.2)."""
    also: Understood = NOTHING
    """What is understood beside all this, where a number can mean one thing only."""

    @property
    def codec(self) -> Codec:
        """The codec that is sent."""
        return self.codecs[0]

    @property
    def on_hold(self) -> bool:
        """Whether the far end does not want to hear us."""
        return self.direction in ("recvonly", "inactive")

    def options(self, before: Agreement | None = None) -> dict[str, Any]:
        """As options of a session that can also change in the middle of it.

        `before`: what held until now. The far end sends it until our answer has reached it, and it
        is understood until the next change, under numbers that mean nothing else now."""
        also = self.also if before is None else self._after(before)
        options: dict[str, Any] = {
            "codecs": (*self.codecs, *also.codecs),
            "dtmf_types": by_clock(self.events, also.events),
            "dtmf_send_types": dict(self.send_events),
            # Some send it without a word of it, so it is understood all the same; we do not.
            "comfort_noise_send_types": dict(self.send_noise),
            "ptime_ms": self.ptime_ms,
            "direction": self.direction,
            "remote_rtcp_addr": self.remote_rtcp_addr,
        }
        if self.noise:
            options["comfort_noise_types"] = by_clock(self.noise, also.noise)
        if self.srtp is not None:
            options["srtp"] = self.srtp
        if self.remote_addr is not None:
            options["remote_addr"] = self.remote_addr
        return options

    def _after(self, before: Agreement) -> Understood:
        # A frame has a whole number of samples in each codec.
        heard = (*before.codecs, *before.also.codecs)
        codecs = tuple(each for each in heard if each.sample_rate * self.ptime_ms % 1000 == 0)
        events = (*_pairs(before.events), *before.also.events) if self.events else ()
        still = Understood(codecs, events, (*_pairs(before.noise), *before.also.noise))
        return (self.also + still).without(self._numbers())

    def _numbers(self) -> set[int]:
        """What we receive as agreed on."""
        numbers = {codec.payload_type for codec in self.codecs}
        return numbers.union(self.events.values(), self.noise.values())


def audio_lines(description: SessionDescription, before: int | None = None) -> list[Place]:
    """The audio that is spoken of, with its places: that of `before` first, where the call is now,
    then as they come. Those with port 0 are none (RFC 3264 §8.2)."""
    media = enumerate(description.media)
    found = [(place, each) for place, each in media if each.kind == "audio" and each.port]
    return sorted(found, key=lambda entry: entry[0] != before)


def agree_on_first(
    offer: SessionDescription,
    lines: Sequence[Place],
    wishes: Wishes,
    now: Agreement | None = None,
) -> tuple[int, Agreement]:
    """What we make of the first line of `lines` that fits, and its place.

    Raises `SDPError` of the first where none does.
    """
    errors: list[SDPError] = []
    for place, media in lines:
        try:
            return place, agree(offer, media, wishes, now)
        except SDPError as error:
            errors.append(error)
    raise _none_fits(errors)


def agree(
    offer: SessionDescription, media: Media, wishes: Wishes, now: Agreement | None = None
) -> Agreement:
    """What we make of an offer's audio: payload types are those of the offer, which both ends
    then use (RFC 3264 §6.1). `now`: what holds so far."""
    check(offer, media)
    codecs: list[Codec] = []
    for encoding in media.encodings:
        codec = wishes.codec_for(encoding)
        if codec is not None and not any(_same(codec, known) for known in codecs):
            codecs.append(codec)
    if wishes.codecs is not None:
        order = [_key(codec) for codec in wishes.codecs]
        codecs.sort(key=lambda codec: order.index(_key(codec)))
    else:
        # Linear audio of high rates does not fit into a packet; only where there is nothing else.
        codecs = [codec for codec in codecs if _fits(codec, _USUAL_PTIME)] or codecs
    if not codecs:
        raise _nothing_in_common(media, wishes)
    events = _events_of(media, codecs) if wishes.event_type is not None else {}
    noise = _noise_of(media, codecs) if wishes.noise_types != {} else {}
    mux = media.rtcp_mux and wishes.rtcp in (None, "mux")
    agreed = _agreed(offer, media, wishes, codecs, (events, events), (noise, noise), mux=mux)
    crypto, srtp = take(media, wishes.security, None if now is None else now.srtp)
    return replace(agreed, crypto=crypto, srtp=srtp, also=_also(agreed, media, wishes))


def agree_on_answer(
    answer: SessionDescription, media: Media, wishes: Wishes, offered: Agreement, *, secure: bool
) -> Agreement:
    """What an answer makes of our offer: we receive under our numbers, and send under those of the
    answer (RFC 3264 §7). `secure`: whether it has to bring keys."""
    check(answer, media)
    codecs: list[Codec] = []
    for encoding in media.encodings:
        for codec in offered.codecs:
            same = encoding.is_same(codec.name, codec.clock_rate, codec.channels)
            same &= encoding.payload_type not in COLLIDING_TYPES
            if not same or any(_same(codec, known) for known in codecs):
                continue
            theirs = encoding.payload_type
            codecs.append(
                replace(
                    codec,
                    send_payload_type=theirs if theirs != codec.payload_type else None,
                    send_fmtp=asked_of(encoding) if codec.name == "opus" else None,
                )
            )
    if not codecs:
        raise _nothing_in_common(media, wishes)
    events = _both(offered.events, _events_of(media, codecs))
    noise = _both(offered.noise, _noise_of(media, codecs))
    # An answer shares the port only where the offer does (RFC 5761 §5.1.1).
    mux = media.rtcp_mux and offered.mux
    agreed = _agreed(answer, media, wishes, codecs, events, noise, mux=mux)
    if media.rtcp_mux and not mux:
        # Ours stays where it was; the far end takes it on RTP's port.
        agreed = replace(agreed, remote_rtcp_addr=agreed.remote_addr)
    also = _also(agreed, media, wishes, Understood(events=_pairs(offered.events)))
    return replace(agreed, srtp=answered(media, offered.crypto, must=secure), also=also)


def check(description: SessionDescription, media: Media) -> None:
    """Raises `SDPError` for a line that nothing can be sent to."""
    protocol = media.protocol.upper()
    if "TLS" in protocol:
        raise media.error(
            "keys by DTLS are not supported; RTP/SAVP with keys in a=crypto (SDES), or"
            " RTP/AVP, fits"
        )
    if protocol not in PROFILES:
        raise media.error(f"protocol {quoted(media.protocol)}; {', '.join(PROFILES)} fits")
    connection = description.connection_of(media)
    if connection is None:
        for problem in (*media.unread, *description.unread):
            if problem.line[:2].lower() == "c=":
                raise _again(problem)
        raise media.error("no line 'c=' says where it goes to")
    if connection.is_multicast:
        raise media.error(
            f"address {quoted(connection.host)} is multicast; one of a single host fits"
        )
    if media.port == 65535 and not media.rtcp_mux:
        raise media.error("port 65535 leaves no port + 1 for RTCP (RFC 3550 §11); a lower one fits")


def turned(direction: MediaDirection, wish: MediaDirection = "sendrecv") -> MediaDirection:
    """The far end's direction seen from here, as far as we wish it (RFC 3264 §6.1)."""
    sends = direction in ("sendrecv", "recvonly") and wish in ("sendrecv", "sendonly")
    receives = direction in ("sendrecv", "sendonly") and wish in ("sendrecv", "recvonly")
    names = {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}
    return cast("MediaDirection", names.get((sends, receives), "inactive"))


def _agreed(
    theirs: SessionDescription,
    media: Media,
    wishes: Wishes,
    codecs: list[Codec],
    events: Both,
    noise: Both,
    *,
    mux: bool,
) -> Agreement:
    return Agreement(
        codecs=tuple(codecs),
        events=events[0],
        send_events=events[1],
        noise=noise[0],
        send_noise=noise[1],
        ptime_ms=_ptime(media, wishes, codecs),
        direction=turned(theirs.direction_of(media), wishes.direction),
        remote_addr=theirs.address_of(media),
        remote_rtcp_addr=None if mux else _rtcp_of(theirs, media),
        mux=mux,
    )


def _also(
    agreed: Agreement, media: Media, wishes: Wishes, ours: Understood = NOTHING
) -> Understood:
    """What is understood beside what was agreed on; `ours`: as our offer had it."""
    wanted = understood(
        media,
        agreed.codecs,
        events=wishes.event_type is not None,
        noise=wishes.noise_types != {},
    )
    # Where the far end says nothing of noise, it is what the program says.
    kept = () if agreed.noise else (wishes.noise_types or {}).values()
    return (wanted + ours).without(agreed._numbers().union(kept))


def _ptime(media: Media, wishes: Wishes, codecs: list[Codec]) -> int:
    """Ours if the program said one, or else what the far end would like; within its `maxptime`,
    and such that packets of linear audio are not broken up (RFC 8866 §6.4)."""
    rates = [codec.sample_rate for codec in codecs]
    rates += [] if wishes.sample_rate is None else [wishes.sample_rate]
    fitting = [
        ptime
        for ptime in _PTIMES
        if all(ptime * rate % 1000 == 0 for rate in rates)
        and (ptime in _OPUS_PTIMES or all(codec.name != "opus" for codec in codecs))
    ] or [_USUAL_PTIME]
    most = media.maxptime
    if most is not None:
        fitting = [ptime for ptime in fitting if ptime <= most] or fitting[:1]
    if wishes.ptime_ms is None:
        fitting = [ptime for ptime in fitting if _fits(codecs[0], ptime)] or fitting[:1]
    wanted = wishes.ptime_ms or media.ptime or _USUAL_PTIME
    return max((ptime for ptime in fitting if ptime <= wanted), default=fitting[0])


def _rtcp_of(description: SessionDescription, media: Media) -> Address | None:
    """Where RTCP goes to, if it is not the port after RTP's (RFC 3605)."""
    said = media.rtcp
    connection = description.connection_of(media)
    if said is None or connection is None:
        return None
    port, elsewhere = said
    host = (elsewhere or connection).host
    unspecified = (elsewhere or connection).is_unspecified
    if unspecified or (host, port) == (connection.host, media.port + 1):
        return None
    return host, port


def _events_of(media: Media, codecs: Iterable[Codec]) -> dict[int, int]:
    """Telephone events by their clock (RFC 4733 §2.1): those whose clock one of the codecs has,
    or else all there are."""
    found = _first_of_each(event_types(media))
    clocks = {codec.clock_rate for codec in codecs}
    return {clock: found[clock] for clock in found if clock in clocks} or found


def _noise_of(media: Media, codecs: Iterable[Codec]) -> dict[int, int]:
    """Comfort noise by its clock, which is that of a codec (RFC 3389 §4)."""
    clocks = {codec.clock_rate for codec in codecs}
    found = _first_of_each(noise_types(media))
    return {clock: number for clock, number in found.items() if clock in clocks}


def _first_of_each(types: Types) -> dict[int, int]:
    """By clock."""
    found: dict[int, int] = {}
    for number, clock in types:
        found.setdefault(clock, number)
    return found


def _pairs(types: Mapping[int, int]) -> Types:
    return tuple((number, clock) for clock, number in types.items())


def _both(ours: Mapping[int, int], theirs: Mapping[int, int]) -> Both:
    """Those clocks that both have."""
    clocks = [clock for clock in ours if clock in theirs]
    return {clock: ours[clock] for clock in clocks}, {clock: theirs[clock] for clock in clocks}


def _fits(codec: Codec, ptime_ms: int) -> bool:
    if codec.name != "L16":
        return True
    return codec.sample_rate * 2 * codec.channels * ptime_ms // 1000 <= FITS_A_PACKET


def _key(codec: Codec) -> tuple[str, int, int]:
    return codec.name, codec.clock_rate, codec.channels


def _same(one: Codec, other: Codec) -> bool:
    return _key(one) == _key(other)


def _nothing_in_common(media: Media, wishes: Wishes) -> SDPError:
    theirs = ", ".join(map(_told, media.encodings[:_MOST_TOLD]))
    theirs = printable(without_runs(theirs), _LONGEST_LIST) or "nothing known"
    ours = ", ".join(codec.rtpmap for codec in wishes.offered[:_MOST_TOLD])
    also = "" if wishes.codecs is not None else " or L16"
    unread = "".join(
        f"; line {each.line_number} cannot be read: {each.problem}"
        for each in media.unread[:1]
        if each.line_number != media.line_number
    )
    return media.error(f"no codec in common: it has {theirs}; {ours}{also} fits{unread}")


def _told(encoding: Encoding) -> str:
    number = encoding.payload_type
    if number in COLLIDING_TYPES:
        return f"{encoding.rtpmap} as {number}, which collides with RTCP (RFC 5761 §4)"
    return encoding.rtpmap


def _none_fits(errors: Sequence[SDPError]) -> SDPError:
    first, *others = errors
    if not others:
        return first
    lines = ", ".join(str(each.line_number) for each in others[:_MOST_TOLD])
    more = "" if len(others) <= _MOST_TOLD else ", …"
    return _again(first, f"; nor does the audio of line {lines}{more} fit")


def _again(error: SDPError, more: str = "") -> SDPError:
    return SDPError(error.problem + more, line_number=error.line_number, line=error.line)
