"""Activity: from probabilities to the beginnings and ends of speech."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.voice.vad import VADEvent, VADEventType
from roomkit.voice.vad.activity import Activity, ActivitySettings

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END
MS = 32.0

Window = tuple[float, float, bool]  # probability, level, whether it is a tone


def settings(
    start: float = 0.5, stop: float = 0.35, start_ms: float = 0.0, stop_ms: float = 96.0
) -> ActivitySettings:
    return ActivitySettings(start, stop, start_ms, stop_ms)


def events(
    windows: list[Window], chosen: ActivitySettings | None = None
) -> list[tuple[int, VADEvent]]:
    """(index of the window that settled it, the event)."""
    activity = Activity(chosen or settings())
    found = []
    for index, (probability, level, tone) in enumerate(windows):
        event = activity.hear(probability, level, MS, (index + 1) * MS, partial(bool, tone))
        if event is not None:
            found.append((index, event))
    return found


def loud(*probabilities: float) -> list[Window]:
    """Windows that are well above the background, when they are likely."""
    return [(each, -25.0 if each > 0.3 else -50.0, False) for each in probabilities]


def test_speech_begins_with_its_first_window_and_ends_when_the_pause_began() -> None:
    found = events(loud(0, 0, 0.6, 0.9, 0.4, 0.2, 0.1, 0, 0))
    assert [(index, event.type, event.timestamp_ms) for index, event in found] == [
        (2, START, 2 * MS),
        (7, END, 5 * MS),
    ]
    assert found[0][1].level_dbfs == -25


@pytest.mark.parametrize(
    ("probabilities", "chosen", "kinds"),
    [
        ([0.49] * 9, settings(), []),
        ([0.5], settings(), [START]),
        # Between the thresholds nothing changes.
        ([0.6, 0.4, 0.4, 0.4, 0.4, 0.4], settings(), [START]),
        ([0.6, 0.34, 0.34, 0.34], settings(), [START, END]),
        # A pause that is too short, again and again.
        ([0.6, 0.1, 0.1, 0.36, 0.1, 0.1, 0.36, 0.1, 0.1], settings(), [START]),
        # Speech that is too short, again and again.
        ([0.6, 0.6, 0.1, 0.6, 0.6, 0.1], settings(start_ms=90), []),
        ([0.6, 0.6, 0.6], settings(start_ms=90), [START]),
        ([0.6, 0.1, 0.6, 0.1], settings(stop_ms=50), [START]),
        ([0.6, 0.1, 0.1, 0.6], settings(stop_ms=50), [START, END, START]),
    ],
)
def test_thresholds_and_times(
    probabilities: list[float], chosen: ActivitySettings, kinds: list[VADEventType]
) -> None:
    assert [event.type for _, event in events(loud(0, *probabilities), chosen)] == kinds


def test_what_does_not_rise_above_the_background_must_be_surer_or_last() -> None:
    music: list[Window] = [(0.0, -26.0, False)] * 30
    bars: list[Window] = [(0.85, -24.0, False)]
    assert events(music + bars * 9) == []
    assert [index for index, _ in events(music + bars * 10)] == [39]
    assert events(music + bars * 10)[0][1].timestamp_ms == 30 * MS
    assert [index for index, _ in events([*music, (0.9, -24.0, False)])] == [30]
    assert [index for index, _ in events([*music, (0.5, -19.0, False)])] == [30]


def test_a_sudden_rise_needs_less() -> None:
    quiet: list[Window] = [(0.0, -50.0, False)] * 9
    assert [index for index, _ in events([*quiet, (0.31, -31.0, False)])] == [9]
    assert events([*quiet, (0.29, -31.0, False)]) == []
    assert events([*quiet, (0.31, -33.0, False)]) == []
    # Not at the very beginning, where nobody knows the background, nor after a tone.
    assert events([*quiet[:7], (0.31, -31.0, False)]) == []
    assert events([*quiet, (0.2, -31.0, True), (0.31, -31.0, False)]) == []


def test_tones_and_what_follows_them_at_once_are_no_speech() -> None:
    quiet: list[Window] = [(0.0, -90.0, False)] * 10
    tones: list[Window] = [(0.86, -34.0, True)] * 20
    gap: list[Window] = [(0.86, -34.0, False)] * 15
    assert events(quiet + tones + gap) == []
    assert [index for index, _ in events([*quiet, *tones, *gap, (0.6, -20.0, False)])] == [45]
    assert [index for index, _ in events([*quiet, *tones, (0.95, -20.0, False)])] == [30]


@pytest.mark.parametrize("background", [-90.0, -45.0])
@pytest.mark.parametrize("lingers", [0, 1, 3, 5])
def test_speech_ends_where_nothing_of_it_is_left_though_the_model_believes_in_it(
    background: float, lingers: int
) -> None:
    quiet: list[Window] = [(0.0, background, False)] * 20
    said: list[Window] = [(0.9, -20.0, False), (0.9, -39.0, False)] * 10
    after: list[Window] = [(0.6, background, False)] * lingers + [(0.1, background, False)] * 10
    told = [event for _, event in events([*quiet, *said, *after])]
    assert [event.timestamp_ms for event in told] == [20 * MS, 40 * MS]


def test_what_the_model_believes_in_for_long_is_speech_however_quiet_it_is() -> None:
    quiet: list[Window] = [(0.0, -70.0, False)] * 20
    said: list[Window] = [(0.9, -20.0, False)] * 20 + [(0.9, -62.0, False)] * 20
    told = [event for _, event in events([*quiet, *said, *[(0.0, -70.0, False)] * 10])]
    assert told[1].timestamp_ms == 60 * MS - 160


def test_digital_silence_is_no_speech_whatever_the_model_says() -> None:
    assert events([(0.99, -96.0, False)] * 50) == []


def test_nobody_looks_for_tones_where_nothing_is_likely() -> None:
    def never() -> bool:
        raise AssertionError("asked")

    activity = Activity(settings())
    for _ in range(9):
        assert activity.hear(0.05, -30, MS, None, never) is None


def test_without_media_time_there_are_events_without_it() -> None:
    event = Activity(settings()).hear(0.9, -20, MS, None, lambda: False)
    assert event is not None
    assert event.timestamp_ms is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-96, 0), st.booleans()), max_size=200),
    st.floats(0.05, 0.99),
    st.floats(0, 200),
    st.floats(50, 400),
)
def test_starts_and_ends_alternate_and_lie_in_the_past_and_in_order(
    windows: list[Window], start: float, start_ms: float, stop_ms: float
) -> None:
    chosen = settings(start, start / 2, start_ms, stop_ms)
    before = 0.0
    for turn, (index, event) in enumerate(events(windows, chosen)):
        assert event.type is (END if turn % 2 else START)
        assert event.timestamp_ms is not None
        assert before <= event.timestamp_ms <= index * MS
        before = event.timestamp_ms
        if event.type is START:
            assert windows[index][0] >= start * 0.6
            assert windows[index][1] > -60
        else:
            # For so long the model may have believed in what was over.
            silent = windows[round((before + 160) / MS) : index + 1]
            assert all(window[0] < start / 2 for window in silent)
            assert (index + 1) * MS - before >= stop_ms


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("start", 0.04),
        ("start", 1.0),
        ("start", float("nan")),
        ("start", True),
        ("stop", 0.51),
        ("stop", 0.0),
        ("start_ms", -1),
        ("start_ms", "1"),
        ("stop_ms", 49),
        ("stop_ms", 5001),
    ],
)
def test_an_option_out_of_range_is_named(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        settings(**{name: wrong})
