"""Windows: frames of any shape become the same windows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.peers import oracle
from roomkit.voice.frame import AudioFrame

np = oracle("numpy", "pip install 'roomkit[vad]'")

from roomkit.voice.vad.windows import Decimator, Windows  # noqa: E402


def frame(samples: object, rate: int = 8000, at: float | None = 0.0, **more: object) -> AudioFrame:
    pcm = np.asarray(samples).astype("<i2").tobytes()
    channels = int(str(more.get("channels", 1)))
    kind = {"kind": more["kind"]} if "kind" in more else {}
    return AudioFrame(pcm, rate, channels, 2, at, kind)


def cut(windows: Windows, *frames: AudioFrame) -> list[tuple[list[float], float | None, bool]]:
    return [
        (row.tolist(), windows.at_ms, windows.made_up)
        for each in frames
        for row in windows.cut(each)
    ]


@given(st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_windows_do_not_depend_on_how_the_audio_was_cut(lengths: list[int]) -> None:
    samples = np.arange(sum(lengths)) % 30011
    frames, place = [], 0
    for length in lengths:
        frames.append(frame(samples[place : place + length], at=1000 + place / 8))
        place += length
    found = cut(Windows(256, 32), *frames)
    assert len(found) == len(samples) // 256
    padded = np.concatenate([np.zeros(32), samples])
    for index, (row, at, made_up) in enumerate(found):
        assert row == padded[index * 256 : index * 256 + 288].tolist()
        assert at == pytest.approx(1000 + (index + 1) * 32)
        assert not made_up


def test_time_is_taken_up_again_after_a_gap() -> None:
    windows = Windows(256, 32)
    half = np.zeros(160)
    first = cut(windows, frame(half, at=0), frame(half, at=20))
    assert [at for _, at, _ in first] == [32]
    # 8 ms wait; the next frame comes a second later.
    assert [at for _, at, _ in cut(windows, frame(half, at=1020), frame(half, at=1040))] == [1044]
    assert [at for _, at, _ in cut(windows, frame(np.zeros(256), at=None))] == [None]


def test_a_window_that_is_mostly_made_up_says_so() -> None:
    windows = Windows(256, 32)
    found = cut(
        windows,
        frame(np.zeros(128), kind="concealed"),
        frame(np.zeros(128)),
        frame(np.zeros(129), kind="concealed"),
        frame(np.zeros(127), kind="comfort_noise"),
        frame(np.zeros(256), kind="silence"),
    )
    assert [made_up for _, _, made_up in found] == [False, True, False]


def test_channels_are_mixed() -> None:
    stereo = np.stack([np.full(256, 1000), np.full(256, -400)], axis=1).reshape(-1)
    [(row, _, _)] = cut(Windows(256, 32), frame(stereo, channels=2))
    assert row[32:] == [300.0] * 256


@pytest.mark.parametrize("rate", [11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000])
def test_other_rates_are_brought_to_8_khz(rate: int) -> None:
    t = np.arange(rate) / rate
    for hz, low, high in ((300, -0.2, 0.2), (3000, -0.5, 0.2), (5000, -200, -50)):
        if hz > rate * 0.45:
            continue
        found = Decimator(rate).process(np.sin(2 * np.pi * hz * t).astype(np.float32))
        assert 8000 - 60 <= len(found) <= 8000
        gain = 20 * np.log10(np.std(found[200:-200]) * np.sqrt(2) + 1e-12)
        assert low <= gain <= high, (hz, gain)


@settings(deadline=None)
@given(st.sampled_from([11025, 16000, 44100, 48000]), st.lists(st.integers(1, 2000), max_size=12))
def test_a_stream_is_brought_to_8_khz_as_the_whole_is(rate: int, lengths: list[int]) -> None:
    sound = np.random.default_rng(1).standard_normal(sum(lengths)).astype(np.float32)
    stream, place, parts = Decimator(rate), 0, [np.zeros(0)]
    for length in lengths:
        parts.append(stream.process(sound[place : place + length]).copy())
        place += length
    joined = np.concatenate(parts)
    whole = Decimator(rate).process(sound)
    assert len(joined) == len(whole)
    assert np.allclose(joined, whole, atol=1e-5)


def test_a_call_may_change_its_format() -> None:
    windows = Windows(256, 32)
    found = cut(windows, frame(np.zeros(160)), frame(np.zeros(960), 48000, 20.0))
    found += cut(windows, frame(np.zeros(1920), 48000, 40.0, channels=2))
    assert [at for _, at, _ in found] == [32]
