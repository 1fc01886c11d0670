"""Our end of a call with another implementation: a session, and all that it heard and was told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import numpy as np

from interop import steady
from interop.peers import LOOPBACK
from interop.sound import Pcm
from roomkit.rtp import Disconnected, RTPEvent, RTPSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame

Event = TypeVar("Event")

# For a machine that is busy: peers that do not get the processor for a while are waited for, and
# neither is a test heard that does not get it. What plays holds all of a clip.
PATIENT: dict[str, Any] = {"rtcp_interval": 0.5, "jitter_ms": 500, "lead_ms": 10_000}


class Ours:
    """Collects the frames and events of a session until it is closed."""

    def __init__(self, session: RTPSession) -> None:
        self.session = session
        self.frames: list[AudioFrame] = []
        self.events: list[RTPEvent] = []
        self._news = asyncio.Event()
        session.on_frame(self._on_frame)
        session.on_event(self._on_event)
        steady.note(session)

    @property
    def heard(self) -> Pcm:
        """All audio so far, one sample after the other."""
        return np.frombuffer(b"".join(frame.data for frame in self.frames), "<i2")

    @property
    def digits(self) -> str:
        return "".join(event.digit for event in self.events if isinstance(event, DTMFEvent))

    def has_digits(self, digits: str) -> bool:
        return len(self.digits) >= len(digits)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, condition: Callable[[], bool], what: str, timeout: float = 15.0) -> None:
        """Waits until frames or events have made the condition true."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"after {timeout} s still not: {what}; {len(self.frames)} frames,"
                f" events {self.events}, {self.session.stats()}"
            ) from None

    async def bye(self, timeout: float = 15.0) -> Disconnected:
        """Waits for the far end's RTCP BYE."""
        await self.wait(lambda: bool(self.of(Disconnected)), "a BYE", timeout)
        [gone] = self.of(Disconnected)
        assert gone.reason == "bye", gone
        return gone

    async def audio(self, milliseconds: float, timeout: float = 15.0) -> None:
        """Waits for that much more audio to be delivered, whatever it is."""
        until = len(self.frames) + milliseconds / 20
        await self.wait(lambda: len(self.frames) >= until, f"{milliseconds} ms more audio", timeout)

    def assert_contiguous(self) -> None:
        """Every frame begins where the one before it ended."""
        expected = self.frames[0].timestamp_ms
        assert expected is not None
        for number, frame in enumerate(self.frames):
            assert frame.timestamp_ms is not None
            assert abs(frame.timestamp_ms - expected) < 0.01, f"frame {number} of {frame}"
            samples = len(frame.data) // (2 * frame.channels)
            expected = frame.timestamp_ms + 1000 * samples / frame.sample_rate

    def _on_frame(self, frame: AudioFrame) -> None:
        self.frames.append(frame)
        self._news.set()

    def _on_event(self, event: RTPEvent) -> None:
        self.events.append(event)
        self._news.set()


@contextlib.asynccontextmanager
async def ours(port: int, remote_port: int, **options: Any) -> AsyncIterator[Ours]:
    """A session of ours on the loopback; leaving closes it, which sends its BYE."""
    addresses: Any = {"local_addr": (LOOPBACK, port), "remote_addr": (LOOPBACK, remote_port)}
    async with RTPSession(**addresses, **{**PATIENT, **options}) as session:
        yield Ours(session)
