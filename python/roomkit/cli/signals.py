"""Was it heard? Compares what was said with what arrived, signal against signal.

`find` looks for a stretch of speech in a recording: envelopes first, which is quick and forgiving,
then samples, which is exact. `compare` then lays the two on top of each other. Speech that crossed
a G.711 line unharmed is *equal*, sample for sample, to what the standard makes of it; where a
packet was lost, the receiver knows and says so, and those frames are set apart and counted.

Standard library only, and quick enough for a call: a sentence is found in half a minute of sound in
a fraction of a second.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

__all__ = ["Comparison", "Match", "compare", "find", "level_db", "quiet_after"]

Span = tuple[int, int]
"""Samples from, up to but not including."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a stretch of speech was found."""

    offset: int
    """Sample of the recording at which sample 0 of the reference lies; may be negative."""
    likeness: float
    """Normalised correlation at that offset of the better half of the loudest parts, so that a few
    that were lost on the way do not mislead: −1 to 1, and 1 is the same."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reference laid upon a recording. Frames are 20 ms."""

    frames: int
    """Frames of the reference that lie within the recording."""
    equal: int
    """Of those: equal, sample for sample."""
    excused: int
    """Of those: differing, but known by the receiver not to be what was sent."""
    heard: int
    """Frames from the beginning up to the last that is equal."""
    likeness: float
    """Normalised correlation over all frames that are not excused."""
    gain_db: float
    """Level of the recording relative to the reference, over the same."""
    snr_db: float
    """Mean segmental signal-to-noise ratio over frames with speech, each limited to 0 … 90 dB."""
    slips: tuple[int, ...]
    """By how many samples the recording ran later (or, negative, earlier) from some frame on."""
    end: int
    """Where in the recording the reference ends."""

    @property
    def wrong(self) -> int:
        """Frames that differ without excuse."""
        return self.frames - self.equal - self.excused


def find(
    reference: array[int],
    recording: array[int],
    *,
    within: Span | None = None,
    head: int | None = None,
) -> Match | None:
    """Where in `recording` the first `head` samples of `reference` are heard best (default: 2 s at
    8 kHz, or all).

    `within` bounds the offset. None when either is too short or silent. A poor match is still the
    best there is: look at its `likeness`.
    """
    piece = reference[: head or 16_000]
    low, high = within or (0, len(recording) - len(piece))
    low, high = max(low, 0), min(high, len(recording) - len(piece))
    if len(piece) < 4 * _HOP or high < low:
        return None
    chunks = _loudest(piece)
    if not chunks:
        return None
    # Few chunks at every offset that may be it, then many at those that are left.
    coarse = _coarse(_envelope(piece), _envelope(recording[low : high + len(piece)]))
    offsets = {
        offset
        for hops in coarse
        for offset in range(low + (hops - 1) * _HOP, low + (hops + 1) * _HOP + 1)
        if low <= offset <= high
    }
    likely = heapq.nlargest(
        40, offsets, key=lambda offset: _likeness(piece, recording, offset, chunks[:6])
    )
    if not likely:
        return None
    best = max(likely, key=lambda offset: _likeness(piece, recording, offset, chunks))
    return Match(best, _likeness(piece, recording, best, chunks)[0])


def compare(
    reference: array[int],
    recording: array[int],
    offset: int,
    *,
    frame: int = 160,
    excuse: Sequence[Span] = (),
    given_back: int = 0,
) -> Comparison:
    """Lays `reference` on `recording` at `offset` and counts, frame by frame.

    `excuse` are spans of the *recording* that the receiver marked as made up. The frame after such
    a span is excused too when it differs: there, concealment fades back into the real signal.

    A receiver that runs dry makes audio up and then plays on where it was: the rest comes later.
    And it may leave frames out, `given_back` times, to make up for that: two frames become one.
    Such a slip is followed if what comes after it is equal again; the frames it cost are excused.
    """
    frames = equal = excused = heard = 0
    dot = own = other = 0
    ratios: list[float] = []
    slips: list[int] = []
    doubtful = 0  # frames just before, that differ and are not excused yet
    offset = _anchored(reference, recording, offset, frame)
    for at in range(0, len(reference), frame):
        said = reference[at : at + frame]
        start = offset + at
        near = [span for span in excuse if span[0] < start + frame and start < span[1] + 5 * frame]
        if said != recording[max(start, 0) : start + len(said)]:
            slip = _slip(reference[at : at + 2 * frame], recording, start, frame)
            if (slip > 0 and near) or (slip < 0 and given_back):
                offset, start = offset + slip, start + slip
                slips.append(slip)
                if slip < 0:
                    given_back -= 1
                    excused += min(doubtful, 2)
        if start < 0 or start + len(said) > len(recording):
            continue
        frames += 1
        got = recording[start : start + len(said)]
        if said == got:
            equal += 1
            heard = frames
            doubtful = 0
        elif any(start < high + frame for _, high in near):
            excused += 1
            continue
        else:
            doubtful += 1
        said_power, got_power = sum(map(mul, said, said)), sum(map(mul, got, got))
        product = sum(map(mul, said, got))
        dot, own, other = dot + product, own + said_power, other + got_power
        if said_power > _FAINT * len(said):
            error = said_power + got_power - 2 * product
            ratios.append(min(max(_db(said_power, error), 0.0), 90.0))
    return Comparison(
        frames=frames,
        equal=equal,
        excused=excused,
        heard=heard,
        likeness=dot / math.sqrt(own * other) if own and other else 0.0,
        gain_db=_db(other, own),
        snr_db=sum(ratios) / len(ratios) if ratios else 0.0,
        slips=tuple(slips),
        end=offset + len(reference),
    )


def _anchored(reference: array[int], recording: array[int], offset: int, frame: int) -> int:
    """`offset`, made right for the beginning of the reference, where it is that of a later part."""
    for at in range(0, min(len(reference), 20 * frame), frame):
        said = reference[at : at + frame]
        if len(set(said)) > 1:
            start = max(offset + at, 0)
            if said == recording[start : start + frame]:
                return offset
            if slip := _slip(reference[at : at + 2 * frame], recording, offset + at, frame):
                return offset + slip
    return offset


def _slip(said: array[int], recording: array[int], start: int, frame: int) -> int:
    """How far from `start` exactly the first of these two frames lies, within a few frames; 0 if
    nowhere, or if the second one is where it should be: then only the first was lost.

    A frame of one value, such as silence, lies everywhere and tells nothing.
    """
    first, second = said[:frame], said[frame:]
    next_at = start + frame
    if len(set(first)) == 1 or second == recording[next_at : next_at + len(second)]:
        return 0
    low = max(start - 4 * frame, 0)
    wanted, around = first.tobytes(), recording[low : start + 7 * frame].tobytes()
    slips: list[int] = []
    at = around.find(wanted)
    while at >= 0:
        if at % said.itemsize == 0:
            slips.append(low + at // said.itemsize - start)
        at = around.find(wanted, at + 1)
    return min(slips, key=abs, default=0)


def quiet_after(recording: array[int], start: int, length: int, *, threshold: int = 8) -> int:
    """Samples, of `length` from `start` on, that are louder than `threshold` (of 32768): 0 is
    silence. The threshold admits the idle pattern of either G.711 law."""
    return sum(1 for sample in recording[start : start + length] if abs(sample) > threshold)


def level_db(samples: Sequence[int]) -> float:
    """RMS level in dB relative to full scale; −96 for silence and for nothing."""
    if not samples:
        return -96.0
    power = sum(map(mul, samples, samples)) / len(samples)
    return max(_db(power, 32768.0 * 32768.0), -96.0)


# --- search ----------------------------------------------------------------------------------

_HOP = 64
"""Samples per value of the envelope: 8 ms at 8 kHz, short enough to leave few lags for the exact
search and long enough that no pitch period shows."""
_CHUNK = 160
"""Samples compared at once, 20 ms: a lost packet spoils one or two chunks."""
_FAINT = 100 * 100
"""Mean square below which a frame holds no speech to speak of (−50 dB)."""


def _envelope(samples: array[int]) -> list[float]:
    """Mean magnitude per hop, compressed, so that one loud vowel does not decide alone."""
    return [
        math.sqrt(sum(map(abs, samples[at : at + _HOP])))
        for at in range(0, len(samples) - _HOP + 1, _HOP)
    ]


def _coarse(piece: list[float], recording: list[float], peaks: int = 4) -> list[int]:
    """The hops at which the envelopes agree best: local maxima of the normalised correlation."""
    length = len(piece)
    mean = sum(piece) / length
    centred = [value - mean for value in piece]
    total = sum(recording[:length])
    square = sum(map(mul, recording[:length], recording[:length]))
    scores: list[float] = []
    for lag in range(len(recording) - length + 1):
        if lag:
            gone, come = recording[lag - 1], recording[lag + length - 1]
            total += come - gone
            square += come * come - gone * gone
        spread = square - total * total / length
        # The mean of `centred` is zero, so the window's own mean drops out of the product.
        product = sum(map(mul, centred, recording[lag : lag + length]))
        scores.append(product / math.sqrt(spread) if spread > 1e-3 else -math.inf)
    maxima = [
        lag
        for lag, score in enumerate(scores)
        if score == max(scores[max(lag - 2, 0) : lag + 3]) and score > -math.inf
    ]
    return sorted(maxima, key=scores.__getitem__, reverse=True)[:peaks]


def _loudest(piece: array[int], count: int = 24) -> list[int]:
    """Starts of the loudest chunks: where samples tell most."""
    size = min(_CHUNK, len(piece))
    powers = {
        at: sum(map(mul, piece[at : at + size], piece[at : at + size]))
        for at in range(0, len(piece) - size + 1, size)
    }
    starts = sorted(powers, key=powers.__getitem__, reverse=True)[:count]
    return [at for at in starts if powers[at] > _FAINT * size]


def _likeness(
    piece: array[int], recording: array[int], offset: int, chunks: list[int]
) -> tuple[float, float]:
    """Mean correlation of the better half of the chunks, and, to tell equals apart (a steady tone
    is like itself after every period, but for its ends), of all."""
    likenesses = []
    for at in chunks:
        said = piece[at : at + _CHUNK]
        got = recording[offset + at : offset + at + len(said)]
        power = sum(map(mul, said, said)) * sum(map(mul, got, got))
        likenesses.append(sum(map(mul, said, got)) / math.sqrt(power) if power else 0.0)
    likenesses.sort(reverse=True)
    best = likenesses[: (len(chunks) + 1) // 2]
    return round(sum(best) / len(best), 9), sum(likenesses) / len(likenesses)


def _db(power: float, reference: float) -> float:
    """Ratio of powers in dB, limited to ±120, so that equality and silence have numbers too."""
    if power <= 0:
        return -120.0
    return 10 * math.log10(power / reference) if reference > power * 1e-12 else 120.0
