"""The live view of a call in a terminal: levels, packets, loss, jitter, digits, events, progress.

With `rich` on a terminal it is a panel that is redrawn; otherwise (no terminal, `--plain`,
`NO_COLOR`, no `rich`) each event is a line of text. Either reads what the call keeps, from a thread
of its own or when told of an entry; neither holds the call up.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from roomkit.cli.journal import Entry, Journal

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Meter", "Step", "View", "open_view"]


@dataclass
class Meter:
    """One direction, as its receiver sees it. The call writes, the view reads."""

    title: str
    level_db: float = -96.0
    levels: Sequence[float] = ()
    """Latest last, in dB relative to full scale."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """Name and value of each figure, such as `{"packets": "120", "lost": "0"}`."""


@dataclass
class Step:
    """A part of the call that is still to come, under way, or done."""

    title: str
    done: bool = False


@dataclass
class View:
    """What is to be shown. `steps` may be empty."""

    title: str
    journal: Journal
    meters: Sequence[Meter]
    steps: Sequence[Step] = ()
    refresh: Callable[[], None] = lambda: None
    """Called before each drawing, to bring the meters up to date; from any thread."""
    began: float = field(default_factory=time.time)

    def elapsed(self, at: float | None = None) -> float:
        """Seconds since the view began."""
        return (time.time() if at is None else at) - self.began


def open_view(
    view: View, *, plain: bool = False, out: TextIO | None = None
) -> AbstractContextManager[Any]:
    """Shows `view` until the context ends."""
    out = out or sys.stdout
    wanted = not plain and out.isatty() and os.environ.get("TERM") != "dumb"
    if wanted and not os.environ.get("NO_COLOR"):
        try:
            return _live(view)
        except ImportError:
            print(
                "rich is not installed: events are shown as lines."
                " pip install 'roomkit[rtp]' brings the live view.",
                file=sys.stderr,
            )
    print(view.title, file=out, flush=True)
    view.journal.listeners.append(lambda entry: _print(view, entry, out))
    return nullcontext()


def plain_line(view: View, entry: Entry) -> str:
    """An event as a line of text."""
    return f"{view.elapsed(entry.at):7.2f} s  {entry.who:<12} {entry.text}"


def _print(view: View, entry: Entry, out: TextIO) -> None:
    if entry.text:
        print(plain_line(view, entry), file=out, flush=True)


# --- with rich -------------------------------------------------------------------------------

_EVENTS = 12
_BARS = " ▁▂▃▄▅▆▇█"
_FLOOR_DB, _LOUD_DB = -54.0, -6.0


def _live(view: View) -> AbstractContextManager[Any]:
    from rich.console import Console
    from rich.live import Live

    # Live draws from a thread of its own, so that a busy event loop does not freeze the picture.
    return Live(
        get_renderable=lambda: _draw(view),
        console=Console(),
        refresh_per_second=8,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _draw(view: View) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    # The call may end, or write what is being read, while this thread draws: then the meters are
    # those of the drawing before.
    with suppress(LookupError, RuntimeError):
        view.refresh()
    meters = Table.grid(padding=(0, 2), expand=True)
    meters.add_column(no_wrap=True, style="bold")
    meters.add_column(no_wrap=True, ratio=1)
    for number, meter in enumerate(view.meters):
        colour = ("cyan", "yellow")[number % 2]
        # The terminal's width less the frame, the title and the level in figures.
        wave = Text(sparkline(meter.levels, 48), style=colour)
        wave.append(f"  {meter.level_db:4.0f} dB" if meter.level_db > -96 else "  silent", "dim")
        meters.add_row(Text(meter.title, style=colour), wave)
        figures = Text()
        for name, value in meter.figures.items():
            figures.append(f"{name} ", "dim").append(f"{value}   ")
        meters.add_row("", figures)
    events = Table.grid(padding=(0, 2))
    shown = [entry for entry in view.journal.entries if entry.text][-_EVENTS:]
    for entry in shown:
        style = {"key": "bold", "cut": "bold red", "warning": "red"}.get(entry.kind, "")
        events.add_row(
            Text(f"{view.elapsed(entry.at):6.2f} s", style="dim"),
            Text(entry.who, style="cyan" if entry.who == "application" else "yellow"),
            Text(entry.text, style=style),
        )
    parts: list[RenderableType] = [meters, Text(), events]
    if view.steps:
        parts += [Text(), _progress(view.steps)]
    heading = f"{view.title}   {view.elapsed():.0f} s"
    return Panel(Group(*parts), title=heading, title_align="left", border_style="dim")


def _progress(steps: Sequence[Step]) -> RenderableType:
    from rich.text import Text

    line = Text()
    current = next((step for step in steps if not step.done), None)
    for step in steps:
        if step.done:
            line.append(f"✓ {step.title}  ", "green")
        elif step is current:
            line.append(f"▸ {step.title}  ", "bold")
        else:
            line.append(f"· {step.title}  ", "dim")
    return line


def sparkline(levels: Sequence[float], width: int) -> str:
    """The latest levels as a row of bars, oldest left."""
    latest = list(levels)[-width:]
    scale = (len(_BARS) - 1) / (_LOUD_DB - _FLOOR_DB)
    bars = [
        _BARS[min(max(round((level - _FLOOR_DB) * scale), 0), len(_BARS) - 1)] for level in latest
    ]
    return "".join(bars).rjust(width)
