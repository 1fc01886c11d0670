"""`Tape`: the files of one recording, as the thread that writes sees them."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from roomkit.voice.pipeline.resample import Resampler
from roomkit.voice.pipeline.samples import mono, samples_of
from roomkit.voice.pipeline.timeline import Segment
from roomkit.voice.pipeline.wavfile import HEADER_BYTES, WavFile

__all__ = ["Tape", "TapeFormat"]

# Recordings of one name; a directory with more has another trouble.
_NAMES: Final = 1000
# Files of one reel that stay open: the sides may stand on either side of a boundary.
_OPEN: Final = 2
# What a header says until the first audio tells better; nothing stands in the file then.
_NO_RATE: Final = 8000


@dataclass(frozen=True, slots=True)
class TapeFormat:
    """What a recorder's files are."""

    channels: str
    """"stereo", "mixed" or "split"."""
    sample_rate: int | None
    outbound: bool
    max_file_bytes: int
    mode: int


class Tape:
    """Puts segments into files. Places are absolute, so that whatever was lost moves nothing.

    `paths` may be read by any thread; all else is the writing thread's. Methods raise `OSError`,
    and may be called again after that: what can be opened and written later is.
    """

    def __init__(self, stem: Path, form: TapeFormat, sample_rate: int | None) -> None:
        self.paths: tuple[Path, ...] = ()
        """The files so far. Replaced whole, never changed."""
        self.stem = stem
        self._form = form
        self._rate = sample_rate
        self._is_named = False
        if form.channels == "split":
            self._reels = [_Reel(self, "-in", 1), _Reel(self, "-out", 1)][: 1 + form.outbound]
            self._tracks = [_Track(reel, 0) for reel in self._reels]
        elif form.channels == "mixed" or not form.outbound:
            self._reels = [_Reel(self, "", 1)]
            self._tracks = [_Track(self._reels[0], None) for _ in range(1 + form.outbound)]
        else:
            self._reels = [_Reel(self, "", 2)]
            self._tracks = [_Track(self._reels[0], channel) for channel in range(2)]

    def prepare(self) -> None:
        """Makes sure, as far as that goes, that it can be opened later."""
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(self.stem.parent, os.W_OK | os.X_OK):
            raise PermissionError(f"{self.stem.parent}: no file can be made there")

    def open(self) -> None:
        """Makes the first files, empty."""
        self.prepare()
        for reel in self._reels:
            reel.file(0)

    def write(self, segments: Sequence[Segment]) -> None:
        """Writes what it can of them; then raises what the first that failed did."""
        failure: OSError | None = None
        for segment in segments:
            # The caller's come first: his rate is the call's.
            self._rate = self._rate or segment.sample_rate
            try:
                self._tracks[segment.side].take(segment, self._rate)
            except OSError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def finish(self) -> None:
        """Completes the files; those in which nothing stands are removed."""
        failure: OSError | None = None
        for ends in [track.end for track in self._tracks] + [reel.close for reel in self._reels]:
            try:
                ends()
            except OSError as error:
                failure = failure or error
        self._list_files()
        if failure is not None:
            raise failure

    def _new_file(self, reel: _Reel, number: int) -> WavFile:
        if not self._is_named:
            self.stem.parent.mkdir(parents=True, exist_ok=True)
            self.stem = self._free_stem()
            self._is_named = True
        end = reel.suffix + ("" if number == 0 else f"-part{number + 1}") + ".wav"
        for again in range(1, _NAMES + 1):
            name = self.stem.name if again == 1 else f"{self.stem.name}.{again}"
            try:
                path = self.stem.with_name(name + end)
                return WavFile(path, self._rate or _NO_RATE, reel.channels, self._form.mode)
            except FileExistsError:
                continue  # another process was faster
        raise FileExistsError(f"{self.stem}{end}: {_NAMES} files have that name already")

    def _free_stem(self) -> Path:
        """The name, or the name with a number, that no other recording has."""
        for number in range(1, _NAMES + 1):
            name = self.stem.name if number == 1 else f"{self.stem.name}.{number}"
            paths = (self.stem.with_name(f"{name}{reel.suffix}.wav") for reel in self._reels)
            if not any(path.exists() or path.is_symlink() for path in paths):
                return self.stem.with_name(name)
        raise FileExistsError(f"{self.stem}: {_NAMES} recordings have that name already")

    def _list_files(self) -> None:
        self.paths = tuple(path for reel in self._reels for path in reel.paths)


class _Reel:
    """One file, and those that follow when it is full."""

    def __init__(self, tape: Tape, suffix: str, channels: int) -> None:
        self.suffix = suffix
        self.channels = channels
        self._tape = tape
        self._full = (tape._form.max_file_bytes - HEADER_BYTES) // (2 * channels)
        self._files: dict[int, WavFile] = {}

    @property
    def paths(self) -> list[Path]:
        return [self._files[number].path for number in sorted(self._files)]

    def file(self, number: int) -> WavFile:
        """The file of that number, made if it is not there."""
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = self._tape._new_file(self, number)
            self._tape._list_files()
            for older in sorted(self._files)[:-_OPEN]:
                self._files[older].rest()
        return file

    def put(self, first: int, samples: array[int], channel: int | None) -> None:
        while samples:
            number, place = divmod(first, self._full)
            part = samples[: self._full - place]
            file = self.file(number)
            if not file.frames:
                file.sample_rate = self._tape._rate or _NO_RATE
            file.put(place, part, channel)
            first += len(part)
            samples = samples[len(part) :]

    def close(self) -> None:
        for number, file in list(self._files.items()):
            file.close(keep=file.frames > 0)
            if not file.frames:
                del self._files[number]


class _Track:
    """One side's way from segments to samples of the recording."""

    def __init__(self, reel: _Reel, channel: int | None) -> None:
        self._reel = reel
        self._channel = channel  # None: added to what is there
        self._place = 0  # where the next sample of the run belongs
        self._taken = 0  # before this, every place is taken
        self._resampler: Resampler | None = None

    def take(self, segment: Segment, rate: int) -> None:
        if segment.begins:
            try:
                self.end()
            finally:
                self._place = round(segment.at_ms * rate / 1000)
                if segment.sample_rate != rate:
                    self._resampler = Resampler(segment.sample_rate, rate)
        samples = mono(samples_of(segment.data), segment.channels)
        if self._resampler is not None:
            samples = self._resampler.process(samples)
        self._put(samples)

    def end(self) -> None:
        """The run is over: what the filter still holds."""
        if self._resampler is not None:
            rest = self._resampler.flush()
            self._resampler = None
            self._put(rest)

    def _put(self, samples: array[int]) -> None:
        first = self._place
        self._place += len(samples)
        # A run that begins between two samples of the file may begin on the last one's place.
        skip = max(0, self._taken - first)
        self._taken = max(self._taken, self._place)
        if skip < len(samples):
            self._reel.put(first + skip, samples[skip:], self._channel)
