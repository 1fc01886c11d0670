"""`WavRecorder`: both sides of every call as WAV files on one timeline."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import wave
from array import array
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import RecorderProvider, Recording

__all__ = ["WavRecorder"]

_log = logging.getLogger("roomkit.voice.recorder")

# A disk is written to once a second of audio, and may lag by thirty before audio is dropped.
_BLOCK_MS = 1000.0
_MAX_BLOCKS_WAITING = 30
# Times are sums of floats: less than this between the end of a frame and the next is no gap.
_SAME_PLACE_MS = 1.0
# WAV sizes are 32 bit; stopping at 2 GiB keeps readers content that take them for signed.
_MAX_BYTES = 2**31 - 2**20


class WavRecorder(RecorderProvider):
    """Writes `<session id>-in.wav` and, once something was played, `<session id>-out.wav` into
    `directory` (made if missing), 16 bit PCM: the caller in the rate of the call, the other side in
    the rate of what is played first. `session.metadata["recordings"]` names the files at the end.

    Both begin with the session, so they can be laid over each other: gaps are silence of their
    length. Files are written by a thread, about once a second, and their headers are right after
    every write: of a process that dies, all but the last second can be played. A disk that hangs
    for more than 30 s loses audio of the recording (counted, logged), never of the call.
    `outbound=False` records the caller alone.
    """

    def __init__(self, directory: str | PathLike[str], *, outbound: bool = True) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._outbound = outbound

    def open(self, session: VoiceSession) -> Recording:
        # Ids are uuids as a rule; whatever else an application chose must stay in the directory.
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", session.id).lstrip(".") or "_"
        return _WavRecording(self._directory / stem, self._outbound)


class _WavRecording(Recording):
    def __init__(self, stem: Path, outbound: bool) -> None:
        # One thread of its own, so that blocks of a file keep their order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="roomkit-recorder")
        self._in = _Track(stem.with_name(stem.name + "-in.wav"), self._thread)
        self._out = _Track(stem.with_name(stem.name + "-out.wav"), self._thread)
        self._outbound = outbound
        self._closed = False

    def inbound(self, frame: AudioFrame, at_ms: float) -> None:
        if not self._closed:
            self._in.add(frame.data, frame.sample_rate, frame.channels, at_ms)

    def outbound(self, chunk: AudioChunk, at_ms: float) -> None:
        if self._outbound and not self._closed:
            self._out.add(chunk.data, chunk.sample_rate, chunk.channels, at_ms)

    async def close(self) -> Sequence[Path]:
        tracks = [track for track in (self._in, self._out) if track.used]
        if not self._closed:
            self._closed = True
            waiting = [asyncio.wrap_future(track.finish()) for track in tracks]
            try:
                await asyncio.gather(*waiting)
            finally:
                self._thread.shutdown(wait=False)
        return [track.path for track in tracks]


class _Track:
    """One file: places audio on the timeline, collects a block, hands it to the thread."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor) -> None:
        self.path = path
        self.used = False
        self.dropped = 0
        self._thread = thread
        self._rate = self._channels = 0
        self._block = bytearray()
        self._position = 0  # samples per channel that were placed so far
        self._gap = 0  # bytes of silence before the block
        self._waiting = 0
        self._full = False
        self._raw: BinaryIO | None = None  # these two are the thread's
        self._file: wave.Wave_write | None = None

    def add(self, data: bytes, rate: int, channels: int, at_ms: float) -> None:
        if not data or self._full:
            return
        if not self.used:
            self.used = True
            self._rate, self._channels = rate, channels
        elif (rate, channels) != (self._rate, self._channels):
            data = _convert(data, rate, channels, self._rate, self._channels)
        width = 2 * self._channels
        place = round(at_ms * self._rate / 1000)
        ahead = place - self._position
        if abs(ahead) * 1000 < _SAME_PLACE_MS * self._rate:
            ahead = 0
        if ahead < 0:
            # It overlaps what is written: only the rest is new.
            data = data[-ahead * width :]
        elif ahead > 0:
            self._flush()
            self._gap = ahead * width
        self._block += data
        self._position += max(0, ahead) + len(data) // width
        if len(self._block) >= _BLOCK_MS * self._rate / 1000 * width:
            self._flush()

    def finish(self) -> Future[None]:
        self._flush(last=True)
        return self._thread.submit(self._close)

    def _flush(self, last: bool = False) -> None:
        if not self._block and not self._gap:
            return
        if self._position * 2 * self._channels > _MAX_BYTES:
            self._full = True
            _log.warning("%s: recording stopped at 2 GiB", self.path)
        elif self._waiting >= _MAX_BLOCKS_WAITING and not last:
            # Dropped audio becomes silence of its length: what follows keeps its place.
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("%s: the disk does not keep up, audio is left out", self.path)
            self._gap += len(self._block)
            self._block.clear()
            return
        else:
            self._waiting += 1
            self._thread.submit(self._write, self._gap, bytes(self._block))
        self._gap = 0
        self._block.clear()

    # --- on the thread ------------------------------------------------------------------------

    def _write(self, gap: int, data: bytes) -> None:
        try:
            if self._file is None:
                self._raw = self.path.open("wb")
                self._file = wave.open(self._raw, "wb")  # noqa: SIM115 (closed by _close)
                self._file.setparams((self._channels, 2, self._rate, 0, "NONE", ""))
            while gap > 0:
                silence = min(gap, 1 << 20)
                self._file.writeframesraw(bytes(silence))
                gap -= silence
            # `writeframes` puts the sizes in the header right.
            self._file.writeframes(data)
            if self._raw is not None:
                self._raw.flush()
        except Exception:  # noqa: BLE001 (a full disk must not end the thread)
            _log.exception("%s: cannot be written", self.path)
        finally:
            self._waiting -= 1

    def _close(self) -> None:
        if self._file is not None and self._raw is not None:
            self._file.close()
            self._raw.close()


def _convert(data: bytes, rate: int, channels: int, to_rate: int, to_channels: int) -> bytes:
    """Another format for a recording: mixed to mono where channels differ, rate by averaging down
    and interpolating linearly up. Good enough to hear what was said; the call itself is resampled
    by the media core."""
    samples = _native_order(array("h", data))
    mono = [sum(samples[i : i + channels]) // channels for i in range(0, len(samples), channels)]
    count = len(mono) * to_rate // rate
    out = array("h")
    step = rate / to_rate
    for n in range(count):
        at = n * step
        low = int(at)
        if step > 1:
            window = mono[low : max(low + 1, int(at + step))]
            value = sum(window) // len(window)
        else:
            high = min(low + 1, len(mono) - 1)
            value = int(mono[low] + (mono[high] - mono[low]) * (at - low))
        out.extend([value] * to_channels)
    return _native_order(out).tobytes()


def _native_order(samples: array[int]) -> array[int]:
    """Between little-endian and this machine's order: the same both ways."""
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
