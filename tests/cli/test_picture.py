"""The picture of a call: well-formed, complete, and in time with the sound."""

from __future__ import annotations

import re
import subprocess
from array import array
from pathlib import Path
from xml.etree import ElementTree

import pytest

from interop.peers import require
from roomkit.cli import speech
from roomkit.cli.picture import Lane, Mark, Picture, Span, Timing, render

SVG = "{http://www.w3.org/2000/svg}"


def picture(**changes: object) -> Picture:
    menu = speech.clip("menu").samples
    parts: dict[str, object] = {
        "title": "A call & what was <heard>",
        "subtitle": "PCMU",
        "seconds": 10.0,
        "lanes": [
            Lane("Application\nheard", menu, 8000, 2.0, [Span(2, 6, "menu", True)], [(3.0, 3.02)]),
            Lane("Caller", array("h", bytes(1600)), 8000),
        ],
        "marks": [Mark(5.9, "1", "key"), Mark(6.0, "cut", "cut"), Mark(6.05, "note")],
        "timings": [Timing("Packets", [(t / 50, 0.1) for t in range(100)], [1.0]), Timing("P", [])],
        "verdicts": [(True, "greeting heard"), (False, "menu <not> heard")],
    }
    return Picture(**{**parts, **changes})  # type: ignore[arg-type]


def test_it_is_well_formed_and_says_everything() -> None:
    root = ElementTree.fromstring(render(picture()))
    words = "\n".join(text.text or "" for text in root.iter(f"{SVG}text"))
    for word in ("A call & what was <heard>", "menu", "1", "cut", "✓", "✗", "menu <not> heard"):
        assert word in words
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "concealed at 3.00 s" in titles
    assert "menu: 2.00 to 6.00 s" in titles
    assert "packet missing" in words
    assert "faded into a pause" not in words, "the legend explains what is there"


def test_it_refers_to_nothing_outside_itself() -> None:
    text = render(picture())
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in text
    assert "href" not in text


def test_sound_lies_where_the_axis_says() -> None:
    """A click at 5 s of 10 stands in the middle of the plot."""
    samples = array("h", bytes(2 * 80000))
    samples[40000] = 30000
    text = render(picture(lanes=[Lane("x", samples, 8000)], marks=[], timings=[]))
    (path,) = re.findall(r'<path d="(M[^"]+Z)" fill="#2458c5"', text)
    points = [tuple(map(float, p.split())) for p in re.findall(r"[\d.]+ [\d.]+", path)]
    highest = min(points, key=lambda point: point[1])
    axis = {
        label: float(x)
        for x, label in re.findall(r'<text class="small soft mid" x="([\d.]+)"[^>]*>(\d+) s', text)
    }
    assert highest[0] == pytest.approx(axis["5"], abs=1.5)


def test_a_lane_that_began_before_the_picture_is_cut_at_its_edge() -> None:
    samples = array("h", [20000]) * 8000 + array("h", bytes(2 * 8000))
    text = render(picture(lanes=[Lane("x", samples, 8000, -1.0)], marks=[], timings=[]))
    (path,) = re.findall(r'<path d="(M[^"]+Z)" fill="#2458c5"', text)
    heights = {p.split()[1] for p in re.findall(r"[\d.]+ [\d.]+", path)}
    assert len(heights) == 2, "only the silent second is within the picture"


@pytest.mark.parametrize(
    "changes",
    [
        {"lanes": [], "marks": [], "timings": [], "verdicts": []},
        {"seconds": 0.0},
        {"seconds": 86_400.0},
        {"lanes": [Lane("x", array("h"), 8000)]},
        {"timings": [Timing("x", [(0.0, 1e9), (1.0, -1e9)])]},
        {"marks": [Mark(n / 100, f"mark {n}") for n in range(100)]},
    ],
)
def test_odd_calls_are_drawn_too(changes: dict[str, object]) -> None:
    ElementTree.fromstring(render(picture(**changes)))


def test_thousands_of_packets_stay_a_small_file() -> None:
    points = [(n / 50, (n % 7) / 10) for n in range(3000)]
    text = render(picture(seconds=60.0, timings=[Timing("a", points), Timing("b", points)]))
    assert len(text) < 200_000


def test_a_renderer_of_svg_accepts_it(tmp_path: Path) -> None:
    require("rsvg-convert", "librsvg2-bin")
    (tmp_path / "call.svg").write_text(render(picture()))
    png = tmp_path / "call.png"
    subprocess.run(["rsvg-convert", tmp_path / "call.svg", "-o", png], check=True, timeout=30)
    assert png.read_bytes().startswith(b"\x89PNG")
