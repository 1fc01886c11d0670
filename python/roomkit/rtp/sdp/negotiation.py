"""`Negotiation`: offers and answers of one call, from its first to its last (RFC 3264)."""

from __future__ import annotations

import secrets
from copy import copy
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from roomkit.rtp.addresses import check_address, is_numeric
from roomkit.rtp.checks import one_of
from roomkit.rtp.codecs import Codec, codecs_for
from roomkit.rtp.sdp import security
from roomkit.rtp.sdp.agreement import (
    Agreement,
    agree_on_answer,
    agree_on_first,
    audio_lines,
    turned,
)
from roomkit.rtp.sdp.compose import audio, refused
from roomkit.rtp.sdp.description import SessionDescription
from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.numbers import Numbers
from roomkit.rtp.sdp.parts import Connection, Origin
from roomkit.rtp.sdp.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roomkit.rtp.addresses import Address
    from roomkit.rtp.options import MediaDirection, RTCPMode, RTPOptions
    from roomkit.rtp.sdp.media import Media

__all__ = ["Negotiation"]

_DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")


class Negotiation:
    """What is offered, answered and agreed on in one call, without a socket::

        negotiation = Negotiation(codecs=["PCMA", "PCMU"])
        agreement = negotiation.receive_offer(offer)
        answer = negotiation.answer(("192.0.2.1", 4000))

    or, with the first word ours, `offer` and then `receive_answer`. Either may follow again and
    again: a re-INVITE. What is refused with an error has changed nothing, and a copy (`copy.copy`)
    goes on by itself, to try what may yet come to nothing.
    """

    def __init__(self, **options: Any) -> None:
        """`options`: those of `RTPOptions` that the program wants; what is not named is the far
        end's to decide. Raises `ValueError` as `RTPOptions` does."""
        self._wishes = Wishes.of(options)
        self.agreement: Agreement | None = None
        """What holds now; None before the first answer."""
        self.remote: SessionDescription | None = None
        """What the far end said last."""
        self._session_id = str(secrets.randbits(62))
        self._version = 0
        self._numbers = Numbers()
        self._written: SessionDescription | None = None
        self._place = 0  # of the audio among the media
        self._received: tuple[SessionDescription, int, Agreement] | None = None
        self._offered: Agreement | None = None

    @classmethod
    def of_session(cls, options: RTPOptions) -> Negotiation:
        """That of a call that has begun without SDP, with these options."""
        wishes: dict[str, Any] = {
            "dtmf_payload_type": options.dtmf_payload_type,
            "direction": options.direction,
            "rtcp": options.rtcp,
            # With keys that were given otherwise, the call is encrypted and stays so.
            "sdp_security": options.sdp_security if options.srtp is None else "require",
        }
        if options.codecs is not None:
            wishes["codecs"] = options.codecs
        if options.comfort_noise_types is not None:
            wishes["comfort_noise_types"] = options.comfort_noise_types
        return cls(**wishes)

    def __copy__(self) -> Negotiation:
        twin = Negotiation.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._numbers = copy(self._numbers)
        return twin

    # --- the far end offers ---------------------------------------------------------------------

    def receive_offer(self, offer: str | bytes | SessionDescription) -> Agreement:
        """What will hold once it is answered.

        Of several lines of audio the first that fits is taken. Raises `SDPError` that names the
        line, where the offer is malformed or nothing in it can be agreed on: 488 (RFC 3261
        §21.4.26) is the answer to that, and a call goes on as it was.
        """
        described = _parsed(offer)
        now = self.agreement
        lines = audio_lines(described, None if now is None else self._place)
        if lines:
            place, agreement = agree_on_first(described, lines, self._wishes, now)
        elif now is not None and self._is_over(described):
            place, agreement = self._place, replace(now, ended=True, direction="inactive")
        else:
            raise _no_audio(described)
        self._received = described, place, agreement
        return agreement

    def hold(self, direction: MediaDirection) -> Agreement:
        """What will hold if the offer received last is answered by one who holds the far end:
        `"sendonly"` or `"inactive"`, as far as it goes with what is offered (RFC 3264 §6.1)."""
        if self._received is None:
            raise RuntimeError("there is no offer to answer; receive_offer comes first")
        one_of(direction, "direction", _DIRECTIONS)
        described, place, agreement = self._received
        theirs = turned(agreement.direction)  # as they say it
        agreement = replace(agreement, direction=turned(theirs, direction))
        self._received = described, place, agreement
        return agreement

    def answer(self, local: Address, rtcp: Address | None = None) -> SessionDescription:
        """The answer to the offer received last, which then holds.

        `local`: where we are reached, a numeric host; `rtcp`: where RTCP is, None for the port
        after it. Raises `ValueError` for what is no such address.
        """
        if self._received is None:
            raise RuntimeError("there is no offer to answer; receive_offer comes first")
        local, rtcp = _told(local, rtcp)
        described, place, agreement = self._received
        offered = described.media[place]
        if agreement.ended:
            ours = refused(offered)
        else:
            ours = audio(agreement, local, rtcp, offered.protocol)
        media = tuple(
            ours if number == place else refused(each)
            for number, each in enumerate(described.media)
        )
        self._received, self._offered = None, None
        self._hold_to(agreement, described, place)
        return self._describe(local, media)

    # --- we offer -------------------------------------------------------------------------------

    def offer(
        self,
        local: Address,
        rtcp: Address | None = None,
        *,
        codecs: Sequence[Codec | str] | None = None,
        ptime_ms: int | None = None,
        direction: MediaDirection | None = None,
    ) -> SessionDescription:
        """An offer of ours; what it says holds with its answer.

        `codecs`, `ptime_ms` and `direction` (`"sendonly"`: the far end is put on hold) are wishes
        from now on. Raises `ValueError` for what does not fit.
        """
        local, rtcp = _told(local, rtcp)
        wishes = self._wishes
        if codecs is not None:
            wishes = replace(wishes, codecs=codecs_for(0, 8000, codecs))
        if ptime_ms is not None or direction is not None:
            checked = Wishes.of(
                {"ptime_ms": ptime_ms or 20, "direction": direction or wishes.direction}
            )
            wishes = replace(
                wishes,
                direction=checked.direction,
                ptime_ms=checked.ptime_ms if ptime_ms is not None else wishes.ptime_ms,
            )
        media = list(self._written.media) if self._written is not None else []
        now = self.agreement
        crypto, protocol = security.offered(
            wishes.security,
            None if now is None else now.srtp,
            media[self._place].protocol if media else None,
        )
        numbers = copy(self._numbers)
        ours = self._our_offer(wishes, numbers, anew=codecs is not None)
        offered = replace(ours, crypto=crypto)
        media[self._place : self._place + 1] = [audio(offered, local, rtcp, protocol)]
        # What has ended before keeps its place, refused (RFC 3264 §8).
        self._wishes, self._offered, self._received = wishes, offered, None
        self._numbers = numbers
        return self._describe(local, tuple(media))

    def receive_answer(self, answer: str | bytes | SessionDescription) -> Agreement:
        """What holds now, after an offer of ours.

        Raises `SDPError` as `receive_offer` does, and where the audio is refused.
        """
        if self._offered is None or self._written is None:
            raise RuntimeError("there is no offer of ours that waits for an answer")
        described = _parsed(answer)
        if len(described.media) <= self._place:
            # RFC 3264 §6: as many as in the offer, and in its order.
            raise SDPError(
                f"{len(described.media)} lines 'm=' answer an offer of {len(self._written.media)}"
            )
        at_place = replace(described, media=described.media[self._place : self._place + 1])
        if not audio_lines(at_place):
            raise _no_audio(at_place)
        [media] = at_place.media
        encrypted = self.agreement is not None and self.agreement.srtp is not None
        agreed = agree_on_answer(
            described,
            media,
            self._wishes,
            self._offered,
            secure=encrypted or "SAVP" in self._written.media[self._place].protocol,
        )
        self._offered = None
        self._hold_to(agreed, described, self._place)
        return agreed

    @property
    def has_offer(self) -> bool:
        """Whether an offer waits for its answer."""
        return self._received is not None

    @property
    def wants_events(self) -> bool:
        """Whether digits are taken where they are offered."""
        return self._wishes.event_type is not None

    @property
    def offers(self) -> tuple[Codec, ...]:
        """The codecs of a first offer of ours."""
        return self._wishes.offered

    @property
    def rtcp_mode(self) -> RTCPMode:
        """How RTCP travels by what is agreed on, or offered, so far."""
        if self._wishes.rtcp == "off":
            return "off"
        agreement = self._received[2] if self._received is not None else self.agreement
        mux = agreement.mux if agreement is not None else self._wishes.rtcp == "mux"
        return "mux" if mux else "separate"

    # --- inside ---------------------------------------------------------------------------------

    def _hold_to(self, agreement: Agreement, remote: SessionDescription, place: int) -> None:
        self.agreement, self.remote, self._place = agreement, remote, place
        for codec in agreement.codecs:
            self._numbers.note(codec.payload_type, codec.rtpmap)
        for name, types in (("telephone-event", agreement.events), ("CN", agreement.noise)):
            for clock, number in types.items():
                self._numbers.note(number, f"{name}/{clock}")
        for number, clock in agreement.also.events:
            # Nothing else of ours gets a number under which digits may come.
            self._numbers.note(number, f"telephone-event/{clock}")

    def _our_offer(self, wishes: Wishes, numbers: Numbers, *, anew: bool) -> Agreement:
        now = self.agreement
        codecs: list[Codec] = []
        taken: set[int] = set()
        for codec in wishes.offered if now is None or anew else now.codecs:
            number = numbers.give(codec.rtpmap, codec.payload_type, taken)
            taken.add(number)
            codecs.append(replace(codec, payload_type=number, send_payload_type=None))
        noise = (wishes.noise_types or {}) if now is None else now.noise
        return Agreement(
            codecs=tuple(codecs),
            events=numbers.give_all("telephone-event", wishes.events_for(tuple(codecs)), taken),
            send_events={},
            noise=numbers.give_all("CN", noise, taken),
            send_noise={},
            ptime_ms=wishes.ptime_ms or (20 if now is None else now.ptime_ms),
            direction=wishes.direction,
            remote_addr=None if now is None else now.remote_addr,
            remote_rtcp_addr=None,
            mux=wishes.rtcp == "mux" if now is None else now.mux,
        )

    def _is_over(self, described: SessionDescription) -> bool:
        """Whether the audio that we had now has port 0 (RFC 3264 §8.2)."""
        at_place = described.media[self._place : self._place + 1]
        return any(media.kind == "audio" for media in at_place)

    def _describe(self, local: Address, media: tuple[Media, ...]) -> SessionDescription:
        """The description as a whole. Its version counts what has changed (RFC 3264 §8)."""
        connection = Connection.of(local[0])
        origin = Origin("-", self._session_id, str(self._version), connection)
        described = SessionDescription(origin=origin, connection=connection, media=media)
        if described != self._written:
            self._version += 1
            described = replace(described, origin=replace(origin, version=str(self._version)))
            self._written = described
        return described


def _told(local: Address, rtcp: Address | None) -> tuple[Address, Address | None]:
    """The addresses of a description of ours, checked."""
    return _numeric(local, "local"), None if rtcp is None else _numeric(rtcp, "rtcp")


def _numeric(address: Address, name: str) -> Address:
    host, port = check_address(address, name)
    if not is_numeric(host):
        raise ValueError(f"{name}: host {host!r}; a numeric address fits")
    return host, port


def _no_audio(described: SessionDescription) -> SDPError:
    for media in described.media:
        if media.kind == "audio":
            return media.error("the audio is refused: its port is 0")
    unread = chain(described.unread, *(media.unread for media in described.media))
    more = "".join(
        f"; line {each.line_number} cannot be read: {each.problem}" for each in islice(unread, 1)
    )
    return SDPError(
        "there is no line 'm=audio', and nothing else is spoken here; 488 (Not Acceptable Here) is"
        f" the answer to an offer of that kind, and a call goes on as it was{more}"
    )


def _parsed(text: str | bytes | SessionDescription) -> SessionDescription:
    return text if isinstance(text, SessionDescription) else SessionDescription.parse(text)
