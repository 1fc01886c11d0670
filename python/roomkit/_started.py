"""What a `Call` starts on its channel: speech that can be cut short."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from roomkit.errors import SessionError

__all__ = ["Speech", "start_play", "start_say"]


class Speech(Protocol):
    @property
    def text(self) -> str | None: ...
    @property
    def cancelled(self) -> str | None: ...
    @property
    def played_ms(self) -> float | None: ...
    async def wait(self) -> bool: ...
    def cancel(self, reason: Any = "interrupt") -> bool: ...
    def pause(self) -> bool: ...
    def resume(self) -> bool: ...
    def heard(self) -> Any: ...


def start_say(channel: Any, session: Any, text: Any, voice: str | None, interruptible: bool) -> Any:
    if hasattr(channel, "start_say"):
        return channel.start_say(session, text, voice=voice, interruptible=interruptible)
    channel._call(session)
    return _Task(channel, session, channel.say(session, text, voice=voice), text)


def start_play(channel: Any, session: Any, audio: Any, interruptible: bool) -> Any:
    if hasattr(channel, "start_play"):
        return channel.start_play(session, audio, interruptible=interruptible)
    channel._call(session)
    return _Task(channel, session, channel.play(session, audio), None)


class _Task:
    def __init__(self, channel: Any, session: Any, work: Any, text: Any) -> None:
        self.text = text if isinstance(text, str) else None
        self.cancelled: str | None = None
        self.played_ms: float | None = None
        self._channel, self._session = channel, session
        self._task = asyncio.ensure_future(work)

    async def wait(self) -> bool:
        try:
            await asyncio.wait([self._task])
            if self._task.cancelled():
                return False
            whole: bool = self._task.result()
            if (
                not whole
                and self.cancelled is None
                and self._session.id not in self._channel._calls
            ):
                self.cancelled = "session_ended"
            elif not whole and self.cancelled is None and self.text != "":
                self.cancelled = "interrupt"
            return whole
        finally:
            try:
                position = self._channel.backend.playback_position(self._session)
                self.played_ms = position.played_ms
            except (NotImplementedError, SessionError):
                pass

    def cancel(self, reason: Any = "interrupt") -> bool:
        if self._task.done() or self.cancelled:
            return False
        self.cancelled = reason
        self._task.cancel()
        return True

    def pause(self) -> bool:
        return False

    def resume(self) -> bool:
        return False

    def heard(self) -> Any:
        return None
