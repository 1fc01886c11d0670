"""What payload types mean in a call."""

from __future__ import annotations

import pytest

from roomkit.rtp.sdp.numbers import Numbers


def test_the_number_wished_is_given_and_kept() -> None:
    numbers = Numbers()
    assert numbers.give("opus/48000/2", 111, ()) == 111
    assert numbers.give("OPUS/48000/2", 96, ()) == 111, "names know no case"
    assert numbers.give("PCMU/8000", 0, {111}) == 0


def test_a_number_that_meant_something_is_not_given_to_anything_else() -> None:
    numbers = Numbers()
    numbers.note(96, "telephone-event/48000")
    assert numbers.give("L16/16000", 96, ()) == 97
    assert numbers.give("L16/8000", 96, {97}) == 98
    assert numbers.give_all("telephone-event", {48000: 101, 8000: 101}, {97, 98}) == {
        48000: 96,
        8000: 101,
    }


def test_after_more_encodings_than_there_are_numbers_one_that_rests_is_given() -> None:
    numbers = Numbers()
    for rate in range(32):
        numbers.give(f"L16/{rate}", 96, ())
    assert numbers.give("opus/48000/2", 96, {96, 97}) == 98
    with pytest.raises(ValueError, match="no number is left for G722/8000"):
        numbers.give("G722/8000", 96, range(96, 128))
