"""What a payload type means (RFC 3551 §6), and what contradicts it."""

from __future__ import annotations

from typing import Any

import pytest

from roomkit.rtp.codecs import PCMA, PCMU, Codec, codecs_for, static_codec


def test_the_page_s_default_sends_pcmu_and_receives_either_law() -> None:
    assert codecs_for(0, 8000, None) == (PCMU, PCMA)


def test_type_8_sends_pcma_and_receives_either_law() -> None:
    assert codecs_for(8, 8000, None) == (PCMA, PCMU)


@pytest.mark.parametrize(("payload_type", "channels"), [(10, 2), (11, 1)])
@pytest.mark.parametrize("clock_rate", [8000, 44100], ids=["left at its default", "said"])
def test_types_10_and_11_are_l16_at_44100_hz(
    payload_type: int, channels: int, clock_rate: int
) -> None:
    (codec,) = codecs_for(payload_type, clock_rate, None)
    assert (codec.name, codec.clock_rate, codec.channels) == ("L16", 44100, channels)
    assert codec == static_codec(payload_type)


@pytest.mark.parametrize("clock_rate", [8000, 16000, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("payload_type", [96, 127])
def test_a_dynamic_type_is_l16_mono_at_the_clock_rate(payload_type: int, clock_rate: int) -> None:
    assert codecs_for(payload_type, clock_rate, None) == (Codec("L16", payload_type, clock_rate),)


@pytest.mark.parametrize("payload_type", [-1, 1, 3, 9, 13, 18, 34, 72, 95, 128, 1000])
def test_other_types_are_refused_and_the_answer_lists_what_fits(payload_type: int) -> None:
    with pytest.raises(ValueError, match=f"payload_type: {payload_type}.*127"):
        codecs_for(payload_type, 8000, None)


@pytest.mark.parametrize("payload_type", [True, None, "0", 0.0])
def test_a_payload_type_is_an_integer(payload_type: Any) -> None:
    with pytest.raises(ValueError, match=r"payload_type: .* an integer from 0 to 127"):
        codecs_for(payload_type, 8000, None)


@pytest.mark.parametrize(
    ("payload_type", "clock_rate"),
    [(0, 16000), (8, 48000), (10, 16000), (96, 11025), (96, 7999), (0, 0), (96, -8000)],
)
def test_a_clock_rate_that_the_type_cannot_have_is_refused(
    payload_type: int, clock_rate: int
) -> None:
    with pytest.raises(ValueError, match=f"clock_rate: {clock_rate}"):
        codecs_for(payload_type, clock_rate, None)


def test_a_list_of_codecs_decides_and_names_stand_for_the_static_types() -> None:
    wide = Codec("L16", 97, 16000)
    assert codecs_for(0, 8000, [wide, "PCMA", "PCMU"]) == (wide, PCMA, PCMU)
    assert codecs_for(97, 16000, (wide,)) == (wide,)
    assert codecs_for(0, 8000, "PCMA") == (PCMA,)


@pytest.mark.parametrize(
    ("codecs", "complaint"),
    [
        ([], "codecs: it is empty"),
        (["G722"], "codecs: 'G722'"),
        ([0], "codecs: 0"),
        (5, "codecs: 5"),
        (["PCMU", "PCMU"], "repeat"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(codecs: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        codecs_for(0, 8000, codecs)


def test_a_number_beside_a_list_must_agree_with_its_first_codec() -> None:
    with pytest.raises(ValueError, match="payload_type: 96 contradicts codecs"):
        codecs_for(96, 8000, ["PCMU"])
    with pytest.raises(ValueError, match="clock_rate: 16000 contradicts codecs"):
        codecs_for(0, 16000, ["PCMU"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("G729", 18), "codec name: 'G729'"),
        (("PCMU", 8), "payload_type: 8 is PCMA/8000"),
        (("PCMU", 96, 16000), "clock_rate: 16000"),
        (("PCMU", 96, 8000, 2), "channels: 2"),
        (("PCMU", 96, 8000, True), "channels: True"),
        (("L16", 96, 8001), "clock_rate: 8001"),
        (("L16", 96, 16000, 3), "channels: 3"),
        (("L16", 20, 16000), "payload_type: 20"),
        (("L16", True, 16000), "payload_type: True"),
    ],
)
def test_a_codec_that_cannot_be_is_refused(arguments: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Codec(*arguments)


def test_g711_may_have_a_dynamic_type_too() -> None:
    assert Codec("PCMA", 100).rtpmap == "PCMA/8000"
    assert Codec("L16", 96, 44100, 2).rtpmap == "L16/44100/2"
