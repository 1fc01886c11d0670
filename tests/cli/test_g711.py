"""The reference codec against values printed in ITU-T G.711, and against its own laws."""

from __future__ import annotations

from array import array

import pytest

from roomkit.cli import g711

ALL = array("h", range(-32768, 32768))
LAWS: list[g711.Law] = ["PCMU", "PCMA"]


# G.711 tables 1 and 2 give, for each segment, the code of its ends and the value decoded from it
# (14 bit PCM for µ-law, 13 bit for A-law; four and eight times that in 16 bit).
@pytest.mark.parametrize(
    ("law", "code", "value"),
    [
        ("PCMU", 0x80, 8031 * 4),
        ("PCMU", 0x8F, 4191 * 4),
        ("PCMU", 0x9F, 2079 * 4),
        ("PCMU", 0xAF, 1023 * 4),
        ("PCMU", 0xEF, 33 * 4),
        ("PCMU", 0xFE, 2 * 4),
        ("PCMU", 0xFF, 0),
        ("PCMU", 0x00, -8031 * 4),
        ("PCMA", 0xAA, 4032 * 8),
        ("PCMA", 0xA5, 2112 * 8),
        ("PCMA", 0xD5, 1 * 8),
        ("PCMA", 0x55, -1 * 8),
        ("PCMA", 0x2A, -4032 * 8),
    ],
)
def test_codes_decode_to_the_values_of_the_standard_s_tables(
    law: g711.Law, code: int, value: int
) -> None:
    assert g711.decode(law, bytes([code])) == array("h", [value])


@pytest.mark.parametrize("law", LAWS)
def test_every_code_survives_decoding_and_coding(law: g711.Law) -> None:
    codes = bytes(range(256))
    again = g711.encode(law, g711.decode(law, codes))
    # µ-law has two zeros, of which the negative one comes back as the positive.
    assert [a for a, b in zip(codes, again, strict=True) if a != b] == (
        [0x7F] if law == "PCMU" else []
    )


@pytest.mark.parametrize("law", LAWS)
def test_a_second_pass_changes_nothing_more(law: g711.Law) -> None:
    once = g711.through(law, ALL)
    assert g711.through(law, once) == once


@pytest.mark.parametrize(("law", "bias", "unit"), [("PCMU", 132, 4), ("PCMA", 256, 8)])
def test_the_error_is_half_a_step_at_most(law: g711.Law, bias: int, unit: int) -> None:
    full_scale = 8159 * 4 if law == "PCMU" else 4096 * 8
    for sample, heard in zip(ALL, g711.through(law, ALL), strict=True):
        if abs(sample) < full_scale:
            # Steps double with each segment: 1/16 of the biased value (µ-law), or of the value,
            # but not less than in segment 1 (A-law). Below `unit` the coder does not see.
            reach = abs(sample) + bias if law == "PCMU" else max(abs(sample), bias)
            assert abs(sample - heard) < reach / 32 + unit, sample


@pytest.mark.parametrize("law", LAWS)
def test_negative_samples_mirror_positive_ones_by_the_one_s_complement(law: g711.Law) -> None:
    codes = g711.encode(law, ALL)
    for sample in (0, 1, 3, 4, 31, 132, 1000, 32124, 32767):
        assert codes[32768 + sample] == codes[32768 + ~sample] | 0x80
