"""Addresses are checked at the call that gives them and resolved before anything is opened."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from roomkit.rtp.addresses import advertised_address, check_address, resolve


def test_a_pair_may_be_a_tuple_or_a_list_as_json_has_it() -> None:
    assert check_address(("192.0.2.1", 1), "x") == ("192.0.2.1", 1)
    assert check_address(["host.example", 65535], "x") == ("host.example", 65535)
    assert check_address(("[2001:db8::1]", 5004), "x") == ("2001:db8::1", 5004)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "192.0.2.1:5004",
        ("192.0.2.1",),
        ("192.0.2.1", 5004, 0),
        ("", 5004),
        (" ", 5004),
        ("a b", 5004),
        (b"192.0.2.1", 5004),
        (None, 5004),
        ("192.0.2.1", "5004"),
        ("192.0.2.1", 5004.0),
        ("192.0.2.1", True),
        ("192.0.2.1", -1),
        ("192.0.2.1", 0),
        ("192.0.2.1", 65536),
        ("0.0.0.0", 5004),
        ("::", 5004),
        5004,
        {"host": "192.0.2.1", "port": 5004},
    ],
)
def test_anything_else_is_a_value_error_that_names_the_parameter(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^remote_addr: .* fits$"):
        check_address(value, "remote_addr")


def test_only_a_local_address_may_leave_port_and_host_open() -> None:
    assert check_address(("0.0.0.0", 0), "local_addr", free_port=True) == ("0.0.0.0", 0)


async def test_a_name_resolves_to_the_family_of_the_local_address() -> None:
    assert await resolve(("localhost", 5004), "x", like="127.0.0.1") == ("127.0.0.1", 5004)


async def test_a_numeric_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert await resolve(("192.0.2.1", 1), "x") == ("192.0.2.1", 1)
    assert await resolve(("2001:db8::1", 1), "x", like="::") == ("2001:db8::1", 1)


async def test_families_that_cannot_meet_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^remote_addr: '::1' .* both IPv6$"):
        await resolve(("::1", 5004), "remote_addr", like="0.0.0.0")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".invalid"])
async def test_a_name_that_does_not_resolve_is_an_os_error_that_names_it(host: str) -> None:
    with pytest.raises(OSError, match="remote_addr: cannot resolve"):
        await resolve((host, 5004), "remote_addr")


async def test_rfc4291_2_5_5_2_a_mapped_ipv4_address_is_the_ipv4_address() -> None:
    assert await resolve(("::ffff:192.0.2.1", 9), "x", like="0.0.0.0") == ("192.0.2.1", 9)


async def test_rfc4007_11_the_zone_of_a_link_local_address_may_be_a_name_or_a_number() -> None:
    index, name = socket.if_nameindex()[0]
    assert await resolve((f"fe80::1%{name}", 9), "x", like="::") == (f"fe80::1%{index}", 9)
    assert await resolve((f"fe80::1%{index}", 9), "x", like="::") == (f"fe80::1%{index}", 9)
    with pytest.raises(ValueError, match=r"^remote_addr: 'fe80::1%nowhere'.* no interface"):
        await resolve(("fe80::1%nowhere", 9), "remote_addr")


def test_a_bound_address_is_advertised_as_it_is() -> None:
    assert advertised_address(("192.0.2.7", 4000), None) == ("192.0.2.7", 4000)
    assert advertised_address(("fe80::1%1", 4000), ("fe80::2%1", 9)) == ("fe80::1%1", 4000)


def test_bound_to_all_the_address_on_the_way_to_the_peer_is_advertised() -> None:
    assert advertised_address(("0.0.0.0", 4000), ("127.0.0.1", 9)) == ("127.0.0.1", 4000)
    assert advertised_address(("::", 4000), ("::1", 9)) == ("::1", 4000)
    # Any address of 127.0.0.0/8 is this host's own: the answer is as the routes say.
    assert advertised_address(("0.0.0.0", 4000), ("127.0.0.9", 9))[0].startswith("127.")


def test_without_a_route_that_is_said() -> None:
    with pytest.raises(OSError, match=r"no route to "):
        advertised_address(("::", 4000), ("fe80::1", 9))  # link-local without its zone
