"""`Mouth`: what a `Call` says and plays, and what cuts it short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, Literal

from roomkit._calls.ears import Ears
from roomkit._calls.outcomes import Cut, Played, Said
from roomkit.errors import CallEnded, SessionError, shown
from roomkit.voice.base import VoiceSession

if TYPE_CHECKING:
    from roomkit.voice._speaking import Speech
    from roomkit.voice.channel import VoiceChannel

__all__ = ["Mouth", "StopOn", "check_stop_on"]

StopOn = Literal["key", "voice"]
"""What the caller does that stops a playback."""

_ENDING_SECONDS: Final = 5.0
"""How long the end of a call may take to be told once the channel knows nothing of it any more."""


class Mouth:
    """Playbacks of one call that its program has begun, in order."""

    def __init__(self, channel: VoiceChannel, session: VoiceSession, ears: Ears) -> None:
        self._channel, self._session, self._ears = channel, session, ears
        self._plays: list[_Play] = []

    async def say(
        self, text: Any, voice: str | None, stop_on: frozenset[StopOn], interruptible: bool
    ) -> Said:
        """Says it, to the end or until it is cut short."""
        play = await self._perform(
            "say anything",
            lambda: self._channel.start_say(
                self._session, text, voice=voice, interruptible=interruptible
            ),
            stop_on,
        )
        speech = play.speech
        return Said(speech.text or "", play.cut, speech.played_ms, speech.heard())

    async def play(self, audio: Any, stop_on: frozenset[StopOn], interruptible: bool) -> Played:
        """Plays it, to the end or until it is cut short."""
        play = await self._perform(
            "play anything",
            lambda: self._channel.start_play(self._session, audio, interruptible=interruptible),
            stop_on,
        )
        return Played(play.cut, play.speech.played_ms)

    def stop(self, by: StopOn) -> None:
        """The caller did that: what it stops is silent before the next packet leaves."""
        for play in self._plays:
            if by in play.stop_on:
                play.speech.cancel(by)

    @property
    def playing(self) -> bool:
        """Something is played, whoever plays it."""
        return self._speech() is not None

    def pause(self) -> bool:
        """Holds back what plays, whoever plays it; True if that was possible."""
        speech = self._speech()
        return speech is not None and speech.pause()

    def resume(self) -> bool:
        """Goes on with it; True if it was held back."""
        speech = self._speech()
        return speech is not None and speech.resume()

    async def check_up(self, doing: str) -> None:
        """Raises `CallEnded` if the call is over."""
        if self._ears.over:
            # A program that goes on asking must not stop the world.
            await asyncio.sleep(0)
            raise CallEnded(self._session.id, self._ears.reason or "ended", doing)

    def _speech(self) -> Speech | None:
        try:
            return self._channel.speech(self._session)
        except SessionError:
            return None  # the call is over

    async def _perform(
        self, doing: str, start: Callable[[], Speech], stop_on: frozenset[StopOn]
    ) -> _Play:
        await self.check_up(doing)
        try:
            play = _Play(start(), stop_on)
        except SessionError:
            await self._raise_ended(doing)
            raise
        self._plays.append(play)
        self._ears.busy(play, True)
        try:
            play.whole = await play.speech.wait()
        except asyncio.CancelledError:
            play.speech.cancel("interrupt")
            raise
        except SessionError:
            await self._raise_ended(doing)
            raise
        finally:
            self._plays.remove(play)
            self._ears.busy(play, False)
        return play

    async def _raise_ended(self, doing: str) -> None:
        """Raises `CallEnded` if it fails because the call is ending, which is told in a moment."""
        if self._session.ended or self._session.id not in self._channel.backend.sessions:
            await self._ears.until(lambda: self._ears.over, _ENDING_SECONDS)
            raise CallEnded(self._session.id, self._ears.reason or "ended", doing) from None


class _Play:
    def __init__(self, speech: Speech, stop_on: frozenset[StopOn]) -> None:
        self.speech = speech
        self.stop_on = stop_on
        self.whole = False

    @property
    def cut(self) -> Cut | None:
        match self.speech.cancelled:
            case "key" | "voice" as by:
                return by
            case "barge_in":
                return "voice"
            case "session_ended":
                return "end"
            case None:
                return None if self.whole else "blocked"
            case _:
                return "interrupt"


def check_stop_on(stop_on: Collection[str], interruptible: bool) -> frozenset[StopOn]:
    """`stop_on` as a set. Raises `ValueError`."""
    stops = frozenset([stop_on] if isinstance(stop_on, str) else stop_on)
    if not stops <= {"key", "voice"}:
        raise ValueError(f"stop_on: {shown(stop_on)}; 'key', 'voice', or several of them, fits")
    if "voice" in stops and not interruptible:
        raise ValueError("stop_on: 'voice' does not go with interruptible=False")
    return stops  # type: ignore[return-value]
