"""`WavFile`: a WAV file that is written at any place, and can be played at any time."""

from __future__ import annotations

import io
import os
import struct
from array import array
from operator import add
from pathlib import Path
from typing import Final

from roomkit.voice.pipeline.samples import clipped, pcm_of, samples_of

__all__ = ["HEADER_BYTES", "WavFile"]

HEADER_BYTES: Final = 44


class WavFile:
    """16 bit PCM. What was never written between two places is silence, and so is what a failed
    write was to put there: what follows keeps its place.

    Made exclusively (`FileExistsError`), readable by its owner alone unless `mode` says otherwise.
    Used by one thread. Methods raise `OSError`.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, mode: int = 0o600) -> None:
        self.path = path
        self.frames = 0
        """How far it is written, in samples per channel."""
        self.sample_rate = sample_rate
        self._channels = channels
        self._file = open_exclusively(path, mode)
        self._rests = False
        try:
            self._write_header()
        except BaseException:
            self.close(keep=False)
            raise

    def put(self, first: int, samples: array[int], channel: int | None) -> None:
        """Writes one channel from sample `first` on, and leaves the others as they are; None: adds
        it to what is there."""
        if self._rests:
            self._file = io.FileIO(self.path, "r+b")
            self._rests = False
        place = HEADER_BYTES + first * 2 * self._channels
        size = len(samples) * 2 * self._channels
        if channel is not None and self._channels == 1:
            self._write_at(place, pcm_of(samples))
        else:
            there = self._read_at(place, size)
            if channel is not None:
                there[channel :: self._channels] = samples
            elif any(there):
                there = clipped(map(add, there, samples))
            else:
                there = samples
            self._write_at(place, pcm_of(there))
        if first + len(samples) > self.frames:
            self.frames = first + len(samples)
            # After the audio, so that it never promises what is not there.
            self._write_header()

    def rest(self) -> None:
        """Gives the descriptor back until there is more to write."""
        self._file.close()
        self._rests = True

    def close(self, keep: bool = True) -> None:
        """Gives the file back, and removes it unless it is to be kept. Idempotent."""
        self._file.close()
        if not keep:
            self.path.unlink(missing_ok=True)

    def _write_header(self) -> None:
        size = self.frames * 2 * self._channels
        self._write_at(0, wav_header(self.sample_rate, self._channels, size))

    def _read_at(self, place: int, size: int) -> array[int]:
        self._file.seek(place)
        found = bytearray()
        while len(found) < size:
            more = self._file.read(size - len(found))
            if not more:
                break
            found += more
        return samples_of(bytes(found).ljust(size, b"\0"))

    def _write_at(self, place: int, data: bytes) -> None:
        self._file.seek(place)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]


def open_exclusively(path: Path, mode: int) -> io.FileIO:
    """A new file, unbuffered: what is written is the system's at once, whatever becomes of us."""
    return io.FileIO(
        path,
        "x+b",
        opener=lambda name, flags: os.open(name, flags | getattr(os, "O_BINARY", 0), mode),
    )


def wav_header(sample_rate: int, channels: int, size: int) -> bytes:
    """The 44 bytes before `size` bytes of 16 bit PCM."""
    width = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, channels),
        *(sample_rate, sample_rate * width, width, 16, b"data", size),
    )
