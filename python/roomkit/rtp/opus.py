"""`OpusSettings`: what an Opus stream is coded with, and how SDP says it (RFC 7587 §6.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["OPUS_RATES", "OpusSettings", "parameters", "unreadable"]

OPUS_RATES: Final = (8000, 12000, 16000, 24000, 48000)
# In bits per second of mono: the upper end of what RFC 7587 §3.1.1 finds right for speech, and a
# little more for wide band, for the copies of in-band FEC are paid from it.
_BITRATES: Final = {8000: 12_000, 12000: 16_000, 16000: 24_000, 24000: 32_000, 48000: 40_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusSettings:
    """How Opus is coded for one who receives it."""

    playback_rate: int = 48000
    """Samples per second the receiver can make use of: `maxplaybackrate`, rounded up to 8000,
    12000, 16000, 24000 or 48000. No wider band is coded."""
    max_bitrate: int | None = None
    """Bits per second the receiver wants at most: `maxaveragebitrate`, 6000 to 510000."""
    stereo: bool = False
    """Two channels: `stereo`."""
    cbr: bool = False
    """Packets of one size: `cbr`."""
    inband_fec: bool = False
    """Every packet carries a coarse copy of the one before it: `useinbandfec`."""
    dtx: bool = False
    """Nothing is sent through silence: `usedtx`."""

    @classmethod
    def from_fmtp(cls, fmtp: str) -> OpusSettings:
        """What the parameters of `a=fmtp` ask for; what RFC 7587 does not name is ignored.

        Raises `ValueError` that names the parameter where its value is no number, or no 0 or 1.
        """
        given = parameters(fmtp)
        rate = _number(given, "maxplaybackrate")
        bitrate = _number(given, "maxaveragebitrate")
        return cls(
            playback_rate=next((fits for fits in OPUS_RATES if rate and rate <= fits), 48000),
            # §6.1: values outside of this range are to be ignored.
            max_bitrate=bitrate if bitrate is not None and 6000 <= bitrate <= 510_000 else None,
            stereo=_flag(given, "stereo"),
            cbr=_flag(given, "cbr"),
            inband_fec=_flag(given, "useinbandfec"),
            dtx=_flag(given, "usedtx"),
        )

    def bitrate(self, wished: int | None) -> int:
        """Bits per second to send with: as wished, or what RFC 7587 §3.1.1 finds right for the
        bandwidth, half as much again in stereo; never more than the receiver wants."""
        usual = _BITRATES[self.playback_rate] * (3 if self.stereo else 2) // 2
        return min(wished or usual, self.max_bitrate or 510_000)


def parameters(fmtp: str) -> dict[str, str]:
    """`"useinbandfec=1; usedtx=0"` by name, in lower case (RFC 4855 §3)."""
    given = {}
    for item in fmtp.split(";"):
        name, _, value = item.partition("=")
        if name.strip():
            given[name.strip().lower()] = value.strip()
    return given


def unreadable(fmtp: str) -> list[str]:
    """Which of the parameters `from_fmtp` would raise for."""
    found = []
    for item in fmtp.split(";"):
        try:
            OpusSettings.from_fmtp(item)
        except ValueError:
            found.append(item)
    return found


def _number(given: dict[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise ValueError(f"fmtp: {name}={value!r}; a whole number fits")
    return int(value)


def _flag(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, "0")
    if value not in ("0", "1"):
        raise ValueError(f"fmtp: {name}={value!r}; 0 or 1 fits")
    return bool(value == "1")
