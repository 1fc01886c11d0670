"""Whatever a description holds: what it costs in time, how much of it is quoted, and no key."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp import RTPSession
from roomkit.rtp.sdp import Negotiation, SDPError, SessionDescription
from roomkit.rtp.sdp.text import quoted, shown
from roomkit.rtp.srtp import CryptoLine
from rtp.sdp_corpus import CORPUS, DEVICES, KEY, text

OURS = ("203.0.113.1", 4000)
HEAD = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")
SDES = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"


@contextlib.contextmanager
def log() -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger("roomkit")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def refusal(sdp: str | bytes, **options: Any) -> SDPError | None:
    """Why no call can be made of an offer, or of an answer."""
    negotiation = Negotiation(**options)
    try:
        negotiation.receive_offer(sdp)
    except SDPError as error:
        return error
    str(negotiation.answer(OURS))
    return None


# --- time ----------------------------------------------------------------------------------------

# What can be repeated in a description, each as often as it fits.
REPEATED: dict[str, Callable[[int], str]] = {
    "b= of the session": lambda n: "b=AS:64\r\n",
    "i= of a medium": lambda n: "i=x\r\n",
    "a=": lambda n: "a=x\r\n",
    "a=rtpmap": lambda n: f"a=rtpmap:{96 + n % 32} L16/16000\r\n",
    "a=rtpmap that cannot be": lambda n: "a=rtpmap:x\r\n",
    "a=fmtp of one type": lambda n: "a=fmtp:96 stereo=0;cbr=1\r\n",
    "a=fmtp that cannot be": lambda n: "a=fmtp:96 stereo=x\r\n",
    "a=crypto that cannot be": lambda n: f"a=crypto:{n} NEW inline:{KEY}\r\n",
    "a=ssrc": lambda n: f"a=ssrc:{n} cname:x\r\n",
    "a=ssrc that cannot be": lambda n: "a=ssrc:x\r\n",
    "a=candidate": lambda n: f"a=candidate:{n} 1 UDP 2130706431 192.0.2.33 7078 typ host\r\n",
    "c=": lambda n: "c=IN IP4 192.0.2.1\r\n",
    "c= that cannot be": lambda n: "c=IN IP4 x y\r\n",
    "directions": lambda n: "a=sendonly\r\n",
    "m=audio": lambda n: "m=audio 5004 RTP/AVP 18\r\n",
    "m=audio with lines": lambda n: "m=audio 5004 RTP/AVP 18\r\na=rtpmap:96 x/8\r\n",
    "m=video": lambda n: "m=video 5004 RTP/AVP 96\r\n",
    "m= that is refused": lambda n: "m=audio 0 RTP/AVP 300\r\n",
    "empty lines": lambda n: "\r\n",
}
# The same within one line, which may be as long as the description.
WITHIN: dict[str, Callable[[int], str]] = {
    "formats": lambda n: "m=audio 5004 RTP/AVP" + " 96" * n,
    "formats that are none": lambda n: "m=audio 5004 RTP/AVP" + " x" * n,
    "parameters": lambda n: "a=fmtp:96 " + "a=1;" * n,
    "parameters that cannot be": lambda n: "a=fmtp:96 " + "cbr=x;" * n,
    "a long word": lambda n: "a=rtpmap:" + "x" * n,
    "slashes": lambda n: "a=rtpmap:96 " + "/" * n,
    "blanks": lambda n: "a=crypto:1" + " " * n + "x",
    "session parameters": lambda n: SDES + " -x" * n,
    "keys": lambda n: SDES + f";inline:{KEY}" * n,
    "dots": lambda n: "c=IN IP4 " + "1." * n,
    "colons": lambda n: "c=IN IP6 " + ":" * n,
    "key management": lambda n: "a=key-mgmt:" * n,
    "inline": lambda n: "a=x" + "inline:" * n + "\0",
    "nearly keys": lambda n: "a=fmtp:x" + "AAAAAAAAAAAAAAAAAAA!" * n,
    "nearly names": lambda n: "a=fmtp:x" + "AAAA_" * n,
    "digits": lambda n: "a=ssrc:" + "9" * n,
}


def of_lines(line: Callable[[int], str], share: float) -> str:
    """A description with that share of the lines that there may be, or that fit."""
    most = min(1_950 // line(0).count("\n"), 62_000 // len(line(1_000)))
    lines = "".join(line(n) for n in range(round(most * share)))
    return text(*HEAD, "m=audio 5004 RTP/AVP 96 0", "a=rtpmap:96 opus/48000/2") + lines


def of_one_line(line: Callable[[int], str], share: float) -> str:
    """The same with a line of so much of the length that there may be."""
    each = len(line(2)) - len(line(1))
    longest = line(round(62_000 * share / each))
    return text(*HEAD, "m=audio 5004 RTP/AVP 96 0", "a=rtpmap:96 opus/48000/2", longest)


def cost(sdp: str) -> float:
    """Seconds of the processor for all that is done with a description, the least of some runs."""
    least = float("inf")
    for _ in range(3):
        began = time.process_time()
        with log():
            refusal(sdp)
            refusal(sdp, sdp_security="require")
            negotiation = Negotiation()
            negotiation.offer(OURS)
            with contextlib.suppress(SDPError):
                negotiation.receive_answer(sdp)
            with contextlib.suppress(SDPError):
                repr(SessionDescription.parse(sdp))
        least = min(least, time.process_time() - began)
    return least


SHAPES = [
    *(pytest.param(of_lines, line, id=name) for name, line in REPEATED.items()),
    *(pytest.param(of_one_line, line, id=name) for name, line in WITHIN.items()),
]


@pytest.mark.parametrize(("described", "line"), SHAPES)
def test_eight_times_as_long_a_description_costs_no_more_than_some_eight_times_as_much(
    described: Callable[[Callable[[int], str], float], str], line: Callable[[int], str]
) -> None:
    short, long = described(line, 1 / 8), described(line, 1)
    # What costs a square is 64 times as dear. What is there once does not count: hence the floor.
    for _ in range(3):
        ratio = cost(long) / max(cost(short), 0.0005)
        if ratio < 16:
            return
    raise AssertionError(f"{ratio:.1f} times as dear")


# --- what is quoted ------------------------------------------------------------------------------

QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def check(error: SDPError, sdp: str, secrets: tuple[str, ...] = ()) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error) + error.line + error.problem
    assert len(str(error)) < 900
    marks = [mark for mark in QUOTED.findall(str(error)) if len(mark) > 40]
    assert sum(map(len, marks)) <= 200 + 2 * len(marks), str(error)
    for secret in secrets:
        assert secret not in told
    linked: BaseException | None = error
    while linked is not None:
        for secret in secrets:
            assert secret not in str(linked)
        linked = linked.__cause__ or linked.__context__


LONG = "zq" * 15_000
LONG_PIECES = [
    f"m=audio {LONG} RTP/AVP 0",
    f"m=audio 5004 {LONG} 0",
    f"m={LONG} 5004 RTP/AVP 0",
    f"m=audio 5004 RTP/AVP {LONG}",
    f"m=audio 5004 RTP/AVP 96\r\na=rtpmap:96 {LONG}/8000",
    "m=audio 5004 RTP/AVP 96 97 98\r\n" + f"a=rtpmap:96 {'x-' * 20_000}/8000",
    f"m=audio 5004 RTP/AVP 96\r\na=rtpmap:96 opus/{LONG}",
    f"m=audio 5004 RTP/AVP 0\r\nc=IN {LONG} x",
    f"m=audio 5004 RTP/AVP 0\r\nc={LONG} IP4 x",
    f"m=audio 5004 RTP/AVP 0\r\nc=IN IP4 {LONG}",
    f"m=audio 5004 RTP/AVP 0\r\nc=IN IP4 1{'.1' * 10_000}",
    f"m=audio 5004 RTP/AVP 0\r\nc=IN IP6 1{':1' * 10_000}",
    f"m=audio 5004 RTP/SAVP 0\r\na=crypto:1 {LONG} inline:{KEY}",
    f"m=audio 5004 RTP/SAVP 0\r\na=crypto:{'9' * 20_000} x inline:{KEY}",
    "m=audio 5004 RTP/SAVP 0" + "".join(f"\r\na=crypto:{n} NEW inline:{KEY}" for n in range(900)),
    f"m=audio 5004 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {LONG}:{KEY}",
    f"m=audio 5004 RTP/SAVP 0\r\n{SDES}|{LONG}",
    f"m=audio 5004 RTP/SAVP 0\r\n{SDES} {LONG}",
    f"m=audio 5004 RTP/SAVP 0\r\n{SDES} WSH={LONG}",
    "m=audio 5004 RTP/AVP 18" * 1 + "\r\nm=audio 5004 RTP/AVP 18" * 1_900,
    LONG,
    f"x{LONG}=1",
    "a=\x01\x02\x03" + "\x7f" * 30_000 + "\0",
    "m=audio 5004 " + "\U000e0001" * 10_000 + " 0",
]


@pytest.mark.parametrize("line", LONG_PIECES)
def test_no_error_quotes_more_than_200_characters(line: str) -> None:
    sdp = text(*HEAD, line)
    for candidate in (sdp, text("v=0", line), sdp.replace(HEAD[3] + "\r\n", "")):
        with log() as logged:
            error = refusal(candidate)
        assert error is not None or "c=" in line
        if error is not None:
            check(error, candidate, (LONG[:201], KEY[:20]))
        assert KEY[:20] not in logged.getvalue()
        assert max(map(len, logged.getvalue().splitlines() or [""])) < 900


# --- keys ----------------------------------------------------------------------------------------

RAW = "".join(chr(c) for c in range(65, 95))
OFFER = text(*HEAD, "m=audio 5004 RTP/SAVP 0", "a=rtpmap:101 telephone-event/8000", SDES)
BROKEN: dict[str, str] = {
    "another method": OFFER.replace("inline:", "inlin:"),
    "no method": OFFER.replace("inline:", ""),
    "in capitals": OFFER.replace("inline:", "INLINE:x"),
    "one character too many": OFFER.replace(KEY, KEY + "x"),
    "some too few": OFFER.replace(KEY, KEY[:-3]),
    "half of it": OFFER.replace(KEY, KEY[:20]),
    "another suite": OFFER.replace("_80", "_81"),
    "no blank behind the tag": OFFER.replace("crypto:1 ", "crypto:1"),
    "another profile": OFFER.replace("SAVP", "XAVP"),
    "DTLS": OFFER.replace("RTP/SAVP", "UDP/TLS/RTP/SAVP"),
    "a blank before the name": OFFER.replace("a=crypto", "a= crypto"),
    "another letter": OFFER.replace("a=crypto", "x=crypto"),
    "another name": OFFER.replace("a=crypto", "a=crypt"),
    "no letter": OFFER.replace("a=crypto", "crypto"),
    "two letters": OFFER.replace("a=crypto", "aa=crypto"),
    "for MIKEY": OFFER.replace("a=crypto", "a=key-mgmt:mikey "),
    "for MIKEY without a name": OFFER.replace(SDES, f"a=key-mgmt:{KEY}\0"),
    "a line end within": OFFER.replace(KEY, f"{KEY[:20]}\r\n {KEY[20:]}"),
    "several line ends within": OFFER.replace(KEY, f"{KEY[:8]}\r\n{KEY[8:24]}\r\n{KEY[24:]}"),
    "a line end before": OFFER.replace("inline:", "inline:\r\n"),
    "a blank within": OFFER.replace(KEY, f"{KEY[:20]} {KEY[20:]}"),
    "a NUL within": OFFER.replace(KEY, f"{KEY[:20]}\0{KEY[20:]}"),
    "as a suite": OFFER.replace("AES_CM_128_HMAC_SHA1_80", KEY),
    "as a tag": OFFER.replace("crypto:1", f"crypto:{KEY}"),
    "as a lifetime": OFFER.replace(KEY, f"{KEY}|{KEY}"),
    "as an MKI": OFFER.replace(KEY, f"{KEY}|2^31|{KEY}:4"),
    "as a session parameter": OFFER.replace(KEY, f"{KEY} {KEY}"),
    "as k=": OFFER.replace(SDES, f"k={KEY}\0"),
    "as k=base64": OFFER.replace(SDES, f"k=base64:{KEY}\0"),
    "as the password of ICE": OFFER.replace(SDES, f"a=ice-pwd {KEY}\0"),
    "as an address": OFFER.replace("IN IP4 192", f"IN {KEY} 192"),
    "as a network": OFFER.replace("c=IN", f"c={KEY}"),
    "as a port": OFFER.replace("5004", KEY),
    "as a profile": OFFER.replace("RTP/SAVP", KEY),
    "as a format": OFFER.replace("SAVP 0", f"AVP {KEY}"),
    "as an encoding": OFFER.replace("SAVP 0", "AVP 101").replace("telephone-event", KEY),
    "as a clock": OFFER.replace("SAVP 0", "AVP 101").replace("event/8000", f"event/{KEY}"),
    "as a parameter": OFFER.replace("SAVP 0", "AVP 101").replace("101 tele", f"{KEY} tele"),
    "as ptime": OFFER.replace(SDES, f"a=ptime:{KEY}"),
    "as rtcp": OFFER.replace(SDES, f"a=rtcp:{KEY}"),
    "as an SSRC": OFFER.replace(SDES, f"a=ssrc:{KEY}"),
    "as a version": OFFER.replace("v=0", f"v={KEY}"),
    "alone": OFFER + KEY,
    "with dashes": OFFER + KEY[:20] + "-" + KEY[20:],
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_key_is_in_no_error_no_traceback_no_repr_and_no_log(name: str) -> None:
    sdp = BROKEN[name].replace("192.0.2.1", "127.0.0.1")
    secrets = (KEY, KEY[:20], KEY[20:], RAW, RAW.encode().hex())
    with log() as logged:
        for security in ("accept", "require", "off", "offer"):
            error = refusal(sdp, sdp_security=security)
            if error is not None:
                check(error, sdp, secrets)
            with contextlib.suppress(SDPError):
                assert not any(key in repr(SessionDescription.parse(sdp)) for key in secrets)
            with contextlib.suppress(ValueError):
                negotiation = Negotiation(sdp_security=security)
                agreement = negotiation.receive_offer(sdp)
                assert not any(key in repr(agreement) for key in secrets)
        try:
            async with RTPSession.from_offer(sdp, local_addr=("127.0.0.1", 0)) as session:
                await session.update(sdp=sdp)
        except ValueError as problem:
            told = "".join(traceback.format_exception(problem))
            assert not any(key in told for key in secrets)
        for line in sdp.split("\r\n"):
            for said in (line, line[2:]):
                try:
                    CryptoLine.parse(said)
                except ValueError as problem:
                    assert not any(key in str(problem) for key in secrets)
    assert not any(key in logged.getvalue() for key in secrets)


async def test_a_host_that_may_be_a_key_is_not_told_where_it_is_not_found() -> None:
    sdp = text(*HEAD[:3], f"c=IN IP4 {KEY}..{'x' * 150}", "m=audio 5004 RTP/AVP 0")
    session = RTPSession.from_offer(sdp, local_addr=("127.0.0.1", 0))
    with pytest.raises(OSError, match="^.*remote_addr: cannot resolve '…..…': ") as caught:
        await session.open()
    assert KEY[:20] not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a=rtpmap:96 opus/48000/2", "a=rtpmap:96 opus/48000/2"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 111"),
        ("a=x:AES_CM_128_HMAC_SHA1_80", "a=x:AES_CM_128_HMAC_SHA1_80"),
        ("a=x-a-long-name-of-a-vendor:1", "a=x-a-long-name-of-a-vendor:1"),
        (f"a=x:{'A' * 40}", "a=x:…"),
        (f"a=x:A-{'A' * 40}", "a=x:…"),
        ("a=x:" + KEY.replace("R", "_"), "a=x:…"),
        ("a=inline " + KEY[:6], "a=inline …"),
        ("k=prompt", "k=…"),
        ("k=clear:x", "k=clear:…"),
        ("a=ice-pwd:x", "a=ice-pwd:…"),
        ("a=key-mgmt:mikey x", "a=key-mgmt:mikey …"),
        (KEY[20:], "…"),
    ],
)
def test_what_is_shown_of_a_line(line: str, said: str) -> None:
    assert shown(line) == said
    assert shown(said) == said


def test_what_is_quoted_is_short_and_printable() -> None:
    assert quoted("x") == "'x'"
    for character in ("\x00", "\x1b", "\u202e", "\U000e0001", "'", "\\"):
        said = quoted(character * 1_000)
        assert said.isprintable()
        assert len(said) <= 44


# --- any text at all -----------------------------------------------------------------------------

PIECES = [line for each in CORPUS.values() for line in each.splitlines()]
PIECES += [line for device in DEVICES for line in device.lines]
PIECES += [line for sdp in BROKEN.values() for line in sdp.splitlines()]


@given(st.data())
def test_any_text_makes_a_description_or_an_error_that_is_short_and_tells_no_key(
    data: st.DataObject,
) -> None:
    lines = data.draw(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=60))))
    sdp = text(*HEAD[: data.draw(st.integers(0, 5))], *lines)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(sdp)))
        more = data.draw(st.one_of(st.sampled_from(["\0", "inline:", KEY, "\r\n"]), st.text()))
        sdp = sdp[:place] + more * data.draw(st.sampled_from([1, 1, 1, 1000])) + sdp[place:]
    sdp = sdp[:65_536]
    with log() as logged:
        for security in ("accept", "require"):
            error = refusal(sdp, sdp_security=security)
            if error is not None:
                check(error, sdp, (KEY, KEY[:20], KEY[20:]))
        with contextlib.suppress(SDPError):
            parsed = SessionDescription.parse(sdp)
            assert SessionDescription.parse(str(parsed)) == parsed
            assert KEY[:20] not in repr(parsed)
    assert KEY[:20] not in logged.getvalue()
    assert KEY[20:] not in logged.getvalue()
