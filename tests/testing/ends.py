"""Both ends of a call, of the fake backend and of the real one, as one test sees them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

import pytest

from roomkit.cli import g711
from roomkit.testing import FakeBackend, NetworkPath, run, speech, words_in
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk, VoiceSession
from rtp.wire import Peer

__all__ = ["End", "FakeEnd", "RTPEnd", "on_both", "say"]


class End(ABC):
    """A backend, and what is at the far end of its one session. 20 ms of PCMU a packet, or as much
    of what sounds like it."""

    name: ClassVar[str]
    backend: VoiceBackend
    session: VoiceSession
    rtp_timeout = 0.3

    @staticmethod
    @abstractmethod
    def run(main: Coroutine[Any, Any, None]) -> None:
        """Runs a test."""

    @abstractmethod
    async def __aenter__(self) -> End: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    def another(self) -> VoiceBackend:
        """Another backend of the kind, with other sessions."""

    async def connect(self, **metadata: Any) -> VoiceSession:
        self.session = await self.backend.connect("room", "caller", "voice", metadata=metadata)
        return self.session

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        """Waits for something that announces itself to nobody."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            assert loop.time() < deadline, f"not within {seconds} s"
            await asyncio.sleep(0.005)  # sleep: the period of a bounded look

    async def passes(self, ms: float) -> None:
        """Time in which something may happen, or had better not."""
        await asyncio.sleep(ms / 1000)  # sleep: what does not happen announces itself to nobody

    @property
    def heard_text(self) -> str:
        """The words that came out at the far end."""
        return " ".join(word.text for word in words_in(AudioChunk(self.heard, 8000)))

    @property
    @abstractmethod
    def packets(self) -> int:
        """Packets of audio that arrived there."""

    @property
    @abstractmethod
    def heard(self) -> bytes:
        """What they hold, one after another, without the pauses between."""

    @property
    @abstractmethod
    def keys(self) -> str:
        """Digits that arrived there."""

    @abstractmethod
    async def speaks(self, packets: int) -> None:
        """So many packets that are no silence come from there, in real time."""

    @abstractmethod
    def presses(self, key: str) -> None:
        """A key is pressed for 100 ms there."""

    @abstractmethod
    def says_bye(self, detail: str) -> None:
        """It hangs up."""

    @abstractmethod
    def falls_silent(self) -> None:
        """Nothing comes from there any more."""


class FakeEnd(End):
    name = "fake"

    @staticmethod
    def run(main: Coroutine[Any, Any, None]) -> None:
        run(main, limit_s=60)

    async def __aenter__(self) -> End:
        self.backend = self.another()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.backend.close()

    def another(self) -> FakeBackend:
        return FakeBackend(rtp_timeout=self.rtp_timeout, path=NetworkPath(delay_ms=0, buffer_ms=0))

    async def connect(self, **metadata: Any) -> VoiceSession:
        assert isinstance(self.backend, FakeBackend)
        session = await super().connect(**metadata)
        self.caller = self.backend.caller(session)
        return session

    @property
    def packets(self) -> int:
        return len(self.heard) // 320

    @property
    def heard(self) -> bytes:
        pieces = self.caller._line.phone.heard._pieces
        return b"".join(pcm for _, pcm in pieces)

    @property
    def keys(self) -> str:
        return "".join(key.digit for key in self.caller.keys_heard)

    async def speaks(self, packets: int) -> None:
        self.caller.returns()
        await self.caller.plays(b"\x11\x22" * 160 * packets)
        await self.passes(20)

    def presses(self, key: str) -> None:
        self.caller.presses(key, duration_ms=100)

    def says_bye(self, detail: str) -> None:
        self.caller.hangs_up(detail)

    def falls_silent(self) -> None:
        self.caller.vanishes()


class RTPEnd(End):
    name = "rtp"

    @staticmethod
    def run(main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)

    async def __aenter__(self) -> End:
        self.peer = Peer()
        self.backend = self.another()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.backend.close()
        self.peer.close()

    def another(self) -> RTPVoiceBackend:
        return RTPVoiceBackend(
            local_addr=("127.0.0.1", 0),
            remote_addr=self.peer.addr,
            rtp_timeout=self.rtp_timeout,
            jitter_ms=20,
        )

    async def connect(self, **metadata: Any) -> VoiceSession:
        session = await super().connect(**metadata)
        self.addr: tuple[str, int] = session.metadata["local_addr"]
        return session

    @property
    def packets(self) -> int:
        return len(self.peer.audio_packets())

    @property
    def heard(self) -> bytes:
        packets = sorted(self.peer.audio_packets(), key=lambda each: each.at)
        codes = b"".join(packet.payload for packet in packets)
        return array("h", g711.decode("PCMU", codes)).tobytes()

    @property
    def keys(self) -> str:
        events: list[tuple[int, int]] = []
        for packet in self.peer.audio_packets(101):
            event = (packet.timestamp, packet.payload[0])
            if packet.payload[1] & 0x80 and event not in events:
                events.append(event)
        return "".join("0123456789*#ABCD"[event] for _, event in events)

    async def speaks(self, packets: int) -> None:
        await self.peer.stream(self.addr, packets)

    def presses(self, key: str) -> None:
        self.peer.digit(self.addr, "0123456789*#ABCD".index(key))

    def says_bye(self, detail: str) -> None:
        host, port = self.addr
        self.peer.bye((host, port + 1), detail)

    def falls_silent(self) -> None:
        pass


_ENDS: Final[tuple[type[End], ...]] = (FakeEnd, RTPEnd)


def on_both(behaviour: Callable[[End], Coroutine[Any, Any, None]]) -> Callable[[type[End]], None]:
    """A test of each: the one on virtual time, the other with real sockets."""

    @pytest.mark.parametrize("kind", _ENDS, ids=lambda kind: kind.name)
    def test(kind: type[End]) -> None:
        async def main() -> None:
            async with kind() as end:
                await asyncio.wait_for(behaviour(end), 20)

        kind.run(main())

    test.__name__ = behaviour.__name__
    test.__doc__ = behaviour.__doc__
    return test


def say(text: str, **options: Any) -> bytes:
    """Short words, of 120 ms and more."""
    return speech(text, per_word_ms=120, **options).data
