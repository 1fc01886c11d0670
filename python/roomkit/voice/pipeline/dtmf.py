"""`GoertzelDTMF`: finds digits in the audio itself (ITU-T Q.23, Q.24)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import DTMFDetector

if TYPE_CHECKING:
    from roomkit._native import DTMFDetector as NativeDetector

__all__ = ["GoertzelDTMF"]


class GoertzelDTMF(DTMFDetector):
    """The core's detector as a pipeline stage, for backends that do not listen for tones::

        AudioPipelineConfig(dtmf=GoertzelDTMF())

    It takes frames of 8 to 192 kHz, mono or not, and finds digits of 40 ms and more with pauses of
    40 ms and more, each tone from -3 to -30 dBm0, up to 1.5 % off its frequency and up to 8 dB
    stronger than the other. A digit is told some 40 ms after its end; its confidence is below 1.

    An `RTPSession` with `dtmf_inband=True` does the same in the core, without a stage.
    """

    def __init__(self) -> None:
        self._native: NativeDetector | None = None
        self._format = (0, 0)

    def process(self, frame: AudioFrame) -> Sequence[DTMFEvent]:
        """Takes the next frame; the digits that are complete with it."""
        found = []
        if self._native is None or self._format != (frame.sample_rate, frame.channels):
            # Imported when it is needed: a program without calls has no use for the core.
            from roomkit._native import DTMFDetector as NativeDetector

            if self._native is not None:
                found = self._native.finish()
            self._format = (frame.sample_rate, frame.channels)
            self._native = NativeDetector(*self._format)
        found += self._native.process(frame.data)
        return [DTMFEvent(key, length, confidence) for key, _, length, confidence in found]

    def new_session(self) -> Self:
        """A detector for another call, which has heard nothing yet."""
        return type(self)()
