"""What was heard, found and laid upon what was said: exact, damaged, shifted, absent."""

from __future__ import annotations

import random
import time
from array import array

import pytest

from roomkit.cli import g711, signals, speech


def silence(count: int) -> array[int]:
    return array("h", bytes(2 * count))


def carried(name: str) -> array[int]:
    return g711.through("PCMU", speech.clip(name).samples)


def conversation() -> tuple[array[int], dict[str, int]]:
    """All clips, one after another at odd distances, and where each begins."""
    recording, starts = silence(1237), {}
    for name in speech.WORDS:
        starts[name] = len(recording)
        recording = recording + carried(name) + silence(3001)
    return recording, starts


@pytest.mark.parametrize("name", list(speech.WORDS))
def test_a_sentence_is_found_to_the_sample_and_is_equal(name: str) -> None:
    recording, starts = conversation()
    reference = carried(name)
    match = signals.find(reference, recording)
    assert match is not None
    assert match.offset == starts[name]
    assert match.likeness == pytest.approx(1.0)
    result = signals.compare(reference, recording, match.offset)
    assert result.equal == result.frames == result.heard == -(-len(reference) // 160)
    assert (result.wrong, result.excused) == (0, 0)
    assert result.gain_db == pytest.approx(0.0, abs=1e-9)
    assert result.snr_db == 90.0


def test_it_is_found_through_noise_and_a_change_of_level() -> None:
    recording, starts = conversation()
    noise = random.Random(1)
    recording = array("h", [round(s * 0.4 + noise.gauss(0, 120)) for s in recording])
    reference = carried("story")
    match = signals.find(reference, recording)
    assert match is not None
    assert match.offset == starts["story"]
    result = signals.compare(reference, recording, match.offset)
    assert result.equal == 0
    assert result.gain_db == pytest.approx(-7.96, abs=0.2)
    assert result.likeness > 0.99


def test_losses_do_not_mislead_the_search() -> None:
    recording, starts = conversation()
    losses = random.Random(2)
    for at in range(0, len(recording) - 160, 160):
        if losses.random() < 0.1:
            recording[at : at + 160] = silence(160)
    for name in speech.WORDS:
        match = signals.find(carried(name), recording)
        assert match is not None
        assert (name, match.offset) == (name, starts[name])


def test_a_steady_tone_is_found_by_its_ends() -> None:
    tone = g711.through("PCMU", speech.tone().samples)
    match = signals.find(tone, silence(777) + tone + silence(2000))
    assert match is not None
    assert match.offset == 777


def test_a_sentence_that_was_not_said_is_not_found() -> None:
    recording, starts = conversation()
    match = signals.find(carried("story"), recording[: starts["story"]])
    assert match is not None
    assert match.likeness < 0.8
    result = signals.compare(carried("story"), recording, match.offset)
    assert result.equal == 0
    assert result.wrong == result.frames


def test_one_sample_of_difference_is_a_wrong_frame() -> None:
    reference = carried("menu")
    heard = reference[:]
    heard[1000] += 8
    result = signals.compare(reference, heard, 0)
    assert (result.wrong, result.equal) == (1, result.frames - 1)


def test_inverted_polarity_is_no_match() -> None:
    reference = carried("menu")
    heard = array("h", [-s for s in reference])
    assert signals.compare(reference, heard, 0).likeness == pytest.approx(-1.0, abs=0.01)


def test_a_concealed_frame_and_the_join_after_it_are_excused_and_counted() -> None:
    reference = carried("menu")
    heard = reference[:]
    for n in range(1600, 1760):
        heard[n] = 0
    for n in range(1760, 1800):  # the join, faded back in
        heard[n] = heard[n] // 2
    heard[8000] += 8  # and an error without excuse
    result = signals.compare(reference, heard, 0, excuse=[(1600, 1760)])
    assert (result.excused, result.wrong) == (2, 1)


def test_an_excuse_covers_nothing_further_away() -> None:
    reference = carried("menu")
    heard = reference[:]
    heard[1600 + 320] += 8
    assert signals.compare(reference, heard, 0, excuse=[(1600, 1760)]).wrong == 1


def test_the_prefix_that_was_heard_is_counted_to_the_last_equal_frame() -> None:
    reference = carried("story")
    heard = reference[: 160 * 100] + silence(160 * 100)
    result = signals.compare(reference, heard, 0)
    assert result.heard == 100
    assert result.frames == 200


def test_frames_outside_the_recording_are_not_counted() -> None:
    reference = carried("stop")
    result = signals.compare(reference, reference[400:], -400)
    assert result.frames == -(-len(reference) // 160) - 3
    assert result.wrong == 0


def test_the_search_keeps_to_its_window() -> None:
    recording, starts = conversation()
    reference = carried("menu")
    at = starts["menu"]
    inside = signals.find(reference, recording, within=(at - 800, at + 800))
    outside = signals.find(reference, recording, within=(at + 200, at + 4000))
    assert inside is not None
    assert inside.offset == at
    assert outside is not None
    assert outside.likeness < 0.9


def test_silence_and_scraps_are_not_searched() -> None:
    recording, _ = conversation()
    assert signals.find(silence(8000), recording) is None
    assert signals.find(carried("menu")[:100], recording) is None
    assert signals.find(carried("menu"), recording[:1000]) is None


def test_quiet_admits_the_idle_pattern_of_either_law_and_nothing_louder() -> None:
    idle = g711.through("PCMA", array("h", [0, -1] * 80))
    assert signals.quiet_after(idle, 0, 160) == 0
    idle[80] = 20
    assert signals.quiet_after(idle, 0, 160) == 1


def test_levels_of_known_signals() -> None:
    assert signals.level_db(silence(160)) == -96
    assert signals.level_db([]) == -96
    assert signals.level_db([32767, -32768] * 80) == pytest.approx(0.0, abs=0.01)
    assert signals.level_db(speech.tone().samples) == pytest.approx(-17.0, abs=0.3)


def test_a_call_s_worth_of_searching_takes_a_second_or_two() -> None:
    recording, _ = conversation()
    began = time.process_time()
    for name in speech.WORDS:
        signals.find(carried(name), recording)
    assert time.process_time() - began < 10


def test_audio_that_runs_later_after_a_stall_is_followed() -> None:
    """The receiver ran dry in frame 50, made a frame up, and played on where it was."""
    reference = carried("menu")
    cut = 160 * 50
    made_up = array("h", [100] * 160)
    joined = array("h", [s // 2 for s in reference[cut : cut + 160]])
    heard = reference[:cut] + made_up + joined + reference[cut + 160 :]
    result = signals.compare(reference, heard, 0, excuse=[(cut, cut + 160)])
    assert result.slips == (160,)
    assert (result.wrong, result.excused, result.equal) == (0, 1, result.frames - 1)
    assert result.end == len(heard)
    unexcused = signals.compare(reference, heard, 0)
    assert unexcused.wrong > 100, "without a word of the receiver it is simply not the same"


def test_a_frame_that_was_left_out_to_give_back_delay_is_followed_once() -> None:
    reference = carried("menu")
    cut = 160 * 50
    blend = [(a + b) // 2 for a, b in zip(reference[cut:], reference[cut + 160 :], strict=False)]
    heard = reference[:cut] + array("h", blend[:160]) + reference[cut + 320 :]
    followed = signals.compare(reference, heard, 0, given_back=1)
    assert followed.slips == (-160,)
    assert (followed.wrong, followed.excused) == (0, 2)
    assert signals.compare(reference, heard, 0).wrong > 100


def test_a_lost_frame_of_a_steady_tone_is_no_slip() -> None:
    tone = g711.through("PCMU", speech.tone().samples)
    heard = tone[:]
    for n in range(800, 960):
        heard[n] = 0
    result = signals.compare(tone, heard, 0, excuse=[(800, 960)])
    assert result.slips == ()
    assert (result.wrong, result.excused) == (0, 1)


def test_a_match_of_a_later_part_is_moved_to_the_beginning() -> None:
    """Most of the sentence was heard 40 ms later than its first words."""
    reference = carried("greeting")
    cut = 160 * 20
    heard = silence(500) + reference[:cut] + array("h", [100] * 320) + reference[cut:]
    match = signals.find(reference, heard)
    assert match is not None
    assert match.offset == 820
    result = signals.compare(reference, heard, 820, excuse=[(500 + cut, 820 + cut)])
    assert result.slips == (320,)
    assert result.equal == result.frames
