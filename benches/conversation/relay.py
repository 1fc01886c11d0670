"""A network that delays, jitters and loses, seeded: a UDP relay in a process of its own.

Each call has a link with a delay, a jitter and a loss of its own, the same both ways. The relay
notes every packet that it was given for the far end, also those that it loses: what left is known
from there, what came from the telephone.
"""

from __future__ import annotations

import contextlib
import heapq
import multiprocessing
import random
import select
import socket
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeAlias

from phones import HOST, MS, _exact_timers, _pair, _receive

Address: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Link:
    """One call's way, each direction."""

    delay_ms: float
    jitter_ms: float
    """Up to so much is added, evenly distributed."""
    loss: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that was on its way to the far end."""

    at_ns: int
    seq: int
    timestamp: int
    lost: bool


def links(count: int, seed: int) -> list[Link]:
    """0 to 200 ms, up to 20 ms of jitter, up to 5 % of loss."""
    source = random.Random(seed)
    return [
        Link(source.uniform(0, 200), source.uniform(0, 20), source.uniform(0, 0.05))
        for _ in range(count)
    ]


class Relay:
    """A context. `ours` and `theirs` are the ports that our side and the far end send to."""

    def __init__(self, ways: list[Link], seed: int = 8) -> None:
        self._ways = ways
        self._seed = seed

    def __enter__(self) -> Relay:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._child = context.Process(
            target=_run, args=(there, self._ways, self._seed), daemon=True
        )
        self._child.start()
        there.close()
        self.ours, self.theirs = self._here.recv()
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.is_alive():
            with contextlib.suppress(OSError):
                self._here.send("stop")
            self._child.join(5)
        if self._child.is_alive():
            self._child.kill()

    def to_far_end(self, number: int, far_end: Address) -> Address:
        """Where our side is to send for that call, whose far end is there."""
        self._here.send(("far", number, far_end))
        return HOST, self.ours[number]

    def to_us(self, number: int, us: Address) -> Address:
        """Where the far end is to send, with our side there."""
        self._here.send(("us", number, us))
        return HOST, self.theirs[number]

    def sent(self) -> list[list[Sent]]:
        """Ends it; what was given to it for each far end."""
        self._here.send("records")
        found: list[list[Sent]] = self._here.recv()
        self._child.join(10)
        return found


def _run(pipe: Connection, ways: list[Link], seed: int) -> None:
    _exact_timers()
    source = random.Random(seed)
    ours = [_pair() for _ in ways]
    theirs = [_pair() for _ in ways]
    pipe.send(
        ([one.getsockname()[1] for one, _ in ours], [one.getsockname()[1] for one, _ in theirs])
    )
    far: dict[int, Address] = {}
    us: dict[int, Address] = {}
    sent: list[list[Sent]] = [[] for _ in ways]
    poll = select.epoll()
    known: dict[int, tuple[int, bool, int]] = {}  # call, to the far end, RTP or RTCP
    sockets = {}
    for down, pairs in ((True, ours), (False, theirs)):
        for number, pair in enumerate(pairs):
            for control, one in enumerate(pair):
                poll.register(one.fileno(), select.EPOLLIN)
                known[one.fileno()] = (number, down, control)
                sockets[one.fileno()] = one
    poll.register(pipe.fileno(), select.EPOLLIN)
    waiting: list[tuple[int, int, socket.socket, bytes, Address]] = []
    counted = 0
    while True:
        now = time.monotonic_ns()
        while waiting and waiting[0][0] <= now:
            _, _, sender, packet, remote = heapq.heappop(waiting)
            with contextlib.suppress(OSError):
                sender.sendto(packet, remote)
        wait = 0.05 if not waiting else max(0.0, (waiting[0][0] - time.monotonic_ns()) / 1e9)
        for fd, _ in poll.poll(min(wait, 0.05)):
            if fd == pipe.fileno():
                told = pipe.recv()
                if told == "stop":
                    return
                if told == "records":
                    pipe.send(sent)
                    return
                kind, number, address = told
                (far if kind == "far" else us)[number] = address
                continue
            number, down, control = known[fd]
            way = ways[number]
            while (got := _receive(sockets[fd])) is not None:
                at, data = got
                lost = not control and source.random() < way.loss
                if down and not control and len(data) >= 12:
                    seq, timestamp = struct.unpack_from("!HI", data, 2)
                    if data[1] & 0x7F == 0:
                        sent[number].append(Sent(at, seq, timestamp, lost))
                to = (far if down else us).get(number)
                if lost or to is None:
                    continue
                out = (theirs if down else ours)[number][control]
                due = at + round((way.delay_ms + source.uniform(0, way.jitter_ms)) * MS)
                counted += 1
                heapq.heappush(waiting, (due, counted, out, data, (to[0], to[1] + control)))
