"""The live view, drawn into a string, and the lines that stand in for it without a terminal."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from roomkit.cli import view as view_module
from roomkit.cli.journal import Entry, Journal
from roomkit.cli.view import Meter, Step, View, open_view, sparkline


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_view() -> View:
    journal = Journal("application", clock=lambda: 103.5)
    meters = [
        Meter("caller hears", -20.0, [-60.0, -20.0], {"received": "120", "lost": "3"}),
        Meter("application hears"),
    ]
    steps = [Step("greeting", True), Step("menu"), Step("story")]
    return View("a call", journal, meters, steps, began=100.0)


def test_lines_tell_when_who_and_what() -> None:
    view, out = a_view(), io.StringIO()
    with open_view(view, out=out):
        view.journal.note("key", "heard key 1")
        view.journal.note("said", "")
        view.journal.take(Entry(104.25, "caller", "says", "says “Hello”"))
    assert out.getvalue().splitlines() == [
        "a call",
        "   3.50 s  application  heard key 1",
        "   4.25 s  caller       says “Hello”",
    ]


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_a_terminal_may_ask_for_lines(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, "dumb")
    out = Terminal()
    with open_view(a_view(), out=out):
        pass
    assert out.getvalue() == "a call\n"


def test_plain_is_plain_on_a_terminal_too() -> None:
    out = Terminal()
    with open_view(a_view(), plain=True, out=out):
        pass
    assert out.getvalue() == "a call\n"


def test_without_rich_it_says_what_brings_the_live_view(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich.live", None)
    out = Terminal()
    with open_view(a_view(), out=out):
        pass
    assert "pip install 'roomkit[rtp]'" in capsys.readouterr().err
    assert out.getvalue() == "a call\n"


def test_the_panel_shows_levels_figures_events_and_progress() -> None:
    view = a_view()
    refreshed: list[bool] = []
    view.refresh = lambda: refreshed.append(True)
    for n in range(20):
        view.journal.note("key", f"event {n}")
    console = Console(width=110, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(view_module._draw(view))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert refreshed == [True]
    for part in ("a call", "caller hears", "-20 dB", "received 120", "lost 3", "silent"):
        assert part in shown
    assert "event 19" in shown
    assert "event 3 " not in shown, "only the latest events"
    assert "✓ greeting" in shown
    assert "▸ menu" in shown
    assert "· story" in shown


def test_the_sparkline_shows_the_latest_levels_from_quiet_to_loud() -> None:
    assert sparkline([-96, -54, -30, -6, 0], 5) == "  ▄██"
    assert sparkline([-6] * 9, 4) == "████"
    assert sparkline([], 3) == "   "


def test_journal_entries_cross_a_pipe_unchanged() -> None:
    entry = Entry(1.5, "caller", "key", "presses 1", {"digit": "1"})
    assert Entry.parse(entry.line()) == entry
    for wrong in ('{"at": 1}', "[]", "nonsense", '{"status": {}}'):
        with pytest.raises(ValueError):
            Entry.parse(wrong)
