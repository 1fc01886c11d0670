"""What a payload type means (RFC 3551 §6), and what contradicts it."""

from __future__ import annotations

from typing import Any

import pytest

from roomkit.rtp.codecs import G722, OPUS, PCMA, PCMU, Codec, codecs_for, static_codec
from roomkit.rtp.options import RTPOptions
from roomkit.rtp.opus import OpusSettings


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


@pytest.mark.parametrize("clock_rate", [8000, 11025, 12000, 16000, 24000, 44100, 96000, 192000])
@pytest.mark.parametrize("payload_type", [35, 63, 96, 127])
def test_a_dynamic_type_is_l16_mono_at_the_clock_rate(payload_type: int, clock_rate: int) -> None:
    assert codecs_for(payload_type, clock_rate, None) == (Codec("L16", payload_type, clock_rate),)


@pytest.mark.parametrize("payload_type", [*range(35, 64), *range(96, 128)])
def test_rfc7587_s7_a_dynamic_type_at_48000_hz_is_opus(payload_type: int) -> None:
    assert codecs_for(payload_type, 48000, None) == (Codec("opus", payload_type),)


def test_linear_audio_at_48000_hz_is_asked_for_by_name() -> None:
    wide = Codec("L16", 111, 48000)
    assert codecs_for(0, 8000, [wide]) == codecs_for(111, 48000, [wide]) == (wide,)


@pytest.mark.parametrize("clock_rate", [8000, 16000])
def test_g722_may_be_asked_for_with_the_rate_of_its_samples(clock_rate: int) -> None:
    options = RTPOptions(payload_type=9, clock_rate=clock_rate)
    assert (options.active, options.clock_rate, options.frame_rate) == ((G722,), 8000, 16000)


def test_digits_beside_opus_count_at_its_clock() -> None:
    options = RTPOptions(payload_type=111, clock_rate=48000, dtmf_payload_type=101)
    assert options.codec == Codec("opus", 111)
    assert options.events == options.sent_events == {48000: 101}


@pytest.mark.parametrize("payload_type", [-1, 1, 3, 7, 13, 18, 34, 72, 95, 128, 1000])
def test_other_types_are_refused_and_the_answer_lists_what_fits(payload_type: int) -> None:
    with pytest.raises(ValueError, match=f"payload_type: {payload_type}.*127"):
        codecs_for(payload_type, 8000, None)


@pytest.mark.parametrize("payload_type", [64, 72, 95])
def test_rfc5761_s4_types_from_64_to_95_collide_with_rtcp_and_are_refused(
    payload_type: int,
) -> None:
    for make in (lambda: Codec("opus", payload_type), lambda: codecs_for(payload_type, 8000, None)):
        with pytest.raises(ValueError, match="35 to 63, fits .64 to 95 collide with RTCP, RFC 576"):
            make()
    with pytest.raises(ValueError, match=f"send_payload_type: {payload_type}; 0 to 63 or 96 to"):
        Codec("opus", 96, send_payload_type=payload_type)
    with pytest.raises(ValueError, match=f"dtmf_payload_type: {payload_type}; a dynamic type"):
        RTPOptions(dtmf_payload_type=payload_type)


@pytest.mark.parametrize("payload_type", [True, None, "0", 0.0])
def test_a_payload_type_is_an_integer(payload_type: Any) -> None:
    with pytest.raises(ValueError, match=r"payload_type: .* an integer from 0 to 127"):
        codecs_for(payload_type, 8000, None)


@pytest.mark.parametrize(
    ("payload_type", "clock_rate"),
    [(0, 16000), (8, 48000), (10, 16000), (9, 48000), (96, 11000), (96, 7999), (0, 0), (96, -8000)],
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
        (["G729"], "codecs: 'G729'"),
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
        (("G722", 9, 16000), "clock_rate: 16000"),
        (("opus", 9), "payload_type: 9 is G722/8000"),
        (("opus", 111, 48000, 1), "channels: 1"),
        (("opus", 111, 0, 0, None, "stereo=yes"), "fmtp: stereo='yes'"),
        (("opus", 111, 0, 0, None, "", "maxplaybackrate=-1"), "fmtp: maxplaybackrate='-1'"),
        (("opus", 111, 0, 0, None, 7), "fmtp: 7"),
        (("opus", 111, 0, 0, None, None, None, 5999), "bitrate: 5999"),
        (("PCMU", 0, 0, 0, None, None, None, 64_000), "bitrate: 64000; PCMU"),
    ],
)
def test_a_codec_that_cannot_be_is_refused(arguments: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Codec(*arguments)


def test_g711_may_have_a_dynamic_type_too() -> None:
    assert Codec("PCMA", 100).rtpmap == "PCMA/8000"
    assert Codec("L16", 96, 44100, 2).rtpmap == "L16/44100/2"


def test_rfc3551_s4_5_2_g722_counts_8000_ticks_and_has_16000_samples() -> None:
    assert codecs_for(9, 8000, None) == (G722,)
    assert (G722.rtpmap, G722.clock_rate, G722.sample_rate) == ("G722/8000", 8000, 16000)


def test_rfc7587_s7_opus_is_always_48000_hz_and_two_channels_in_sdp() -> None:
    assert codecs_for(0, 8000, ["opus", "g722"]) == (OPUS, G722)
    assert Codec("opus", 96).rtpmap == "opus/48000/2"
    assert OPUS.parameters == "minptime=10;useinbandfec=1"
    assert OPUS.audio_channels == 1
    assert Codec("opus", 111, fmtp="stereo=1").audio_channels == 2


def test_rfc7587_s6_1_format_parameters_are_understood() -> None:
    fmtp = "maxplaybackrate=16000; maxaveragebitrate=20000;Stereo=1;usedtx=1;cbr=1; x; y=2"
    assert OpusSettings.from_fmtp(fmtp) == OpusSettings(
        playback_rate=16000, max_bitrate=20000, stereo=True, dtx=True, cbr=True
    )
    assert OpusSettings.from_fmtp("") == OpusSettings()
    # Values out of range are ignored, odd rates are rounded up to a bandwidth there is.
    assert OpusSettings.from_fmtp("maxaveragebitrate=5999;maxplaybackrate=8001") == OpusSettings(
        playback_rate=12000
    )


def test_the_far_end_s_parameters_hold_for_what_is_sent_and_ours_for_what_is_received() -> None:
    codec = Codec("opus", 111, send_fmtp="stereo=1;maxaveragebitrate=30000", bitrate=64_000)
    assert codec.receives.inband_fec
    assert not codec.sends.inband_fec
    assert codec.native()["channels"] == 1
    sent = codec.native_sent()
    assert (sent["channels"], sent["bitrate"], sent["inband_fec"]) == (2, 30_000, False)
    assert Codec("opus", 111).sends == Codec("opus", 111).receives
