"""`AudioFrame`: one tick of audio from the caller, and where it belongs in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from roomkit.errors import shown
from roomkit.voice.base import check_pcm, check_timestamp

__all__ = ["FRAME_KINDS", "AudioFrame", "frame_from_media"]

FRAME_KINDS = ("received", "concealed", "silence", "comfort_noise")
"""What the audio of a frame is: decoded from a packet, made up for a lost one, a pause of the
sender, or noise that the sender described (RFC 3389). The position is the media core's number."""


@dataclass(slots=True)
class AudioFrame:
    """Decoded audio of one tick, as callbacks and pipeline stages receive it.

    Frames of a session are contiguous: `timestamp_ms` of one frame plus its `duration_ms` is the
    `timestamp_ms` of the next, whatever the network lost. `kind` tells what was heard from what
    was filled in.

    Raises `ValueError` (`TypeError` for `data` that is not bytes) naming the field when the
    parts do not fit together.
    """

    data: bytes
    """PCM, signed 16 bit little-endian, channels interleaved."""
    sample_rate: int = 16000
    """Samples per second and channel, 8000 to 192000."""
    channels: int = 1
    """1 to 8."""
    sample_width: int = 2
    """Bytes per sample: always 2."""
    timestamp_ms: float | None = None
    """Media time of the first sample, in ms since the session's first frame; None: not known."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """`"kind"` is one of `FRAME_KINDS` (absent: received). Stages may add their own keys: the
    dict belongs to this frame alone."""
    clock_ms: float | None = None
    """When its first sample was due on the media clock, in ms since the session opened: one clock
    for what is heard (`on_audio_received`) and what is played (`on_audio_played`); None: not
    known."""

    def __post_init__(self) -> None:
        if self.sample_width != 2:
            raise ValueError(f"sample_width: {shown(self.sample_width)}; only 2 (16 bit PCM) fits")
        self.data = check_pcm(self.data, self.sample_rate, self.channels)
        check_timestamp(self.timestamp_ms)

    @property
    def duration_ms(self) -> float:
        """Length of the audio in ms."""
        return len(self.data) / (2 * self.channels) * 1000 / self.sample_rate

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return len(self.data) // (2 * self.channels)

    @property
    def kind(self) -> str:
        """One of `FRAME_KINDS`."""
        return str(self.metadata.get("kind", "received"))


_new_frame = AudioFrame.__new__


def frame_from_media(
    data: bytes,
    sample_rate: int,
    channels: int,
    timestamp_ms: float,
    metadata: dict[str, Any] | None = None,
    clock_ms: float | None = None,
) -> AudioFrame:
    """A frame of audio that the media core made: not validated, because the core cannot make it
    wrong, and because this runs once per frame of every call.

    `metadata` becomes the frame's own: pass a fresh dict or None, never a shared one.
    """
    frame = _new_frame(AudioFrame)
    frame.data = data
    frame.sample_rate = sample_rate
    frame.channels = channels
    frame.sample_width = 2
    frame.timestamp_ms = timestamp_ms
    frame.metadata = {} if metadata is None else metadata
    frame.clock_ms = clock_ms
    return frame
