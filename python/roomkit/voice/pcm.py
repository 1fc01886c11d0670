"""16 bit PCM as programs hand it over: what it is, what it is not, and samples cut in two."""

from __future__ import annotations

import array
import logging
import re
import sys
from typing import Any, Final

from roomkit.errors import shown

__all__ = ["SampleJoiner", "is_buffer", "pcm_bytes", "refuse_container"]

_log = logging.getLogger("roomkit.voice.pcm")

_OCTETS: Final = ("B", "c")
"""Formats of items (`struct`) that are bytes of PCM, whatever they hold."""
_NAMES: Final = {
    "b": "int8",
    "H": "uint16",
    "i": "int32",
    "I": "uint32",
    "l": "int64" if array.array("l").itemsize == 8 else "int32",
    "q": "int64",
    "e": "float16",
    "f": "float32",
    "d": "float64",
    "?": "bool",
}
_FLOATS: Final = ("e", "f", "d")

# Files in the place of PCM would be a second of noise and then the audio, in the wrong format. Each
# pattern has 40 bits and more, so that no audio ever looks like it.
_CONTAINER: Final = re.compile(
    rb"(?=[RFOfI\x1a\0.])(?:"  # nearly all audio ends here
    rb"(?P<WAV>(?:RIFF|RIFX|RF64)....WAVE)"
    rb"|(?P<AIFF>FORM....AIF[FC])"
    rb"|(?P<Ogg>OggS\0[\0-\7]\0{8})"
    rb"|(?P<FLAC>fLaC[\0\x80]\0\0\x22)"
    rb"|(?P<MP3>ID3[\2-\4]\0[\0-\xf0][\0-\x0f][\0-\x7f]{3})"
    rb"|(?P<WebM>\x1aE\xdf\xa3.{1,8}B\x86\x81)"
    rb"|(?P<MP4>\0\0\0.ftyp[ -~]{4})"
    rb"|(?P<AU>\.snd\0\0\0.{5}\0\0\0.))",
    re.DOTALL,
)
# Of MPEG 1 and MPEG 2, layer III; 0 is a rate that no frame has.
_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_LONGEST: Final = 20
_BEGINNINGS: Final = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"FORM",
    b"OggS",
    b"fLaC",
    b"ID3",
    b"\x1aE\xdf\xa3",
)


def is_buffer(item: object) -> bool:
    """Whether it lends its memory, as bytes and arrays do."""
    try:
        memoryview(item).release()  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return False
    return True


def pcm_bytes(data: Any, name: str, channels: int = 1) -> bytes:
    """`data` as bytes of 16 bit little-endian PCM: a copy, unless it cannot change.

    Bytes, and buffers of bytes, are that already; items of 16 bits are brought into order. Raises
    `TypeError` for what is no buffer, `ValueError` for items that are no 16 bit samples, planar
    channels, and for a file in the place of its audio.
    """
    pcm = data if type(data) is bytes else _of_buffer(data, name, channels)
    refuse_container(pcm, name)
    return pcm


def refuse_container(pcm: bytes, name: str) -> None:
    """Raises `ValueError` for a WAV file and its like."""
    found = _CONTAINER.match(pcm)
    kind = found.lastgroup if found is not None else None
    if kind is None and pcm[:1] == b"\xff" and _is_mp3(pcm):
        kind = "MP3"
    if kind is not None:
        way = (
            "VoiceChannel.play(session, path) plays WAV files, and so does"
            " play(read_wav(path)) with roomkit.voice.tts.read_wav"
            if kind == "WAV"
            else "`ffmpeg -i … -c:a pcm_s16le out.wav` makes a WAV file, which"
            " roomkit.voice.tts.read_wav reads"
        )
        raise ValueError(f"{name}: a {kind} file, header and all; the samples alone fit: {way}")


def _is_mp3(pcm: bytes) -> bool:
    """Whether three frames of MPEG audio, layer III, follow one another (ISO 11172-3 §2.4.1.3): not
    even a tone does that by chance."""
    place, first = 0, pcm[:4]
    for _ in range(3):
        head = pcm[place : place + 4]
        if len(head) < 4 or head[:2] != first[:2] or (head[2] ^ first[2]) & 0x0C:
            return False
        version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
        rate_code = head[2] >> 2 & 3
        if head[1] < 0xE0 or version == 1 or layer != 1 or rate_code == 3:
            return False
        kbits = (_KBITS_1 if version == 3 else _KBITS_2)[head[2] >> 4]
        if not kbits:
            return False
        rate = (44100, 48000, 32000)[rate_code] // {3: 1, 2: 2, 0: 4}[version]
        place += (144 if version == 3 else 72) * 1000 * kbits // rate + (head[2] >> 1 & 1)
    return True


def _of_buffer(data: Any, name: str, channels: int) -> bytes:
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        raise TypeError(f"{name}: {type(data).__name__}; bytes of 16 bit PCM fits") from None
    with view:
        items = view.format.lstrip("@=<>!|")
        if items in _OCTETS:
            return view.tobytes()
        if items != "h":
            raise ValueError(_wrong_items(view.format, items, name))
        if view.ndim > 1 and not _is_interleaved(view.shape or (), channels):
            raise ValueError(
                f"{name}: an array of shape {view.shape}; (samples, {channels}), interleaved, fits"
            )
        pcm = view.tobytes()
        big = view.format[0] in ">!" or (sys.byteorder == "big" and view.format[0] != "<")
    if big:
        swapped = array.array("h", pcm)
        swapped.byteswap()
        pcm = swapped.tobytes()
    return pcm


def _wrong_items(format_: str, items: str, name: str) -> str:
    kind = _NAMES.get(items, "another format")
    way = ""
    if items in _FLOATS:
        way = ": (x * 32767).clip(-32768, 32767).astype('<i2') makes them of samples from -1 to 1"
    return f"{name}: items of {kind} ({shown(format_)}); 16 bit signed samples fit{way}"


def _is_interleaved(shape: tuple[int, ...], channels: int) -> bool:
    """One sample of each channel after the other, and nothing else beside them."""
    sides = [side for side in shape if side != 1]
    return len(sides) <= 1 if channels == 1 else len(shape) == 2 and shape[1] == channels


class SampleJoiner:
    """Makes whole samples of a stream that was cut anywhere: a voice that is read from a socket
    comes in whatever pieces a read returned. A sample is one of each channel."""

    def __init__(self, name: str) -> None:
        """`name`: of the stream, for errors."""
        self._name = name
        self._begun = False  # enough came to know that it is no file
        self._rest = b""
        self._format = (0, 0)

    def join(self, pcm: bytes, sample_rate: int, channels: int) -> list[tuple[bytes, int, int]]:
        """The whole samples that `pcm` completes, with their rate and channels.

        Raises `ValueError` where the format changes in the middle of a sample, and for a file in
        the place of its audio, also where its header comes in small pieces.
        """
        if not pcm:
            return []
        joined: list[tuple[bytes, int, int]] = []
        if self._rest:
            if (sample_rate, channels) != self._format:
                joined = self._cut()
                if self._rest:
                    rate, width = self._format
                    self._rest = b""
                    raise ValueError(
                        f"{self._name}: the format changed in the middle of a sample, from {rate}"
                        f" Hz and {width} channel(s) to {sample_rate} Hz and {channels}"
                    )
            else:
                pcm, self._rest = self._rest + pcm, b""
        self._format = (sample_rate, channels)
        if not self._begun:
            if len(pcm) < _LONGEST and _may_begin_a_file(pcm):
                self._rest = pcm
                return joined
            refuse_container(pcm, self._name)
            self._begun = True
        self._rest = pcm
        return joined + self._cut()

    def end(self) -> list[tuple[bytes, int, int]]:
        """What is left at the end of the stream; half a sample is dropped, and told."""
        joined = self._cut()
        if self._rest:
            _log.warning(
                "%s ended in the middle of a sample; its last bytes are left out", self._name
            )
            self._rest = b""
        return joined

    def _cut(self) -> list[tuple[bytes, int, int]]:
        """The whole samples of what waits."""
        rate, channels = self._format
        pcm = self._rest
        whole = len(pcm) - len(pcm) % (2 * channels) if pcm else 0
        self._rest = pcm[whole:]
        return [(pcm[:whole], rate, channels)] if whole else []


def _may_begin_a_file(pcm: bytes) -> bool:
    return pcm.startswith(_BEGINNINGS) or any(each.startswith(pcm) for each in _BEGINNINGS)
