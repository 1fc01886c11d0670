"""EnergyVAD on sounds whose beginnings and ends are known to the sample."""

from __future__ import annotations

import pytest

from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import EnergyVAD, VADEventType
from roomkit.voice.vad.energy import level_dbfs
from support.sound import noise, silence, tone

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END


def events(
    vad: EnergyVAD, pcm: bytes, kind: str = "received"
) -> list[tuple[VADEventType, float | None]]:
    found: list[tuple[VADEventType, float | None]] = []
    for index, offset in enumerate(range(0, len(pcm), 320)):
        data, at = pcm[offset : offset + 320], index * 20.0
        event = vad.process(AudioFrame(data, 8000, 1, 2, at, {"kind": kind}))
        if event is not None:
            found.append((event.type, event.timestamp_ms))
    return found


def test_speech_starts_and_ends_where_the_sound_does() -> None:
    pcm = silence(500) + tone(1000) + silence(1000)
    assert events(EnergyVAD(), pcm) == [(START, 500), (END, 1500)]


def test_a_pause_shorter_than_stop_ms_does_not_end_it() -> None:
    pcm = silence(200) + tone(400) + silence(580) + tone(400) + silence(620)
    assert events(EnergyVAD(stop_ms=600), pcm) == [(START, 200), (END, 1580)]


def test_a_click_shorter_than_start_ms_is_no_speech() -> None:
    assert events(EnergyVAD(start_ms=60), silence(200) + tone(40) + silence(1000)) == []
    assert events(EnergyVAD(start_ms=60), silence(200) + tone(60) + silence(100)) == [(START, 200)]


def test_steady_noise_is_background_within_three_seconds_and_speech_over_it_is_heard() -> None:
    vad = EnergyVAD()
    loud = noise(5000, dbfs=-35)
    first = events(vad, loud)
    assert [kind for kind, _ in first] in ([], [START, END])
    assert -40 < vad.floor_dbfs < -33
    assert not vad.speaking
    assert [kind for kind, _ in events(vad, tone(500, dbfs=-15))] == [START]


def test_a_dial_tone_stops_counting_as_speech() -> None:
    found = events(EnergyVAD(), silence(500) + tone(6000))
    assert [kind for kind, _ in found] == [START, END]
    assert found[1][1] is not None
    assert found[1][1] <= 500 + 3000 + 500


def test_silence_filled_in_teaches_nothing_about_the_room() -> None:
    vad = EnergyVAD()
    events(vad, noise(4000, dbfs=-40))
    floor = vad.floor_dbfs
    events(vad, silence(4000), kind="silence")
    assert vad.floor_dbfs == floor


def test_a_lost_packet_does_not_end_a_word() -> None:
    vad = EnergyVAD(stop_ms=50)
    events(vad, silence(200) + tone(200))
    assert events(vad, silence(200), kind="concealed") == []
    assert vad.speaking


def test_each_session_has_a_detector_of_its_own() -> None:
    pattern = EnergyVAD(margin_db=15)
    events(pattern, silence(200) + tone(200))
    fresh = pattern.new_session()
    assert pattern.speaking
    assert not fresh.speaking
    assert fresh.margin_db == 15


@pytest.mark.parametrize("dbfs", [-10.0, -30.0, -60.0])
def test_levels_are_right_within_half_a_decibel(dbfs: float) -> None:
    assert level_dbfs(AudioFrame(tone(100, dbfs=dbfs), 8000)) == pytest.approx(dbfs, abs=0.5)


def test_digital_silence_has_a_level() -> None:
    assert level_dbfs(AudioFrame(silence(20), 8000)) == -96


@pytest.mark.parametrize(
    "wrong", [{"margin_db": 2.9}, {"margin_db": 41}, {"start_ms": -1}, {"stop_ms": 49}]
)
def test_an_option_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EnergyVAD(**wrong)
