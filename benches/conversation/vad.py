"""Voice activity: what is missed, how late a beginning is told, what is taken for speech, the cost.

    python benches/conversation/vad.py             # some five minutes; a table in Markdown
    python benches/conversation/vad.py --quick     # a tenth of it

Where somebody speaks is known from the level of the clean recordings alone (`sounds.py`). Times are
those of the audio: from its first sample to the end of the frame of 20 ms with which an event was
told. The cost is that of calls in real time, through the detector's own thread, in a process of its
own; what the same process needs to hand out the frames is taken off.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import sounds
from harness import GENERATED, machine, save, say, wait_until_calm
from numpy import percentile

from roomkit.voice.frame import frame_from_media
from roomkit.voice.vad import EnergyVAD, SileroVAD, VADEventType, VADProvider

FRAME = 320  # octets of 20 ms
PRE_ROLL_MS = 300
NOISES = [(None, "")] + [(snr, kind) for snr in (20, 10, 5) for kind in ("white", "car", "babble")]
GAINS_DB = (-18, -12, -6, 0, 4)
CONFIRMED_MS = (200, 400, 600)
CALLS = (1, 10, 50, 100)
DETECTORS = ("silero", "energy")


def detector(name: str) -> VADProvider:
    return SileroVAD() if name == "silero" else EnergyVAD()


@dataclass(slots=True)
class Speech:
    """One stretch of it, as told."""

    from_ms: float
    told_ms: float
    to_ms: float = float("inf")
    end_told_ms: float = float("inf")


def heard(vad: VADProvider, sound: sounds.Sound) -> list[Speech]:
    """What one call hears."""
    one, pcm, found = vad.new_session(), sounds.pcm(sound), []
    for index, at in enumerate(range(0, len(pcm) - FRAME + 1, FRAME)):
        frame = frame_from_media(pcm[at : at + FRAME], sounds.RATE, 1, index * 20.0)
        event = one.process(frame)
        if event is None:
            continue
        assert event.timestamp_ms is not None
        told = (index + 1) * 20.0
        if event.type is VADEventType.SPEECH_START:
            found.append(Speech(event.timestamp_ms, told))
        else:
            found[-1].to_ms, found[-1].end_told_ms = event.timestamp_ms, told
    return found


# People


@dataclass(slots=True)
class Found:
    """What became of the utterances in one kind of noise."""

    count: int = 0
    missed: int = 0
    before: int = 0  # somebody was taken to speak already
    false_starts: int = 0  # before the utterance, in the noise alone
    cut: int = 0  # the pre-roll does not reach the first sample
    starts_ms: list[float] = field(default_factory=list)
    ends_ms: list[float] = field(default_factory=list)

    def add(self, speech: list[Speech], onset_ms: float, end_ms: float) -> None:
        self.count += 1
        self.false_starts += sum(each.told_ms <= onset_ms for each in speech)
        hits = [each for each in speech if each.told_ms <= end_ms and each.to_ms > onset_ms]
        if not hits:
            self.missed += 1
            return
        first, last = hits[0], hits[-1]
        self.cut += first.from_ms - PRE_ROLL_MS > onset_ms
        if first.told_ms <= onset_ms:
            self.before += 1
        else:
            self.starts_ms.append(first.told_ms - onset_ms)
        if last.end_told_ms < float("inf"):
            self.ends_ms.append(last.end_told_ms - end_ms)

    def row(self) -> list[str]:
        return [
            f"{self.missed}/{self.count}",
            *_spread(self.starts_ms),
            str(self.cut),
            *_spread(self.ends_ms),
            str(self.false_starts),
            str(self.before),
        ]


def _spread(values: list[float]) -> list[str]:
    return [f"{each:.0f}" for each in percentile(values, [50, 95])] if values else ["–", "–"]


def people(count: int, seed: int) -> tuple[list[list[str]], list[dict[str, Any]]]:
    said = sounds.utterances(count, seed)
    lines, raw = [], []
    vads = {name: detector(name) for name in DETECTORS}
    for snr, kind in NOISES:
        found = {name: Found() for name in DETECTORS}
        label = f"{snr} dB, {kind}" if snr is not None else "clean"
        for index, utterance in enumerate(said):
            # The beginnings lie anywhere in frames and windows.
            before_s = 2 + (index * 7 % 32) / 1000
            sound, onset, end = sounds.spoken_in(
                utterance, snr, kind, seed * 1000 + index, before_s=before_s
            )
            for name, vad in vads.items():
                found[name].add(heard(vad, sound), onset, end)
        for name in DETECTORS:
            lines.append([label, name, *found[name].row()])
            each = found[name]
            raw.append(
                {
                    "noise": label,
                    "detector": name,
                    "missed": each.missed,
                    "starts_ms": each.starts_ms,
                    "ends_ms": each.ends_ms,
                }
            )
        say("  ".join(lines[-2]))
    for name in DETECTORS:
        mine = [each for each in raw if each["detector"] == name and "babble" not in each["noise"]]
        starts = [value for each in mine for value in each["starts_ms"]]
        ends = [value for each in mine for value in each["ends_ms"]]
        missed = sum(each["missed"] for each in mine)
        pooled = [f"{missed}/{len(mine) * count}", *_spread(starts), "", *_spread(ends), "", ""]
        lines.append(["all but babble", name, *pooled])
    return lines, raw


# What is no speech


def others(minutes: float, seed: int) -> tuple[list[list[str]], list[dict[str, Any]]]:
    lines, raw = [], []
    vads = {name: detector(name) for name in DETECTORS}
    for gain in GAINS_DB:
        factor = 10 ** (gain / 20)
        total: dict[tuple[str, str], list[float]] = {}
        seconds: dict[str, float] = {}
        for kind, name, sound in sounds.not_speech(minutes, seed + GAINS_DB.index(gain)):
            seconds[kind] = seconds.get(kind, 0) + len(sound) / sounds.RATE
            louder = sounds.ulaw((sound * factor).clip(-1, 1))
            for which, vad in vads.items():
                speech = heard(vad, louder)
                length = len(sound) / 8
                lengths = [min(each.to_ms, length) - each.from_ms for each in speech]
                total.setdefault((which, kind), []).extend(lengths)
                raw += [
                    {"gain_db": gain, "sound": name, "detector": which, **_of(each)}
                    for each in speech
                ]
        for which in DETECTORS:
            for kind, length in seconds.items():
                lengths = total[which, kind]
                longer = [str(sum(each >= ms for each in lengths)) for ms in CONFIRMED_MS]
                lines.append(
                    [f"{gain:+d} dB", kind, f"{length / 60:.1f}", which, str(len(lengths)), *longer]
                )
        say(
            f"{gain:+d} dB: "
            + ", ".join(
                f"{which} {sum(len(total[which, kind]) for kind in seconds)} false starts"
                for which in DETECTORS
            )
        )
    return lines, raw


def _of(speech: Speech) -> dict[str, float]:
    return {"from_ms": speech.from_ms, "to_ms": min(speech.to_ms, 1e9)}


# The cost


def costs(seconds: float) -> tuple[list[list[str]], list[dict[str, Any]]]:
    lines, raw = [], []
    for rate in (8000, 16000, 48000):
        path = callers(rate)
        for calls in CALLS if rate == 8000 else (50,):
            idle = _calls("none", calls, rate, seconds, path)
            for name in DETECTORS:
                one = _calls(name, calls, rate, seconds, path)
                one["cpu_ms"] -= idle["cpu_ms"]
                raw.append(one)
                lines.append(
                    [
                        f"{rate / 1000:g} kHz",
                        str(calls),
                        name,
                        f"{one['cpu_ms']:.2f}",
                        f"{one['private_mb']:.0f}",
                        f"{one['resident_mb']:.0f}",
                        *(f"{each:.1f}" for each in one["told_after_ms"]),
                        str(one["dropped"]),
                    ]
                )
                say("  ".join(lines[-1]))
    return lines, raw


def _calls(name: str, calls: int, rate: int, seconds: float, path: Path) -> dict[str, Any]:
    wait_until_calm(5)
    program = Path(__file__).with_name("vad_calls.py")
    command = [sys.executable, program, name, str(calls), str(rate), str(seconds), path]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def callers(rate: int) -> Path:
    """The audio of callers with pauses, in noise of 20 dB; of other rates as holds of the same
    samples, whose images are out of the detector's band."""
    path = GENERATED / f"vad-callers-{rate}.json"
    found = []
    for index, utterance in enumerate(sounds.utterances(20)):
        sound, _, _ = sounds.spoken_in(utterance, 20, ("white", "car")[index % 2], index)
        found.append(sounds.pcm(sound.repeat(rate // sounds.RATE)).hex())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return path


# The table


def table(head: list[str], lines: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " ---: |" * (len(head) - 1)
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--seed", type=int, default=8, help="of utterances, noises and keys")
    parser.add_argument("--only", choices=("people", "others", "costs"), help="one part")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    utterances, minutes, seconds = (20, 20.0, 2.0) if options.quick else (200, 30.0, 10.0)
    out: list[str] = []
    rows: list[dict[str, Any]] = []

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    if wanted("people"):
        say(f"{utterances} utterances in {len(sounds.VOICES)} languages, {len(NOISES)} noises:")
        lines, raw = people(utterances, options.seed)
        head = ["noise", "detector", "missed", "start p50", "p95", "cut", "end p50", "p95"]
        out += [f"Start and end in ms; cut: not within {PRE_ROLL_MS} ms of start padding.", ""]
        out += table([*head, "false starts before", "speaking already"], lines)
        rows += raw
    if wanted("others"):
        say(f"{minutes:g} minutes of hold music, tones, keys and noises, {len(GAINS_DB)} levels:")
        lines, raw = others(minutes, options.seed)
        longer = [f"≥ {ms} ms" for ms in CONFIRMED_MS]
        out += table(["level", "kind", "minutes", "detector", "false starts", *longer], lines)
        rows += raw
    if wanted("costs"):
        say("calls in real time:")
        lines, raw = costs(seconds)
        head = ["audio", "calls", "detector", "CPU ms per s and call", "own MB", "resident MB"]
        told = ["told p50 ms after its frame", "p95", "last", "windows dropped"]
        out += table([*head, *told], lines)
        rows += raw
    path = save("vad", rows, {"seed": options.seed, **machine()})
    print("\n".join(out))
    say(f"every measurement: {path}")


if __name__ == "__main__":
    main()
