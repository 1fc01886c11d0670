"""The text of session descriptions: read, written, and refused by line."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp.sdp import (
    Attribute,
    Connection,
    Encoding,
    Media,
    Origin,
    SDPError,
    SessionDescription,
)
from rtp.sdp_corpus import ASTERISK, BARESIP, CORPUS, LINPHONE, OFFICE_HOLD, OLD_HOLD, SBC, text

HEAD = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")


def audio(of: str) -> Media:
    media = SessionDescription.parse(of).audio
    assert media is not None
    return media


def with_lines(*lines: str) -> str:
    return text(*HEAD, "m=audio 4000 RTP/AVP 0 96", *lines)


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_read_is_written_letter_for_letter(name: str) -> None:
    parsed = SessionDescription.parse(CORPUS[name])
    assert str(parsed) == CORPUS[name]
    assert SessionDescription.parse(str(parsed)) == parsed


def test_static_types_keep_their_meaning_without_a_line() -> None:
    """RFC 3551 §6."""
    assert [encoding.rtpmap for encoding in audio(SBC).encodings] == [
        "G729/8000",
        "PCMU/8000",
        "PCMA/8000",
        "telephone-event/8000",
        "CN/8000",
    ]


def test_encodings_come_in_the_order_of_the_m_line_with_their_parameters() -> None:
    assert audio(ASTERISK).encodings == (
        Encoding(107, "opus", 48000, 2, "useinbandfec=1"),
        Encoding(9, "G722", 8000),
        Encoding(0, "PCMU", 8000),
        Encoding(8, "PCMA", 8000),
        Encoding(118, "L16", 16000),
        Encoding(101, "telephone-event", 8000, 1, "0-16"),
    )
    assert (audio(ASTERISK).ptime, audio(ASTERISK).maxptime) == (20, 60)


def test_a_dynamic_type_that_nobody_explains_is_left_out() -> None:
    assert [encoding.name for encoding in audio(with_lines()).encodings] == ["PCMU"]


def test_a_line_may_give_a_static_number_another_meaning() -> None:
    assert audio(with_lines("a=rtpmap:0 L16/16000")).encodings == (Encoding(0, "L16", 16000),)


def test_addresses_are_of_the_media_or_of_the_session() -> None:
    described = SessionDescription.parse(
        SBC.replace("c=IN IP4 198.51.100.99", "c=IN IP4 192.0.2.1", 1)
    )
    assert described.address_of(audio(SBC)) == ("198.51.100.99", 17388)
    baresip = SessionDescription.parse(BARESIP)
    assert baresip.address_of(audio(BARESIP)) == ("2001:db8::17", 40116)


def test_hold_is_understood_in_both_styles() -> None:
    """RFC 3264 §8.4."""
    held = SessionDescription.parse(OFFICE_HOLD)
    assert held.direction_of(audio(OFFICE_HOLD)) == "sendonly"
    assert held.address_of(audio(OFFICE_HOLD)) == ("192.0.2.200", 35020)
    old = SessionDescription.parse(OLD_HOLD)
    assert old.direction_of(audio(OLD_HOLD)) == "sendonly"
    assert old.address_of(audio(OLD_HOLD)) is None
    both = SessionDescription.parse(OLD_HOLD + "a=recvonly\r\n")
    assert both.direction_of(audio(OLD_HOLD + "a=recvonly\r\n")) == "inactive"


def test_a_direction_of_the_session_is_that_of_media_without_one() -> None:
    """RFC 8866 §6.7."""
    described = SessionDescription.parse(
        text(*HEAD, "a=inactive", "m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0", "a=recvonly")
    )
    assert [described.direction_of(media) for media in described.media] == ["inactive", "recvonly"]


def test_rtcp_is_where_its_line_says() -> None:
    """RFC 3605, RFC 5761 §5.1.1."""
    assert audio(OFFICE_HOLD).rtcp == (40001, Connection("192.0.2.201"))
    assert audio(LINPHONE).rtcp == (33445, None)
    assert audio(ASTERISK).rtcp is None
    assert audio(CORPUS["rtpengine"]).rtcp_mux


def test_announced_ssrcs_are_told_once_each() -> None:
    lines = ("a=ssrc:7 cname:x", "a=ssrc:7 msid:y", "a=ssrc:4294967295 cname:x")
    assert audio(with_lines(*lines)).ssrcs == (7, 0xFFFF_FFFF)


@pytest.mark.parametrize("end", ["\n", "\r", " \t\r\n", "\r\n\r\n"])
def test_line_ends_blanks_and_empty_lines_of_any_kind_are_borne(end: str) -> None:
    assert SessionDescription.parse(ASTERISK.replace("\r\n", end)) == SessionDescription.parse(
        ASTERISK
    )


def test_bytes_unknown_lines_and_missing_ones_are_borne() -> None:
    described = SessionDescription.parse(
        b"v=0\no=- 1 1 IN IP4 192.0.2.1\nq=\xff\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\ny=1"
    )
    assert described.audio is not None
    assert described.name == "-"
    assert "t=0 0\r\n" in str(described)


def test_ice_and_dtls_lines_are_kept_and_mean_nothing() -> None:
    plain = "".join(
        line
        for line in LINPHONE.splitlines(keepends=True)
        if not line.startswith(("a=ice", "a=cand"))
    )
    assert audio(LINPHONE).encodings == audio(plain).encodings
    assert "a=candidate" in str(SessionDescription.parse(LINPHONE))


# --- refused by line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("m=audio", "kind, port, protocol and formats"),
        ("m=audio 4002", "kind, port, protocol and formats"),
        ("m=audio x RTP/AVP 0", "port 'x'"),
        ("m=audio 65536 RTP/AVP 0", "port '65536'"),
        ("m=audio ４ RTP/AVP 0", "port"),
        ("m=audio 4002 RTP/AVP\0 0", "NUL"),
    ],
)
def test_a_malformed_line_is_named(line: str, problem: str) -> None:
    with pytest.raises(SDPError) as caught:
        SessionDescription.parse(with_lines(line))
    assert problem in caught.value.problem
    assert (caught.value.line_number, caught.value.line) == (7, line.replace("\0", r"\x00"))
    assert str(caught.value).startswith(f"SDP: line 7: {line!r}: ")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((), "it is empty"),
        (("o=- 1 1 IN IP4 192.0.2.1",), "begins with 'v=0'"),
        (("v=1",), "version '1'"),
        (("garbage",), "begins with 'v=0'"),
    ],
)
def test_a_malformed_head_is_refused(lines: tuple[str, ...], problem: str) -> None:
    with pytest.raises(SDPError, match=problem):
        SessionDescription.parse(text(*lines))


def test_an_error_shows_no_key_and_no_more_than_one_can_read() -> None:
    key = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
    crypto = Attribute("crypto", f"1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20|1:4", 9)
    assert key not in repr(crypto)
    assert key not in str(crypto.error("no"))
    assert key in str(crypto)
    [unread] = SessionDescription.parse(text(*HEAD, f"k=clear:{key}\0")).unread
    assert key not in str(unread)
    assert key not in repr(SessionDescription.parse(text(*HEAD, f"k=clear:{key}")))
    with pytest.raises(SDPError) as caught:
        SessionDescription.parse("x" * 60_000)
    assert len(str(caught.value)) < 300


def test_a_description_has_a_bound() -> None:
    fits = with_lines(*["a=x"] * 1_900)
    assert len(SessionDescription.parse(fits).media[0].attributes) == 1_900
    with pytest.raises(SDPError, match="lines; at most 2000 fit"):
        SessionDescription.parse(with_lines(*["a=x"] * 2_000))
    with pytest.raises(SDPError, match="characters; at most 65536 fit"):
        SessionDescription.parse(with_lines("a=" + "x" * 65_536))


def test_what_is_no_text_is_the_program_s_fault() -> None:
    wrong: Any = 7
    with pytest.raises(TypeError, match="int; str or bytes fits"):
        SessionDescription.parse(wrong)


# --- writing -------------------------------------------------------------------------------------


def test_lines_are_written_in_the_order_of_rfc_8866_section_5() -> None:
    described = SessionDescription(
        origin=Origin("-", "1", "2", Connection.of("2001:db8::1")),
        connection=Connection.of("fe80::1%eth0"),
        attributes=(Attribute("tool", "roomkit"),),
        others=(("t", "0 0"), ("b", "AS:64"), ("i", "a call")),
        media=(Media("audio", 4000, formats=("0",), connection=Connection.of("192.0.2.1")),),
    )
    assert str(described) == text(
        "v=0",
        "o=- 1 2 IN IP6 2001:db8::1",
        "s=-",
        "i=a call",
        "c=IN IP6 fe80::1",
        "b=AS:64",
        "t=0 0",
        "a=tool:roomkit",
        "m=audio 4000 RTP/AVP 0",
        "c=IN IP4 192.0.2.1",
    )


def test_nothing_that_is_written_breaks_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line end"):
        Attribute("tool", "x\r\na=sendrecv")
    with pytest.raises(ValueError, match="line end"):
        str(SessionDescription(name="x\nm=audio 1 RTP/AVP 0"))


# --- left out ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a=rtpmap:96", "an encoding such as"),
        ("a=rtpmap:x opus/48000", "payload type 'x'"),
        ("a=rtpmap:96 speex", "an encoding such as"),
        ("a=rtpmap:96 opus/fast", "clock rate 'fast'"),
        ("a=rtpmap:96 opus/48000/0", "channels '0'"),
        ("a=rtpmap:96 opus/48000/2/2", "an encoding such as"),
        ("a=fmtp:200 x", "payload type '200'"),
        ("a=fmtp", "payload type ''"),
        ("a=ptime:soon", "'soon'; a number of milliseconds"),
        ("a=ptime:-20", "'-20'"),
        ("a=maxptime:99999", "'99999'"),
        ("a=rtcp:0", "port '0'"),
        ("a=rtcp", "port ''"),
        ("a=rtcp:4001 IN IP5 x", "kind of address 'IP5'"),
        ("a=rtcp:9356 IN 192.0.2.47", "an address such as"),
        ("a=ssrc:-1 cname:x", "SSRC '-1'"),
        ("a=ssrc:0x1234 cname:x", "SSRC '0x1234'"),
        ("a=:", "an attribute's name is missing"),
        ("c=IN IP4", "an address such as"),
        ("c=ATM IP4 192.0.2.1", "network 'ATM'"),
        ("c=IN IP4 192.0.2.256", "address '192.0.2.256' is none"),
        (f"c=IN IP4 {'ab-' * 86}", "address of 258 characters"),
        ("o=- 1 1 IN IP4 192.0.2.1", "behind the first 'm='"),
        ("v=0", "behind the first 'm='"),
        ("garbage", "one letter and '='"),
        ("mm=audio", "one letter and '='"),
        ("a", "one letter and '='"),
    ],
)
def test_a_line_that_a_call_can_do_without_counts_as_not_written_and_is_told_at_debug(
    line: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "roomkit.rtp"):
        media = audio(with_lines(line))
    assert [each.line_number for each in media.unread] == [7]
    assert problem in media.unread[0].problem
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert f"SDP: line 7: '{line[:79]}" in caplog.text
    assert caplog.text.rstrip().endswith("; ignored")
    without = audio(with_lines())
    assert (media.encodings, media.connection) == (without.encodings, None)
    assert (media.ptime, media.maxptime, media.rtcp, media.ssrcs) == (None, None, None, ())


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ("o=- 1 1 IN IP4", "5 fields"),
        (f"o=- {'9' * 41} 1 IN IP4 192.0.2.1", "session id of 41 characters"),
        ("o=- 1 1 IN IP4 192.0.2.999", "is none"),
        ("c=IN IP4 300.0.2.1", "is none"),
        ("a=", "an attribute's name is missing"),
        ("v=0", "a second line 'v='"),
        ("s=a\0b", "NUL"),
        ("mm=audio", "one letter and '='"),
    ],
)
def test_the_head_of_a_description_may_have_such_lines_too(head: str, problem: str) -> None:
    described = SessionDescription.parse(text("v=0", head, "m=audio 4000 RTP/AVP 0"))
    assert problem in described.unread[0].problem
    assert described.audio is not None
    assert SessionDescription.parse(str(described)) == described


def test_the_first_of_two_origins_holds_and_a_name_may_have_blanks() -> None:
    described = SessionDescription.parse(
        text("v=0", "o=A phone 0xAB 12 IN IP4 192.0.2.1", "o=- 1 1 IN IP4 192.0.2.2")
    )
    assert described.origin == Origin("A phone", "0xAB", "12", Connection("192.0.2.1"))
    assert "a second line 'o='" in described.unread[0].problem


def test_the_first_that_can_be_read_of_several_lines_counts() -> None:
    lines = ("a=ptime:x", "a=ptime:30", "a=ptime:40", "a=rtcp:x", "a=rtcp:4007", "a=ssrc:x")
    media = audio(with_lines(*lines, "a=ssrc:7 cname:x"))
    assert (media.ptime, media.rtcp, media.ssrcs) == (30, (4007, None), (7,))
    assert len(media.unread) == 3


@pytest.mark.parametrize(
    "line",
    [
        "m=audio 0 RTP/AVP 255",
        "m=audio 0 RTP/AVP",
        "m=audio 0",
        "m=video 0 UDP/TLS/RTP/SAVPF",
        "m=video 0",
        "m=video 70000 RTP/AVP 96",
        "m=video",
        "m=vid\0eo 4002 RTP/AVP 31",
        "m=application 5000 UDP/BFCP *",
        "m=image 4000 udptl t38",
    ],
)
@pytest.mark.parametrize("more", ["a=rtpmap:96", "c=IN IP4", "a=ptime:x", "b=x"])
def test_rfc_3264_section_8_2_nothing_is_checked_of_what_is_refused_or_no_audio(
    line: str, more: str
) -> None:
    described = SessionDescription.parse(with_lines(line, more))
    assert described.audio == audio(with_lines())
    assert SessionDescription.parse(str(described)) == described


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a=rtpmap: 96   opus/48000/2 ", "a=rtpmap:96 opus/48000/2"),
        ("a=rtpmap:96\topus / 48000 / 2", "a=rtpmap:96 opus/48000/2"),
        ("a=rtpmap :96 opus/48000/2", "a=rtpmap:96 opus/48000/2"),
        ("a=RTPMAP:96 opus/48000/2", "a=rtpmap:96 opus/48000/2"),
        ("A=rtpmap:96 opus/48000/2", "a=rtpmap:96 opus/48000/2"),
        ("a=rtpmap:96 telephone-event", "a=rtpmap:96 telephone-event/8000"),
        ("a=rtpmap:096 L16/16000/1", "a=rtpmap:96 L16/16000"),
        ("a=fmtp: 96  x=1", "a=fmtp:96 x=1"),
        ("a=SendOnly", "a=sendonly"),
        ("a= ptime : 30", "a=ptime:30"),
        ("a=ptime:30.0", "a=ptime:30"),
        ("a=RTCP-MUX:1", "a=rtcp-mux"),
        ("c=in ip4 192.0.2.9", "c=IN IP4 192.0.2.9"),
        ("c=IN IP4 192.000.002.009", "c=IN IP4 192.0.2.9"),
        ("c=IN IP4 2001:db8::1", "c=IN IP6 2001:db8::1"),
    ],
)
def test_what_is_written_oddly_means_what_it_means(written: str, meant: str) -> None:
    odd, plain = audio(with_lines(written)), audio(with_lines(meant))
    assert odd.encodings == plain.encodings
    assert (odd.direction, odd.ptime, odd.rtcp_mux) == (
        plain.direction,
        plain.ptime,
        plain.rtcp_mux,
    )
    assert odd.connection == plain.connection
    assert odd.unread == ()


def test_of_many_lines_some_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "roomkit.rtp"):
        SessionDescription.parse(with_lines(*["a=ptime:x"] * 100))
    assert len(caplog.records) == 17
    assert "84 more lines cannot be read" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "roomkit.rtp"):
        SessionDescription.parse(with_lines(*["a=ptime:x"] * 100))
    assert not caplog.records


# --- any text at all -----------------------------------------------------------------------------

LINES = st.sampled_from([line for each in CORPUS.values() for line in each.splitlines()])


@given(st.one_of(st.text(), st.binary()))
def test_any_text_is_read_or_refused(given_text: str | bytes) -> None:
    with contextlib.suppress(SDPError):
        SessionDescription.parse(given_text)


@given(st.lists(LINES, max_size=40), st.sampled_from(sorted(CORPUS)), st.randoms())
def test_lines_that_were_mixed_up_are_refused_or_read_the_same_again(
    more: list[str], name: str, random: Any
) -> None:
    lines = CORPUS[name].splitlines()
    for line in more:
        lines.insert(random.randrange(2, len(lines) + 1), line)
    try:
        parsed = SessionDescription.parse("\n".join(lines))
    except SDPError as error:
        assert error.line_number is not None
        return
    assert SessionDescription.parse(str(parsed)) == parsed


@given(st.sampled_from(sorted(CORPUS)), st.data())
def test_a_character_that_was_changed_is_refused_or_read_the_same_again(
    name: str, data: st.DataObject
) -> None:
    letters = list(CORPUS[name])
    place = data.draw(st.integers(0, len(letters) - 1))
    letters[place] = data.draw(st.characters())
    try:
        parsed = SessionDescription.parse("".join(letters))
    except SDPError:
        return
    assert SessionDescription.parse(str(parsed)) == parsed
