"""The codecs of the matrix, and how it is judged that speech came through one of them.

The reference is ffmpeg's decoder on the very packets that were captured: both decoders have the
same input, so that a difference is the decoder's and not the encoder's or the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.signal import resample_poly

from interop.peers import oracle
from interop.sound import Pcm, assert_contains, best_offset, coded, speech
from roomkit.rtp import Codec

# What a lossy codec may cost against ffmpeg's decoder, in points of PESQ.
PESQ_MARGIN = 0.05


@dataclass(frozen=True)
class Row:
    """A codec, as the matrix speaks it."""

    name: str
    """As SDP writes it."""
    payload_type: int
    clock_rate: int
    rate: int
    """Samples of audio per second; mono."""
    decoder: str
    """ffmpeg's."""
    alike: float = 1.0
    """The correlation with the original that is left at least after encoder and decoder. 1: every
    sample is equal."""
    delay_ms: float = 0.0
    """Of encoder and decoder together: so much of the end stays inside them."""

    def __str__(self) -> str:
        return self.name

    @property
    def exact(self) -> bool:
        return self.alike == 1.0

    @property
    def rtpmap(self) -> str:
        return f"{self.name}/{self.clock_rate}" + ("/2" if self.name == "opus" else "")

    @property
    def codec(self) -> Codec:
        return Codec(self.name, self.payload_type, self.clock_rate)  # type: ignore[arg-type]

    def said(self) -> Pcm:
        """Human speech in this codec's rate; for G.711 such as all encoders code alike.

        The first time it is made by other processes, and waited for: not during a call, whose
        event loop would stand still and have nothing to play."""
        return _said(self.name, self.rate)

    def decode(self, payloads: Sequence[bytes]) -> Pcm:
        """What ffmpeg's own decoder makes of the packets."""
        assert payloads, f"no {self.name} was captured"
        av = oracle("av", "pip install 'av<17'")
        context = av.CodecContext.create(self.decoder, "r")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate = self.rate
        context.layout = "mono"
        mono = av.AudioResampler(format="s16", layout="mono", rate=self.rate)
        pieces = [
            out.to_ndarray()[0]
            for payload in payloads
            for frame in context.decode(av.Packet(payload))
            for out in mono.resample(frame)
        ]
        return np.concatenate(pieces).astype(np.int16)


@cache
def _said(codec: str, rate: int) -> Pcm:
    pcm = speech(rate)
    return coded(pcm, codec) if codec in ("PCMU", "PCMA") else pcm


def transcoded(spoken: Row, heard: Row) -> tuple[Row, Pcm]:
    """How to judge what was spoken in one codec and is heard in another, and the original for it.

    From one law of G.711 to the other every sample is known. Between others lie resamplers, whose
    delay and band are the transcoder's own.
    """
    if spoken.exact and heard.exact:
        return heard, coded(spoken.said(), heard.name)
    narrow = min(spoken.rate, heard.rate)
    original = resampled(resampled(spoken.said(), spoken.rate, narrow), narrow, heard.rate)
    return replace(heard, alike=0.8, delay_ms=30), original


ROWS = [
    Row("PCMU", 0, 8000, 8000, "pcm_mulaw"),
    Row("PCMA", 8, 8000, 8000, "pcm_alaw"),
    Row("L16", 96, 16000, 16000, "pcm_s16be"),
    Row("G722", 9, 8000, 16000, "g722", alike=0.95, delay_ms=2),
    Row("opus", 111, 48000, 48000, "opus", alike=0.85, delay_ms=8),
]
BY_NAME = {row.name: row for row in ROWS}


def assert_decoded_as_by_ffmpeg(
    row: Row,
    heard: Pcm,
    payloads: Sequence[bytes],
    original: Pcm | None = None,
) -> None:
    """A decoder made of the packets what ffmpeg's makes of them."""
    reference = row.decode(payloads)
    if row.exact:
        # Without what was still sent while the call was ended: where the speech ends is for
        # `assert_original` to say.
        assert_contains(heard, reference[: len(heard)])
        return
    original = row.said() if original is None else original
    # What the packets hold and no more: after their end, our decoder conceals.
    at = best_offset(heard, reference, before=row.rate // 50)
    decoded, reference = heard[max(at, 0) : at + len(reference)], reference[max(-at, 0) :]
    ours, theirs = (quality(original, each, row.rate) for each in (decoded, reference))
    assert ours > theirs - PESQ_MARGIN, f"PESQ {ours:.3f}, ffmpeg's decoder has {theirs:.3f}"


def assert_original(row: Row, heard: Pcm, original: Pcm | None = None) -> None:
    """All of the original is in what was heard: equal, or as near as the codec comes to it."""
    original = row.said() if original is None else original
    if row.exact:
        assert_contains(heard, original)
    else:
        assert_alike(heard, original, row.rate, row.alike, row.delay_ms)


def assert_near(heard: Pcm, reference: Pcm, tolerance: int) -> None:
    """All of the reference was heard, and no sample departs from it by more than that."""
    at = best_offset(heard, reference)
    piece = heard[at : at + len(reference)].astype(int)
    assert len(piece) == len(reference), f"{len(reference) - len(piece)} samples are missing"
    worst = int(np.abs(piece - reference).max())
    assert worst <= tolerance, f"a sample is {worst} away from the reference"


def assert_alike(heard: Pcm, original: Pcm, rate: int, correlation: float, delay_ms: float) -> None:
    """Right polarity, right speed, nothing missing: begin, middle and end of the original are in
    what was heard, at one and the same offset, and positively correlated."""
    at = best_offset(heard, original)
    end = at + len(original) - int(delay_ms * rate / 1000)
    assert len(heard) >= end, f"{1000 * (end - len(heard)) / rate:.1f} ms of the end are missing"
    heard = np.pad(heard, (0, max(0, at + len(original) - len(heard))))
    third = len(original) // 3
    tail = rate // 5
    for name, start, stop in (
        ("the first third", 0, third),
        ("the second third", third, 2 * third),
        ("the last third", 2 * third, len(original)),
        ("the last 200 ms", len(original) - tail, len(original) - int(delay_ms * rate / 1000)),
    ):
        piece, wanted = (
            heard[at + start : at + stop].astype(float),
            original[start:stop].astype(float),
        )
        alike = float(piece @ wanted / np.sqrt((piece @ piece) * (wanted @ wanted) + 1e-9))
        assert alike >= correlation, f"{name}: correlation {alike:.3f}, not {correlation}"


def quality(original: Pcm, heard: Pcm, rate: int) -> float:
    """PESQ (ITU-T P.862.2, wide band) of what was heard where the original lies in it."""
    pesq = oracle("pesq", "pip install pesq").pesq
    at = best_offset(heard, original)
    piece = heard[at : at + len(original)]
    wide = [resampled(each, rate, 16000) for each in (original[: len(piece)], piece)]
    return float(pesq(16000, *wide, "wb"))


def resampled(pcm: Pcm, rate: int, wanted: int) -> Pcm:
    if rate == wanted:
        return pcm
    divisor = int(np.gcd(rate, wanted))
    other = resample_poly(pcm.astype(float), wanted // divisor, rate // divisor)
    same: Pcm = np.clip(np.round(other), -32768, 32767).astype(np.int16)
    return same
