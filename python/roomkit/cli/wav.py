"""WAV files: read whatever a telephone person has lying about, write what was heard.

Reads PCM of 8, 16, 24 and 32 bits, float, and G.711 (Asterisk and Wireshark write both laws), plain
or in the extensible form, and tolerates a header whose length fields were never filled in, as
recorders leave them when they are killed.
"""

from __future__ import annotations

import struct
import sys
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from roomkit.cli import g711

__all__ = ["Audio", "Recorder", "WavError", "read", "samples_of", "write"]


class WavError(ValueError):
    """The file is not a WAV file that can be used; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound in memory: 16 bit samples, channels interleaved."""

    samples: array[int]
    sample_rate: int
    channels: int = 1

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.channels / self.sample_rate

    def pcm(self) -> bytes:
        """The samples as little-endian bytes, the form in which roomkit plays them."""
        return _swapped(self.samples).tobytes()

    def mono(self) -> Audio:
        """One channel: the mean of all."""
        if self.channels == 1:
            return self
        parts = [self.samples[n :: self.channels] for n in range(self.channels)]
        mixed = array("h", [sum(frame) // self.channels for frame in zip(*parts, strict=False)])
        return Audio(mixed, self.sample_rate)


def read(path: str | Path) -> Audio:
    """The sound in a WAV file.

    Raises `WavError` when the file is missing, is not WAV, holds no sound, or an encoding other
    than those named above.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WavError(f"{path}: {error.strerror or error}") from None
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise WavError(f"{path}: not a WAV file (it does not begin with RIFF … WAVE)")
    chunks: dict[bytes, bytes] = {}
    for name, body in _chunks(content):
        chunks.setdefault(name, body)
    if len(chunks.get(b"fmt ", b"")) < 16:
        raise WavError(f"{path}: the WAV header has no usable format chunk")
    if b"data" not in chunks:
        raise WavError(f"{path}: the WAV file has no data chunk")
    return _convert(path, chunks[b"fmt "], chunks[b"data"])


def write(path: str | Path, samples: array[int], sample_rate: int, channels: int = 1) -> None:
    """Writes 16 bit PCM. Raises `OSError` when the file cannot be made."""
    with Recorder(path, sample_rate, channels) as recorder:
        recorder.add(_swapped(samples).tobytes())


def samples_of(pcm: bytes | bytearray | memoryview) -> array[int]:
    """Little-endian 16 bit PCM as an array of numbers."""
    samples = array("h")
    samples.frombytes(pcm)
    return _swapped(samples)


class Recorder:
    """A WAV file that grows: `add` what comes; `close` completes its header."""

    def __init__(self, path: str | Path, sample_rate: int, channels: int = 1) -> None:
        """Creates the file at once, so that a path that cannot be written fails before the call.

        Raises `OSError`.
        """
        self.path = Path(path)
        self._file = wave.open(str(self.path), "wb")  # noqa: SIM115 (closed by close)
        self._file.setnchannels(channels)
        self._file.setsampwidth(2)
        self._file.setframerate(sample_rate)

    def add(self, pcm: bytes) -> None:
        """Appends little-endian 16 bit PCM."""
        # Raw: the header's length is written once, on close, and not after each 20 ms.
        self._file.writeframesraw(pcm)

    @property
    def seconds(self) -> float:
        """What was recorded so far."""
        return self._file.tell() / self._file.getframerate()

    def close(self) -> None:
        """Completes the header. May be called again."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(content):
        name = content[at : at + 4]
        (length,) = struct.unpack_from("<I", content, at + 4)
        if name == b"data" and length in (0, 0xFFFFFFFF):
            length = len(content)  # a recorder that was killed, or that wrote to a pipe
        yield name, content[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def _convert(path: Path, header: bytes, data: bytes) -> Audio:
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", header)
    if kind == 0xFFFE and len(header) >= 26:
        (kind,) = struct.unpack_from("<H", header, 24)  # the sub-format begins with the plain one
    if not 1 <= channels <= 8 or not 1000 <= rate <= 384_000:
        raise WavError(f"{path}: {channels} channels at {rate} Hz make no sense")
    samples = _samples(kind, bits, data)
    if samples is None:
        raise WavError(
            f"{path}: encoding {kind} with {bits} bits is not supported;"
            " PCM of 8, 16, 24 or 32 bits, 32 bit float, A-law and µ-law are"
            " (sox IN -b 16 OUT.wav makes one)"
        )
    del samples[len(samples) - len(samples) % channels :]
    if not samples:
        raise WavError(f"{path}: the WAV file holds no sound")
    return Audio(samples, rate, channels)


def _samples(kind: int, bits: int, data: bytes) -> array[int] | None:
    """16 bit samples of any supported encoding; None for others. A sample cut off at the end is
    left out."""
    match kind, bits:
        case (1, 16):
            return samples_of(data[: len(data) & ~1])
        case (1, 8):
            return array("h", [(byte - 128) << 8 for byte in data])
        case (1, 24):  # the upper two bytes of each three
            whole = data[: len(data) // 3 * 3]
            upper = bytearray(len(whole) // 3 * 2)
            upper[0::2], upper[1::2] = whole[1::3], whole[2::3]
            return samples_of(upper)
        case (1, 32):
            whole = data[: len(data) & ~3]
            upper = bytearray(len(whole) // 2)
            upper[0::2], upper[1::2] = whole[2::4], whole[3::4]
            return samples_of(upper)
        case (3, 32):
            numbers = struct.unpack(f"<{len(data) // 4}f", data[: len(data) & ~3])
            return array("h", [_clip(number) for number in numbers])
        case (6, 8):
            return g711.decode("PCMA", data)
        case (7, 8):
            return g711.decode("PCMU", data)
    return None


def _clip(number: float) -> int:
    # The comparison is written so that NaN becomes silence.
    return round(max(-32768.0, min(32767.0, number * 32768))) if number == number else 0


def _swapped(samples: array[int]) -> array[int]:
    """Between this machine's byte order and the little-endian one of WAV and of roomkit's PCM."""
    if sys.byteorder == "big":  # pragma: no cover
        samples = samples[:]
        samples.byteswap()
    return samples
