"""`EchoGuard`: our own voice that comes back is not the caller's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from roomkit.voice.frame import AudioFrame

if TYPE_CHECKING:
    from roomkit._native import EchoGuard as NativeGuard

__all__ = ["EchoGuard"]


class EchoGuard:
    """What a detector of speech is to hear of one call: the caller, also while something is played,
    and not what was played and comes back (a hybrid, a speakerphone).

    It is for the detector alone: recogniser, program and recording get the frames themselves.
    An echo may come back up to 0.8 s late, as loud as it was played or softer, by up to three ways
    at once, and its delay may move. While something is played, and for a second after it, nothing
    passes until it is known for a caller: that takes 40 ms where the call's echo is known, or
    known not to be there, and up to 240 ms in the first second of the first answer. What was held
    back is then heard first. At all other times frames pass as they are.

    Frames without `clock_ms` pass as they are, and are not remembered.
    """

    def __init__(self) -> None:
        self._native: NativeGuard | None = None
        # Of what is heard and of what is played, in Hz; 0: none came yet.
        self._rates = (0, 0)

    def played(self, frame: AudioFrame) -> None:
        """Takes a frame that has left. A change of the rate forgets what is known of the call."""
        if frame.clock_ms is None:
            return
        heard_rate = self._rates[0] or frame.sample_rate
        self._guard(heard_rate, frame.sample_rate).played(
            frame.data, frame.clock_ms, frame.channels
        )

    def process(self, frame: AudioFrame) -> AudioFrame:
        """Takes the next frame that is heard and returns what a detector is to hear in its place:
        `frame` itself, or another of the same format and time."""
        if frame.clock_ms is None:
            return frame
        if self._native is None:
            self._rates = (frame.sample_rate, 0)
            return frame
        guard = self._guard(frame.sample_rate, self._rates[1])
        data = guard.heard(frame.data, frame.clock_ms, frame.channels)
        return frame if data is None else replace(frame, data=data, metadata=dict(frame.metadata))

    def _guard(self, heard_rate: int, played_rate: int) -> NativeGuard:
        if self._native is None or self._rates != (heard_rate, played_rate):
            # Imported when it is needed: a program without calls has no use for the core.
            from roomkit._native import EchoGuard as NativeGuard

            self._rates = (heard_rate, played_rate)
            self._native = NativeGuard(heard_rate, played_rate)
        return self._native
