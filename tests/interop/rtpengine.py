"""rtpengine in user space, and its control protocol "ng": bencoded dictionaries over UDP."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from interop.peers import LOOPBACK, Peer, free_ports, port_range, require

PACKAGE = "rtpengine-daemon"
_ANSWER_SECONDS = 10.0


class RTPEngine:
    """A daemon of our own on the loopback; leaving ends it.

    ::

        async with RTPEngine(tmp_path) as engine:
            call = engine.call()
            offer = await call.offer(sdp_of_the_caller)
            answer = await call.answer(sdp_of_the_callee)
    """

    def __init__(self, path: Path, pairs: int = 40) -> None:
        # Its command line has a fixed port of its own, which another daemon may have.
        self._port, console = free_ports(2, media=False)
        first, last = port_range(pairs)
        self._peer = Peer(
            [
                *(require("rtpengine", PACKAGE), "--foreground", "--log-stderr", "--table=-1"),
                # Nothing of a daemon that may run on this machine, neither settings nor ports.
                "--config-file=none",
                *(f"--interface={LOOPBACK}", f"--listen-ng={LOOPBACK}:{self._port}"),
                f"--listen-cli={LOOPBACK}:{console}",
                *(f"--port-min={first}", f"--port-max={last}", "--num-threads=2"),
                *("--log-level=6", f"--pidfile={path / 'rtpengine.pid'}"),
            ]
        )
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[bytes, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> RTPEngine:
        await self._peer.__aenter__()
        try:
            await self._peer.line("Startup complete")
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Replies(self._waiting), remote_addr=(LOOPBACK, self._port)
            )
            assert (await self.ask("ping"))["result"] == "pong"
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            self._transport.close()
        await self._peer.stop()

    def call(self) -> Call:
        """A call that is to be set up."""
        return Call(self)

    async def ask(self, command: str, **parameters: object) -> dict[str, Any]:
        """One request and its reply."""
        assert self._transport is not None, "rtpengine has not been started"
        cookie = uuid.uuid4().hex.encode()
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[cookie] = reply
        request = {name.replace("_", "-"): value for name, value in parameters.items()}
        self._transport.sendto(cookie + b" " + bencode({"command": command, **request}))
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await reply
        assert answer["result"] in ("ok", "pong"), f"{command}: {answer}; {self._peer}"
        return answer


class Call:
    """A call between two ends, a who offers and b who answers."""

    def __init__(self, engine: RTPEngine) -> None:
        self._engine = engine
        self._names = {"call_id": uuid.uuid4().hex, "from_tag": "a"}

    async def offer(self, sdp: str, **options: object) -> str:
        """What b is offered, when a offers this."""
        reply = await self._engine.ask("offer", **self._names, sdp=sdp, ICE="remove", **options)
        return str(reply["sdp"])

    async def answer(self, sdp: str, **options: object) -> str:
        """What a is answered, when b answers this."""
        reply = await self._engine.ask(
            "answer", **self._names, to_tag="b", sdp=sdp, ICE="remove", **options
        )
        return str(reply["sdp"])

    async def play_digit(self, tag: str, digit: str, milliseconds: int) -> None:
        """Presses a key in the name of one end. The call must have been offered `inject-DTMF`."""
        await self._engine.ask(
            "play DTMF",
            call_id=self._names["call_id"],
            from_tag=tag,
            code=digit,
            duration=milliseconds,
        )

    async def delete(self) -> None:
        await self._engine.ask("delete", **self._names, delete_delay=0)


class _Replies(asyncio.DatagramProtocol):
    def __init__(self, waiting: dict[bytes, asyncio.Future[dict[str, Any]]]) -> None:
        self._waiting = waiting

    def datagram_received(self, data: bytes, addr: object) -> None:
        cookie, _, text = data.partition(b" ")
        reply = self._waiting.pop(cookie, None)
        if reply is not None and not reply.done():
            reply.set_result(bdecode(text))


def bencode(value: object) -> bytes:
    """A value of the control protocol: dictionaries, lists, numbers and texts."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in value.items()) + b"e"
    assert isinstance(value, list), value
    return b"l" + b"".join(map(bencode, value)) + b"e"


def bdecode(data: bytes) -> dict[str, Any]:
    """The dictionary of a reply."""
    value, rest = _decode(data)
    assert isinstance(value, dict), data
    assert not rest, data
    return value


def _decode(data: bytes) -> tuple[Any, bytes]:
    if data[:1] == b"i":
        number, _, rest = data[1:].partition(b"e")
        return int(number), rest
    if data[:1] in (b"d", b"l"):
        items, rest = [], data[1:]
        while rest[:1] != b"e":
            item, rest = _decode(rest)
            items.append(item)
        if data[:1] == b"l":
            return items, rest[1:]
        return dict(zip(items[::2], items[1::2], strict=True)), rest[1:]
    length, _, rest = data.partition(b":")
    return rest[: int(length)].decode(), rest[int(length) :]
