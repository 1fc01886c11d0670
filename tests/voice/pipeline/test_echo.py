"""EchoGuard: what comes back of our own voice is silence for a detector, and the caller is not."""

from __future__ import annotations

import math
import random
from array import array
from itertools import pairwise

import pytest

from roomkit import _native
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.echo import EchoGuard
from roomkit.voice.vad import EnergyVAD, VADEventType

RATE = 8000
FRAME = 160


def voice(seed: int, ms: int) -> list[float]:
    """Something like speech: syllables of a buzz and of breath through a moving resonance."""
    rng = random.Random(seed)
    out: list[float] = []
    last = before = phase = 0.0
    while len(out) < ms * 8:
        length = rng.randrange(800, 2000)
        turn = 1.8 * math.cos(2 * math.pi * rng.uniform(400, 2200) / RATE)
        breath, pitch = rng.choice((0.1, 0.1, 0.9)), rng.uniform(90, 220)
        for n in range(length):
            phase += pitch / RATE
            pulse = 6 * (1 - breath) if phase >= 1 else 0.0
            phase %= 1
            sample = pulse + breath * rng.uniform(-1, 1) + turn * last - 0.81 * before
            last, before = sample, last
            out.append(900 * sample * math.sin(math.pi * n / length))
    return out[: ms * 8]


def pcm(sound: list[float]) -> bytes:
    return array("h", (max(-32768, min(32767, round(x))) for x in sound)).tobytes()


def frames(sound: list[float], channels: int = 1) -> list[AudioFrame]:
    wide = [x for x in sound for _ in range(channels)]
    size = FRAME * channels
    return [
        AudioFrame(pcm(wide[at : at + size]), RATE, channels, timestamp_ms=n * 20, clock_ms=n * 20)
        for n, at in enumerate(range(0, len(wide), size))
    ]


def late(sound: list[float], ms: int, gain: float) -> list[float]:
    return ([0.0] * (ms * 8) + [gain * x for x in sound])[: len(sound)]


def starts(guard: EchoGuard, played: list[AudioFrame], heard: list[AudioFrame]) -> list[float]:
    vad = EnergyVAD()
    found = []
    for ours, theirs in zip(played, heard, strict=True):
        guard.played(ours)
        event = vad.process(guard.process(theirs))
        if event is not None and event.type is VADEventType.SPEECH_START:
            found.append(theirs.clock_ms or 0.0)
    return found


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("delay_ms", [20, 180, 400])
def test_an_echo_starts_no_speech_and_a_caller_over_it_does(delay_ms: int, channels: int) -> None:
    ours = voice(1, 4000)
    echo = late(ours, delay_ms, 0.2)
    caller = late(voice(3, 4000), 2500, 1.0)
    both = [a + b for a, b in zip(echo, caller, strict=True)]
    played = frames(ours)
    vad = EnergyVAD()
    assert any(vad.process(frame) for frame in frames(echo)), "an echo that nobody would notice"
    assert starts(EchoGuard(), played, frames(echo, channels)) == []
    found = starts(EchoGuard(), played, frames(both, channels))
    assert found
    assert 2500 <= found[0] <= 2800


def test_frames_keep_their_format_time_and_metadata() -> None:
    guard = EchoGuard()
    ours = voice(3, 600)
    for ours_frame, frame in zip(frames(ours), frames(late(ours, 40, 0.3), 2), strict=True):
        frame.metadata["kind"] = "concealed"
        guard.played(ours_frame)
        heard = guard.process(frame)
        assert heard is not frame
        assert heard.metadata == frame.metadata
        assert heard.metadata is not frame.metadata
        assert (heard.sample_rate, heard.channels, heard.samples) == (RATE, 2, frame.samples)
        assert (heard.timestamp_ms, heard.clock_ms) == (frame.timestamp_ms, frame.clock_ms)


def test_without_anything_played_or_a_clock_frames_pass_as_they_are() -> None:
    guard = EchoGuard()
    sound = frames(voice(4, 3000))
    assert all(guard.process(frame) is frame for frame in sound)
    for frame in sound[:25]:
        guard.played(frame)
    assert guard.process(sound[30]) is not sound[30]
    assert guard.process(sound[100]) is sound[100], "a second after the last sound"
    sound[31].clock_ms = None
    guard.played(sound[31])
    assert guard.process(sound[31]) is sound[31]


def test_rates_of_both_sides_may_differ_and_change() -> None:
    guard = EchoGuard()
    ours = voice(5, 2000)
    wide = [x for a, b in pairwise([*ours, 0.0]) for x in (a, (a + b) / 2)]
    vad = EnergyVAD()
    for n, frame in enumerate(frames(late(ours, 100, 0.2))):
        guard.played(
            AudioFrame(pcm(wide[n * 320 : n * 320 + 320]), 16_000, clock_ms=frame.clock_ms)
        )
        assert vad.process(guard.process(frame)) is None
    guard.process(AudioFrame(bytes(960), 24_000, clock_ms=2000))


def test_misuse_of_the_native_guard_says_what_fits() -> None:
    with pytest.raises(ValueError, match="sample_rate 4000, .*8000 to 192000 Hz fit"):
        _native.EchoGuard(4000)
    with pytest.raises(TypeError, match="bytes-like"):
        _native.EchoGuard(8000).played(None, 0.0)  # type: ignore[arg-type]
