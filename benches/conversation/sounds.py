"""The sounds of the benches of conversations: people, hold music, tones, keys and noises, seeded.

Everything is 8 kHz mono as `float32` samples from -1 to 1. `ulaw` makes of them what a telephone
line delivers. Levels are in dB below full scale (root mean square).

People and hold music are Debian's: `apt-get install` of `PACKAGES`.
"""

from __future__ import annotations

import random
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]

RATE = 8000
PACKAGES = (
    *(f"asterisk-core-sounds-{language}-wav" for language in ("en", "es", "fr", "it", "ru")),
    "asterisk-moh-opsound-wav",
)
VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
ROOT = Path("/usr/share/asterisk")
# Of the prompts, these are beeps, animals and pauses.
_NOT_SPEECH = (
    "beep",
    "tone",
    "monkeys",
    "weasels",
    "confbridge-join",
    "confbridge-leave",
    "beeperr",
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What somebody says, at one level, and where in it speech is."""

    language: str
    name: str
    sound: Sound
    onset_ms: float
    """Where speech begins in `sound`, by the level of the clean recording alone."""
    end_ms: float


def utterances(count: int = 200, seed: int = 8, *, shortest_ms: float = 250.0) -> list[Utterance]:
    """That many, the languages in turn: sentences, words and numbers of up to 6 s, drawn by the
    seed, at active levels from -30 to -16 dBFS as telephones have them."""
    source = random.Random(seed)
    pools = {}
    for language in VOICES:
        pools[language] = prompts(language)
        source.shuffle(pools[language])
    chosen: list[Utterance] = []
    languages = list(VOICES)
    while len(chosen) < count:
        language = languages[len(chosen) % len(languages)]
        path = pools[language].pop()
        sound = read(path)
        marks = speech_bounds(sound)
        if marks is None or not shortest_ms <= marks[1] - marks[0] <= 6000:
            continue
        sound = at_level(sound, source.uniform(-30, -16), active=True)
        chosen.append(Utterance(language, path.stem, sound, *marks))
    return chosen


def prompts(language: str) -> list[Path]:
    """The recordings of one voice that are speech, in the order of their names."""
    root = ROOT / "sounds" / VOICES[language]
    found = [*root.glob("*.wav"), *root.glob("digits/*.wav")]
    if not found:
        raise SystemExit(f"no recordings in {root}: apt-get install {' '.join(PACKAGES)}")
    return sorted(path for path in found if not any(word in path.stem for word in _NOT_SPEECH))


def hold_music() -> dict[str, Sound]:
    """Debian's five pieces, some 18 minutes in all, by name."""
    paths = sorted((ROOT / "moh").glob("*.wav"))
    if not paths:
        raise SystemExit(f"no music in {ROOT / 'moh'}: apt-get install {PACKAGES[-1]}")
    return {path.stem: read(path) for path in paths}


def read(path: Path) -> Sound:
    """A recording of 8 kHz, mono, 16 bit."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise ValueError(f"{path}: {file.getparams()}; 8 kHz mono of 16 bit fits")
        pcm = file.readframes(file.getnframes())
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


# Levels


def speech_bounds(clean: Sound) -> tuple[float, float] | None:
    """Where speech begins and ends in a clean recording, in ms: by levels of 10 ms above the
    recording's own noise and 35 dB below its loud parts, for at least 30 ms. None: no speech."""
    levels = _levels(clean)
    if not len(levels):
        return None
    threshold = max(np.percentile(levels, 95) - 35, -55.0)
    loud = levels > threshold
    held = loud[:-2] & loud[1:-1] & loud[2:]
    places = np.flatnonzero(held)
    if not len(places):
        return None
    return float(places[0] * 10), float((places[-1] + 3) * 10)


def _levels(sound: Sound) -> npt.NDArray[np.float64]:
    blocks = sound[: len(sound) // 80 * 80].reshape(-1, 80).astype(np.float64)
    return 10 * np.log10(np.mean(blocks * blocks, axis=1) + 1e-12)


def level(sound: Sound, *, active: bool = False) -> float:
    """In dBFS; `active`: of the parts where somebody speaks (within 20 dB of the loudest)."""
    power = 10 ** (_levels(sound) / 10)
    if active:
        power = power[power > power.max() / 100]
    return float(10 * np.log10(power.mean() + 1e-12))


def at_level(sound: Sound, dbfs: float, *, active: bool = False) -> Sound:
    """The sound, brought to that level."""
    gain = 10 ** ((dbfs - level(sound, active=active)) / 20)
    return np.clip(sound * np.float32(gain), -1, 1)


# Noises


def noise(kind: str, seconds: float, dbfs: float, seed: int) -> Sound:
    """`white`; `car`: a low rumble; `babble`: eight people at once."""
    count = round(seconds * RATE)
    generator = np.random.default_rng(seed)
    if kind == "white":
        sound = generator.standard_normal(count)
    elif kind == "car":
        # Brown below 300 Hz, with the hiss of the tyres 25 dB below.
        spectrum = np.fft.rfft(generator.standard_normal(count))
        hz = np.fft.rfftfreq(count, 1 / RATE)
        spectrum *= 1 / np.maximum(hz, 20) / (1 + (hz / 300) ** 2)
        rumble = np.fft.irfft(spectrum, count)
        sound = rumble / rumble.std() + generator.standard_normal(count) * 10 ** (-25 / 20)
    elif kind == "babble":
        sound = np.zeros(count)
        talk = _talk()
        for _ in range(8):
            start = int(generator.integers(len(talk)))
            voice = np.roll(talk, -start)[:count]
            sound[: len(voice)] += voice
    else:
        raise ValueError(f"kind: {kind!r}; white, car or babble fits")
    return at_level(sound.astype(np.float32), dbfs)


@cache
def _talk() -> Sound:
    """Some minutes of all voices, without a pause."""
    parts = []
    for language in VOICES:
        for path in prompts(language)[::6]:
            sound = read(path)
            marks = speech_bounds(sound)
            if marks:
                cut = sound[round(marks[0] * 8) : round(marks[1] * 8)]
                parts.append(at_level(cut, -25, active=True))
    random.Random(1).shuffle(parts)
    return np.concatenate(parts)


def spoken_in(
    utterance: Utterance,
    snr_db: float | None,
    kind: str,
    seed: int,
    *,
    before_s: float = 2.0,
    after_s: float = 1.5,
) -> tuple[Sound, float, float]:
    """An utterance with a quiet moment around it, in noise of that ratio to its active level
    (None: none), over a telephone line; with onset and end in ms."""
    total = round(before_s * RATE) + len(utterance.sound) + round(after_s * RATE)
    sound = np.zeros(total, np.float32)
    at = round(before_s * RATE)
    sound[at : at + len(utterance.sound)] = utterance.sound
    if snr_db is not None:
        speech = level(utterance.sound, active=True)
        sound += noise(kind, total / RATE, speech - snr_db, seed)[:total]
    return ulaw(sound), before_s * 1000 + utterance.onset_ms, before_s * 1000 + utterance.end_ms


# Tones


def tones(
    hz: tuple[float, ...],
    on_off_ms: tuple[float, ...],
    seconds: float,
    dbfs: float = -16.0,
) -> Sound:
    """The sum of these tones in a cadence of on, off, on, off …, each ramped over 4 ms."""
    count = round(seconds * RATE)
    t = np.arange(count) / RATE
    wave_ = np.sum([np.sin(2 * np.pi * each * t) for each in hz], axis=0)
    gate = np.zeros(count)
    at, turn = 0.0, 0
    while at < seconds * 1000:
        length = on_off_ms[turn % len(on_off_ms)]
        if turn % 2 == 0:
            gate[round(at * 8) : round((at + length) * 8)] = 1
        at, turn = at + length, turn + 1
    ramp = np.hanning(34)[1:-1]
    gate = np.convolve(gate, ramp / ramp.sum(), "same")
    peak = np.sqrt(2 / len(hz)) * 10 ** (dbfs / 20)
    return (wave_ * gate * peak).astype(np.float32)


def line_tones(seconds: float) -> dict[str, Sound]:
    """Dial, busy and ringing of two continents, special information, fax, a modem's answer."""
    cadences: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
        "dial (425)": ((425,), (seconds * 1000, 0.001)),
        "dial (350+440)": ((350, 440), (seconds * 1000, 0.001)),
        "busy (425)": ((425,), (480, 480)),
        "busy (480+620)": ((480, 620), (500, 500)),
        "reorder (480+620)": ((480, 620), (250, 250)),
        "ringback (425)": ((425,), (1000, 4000)),
        "ringback (440+480)": ((440, 480), (2000, 4000)),
        "ringback (400+450)": ((400, 450), (400, 200, 400, 2000)),
        "call waiting (440)": ((440,), (300, 9700)),
        "fax call (1100)": ((1100,), (500, 3000)),
        "fax answer (2100)": ((2100,), (3000, 1000)),
        "beep (1000)": ((1000,), (200, 1800)),
    }
    found = {name: tones(hz, cadence, seconds) for name, (hz, cadence) in cadences.items()}
    sit = np.concatenate([tones((hz,), (330, 0.001), 0.33) for hz in (950, 1400, 1800)])
    found["special information"] = _repeated(sit, 1.0, seconds)
    return found


def keys(seconds: float, seed: int, *, length_ms: float = 100, pause_ms: float = 150) -> Sound:
    """Touch tones of all sixteen keys at levels from -25 to -8 dBFS."""
    source = random.Random(seed)
    parts = []
    total = 0
    while total < seconds * RATE:
        low = source.choice((697, 770, 852, 941))
        high = source.choice((1209, 1336, 1477, 1633))
        parts.append(
            tones(
                (low, high),
                (length_ms, pause_ms),
                (length_ms + pause_ms) / 1000,
                source.uniform(-25, -8),
            )
        )
        total += len(parts[-1])
    return np.concatenate(parts)[: round(seconds * RATE)]


def noise_steps(seconds: float, seed: int) -> Sound:
    """Noise that sets in and leaves, of every kind that is no speech, in steps of 0.3 to 4 s."""
    source = random.Random(seed)
    parts: list[Sound] = []
    total = 0
    while total < seconds * RATE:
        length = source.uniform(0.3, 4)
        part = noise(
            source.choice(("white", "car")), length, source.uniform(-55, -18), seed + total
        )
        parts.append(part if source.random() < 0.7 else np.zeros_like(part))
        total += len(part)
    return np.concatenate(parts)[: round(seconds * RATE)]


def clicks(seconds: float, seed: int) -> Sound:
    """Knocks on the handset and clicks of the line: bursts of 1 to 40 ms that die away."""
    source = random.Random(seed)
    generator = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE), np.float32)
    at = 0.0
    while True:
        at += source.uniform(0.1, 1.5)
        length = round(source.uniform(8, 320))
        start = round(at * RATE)
        if start + length > len(sound):
            return sound
        decay = np.exp(-np.arange(length) / (length / 4))
        burst = generator.standard_normal(length) * decay * 10 ** (source.uniform(-30, -6) / 20)
        sound[start : start + length] = np.clip(burst, -1, 1)


def _repeated(sound: Sound, pause_s: float, seconds: float) -> Sound:
    once = np.concatenate([sound, np.zeros(round(pause_s * RATE), np.float32)])
    count = round(seconds * RATE)
    return np.tile(once, count // len(once) + 1)[:count]


def not_speech(minutes: float = 30.0, seed: int = 8) -> Iterator[tuple[str, str, Sound]]:
    """(kind, name, sound) of what must not be taken for a caller who speaks, that long in all: the
    hold music whole, the rest in equal shares of tones, keys, noise steps and clicks."""
    music = hold_music()
    rest_s = minutes * 60 - sum(map(len, music.values())) / RATE
    if rest_s < 60:
        raise ValueError(f"minutes: {minutes}; 20 and more fit")
    for name, sound in music.items():
        yield "hold music", name, ulaw(sound)
    share = rest_s / 4
    lines = line_tones(share / 13)
    for name, sound in lines.items():
        yield "tones", name, ulaw(sound)
    for index, (length, pause) in enumerate(((100, 150), (60, 60), (400, 600), (50, 1000))):
        sound = keys(share / 4, seed + index, length_ms=length, pause_ms=pause)
        yield "keys", f"keys of {length} ms every {length + pause} ms", ulaw(sound)
    yield "noise steps", "noise steps", ulaw(noise_steps(share, seed))
    yield "clicks", "clicks", ulaw(clicks(share, seed))


# The line


def ulaw(sound: Sound) -> Sound:
    """What is left after µ-law (ITU-T G.711), to the step."""
    return _DECODE[_encode(sound)].astype(np.float32) / np.float32(32768)


def pcm(sound: Sound) -> bytes:
    """As 16 bit little-endian PCM."""
    return np.clip(np.rint(sound * 32768), -32768, 32767).astype("<i2").tobytes()


def _encode(sound: Sound) -> npt.NDArray[np.uint8]:
    samples = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int32)
    sign = np.where(samples < 0, 0x80, 0)
    size = np.minimum(np.abs(samples), 32635) + 0x84
    exponent = np.floor(np.log2(size)).astype(np.int32) - 7
    mantissa = (size >> (exponent + 3)) & 0x0F
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)


def _decode_table() -> npt.NDArray[np.int32]:
    codes = ~np.arange(256) & 0xFF
    size = (((codes & 0x0F) << 3) + 0x84) << ((codes >> 4) & 7)
    return np.where(codes & 0x80, 0x84 - size, size - 0x84)


_DECODE = _decode_table()
