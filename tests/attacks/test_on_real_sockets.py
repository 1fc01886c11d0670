"""The attacks of the core's suite (`crates/media/tests/attacks.rs`), a few tries each, on real
sockets: against a call on a port of its own, with each policy, and one of several on a port.

There each has at least 10 000 tries from a seed, on virtual time.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from attacks.scene import Attack, Attacker, Call, call, under_attack
from rtp.wire import Peer, digit_payload, rtcp_bye, rtp

PLACES: list[dict[str, Any]] = [
    {"source_policy": "strict"},
    {"source_policy": "host"},
    {"source_policy": "learn"},
    {"source_policy": "follow"},
    {"shared": True},
]
NOISE = b"\x00" * 160  # as loud as G.711 can be


def rtpbleed_spray(attacker: Attacker, at: Call, _: int) -> None:
    draw = attacker.random
    for _ in range(20):
        ssrc, seq = draw.getrandbits(32), draw.getrandbits(16)
        attacker.send(rtp(seq, draw.getrandbits(32), ssrc, NOISE), at.rtp)


def rtpbleed_stream(attacker: Attacker, at: Call, step: int) -> None:
    for sock in (attacker.elsewhere, attacker.beside):
        sock.sendto(rtp(step, step * 160, 0xBAD, NOISE), at.rtp)


def injection_by_who_reads_the_call(attacker: Attacker, at: Call, _: int) -> None:
    for ahead in range(4):
        seq, timestamp = at.peer.seq + ahead, at.peer.timestamp + 160 * ahead
        packet = rtp(seq % 65_536, timestamp % 2**32, at.peer.ssrc, NOISE)
        attacker.send(packet, at.rtp)


def injection_at_the_forged_address(attacker: Attacker, at: Call, _: int) -> None:
    for _ in range(10):
        ssrc = attacker.random.getrandbits(32)
        at.peer.send(rtp(at.peer.seq, at.peer.timestamp, ssrc, NOISE), at.rtp)


def hijack_by_another_ssrc(_: Attacker, at: Call, step: int) -> None:
    for seq in (2 * step, 2 * step + 1):
        at.peer.send(rtp(seq, seq * 160, 0xBAD, NOISE), at.rtp)


def forged_goodbye(attacker: Attacker, at: Call, _: int) -> None:
    attacker.elsewhere.sendto(rtcp_bye(at.peer.ssrc), at.rtcp)
    attacker.beside.sendto(rtcp_bye(attacker.random.getrandbits(32)), at.rtcp)
    attacker.beside.sendto(rtcp_bye(at.peer.ssrc), at.rtp)


def replay(attacker: Attacker, at: Call, step: int) -> None:
    for back in range(1, 6):
        seq, timestamp = at.peer.seq - back, at.peer.timestamp - 160 * back
        packet = rtp(seq % 65_536, timestamp % 2**32, at.peer.ssrc, b"\x2a" * 160)
        attacker.send(packet, at.rtp)


def flood(attacker: Attacker, at: Call, _: int) -> None:
    packet = rtp(1, 160, 0xBAD, NOISE)
    for n in range(1000):
        sock = attacker.elsewhere if n % 2 else attacker.beside
        sock.sendto(packet, at.rtp)


def digit_injection(attacker: Attacker, at: Call, _: int) -> None:
    payload = digit_payload(5, 800, end=True)
    for ssrc in (at.peer.ssrc, 0xBAD):
        packet = rtp(at.peer.seq, at.peer.timestamp, ssrc, payload, pt=101)
        attacker.send(packet, at.rtp)
    at.peer.send(rtp(at.peer.seq, at.peer.timestamp, 0xBAD, payload, pt=101), at.rtp)


def reflection(attacker: Attacker, at: Call, step: int) -> None:
    stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    questions = (stun, b"OPTIONS sip:x SIP/2.0\r\n\r\n", os.urandom(step * 8), rtcp_bye(7))
    for question in questions:
        attacker.send(question, at.rtp)
        attacker.send(question, at.rtcp)


ATTACKS: list[Attack] = [
    rtpbleed_spray,
    rtpbleed_stream,
    injection_by_who_reads_the_call,
    injection_at_the_forged_address,
    hijack_by_another_ssrc,
    forged_goodbye,
    replay,
    flood,
    digit_injection,
    reflection,
]


@pytest.mark.parametrize(
    "options", PLACES, ids=lambda options: "-".join(map(str, options.values()))
)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_no_success(
    peer: Peer, attacker: Attacker, attack: Attack, options: dict[str, Any]
) -> None:
    async with call(peer, **options) as victim:
        await under_attack(victim, attacker, attack)
