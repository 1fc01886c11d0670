"""The picture of a call: one SVG in which sound, events and packets of both directions share a time
axis. Written by hand, element by element, so that it needs no library and opens in any browser.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["Lane", "Mark", "Picture", "Span", "Timing", "render"]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time with a name: a prompt, a recording."""

    start: float
    """Seconds on the picture's axis, as all times here."""
    end: float
    label: str
    cut: bool = False
    """It was interrupted: drawn with a torn end."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: a key, an interruption, the end."""

    at: float
    label: str
    kind: str = "note"
    """`"key"` is drawn as a key cap, `"cut"` as a line through both waveforms, `"note"` as a
    flag."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One direction: what was heard at its end."""

    title: str
    samples: array[int]
    sample_rate: int
    start: float = 0.0
    """When its first sample was heard."""
    spans: Sequence[Span] = ()
    lost: Sequence[tuple[float, float]] = ()
    """From, to: audio that did not arrive and was concealed."""
    faded: Sequence[tuple[float, float]] = ()
    """From, to: what the receiver made up at the end of sound, before it knew of the pause."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Packets of one direction as the wire saw them."""

    title: str
    points: Sequence[tuple[float, float]]
    """When each came, and by how many ms the interval before it differed from what its RTP
    timestamp says."""
    missing: Sequence[float] = ()
    """When packets should have come that did not."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn. The first lane and the first timing have the same colour, and so on."""

    title: str
    subtitle: str
    seconds: float
    lanes: Sequence[Lane]
    marks: Sequence[Mark] = ()
    timings: Sequence[Timing] = ()
    verdicts: Sequence[tuple[bool, str]] = field(default=())
    """Passed or not, and the sentence."""


def render(picture: Picture) -> str:
    """The picture as the text of an SVG file."""
    return "\n".join(_Drawing(picture).lines())


# --- geometry, in SVG units (pixels at natural size) -------------------------------------------

_WIDTH = 1280
_LEFT, _RIGHT = 150, 28
_PLOT = _WIDTH - _LEFT - _RIGHT
_LANE, _SPANS, _GAP = 128, 24, 18
_TIMING = 132
_ROWS = 3
"""Rows of event labels: an interruption, the key that caused it and what follows lie close."""

_COLOURS = ("#2458c5", "#b4540a")
_PALE = ("#dfe8fb", "#fbe8d8")
_INK, _SOFT, _RULE, _BAD, _GOOD = "#1d2430", "#69738a", "#dde2ea", "#c2183a", "#16794c"

_STYLE = f"""
text {{ font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-size: 12px; fill: {_INK}; }}
.soft {{ fill: {_SOFT}; }} .small {{ font-size: 11px; }} .title {{ font-size: 21px;
  font-weight: 600; }} .name {{ font-weight: 600; font-size: 13px; }}
.mid {{ text-anchor: middle; }} .end {{ text-anchor: end; }} .mono {{ font-weight: 700; }}
"""


class _Drawing:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.seconds = max(picture.seconds, 0.1)
        self.top = 96
        self.marks_y = self.top
        self.lanes_y = self.marks_y + (22 * _ROWS + 4 if picture.marks else 0)
        self.timings_y = self.lanes_y + len(picture.lanes) * (_LANE + _SPANS + _GAP) + 12
        self.axis_y = self.timings_y + (len(picture.timings) * (_TIMING + _GAP))
        self.verdicts_y = self.axis_y + 44
        self.height = self.verdicts_y + 21 * len(picture.verdicts) + 12
        # One scale for all directions, so that they compare at a glance.
        self.reach = _reach(sorted(abs(d) for t in picture.timings for _, d in t.points))

    def lines(self) -> Iterator[str]:
        title, subtitle = escape(self.picture.title), escape(self.picture.subtitle)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{self.height}"'
            f' viewBox="0 0 {_WIDTH} {self.height}" role="img">'
        )
        yield f"<title>{title}</title>"
        yield f"<desc>{subtitle}</desc>"
        yield f"<style>{_STYLE}</style>"
        yield f'<rect width="{_WIDTH}" height="{self.height}" fill="#ffffff"/>'
        yield f'<text class="title" x="28" y="42">{title}</text>'
        yield f'<text class="soft" x="28" y="66">{subtitle}</text>'
        yield from self.legend()
        yield from self.grid()
        y = self.lanes_y
        for number, lane in enumerate(self.picture.lanes):
            yield from self.lane(number, lane, y)
            y += _LANE + _SPANS + _GAP
        yield from self.marks()
        y = self.timings_y
        for number, timing in enumerate(self.picture.timings):
            yield from self.timing(number, timing, y)
            y += _TIMING + _GAP
        yield from self.verdicts()
        yield "</svg>"

    def x(self, at: float) -> float:
        return _LEFT + _PLOT * min(max(at / self.seconds, 0.0), 1.0)

    def legend(self) -> Iterator[str]:
        """What the shades mean, at the upper right; only those that occur."""
        lanes, timings = self.picture.lanes, self.picture.timings
        words = [
            (any(timing.missing for timing in timings), _BAD, 1.0, "packet missing"),
            (any(lane.lost for lane in lanes), _BAD, 0.4, "concealed"),
            (any(lane.faded for lane in lanes), _SOFT, 0.22, "faded into a pause"),
        ]
        right = float(_WIDTH - _RIGHT)
        for occurs, colour, opacity, word in words:
            if occurs:
                right -= 6.2 * len(word)
                yield f'<text class="small soft" x="{right:.0f}" y="66">{word}</text>'
                right -= 18
                yield (
                    f'<rect x="{right:.0f}" y="57" width="12" height="10" fill="{colour}"'
                    f' fill-opacity="{opacity}"/>'
                )
                right -= 16

    def grid(self) -> Iterator[str]:
        step = next(s for s in (0.5, 1, 2, 5, 10, 30, 60, 300, 1e9) if self.seconds / s <= 18)
        bottom = self.axis_y + 4
        for n in range(int(self.seconds / step) + 1):
            x = self.x(n * step)
            yield _line(x, self.lanes_y - 6, x, bottom, _RULE)
            label = f"{n * step:g} s"
            yield f'<text class="small soft mid" x="{x:.1f}" y="{bottom + 15}">{label}</text>'

    def lane(self, number: int, lane: Lane, y: float) -> Iterator[str]:
        colour, pale = _COLOURS[number % 2], _PALE[number % 2]
        middle = y + _LANE / 2
        yield from _heading(lane.title, y + 16, colour)
        peak = max(map(abs, lane.samples), default=0)
        loudest = f"peak {20 * math.log10(peak / 32768):.0f} dBFS" if peak else "silence"
        yield f'<text class="small soft" x="28" y="{y + _LANE - 6}">{loudest}</text>'
        yield (
            f'<rect x="{_LEFT}" y="{y}" width="{_PLOT}" height="{_LANE}" fill="{pale}"'
            ' fill-opacity="0.38"/>'
        )
        yield from self.shade(lane.faded, y, _SOFT, 0.22, "faded into a pause")
        yield from self.shade(lane.lost, y, _BAD, 0.4, "concealed")
        yield _line(_LEFT, middle, _LEFT + _PLOT, middle, colour, 0.4)
        yield f'<path d="{self.wave(lane, middle, peak)}" fill="{colour}"/>'
        for span in lane.spans:
            yield from self.span(span, y + _LANE + 4, colour, pale)

    def shade(
        self, spans: Sequence[tuple[float, float]], y: float, colour: str, opacity: float, word: str
    ) -> Iterator[str]:
        for low, high in spans:
            left, wide = self.x(low), max(self.x(high) - self.x(low), 1.5)
            yield (
                f'<rect x="{left:.1f}" y="{y}" width="{wide:.1f}" height="{_LANE}" fill="{colour}"'
                f' fill-opacity="{opacity}"><title>{word} at {low:.2f} s</title></rect>'
            )

    def wave(self, lane: Lane, middle: float, peak: int) -> str:
        """Outline of highest and lowest sample per column: a closed shape, two points a column."""
        # A quiet lane is drawn larger, but noise is not blown up to speech.
        scale = (_LANE / 2 - 4) / max(peak, 3000)
        first, last = self.x(lane.start), self.x(lane.start + len(lane.samples) / lane.sample_rate)
        per_column = lane.sample_rate * self.seconds / _PLOT
        skip = max(-lane.start, 0.0) * lane.sample_rate
        upper: list[str] = []
        lower: list[str] = []
        for column in range(int(last - first) + 1):
            at = int(skip + column * per_column)
            part = lane.samples[at : at + max(int(per_column), 1)]
            if not part:
                break
            x = first + column
            upper.append(f"{x:.0f} {middle - max(part) * scale - 0.3:.1f}")
            lower.append(f"{x:.0f} {middle - min(part) * scale + 0.3:.1f}")
        return f"M{'L'.join(upper + lower[::-1])}Z" if upper else ""

    def span(self, span: Span, y: float, colour: str, pale: str) -> Iterator[str]:
        left, right = self.x(span.start), self.x(span.end)
        right = max(right, left + 6)
        # The torn end of what was interrupted: a zigzag instead of a straight edge.
        edge = f"L{right:.1f} {y}V{y + 17}"
        if span.cut:
            edge = "".join(
                f"L{right + (4 if n % 2 else 0):.1f} {y + n * 17 / 4:.1f}" for n in range(5)
            )
        shape = f"M{left:.1f} {y}{edge}L{left:.1f} {y + 17}Z"
        label = _fit(span.label, right - left - 8)
        yield f"<g><title>{escape(span.label)}: {span.start:.2f} to {span.end:.2f} s</title>"
        yield f'<path d="{shape}" fill="{pale}" stroke="{colour}"/>'
        yield f'<text class="small" x="{left + 5:.1f}" y="{y + 12.5}">{escape(label)}</text></g>'

    def marks(self) -> Iterator[str]:
        """Moments, above the lanes: each in the lowest row in which there is room for it."""
        if self.picture.marks:
            yield f'<text class="name" x="28" y="{self.lanes_y - 13}">Events</text>'
        taken = [-1e9] * _ROWS
        lines: list[str] = []
        labels: list[str] = []
        for mark in sorted(self.picture.marks, key=lambda mark: mark.at):
            x = self.x(mark.at)
            wide = 20.0 if mark.kind == "key" else 6.4 * len(mark.label) + 12
            left = min(x - wide / 2, _WIDTH - wide - 6)
            row = next((n for n in range(_ROWS) if left > taken[n] + 3), _ROWS - 1)
            taken[row] = left + wide
            y = self.lanes_y - 26 - 22 * row
            colour = {"key": _INK, "cut": _BAD}.get(mark.kind, _SOFT)
            bottom = self.timings_y - 14 if mark.kind == "cut" else self.lanes_y
            dash = ' stroke-dasharray="5 3"' if mark.kind == "cut" else ""
            lines.append(_line(x, y + 19, x, bottom, colour, 1.2, dash))
            fill = {"key": _INK, "cut": "#fdeef1"}.get(mark.kind, "#f3f5f8")
            ink = "#ffffff" if mark.kind == "key" else colour
            labels.append(
                f"<g><title>{escape(mark.label)} at {mark.at:.2f} s</title>"
                f'<rect x="{left:.1f}" y="{y}" width="{wide:.1f}" height="19" rx="4"'
                f' fill="{fill}" stroke="{colour}"/>'
                f'<text class="small mid mono" x="{left + wide / 2:.1f}" y="{y + 13.5}"'
                f' style="fill:{ink}">{escape(mark.label)}</text></g>'
            )
        # Labels last: no line runs through one.
        yield from lines
        yield from labels

    def timing(self, number: int, timing: Timing, y: float) -> Iterator[str]:
        colour = _COLOURS[number % 2]
        sizes = sorted(abs(deviation) for _, deviation in timing.points)
        reach = self.reach
        middle, scale = y + _TIMING / 2, (_TIMING / 2 - 8) / reach
        yield from _heading(timing.title, y + 16, colour)
        if sizes:
            facts = [
                f"median {_at(sizes, 0.5):.2f} ms",
                f"p99 {_at(sizes, 0.99):.2f} ms",
                f"worst {sizes[-1]:.2f} ms",
            ]
            for row, fact in enumerate(facts):
                top = y + 52 + 15 * row
                yield f'<text class="small soft" x="28" y="{top}">{fact}</text>'
        yield (
            f'<rect x="{_LEFT}" y="{y}" width="{_PLOT}" height="{_TIMING}" fill="none"'
            f' stroke="{_RULE}"/>'
        )
        for value in (reach, 0, -reach):
            level = middle - value * scale
            yield _line(_LEFT, level, _LEFT + _PLOT, level, _SOFT if value == 0 else _RULE, 0.7)
            label = "0 ms" if value == 0 else f"{value:+g} ms"
            yield f'<text class="small soft end" x="{_LEFT - 6}" y="{level + 4}">{label}</text>'
        dots = []
        for at, deviation in timing.points:
            clipped = min(max(deviation, -reach), reach)
            dots.append(f"M{self.x(at):.1f} {middle - clipped * scale:.1f}h0")
        # A stroke of no length with a round cap is a dot: one element for thousands of packets.
        yield (
            f'<path d="{"".join(dots)}" fill="none" stroke="{colour}" stroke-width="3"'
            ' stroke-linecap="round" stroke-opacity="0.55"/>'
        )
        for at in timing.missing:
            x = self.x(at)
            yield _line(x, y, x, y + _TIMING, _BAD, 1.2)

    def verdicts(self) -> Iterator[str]:
        for number, (passed, sentence) in enumerate(self.picture.verdicts):
            y = self.verdicts_y + 10 + 21 * number
            colour, sign = (_GOOD, "✓") if passed else (_BAD, "✗")
            label, full = escape(_fit(sentence, _WIDTH - 80)), escape(sentence)
            yield f'<text x="28" y="{y}" style="fill:{colour};font-weight:700">{sign}</text>'
            yield f'<text x="46" y="{y}">{label}<title>{full}</title></text>'


def _heading(title: str, y: float, colour: str) -> Iterator[str]:
    """The title left of a lane, broken at line feeds; the first line in the lane's colour."""
    for row, line in enumerate(title.split("\n")):
        look = f'class="name" style="fill:{colour}"' if row == 0 else 'class="small soft"'
        yield f'<text {look} x="28" y="{y + 16 * row:.0f}">{escape(line)}</text>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, more: str = ""
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
        f' stroke-width="{width:g}"{more}/>'
    )


def _fit(label: str, width: float) -> str:
    """As much of the label as fits, judged by a mean width of 6 units a character."""
    room = int(width / 6.1)
    if len(label) <= room:
        return label
    return label[: room - 1] + "…" if room > 2 else ""


def _reach(sizes: list[float]) -> float:
    """Half height of a timing plot in ms: round, and such that all but the worst few packets keep
    their place (those are drawn at the edge; the numbers beside the plot tell)."""
    wanted = 1.15 * _at(sizes, 0.995) if sizes else 1.0
    return next((r for r in (1, 2, 5, 10, 20, 50, 100, 200, 500) if r >= wanted), 1000)


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
