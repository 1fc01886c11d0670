from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from roomkit.voice._timers import NEVER, Timers

SPANS = st.floats(0.0, 1e6, allow_nan=False)


@given(SPANS, SPANS, SPANS, SPANS)
def test_what_is_promised_for_a_time_is_done_then_whatever_the_holds(
    start: float, held: float, delay: float, before: float
) -> None:
    done: list[float] = []
    timers = Timers({"it": lambda: done.append(timers.now)})
    timers.advance_to(start)
    timers.hold(True)
    timers.advance_to(start + held)
    timers.due["it"] = timers.now + delay
    assert timers.deadline_ms() is None
    timers.hold(False)
    deadline = timers.deadline_ms()
    assert deadline is not None
    timers.advance_to(deadline)
    assert len(done) == 1
    assert done[0] >= start + delay, "not before it was due, by the clock that stands still"
    assert timers.deadline_ms() is None
    timers.advance_to(deadline + before)
    assert len(done) == 1


def test_of_several_the_earliest_goes_first_and_what_they_set_counts() -> None:
    done: list[str] = []

    def first() -> None:
        done.append("first")
        timers.due["third"] = 15.0

    timers = Timers(
        {
            "third": lambda: done.append("third"),
            "second": lambda: done.append("second"),
            "first": first,
        }
    )
    timers.due.update(first=10.0, second=20.0, third=30.0)
    timers.advance_to(20.0)
    assert done == ["first", "third", "second"]
    timers.due["first"] = 25.0
    timers.stop()
    timers.advance_to(99.0)
    assert len(done) == 3


def test_dates_lie_between_the_one_before_and_now() -> None:
    timers = Timers({"it": lambda: None})
    timers.enter(10_000.0)
    assert timers.dated(9000.0) == (9000.0, 9000.0)
    assert timers.dated(8000.0) == (9000.0, 9000.0)
    assert timers.dated(11_000.0) == (10_000.0, 10_000.0)
    assert timers.dated(math.nan) == (10_000.0, 10_000.0)
    timers.enter(20_000.0)
    assert timers.dated(0.0) == (17_000.0, 17_000.0)
    timers.hold(True)
    timers.enter(30_000.0)
    assert timers.dated(29_000.0) == (29_000.0, 20_000.0)
    timers.hold(False)
    timers.enter(31_000.0)
    assert timers.dated(30_500.0) == (30_500.0, 20_500.0)
    assert timers.due == {"it": NEVER}
