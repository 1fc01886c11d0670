"""`PlayedTap`: the audio that has left, for those who need to know what the far end hears (a
recorder, an echo canceller)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from roomkit.voice.frame import AudioFrame, frame_from_media

__all__ = ["PlayedTap"]

_FRAME_MS: Final = 20
# The core counts what left in samples of the codec, rounded to whole ones where it resamples.
_ROUNDING_MS: Final = 0.25


class PlayedTap:
    """Keeps what was pushed until the core says that it left, and hands it on as frames of 20 ms
    (a playback's last may be shorter) in the rate and channels in which it was given.

    `pushed` may be called by any thread, the others on the event loop's. What waits here is bounded
    by the lead, since a source is asked for more only as its audio leaves.
    """

    def __init__(self, deliver: Callable[[AudioFrame], None]) -> None:
        self._deliver = deliver
        self._pieces: deque[_Piece] = deque()
        self._number = 0
        self._told_ms = 0.0

    def pushed(self, number: int, pcm: bytes | memoryview, sample_rate: int, channels: int) -> None:
        """Audio of playback `number` went into the core."""
        self._pieces.append(_Piece(number, bytes(pcm), sample_rate, channels))

    def left(self, number: int, played_ms: float, now_ms: float | None) -> None:
        """`played_ms` of playback `number` have left by `now_ms` of the inbound timeline."""
        if number != self._number:
            self._number, self._told_ms = number, 0.0
        while self._pieces and self._pieces[0].number < number:
            self._pieces.popleft()  # what a cancel left over
        while self._pieces and self._pieces[0].number == number:
            piece = self._pieces[0]
            samples = min(piece.sample_rate * _FRAME_MS // 1000, piece.samples)
            told_ms = self._told_ms + samples * 1000 / piece.sample_rate
            if told_ms > played_ms + _ROUNDING_MS:
                return
            at_ms = None if now_ms is None else now_ms - (played_ms - self._told_ms)
            self._told_ms = told_ms
            self._deliver(piece.take(samples, at_ms))
            if not piece.samples:
                self._pieces.popleft()

    def ended(self, number: int, played_ms: float, now_ms: float | None) -> None:
        """Playback `number` is over: what of it has not left never will."""
        self.left(number, played_ms, now_ms)
        while self._pieces and self._pieces[0].number <= number:
            self._pieces.popleft()


@dataclass(slots=True)
class _Piece:
    number: int
    pcm: bytes
    sample_rate: int
    channels: int
    taken: int = 0

    @property
    def samples(self) -> int:
        """What is left of it, per channel."""
        return (len(self.pcm) - self.taken) // (2 * self.channels)

    def take(self, samples: int, timestamp_ms: float | None) -> AudioFrame:
        size = samples * 2 * self.channels
        data = self.pcm[self.taken : self.taken + size]
        self.taken += size
        frame = frame_from_media(data, self.sample_rate, self.channels, 0.0)
        frame.timestamp_ms = timestamp_ms
        return frame
