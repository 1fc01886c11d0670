"""What payload types mean in a call."""

from __future__ import annotations

from typing import Any

import pytest

from roomkit.rtp import Codec
from roomkit.rtp.sdp import Negotiation, SDPError
from roomkit.rtp.sdp.numbers import Numbers
from rtp.sdp_corpus import text


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


def test_rfc_5761_section_4_below_64_there_are_more_where_those_from_96_run_out() -> None:
    numbers = Numbers()
    given = [numbers.give(f"L16/{rate}", 96, ()) for rate in range(61)]
    assert given[:61] == [*range(96, 128), *range(35, 64)]


def test_after_more_encodings_than_there_are_numbers_one_that_rests_is_given() -> None:
    numbers = Numbers()
    for rate in range(61):
        numbers.give(f"L16/{rate}", 96, ())
    assert numbers.give("opus/48000/2", 96, {96, 97}) == 98
    with pytest.raises(ValueError, match="no number is left for G722/8000"):
        numbers.give("G722/8000", 96, (*range(96, 128), *range(35, 64)))


# --- what an offer's numbers are, here -----------------------------------------------------------

OURS = ("203.0.113.1", 4000)


def offer(types: str, *lines: str) -> str:
    head = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1")
    return text(*head, f"m=audio 5004 RTP/AVP {types}", *lines)


@pytest.mark.parametrize("options", [{}, {"codecs": ["opus", Codec("L16", 96, 16000)]}])
def test_rfc_3551_section_6_numbers_from_35_to_63_are_taken_and_answered(
    options: dict[str, Any],
) -> None:
    lines = ("rtpmap:35 opus/48000/2", "fmtp:35 stereo=1", "rtpmap:63 L16/16000")
    digits = ("rtpmap:36 telephone-event/48000", "rtpmap:37 telephone-event/16000")
    negotiation = Negotiation(**options)
    agreement = negotiation.receive_offer(
        offer("35 63 36 37", *(f"a={line}" for line in (*lines, *digits)))
    )
    assert [codec.payload_type for codec in agreement.codecs] == [35, 63]
    assert agreement.events == {48000: 36, 16000: 37}
    assert negotiation.answer(OURS).media[0].formats == ("35", "63", "36", "37")
    # And in a re-INVITE of ours they mean what they meant.
    assert negotiation.offer(OURS).media[0].formats == ("35", "63", "37", "36")


@pytest.mark.parametrize("number", [2, 34, 64, 72, 95])
@pytest.mark.parametrize("options", [{}, {"codecs": ["opus", "PCMU"]}])
def test_a_codec_under_a_number_that_it_cannot_have_leaves_the_others(
    number: int, options: dict[str, Any]
) -> None:
    sdp = offer(f"{number} 0", f"a=rtpmap:{number} opus/48000/2")
    agreement = Negotiation(**options).receive_offer(sdp)
    assert [codec.rtpmap for codec in agreement.codecs] == ["PCMU/8000"]


def test_rfc_5761_section_4_where_nothing_else_is_left_the_collision_is_told() -> None:
    sdp = offer("72", "a=rtpmap:72 opus/48000/2")
    with pytest.raises(
        SDPError, match=r"it has opus/48000/2 as 72, which collides with RTCP \(RFC"
    ):
        Negotiation().receive_offer(sdp)


@pytest.mark.parametrize(("number", "taken"), [(63, True), (64, False), (95, False), (18, True)])
def test_an_answer_may_have_numbers_of_its_own_but_none_that_collide_with_rtcp(
    number: int, taken: bool
) -> None:
    negotiation = Negotiation(codecs=["opus", "PCMU"])
    negotiation.offer(OURS)
    agreement = negotiation.receive_answer(offer(f"{number} 0", f"a=rtpmap:{number} opus/48000/2"))
    assert agreement.codec.name == ("opus" if taken else "PCMU")
    assert not taken or agreement.codec.wire_type == number


def test_digits_find_a_number_below_64_beside_codecs_that_take_all_others() -> None:
    codecs = [Codec("L16", number, 16000) for number in range(96, 128)]
    audio = Negotiation().offer(OURS, codecs=codecs).media[0]
    assert audio.formats == (*map(str, range(96, 128)), "35")
    assert audio.encodings[-1].rtpmap == "telephone-event/16000"
