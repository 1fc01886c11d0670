"""Addresses: checked where the program gives them, resolved once, and never by the media thread."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, TypeAlias, TypeGuard

from roomkit._text import printable, without_runs
from roomkit.errors import shown

__all__ = [
    "Address",
    "advertised_address",
    "check_address",
    "check_family",
    "is_numeric",
    "resolve",
    "resolve_rtcp",
]

_LONGEST: Final = 255  # characters of a name (RFC 1035 §2.3.4)
_LONGEST_SHOWN: Final = 100  # of one in an error

Address: TypeAlias = tuple[str, int]
"""(host, port). The host is a name or a numeric IPv4 or IPv6 address without brackets."""


def check_address(value: object, name: str, *, free_port: bool = False) -> Address:
    """`value` as (host, port): a tuple, or a list as JSON has it.

    `free_port`: whether port 0, "any free one", makes sense. Raises `ValueError` naming `name`.
    """
    low = 0 if free_port else 1
    fits = f"a (host, port) pair such as ('192.0.2.10', 20000), port {low} to 65535, fits"
    if not _is_pair(value):
        raise ValueError(f"{name}: {shown(value)}; {fits}")
    host, port = value
    if not isinstance(host, str) or not host or not host.isprintable() or " " in host:
        raise ValueError(f"{name}: host {shown(host)}; a host name or an IP address fits")
    if len(host) > _LONGEST:
        raise ValueError(f"{name}: host {shown(host)}; a host name or an IP address fits")
    if not isinstance(port, int) or isinstance(port, bool) or not low <= port <= 65535:
        raise ValueError(f"{name}: port {shown(port)}; an integer from {low} to 65535 fits")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not free_port and host in ("0.0.0.0", "::"):
        raise ValueError(f"{name}: host {host!r} is no destination; the address of one host fits")
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
        host = _plain(host, name)
        if like is not None:
            check_family(host, name, like)
        return host, port
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as error:
        number = error.errno if isinstance(error, socket.gaierror) else socket.EAI_NONAME
        # It may be of a description that has a key in its place.
        said = printable(without_runs(host), _LONGEST_SHOWN)
        raise socket.gaierror(number, f"{name}: cannot resolve '{said}': {error}") from error
    # A name of both families with nothing to match: IPv4, the one that telephony speaks.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0]), port


async def resolve_rtcp(
    rtcp: Address | None, rtp: Address | None, known: Address | None, *, like: str
) -> Address | None:
    """`resolve` of `remote_rtcp_addr`. Beside RTP under the same name, `rtp`, it is at the address
    that was found for that, `known`: a name may stand for many hosts."""
    if rtcp is not None and rtp is not None and known is not None and rtcp[0] == rtp[0]:
        return known[0], rtcp[1]
    return None if rtcp is None else await resolve(rtcp, "remote_rtcp_addr", like=like)


def advertised_address(local: Address, remote: Address | None) -> Address:
    """The address to tell a peer at `remote` (an SDP `c=` line, RFC 8866 §5.7) so that it reaches
    `local`, both numeric.

    A bound host is itself the answer. Bound to all of a host's addresses, it is the one that the
    system's routes choose towards `remote`, which is also the one that packets leave from; without
    a `remote`, towards the internet. Nothing is sent. Raises `OSError` when there is no route.
    """
    host, port = local
    if not ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return local
    family = family_of(host)
    if remote is None:
        # Of the blocks for documentation (RFC 5737, RFC 3849): no host has them, all routes do.
        remote = ("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(remote)
        except OSError as error:
            raise OSError(error.errno, f"no route to {remote[0]}: {error.strerror}") from error
        return str(probe.getsockname()[0]), port


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


def _plain(host: str, name: str) -> str:
    """A numeric address as the core reads it: IPv4 in place of its IPv6-mapped form (RFC 4291
    §2.5.5.2), and the zone of a link-local address as a number (RFC 4007 §11)."""
    numeric, _, zone = host.partition("%")
    ip = ipaddress.ip_address(numeric)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    if zone and not zone.isdecimal():
        try:
            zone = str(socket.if_nametoindex(zone))
        except OSError as error:
            raise ValueError(f"{name}: {host!r}: this host has no interface {zone!r}") from error
    return f"{numeric}%{zone}" if zone else numeric


def _is_pair(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (tuple, list)) and len(value) == 2
