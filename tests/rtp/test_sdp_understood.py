"""What far ends send under numbers that were not agreed on, where they can mean one thing only."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp import Codec, RTPOptions, RTPSession
from roomkit.rtp.codecs import PCMA, PCMU
from roomkit.rtp.sdp import Agreement, Negotiation, SDPError
from rtp.sdp_corpus import text
from rtp.sound import level, listen
from rtp.wire import Peer, rtp

OURS = ("203.0.113.1", 4000)
LOOPBACK = "127.0.0.1"
HERE: Any = {"local_addr": (LOOPBACK, 0)}


def described(types: str, *rtpmaps: str, port: int = 5004) -> str:
    lines = (f"a=rtpmap:{rtpmap}" for rtpmap in rtpmaps)
    head = ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0")
    return text(*head, f"m=audio {port} RTP/AVP {types}", *lines)


def events(agreement: Agreement, before: Agreement | None = None) -> list[tuple[int, int]]:
    """Of digits that the media core then hears: payload types with their clocks."""
    return core(agreement, before)["receive_events"]  # type: ignore[no-any-return]


def codecs(agreement: Agreement, before: Agreement | None = None) -> list[tuple[int, str]]:
    heard = core(agreement, before)["codecs"]
    return [(codec["payload_type"], codec["kind"]) for codec in heard]


def core(agreement: Agreement, before: Agreement | None = None) -> dict[str, Any]:
    options = RTPOptions(**agreement.options(before))
    return options.native((LOOPBACK, 4000), None, None, shared=False)


def offered(sdp: str, **options: Any) -> Agreement:
    return Negotiation(**options).receive_offer(sdp)


def answered(ours: list[Codec | str], sdp: str, **options: Any) -> Agreement:
    negotiation = Negotiation(codecs=ours, **options)
    negotiation.offer(OURS)
    return negotiation.receive_answer(sdp)


# --- digits --------------------------------------------------------------------------------------


def test_rfc_3264_section_5_1_digits_are_heard_under_the_number_that_the_far_end_receives() -> None:
    agreement = answered(["PCMA"], described("8 122", "122 telephone-event/8000"))
    assert events(agreement) == [(101, 8000), (122, 8000)]
    assert (agreement.events, agreement.send_events) == ({8000: 101}, {8000: 122})


def test_rfc_3264_section_5_1_digits_are_heard_under_each_number_of_our_offer() -> None:
    agreement = answered(["opus", "PCMA"], described("8 101", "101 telephone-event/8000"))
    assert events(agreement) == [(101, 8000), (96, 48000)]
    assert agreement.events == {8000: 101}


def test_digits_of_our_offer_are_heard_though_the_answer_says_nothing_of_them() -> None:
    agreement = answered(["opus", "PCMA"], described("8 96", "96 CN/8000"))
    assert (agreement.events, agreement.send_events) == ({}, {})
    assert events(agreement) == [(101, 8000), (96, 48000)]
    options = RTPOptions(**agreement.options())
    assert not options.sends_events
    # What we hear as digits may be the far end's number for something else.
    RTPOptions(dtmf_types={8000: 96}, dtmf_send_types={}, comfort_noise_send_types={8000: 96})


def test_digits_of_a_clock_that_we_did_not_offer_are_heard_at_that_clock() -> None:
    answer = described("8 101 97", "101 telephone-event/8000", "97 telephone-event/16000")
    assert events(answered(["PCMA"], answer)) == [(101, 8000), (97, 16000)]


def test_what_the_answer_names_is_newer_than_what_our_offer_did() -> None:
    answer = described("8 96", "96 telephone-event/8000")
    assert events(answered(["opus", "PCMA"], answer)) == [(101, 8000), (96, 8000)]


def test_a_number_that_means_something_here_means_nothing_else() -> None:
    answer = described("111 8 101", "111 opus/48000/2", "101 telephone-event/48000")
    agreement = answered(["opus", "PCMA"], answer)
    assert agreement.events == {48000: 96}, "as we offered it"
    assert events(agreement) == [(96, 48000), (101, 48000)]
    answer = described("97 8 111", "97 opus/48000/2", "111 telephone-event/8000")
    agreement = answered(["opus", "PCMA"], answer)
    assert codecs(agreement)[0] == (111, "opus"), "as we offered it"
    assert (111, 8000) not in events(agreement)
    # What of our offer was not taken means nothing any more.
    answer = described("8 111", "111 telephone-event/8000")
    assert (111, 8000) in events(answered(["opus", "PCMA"], answer))


def test_every_number_of_an_offer_is_heard_and_the_answer_has_one_for_each_clock() -> None:
    sdp = described(
        "8 101 103 96",
        *("101 telephone-event/8000", "103 telephone-event/48000", "96 telephone-event/8000"),
    )
    negotiation = Negotiation()
    agreement = negotiation.receive_offer(sdp)
    assert events(agreement) == [(101, 8000), (96, 8000), (103, 48000)]
    assert negotiation.answer(OURS).media[0].formats == ("8", "101")


def test_who_wants_no_digits_gets_none() -> None:
    sdp = described("8 101", "101 telephone-event/8000")
    assert events(offered(sdp, dtmf_payload_type=None)) == []
    assert events(answered(["PCMA"], sdp, dtmf_payload_type=None)) == []


def test_rfc_3264_section_8_3_2_the_number_of_before_is_heard_until_the_next_change() -> None:
    negotiation = Negotiation()
    before = negotiation.receive_offer(described("8 101", "101 telephone-event/8000"))
    negotiation.answer(OURS)
    now = negotiation.receive_offer(described("8 96", "96 telephone-event/8000"))
    assert events(now, before) == [(96, 8000), (101, 8000)]
    negotiation.answer(OURS)
    then = negotiation.receive_offer(described("8 97", "97 telephone-event/8000"))
    assert events(then, now) == [(97, 8000), (96, 8000)]
    none = negotiation.receive_offer(described("8"))
    assert events(none, now) == []


def test_what_a_re_offer_gives_another_meaning_has_no_other() -> None:
    first = offered(described("96 101", "96 L16/16000", "101 telephone-event/8000"))
    again = offered(described("101 96", "101 L16/16000", "96 telephone-event/8000"))
    assert events(again, first) == [(96, 8000)]
    assert codecs(again, first) == [(101, "L16")]


def test_our_next_offer_gives_no_number_of_theirs_to_anything_else() -> None:
    negotiation = Negotiation(codecs=["PCMA"])
    negotiation.offer(OURS)
    negotiation.receive_answer(described("8 122", "122 telephone-event/8000"))
    audio = negotiation.offer(OURS, codecs=["PCMA", Codec("L16", 122, 16000)]).media[0]
    assert {encoding.rtpmap for encoding in audio.encodings if encoding.payload_type == 101} == {
        "telephone-event/8000"
    }
    assert "122" not in audio.formats


# --- audio ---------------------------------------------------------------------------------------


def test_rfc_3551_section_6_either_law_is_heard_where_one_was_agreed_on() -> None:
    for ours, other in ((PCMA, PCMU), (PCMU, PCMA)):
        sdp = described(str(ours.payload_type))
        for agreement in (offered(sdp), answered([ours], sdp)):
            numbers = [(ours.payload_type, ours.name), (other.payload_type, other.name)]
            assert codecs(agreement) == numbers
            assert agreement.codecs[0].name == ours.name
            assert len(agreement.codecs) == 1
            assert not agreement.send_events
    negotiation = Negotiation()
    negotiation.receive_offer(described("8"))
    assert negotiation.answer(OURS).media[0].formats == ("8",)


def test_a_law_under_a_type_of_its_own_is_heard_under_the_static_one_too() -> None:
    agreement = offered(described("100", "100 PCMA/8000"))
    assert codecs(agreement) == [(100, "PCMA"), (0, "PCMU"), (8, "PCMA")]


def test_static_types_that_mean_something_else_are_not_heard_as_g711() -> None:
    assert codecs(offered(described("8 0", "0 L16/16000"))) == [(8, "PCMA")]
    assert codecs(offered(described("9"))) == [(9, "G722")]


def test_rfc_3264_section_5_1_audio_under_the_far_end_s_own_number_is_heard() -> None:
    agreement = answered(["opus"], described("96", "96 opus/48000/2"))
    assert codecs(agreement) == [(111, "opus"), (96, "opus")]
    # 18 is G.729, and heard as nothing else.
    agreement = answered(["opus"], described("18", "18 opus/48000/2"))
    assert codecs(agreement) == [(111, "opus")]
    assert agreement.codec.wire_type == 18


# --- comfort noise -------------------------------------------------------------------------------


def test_rfc_3551_section_6_comfort_noise_is_heard_under_19_where_it_is_named() -> None:
    for sdp in (described("0 19", "19 CN/8000"), described("0 19")):
        agreement = offered(sdp)
        assert agreement.noise == agreement.send_noise == {8000: 19}
        assert core(agreement)["receive_noise"] == [(19, 8000), (13, 8000)]
    both = offered(described("0 13 19", "13 CN/8000", "19 CN/8000"))
    assert both.noise == {8000: 13}
    assert core(both)["receive_noise"] == [(13, 8000), (19, 8000)]
    assert core(offered(described("0")))["receive_noise"] == [(13, 8000)]
    assert core(offered(described("0 19"), comfort_noise_types={}))["receive_noise"] == [(13, 8000)]


def test_what_the_program_says_of_noise_holds_where_the_far_end_says_nothing() -> None:
    sdp = described("96 8", "96 opus/48000/2")
    negotiation = Negotiation(codecs=["opus"], comfort_noise_types={48000: 96})
    negotiation.offer(OURS)
    agreement = negotiation.receive_answer(sdp)
    RTPOptions(**agreement.options(), comfort_noise_types={48000: 96})


# --- options -------------------------------------------------------------------------------------


def test_options_take_several_numbers_at_one_clock() -> None:
    options = RTPOptions(dtmf_types={8000: [101, 96]}, comfort_noise_types={8000: (13, 19)})
    native = options.native((LOOPBACK, 4000), None, None, shared=False)
    assert native["receive_events"] == [(101, 8000), (96, 8000)]
    assert native["receive_noise"] == [(13, 8000), (19, 8000)]
    assert (native["send_events"], native["send_noise"]) == ([(101, 8000)], [(13, 8000)])
    assert (options.events, options.noise) == ({8000: 101}, {8000: 13})


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("dtmf_types", {8000: ()}, "payload type: ()"),
        ("dtmf_types", {8000: (101, 101)}, "101 is also the payload type of other telephone"),
        ("dtmf_types", {8000: (101, 0)}, "dtmf_types: 0"),
        ("dtmf_types", {8000: ("101",)}, "payload type: '101'"),
        ("dtmf_send_types", {8000: (101, 96)}, "payload type: (101, 96)"),
        ("comfort_noise_types", {16000: 19}, "19 at 16000 Hz"),
        ("comfort_noise_types", {8000: (13, 101)}, "101 is also the payload type of telephone"),
    ],
)
def test_numbers_that_cannot_be_are_refused(option: str, value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match="^" + option) as caught:
        RTPOptions(**{option: value})
    assert problem in str(caught.value)


# --- any two ends --------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 8, 9, 13, 19, 35, 63, 96, 97, 101, 111, 122])
ENCODINGS = st.sampled_from(
    ["PCMA/8000", "opus/48000/2", "L16/16000", "G722/16000", "CN/8000", "CN/16000"]
    + [f"telephone-event/{clock}" for clock in (8000, 16000, 48000)]
)
SAID = st.dictionaries(NUMBERS, ENCODINGS, min_size=1, max_size=6)


@given(st.lists(st.tuples(st.booleans(), SAID), min_size=1, max_size=5))
def test_after_any_exchanges_a_number_means_one_thing_and_what_was_agreed_on_comes_first(
    exchanges: list[tuple[bool, dict[int, str]]],
) -> None:
    negotiation = Negotiation()
    before: Agreement | None = None
    for ours, said in exchanges:
        sdp = described(" ".join(map(str, said)), *(f"{n} {what}" for n, what in said.items()))
        try:
            if ours:
                negotiation.offer(OURS)
                agreement = negotiation.receive_answer(sdp)
            else:
                agreement = negotiation.receive_offer(sdp)
                negotiation.answer(OURS)
        except SDPError:
            continue
        told = core(agreement, before)  # RTPOptions refuses a number with two meanings
        assert told["codecs"][0]["payload_type"] == agreement.codec.payload_type
        heard = dict(told["receive_events"])
        for clock, number in agreement.events.items():
            assert heard[number] == clock
        if agreement.events:
            others = {codec["payload_type"] for codec in told["codecs"]}
            others |= {number for number, _ in told["receive_noise"]}
            for number, what in said.items():
                dynamic = number >= 96 or 35 <= number < 64
                if what.startswith("telephone") and dynamic:
                    assert number in heard or number in others
        before = agreement


# --- on the wire ---------------------------------------------------------------------------------


def press(key: int, at: int, first: int, pt: int, step: int = 160) -> list[bytes]:
    """The packets of a key that is held for 100 ms: its updates, and its end three times."""
    ends = [False] * 4 + [True] * 3
    return [
        rtp(
            first + n,
            at,
            7,
            struct.pack("!BBH", key, 0x8A if end else 10, step * min(n + 1, 5)),
            pt=pt,
            marker=n == 0,
        )
        for n, end in enumerate(ends)
    ]


@pytest.mark.parametrize(
    ("pt", "step"),
    [(101, 160), (122, 160), (96, 960)],
    ids=["ours", "the far end's own", "another of our offer, at 48000 Hz"],
)
async def test_a_digit_is_told_once_with_its_length_whichever_number_it_comes_under(
    peer: Peer, pt: int, step: int
) -> None:
    told = asyncio.Queue[tuple[str, float]]()
    async with RTPSession.for_offer(**HERE, codecs=["opus", "PCMA"]) as session:
        session.on_dtmf(lambda event: told.put_nowait((event.digit, event.duration_ms)))
        assert "a=rtpmap:96 telephone-event/48000" in session.offer()
        await session.accept_answer(
            described("8 122", "122 telephone-event/8000", port=peer.addr[1])
        )
        for n in range(6):
            peer.send(rtp(n, n * 160, 7, b"\xd5" * 160, pt=8), session.local_addr)
        for packet in press(9, 960, 6, pt, step):
            peer.send(packet, session.local_addr)
        assert await asyncio.wait_for(told.get(), 5) == ("9", 100)
        for packet in press(1, 2400, 13, 101):
            peer.send(packet, session.local_addr)
        assert await asyncio.wait_for(told.get(), 5) == ("1", 100), "and no second 9 before it"
        assert session.stats().unknown_payload_type == 0


async def test_a_re_offer_turns_a_codec_into_digits_and_digits_into_a_codec_at_once(
    peer: Peer,
) -> None:
    told = asyncio.Queue[str]()
    port = peer.addr[1]
    first = described("102 101", "102 L16/8000", "101 telephone-event/8000", port=port)
    async with RTPSession.from_offer(first, **HERE, jitter_ms=20) as session:
        session.on_dtmf(lambda event: told.put_nowait(event.digit))
        frames = aiter(session)
        loud = b"\x10\0" * 160
        for n in range(10):
            peer.send(rtp(n, n * 160, 7, loud, pt=102), session.local_addr)
        await listen(frames, lambda heard: level(heard[-1].data) > 0)
        again = described("101 102", "101 L16/8000", "102 telephone-event/8000", port=port)
        assert "RTP/AVP 101 102" in str(await session.update(sdp=again))
        for packet in press(3, 1600, 10, 102):
            peer.send(packet, session.local_addr)
        assert await asyncio.wait_for(told.get(), 5) == "3"
        await listen(frames, lambda heard: level(heard[-1].data) == 0)
        for n in range(17, 40):
            peer.send(rtp(n, n * 160, 7, loud, pt=101), session.local_addr)
        await listen(frames, lambda heard: level(heard[-1].data) > 0)
        assert told.empty()
        assert session.stats().unknown_payload_type == 0
        assert session.stats().dtmf_invalid == 0


async def test_the_other_law_is_heard_in_a_call_of_one(peer: Peer) -> None:
    async with RTPSession.from_offer(described("8", port=peer.addr[1]), **HERE) as session:
        frames = aiter(session)
        for n in range(20):
            peer.send(rtp(n, n * 160, 7, b"\x10" * 160, pt=0), session.local_addr)
        await listen(frames, lambda heard: level(heard[-1].data) > 0)
        stats = session.stats()
        assert (stats.unknown_payload_type, stats.undecodable) == (0, 0)
