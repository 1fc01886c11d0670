"""The far ends of the benches: telephones of plain sockets, in a process of their own.

Nothing of what is measured is used here. Each telephone sends a packet of 20 ms of G.711 every
20 ms, at absolute deadlines, and notes when; when packets came in, the kernel says. What it does is
a script: a generator that is gone on with before each packet. Times are of CLOCK_MONOTONIC in ns,
as all processes of the machine see it.
"""

from __future__ import annotations

import contextlib
import heapq
import multiprocessing
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import sounds

Samples: TypeAlias = npt.NDArray[np.int16]
Script: TypeAlias = Callable[["Phone", Any], Generator[None, None, None]]

HOST = "127.0.0.1"
FRAME = 160  # samples
FRAME_NS = 20_000_000
MS = 1_000_000
_SO_TIMESTAMPNS = 35  # of Linux; Python has no name for it

# µ-law octets that are louder than -44 dB below full scale at their peak.
LOUD = 200
_DECODED = np.clip(sounds._DECODE, -32768, 32767).astype(np.int16)
_QUIET = bytes(code for code in range(256) if abs(int(_DECODED[code])) < LOUD)
_ENCODED = sounds._encode(
    np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float32) / np.float32(32768)
)


def is_loud(payload: bytes) -> bool:
    """Something of it is louder than -44 dBFS."""
    return bool(payload.translate(None, _QUIET))


def decoded(payload: bytes) -> Samples:
    """The samples of µ-law."""
    return _DECODED[np.frombuffer(payload, np.uint8)]


def encoded(samples: Samples) -> bytes:
    """Those samples as µ-law."""
    return _ENCODED[samples.view(np.uint16)].tobytes()


def samples_of(sound: sounds.Sound) -> Samples:
    """A sound as 16 bit samples."""
    return np.frombuffer(sounds.pcm(sound), "<i2").astype(np.int16)


@dataclass(slots=True)
class Saying:
    """Something that a telephone says, and when it did."""

    samples: Samples
    onset: int
    """The sample with which speech begins, and that with which it ends."""
    end: int
    tag: Any = None
    onset_ns: int = 0
    """When the packet with its onset left; 0: not yet."""
    end_ns: int = 0
    at: int = 0


@dataclass(slots=True)
class Said:
    """What is told of it afterwards."""

    tag: Any
    onset_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as the kernel received it."""

    at_ns: int
    seq: int
    timestamp: int
    marker: bool
    payload_type: int
    payload: bytes

    @property
    def loud(self) -> bool:
        return is_loud(self.payload)


@dataclass(slots=True)
class Record:
    """What a telephone has to tell at the end."""

    said: list[Said]
    packets: list[Packet]
    notes: list[Any]
    byes: list[int]
    """When the other side said good-bye."""
    latest_ms: float
    """By how much its latest packet was late: what a slow bench would do."""


class Phone:
    """One of them. For scripts: `say`, `press`, `bye`, and what was heard."""

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self.random = random.Random(seed * 1000 + number)
        self.rtp, self.rtcp = _pair()
        self.port: int = self.rtp.getsockname()[1]
        self.to: tuple[str, int] | None = None
        self.now = 0
        self.background: Samples | None = None
        """Noise that is heard all the time, again and again."""
        self.echo: tuple[int, float] | None = None
        """What comes back: after how many samples, and how loud."""
        self.reports_every_ns = 0
        self.fixed_ms = self.buffer_ms = 60.0
        """Its jitter buffer; and how long that holds a packet of late, as its reports say."""
        self.last_loud = 0
        """When the newest loud packet came."""
        self.said: list[Said] = []
        self.notes: list[Any] = []
        self.hung_up = False
        self.raw: list[tuple[int, bytes]] = []
        self.byes: list[int] = []
        self.worst = 0
        self._says: deque[Saying] = deque()
        self._keys: deque[tuple[int, int, int, int]] = deque()
        self._seq = self.random.randrange(65536)
        self._timestamp = self.random.randrange(2**32)
        self._ssrc = self.random.randrange(1, 2**32)
        self._background_at = 0
        self._heard = np.zeros(8000 * 4, np.int16)
        self._heard_base: tuple[int, int] | None = None
        self._echo_at: int | None = None
        self._report_ns = 0
        self._theirs: _Theirs | None = None

    # --- for scripts ------------------------------------------------------------------------------

    def say(
        self, samples: Samples, onset: int = 0, end: int | None = None, tag: Any = None
    ) -> None:
        """Says that after what it is saying."""
        self._says.append(Saying(samples, onset, len(samples) if end is None else end, tag))

    @property
    def saying(self) -> bool:
        return bool(self._says)

    def press(self, digit: int, packets: int = 5) -> None:
        """Presses a key for so many packets (RFC 4733)."""
        for packet in range(packets + 2):
            over = packet >= packets - 1
            duration = min(packet + 1, packets) * FRAME
            self._keys.append((digit, duration, int(over), int(packet == 0)))

    def bye(self) -> None:
        """Hangs up: BYE, and nothing any more."""
        if self.to is not None and not self.hung_up:
            header = struct.pack("!BBHIBBHI", 0x80, 201, 1, self._ssrc, 0x81, 203, 1, self._ssrc)
            with contextlib.suppress(OSError):
                self.rtcp.sendto(header, (self.to[0], self.to[1] + 1))
        self.hung_up = True

    def quiet_for(self, ms: float) -> bool:
        """Nothing loud has come for so long."""
        return self.now - self.last_loud > ms * MS

    @property
    def hears(self) -> bool:
        """Something loud came with the last packets."""
        return self.now - self.last_loud < 50 * MS

    def wait(self, ms: float) -> Generator[None, None, None]:
        until = self.now + round(ms * MS)
        while self.now < until:
            yield

    # --- each 20 ms -------------------------------------------------------------------------------

    def tick(self, due: int) -> None:
        """Reads what came and sends the next packet."""
        self.now = time.monotonic_ns()
        self._read()
        if self.hung_up or self.to is None:
            return
        if self.reports_every_ns and self.now >= self._report_ns:
            self._report_ns = self.now + self.reports_every_ns
            self._report()
        if self._keys:
            digit, duration, over, first = self._keys.popleft()
            payload = struct.pack("!BBH", digit, over << 7 | 10, duration)
            event_at = (self._timestamp - (duration - FRAME)) % 2**32
            self._send(payload, 101, event_at, bool(first))
            return
        frame = self._frame()
        at = self._send(encoded(frame), 0, self._timestamp, False)
        self.worst = max(self.worst, at - due)
        self._spoken(at)

    def record(self) -> Record:
        packets = []
        for at, data in self.raw:
            if len(data) < 12 or data[0] >> 6 != 2:
                continue
            seq, timestamp = struct.unpack_from("!HI", data, 2)
            packets.append(
                Packet(at, seq, timestamp, bool(data[1] & 0x80), data[1] & 0x7F, data[12:])
            )
        return Record(self.said, packets, self.notes, self.byes, self.worst / MS)

    def _send(self, payload: bytes, kind: int, timestamp: int, marker: bool) -> int:
        header = struct.pack("!BBHII", 0x80, kind | marker << 7, self._seq, timestamp, self._ssrc)
        at = time.monotonic_ns()
        with contextlib.suppress(OSError):
            assert self.to is not None
            self.rtp.sendto(header + payload, self.to)
        self._seq = (self._seq + 1) % 65536
        self._timestamp = (self._timestamp + FRAME) % 2**32
        return at

    def _frame(self) -> Samples:
        total = np.zeros(FRAME, np.int32)
        if self._says:
            one = self._says[0]
            part = one.samples[one.at : one.at + FRAME]
            total[: len(part)] += part
        if self.background is not None:
            at = self._background_at
            total += self.background[at : at + FRAME]
            self._background_at = at + FRAME
            if at + 2 * FRAME > len(self.background):
                self._background_at = 0
        if self.echo is not None and self._heard_base is not None:
            delay, gain = self.echo
            # In step with its own packets, whenever they leave; anew where it was away for long.
            due = (self.now - self._heard_base[0]) * 8 // MS - delay
            if self._echo_at is None or abs(due - self._echo_at) > 400:
                self._echo_at = due
            if self._echo_at >= 0:
                places = np.arange(self._echo_at, self._echo_at + FRAME) % len(self._heard)
                total += np.rint(self._heard[places] * gain).astype(np.int32)
                self._heard[places] = 0  # or it would come back again and again
            self._echo_at += FRAME
        return np.clip(total, -32768, 32767).astype(np.int16)

    def _spoken(self, at: int) -> None:
        """One packet of what it says has left."""
        if not self._says:
            return
        one = self._says[0]
        if one.at <= one.onset < one.at + FRAME:
            one.onset_ns = at
        if one.at < one.end <= one.at + FRAME:
            one.end_ns = at
        one.at += FRAME
        if one.at >= len(one.samples):
            self._says.popleft()
            self.said.append(Said(one.tag, one.onset_ns, one.end_ns or at))

    # --- what comes -------------------------------------------------------------------------------

    def _read(self) -> None:
        while (got := _receive(self.rtp)) is not None:
            at, data = got
            self.raw.append((at, data))
            if len(data) < 13 or data[1] & 0x7F != 0:
                continue
            if is_loud(data[12:]):
                self.last_loud = at
            if self.echo is not None or self.reports_every_ns:
                self._keep(at, data)
        while (got := _receive(self.rtcp)) is not None:
            self._control(*got)

    def _keep(self, at: int, data: bytes) -> None:
        seq, timestamp, ssrc = struct.unpack_from("!HII", data, 2)
        if self._heard_base is None:
            self._heard_base = (at, timestamp)
        if self._theirs is None:
            self._theirs = _Theirs(ssrc, seq)
        self._theirs.seen(seq)
        # How long its buffer of `fixed_ms` holds what came on the average.
        base_at, base_timestamp = self._heard_base
        ahead = (timestamp - base_timestamp + 2**31) % 2**32 - 2**31
        held_ms = self.fixed_ms + ahead / 8 - (at - base_at) / MS
        self.buffer_ms += (held_ms - self.buffer_ms) / 50
        if self.echo is None:
            return
        size = len(self._heard)
        index = (timestamp - self._heard_base[1]) % 2**32
        if index < 2**31:
            places = np.arange(index, index + FRAME) % size
            self._heard[places] = decoded(data[12 : 12 + FRAME])

    def _control(self, at: int, data: bytes) -> None:
        place = 0
        while place + 8 <= len(data):
            kind = data[place + 1]
            length = (struct.unpack_from("!H", data, place + 2)[0] + 1) * 4
            if kind == 200 and length >= 28 and self._theirs is not None:
                high, low = struct.unpack_from("!II", data, place + 8)
                self._theirs.report = ((high & 0xFFFF) << 16 | low >> 16, at)
            if kind == 203:
                self.byes.append(at)
            place += length

    def _report(self) -> None:
        """A receiver report with an extended one (RFC 3550 §6.4.2, RFC 3611 §4.7)."""
        if self.to is None or self._theirs is None:
            return
        theirs = self._theirs
        last, since = 0, 0
        if theirs.report is not None:
            last, came = theirs.report
            since = (time.monotonic_ns() - came) * 65536 // 1_000_000_000
        block = struct.pack("!IIIIII", theirs.ssrc, 0, theirs.highest, 0, last, since)
        report = struct.pack("!BBHI", 0x81, 201, 7, self._ssrc) + block
        name = b"\x01\x05phone\0"
        name = struct.pack("!I", self._ssrc) + name
        name += b"\0" * (-len(name) % 4)
        report += struct.pack("!BBH", 0x81, 202, len(name) // 4) + name
        buffer = max(0, round(self.buffer_ms))
        end = buffer + 20  # with the packet that it fills (§4.7.3)
        metrics = struct.pack(
            "!IBBBBHHHHBBBBBBBBBBHHH",
            theirs.ssrc, 0, 0, 0, 0, 0, 0, 0, end, 127, 127, 127, 16, 93, 127, 127, 127,
            0b00110000, 0, buffer, buffer, buffer,
        )  # fmt: skip
        metrics = struct.pack("!BBH", 7, 0, len(metrics) // 4) + metrics
        extended = struct.pack("!I", self._ssrc) + metrics
        report += struct.pack("!BBH", 0x80, 207, len(extended) // 4) + extended
        with contextlib.suppress(OSError):
            self.rtcp.sendto(report, (self.to[0], self.to[1] + 1))


@dataclass(slots=True)
class _Theirs:
    """What a telephone knows of the stream that it hears."""

    ssrc: int
    highest: int
    report: tuple[int, int] | None = None

    def seen(self, seq: int) -> None:
        ahead = (seq - self.highest) & 0xFFFF
        if 0 < ahead < 0x8000:
            self.highest += ahead


@dataclass
class Phones:
    """So many of them, in a child. Use as a context; `call` begins to send."""

    count: int
    script: Script
    told: Any = None
    seed: int = 8
    ports: list[int] = field(default_factory=list)

    def __enter__(self) -> Phones:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._child = context.Process(
            target=_run, args=(there, self.count, self.script, self.told, self.seed), daemon=True
        )
        self._child.start()
        there.close()
        self.ports = self._here.recv()
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.is_alive():
            with contextlib.suppress(OSError):
                self._here.send(("stop",))
            self._child.join(5)
        if self._child.is_alive():
            self._child.kill()
        self._here.close()

    def call(self, number: int, to: tuple[str, int]) -> None:
        """That telephone sends there, and its script begins."""
        self._here.send(("call", number, to))

    def hang(self, number: int) -> None:
        """It falls silent."""
        self._here.send(("hang", number))

    def finished(self) -> int:
        """How many scripts have come to their end since it was asked last."""
        count = 0
        while self._here.poll():
            kind, *_ = self._here.recv()
            count += kind == "done"
        return count

    def records(self) -> list[Record]:
        """Ends them all; what they have to tell."""
        self._here.send(("records",))
        while True:
            kind, *rest = self._here.recv()
            if kind == "records":
                self._child.join(10)
                found: list[Record] = rest[0]
                return found


def _run(pipe: Connection, count: int, script: Script, told: Any, seed: int) -> None:
    _exact_timers()
    phones = [Phone(number, seed) for number in range(count)]
    pipe.send([phone.port for phone in phones])
    scripts: dict[int, Generator[None, None, None]] = {}
    due: list[tuple[int, int]] = []
    looked = 0
    while True:
        now = time.monotonic_ns()
        if now - looked > 10 * MS:
            looked = now
            while pipe.poll():
                kind, *rest = pipe.recv()
                if kind == "call":
                    number, to = rest
                    phones[number].to = to
                    phones[number].now = now
                    scripts[number] = script(phones[number], told)
                    phase = phones[number].random.randrange(FRAME_NS)
                    heapq.heappush(due, (now + phase, number))
                elif kind == "hang":
                    phones[rest[0]].hung_up = True
                elif kind == "records":
                    pipe.send(("records", [phone.record() for phone in phones]))
                    return
                else:
                    return
        while due and due[0][0] <= now:
            at, number = heapq.heappop(due)
            phone = phones[number]
            if number in scripts:
                try:
                    next(scripts[number])
                except StopIteration:
                    del scripts[number]
                    pipe.send(("done", number))
            phone.tick(at)
            # After a stall of the machine it goes on in step, and bursts nothing.
            at += FRAME_NS
            late = time.monotonic_ns() - at
            if late > FRAME_NS:
                at += late // FRAME_NS * FRAME_NS
            heapq.heappush(due, (at, number))
        wait = (due[0][0] if due else now + 5 * MS) - time.monotonic_ns()
        if wait > 0:
            time.sleep(min(wait, 10 * MS) / 1e9)


def _pair() -> tuple[socket.socket, socket.socket]:
    """An even port and the next."""
    for _ in range(1000):
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            rtp.bind((HOST, 0))
            port = rtp.getsockname()[1]
            if port % 2:
                raise OSError
            rtcp.bind((HOST, port + 1))
        except OSError:
            rtp.close()
            rtcp.close()
            continue
        for one in (rtp, rtcp):
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return rtp, rtcp
    raise OSError("no two neighbouring ports are free")


def _receive(one: socket.socket) -> tuple[int, bytes] | None:
    try:
        data, ancillary, _, _ = one.recvmsg(2048, 64)
    except OSError:
        return None
    at = time.monotonic_ns()
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, ns = struct.unpack("qq", value[:16])
            # The kernel's is CLOCK_REALTIME; how far that is from ours changes slowly.
            at -= time.time_ns() - (seconds * 1_000_000_000 + ns)
    return at, data


def _exact_timers() -> None:
    """This process sleeps as exactly as the kernel can (prctl PR_SET_TIMERSLACK)."""
    import ctypes

    ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)


def percentiles(values: Sequence[float], *shares: float) -> list[float]:
    """Those percentiles; NaN where there is nothing."""
    if not values:
        return [float("nan")] * len(shares)
    return [float(each) for each in np.percentile(values, shares)]
