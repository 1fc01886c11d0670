"""`Take`: what a caller says from now on, taken down from the frames of his call."""

from __future__ import annotations

import logging
import math
import sys
import wave
from array import array
from collections.abc import Sequence
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roomkit._calls.outcomes import Recorded
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame

if TYPE_CHECKING:
    from roomkit._calls.ears import Ears
    from roomkit._calls.keys import Press

__all__ = ["Take", "joined", "level_db", "write_wav"]

_log = logging.getLogger("roomkit.call")

_QUIET_DB: Final = -50.0
"""Below this nobody speaks: quieter than a whisper into a telephone, louder than the noise of a
line that is in order."""
_MARGIN_MS: Final = 100.0
"""Kept before the first loud frame and behind the last: consonants are quiet."""


class Take:
    """Takes frames, in order, until one of the keys `ends` is pressed from now on, all was quiet
    for `silence` seconds, or there are `max_seconds`.

    The first frame gives the rate and channels; frames of others, which come when a codec is
    changed in mid-call, are left out.
    """

    def __init__(self, ears: Ears, ends: str, max_seconds: float, silence: float | None) -> None:
        self._ears = ears
        self._ends = ends
        self._since = ears.keys.pressed
        self._max_ms = max_seconds * 1000
        self._silence_ms = None if silence is None else silence * 1000
        self.taken_ms = 0.0
        """Length so far."""
        self.quiet_ms = 0.0
        """How long it has been quiet."""
        self._frames: list[bytes] = []
        self._format: tuple[int, int] | None = None
        self._loud: tuple[float, float] | None = None  # ms from, to
        self._left_out = False

    def add(self, frame: AudioFrame) -> None:
        """The next frame."""
        here = (frame.sample_rate, frame.channels)
        if self._format is None:
            self._format = here
        elif here != self._format:
            if not self._left_out:
                _log.warning(
                    "record: the audio changed from %d to %d Hz, which is left out",
                    self._format[0],
                    frame.sample_rate,
                )
            self._left_out = True
            return
        began_ms = self.taken_ms
        self._frames.append(frame.data)
        self.taken_ms += frame.duration_ms
        if level_db(frame.data) > _QUIET_DB:
            self.quiet_ms = 0.0
            self._loud = (self._loud[0] if self._loud else began_ms, self.taken_ms)
        else:
            self.quiet_ms += frame.duration_ms
        if self.ended:
            self._ears.wake()

    @property
    def press(self) -> Press | None:
        """The key that ended it."""
        return self._ears.keys.first_of(self._ends, self._since)

    @property
    def ended(self) -> bool:
        """Nothing more is to be taken."""
        return self._was_quiet or self.taken_ms >= self._max_ms or self.press is not None

    @property
    def _was_quiet(self) -> bool:
        return (
            self._silence_ms is not None
            and self.quiet_ms >= self._silence_ms
            and not self._ears.speaking
        )

    def audio(self) -> AudioChunk:
        """All of it without the quiet before and behind; empty if all was quiet."""
        rate, channels = self._format or (8000, 1)
        if self._loud is None:
            return AudioChunk(b"", rate, channels)
        low, high = (
            2 * channels * max(0, round(ms * rate / 1000))
            for ms in (self._loud[0] - _MARGIN_MS, self._loud[1] + _MARGIN_MS)
        )
        return AudioChunk(b"".join(self._frames)[low:high], rate, channels)

    def recorded(self, audio: AudioChunk, path: Path | None) -> Recorded:
        """What it came to. The key that ended it is taken."""
        if (press := self.press) is not None:
            self._ears.keys.remove(press)
            return Recorded(audio, "key", press.digit, path)
        if self._ears.over:
            return Recorded(audio, "hangup", None, path)
        return Recorded(audio, "silence" if self._was_quiet else "time", None, path)


def level_db(pcm: bytes) -> float:
    """Root mean square of 16 bit samples, in dB below full scale; −96 for silence and nothing."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    power = sum(map(mul, samples, samples))
    return 10 * math.log10(power / (len(samples) * 32768.0**2)) if power else -96.0


def joined(chunks: Sequence[AudioChunk]) -> AudioChunk:
    """Several in one; where their rates differ, the last of one rate."""
    if not chunks:
        return AudioChunk(b"", 8000)
    last = chunks[-1]
    same = []
    for chunk in reversed(chunks):
        if (chunk.sample_rate, chunk.channels) != (last.sample_rate, last.channels):
            break
        same.append(chunk.data)
    return AudioChunk(b"".join(reversed(same)), last.sample_rate, last.channels)


def write_wav(path: Path, audio: AudioChunk) -> None:
    """Writes a WAV file, in place only when it is whole. Raises `OSError`."""
    part = path.with_name(f"{path.name}.part")
    try:
        with wave.open(str(part), "wb") as file:
            file.setnchannels(audio.channels)
            file.setsampwidth(2)
            file.setframerate(audio.sample_rate)
            file.writeframes(audio.data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
