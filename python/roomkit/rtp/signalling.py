"""`Signalling`: the part of a session that speaks SDP (RFC 8866), as answerer and as offerer
(RFC 3264)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from roomkit.rtp.codecs import Codec
from roomkit.rtp.media import Media
from roomkit.rtp.options import NEGOTIATED, MediaDirection, RTCPMode, RTPOptions
from roomkit.rtp.sdp.agreement import Agreement
from roomkit.rtp.sdp.negotiation import Negotiation
from roomkit.rtp.terms import Terms

__all__ = ["Signalling", "begin_offering", "begin_with_offer"]


def begin_with_offer(
    sdp: str | bytes, options: Mapping[str, Any]
) -> tuple[Negotiation, RTPOptions]:
    """A negotiation that has received `sdp`, and the options of a session that begins with it."""
    _check_decided(options)
    negotiation = Negotiation(**options)
    agreement = negotiation.receive_offer(sdp)
    decided = {name: value for name, value in options.items() if name not in NEGOTIATED}
    decided.update(agreement.options(), rtcp=negotiation.rtcp_mode)
    return negotiation, RTPOptions(**decided)


def begin_offering(options: Mapping[str, Any]) -> tuple[Negotiation, RTPOptions]:
    """A negotiation that has the first word, and the options of a session that begins with it."""
    _check_decided(options)
    negotiation = Negotiation(**options)
    return negotiation, RTPOptions(**{**options, "codecs": negotiation.offers})


def _check_decided(options: Mapping[str, Any]) -> None:
    for name in ("remote_addr", "payload_type", "clock_rate", "preset", "srtp"):
        if options.get(name) is not None:
            raise ValueError(f"{name}: the description decides it; leave it out")


class Signalling:
    """What the descriptions of both ends came to, which the terms of the session follow."""

    def __init__(self, media: Media, terms: Terms, negotiation: Negotiation | None) -> None:
        """`negotiation`: None where the session began without SDP."""
        self._media = media
        self._terms = terms
        self._negotiation = negotiation
        self._answer: str | None = None
        self._offer: str | None = None
        # From reading a description until it holds: one after another.
        self._exchange = asyncio.Lock()

    @property
    def speaks(self) -> bool:
        """Whether there is SDP, from which the keys come then."""
        return self._negotiation is not None

    def write_answer(self) -> None:
        """The ports are bound: the answer can be written, if there is an offer."""
        negotiation = self._negotiation
        if negotiation is not None and negotiation.has_offer:
            self._answer = str(negotiation.answer(*self._terms.told()))

    @property
    def answer(self) -> str:
        """To the offer that came last. Raises `RuntimeError` where there is none yet."""
        self._media.check_opened()
        if self._answer is None:
            raise RuntimeError("there was no offer to answer; RTPSession.from_offer makes of one")
        return self._answer

    @property
    def descriptions(self) -> dict[str, str]:
        """What was written last, to be sent."""
        if self._offer is not None:
            return {"sdp_offer": self._offer}
        return {} if self._answer is None else {"sdp_answer": self._answer}

    @property
    def agreement(self) -> Agreement | None:
        """What the descriptions came to so far."""
        return None if self._negotiation is None else self._negotiation.agreement

    def offer(
        self,
        *,
        codecs: Sequence[Codec | str] | None,
        ptime_ms: int | None,
        direction: MediaDirection | None,
    ) -> str:
        """An offer of ours, which changes nothing before `accept_answer`."""
        self._media.native_for("offer anything")
        if self._negotiation is None:
            raise RuntimeError(
                "this session was made without SDP; RTPSession.for_offer or from_offer fits"
            )
        if self._exchange.locked():
            raise RuntimeError(
                "what the far end has said is being taken; offer when that is done (RFC 3264 §4)"
            )
        negotiation = copy(self._negotiation)
        told, rtcp = self._terms.told()
        offer = str(
            negotiation.offer(told, rtcp, codecs=codecs, ptime_ms=ptime_ms, direction=direction)
        )
        self._negotiation, self._offer = negotiation, offer
        return offer

    async def accept_answer(self, sdp: str | bytes) -> None:
        """What the far end answered to `offer` holds from the next frame on."""
        async with self._exchange:
            if self._negotiation is None:
                raise RuntimeError("there was no offer; RTPSession.for_offer and offer come first")
            negotiation = copy(self._negotiation)
            before = negotiation.agreement
            agreed = negotiation.receive_answer(sdp)
            changes = _as_changes(agreed, before, negotiation.rtcp_mode)
            await self._terms.update(changes, by_sdp=True)
            self._negotiation, self._offer = negotiation, None

    async def receive_offer(self, sdp: str | bytes, changes: Mapping[str, Any]) -> str:
        """The answer to an offer in mid-call, which holds when this returns: a copy negotiates, the
        answer is written, the media change, and only then is anything else of it true. `changes`:
        other options to change with it."""
        for name in sorted(NEGOTIATED.intersection(changes)):
            raise ValueError(f"{name}: the description decides it; leave it out beside sdp")
        terms, hold = self._terms, self._terms.hold
        async with self._exchange:
            negotiation = self._answering()
            before = negotiation.agreement
            free = negotiation.receive_offer(sdp)
            asked = terms.asked({**changes, **_as_changes(free, before, negotiation.rtcp_mode)})
            found = await terms.found(asked)
            # No await from here on. Not earlier, since `hold` and `resume` may come meanwhile.
            holds, unheld, direction = hold.asked, hold.before, terms.options.direction
            agreement = free if holds is None else negotiation.hold(holds)
            answer = str(negotiation.answer(*terms.told(found.get("remote_addr"))))
            terms.change({**asked, "direction": agreement.direction}, found, by_sdp=True)
            same = direction == agreement.direction == free.direction
            if holds is not None and unheld is not None and not same:
                hold.goes_on(unheld, holds, free.direction)
            self._negotiation, self._answer = negotiation, answer
            self._offer = None  # one of ours that waits no longer: it was refused
            return answer

    def why_no_events(self) -> str:
        """Why no digits are sent as events, and what fits."""
        if self.agreement is None:
            return (
                "this session sends none as events; dtmf_payload_type=101 fits, or method='inband'"
            )
        if self._negotiation is not None and not self._negotiation.wants_events:
            return (
                "this session was made with dtmf_payload_type=None, so none are sent as events;"
                " method='inband' fits"
            )
        return (
            "the far end takes none as events: its SDP has no telephone-event that was agreed on;"
            " method='inband', tones in the audio, fits"
        )

    def _answering(self) -> Negotiation:
        """What goes on from the call as it is, apart from it: it may yet come to nothing."""
        if self._negotiation is not None:
            return copy(self._negotiation)
        unheld = self._terms.hold.before
        options = self._terms.options
        wanted = options.direction if unheld is None else unheld[0]
        return Negotiation.of_session(replace(options, direction=wanted))


def _as_changes(agreement: Agreement, before: Agreement | None, rtcp: RTCPMode) -> dict[str, Any]:
    """What is agreed on as options of a change."""
    # The far end still sends as before until our answer has reached it, and what is on its way
    # then is no stranger's: what it sent so far is understood once more.
    codecs = (*agreement.codecs, *_still_heard(agreement, before))
    return {**agreement.options(), "codecs": codecs, "rtcp": rtcp}


def _still_heard(agreement: Agreement, before: Agreement | None) -> list[Codec]:
    """Codecs of before under numbers that mean nothing else now."""
    if before is None:
        return []
    taken = {codec.payload_type for codec in agreement.codecs}
    taken.update(agreement.events.values(), agreement.noise.values())
    # A frame has a whole number of samples in each.
    return [
        codec
        for codec in before.codecs
        if codec.payload_type not in taken and codec.sample_rate * agreement.ptime_ms % 1000 == 0
    ]
