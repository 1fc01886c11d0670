from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkit.voice.ledger import STEPS, TurnLedger, TurnTimes
from roomkit.voice.marks import HeardText


def test_a_turn_from_the_end_of_speech_to_the_wire() -> None:
    ledger = TurnLedger()
    ledger.begin(3, 1000.0, decided_ms=1600.0, recognised_ms=1650.0)
    assert ledger.note(3, "arrived", 1060.0)
    assert ledger.note(3, "first_token", 1900.0)
    assert ledger.note(3, "first_sentence", 1950.0)
    assert not ledger.note(3, "first_sentence", 2950.0), "the first time counts"
    assert ledger.note(3, "first_audio", 2100.0)
    assert ledger.note(3, "first_packet", 2120.0)
    heard = HeardText("Hello", 5, 5, 400.0, 380.0, 400.0, whole=False)
    times = ledger.end(3, heard, interrupted=True)
    assert times == TurnTimes(
        3,
        *(1000.0, 1060.0, 1600.0, 1650.0, 1900.0, 1950.0, 2100.0, 2120.0),
        heard,
        interrupted=True,
    )
    assert list(times.parts().items()) == [
        ("arrived", 60.0),
        ("decided", 540.0),
        ("recognised", 50.0),
        ("first_token", 250.0),
        ("first_sentence", 50.0),
        ("first_audio", 150.0),
        ("first_packet", 20.0),
    ]
    assert times.total_ms == 1120.0
    assert ledger.end(3) is None
    assert "Hello" not in repr(times)


def test_what_was_there_early_took_no_time() -> None:
    times = TurnTimes(1, 1000, decided_ms=1600, recognised_ms=1300, first_packet_ms=1700)
    assert times.parts() == {"decided": 600, "recognised": 0, "first_packet": 100}


def test_what_is_not_known_is_in_the_next_part() -> None:
    times = TurnTimes(1, 1000, decided_ms=1600, first_packet_ms=2000)
    assert times.parts() == {"decided": 600, "first_packet": 400}
    assert TurnTimes(1, 1000).parts() == {}
    assert TurnTimes(1, 1000).total_ms is None


def test_a_turn_that_nobody_answers() -> None:
    ledger = TurnLedger()
    ledger.begin(1, 1000.0, decided_ms=1600.0)
    times = ledger.end(1, dropped=True)
    assert times is not None
    assert times.dropped
    assert times.total_ms == 600
    assert times.heard is None


TIMES = st.none() | st.floats(-1e9, 1e9, allow_nan=False)


@settings(max_examples=500, deadline=None)
@given(st.floats(-1e9, 1e9), st.tuples(*[TIMES] * 7))
def test_the_parts_add_up_exactly(speech_ended: float, steps: tuple[float | None, ...]) -> None:
    told: Any = steps
    times = TurnTimes(1, speech_ended, *told)
    parts = times.parts()
    known = [step for step, at in zip(STEPS[1:], steps, strict=True) if at is not None]
    assert list(parts) == known
    assert sum(parts.values()) == (times.total_ms or 0.0)
    assert all(part >= -1e-6 for part in parts.values())


def test_turns_that_nobody_ends_are_bounded() -> None:
    ledger = TurnLedger()
    for turn in range(1000):
        ledger.begin(turn, float(turn))
    assert len(ledger) == 64
    assert ledger.get(999) is not None
    assert not ledger.note(1, "decided", 5.0)


@pytest.mark.parametrize("at", [math.nan, math.inf, "5", None, True])
def test_a_time_that_is_none(at: Any) -> None:
    ledger = TurnLedger()
    with pytest.raises(ValueError, match="speech_ended_ms: .*; a finite number of ms fits"):
        ledger.begin(1, at)
    with pytest.raises(ValueError, match="at_ms: .*; a finite number of ms fits"):
        ledger.note(1, "decided", at)


def test_a_step_that_is_none_and_a_turn_twice() -> None:
    ledger = TurnLedger()
    ledger.begin(1, 5.0)
    with pytest.raises(ValueError, match="turn: 1 has begun already"):
        ledger.begin(1, 6.0)
    step: Any = "lunch"
    with pytest.raises(ValueError, match="step: 'lunch'; one of speech_ended, arrived, decided"):
        ledger.note(1, step, 6.0)
