"""A call and an attacker on real sockets, and what shows that the attacker had no success."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from roomkit.cli.g711 import decode
from roomkit.rtp import RTPSession
from roomkit.rtp.events import RTPEvent
from roomkit.voice.frame import AudioFrame
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

__all__ = ["LOOPBACK", "Attack", "Attacker", "Call", "call", "under_attack"]

LOOPBACK = "127.0.0.1"
SPOKEN = 0x2A
"""The octet that the peer's audio consists of, a quarter as loud as the attacker's."""


class Attacker:
    """Sockets on another host, and on another port of the peer's own host."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.elsewhere = self._bound("127.0.0.66")
        self.beside = self._bound(LOOPBACK)

    def send(self, datagram: bytes, to: tuple[str, int]) -> None:
        """From either place, in turn at random."""
        self.random.choice((self.elsewhere, self.beside)).sendto(datagram, to)

    def heard_nothing(self) -> bool:
        """Whether no datagram at all has come to it."""
        for sock in (self.elsewhere, self.beside):
            with contextlib.suppress(BlockingIOError):
                sock.recv(1)
                return False
        return True

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *_: object) -> None:
        self.elsewhere.close()
        self.beside.close()

    @staticmethod
    def _bound(host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        return sock


@dataclass
class Call:
    """A session, its peer, and what came of it."""

    session: RTPSession
    peer: Peer
    frames: list[AudioFrame] = field(default_factory=list)
    events: list[RTPEvent] = field(default_factory=list)

    @property
    def rtp(self) -> tuple[str, int]:
        """Where the session hears RTP."""
        return self.session.local_addr

    @property
    def rtcp(self) -> tuple[str, int]:
        """Where it hears RTCP."""
        address = self.session.rtcp_addr
        assert address is not None
        return address


Attack: TypeAlias = Callable[[Attacker, Call, int], None]
"""What the attacker does in the `n`-th 20 ms."""


@contextlib.asynccontextmanager
async def call(peer: Peer, *, shared: bool = False, **options: Any) -> AsyncIterator[Call]:
    """A call on a port of its own, or on one with two other calls."""
    async with contextlib.AsyncExitStack() as opened:
        port = free_port_pair() if shared else 0
        options = {"local_addr": (LOOPBACK, port), "shared": shared, **options}
        if shared:
            for _ in range(2):
                other = opened.enter_context(Peer())
                neighbour = RTPSession(**{**options, "remote_addr": other.addr})
                await opened.enter_async_context(neighbour)
        options = {"remote_addr": peer.addr, **options}
        session = await opened.enter_async_context(RTPSession(**options))
        made = Call(session, peer)
        session.on_frame(made.frames.append)
        session.on_event(made.events.append)
        yield made


async def under_attack(call: Call, attacker: Attacker, attack: Attack, steps: int = 15) -> None:
    """The peer speaks and we play, before the attack, during it and after it. Fails if anything but
    the peer's audio is heard, if anything happens, or if anything goes anywhere but to the peer."""
    session, peer = call.session, call.peer
    playing = asyncio.create_task(session.play(tone(440, 20_000)))
    await peer.stream(call.rtp, 5, payload=bytes([SPOKEN]) * 160)

    def attacking() -> None:
        pause = threading.Event()
        for step in range(steps):
            attack(attacker, call, step)
            pause.wait(0.02)

    await asyncio.gather(
        peer.stream(call.rtp, steps, payload=bytes([SPOKEN]) * 160),
        asyncio.to_thread(attacking),
    )
    await peer.stream(call.rtp, 5, payload=bytes([SPOKEN]) * 160)
    spoken = 10 + steps
    async with asyncio.timeout(10):
        async for _ in session:
            if session.stats().packets_received >= spoken:
                break
    # What a busy machine made late is concealed and faded; much louder than the peer is only the
    # attacker.
    ours = abs(decode("PCMU", bytes([SPOKEN]))[0])
    loudest = max(map(abs, array("h", b"".join(frame.data for frame in call.frames))))
    assert ours <= loudest < 2 * ours, "something else than the peer was heard"
    happened = sorted(type(event).__name__ for event in call.events)
    assert happened == ["PlaybackStarted", "SourceTrusted"]
    stats = session.stats()
    assert (stats.packets_received, stats.source_changes) == (spoken, 0)
    refused = (stats.stranger, stats.malformed, stats.rtcp_stranger, stats.unmatched)
    assert any(refused), "the attack did not arrive"
    assert session.remote_addr == peer.addr
    assert attacker.heard_nothing()
    so_far = len(peer.packets)
    await peer.until(lambda: len(peer.packets) > so_far, what="our audio goes on")
    session.cancel()
    await playing
