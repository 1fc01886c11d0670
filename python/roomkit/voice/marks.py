"""What a caller has heard of what was said: `Heard`, from marks, positions and the path."""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final

from roomkit.voice._alignment import Units, align
from roomkit.voice.base import Mark, PathDelay, PlaybackPosition

__all__ = ["UNKNOWN_PATH", "Heard", "HeardText"]

UNKNOWN_PATH: Final = PathDelay(0.0, 100.0, 1000.0)
"""What is assumed where the backend knows no path: from no delay to all that a far end buffers."""

# So many packets in a row are lost now and then; more of them, right at the end, hardly ever.
_LOST_PACKETS: Final = 3
# How loud it is, is kept for each of these: shorter than any sound of speech.
_BLOCK_MS: Final = 10
# So far below the loudest of a stretch is a pause: a room's noise, a voice's own hiss.
_PAUSE: Final = 10 ** (-35 / 20)
# How many ms of sound one unit of weight takes, until a stretch of this text has shown it.
_MS_PER_WEIGHT: Final = 65.0


@dataclass(frozen=True, slots=True)
class HeardText:
    """How much of what was said to him the caller has heard."""

    text: str = field(repr=False)
    """By the best estimate: the beginning of what was said, as it was written, up to the end of a
    word. A word counts when half of it was heard."""
    certain_to: int
    """So many characters of what was said he has heard for certain."""
    possible_to: int
    """So many he may have heard: after these nothing."""
    heard_ms: float
    """How much of the audio he has heard, by the best estimate."""
    certain_ms: float
    possible_ms: float
    whole: bool
    """He has heard it to its end."""


class Heard:
    """What is said in one playback and where in its audio; from these, what was heard of it.

    It is told the text as it comes (`add_text`), the marks (`add_mark`), the audio if there are no
    marks of words (`add_audio`), and asked at any time. Marks that stand otherwise in the text (a
    voice that writes "five" for "5") are put where those beside them leave room.
    """

    def __init__(self, text: str = "") -> None:
        self._text = ""
        self._marks: list[tuple[float, float | None, str]] = []
        self._levels = array("H")
        self._audio_ms = 0.0
        self._odd = b""
        self._ended = False
        self._words: _Words | None = None
        self.add_text(text)

    @property
    def said(self) -> str:
        """The text so far."""
        return self._text

    def add_text(self, text: str) -> None:
        """More of what is said, as it is written, white space included."""
        self._text += text
        self._words = None

    def add_mark(self, mark: Mark, chunk_ms: float) -> None:
        """A mark of a chunk that begins at `chunk_ms` of the playback."""
        if not mark.text.strip():
            return
        end_ms = None if mark.end_ms is None else chunk_ms + mark.end_ms
        entry = (chunk_ms + mark.offset_ms, end_ms, mark.text)
        at = bisect_right(self._marks, entry[0], key=lambda one: one[0])
        self._marks.insert(at, entry)
        self._words = None

    def add_audio(self, pcm: bytes, sample_rate: int, channels: int = 1) -> None:
        """The next audio of the playback, 16 bit little-endian: where it is silent, no word is."""
        pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % 2
        self._odd = pcm[whole:]
        samples = array("h", pcm[:whole])
        if sys.byteorder == "big":
            samples.byteswap()
        per_ms = sample_rate * channels / 1000
        block, at = int(self._audio_ms / _BLOCK_MS), 0
        while at < len(samples):
            until = int(((block + 1) * _BLOCK_MS - self._audio_ms) * per_ms)
            part = samples[at : max(at + 1, until)]
            level = min(max(max(part), -min(part)), 0x7FFF)
            self._levels.extend([0] * (block + 1 - len(self._levels)))
            self._levels[block] = max(self._levels[block], level)
            at, block = at + len(part), block + 1
        self._audio_ms += len(samples) / per_ms
        self._words = None

    def end(self, duration_ms: float | None = None) -> None:
        """The voice has finished: all text, marks and audio were told. `duration_ms`: of all the
        audio; None: what `add_audio` was given."""
        self._ended = True
        if duration_ms is not None:
            self._audio_ms = duration_ms
        self._words = None

    def up_to(
        self,
        position: PlaybackPosition,
        now: float,
        path: PathDelay | None,
        packet_ms: float = 20.0,
    ) -> HeardText:
        """What he has heard up to `now`, in seconds of `time.monotonic` (as `position.at` is). What
        has left is on its way for as long as `path` says, and in the far end's buffer."""
        path = UNKNOWN_PATH if path is None else path
        since_ms = math.inf if position.at is None else max(0.0, (now - position.at) * 1000)

        played_ms, started_at = position.played_ms, position.started_at
        if played_ms <= 0 or position.at is None:
            return self.at(max(0.0, played_ms), 0.0)
        # How long nothing left, altogether: if that was just now, more of it has arrived.
        pauses_ms = math.inf
        if started_at is not None:
            pauses_ms = max(0.0, (position.at - started_at) * 1000 + packet_ms - played_ms)

        def heard_ms(delay_ms: float) -> float:
            return max(0.0, played_ms - max(0.0, delay_ms - since_ms))

        # The newest packet holds the last `packet_ms` of what has left.
        heard = self.at(
            heard_ms(path.likely_ms + packet_ms),
            heard_ms(path.most_ms + packet_ms),
            heard_ms(path.least_ms - pauses_ms),
        )
        if heard.certain_ms >= position.played_ms and self._all_of(position):
            return self._whole(position.played_ms)
        return heard

    def in_the_end(self, position: PlaybackPosition, packet_ms: float = 20.0) -> HeardText:
        """What he will have heard once all that has left has been played to him: of a playback that
        was cut short, what stays in his memory. The last packets may have been lost, and nothing
        that follows them tells: what they hold is not certain."""
        if self._all_of(position):
            return self._whole(position.played_ms)
        played_ms = position.played_ms
        later = 0.0 if position.over else packet_ms
        certain_ms = max(0.0, played_ms - _LOST_PACKETS * packet_ms)
        return self.at(played_ms, certain_ms, played_ms + later)

    def at(
        self, heard_ms: float, certain_ms: float | None = None, possible_ms: float | None = None
    ) -> HeardText:
        """What is heard in the first `heard_ms` of the audio; its bounds from those of the time."""
        certain_ms = heard_ms if certain_ms is None else min(certain_ms, heard_ms)
        possible_ms = heard_ms if possible_ms is None else max(possible_ms, heard_ms)
        words = self._timeline()
        best = words.ends(bisect_right(words.middles, heard_ms))
        certain = words.ends(bisect_right(words.latest_ends, certain_ms))
        possible = words.ends(bisect_left(words.earliest_starts, possible_ms))
        return HeardText(
            self._text[:best],
            min(certain, best),
            max(possible, best),
            heard_ms,
            certain_ms,
            possible_ms,
            whole=False,
        )

    def _all_of(self, position: PlaybackPosition) -> bool:
        return self._ended and position.over and not position.cancelled

    def _whole(self, played_ms: float) -> HeardText:
        length = len(self._text)
        return HeardText(self._text, length, length, played_ms, played_ms, played_ms, whole=True)

    # --- where each word is ----------------------------------------------------------------------

    def _timeline(self) -> _Words:
        if self._words is None:
            self._words = self._place()
        return self._words

    def _place(self) -> _Words:
        units = Units(self._text)
        # Stretches whose beginning is known: from which unit, which is the last that the mark
        # names, and the times. The first may have no mark.
        known: list[tuple[int, int, float, float | None]] = []
        for index, first, last in align(units, [text for _, _, text in self._marks]):
            start_ms, end_ms, _ = self._marks[index]
            if known and known[-1][0] == first:
                start_ms = known.pop()[2]  # of a word with several marks
            known.append((first, last, start_ms, end_ms))
        if not known or known[0][0] > 0:
            known.insert(0, (0, len(units) - 1, 0.0, None))
        words = _Words(units)
        rate = _MS_PER_WEIGHT
        for (first, last, start_ms, end_ms), following in zip(
            known, [*known[1:], None], strict=True
        ):
            until, sure_ms = len(units), math.inf
            if following is not None:
                until, sure_ms = following[0], following[2]
            elif self._ended:
                sure_ms = max(start_ms, self._audio_ms)
            elif self._marks:
                until = last + 1  # what comes after it was not spoken yet
            if end_ms is not None:
                sure_ms = min(sure_ms, end_ms)
            weight = sum(units.weight(unit) for unit in range(first, until))
            until_ms = sure_ms
            if math.isinf(until_ms):
                until_ms = max(start_ms + rate * weight, self._audio_ms)
            sound = _Sound(self._levels, start_ms, until_ms)
            if sure_ms == until_ms:
                rate = sound.total_ms / weight if weight else rate
            alone = until - first == 1
            for begin_ms, done_ms in sound.share(units, range(first, until)):
                begin_ms, done_ms = (start_ms, until_ms) if alone else (begin_ms, done_ms)
                words.add(begin_ms, done_ms, start_ms, sure_ms)
            for _ in range(until, len(units) if following is None else until):
                words.add(math.inf, math.inf, max(start_ms, self._audio_ms), math.inf)
        return words


class _Words:
    """When each unit of the text is said: by the best estimate, and within which bounds."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self.middles: list[float] = []
        self.latest_ends: list[float] = []
        self.earliest_starts: list[float] = []

    def add(self, start_ms: float, end_ms: float, earliest_ms: float, latest_ms: float) -> None:
        before = self.middles[-1] if self.middles else 0.0
        self.middles.append(max(before, (start_ms + end_ms) / 2))
        self.latest_ends.append(max(self.latest_ends[-1] if self.latest_ends else 0.0, latest_ms))
        self.earliest_starts.append(
            max(self.earliest_starts[-1] if self.earliest_starts else 0.0, earliest_ms)
        )

    def ends(self, count: int) -> int:
        """Where in the text the first `count` units end."""
        return self._units.end(count)


class _Sound:
    """A stretch of audio, by where in it there is sound."""

    def __init__(self, levels: array[int], start_ms: float, end_ms: float) -> None:
        self._start_ms = start_ms
        self._length_ms = max(0.0, end_ms - start_ms)
        self._first = int(start_ms / _BLOCK_MS)
        blocks = levels[self._first : max(self._first, math.ceil(end_ms / _BLOCK_MS))]
        floor = max(blocks, default=0) * _PAUSE
        # How many blocks with sound there are up to each.
        self._sums = list(accumulate((level > floor for level in blocks), initial=0))
        self.total_ms = self._sums[-1] * _BLOCK_MS or self._length_ms

    def share(self, units: Units, those: range) -> list[tuple[float, float]]:
        """When each of `those` units is said: the sound, shared out by their weights."""
        edges = list(accumulate((units.weight(unit) for unit in those), initial=0.0))
        parts = [edge / (edges[-1] or 1.0) for edge in edges]
        return [
            (self._when(begin, bisect_right), self._when(end, bisect_left))
            for begin, end in pairwise(parts)
        ]

    def _when(self, part: float, side: Callable[[list[int], float], int]) -> float:
        """Where that part of the sound is over: before a pause, or after it."""
        total = self._sums[-1]
        if not total:
            return self._start_ms + self._length_ms * part
        at = min(max(1, side(self._sums, part * total)), len(self._sums) - 1)
        within = min(1.0, max(0.0, part * total - self._sums[at - 1]))
        return (self._first + at - 1 + within) * _BLOCK_MS
