"""Opening a session in the core: what can go wrong there, as the errors that users know."""

from __future__ import annotations

import errno
import logging
from typing import Final

from roomkit import _bridge, _native
from roomkit.errors import AddressConflictError, PortsExhaustedError
from roomkit.rtp.addresses import Address
from roomkit.rtp.options import RTPOptions
from roomkit.rtp.presets import PRESETS

__all__ = [
    "open_native",
    "warn_of_fragments",
    "warn_of_reflection",
    "warn_of_shared_key",
    "warn_of_unread",
]

_log = logging.getLogger("roomkit.rtp")

_LARGEST: Final = 1452
"""What is left of an Ethernet frame beside the headers of IPv6 and UDP."""


def open_native(
    bridge: _bridge.LoopBridge,
    options: RTPOptions,
    local: Address,
    remote: Address | None,
    rtcp: Address | None,
    session: _bridge.Receiver,
    *,
    shared: bool,
) -> _native.Session:
    """Binds the sockets and starts the media, whose items then come to `session`. The addresses
    are numeric.

    Raises `AddressConflictError`, `PortsExhaustedError`, and `OSError` for what else the system
    refuses. Nothing is left open then.
    """
    try:
        return bridge.open(options.native(local, remote, rtcp, shared=shared), session)
    except ValueError as error:
        # The options were checked before; the rest is between the sessions of one address.
        raise AddressConflictError(f"remote_addr: {error}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and local[1] == 0:
            name = "local_addr" if options.port_range is None else "port_range"
            raise PortsExhaustedError(error.errno, f"{name}: {error.strerror}") from None
        raise


def warn_of_fragments(session_id: str, options: RTPOptions) -> None:
    """Linear audio of a high rate makes packets that IP has to cut up."""
    if options.packet_octets > _LARGEST:
        _log.warning(
            "session %s: packets of %d octets travel in fragments, and are lost with any one of"
            " them: a shorter ptime_ms than %d or a lower rate fits an Ethernet frame",
            session_id,
            options.packet_octets,
            options.ptime_ms,
        )


def warn_of_reflection(session_id: str, addr: Address) -> None:
    """What is heard is our own voice: an echo test, or a loop that is worth looking for."""
    _log.warning(
        "session %s: %s:%d sends our own packets back, as an echo test does, and they are heard:"
        " where it is none, there is a loop",
        session_id,
        *addr,
    )


def warn_of_shared_key(session_id: str) -> None:
    """The far end has one key for several calls: who reads one can send it into another."""
    _log.warning(
        "session %s: by SDP the far end sends with an SRTP key that another call has, too: it is"
        " heard from its signalled address alone, whatever source_policy says; a key for each call"
        " fits (RFC 4568 §6.1)",
        session_id,
    )


def warn_of_unread(session_id: str, options: RTPOptions, *, events: bool = False) -> None:
    """A peer that sends no SDP may send what it does not understand itself, and say nothing."""
    preset = None if options.preset is None else PRESETS[options.preset]
    if preset is None:
        return
    if events:
        if preset.unread.issuperset(options.events.values()):
            _log.warning(
                "session %s: preset %r: the peer takes no telephone events; method='inband' fits",
                session_id,
                preset.name,
            )
    elif options.codec.payload_type in preset.unread:
        readable = [
            f"{codec.payload_type} {codec.rtpmap}"
            for codec in preset.options["codecs"]
            if codec.payload_type not in preset.unread
        ]
        _log.warning(
            "session %s: preset %r: the peer sends %s under %d and does not understand it, so what"
            " is played is not heard; payload_type %s fits",
            session_id,
            preset.name,
            options.codec.rtpmap,
            options.codec.payload_type,
            ", ".join(readable),
        )
