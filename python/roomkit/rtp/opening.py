"""Opening a session in the core: what can go wrong there, as the errors that users know."""

from __future__ import annotations

import errno

from roomkit import _bridge, _native
from roomkit.errors import AddressConflictError, PortsExhaustedError
from roomkit.rtp.addresses import Address
from roomkit.rtp.options import RTPOptions

__all__ = ["open_native"]


def open_native(
    bridge: _bridge.LoopBridge,
    options: RTPOptions,
    local: Address,
    remote: Address | None,
    session: _bridge.Receiver,
    *,
    shared: bool,
) -> _native.Session:
    """Binds the sockets and starts the media, whose items then come to `session`. Both addresses
    are numeric.

    Raises `AddressConflictError`, `PortsExhaustedError`, and `OSError` for what else the system
    refuses. Nothing is left open then.
    """
    try:
        return bridge.open(options.native(local, remote, shared=shared), session)
    except ValueError as error:
        # The options were checked before; the rest is between the sessions of one address.
        raise AddressConflictError(f"remote_addr: {error}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and local[1] == 0:
            raise PortsExhaustedError(error.errno, f"local_addr: {error.strerror}") from None
        raise
