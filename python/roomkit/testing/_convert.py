"""Audio of any rate and number of channels, in that of a call: as exact as a test needs."""

from __future__ import annotations

import sys
from array import array

__all__ = ["Converter"]


class Converter:
    """Brings one stream of 16 bit PCM to another rate and number of channels.

    Towards a lower rate it averages the samples that fall together, towards a higher one it draws
    lines between them; channels are mixed, or copied. All of a stream is as long as it was, to the
    sample.
    """

    def __init__(self, rate: int, channels: int, to_rate: int, to_channels: int) -> None:
        self.format = (rate, channels)
        self._rate = rate
        self._channels = channels
        self._to_rate = to_rate
        self._to_channels = to_channels
        self._same = (rate, channels) == (to_rate, to_channels)
        self._taken = 0  # samples that came
        self._given = 0  # samples that went
        self._rest: list[int] = []  # samples whose average waits for more; or the last one
        self._last = 0

    def convert(self, pcm: bytes) -> bytes:
        """The audio that is complete with `pcm`, whole samples."""
        if self._same or not pcm:
            return pcm
        mono = self._mixed(pcm)
        out = mono if self._rate == self._to_rate else self._at_rate(mono)
        if sys.byteorder == "big":
            out.byteswap()
        if self._to_channels == 1:
            return out.tobytes()
        return b"".join(
            data * self._to_channels
            for data in map(bytes, zip(*[iter(out.tobytes())] * 2, strict=True))
        )

    def _mixed(self, pcm: bytes) -> array[int]:
        samples = array("h", pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        if self._channels == 1:
            return samples
        n = self._channels
        return array("h", (sum(each) // n for each in zip(*[iter(samples)] * n, strict=True)))

    def _at_rate(self, samples: array[int]) -> array[int]:
        out = array("h")
        rate, to_rate = self._rate, self._to_rate
        if to_rate < rate:
            for sample in samples:
                self._rest.append(sample)
                self._taken += 1
                if self._taken * to_rate // rate > self._given:
                    out.append(sum(self._rest) // len(self._rest))
                    self._rest.clear()
                    self._given += 1
            return out
        for sample in samples:
            before = self._last if self._taken else sample
            self._taken += 1
            until = self._taken * to_rate // rate
            count = until - self._given
            out.extend(before + (sample - before) * (n + 1) // count for n in range(count))
            self._given, self._last = until, sample
        return out
