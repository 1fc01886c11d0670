"""Opening a session in the core: what can go wrong there, as the errors that users know."""

from __future__ import annotations

import errno
import logging
from typing import Final

from roomkit import _bridge, _native
from roomkit.errors import AddressConflictError, PortsExhaustedError
from roomkit.rtp.addresses import Address
from roomkit.rtp.options import RTPOptions

__all__ = ["open_native", "warn_of_fragments"]

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
