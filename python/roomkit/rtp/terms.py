"""`Terms`: what holds between the two ends of a session, and how it changes in mid-call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from roomkit.errors import AddressConflictError, QueueFullError
from roomkit.rtp.addresses import (
    Address,
    advertised_address,
    check_address,
    check_family,
    is_numeric,
    resolve,
    resolve_rtcp,
)
from roomkit.rtp.hold import Hold
from roomkit.rtp.keyring import ReceiveKeys
from roomkit.rtp.media import Media
from roomkit.rtp.opening import warn_of_fragments, warn_of_shared_key, warn_of_unread
from roomkit.rtp.options import CHANGEABLE, MediaDirection, RTPOptions

__all__ = ["Terms"]

_log = logging.getLogger("roomkit.rtp")


class Terms:
    """The options that hold now, and where the far end is. They change as a whole or not at all,
    together with the media."""

    def __init__(self, options: RTPOptions, media: Media, *, shared: bool) -> None:
        self.options = options
        self.hold = Hold(lambda: self.options.direction, self._turn)
        self._media = media
        self._shared = shared
        self._changing = threading.Lock()  # `retarget` may come from any thread
        self._keys = ReceiveKeys(self._narrow)
        self._shares_told = False
        media.when_ended = self._keys.release
        # With names resolved: once, since a name may stand for many hosts.
        self._remote: Address | None = None
        self._remote_rtcp: Address | None = None

    async def open(self, *, by_sdp: bool) -> None:
        """Looks up the names, and opens the media on these terms. `by_sdp`: the far end chose the
        keys. Raises `OSError`, `ValueError`; nothing is left open then."""
        # The keys first: they are the session's from here on, or it has touched nothing.
        with self._keys.taking(self.options.srtp, by_sdp=by_sdp) as sharing:
            if sharing:
                self.options = replace(self.options, source_policy="strict")
            await self._open()
        self._share(sharing)

    async def _open(self) -> None:
        options = self.options
        local = await resolve(options.local_addr, "local_addr")
        remote = options.remote_addr
        if remote is not None:
            remote = await resolve(remote, "remote_addr", like=local[0])
        rtcp = None if options.rtcp == "off" else options.remote_rtcp_addr
        rtcp = await resolve_rtcp(rtcp, options.remote_addr, remote, like=local[0])
        # No await from here on: either all of it exists, or nothing. Of the options, the policy may
        # be another by now (`_narrow`).
        with self._changing:
            self._media.open(self.options, local, remote, rtcp, shared=self._shared)
            self._remote, self._remote_rtcp = remote, rtcp

    def warn(self) -> None:
        """Tells what the far end may not hear of what is sent."""
        warn_of_fragments(self._media.id, self.options)
        warn_of_unread(self._media.id, self.options)

    # --- where the far end is -------------------------------------------------------------------

    def advertised(self, remote: Address | None = None) -> Address:
        """The (host, port) to tell the far end; `remote`: where it will be, None for where it is.
        Raises `OSError` when there is no way."""
        native = self._media.native
        moves = remote is not None and (self._remote is None or remote[0] != self._remote[0])
        # Where it sends to now says nothing of how it reaches us from elsewhere.
        host = self.options.advertised_host or (None if moves else native.local_host())
        local = native.local_addr
        if host is not None:
            return host, local[1]
        return advertised_address(local, remote if moves else native.remote_addr())

    def told(self, remote: Address | None = None) -> tuple[Address, Address | None]:
        """The addresses of RTP and RTCP as the far end is told them; `remote`: where it will be."""
        told = self.advertised(remote)
        rtcp = self._media.native.rtcp_addr
        return told, None if rtcp is None else (told[0], rtcp[1])

    def retarget(self, remote_addr: Address) -> None:
        """Sends to another address from the next packet on. From any thread. Raises `ValueError`,
        `AddressConflictError`, `QueueFullError`; nothing has changed then."""
        host, port = check_address(remote_addr, "remote_addr")
        if not is_numeric(host):
            raise ValueError(
                f"remote_addr: host {host!r}; a numeric address fits, looked up before"
            )
        check_family(host, "remote_addr", self._media.native.local_addr[0])
        native = self._media.native_for("retarget it")
        with self._changing:
            options = replace(self.options, remote_addr=(host, port))
            try:
                native.retarget(host, port)
            except ValueError as error:
                raise AddressConflictError(f"remote_addr: {error}") from None
            except BlockingIOError:
                raise QueueFullError("too many changes wait for the media thread") from None
            self.options, self._remote = options, (host, port)

    # --- changes in mid-call --------------------------------------------------------------------

    async def update(self, changes: Mapping[str, Any], *, by_sdp: bool = False) -> None:
        """Goes over to `changes`: `asked`, `found` and `change` in one."""
        asked = self.asked(changes)
        self.change(asked, await self.found(asked), by_sdp=by_sdp)

    def asked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """`changes` as options of this session that may change in mid-call. Raises `ValueError`
        for those that may not."""
        fixed = sorted(set(changes) - CHANGEABLE)
        if fixed:
            can = ", ".join(sorted(CHANGEABLE))
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
            asked.update(payload_type=0, clock_rate=8000)
            asked.update(sample_rate=self._media.rate, channels=self._media.channels)
        return asked

    async def found(self, asked: Mapping[str, Any]) -> dict[str, Address | None]:
        """The far end's addresses among `asked`, with their names looked up.

        Raises `ValueError` for options that do not fit, before anything is looked up.
        """
        new = replace(self.options, **asked)
        local = self._media.native.local_addr[0]
        found: dict[str, Address | None] = {}
        known = self._remote
        if "remote_addr" in asked and new.remote_addr is not None:
            found["remote_addr"] = known = await resolve(new.remote_addr, "remote_addr", like=local)
        if "remote_rtcp_addr" in asked:
            rtcp = None if new.rtcp == "off" else new.remote_rtcp_addr
            found["remote_rtcp_addr"] = await resolve_rtcp(rtcp, new.remote_addr, known, like=local)
        return found

    def change(
        self,
        asked: Mapping[str, Any],
        found: Mapping[str, Address | None],
        *,
        by_sdp: bool = False,
    ) -> None:
        """Media and options go over to `asked`, with the addresses `found`; if it raises, neither
        has. `by_sdp`: the far end chose the keys."""
        native = self._media.native_for("update it")
        with (
            self._changing,
            self._keys.taking(asked.get("srtp"), by_sdp=by_sdp) as sharing,
        ):
            new = replace(self.options, **asked)  # others may have changed it meanwhile
            if sharing:
                new = replace(new, source_policy="strict")
            remote = found.get("remote_addr", self._remote)
            rtcp = found.get("remote_rtcp_addr", self._remote_rtcp)
            try:
                native.update(new.native(native.local_addr, remote, rtcp, shared=self._shared))
            except ValueError as error:
                raise AddressConflictError(f"remote_addr: {error}") from None
            except BlockingIOError:
                raise QueueFullError("too many changes wait for the media thread") from None
            self.hold.turned(self.options.direction, new.direction)
            self.options, self._remote, self._remote_rtcp = new, remote, rtcp
        warn_of_fragments(self._media.id, new)
        self._share(sharing)

    # --- keys that are not this call's alone ----------------------------------------------------

    def _share(self, sharing: Iterable[ReceiveKeys]) -> None:
        """Other calls receive under a key that came by SDP: of none of them is anybody heard from
        elsewhere any more, since a packet of another call, sent on by anybody, is authentic."""
        for other in sharing:
            # Not under our lock: they may do the same with us.
            other.narrow()
            if not self._shares_told:
                self._shares_told = True
                warn_of_shared_key(self._media.id)

    def _narrow(self) -> None:
        media = self._media
        with self._changing:
            if self.options.source_policy == "strict" or media.closed:
                return
            new = replace(self.options, source_policy="strict")
            if media.playout is not None:  # else it opens, and will do so with the new one
                native = media.native
                address = native.local_addr
                try:
                    native.update(
                        new.native(address, self._remote, self._remote_rtcp, shared=self._shared)
                    )
                except (ValueError, BlockingIOError) as error:
                    _log.warning("session %s: cannot be narrowed: %s", media.id, error)
                    return
            self.options = new
        _log.info(
            "session %s: another call has its SRTP key, too: from now on it is heard from its"
            " address alone",
            media.id,
        )

    async def _turn(self, direction: MediaDirection) -> None:
        self._media.check_opened()
        await self.update({"direction": direction})
