"""The verdict on the demo's call: was everything heard that was said, and nothing else?

It rests on what was written down outside the parts that are judged: the caller's own recording, the
clips as the standard's codec would carry them, and the packets as the kernel saw them go by.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from roomkit.cli import g711, signals, speech, wav
from roomkit.cli.journal import Entry
from roomkit.cli.tap import Packet, read_packets

__all__ = ["Check", "Evidence", "Heard", "Pacing", "judge", "pacing"]

CALLER_WAV, APPLICATION_WAV = "heard-by-caller.wav", "heard-by-application.wav"
PACKETS, RECORD = "packets.csv", "call.json"

_NAMES = {
    "record": "request to speak",
    "message": "the caller's own words, played back,",
}
_FRAME = 0.020
_EXACT = 0.9
"""Correlation below which what was found is not the sentence that was sought."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to be so."""

    passed: bool
    text: str
    """What was measured."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one end heard, on the wall clock."""

    samples: array[int]
    sample_rate: int
    start: float
    """Wall clock of the first sample."""
    lost: list[tuple[int, int]]
    """Samples from, to, that the receiver concealed in the middle of sound."""
    faded: list[tuple[int, int]]
    """Samples from, to, that it made up before a pause, until it knew of the pause."""

    @property
    def made_up(self) -> list[tuple[int, int]]:
        """All samples that are not what was sent."""
        return self.lost + self.faded

    def at(self, wall: float) -> int:
        """The sample that was heard at that time."""
        return round((wall - self.start) * self.sample_rate)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is left of a call."""

    codec: str
    loss: float
    """Share of packets lost on purpose."""
    began: float
    """Wall clock of the call's beginning."""
    entries: list[Entry]
    """Of both ends, by time."""
    caller: Heard
    application: Heard
    packets: list[Packet]
    stats: dict[str, dict[str, Any]]
    """Of `"caller"` and `"application"`: `RTPStats` by field name."""

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        """What the demo wrote into `folder`. Raises `OSError` or `ValueError`."""
        record = json.loads((folder / RECORD).read_text())
        return cls(
            codec=record["codec"],
            loss=record["loss"],
            began=record["began"],
            entries=sorted((Entry(**e) for e in record["entries"]), key=lambda entry: entry.at),
            caller=_heard(folder / CALLER_WAV, record["tapes"]["caller"]),
            application=_heard(folder / APPLICATION_WAV, record["tapes"]["application"]),
            packets=read_packets(folder / PACKETS),
            stats=record["stats"],
        )

    def heard(self, by: str) -> Heard:
        """What the `"caller"` or the `"application"` heard."""
        return self.caller if by == "caller" else self.application

    def of(self, kind: str, who: str) -> list[Entry]:
        """Entries of a kind by one end, oldest first."""
        return [e for e in self.entries if e.kind == kind and e.who == who]


def judge(evidence: Evidence) -> list[Check]:
    """Everything that had to be so, in the order of the call; the call was heard if all passed."""
    return [
        *_statements(evidence),
        _message_arrived(evidence),
        _digits(evidence),
        *_losses(evidence),
        _end(evidence),
    ]


@dataclass(frozen=True, slots=True)
class Pacing:
    """Packets to one end, as the wire saw them."""

    points: list[tuple[float, float]]
    """Wall clock of each, and by how many ms the interval before it differed from its due."""
    missing: list[float]
    """When packets should have come that did not."""

    def at(self, quantile: float) -> float:
        """A quantile of the deviations, in ms, without their sign."""
        ordered = sorted(abs(deviation) for _, deviation in self.points)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def pacing(evidence: Evidence, to: str) -> Pacing:
    """How regularly the packets to one end went by: digits and audio, in one sequence."""
    clock = _clock_rate(evidence.codec)
    points: list[tuple[float, float]] = []
    missing: list[float] = []
    before: Packet | None = None
    audio: Packet | None = None
    for packet in (p for p in evidence.packets if p.to == to):
        if packet.dropped or (before and _ahead(before.sequence, packet.sequence, 16) > 1):
            missing.append(packet.at)
        if packet.event == "":
            # Within a talkspurt the RTP clock says when a packet is due (RFC 3550 §5.1).
            if audio and not packet.marker:
                due = _ahead(audio.timestamp, packet.timestamp, 32) / clock
                points.append((packet.at, (packet.at - audio.at - due) * 1000))
            audio = packet
        before = packet
    return Pacing(points, missing)


# --- what is checked -------------------------------------------------------------------------


def _statements(evidence: Evidence) -> Iterator[Check]:
    """Every sentence of the application, in order: heard whole, or up to where it was cut."""
    said = evidence.of("said", "application")
    for entry in said:
        begun, clip = entry.data["began"], entry.data["clip"]
        # The message went to the application over the same line before.
        reference = _carried(evidence.codec, clip, twice=clip == "message")
        if entry.data["cut"] is None:
            yield _whole(
                evidence, "caller", f"{_NAMES.get(clip, clip)} heard", reference, begun, clip
            )
        else:
            yield _cut(evidence, entry, reference)
    expected = "greeting menu record tone message menu story menu goodbye".split()
    told = [entry.data["clip"] for entry in said]
    if told != expected:
        yield Check(False, f"the call took another way: said {', '.join(told) or 'nothing'}")


def _message_arrived(evidence: Evidence) -> Check:
    """What the caller said, as the application heard it."""
    spoken = [e for e in evidence.of("says", "caller") if e.data["clip"] == "message"]
    if not spoken:
        return Check(False, "the caller's words: never spoken")
    reference = _carried(evidence.codec, "message")
    name = "the caller's words reached the application"
    return _whole(evidence, "application", name, reference, spoken[0].at)


def _whole(
    evidence: Evidence, to: str, name: str, reference: array[int], begun: float, clip: str = ""
) -> Check:
    heard = evidence.heard(to)
    match = _find(reference, heard, begun)
    if match is None or match.likeness < _EXACT:
        likeness = match.likeness if match else 0.0
        return Check(False, f"{name}: not found (best correlation {likeness:.2f})")
    total = math.ceil(len(reference) / 160)
    excuse, dropped = list(heard.made_up), _dropped(evidence, to, begun, total)
    if clip == "message":
        # What was lost on the way to the application could not be played back.
        excuse += [(low + match.offset, high + match.offset) for low, high in _gaps(evidence)]
        dropped += _dropped(evidence, "application", _spoken_at(evidence), total)
    given_back = evidence.stats[to]["frames_given_back"]
    result = signals.compare(
        reference, heard.samples, match.offset, excuse=excuse, given_back=given_back
    )
    passed = result.frames == total and _tolerable(result, total, dropped)
    delay = (heard.start + match.offset / heard.sample_rate - begun) * 1000
    return Check(passed, f"{name}: {_measured(result, total)}; {delay:.0f} ms after it was said")


def _measured(result: signals.Comparison, total: int) -> str:
    if result.equal == total:
        text = f"all {total} frames equal, sample for sample"
    else:
        text = f"{result.equal} of {total} frames equal, {result.excused} concealed"
    for slip in result.slips:
        text += f", {abs(slip) / 8:.0f} ms {'later' if slip > 0 else 'earlier'} from there on"
    if result.wrong or result.frames < total:
        text += (
            f", {result.wrong} wrong, {total - result.frames} missing (correlation"
            f" {result.likeness:.3f}, SNR {result.snr_db:.1f} dB, level {result.gain_db:+.2f} dB)"
        )
    return text


def _cut(evidence: Evidence, entry: Entry, reference: array[int]) -> Check:
    """A sentence that was interrupted: a true prefix, then silence."""
    name, heard = entry.data["clip"], evidence.caller
    rate = heard.sample_rate
    title = f"{name} interrupted by {entry.data['cut']}"
    played = round(entry.data["played_ms"] / 1000 * rate)
    begun, cut_at = entry.data["began"], entry.data["cut_at"]
    if not 0.3 * rate <= played < len(reference):
        return Check(False, f"{title}: {played / rate:.2f} s of it were played")
    match = _find(reference[:played], heard, begun)
    if match is None or match.likeness < _EXACT:
        return Check(False, f"{title}: not found")
    result = signals.compare(
        reference[:played],
        heard.samples,
        match.offset,
        excuse=heard.made_up,
        given_back=evidence.stats["caller"]["frames_given_back"],
    )
    # What the receiver makes up until it knows of the pause fades; then there is silence, at least
    # half as long as the application pauses before it speaks again.
    end = result.end
    after = max([end, *(high for low, high in heard.faded if low < end + 160 and high > end)])
    quiet = round(0.12 * rate)
    loud = signals.quiet_after(heard.samples, after, quiet)
    total = math.ceil(played / 160)
    last = _last_packet(evidence, begun, cut_at)
    passed = (
        result.frames == total
        and _tolerable(result, total, _dropped(evidence, "caller", begun, total))
        and loud == 0
        and after - end <= 0.11 * rate
        and last - cut_at <= _FRAME
    )
    late = (last - cut_at) * 1000
    text = (
        f"{title}: heard {played / rate:.2f} s of {len(reference) / rate:.2f} s,"
        f" {_measured(result, total)}; last packet {abs(late):.1f} ms"
        f" {'after' if late > 0 else 'before'} the interruption"
    )
    cause = _cause(evidence, entry.data["cut"], cut_at)
    if cause is not None:
        what = "the key was up" if entry.data["cut"] == "key" else "the first packet of the voice"
        text += f", {(last - cause) * 1000:.0f} ms after {what}"
    text += "; then silence" if loud == 0 else f"; then {loud} loud samples of {quiet}"
    return Check(passed, text)


def _digits(evidence: Evidence) -> Check:
    pressed = "".join(e.data["digit"] for e in evidence.of("key", "caller"))
    got = "".join(e.data["digit"] for e in evidence.of("key", "application"))
    return Check(
        pressed == got == "1#20", f"keys: pressed {pressed or 'none'}, ON_DTMF told {got or 'none'}"
    )


def _losses(evidence: Evidence) -> Iterator[Check]:
    for to in ("caller", "application"):
        packets = [p for p in evidence.packets if p.to == to]
        dropped = sum(p.dropped for p in packets)
        stats = evidence.stats[to]
        got, heard = stats["packets_received"], evidence.heard(to)
        concealed = sum(high - low for low, high in heard.lost) // 160
        passed = got == len(packets) - dropped and got > 0
        text = f"packets to the {to}: {len(packets)} on the wire, {got} accepted"
        if dropped:
            text += f", {dropped} lost on purpose"
        late = stats["late"]
        text += f", {late} too late" if late else ""
        yield Check(passed, f"{text}, {concealed} frames concealed for loss")


def _end(evidence: Evidence) -> Check:
    byes = evidence.of("bye", "caller")
    passed = bool(byes) and byes[-1].data["reason"] == "bye"
    return Check(passed, "end: the caller got the RTCP BYE" if passed else "end: no RTCP BYE came")


# --- helpers ---------------------------------------------------------------------------------


def _carried(codec: str, clip: str, *, twice: bool = False) -> array[int]:
    """The clip as it must arrive, by the standard."""
    samples = speech.clip(clip).samples
    law = codec.partition("/")[0]
    if law not in ("PCMU", "PCMA"):
        return samples
    samples = g711.through(cast(g711.Law, law), samples)
    return g711.through(cast(g711.Law, law), samples) if twice else samples


def _find(reference: array[int], heard: Heard, begun: float) -> signals.Match | None:
    """Looked for from half a second before it was said to two seconds after."""
    expected = heard.at(begun)
    span = (expected - heard.sample_rate // 2, expected + 2 * heard.sample_rate)
    return signals.find(reference, heard.samples, within=span)


def _tolerable(result: signals.Comparison, total: int, dropped: int) -> bool:
    """Nothing wrong, and little concealed: what a busy machine may cost (3 % and one frame), and
    for each packet lost on purpose its frame and the join after it; never more than a quarter."""
    allowed = 1 + math.ceil(0.03 * total) + 2 * dropped
    return result.wrong == 0 and result.excused <= min(allowed, total // 4)


def _dropped(evidence: Evidence, to: str, begun: float, frames: int) -> int:
    """Packets that were lost on purpose while so many frames were said."""
    until = begun + frames * _FRAME + 0.1
    return sum(p.dropped for p in evidence.packets if p.to == to and begun <= p.at <= until)


def _gaps(evidence: Evidence) -> list[tuple[int, int]]:
    """Samples of the caller's message that the application did not receive."""
    reference, heard = _carried(evidence.codec, "message"), evidence.application
    match = _find(reference, heard, _spoken_at(evidence))
    if match is None:
        return []
    return [(low - match.offset, high - match.offset) for low, high in heard.made_up]


def _spoken_at(evidence: Evidence) -> float:
    """When the caller began to speak his message."""
    times = (e.at for e in evidence.of("says", "caller") if e.data["clip"] == "message")
    return next(times, evidence.began)


def _last_packet(evidence: Evidence, begun: float, cut_at: float) -> float:
    """When the last audio packet went by of the talkspurt that was interrupted."""
    last = begun
    for packet in evidence.packets:
        if packet.to != "caller" or packet.event or packet.at < begun:
            continue
        if packet.marker and packet.at > cut_at:
            break
        last = packet.at
    return last


def _cause(evidence: Evidence, by: str, cut_at: float) -> float | None:
    """When what led to the interruption went by: the end of the key, the beginning of the voice."""
    before = [p for p in evidence.packets if p.to == "application" and p.at <= cut_at]
    if by == "key":
        # RFC 4733 §2.3: the second byte's upper bit ends the event; the packet is sent three times.
        ends = [p for p in before if p.event and int(p.event[2:4], 16) & 0x80]
        return next((p.at for p in ends if p.timestamp == ends[-1].timestamp), None)
    return next((p.at for p in reversed(before) if p.marker and not p.event), None)


def _clock_rate(codec: str) -> int:
    parts = codec.partition("@")[0].split("/")
    return int(parts[1]) if len(parts) > 1 else 8000


def _ahead(before: int, now: int, bits: int) -> int:
    """Steps from one to the next, modulo 2^bits."""
    return (now - before) % (1 << bits)


def _heard(path: Path, facts: dict[str, Any]) -> Heard:
    audio = wav.read(path)
    lost, faded = ([(int(a), int(b)) for a, b in facts[name]] for name in ("lost", "faded"))
    return Heard(audio.samples, audio.sample_rate, float(facts["start"]), lost, faded)
