"""`roomkit.rtp.srtp`: keys and `a=crypto` lines, and that no key is ever seen where it must not."""

from __future__ import annotations

import base64
import copy
import pickle
import random
import string

import pytest

from roomkit.rtp.srtp import SRTP, SUITES, CryptoLine, SRTPKey, SRTPSuite, choose_line

LENGTHS = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_256_CM_HMAC_SHA1_32": 46,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
KEY = bytes(range(1, 31))
OTHER = bytes(range(101, 131))
IN_BASE64 = base64.b64encode(KEY).decode()


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_its_length_and_one_more_or_less_is_refused(suite: SRTPSuite) -> None:
    fits = LENGTHS[suite]
    assert SRTPKey(suite, bytes(fits)).key == bytes(fits)
    assert len(SRTPKey.generate(suite).key) == fits
    for wrong in (0, fits - 1, fits + 1):
        with pytest.raises(ValueError, match=rf"^key: {wrong} bytes; for {suite} {fits} bytes"):
            SRTPKey(suite, bytes(wrong))


def test_two_generated_keys_differ() -> None:
    assert SRTPKey.generate().key != SRTPKey.generate().key


def test_a_key_may_be_given_in_base64_as_ffmpeg_and_sdp_write_it() -> None:
    srtp = SRTP(send_key=IN_BASE64, receive_key=OTHER)
    assert srtp.send.key == KEY
    with pytest.raises(ValueError, match=r"^send_key: it is not base64"):
        SRTP(send_key="not base64 !", receive_key=OTHER)


def test_wrong_keys_are_named_by_parameter() -> None:
    with pytest.raises(ValueError, match=r"^receive_key: 29 bytes; for AES_CM_128_HMAC_SHA1_80 30"):
        SRTP(send_key=KEY, receive_key=OTHER[:-1])
    with pytest.raises(ValueError, match=r"^send_key: int; "):
        SRTP(send_key=7, receive_key=OTHER)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^suite: 'AES'; "):
        SRTP(suite="AES", send_key=KEY, receive_key=OTHER)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^mki: 0 bytes; 1 to 128 fit"):
        SRTP(send_key=KEY, receive_key=OTHER, mki=b"")
    with pytest.raises(ValueError, match=r"^receive_key: it is also send_key"):
        SRTP(send_key=KEY, receive_key=KEY)


def test_rfc4568_6_1_several_keys_need_an_mki_each() -> None:
    one = SRTPKey("AES_CM_128_HMAC_SHA1_80", KEY, b"\x01")
    two = SRTPKey("AES_CM_128_HMAC_SHA1_80", OTHER, b"\x02")
    third = SRTPKey.generate()
    assert SRTP(send_key=third, receive_key=[one, two]).receive == (one, two)
    for wrong in (
        SRTPKey("AES_CM_128_HMAC_SHA1_80", OTHER),
        SRTPKey("AES_CM_128_HMAC_SHA1_80", OTHER, b"\x01"),
        SRTPKey("AES_CM_128_HMAC_SHA1_80", OTHER, b"\x00\x02"),
    ):
        with pytest.raises(ValueError, match=r"^receive_key: 2 keys; an MKI for each fits"):
            SRTP(send_key=third, receive_key=[one, wrong])
    with pytest.raises(ValueError, match=r"^receive_key: 0 of them"):
        SRTP(send_key=third, receive_key=[])


# --- a=crypto -------------------------------------------------------------------------------------


def test_rfc4568_9_1_a_line_with_everything() -> None:
    line = CryptoLine.parse(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|2^20|1:4")
    assert (line.tag, line.suite) == (1, "AES_CM_128_HMAC_SHA1_80")
    assert line.keys == (SRTPKey("AES_CM_128_HMAC_SHA1_80", KEY, b"\0\0\0\x01", 2**20),)
    assert line.to_sdp() == f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|2^20|1:4"


@pytest.mark.parametrize(
    ("tail", "lifetime", "mki"),
    [
        ("", None, None),
        ("|2^48", 2**48, None),
        ("|1000000", 1_000_000, None),
        ("|1066:4", None, (1066).to_bytes(4, "big")),
        ("|2^31|7:1", 2**31, b"\x07"),
    ],
)
def test_rfc4568_6_1_lifetime_and_mki_may_each_be_left_out(
    tail: str, lifetime: int | None, mki: bytes | None
) -> None:
    line = CryptoLine.parse(f"crypto:9 AES_CM_128_HMAC_SHA1_32 inline:{IN_BASE64}{tail}")
    assert (line.keys[0].lifetime, line.keys[0].mki) == (lifetime, mki)
    assert line.to_sdp().endswith(f"inline:{IN_BASE64}{tail}")


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_generated_is_read_back(suite: SRTPSuite) -> None:
    line = CryptoLine.generate(suite, tag=3, mki=b"\x04\x05")
    assert CryptoLine.parse(line.to_sdp()) == line


def test_base64_without_its_padding_is_read_as_rtpengine_writes_it() -> None:
    key = bytes(range(46))
    bare = base64.b64encode(key).decode().rstrip("=")
    assert CryptoLine.parse(f"1 AES_256_CM_HMAC_SHA1_80 inline:{bare}").keys[0].key == key


def test_the_old_name_of_a_suite_is_understood_and_given_back_in_the_answer() -> None:
    key = base64.b64encode(bytes(46)).decode()
    offered = CryptoLine.parse(f"2 AES_CM_256_HMAC_SHA1_80 inline:{key}")
    assert offered.suite == "AES_256_CM_HMAC_SHA1_80"
    assert offered.answer().to_sdp().startswith("2 AES_CM_256_HMAC_SHA1_80 inline:")


def test_rfc4568_9_1_several_keys_in_one_line() -> None:
    second = base64.b64encode(OTHER).decode()
    text = f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|2^20|1:4;inline:{second}|2^20|2:4"
    line = CryptoLine.parse(text)
    assert [key.key for key in line.keys] == [KEY, OTHER]
    assert line.to_sdp() == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the line is malformed"),
        ("1 AES_CM_128_HMAC_SHA1_80", "the line is malformed"),
        (f"x AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}", "the line is malformed"),
        (f"1 F8_128_HMAC_SHA1_80 inline:{IN_BASE64}", "suite 'F8_128_HMAC_SHA1_80'; one of"),
        (f"1 AES_CM_128_HMAC_SHA1_80 uri:{IN_BASE64}", "another key method than 'inline:'"),
        (f"1 AES_CM_128_HMAC_SHA1_80 {IN_BASE64}", "another key method than 'inline:'"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}!", "the key is not base64"),
        (
            f"1 AES_256_CM_HMAC_SHA1_80 inline:{IN_BASE64}",
            "30 bytes; for AES_256_CM_HMAC_SHA1_80 46",
        ),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|2^49", "lifetime '2^49'; 1 to 2^48"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|0", "lifetime '0'; 1 to 2^48"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|long", "lifetime 'long'"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|256:1", "MKI '256:1'"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|1:129", "MKI '1:129'"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|1:4|x", "more behind the MKI"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} KDR=1", "KDR; session keys are derived"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} UNENCRYPTED_SRTP", "audio is always"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} UNENCRYPTED_SRTCP", "RTCP is always"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} UNAUTHENTICATED_SRTP", "packets are"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} FEC_ORDER=FEC_SRTP", "FEC_ORDER; there"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} WSH=63", "WSH '63'; 64 or more"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} NEW=1", "unknown session parameter 'NEW'"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_says_why(line: str, message: str) -> None:
    with pytest.raises(ValueError, match="^crypto") as caught:
        CryptoLine.parse(line)
    assert message in str(caught.value)
    assert IN_BASE64[:8] not in str(caught.value)


def test_rfc4568_6_3_parameters_that_change_nothing_are_taken() -> None:
    line = f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64} WSH=1024 -SOMETHING=new"
    assert CryptoLine.parse(line).keys[0].key == KEY


def test_rfc4568_7_1_2_the_first_line_that_fits_is_chosen() -> None:
    lines = [
        f"1 F8_128_HMAC_SHA1_80 inline:{IN_BASE64}",
        f"2 AES_CM_128_HMAC_SHA1_32 inline:{IN_BASE64}",
        f"3 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}",
    ]
    assert choose_line(lines).tag == 2
    assert choose_line(lines, ["AES_CM_128_HMAC_SHA1_80"]).tag == 3
    with pytest.raises(
        ValueError, match=r"crypto 1: suite .*; crypto 2: AES_CM_128_HMAC_SHA1_32 is"
    ):
        choose_line(lines[:2], ["AES_CM_128_HMAC_SHA1_80"])
    with pytest.raises(ValueError, match="no line is there"):
        choose_line([])


def test_rfc4568_7_1_3_two_lines_make_a_session_if_they_belong_together() -> None:
    offered = CryptoLine.generate(tag=4)
    ours = offered.answer()
    srtp = SRTP.from_lines(ours, offered.to_sdp())
    assert (srtp.send, srtp.receive) == (ours.keys[0], offered.keys)
    for wrong in (CryptoLine.generate(tag=5), CryptoLine.generate(SUITES[1], tag=4)):
        with pytest.raises(ValueError, match="RFC 4568 §7.1.3"):
            SRTP.from_lines(wrong, offered)


def test_any_text_is_read_or_refused() -> None:
    randomly = random.Random(7)
    alphabet = string.printable + "äß😀\0"
    start = f"1 AES_CM_128_HMAC_SHA1_80 inline:{IN_BASE64}|2^20|1:4 WSH=64"
    for _ in range(5000):
        text = list(start)
        for _ in range(randomly.randrange(1, 6)):
            text[randomly.randrange(len(text))] = randomly.choice(alphabet)
        try:
            CryptoLine.parse("".join(text[: randomly.randrange(len(text) + 1)]))
        except ValueError as error:
            assert str(error).startswith("crypto")


# --- nobody sees a key ----------------------------------------------------------------------------


def test_keys_are_in_no_text() -> None:
    key = SRTPKey("AES_CM_128_HMAC_SHA1_80", KEY, b"\x01")
    line = CryptoLine(1, (key,))
    srtp = SRTP(send_key=key, receive_key=OTHER)
    for holder in (key, line, srtp):
        for text in (repr(holder), str(holder), f"{holder}", repr([holder]), repr(vars(holder))):
            if holder is key and text == repr(vars(holder)):
                continue  # that is the key itself, which was asked for
            for secret in (repr(KEY)[2:20], IN_BASE64[:12], KEY.hex()[:12], repr(OTHER)[2:20]):
                assert secret not in text


def test_keys_are_in_no_pickle_and_a_copy_is_the_same() -> None:
    key = SRTPKey("AES_CM_128_HMAC_SHA1_80", KEY)
    line = CryptoLine(1, (key,))
    for holder in (key, line, SRTP(send_key=key, receive_key=OTHER)):
        with pytest.raises(TypeError, match="holds keys"):
            pickle.dumps(holder)
        assert copy.copy(holder) is holder
        assert copy.deepcopy([holder])[0] is holder
