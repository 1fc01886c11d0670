"""Asterisk's REST interface (ARI): requests over HTTP, its events over a WebSocket (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from types import TracebackType
from typing import Any, TypeAlias

from interop.peers import LOOPBACK

Event: TypeAlias = dict[str, Any]

APP = "roomkit"
USER, PASSWORD = "bot", "secret"


class ARI:
    """One application: what it asks for, and all that it was told.

    ::

        async with ARI(port) as ari:
            channel = await ari.post("channels/externalMedia", external_host=…, format="ulaw")
            await ari.event("StasisStart", channel["id"])
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.events: list[Event] = []
        self._news = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> ARI:
        reader, self._writer = await asyncio.open_connection(LOOPBACK, self._port)
        key = base64.b64encode(os.urandom(16)).decode()
        self._writer.write(
            f"GET /ari/events?app={APP}&api_key={USER}:{PASSWORD} HTTP/1.1\r\n"
            f"Host: {LOOPBACK}:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ari\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._reading is not None
        assert self._writer is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()

    async def get(self, path: str, **query: object) -> Any:
        return await asyncio.to_thread(self._ask, "GET", path, query)

    async def post(self, path: str, **query: object) -> Any:
        return await asyncio.to_thread(self._ask, "POST", path, query)

    async def delete(self, path: str, **query: object) -> Any:
        return await asyncio.to_thread(self._ask, "DELETE", path, query)

    def of(self, kind: str, subject: str) -> list[Event]:
        """All events of that type so far about that channel, playback, recording or bridge."""
        return [
            event
            for event in self.events
            if event["type"] == kind
            and any(
                subject in (thing.get("id"), thing.get("name"))
                for thing in event.values()
                if isinstance(thing, dict)
            )
        ]

    async def event(self, kind: str, subject: str, count: int = 1, timeout: float = 15) -> Event:
        """Waits for the `count`-th event of that type about that subject."""
        try:
            async with asyncio.timeout(timeout), self._news:
                while len(found := self.of(kind, subject)) < count:
                    assert self._reading is not None
                    assert not self._reading.done(), "Asterisk has closed the WebSocket"
                    await self._news.wait()
                return found[count - 1]
        except TimeoutError:
            told = [event["type"] for event in self.events]
            raise AssertionError(
                f"after {timeout} s no {kind} of {subject}; told: {told}"
            ) from None

    def _ask(self, method: str, path: str, query: dict[str, object]) -> Any:
        fields = urllib.parse.urlencode({**query, "api_key": f"{USER}:{PASSWORD}"})
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self._port}/ari/{path}?{fields}", method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            told = error.read().decode(errors="replace")
            raise AssertionError(f"{method} {path} {query}: {error.code} {told}") from None
        return json.loads(body) if body else None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Text messages, whole or in fragments; pings are left unanswered, since none is sent."""
        message = b""
        try:
            while True:
                first, length = await reader.readexactly(2)
                if length >= 126:
                    size = await reader.readexactly(2 if length == 126 else 8)
                    length = int.from_bytes(size, "big")
                data = await reader.readexactly(length)
                if first & 0x0F > 2:  # a control frame
                    continue
                message += data
                if first & 0x80:
                    async with self._news:
                        self.events.append(json.loads(message))
                        self._news.notify_all()
                    message = b""
        except asyncio.IncompleteReadError:
            async with self._news:
                self._news.notify_all()
