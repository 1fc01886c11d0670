"""Addresses: checked where the program gives them, resolved once, and never by the media thread."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import TypeAlias, TypeGuard

__all__ = ["Address", "check_address", "check_family", "is_numeric", "resolve"]

Address: TypeAlias = tuple[str, int]
"""(host, port). The host is a name or a numeric IPv4 or IPv6 address without brackets."""


def check_address(value: object, name: str, *, free_port: bool = False) -> Address:
    """`value` as (host, port): a tuple, or a list as JSON has it.

    `free_port`: whether port 0, "any free one", makes sense. Raises `ValueError` naming `name`.
    """
    low = 0 if free_port else 1
    fits = f"a (host, port) pair such as ('192.0.2.10', 20000), port {low} to 65535, fits"
    if not _is_pair(value):
        raise ValueError(f"{name}: {value!r}; {fits}")
    host, port = value
    if not isinstance(host, str) or not host.strip() or any(c in host for c in " \t\r\n\0"):
        raise ValueError(f"{name}: host {host!r}; a host name or an IP address fits")
    if not isinstance(port, int) or isinstance(port, bool) or not low <= port <= 65535:
        raise ValueError(f"{name}: port {port!r}; an integer from {low} to 65535 fits")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not free_port and host in ("0.0.0.0", "::"):
        raise ValueError(f"{name}: host {host!r} is no destination; the peer's own address fits")
    return host, port


async def resolve(address: Address, name: str, *, like: str | None = None) -> Address:
    """`address` with its host as a numeric address; names are looked up off the event loop.

    `like` is the numeric local address: the answer is of its family, since an IPv4 socket reaches
    no IPv6 peer. Raises `ValueError` when a numeric address is of the other family, `OSError`
    (`socket.gaierror`) when a name has no address of that family; both name `name`.
    """
    host, port = address
    family = socket.AF_UNSPEC if like is None else family_of(like)
    if is_numeric(host):
        if like is not None:
            check_family(host, name, like)
        return host, port
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as error:
        number = error.errno if isinstance(error, socket.gaierror) else socket.EAI_NONAME
        raise socket.gaierror(number, f"{name}: cannot resolve {host!r}: {error}") from error
    # A name of both families with nothing to match: IPv4, the one that telephony speaks.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0]), port


def check_family(host: str, name: str, like: str) -> None:
    """Raises `ValueError` unless both numeric addresses are of one family."""
    if family_of(host) != family_of(like):
        raise ValueError(
            f"{name}: {host!r} cannot be reached from the local address {like!r};"
            " both must be IPv4, or both IPv6"
        )


def family_of(host: str) -> socket.AddressFamily:
    """The family of a numeric address."""
    version = ipaddress.ip_address(host.partition("%")[0]).version
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def is_numeric(host: str) -> bool:
    """True for an IPv4 or IPv6 address, False for a name."""
    try:
        family_of(host)
    except ValueError:
        return False
    return True


def _is_pair(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (tuple, list)) and len(value) == 2
