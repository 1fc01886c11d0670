"""The least of SIP that a call needs: to be called, to answer, to hang up (RFC 3261, over UDP).

For peers that do not speak RTP without it. One call at a time, no registration, no transactions of
our own but the BYE: on the loopback nothing is lost, and what is repeated is answered again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from interop.peers import LOOPBACK, free_ports

_SECONDS = 10.0
_TAG = "roomkit"


@dataclass(frozen=True)
class Message:
    """A request or a response."""

    start: str
    """Its first line."""
    headers: list[tuple[str, str]]
    """Names in small letters."""
    body: str
    source: tuple[str, int]

    @classmethod
    def parse(cls, data: bytes, source: tuple[str, int]) -> Message:
        head, _, body = data.decode().partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        return cls(start, headers, body, source)

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    def first(self, name: str) -> str:
        return next(value for known, value in self.headers if known == name)


class Phone:
    """A telephone that is called::

    async with Phone() as phone:
        …  # somebody dials phone.uri
        invite = await phone.invited()
        async with RTPSession.from_offer(invite.body, …) as session:
            await phone.answer(session.answer)
            …
        await phone.hang_up()
    """

    def __init__(self) -> None:
        [self.port] = free_ports(1, media=False)
        self.uri = f"sip:roomkit@{LOOPBACK}:{self.port}"
        self._messages: list[Message] = []
        self._news = asyncio.Condition()
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._invite: Message | None = None
        self._answer = b""

    async def __aenter__(self) -> Phone:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._receive), local_addr=(LOOPBACK, self.port)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*self._tasks)
        if self._transport is not None:
            self._transport.close()

    async def invited(self) -> Message:
        """The INVITE, whose body is an offer."""
        self._invite = await self._wait(lambda message: message.method == "INVITE", "an INVITE")
        return self._invite

    async def answer(self, sdp: str) -> None:
        """Takes the call with this answer, and waits for the ACK."""
        assert self._invite is not None, "there is no INVITE to answer"
        self._answer = self._response(self._invite, "200 OK", sdp)
        self._send(self._answer, self._invite.source)
        await self._wait(lambda message: message.method == "ACK", "an ACK")

    async def hang_up(self) -> None:
        """Ends the call from our side, unless the caller has, and waits until the caller knows."""
        if any(message.method == "BYE" for message in self._messages):
            return
        invite = self._invite
        assert invite is not None, "there is no call to end"
        target = re.sub(r".*<([^>]*)>.*", r"\1", invite.first("contact"))
        lines = [
            f"BYE {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {LOOPBACK}:{self.port};branch=z9hG4bK{id(invite)}",
            "Max-Forwards: 70",
            f"From: {invite.first('to')};tag={_TAG}",
            f"To: {invite.first('from')}",
            f"Call-ID: {invite.first('call-id')}",
            "CSeq: 1 BYE",
            "Content-Length: 0",
        ]
        self._send(("\r\n".join(lines) + "\r\n\r\n").encode(), invite.source)

        def confirmed(message: Message) -> bool:
            # Whatever it answers: where both hang up at once, the call does not exist any more.
            return message.method == "SIP/2.0" and "BYE" in message.first("cseq")

        await self._wait(confirmed, "the end of the call")

    # --- inside ---------------------------------------------------------------------------------

    def _receive(self, data: bytes, source: tuple[str, int]) -> None:
        if not data.strip():
            return  # a keep-alive (RFC 5626 §3.5.1)
        message = Message.parse(data, source)
        if message.method == "INVITE" and self._answer:
            self._send(self._answer, source)  # our answer is being waited for
            return
        if message.method not in ("INVITE", "ACK", "SIP/2.0"):
            self._send(self._response(message, "200 OK", ""), source)
        task = asyncio.get_running_loop().create_task(self._note(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note(self, message: Message) -> None:
        async with self._news:
            self._messages.append(message)
            self._news.notify_all()

    async def _wait(self, wanted: Callable[[Message], bool], what: str) -> Message:
        def found() -> Message | None:
            return next((each for each in self._messages if wanted(each)), None)

        try:
            async with asyncio.timeout(_SECONDS), self._news:
                while (message := found()) is None:
                    await self._news.wait()
                return message
        except TimeoutError:
            starts = [message.start for message in self._messages]
            raise AssertionError(f"no {what} in {_SECONDS} s, only {starts}") from None

    def _response(self, request: Message, status: str, sdp: str) -> bytes:
        """RFC 3261 §8.2.6."""
        copied = ("via", "from", "call-id", "cseq", "record-route")
        lines = [f"SIP/2.0 {status}"]
        lines += [f"{name}: {value}" for name, value in request.headers if name in copied]
        to = request.first("to")
        lines += [f"to: {to}" if "tag=" in to else f"to: {to};tag={_TAG}"]
        lines += [f"contact: <{self.uri}>", f"content-length: {len(sdp.encode())}"]
        if sdp:
            lines += ["content-type: application/sdp"]
        return ("\r\n".join(lines) + "\r\n\r\n" + sdp).encode()

    def _send(self, data: bytes, to: tuple[str, int]) -> None:
        assert self._transport is not None, "the phone is not plugged in"
        self._transport.sendto(data, to)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr)
