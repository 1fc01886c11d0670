"""Keys in offers and answers (RFC 4568)."""

from __future__ import annotations

from typing import Any

import pytest

from roomkit.rtp.sdp import Negotiation, SDPError, SessionDescription
from roomkit.rtp.srtp import SUITES, CryptoLine
from rtp.sdp_corpus import RTPENGINE, text

OURS, THEIRS = ("203.0.113.1", 4000), ("192.0.2.1", 5004)
LINE = CryptoLine.generate("AES_CM_128_HMAC_SHA1_80", tag=7)


def offer(*lines: str, profile: str = "RTP/SAVP") -> str:
    return text(
        "v=0",
        "o=- 1 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        f"m=audio 5004 {profile} 0",
        *lines,
    )


def crypto(line: CryptoLine) -> str:
    return f"a=crypto:{line.to_sdp()}"


def call(ours: str, theirs: str) -> tuple[Negotiation, Negotiation]:
    alice = Negotiation(sdp_security=ours)
    bob = Negotiation(sdp_security=theirs)
    bob.receive_offer(str(alice.offer(OURS)))
    alice.receive_answer(str(bob.answer(THEIRS)))
    return alice, bob


def keys(of: Negotiation) -> tuple[Any, Any]:
    assert of.agreement is not None
    assert of.agreement.srtp is not None
    srtp = of.agreement.srtp
    return srtp.send.key, [key.key for key in srtp.receive]


@pytest.mark.parametrize("suite", SUITES)
def test_rfc_4568_section_7_1_2_the_answer_has_tag_and_suite_of_the_line_it_takes(
    suite: Any,
) -> None:
    line = CryptoLine.generate(suite, tag=5)
    negotiation = Negotiation()
    agreement = negotiation.receive_offer(offer("a=crypto:1 NEWER inline:abcd", crypto(line)))
    answer = negotiation.answer(OURS).media[0]
    assert answer.protocol == "RTP/SAVP"
    [own] = [CryptoLine.parse(attribute.value or "") for attribute in answer.named("crypto")]
    assert (own.tag, own.suite) == (5, suite)
    assert agreement.srtp is not None
    assert agreement.options()["srtp"] == agreement.srtp
    assert agreement.srtp.send == own.keys[0]
    assert agreement.srtp.receive == line.keys
    assert own.keys[0].key != line.keys[0].key


def test_the_first_line_that_we_know_is_taken() -> None:
    agreement = Negotiation().receive_offer(RTPENGINE)
    assert agreement.srtp is not None
    assert agreement.srtp.suite == "AEAD_AES_256_GCM"


@pytest.mark.parametrize(
    ("ours", "theirs", "encrypted"),
    [
        ("accept", "accept", False),
        ("offer", "accept", True),
        ("require", "accept", True),
        ("require", "require", True),
        ("offer", "require", True),
        ("offer", "off", False),
        ("off", "accept", False),
    ],
)
def test_two_ends_encrypt_where_both_want_to(ours: str, theirs: str, encrypted: bool) -> None:
    alice, bob = call(ours, theirs)
    assert alice.agreement is not None
    assert bob.agreement is not None
    if not encrypted:
        assert alice.agreement.srtp is bob.agreement.srtp is None
        return
    sent, received = keys(alice)
    assert keys(bob) == (received[0], [sent])


@pytest.mark.parametrize(
    ("sdp", "security", "problem"),
    [
        (offer(), "accept", "line 6: .*no line a=crypto brings a key"),
        (offer(crypto(LINE)), "off", "line 6: .*it wants encryption"),
        (offer(profile="RTP/AVP"), "require", "line 6: .*it brings no keys"),
        (offer("a=crypto:1 NEWER inline:abcd"), "accept", "line 7: .*suite 'NEWER'"),
        (
            offer("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ="),
            "accept",
            "line 7: 'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:…': crypto 1",
        ),
        (
            offer("a=crypto:1 NEWER inline:abcd", profile="RTP/AVP"),
            "require",
            "line 7: .*suite 'NEWER'",
        ),
        (
            offer("a=ptime:20", "a=crypto:1 NEWER inline:abcd", "a=crypto:nonsense"),
            "accept",
            "line 8: 'a=crypto:1 NEWER inline:…': crypto 1: suite 'NEWER'.*; line 9: crypto: the l",
        ),
    ],
)
def test_keys_that_cannot_be_are_refused_and_never_shown(
    sdp: str, security: str, problem: str
) -> None:
    with pytest.raises(SDPError, match=problem) as caught:
        Negotiation(sdp_security=security).receive_offer(sdp)
    assert "c2hvcnQ" not in str(caught.value)


def test_best_effort_falls_back_to_plain_rtp() -> None:
    sdp = offer("a=crypto:1 NEWER inline:abcd", profile="RTP/AVP")
    negotiation = Negotiation()
    assert negotiation.receive_offer(sdp).srtp is None
    assert not negotiation.answer(OURS).media[0].named("crypto")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((), "line 6: .*no line a=crypto brings a key"),
        ((crypto(LINE),), "line 7: .*tag 7 was not offered; 1, 2, 3 fits"),
        (
            (crypto(CryptoLine.generate("AEAD_AES_128_GCM", tag=1)),),
            "line 7: .*an answer has the tag and the suite",
        ),
        (("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=",), "line 7: .*crypto 1"),
    ],
)
def test_an_answer_whose_keys_cannot_be_is_refused(lines: tuple[str, ...], problem: str) -> None:
    negotiation = Negotiation(sdp_security="require")
    negotiation.offer(OURS)
    with pytest.raises(SDPError, match=problem) as caught:
        negotiation.receive_answer(offer(*lines))
    assert "inline:…" in str(caught.value) or not lines
    assert negotiation.agreement is None


@pytest.mark.parametrize(
    ("security", "lines", "problem"),
    [
        ("accept", (), "line 6: .*it wants encryption, and the offer had no keys"),
        ("accept", (crypto(LINE),), "line 6: .*it wants encryption, and the offer had no keys"),
        ("offer", (), "line 6: .*no line a=crypto brings a key"),
    ],
)
def test_an_answer_does_not_turn_a_plain_call_into_one_that_nobody_can_read(
    security: str, lines: tuple[str, ...], problem: str
) -> None:
    negotiation = Negotiation(sdp_security=security)
    negotiation.offer(OURS)
    with pytest.raises(SDPError, match=problem):
        negotiation.receive_answer(offer(*lines))
    assert negotiation.receive_answer(offer(profile="RTP/AVP")).srtp is None, "it waits for another"


def test_a_re_invite_keeps_our_key_and_takes_theirs() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(offer(crypto(LINE)))
    first = negotiation.answer(OURS)
    send, _ = keys(negotiation)
    negotiation.receive_offer(offer(crypto(LINE)))
    assert negotiation.answer(OURS) == first, "nothing has changed"
    other = CryptoLine.generate("AES_CM_128_HMAC_SHA1_80", tag=2)
    negotiation.receive_offer(offer(crypto(other)))
    negotiation.answer(OURS)
    assert keys(negotiation) == (send, [other.keys[0].key])
    held = negotiation.offer(OURS, direction="sendonly").media[0]
    [line] = [CryptoLine.parse(each.value or "") for each in held.named("crypto")]
    assert (held.protocol, line.keys[0].key) == ("RTP/SAVP", send)


def test_a_call_that_is_encrypted_stays_so() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(offer(crypto(LINE)))
    negotiation.answer(OURS)
    with pytest.raises(SDPError, match="a call that is encrypted stays so"):
        negotiation.receive_offer(offer(profile="RTP/AVP"))
    negotiation.offer(OURS)
    with pytest.raises(SDPError, match="no line a=crypto"):
        negotiation.receive_answer(offer(profile="RTP/AVP"))


def test_keys_are_in_no_repr() -> None:
    negotiation = Negotiation(sdp_security="require")
    described = negotiation.offer(OURS)
    secret = CryptoLine.parse(described.media[0].named("crypto")[0].value or "").to_sdp()[-30:]
    assert secret in str(described)
    assert secret not in repr(described)
    assert secret not in repr(SessionDescription.parse(str(described)))
    negotiation = Negotiation()
    agreement = negotiation.receive_offer(str(described))
    assert secret not in repr(agreement)


@pytest.mark.parametrize(
    "line", ["k=base64:{}", "a=key-mgmt:mikey {}", "a=ice-pwd:{}", "a=crypto:1 X inline:{}"]
)
def test_a_description_does_not_show_the_secrets_of_its_lines(line: str) -> None:
    secret = "WVNfX19zZW1jdGwgKCkgewkyMjA7"
    head = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")
    described = SessionDescription.parse(text(*head, "m=audio 4000 RTP/AVP 0", line.format(secret)))
    assert secret in str(described)
    assert secret not in repr(described)
    [unread] = SessionDescription.parse(text("v=0", line.format(secret) + "\0")).unread
    assert secret not in str(unread)


KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^99", "1 AES_CM_128_HMAC_SHA1_80 inline:…"),
        (f"1 AES_CM_128_HMAC_SHA1_80 {KEY}", "1 AES_CM_128_HMAC_SHA1_80 …"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline: {KEY[:20]} {KEY[20:]}", "_SHA1_80 inline:…"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY[:20]} {KEY[20:]}", "_SHA1_80 inline:…"),
        (f"1 {KEY}", "'a=crypto:1 …'"),
        (KEY, "'a=crypto:…'"),
        (f" 1\tNEWER\tINLINE:{KEY}", "'a=crypto:1 NEWER inline:…'"),
    ],
)
def test_a_malformed_line_is_shown_and_its_key_nowhere(line: str, shown: str) -> None:
    with pytest.raises(SDPError, match="line 7: ") as caught:
        Negotiation(sdp_security="require").receive_offer(offer(f"a=crypto:{line}"))
    assert shown in str(caught.value)
    for half in (KEY[:12], KEY[20:32]):
        assert half not in repr(caught.value)
        assert half not in caught.value.line + caught.value.problem
