"""Offers and answers: what two ends agree on, without a socket (RFC 3264)."""

from __future__ import annotations

from typing import Any

import pytest

from roomkit.rtp import Codec, RTPOptions
from roomkit.rtp.sdp import Agreement, Media, Negotiation, SDPError, SessionDescription
from roomkit.rtp.sdp.agreement import turned
from rtp.sdp_corpus import (
    ASTERISK,
    BARESIP,
    BROWSER,
    FREESWITCH,
    LINPHONE,
    OFFICE_HOLD,
    OLD_HOLD,
    SBC,
    text,
)

OURS = ("203.0.113.1", 4000)
HEAD = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")


def offer(*lines: str, m: str = "audio 5004 RTP/AVP 0 8") -> str:
    return text(*HEAD, f"m={m}", *lines)


def agreed(sdp: str, **options: Any) -> Agreement:
    return Negotiation(**options).receive_offer(sdp)


def answered(sdp: str, **options: Any) -> tuple[Media, SessionDescription]:
    negotiation = Negotiation(**options)
    negotiation.receive_offer(sdp)
    answer = negotiation.answer(OURS)
    assert SessionDescription.parse(str(answer)) == answer
    assert answer.audio is not None
    return answer.audio, answer


def call(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[Negotiation, Negotiation]:
    """Alice has offered, Bob has answered."""
    alice, bob = Negotiation(**ours), Negotiation(**theirs)
    bob.receive_offer(str(alice.offer(OURS)))
    alice.receive_answer(str(bob.answer(("192.0.2.1", 5004))))
    return alice, bob


# --- answering -----------------------------------------------------------------------------------


def test_rfc_3264_section_6_1_the_answer_keeps_numbers_and_order_of_the_offer() -> None:
    audio, _ = answered(ASTERISK)
    assert audio.formats == ("107", "9", "0", "8", "118", "101")
    agreement = agreed(ASTERISK)
    assert [codec.rtpmap for codec in agreement.codecs] == [
        "opus/48000/2",
        "G722/8000",
        "PCMU/8000",
        "PCMA/8000",
        "L16/16000",
    ]
    assert [codec.wire_type for codec in agreement.codecs] == [107, 9, 0, 8, 118]
    assert agreement.events == agreement.send_events == {8000: 101}


def test_rfc_3264_section_6_1_our_own_list_decides_the_order_and_what_is_taken() -> None:
    audio, _ = answered(ASTERISK, codecs=["PCMA", "G722"])
    assert audio.formats == ("8", "9", "101")


def test_a_codec_of_ours_keeps_its_settings_under_the_number_of_the_offer() -> None:
    ours = Codec("opus", 111, fmtp="stereo=1;useinbandfec=1", bitrate=24_000, complexity=3)
    codec = agreed(FREESWITCH, codecs=[ours]).codec
    assert (codec.payload_type, codec.bitrate, codec.complexity) == (102, 24_000, 3)
    assert codec.audio_channels == 2
    assert codec.sends.max_bitrate == 30_000
    audio, _ = answered(FREESWITCH, codecs=[ours])
    assert audio.encodings[0].parameters == "stereo=1;useinbandfec=1"


def test_rfc_7587_section_7_parameters_hold_for_the_direction_they_are_said_in() -> None:
    codec = agreed(BARESIP).codec
    assert codec.sends.stereo
    assert not codec.receives.stereo
    assert codec.sends.max_bitrate == 28_000
    assert not codec.sends.inband_fec, "it has not asked for it, though we do"


def test_rfc_7587_section_6_1_a_parameter_that_cannot_be_counts_as_not_written() -> None:
    fmtp = "stereo=loud; maxaveragebitrate=fast;useinbandfec=1;x"
    sdp = offer("a=rtpmap:96 opus/48000/2", f"a=fmtp:96 {fmtp}", m="audio 5004 RTP/AVP 96")
    for codec in (agreed(sdp).codec, agreed(sdp, codecs=["opus"]).codec):
        assert codec.sends.inband_fec
        assert (codec.sends.stereo, codec.sends.max_bitrate) == (False, None)
    media = SessionDescription.parse(sdp).media[0]
    assert [each.problem for each in media.unread] == [
        "parameter 'stereo=loud' of Opus (RFC 7587 §6.1)",
        "parameter ' maxaveragebitrate=fast' of Opus (RFC 7587 §6.1)",
    ]
    assert media.encodings[0].parameters == fmtp


def test_rfc_4733_section_2_1_digits_have_a_type_for_each_clock_of_the_codecs() -> None:
    assert agreed(FREESWITCH).events == {48000: 103, 8000: 101}
    assert agreed(FREESWITCH, codecs=["PCMU"]).events == {8000: 101}
    assert agreed(LINPHONE).events == {48000: 101, 8000: 100}
    audio, _ = answered(LINPHONE)
    assert audio.formats == ("96", "0", "8", "101", "100")
    assert [e.parameters for e in audio.encodings if e.name == "telephone-event"] == ["0-15"] * 2


def test_digits_are_left_out_where_either_end_wants_none() -> None:
    assert agreed(ASTERISK, dtmf_payload_type=None).events == {}
    assert agreed(offer()).events == {}
    assert RTPOptions(**agreed(offer()).options()).events == {}


def test_rfc_3389_comfort_noise_is_taken_where_it_is_offered() -> None:
    audio, _ = answered(FREESWITCH)
    assert audio.formats[-1] == "13"
    assert agreed(FREESWITCH, comfort_noise_types={}).noise == {}
    assert agreed(SBC).noise == {8000: 19}
    assert agreed(offer(m="audio 5004 RTP/AVP 0 18")).noise == {}


def test_static_types_without_a_line_are_understood() -> None:
    audio, _ = answered(SBC)
    assert audio.formats == ("0", "8", "101", "19")


def test_linear_audio_that_no_packet_holds_is_taken_only_for_want_of_another() -> None:
    lines = ("a=rtpmap:97 L16/48000/2", "a=rtpmap:98 L16/48000")
    both = offer(*lines, m="audio 5004 RTP/AVP 97 98 8")
    assert [codec.name for codec in agreed(both).codecs] == ["PCMA"]
    alone = agreed(offer(*lines, m="audio 5004 RTP/AVP 98 97"))
    assert [codec.rtpmap for codec in alone.codecs] == ["L16/48000", "L16/48000/2"]
    assert alone.ptime_ms == 10, "960 octets fit, 1920 would not"


@pytest.mark.parametrize(
    ("lines", "options", "ptime"),
    [
        ((), {}, 20),
        (("a=ptime:30",), {}, 30),
        (("a=ptime:30",), {"ptime_ms": 20}, 20),
        (("a=ptime:30", "a=maxptime:20"), {}, 20),
        (("a=maxptime:20",), {"ptime_ms": 60}, 20),
        (("a=ptime:35",), {}, 30),
        (("a=ptime:5",), {}, 10),
        (("a=ptime:200",), {}, 60),
        (("a=ptime:0",), {}, 20),
        (("a=maxptime:5",), {}, 10),
    ],
)
def test_rfc_8866_section_6_4_the_length_of_packets_is_what_both_bear(
    lines: tuple[str, ...], options: dict[str, Any], ptime: int
) -> None:
    assert agreed(offer(*lines), **options).ptime_ms == ptime
    audio, _ = answered(offer(*lines), **options)
    assert audio.ptime == ptime


def test_rfc_6716_opus_has_no_packets_of_30_ms() -> None:
    lines = ("a=rtpmap:96 opus/48000/2", "a=ptime:30")
    assert agreed(offer(*lines, m="audio 5004 RTP/AVP 96")).ptime_ms == 20


@pytest.mark.parametrize(
    ("said", "wish", "ours"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendonly", "sendonly"),
        ("sendrecv", "inactive", "inactive"),
    ],
)
def test_rfc_3264_section_6_1_directions(said: Any, wish: Any, ours: str) -> None:
    assert turned(said, wish) == ours
    audio, _ = answered(offer(f"a={said}"), direction=wish)
    assert audio.direction == ours


def test_rfc_3264_section_8_4_hold_of_either_style_is_answered_with_receiving_only() -> None:
    for sdp in (OFFICE_HOLD, OLD_HOLD):
        audio, _ = answered(sdp)
        assert audio.direction == "recvonly"
        assert agreed(sdp).on_hold
    assert agreed(OLD_HOLD).remote_addr is None
    assert "remote_addr" not in agreed(OLD_HOLD).options()


def test_rfc_3264_section_6_other_media_keep_their_place_and_are_refused() -> None:
    _, answer = answered(LINPHONE)
    assert [(media.kind, media.port) for media in answer.media] == [("audio", 4000), ("video", 0)]
    assert answer.media[1].formats == ("96",)
    sdp = text(*HEAD, "m=video 4 RTP/AVP 31", "m=audio 0 RTP/AVP 0", "m=audio 6 RTP/AVP 8")
    _, answer = answered(sdp)
    assert [media.port for media in answer.media] == [0, 0, 4000]


def test_rfc_3605_rtcp_is_sent_where_it_is_said_to_be() -> None:
    assert agreed(OFFICE_HOLD).remote_rtcp_addr == ("192.0.2.201", 40001)
    assert agreed(LINPHONE).remote_rtcp_addr == ("192.0.2.33", 33445)
    assert agreed(ASTERISK).remote_rtcp_addr is None
    assert agreed(offer("a=rtcp:5005")).remote_rtcp_addr is None
    elsewhere = agreed(offer("a=rtcp:5006 IN IP4 reports.example"))
    assert elsewhere.remote_rtcp_addr == ("reports.example", 5006)
    at_home = offer("a=rtcp:5005 IN IP4 a.example").replace(
        "c=IN IP4 192.0.2.1", "c=IN IP4 a.example"
    )
    assert agreed(at_home).remote_rtcp_addr is None
    assert agreed(offer("a=rtcp:5006 IN IP4 held.invalid")).remote_rtcp_addr is None
    negotiation = Negotiation()
    negotiation.receive_offer(ASTERISK)
    assert "a=rtcp:9001\r\n" in str(negotiation.answer(OURS, (OURS[0], 9001)))


def test_rfc_5761_section_5_1_1_rtcp_shares_the_port_where_both_want_it() -> None:
    sdp = offer("a=rtcp:5005", "a=rtcp-mux")
    for options, mode in (
        (({}), "mux"),
        ({"rtcp": "separate"}, "separate"),
        ({"rtcp": "off"}, "off"),
    ):
        negotiation = Negotiation(**options)
        negotiation.receive_offer(sdp)
        assert negotiation.rtcp_mode == mode
        audio = negotiation.answer(OURS).audio
        assert audio is not None
        assert audio.rtcp_mux == (mode == "mux")
    unwilling = Negotiation(rtcp="mux")
    unwilling.receive_offer(offer())
    assert unwilling.rtcp_mode == "separate"


def test_the_profile_of_the_offer_is_answered() -> None:
    audio, _ = answered(offer("a=rtcp-fb:* nack", m="audio 5004 RTP/AVPF 0"))
    assert (audio.protocol, audio.formats) == ("RTP/AVPF", ("0",))


def test_ipv6_is_answered_with_ipv6() -> None:
    negotiation = Negotiation()
    assert negotiation.receive_offer(BARESIP).remote_addr == ("2001:db8::17", 40116)
    answer = str(negotiation.answer(("2001:db8::1", 4000)))
    assert "c=IN IP6 2001:db8::1\r\n" in answer


# --- what cannot be agreed on --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sdp", "problem"),
    [
        (BROWSER, "line 7: .*keys by DTLS are not supported"),
        (offer(m="audio 5004 TCP/RTP/AVP 0"), "line 6: .*protocol 'TCP/RTP/AVP'"),
        (offer(m="audio 0 RTP/AVP 0"), "line 6: .*its port is 0"),
        (offer(m="video 5004 RTP/AVP 31"), "there is no line 'm=audio'"),
        (offer(m="audio 5004 RTP/AVP 18 97"), "line 6: .*no codec in common: it has G729/8000;"),
        (offer("c=IN IP4 224.2.1.1/127"), "line 6: .*'224.2.1.1' is multicast"),
        (text(*HEAD[:3], "m=audio 5004 RTP/AVP 0"), "line 4: .*no line 'c='"),
    ],
)
def test_an_offer_that_cannot_be_is_refused_by_line(sdp: str, problem: str) -> None:
    with pytest.raises(SDPError, match=problem):
        Negotiation().receive_offer(sdp)


def test_options_are_checked_by_name() -> None:
    with pytest.raises(ValueError, match="^ptime_ms: 25"):
        Negotiation(ptime_ms=25)
    with pytest.raises(ValueError, match="^codecs: 'G729'"):
        Negotiation(codecs=["G729"])
    with pytest.raises(TypeError, match="colour"):
        Negotiation(colour="blue")
    negotiation = Negotiation()
    with pytest.raises(ValueError, match="^direction: 'both'"):
        wrong: Any = "both"
        negotiation.offer(OURS, direction=wrong)
    with pytest.raises(RuntimeError, match="no offer to answer"):
        negotiation.answer(OURS)
    with pytest.raises(RuntimeError, match="no offer of ours"):
        negotiation.receive_answer(ASTERISK)


# --- offering ------------------------------------------------------------------------------------


def test_an_offer_of_ours_has_all_we_are_good_at() -> None:
    described = Negotiation().offer(OURS)
    assert str(described) == text(
        "v=0",
        f"o=- {described.origin.session_id} 1 IN IP4 203.0.113.1",
        "s=-",
        "c=IN IP4 203.0.113.1",
        "t=0 0",
        "m=audio 4000 RTP/AVP 111 9 0 8 101 96",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:96 telephone-event/48000",
        "a=fmtp:96 0-15",
        "a=ptime:20",
        "a=sendrecv",
    )


def test_rfc_3264_section_5_1_numbers_belong_to_who_receives_them() -> None:
    negotiation = Negotiation(codecs=["opus", Codec("L16", 96, 16000)])
    negotiation.offer(OURS)
    answer = offer(
        "a=rtpmap:100 L16/16000",
        "a=rtpmap:99 OPUS/48000/2",
        "a=rtpmap:98 telephone-event/48000",
        m="audio 5004 RTP/AVP 100 99 98",
    )
    agreement = negotiation.receive_answer(answer)
    first, second = agreement.codecs
    assert (first.rtpmap, first.payload_type, first.wire_type) == ("L16/16000", 96, 100)
    assert (second.rtpmap, second.payload_type, second.wire_type) == ("opus/48000/2", 111, 99)
    assert (agreement.events, agreement.send_events) == ({48000: 97}, {48000: 98})
    RTPOptions(**agreement.options())


def test_rfc_3264_section_7_what_the_answer_leaves_out_is_gone() -> None:
    alice, bob = call({"codecs": ["PCMU", "PCMA", "G722"]}, {"codecs": ["PCMA"]})
    assert alice.agreement is not None
    assert bob.agreement is not None
    assert [codec.name for codec in alice.agreement.codecs] == ["PCMA"]
    assert alice.agreement.codecs == bob.agreement.codecs
    assert alice.agreement.events == bob.agreement.events == {8000: 101}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (offer(m="audio 0 RTP/AVP 0"), "line 6: .*the audio is refused"),
        (offer(m="audio 5004 RTP/AVP 18"), "line 6: .*no codec in common"),
        (text(*HEAD), "0 lines 'm=' answer an offer of 1"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_and_another_may_come(
    answer: str, problem: str
) -> None:
    negotiation = Negotiation()
    negotiation.offer(OURS)
    with pytest.raises(SDPError, match=problem):
        negotiation.receive_answer(answer)
    assert negotiation.agreement is None
    assert negotiation.receive_answer(offer()).codec.name == "PCMU"


def test_rfc_5761_an_offer_of_ours_may_share_the_port() -> None:
    alice, bob = call({"rtcp": "mux"}, {})
    assert (alice.rtcp_mode, bob.rtcp_mode) == ("mux", "mux")
    alice, bob = call({"rtcp": "mux"}, {"rtcp": "separate"})
    assert (alice.rtcp_mode, bob.rtcp_mode) == ("separate", "separate")
    assert alice.agreement is not None
    assert alice.agreement.remote_rtcp_addr is None, "the port after RTP's"


# --- in the middle of a call ---------------------------------------------------------------------


def test_rfc_3264_section_8_the_version_counts_changes_and_only_changes() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(offer())
    first = negotiation.answer(OURS)
    negotiation.receive_offer(offer())
    assert negotiation.answer(OURS) == first
    negotiation.receive_offer(offer("a=sendonly"))
    held = negotiation.answer(OURS)
    assert held.origin.session_id == first.origin.session_id
    assert int(held.origin.version) == int(first.origin.version) + 1


def test_rfc_3264_section_8_4_hold_and_resume_by_either_end() -> None:
    alice, bob = call({}, {})
    answer = hold(alice, bob, "sendonly")
    assert directions(alice, bob) == ("sendonly", "recvonly")
    assert "a=recvonly" in answer
    # Who holds goes on to do so when the other end offers something.
    answer = hold(bob, alice, "sendrecv")
    assert "a=sendonly" in answer
    assert directions(alice, bob) == ("sendonly", "recvonly")
    hold(alice, bob, "sendrecv")
    assert directions(alice, bob) == ("sendrecv", "sendrecv")


def directions(*ends: Negotiation) -> tuple[str, ...]:
    return tuple(end.agreement.direction for end in ends if end.agreement is not None)


def hold(who: Negotiation, other: Negotiation, direction: Any) -> str:
    other.receive_offer(str(who.offer(OURS, direction=direction)))
    answer = str(other.answer(("192.0.2.1", 5004)))
    who.receive_answer(answer)
    return answer


def test_rfc_3264_section_8_3_2_a_number_never_changes_its_meaning() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(
        offer("a=rtpmap:111 L16/16000", "a=rtpmap:96 opus/48000/2", m="audio 5004 RTP/AVP 111 96")
    )
    negotiation.answer(OURS)
    audio = negotiation.offer(OURS, codecs=["opus", "PCMU"]).audio
    assert audio is not None
    assert audio.formats[:2] == ("96", "0")
    wide = negotiation.offer(OURS, codecs=[Codec("L16", 96, 8000)]).audio
    assert wide is not None
    assert wide.encodings[0].payload_type not in (96, 111)


def test_rfc_3264_section_8_2_audio_that_ends_is_answered_with_port_0_and_may_come_back() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(offer())
    negotiation.answer(OURS)
    over = negotiation.receive_offer(offer(m="audio 0 RTP/AVP 0"))
    assert (over.ended, over.direction) == (True, "inactive")
    assert negotiation.answer(OURS).media[0].port == 0
    assert not negotiation.receive_offer(offer()).ended


def test_what_is_refused_in_mid_call_has_changed_nothing() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(offer())
    negotiation.answer(OURS)
    before = negotiation.agreement
    with pytest.raises(SDPError, match="no codec in common"):
        negotiation.receive_offer(offer(m="audio 5004 RTP/AVP 18"))
    assert negotiation.agreement == before


def test_an_offer_of_ours_keeps_the_places_of_refused_media() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(LINPHONE)
    negotiation.answer(OURS)
    media = negotiation.offer(OURS, direction="sendonly").media
    assert [(each.kind, each.port) for each in media] == [("audio", 4000), ("video", 0)]


def test_rfc_5761_section_5_1_1_each_offer_says_anew_whether_rtcp_shares_the_port() -> None:
    negotiation = Negotiation()
    for muxed in (False, True, False, True):
        agreement = negotiation.receive_offer(offer(*["a=rtcp-mux"][: int(muxed)]))
        assert negotiation.rtcp_mode == ("mux" if muxed else "separate")
        assert agreement.remote_rtcp_addr is None
        assert ("a=rtcp-mux" in str(negotiation.answer(OURS))) is muxed
    # Where it is elsewhere, it is there again after the port was shared.
    assert negotiation.receive_offer(offer("a=rtcp:9001")).remote_rtcp_addr == ("192.0.2.1", 9001)


def test_rfc_5761_section_5_1_1_an_offer_of_ours_in_mid_call_goes_on_sharing_the_port() -> None:
    for theirs, modes in (({}, ("mux", "mux")), ({"rtcp": "separate"}, ("separate", "separate"))):
        alice, bob = call({"rtcp": "mux"}, theirs)
        hold = str(alice.offer(OURS, direction="sendonly"))
        assert ("a=rtcp-mux" in hold) is (modes[0] == "mux")
        bob.receive_offer(hold)
        alice.receive_answer(str(bob.answer(OURS)))
        assert (alice.rtcp_mode, bob.rtcp_mode) == modes


def test_rfc_5761_section_5_1_1_an_answer_shares_no_port_that_the_offer_did_not() -> None:
    negotiation = Negotiation()
    negotiation.offer(OURS)
    agreement = negotiation.receive_answer(offer("a=rtcp-mux"))
    assert (negotiation.rtcp_mode, agreement.mux) == ("separate", False)
    assert agreement.remote_rtcp_addr == ("192.0.2.1", 5004), "where the far end takes it"
