"""Offers and answers of any kind: both ends hold to the same, or say why not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp import Codec, RTPOptions
from roomkit.rtp.sdp import Negotiation, SDPError, SessionDescription
from roomkit.rtp.sdp.agreement import turned
from rtp.sdp_corpus import CORPUS, text

OURS = ("203.0.113.1", 4000)
HEAD = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")

LINES = st.one_of(
    st.sampled_from(
        [line for each in CORPUS.values() for line in each.splitlines() if line[0] in "acm"]
    ),
    st.builds(
        "m=audio {} {} {}".format,
        st.sampled_from([0, 1, 9, 5005, 65534, 65535]),
        st.sampled_from(["RTP/AVP", "RTP/SAVP", "RTP/AVPF", "UDP/TLS/RTP/SAVPF"]),
        st.lists(
            st.sampled_from([*range(20), *range(33, 37), *range(62, 65), *range(95, 112)]),
            min_size=1,
            max_size=6,
        ).map(lambda types: " ".join(map(str, types))),
    ),
    st.builds(
        "c=IN {}".format,
        st.sampled_from(
            ["IP4 0.0.0.0", "IP4 gateway.example", "IP4 224.0.0.1", "IP6 ::", "IP6 2001:db8::5"]
        ),
    ),
    st.builds(
        "a=rtpmap:{} {}/{}".format,
        st.sampled_from([*range(33, 37), *range(62, 65), *range(90, 128)]),
        st.sampled_from(["L16", "opus", "G722", "CN", "telephone-event", "PCMU", "speex"]),
        st.sampled_from(["8000", "11025", "16000", "22050", "44100/2", "48000/2", "192000"]),
    ),
    st.builds(
        "a={}:{}".format,
        st.sampled_from(["ptime", "maxptime", "rtcp"]),
        st.sampled_from([1, 5, 10, 25, 30, 60, 200, 5005]),
    ),
)
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "codecs": st.sampled_from([["PCMA"], ["opus", "PCMU"], ["G722", Codec("L16", 96, 16000)]]),
        "ptime_ms": st.sampled_from([10, 20, 60]),
        "direction": st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"]),
        "rtcp": st.sampled_from(["separate", "mux", "off"]),
        "dtmf_payload_type": st.sampled_from([None, 101, 110]),
        "sample_rate": st.sampled_from([8000, 24000, 44100]),
        "sdp_security": st.sampled_from(["accept", "offer", "require", "off"]),
    },
)


@given(st.lists(LINES, max_size=30), WISHES)
def test_what_is_agreed_on_makes_a_session_and_both_ends_agree(
    lines: list[str], wishes: dict[str, Any]
) -> None:
    ours = Negotiation(**wishes)
    try:
        agreement = ours.receive_offer(text(*HEAD, *lines))
    except SDPError:
        return
    kept = {name: wishes[name] for name in ("sample_rate",) if name in wishes}
    options = RTPOptions(**agreement.options(), **kept)
    answer = SessionDescription.parse(str(ours.answer(OURS)))
    assert len(answer.media) == len(SessionDescription.parse(text(*HEAD, *lines)).media)
    audio = answer.audio
    assert audio is not None
    agreed = {codec.payload_type for codec in agreement.codecs}
    agreed |= set(agreement.events.values()) | set(agreement.noise.values())
    assert agreed == set(audio.payload_types)
    # More may be understood, and that as well.
    assert options.active[: len(agreement.codecs)] == agreement.codecs
    assert options.events.items() >= agreement.events.items()


@given(WISHES, WISHES)
def test_two_of_us_agree_or_say_why_not(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    alice, bob = Negotiation(**ours), Negotiation(**theirs)
    try:
        there = bob.receive_offer(str(alice.offer(OURS)))
    except SDPError as error:
        said = str(error)
        assert "no codec in common" in said or "keys" in said or "encryption" in said
        return
    here = alice.receive_answer(str(bob.answer(("192.0.2.1", 5004))))
    assert [codec.wire_type for codec in here.codecs] == [
        codec.payload_type for codec in there.codecs
    ]
    assert here.codec.rtpmap == there.codec.rtpmap
    assert here.send_events == there.events
    assert turned(here.direction) == there.direction
    for agreement in (here, there):
        RTPOptions(**agreement.options())


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "codecs": st.sampled_from(
            [["PCMA", "PCMU"], ["opus"], ["G722", "PCMU"], [Codec("L16", 96, 16000), "PCMU"]]
        ),
        "ptime_ms": st.sampled_from([10, 20, 40]),
        "direction": st.sampled_from(["sendrecv", "sendonly", "inactive"]),
    },
)


@given(st.lists(st.tuples(st.booleans(), CHANGES), min_size=1, max_size=8), st.booleans())
def test_rfc_3264_section_8_however_often_either_offers_both_hold_to_the_same(
    offers: list[tuple[bool, dict[str, Any]]], secure: bool
) -> None:
    security = "require" if secure else "accept"
    alice, bob = Negotiation(sdp_security=security), Negotiation()
    meant: dict[tuple[bool, int], str] = {}
    for by_alice, changes in [(True, {}), *offers]:
        who, other = (alice, bob) if by_alice else (bob, alice)
        text_of_offer = str(who.offer(OURS, **changes))
        for encoding in SessionDescription.parse(text_of_offer).media[0].encodings:
            # §8.3.2: a number of one end means one thing for good.
            number = encoding.payload_type
            assert meant.setdefault((by_alice, number), encoding.rtpmap) == encoding.rtpmap
        try:
            there = other.receive_offer(text_of_offer)
        except SDPError as error:
            assert "no codec in common" in str(error)
            continue
        here = who.receive_answer(str(other.answer(("192.0.2.1", 5004))))
        assert [codec.wire_type for codec in here.codecs] == [
            codec.payload_type for codec in there.codecs
        ]
        assert turned(here.direction) == there.direction
        assert (here.srtp is None) == (there.srtp is None) == (not secure)
        if here.srtp is not None and there.srtp is not None:
            assert here.srtp.receive == (there.srtp.send,)
        for agreement in (here, there):
            RTPOptions(**agreement.options())
