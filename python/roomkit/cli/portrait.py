"""From the evidence of the demo's call to its picture."""

from __future__ import annotations

from datetime import datetime

from roomkit.cli.judge import Check, Evidence, Heard, pacing
from roomkit.cli.picture import Lane, Mark, Picture, Span, Timing, render

__all__ = ["portrait"]


def portrait(evidence: Evidence, checks: list[Check]) -> str:
    """The picture as the text of an SVG file. Its axis begins with the first thing said."""
    spoken = [entry.at for entry in evidence.entries if entry.kind == "says"]
    zero = (spoken[0] if spoken else evidence.began) - 0.5
    ends = [heard.start + len(heard.samples) / heard.sample_rate for heard in _both(evidence)]
    seconds = max(ends) - zero
    when = datetime.fromtimestamp(evidence.began).astimezone()
    passed = all(check.passed for check in checks)
    loss = f", {evidence.loss:.0%} of packets lost on purpose" if evidence.loss else ""
    to_caller, to_application = pacing(evidence, "caller"), pacing(evidence, "application")
    return render(
        Picture(
            title="A call that was heard" if passed else "A call that was not heard as it was said",
            subtitle=f"{evidence.codec}, RTP over UDP on loopback{loss}, {when:%Y-%m-%d %H:%M:%S}",
            seconds=seconds,
            lanes=[
                _lane(
                    "Application\nas the caller heard it",
                    evidence.caller,
                    zero,
                    _said(evidence, zero),
                ),
                _lane(
                    "Caller\nas the application\nheard it",
                    evidence.application,
                    zero,
                    _spoken(evidence, zero),
                ),
            ],
            marks=_marks(evidence, zero),
            timings=[
                Timing(
                    f"Packets\nto the {name}",
                    [(at - zero, deviation) for at, deviation in paced.points],
                    [at - zero for at in paced.missing],
                )
                for name, paced in (("caller", to_caller), ("application", to_application))
            ],
            verdicts=[(check.passed, check.text) for check in checks],
        )
    )


def _both(evidence: Evidence) -> tuple[Heard, Heard]:
    return evidence.caller, evidence.application


def _lane(title: str, heard: Heard, zero: float, spans: list[Span]) -> Lane:
    start = heard.start - zero
    rate = heard.sample_rate
    lost, faded = (
        [(start + low / rate, start + high / rate) for low, high in gaps]
        for gaps in (heard.lost, heard.faded)
    )
    return Lane(title, heard.samples, rate, start, spans, lost, faded)


def _said(evidence: Evidence, zero: float) -> list[Span]:
    """What the application said: as long as it was played."""
    spans = []
    for entry in evidence.of("said", "application"):
        start = entry.data["began"] - zero
        played = (entry.data["played_ms"] or 0.0) / 1000
        spans.append(Span(start, start + played, entry.data["clip"], entry.data["cut"] is not None))
    return spans


def _spoken(evidence: Evidence, zero: float) -> list[Span]:
    begun = evidence.of("says", "caller")
    ended = evidence.of("said", "caller")
    return [
        Span(a.at - zero, b.at - zero, a.data["clip"]) for a, b in zip(begun, ended, strict=False)
    ]


def _marks(evidence: Evidence, zero: float) -> list[Mark]:
    marks = []
    for entry in evidence.entries:
        at = entry.at - zero
        if entry.kind == "key" and entry.who == "caller":
            marks.append(Mark(at, entry.data["digit"], "key"))
        elif entry.kind == "cut":
            marks.append(Mark(at, f"stopped by {entry.data['by']}", "cut"))
        elif entry.kind == "bye" and entry.who == "caller":
            marks.append(Mark(at, "BYE"))
    return marks
