"""`Signalled`: the part of a session that speaks SDP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, Unpack, cast

from roomkit.errors import AddressConflictError, QueueFullError
from roomkit.rtp.addresses import Address, resolve, resolve_rtcp
from roomkit.rtp.codecs import Codec
from roomkit.rtp.hold import Holding
from roomkit.rtp.opening import warn_of_fragments
from roomkit.rtp.options import MediaDirection, RTPExtra, RTPOptions, check_names
from roomkit.rtp.sdp.agreement import Agreement
from roomkit.rtp.sdp.negotiation import Negotiation
from roomkit.rtp.srtp import SRTP

if TYPE_CHECKING:
    from roomkit.rtp.options import RTCPMode
    from roomkit.rtp.session import RTPSession

__all__ = ["NEGOTIATED", "Signalled", "begin_with_offer"]

# What `update` may change. The rest is bound to the socket, or to what the program was told.
_CHANGEABLE: Final = frozenset(
    {
        "codecs",
        "dtmf_inband",
        "dtmf_method",
        "dtmf_types",
        "dtmf_send_types",
        "comfort_noise_types",
        "comfort_noise_send_types",
        "comfort_noise_level",
        "fill",
        "keepalive",
        "ptime_ms",
        "remote_addr",
        "remote_rtcp_addr",
        "direction",
        "rtp_timeout",
        "rtp_timeout_on_hold",
        "rtcp",
        "rtcp_timeout",
        "srtp",
    }
)
NEGOTIATED: Final = frozenset(
    {
        "remote_addr",
        "payload_type",
        "clock_rate",
        "codecs",
        "dtmf_payload_type",
        "dtmf_types",
        "dtmf_send_types",
        "comfort_noise_send_types",
        "ptime_ms",
        "remote_rtcp_addr",
        "rtcp",
        "direction",
        "srtp",
    }
)
"""Options that a description decides; as options they are wishes."""


class Signalled(Holding):
    """What `RTPSession` can do with SDP (RFC 8866), as answerer and as offerer (RFC 3264)."""

    options: RTPOptions
    _negotiation: Negotiation | None = None
    _exchange: asyncio.Lock
    """From reading a description until it holds: one after another."""
    _changing: threading.Lock
    """While options change, which `retarget` does from any thread."""
    _remote: Address | None
    """`remote_addr` with its name resolved: once, since a name may stand for many hosts."""
    _remote_rtcp: Address | None
    """`remote_rtcp_addr` in the same way."""
    _answer: str | None = None
    _offer: str | None = None

    @classmethod
    def from_offer(
        cls,
        sdp: str | bytes,
        *,
        local_addr: Address = ("0.0.0.0", 0),
        dtmf_payload_type: int | None = 101,
        rtcp_interval: float = 5.0,
        shared: bool = False,
        **extra: Unpack[RTPExtra],
    ) -> Self:
        """A session that answers a gateway's offer; when it is open, `answer` is to be sent back::

            async with RTPSession.from_offer(invite.body) as session:
                respond(200, session.answer)

        The options are those of `RTPSession`. Codecs, `ptime_ms`, `direction`, digits and `rtcp`
        are wishes: `codecs` alone are taken, in their order; without them, all that the offer has
        and we know. The address is the offer's.

        Raises `SDPError`, a `ValueError`, that names the line where the offer is malformed or there
        is nothing to agree on, and `ValueError` as `RTPSession` does.
        """
        options = {
            "local_addr": local_addr,
            "dtmf_payload_type": dtmf_payload_type,
            "rtcp_interval": rtcp_interval,
            **extra,
        }
        return cls.with_negotiation(*begin_with_offer(sdp, options), shared=shared)

    @classmethod
    def for_offer(
        cls,
        *,
        local_addr: Address = ("0.0.0.0", 0),
        dtmf_payload_type: int | None = 101,
        rtcp_interval: float = 5.0,
        shared: bool = False,
        **extra: Unpack[RTPExtra],
    ) -> Self:
        """A session whose peer is told by the answer to an offer of ours::

            async with RTPSession.for_offer(codecs=["opus", "PCMU"]) as session:
                response = await invite(session.offer())
                await session.accept_answer(response.body)

        Before the answer nobody is heard, and nothing is sent. Frames have the rate of the first
        codec offered, whatever is answered, unless `sample_rate` says another. Raises `ValueError`
        as `RTPSession` does.
        """
        options: dict[str, Any] = {
            "local_addr": local_addr,
            "dtmf_payload_type": dtmf_payload_type,
            "rtcp_interval": rtcp_interval,
            **extra,
        }
        _check_decided(options)
        negotiation = Negotiation(**options)
        options["codecs"] = negotiation.offers
        return cls.with_negotiation(negotiation, RTPOptions(**options), shared=shared)

    @classmethod
    def with_negotiation(
        cls, negotiation: Negotiation, options: RTPOptions, *, shared: bool = False
    ) -> Self:
        """A session whose offers and answers are those of `negotiation`."""
        session = cls.__new__(cls)
        session._negotiation = negotiation
        session._session()._prepare(options, shared=shared)
        return session

    @property
    def answer(self) -> str:
        """The answer to the offer that the session was made of, or that `update` was given last.

        Raises `RuntimeError` before the session is open: its port is not known yet.
        """
        self._session()._opened()
        if self._answer is None:
            raise RuntimeError("there was no offer to answer; RTPSession.from_offer makes of one")
        return self._answer

    @property
    def descriptions(self) -> dict[str, str]:
        """What was written last, to be sent: `sdp_answer`, or `sdp_offer` before it is answered."""
        if self._offer is not None:
            return {"sdp_offer": self._offer}
        return {} if self._answer is None else {"sdp_answer": self._answer}

    @property
    def agreement(self) -> Agreement | None:
        """What the descriptions came to so far; None before an answer, or without SDP."""
        return None if self._negotiation is None else self._negotiation.agreement

    def offer(
        self,
        *,
        codecs: Sequence[Codec | str] | None = None,
        ptime_ms: int | None = None,
        direction: MediaDirection | None = None,
    ) -> str:
        """An offer of ours, to begin with or to change what there is: `direction="sendonly"` holds
        the far end, `codecs` ask for others. It changes nothing before `accept_answer`.

        Raises `ValueError` for what does not fit, `OSError` where the far end's address has no
        route, `RuntimeError` while `update` or `accept_answer` take what the far end has said
        (RFC 3264 §4). Nothing has been offered then.
        """
        session = self._session()
        session._out("offer anything")
        if self._negotiation is None:
            raise RuntimeError(
                "this session was made without SDP; RTPSession.for_offer or from_offer fits"
            )
        if self._exchange.locked():
            raise RuntimeError(
                "what the far end has said is being taken; offer when that is done (RFC 3264 §4)"
            )
        negotiation = copy(self._negotiation)
        told, rtcp = self._told()
        offer = str(
            negotiation.offer(told, rtcp, codecs=codecs, ptime_ms=ptime_ms, direction=direction)
        )
        self._negotiation, self._offer = negotiation, offer
        return offer

    async def accept_answer(self, sdp: str | bytes) -> None:
        """What the far end answered to `offer` holds from the next frame on, without a gap.

        Raises `SDPError` that names the line, where it is malformed or refuses the audio, and as
        `update` does; nothing has changed then.
        """
        async with self._exchange:
            if self._negotiation is None:
                raise RuntimeError("there was no offer; RTPSession.for_offer and offer come first")
            negotiation = copy(self._negotiation)
            before = negotiation.agreement
            agreed = negotiation.receive_answer(sdp)
            asked = self._asked(_as_changes(agreed, before, negotiation.rtcp_mode))
            self._change(asked, await self._found(asked))
            self._negotiation, self._offer = negotiation, None

    async def update(
        self,
        *,
        remote_addr: Address | None = None,
        sdp: str | bytes | None = None,
        **changes: Unpack[RTPExtra],
    ) -> str | None:
        """Changes options in the middle of the call, as a re-INVITE asks for, without a gap either
        way: `codecs`, payload types of digits and comfort noise, `fill`, `ptime_ms`, `remote_addr`,
        `remote_rtcp_addr`, `rtcp`, `direction`, timeouts, `srtp` (see `rekey`). What is not named
        stays, the rate and channels of the frames always. With `sdp`, an offer of the far end's,
        that decides, and the answer is returned.

        RTCP that no longer shares the port of RTP (RFC 5761 §5.1.1) gets the port after it, which
        is then kept to the end: `OSError` where that is taken.

        A name in `remote_addr` or `remote_rtcp_addr` is resolved first, and not again when
        something else changes; the change has its effect with the next frame. Raises `ValueError`
        for what does not fit or cannot change, `TypeError` for a name that no option has, `OSError`
        for a host name that does not resolve or an answer for want of a route,
        `AddressConflictError` as `open` does, `QueueFullError` when too many changes wait. Nothing
        has changed then.
        """
        self._session()._opened()
        check_names(changes)
        named = {} if remote_addr is None else {"remote_addr": remote_addr}
        if sdp is not None:
            return await self._answer_offer(sdp, {**changes, **named})
        asked = self._asked({**changes, **named})
        self._change(asked, await self._found(asked))
        return None

    async def rekey(self, srtp: SRTP) -> None:
        """Goes over to other keys in mid-call; a session in plain becomes an encrypted one.

        What is sent has the new key from the next packet on. What comes in may have the old one
        until the far end has begun with the new one and two seconds more, 32 seconds at most. So
        nothing is lost where each end knows a key before the other sends with it: give the old
        `send_key` with the new `receive_key` first, and both when the far end is ready.

        Raises `ValueError` for what is no `SRTP`, and as `update` does.
        """
        await self.update(srtp=srtp)

    # --- inside ---------------------------------------------------------------------------------

    def _why_no_events(self) -> str:
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

    def _write_answer(self) -> None:
        """The ports are bound: the answer can be written, if there is an offer."""
        negotiation = self._negotiation
        if negotiation is not None and negotiation.has_offer:
            self._answer = str(negotiation.answer(*self._told()))

    async def _answer_offer(self, sdp: str | bytes, changes: Mapping[str, Any]) -> str:
        """`update(sdp=…)`: a copy negotiates, the answer is written, the media change, and only
        then is anything else of it true."""
        for name in sorted(NEGOTIATED.intersection(changes)):
            raise ValueError(f"{name}: the description decides it; leave it out beside sdp")
        async with self._exchange:
            negotiation = self._answering()
            before = negotiation.agreement
            free = negotiation.receive_offer(sdp)
            asked = self._asked({**changes, **_as_changes(free, before, negotiation.rtcp_mode)})
            found = await self._found(asked)
            # No await from here on. Not earlier, since `hold` and `resume` may come meanwhile.
            holds, unheld, direction = self._holds, self._before_hold, self.options.direction
            agreement = free if holds is None else negotiation.hold(holds)
            answer = str(negotiation.answer(*self._told(found.get("remote_addr"))))
            self._change({**asked, "direction": agreement.direction}, found)
            same = direction == agreement.direction == free.direction
            if holds is not None and unheld is not None and not same:
                self._still_holds(unheld, holds, free.direction)
            self._negotiation, self._answer = negotiation, answer
            self._offer = None  # one of ours that waits no longer: it was refused
            return answer

    def _answering(self) -> Negotiation:
        """What goes on from the call as it is, apart from it: it may yet come to nothing."""
        if self._negotiation is not None:
            return copy(self._negotiation)
        unheld = self._before_hold
        wanted = self.options.direction if unheld is None else unheld[0]
        return Negotiation.of_session(replace(self.options, direction=wanted))

    def _asked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """`changes` as options of this session that may change in mid-call."""
        fixed = sorted(set(changes) - _CHANGEABLE)
        if fixed:
            can = ", ".join(sorted(_CHANGEABLE))
            raise ValueError(f"{fixed[0]}: it cannot change in mid-call; {can} can")
        asked = dict(changes)
        if (changes.get("rtcp", self.options.rtcp) == "off") != (self.options.rtcp == "off"):
            raise ValueError(
                f"rtcp: {changes['rtcp']!r}; a session that began with rtcp={self.options.rtcp!r}"
                " has reports, or none, to its end"
            )
        if changes.get("srtp", self.options.srtp) is None and self.options.srtp is not None:
            raise ValueError("srtp: None; a session that is encrypted stays so, other keys fit")
        if "codecs" in changes:
            if changes["codecs"] is None:
                raise ValueError("codecs: None; at least one Codec or name fits in mid-call")
            # Payload type and clock are the new codec's, frames stay as the program knows them.
            session = self._session()
            asked.update(payload_type=0, clock_rate=8000)
            asked.update(sample_rate=session._rate, channels=session._channels)
        return asked

    async def _found(self, asked: Mapping[str, Any]) -> dict[str, Address | None]:
        """The far end's addresses among `asked`, with their names looked up.

        Raises `ValueError` for options that do not fit, before anything is looked up.
        """
        new = replace(self.options, **asked)
        local = self._session().local_addr[0]
        found: dict[str, Address | None] = {}
        known = self._remote
        if "remote_addr" in asked and new.remote_addr is not None:
            found["remote_addr"] = known = await resolve(new.remote_addr, "remote_addr", like=local)
        if "remote_rtcp_addr" in asked:
            rtcp = None if new.rtcp == "off" else new.remote_rtcp_addr
            found["remote_rtcp_addr"] = await resolve_rtcp(rtcp, new.remote_addr, known, like=local)
        return found

    def _change(self, asked: Mapping[str, Any], found: Mapping[str, Address | None]) -> None:
        """Media and options go over to `asked`, with the addresses `found`; if it raises, neither
        has."""
        session = self._session()
        session._out("update it")
        native = session._opened()
        with self._changing:
            new = replace(self.options, **asked)  # others may have changed it meanwhile
            remote = found.get("remote_addr", self._remote)
            rtcp = found.get("remote_rtcp_addr", self._remote_rtcp)
            try:
                native.update(new.native(native.local_addr, remote, rtcp, shared=session._shared))
            except ValueError as error:
                raise AddressConflictError(f"remote_addr: {error}") from None
            except BlockingIOError:
                raise QueueFullError("too many changes wait for the media thread") from None
            self._turned(self.options.direction, new.direction)
            self.options, self._remote, self._remote_rtcp = new, remote, rtcp
        warn_of_fragments(session.id, new)

    def _told(self, remote: Address | None = None) -> tuple[Address, Address | None]:
        """The addresses of RTP and RTCP as the far end is told them; `remote`: where it will be."""
        session = self._session()
        told = session._advertised(remote)
        rtcp = session.rtcp_addr
        return told, None if rtcp is None else (told[0], rtcp[1])

    def _session(self) -> RTPSession:
        return cast("RTPSession", self)


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


def _check_decided(options: Mapping[str, Any]) -> None:
    for name in ("remote_addr", "payload_type", "clock_rate", "preset", "srtp"):
        if options.get(name) is not None:
            raise ValueError(f"{name}: the description decides it; leave it out")


def _as_changes(agreement: Agreement, before: Agreement | None, rtcp: RTCPMode) -> dict[str, Any]:
    """What is agreed on as options of a change."""
    return {**agreement.options(before), "rtcp": rtcp}
