"""Two calls joined to each other, through Python: what one hears, the other is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from roomkit.errors import QueueFullError, SessionError
from roomkit.voice.base import AudioChunk
from roomkit.voice.events import DTMFDetectedEvent

if TYPE_CHECKING:
    from roomkit.call import Call
    from roomkit.voice.frame import AudioFrame

__all__ = ["Dial", "joined"]

_CUSHION_MS: Final = 40.0
"""Silence before the first frame: so much may the event loop be late with the next before anyone
hears it. After a gap there is none: what was held up comes in a burst, and is a cushion itself."""
_DIGIT_MS: Final = (40, 2000)
"""How long a key that is passed on is held: what every receiver takes (RFC 4733 §2.5.1.3 leaves it
open), and no longer than anyone holds one by intent."""


@contextlib.contextmanager
def joined(one: Call, other: Call) -> Iterator[None]:
    """While this is open, both callers hear each other."""
    with ExitStack() as stack:
        for to, of in ((one, other), (other, one)):
            stack.callback(of.on_frame(_Forward(to)))
        yield


class Dial:
    """Presses a key that the caller of one call pressed in the other."""

    def __init__(self, to: Call) -> None:
        self._to = to

    def __call__(self, event: DTMFDetectedEvent) -> None:
        low, high = _DIGIT_MS
        duration_ms = min(max(round(event.duration_ms), low), high)
        with contextlib.suppress(SessionError, QueueFullError):
            self._to.channel.send_dtmf(self._to.session, event.digit, duration_ms)


class _Forward:
    """Sends frames to a call as they come."""

    def __init__(self, to: Call) -> None:
        self._backend, self._session = to.backend, to.session
        self._begun = False

    def __call__(self, frame: AudioFrame) -> None:
        data = frame.data
        if not self._begun:
            self._begun = True
            samples = round(_CUSHION_MS * frame.sample_rate / 1000)
            data = bytes(2 * frame.channels * samples) + data
        try:
            chunk = AudioChunk(data, frame.sample_rate, frame.channels)
            self._backend.send_audio_sync(self._session, chunk)
        except SessionError:
            return  # it ends at this moment
