"""What the far end writes is printable wherever it can be read: logs, errors, events."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit import cli
from roomkit._text import LONGEST, printable
from roomkit.rtp import CryptoLine, RTPSession
from roomkit.rtp.sdp import Negotiation, SDPError, SessionDescription
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sdp_corpus import CORPUS
from rtp.wire import Peer

LOOPBACK = "127.0.0.1"

HOSTILE = {
    "a line of its own": "x\nCRITICAL root: the disk is full",
    "a carriage return": "x\rCRITICAL",
    "a terminal's colours": "\x1b[31mred\x1b]0;title\x07",
    "a control of the second set": "\x9b31m",
    "a line separator": "x\u2028y\u2029z\x85",
    "turned around": "\u202egpj.exe\u202c",
    "isolated and turned": "\u2067\u2066x\u2069",
    "of no width": "pay\u200bpal\u2060\ufeff\u200d\u00ad",
    "tags": "\U000e0041\U000e007f",
    "of private use": "\ue000\U0010ffff",
    "half of a pair": "\ud800 \udfff",
    "a NUL": "a\0b",
    "long": "x" * 100_000,
    "long and all of it escaped": "\x01" * 100_000,
}
EVERY = st.text(st.characters(codec=None), max_size=400) | st.sampled_from([*HOSTILE.values()])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_seen_is_escaped(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) <= LONGEST
    printable(text).encode()


def test_what_can_be_seen_stays_as_it_is() -> None:
    for text in ("", "normal clearing", 'it\'s "so" \\ or not', "Grüße, 你好, שלום, 🎧"):
        assert printable(text) == text
    assert printable("a\nb\x1b\u202e\ud800") == "a\\nb\\x1b\\u202e\\ud800"
    assert printable("12345", 5) == "12345"
    assert printable("123456", 5) == "1234…"


@given(EVERY, st.integers(1, 300))
def test_any_text_comes_out_printable_and_short(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


async def test_rfc_3550_section_6_6_the_reason_of_any_goodbye_is_fit_for_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    said = [text.encode("utf-8", "replace")[:255] for text in HOSTILE.values()]
    said += [bytes(range(255)), bytes(range(128, 256)), b"\xff" * 255, b"\xed\xa0\x80"]
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0))
    gone: dict[str, Any] = {}
    all_gone = asyncio.Event()

    def told(session: Any, reason: Any) -> None:
        gone[session.id] = reason
        if len(gone) == len(said):
            all_gone.set()

    backend.on_client_disconnected(told)
    peers = [Peer() for _ in said]
    try:
        for peer, reason in zip(peers, said, strict=True):
            session = await backend.connect("r", "p", "c", metadata={"remote_addr": peer.addr})
            peer.greet(session.metadata["local_addr"])
            peer.bye(rtcp_of(session.metadata["local_addr"]), reason)
        await asyncio.wait_for(all_gone.wait(), 10)
    finally:
        await backend.close()
        for peer in peers:
            peer.close()
    for reason in gone.values():
        assert (str(reason), reason.detail.isprintable()) == ("bye", True)
        assert len(reason.detail) <= LONGEST
    assert {reason.detail for reason in gone.values()} >= {"xCRITICAL root: the disk is full"}
    assert_fit_for_a_log(caplog)


def rtcp_of(address: tuple[str, int]) -> tuple[str, int]:
    return address[0], address[1] + 1


LINES = st.one_of(
    st.sampled_from([line for each in CORPUS.values() for line in each.splitlines()]),
    st.builds("{}={}".format, st.sampled_from("vosiuepcbtrzkam"), EVERY),
    st.builds(
        "a={}:{}".format,
        st.sampled_from(["rtpmap", "fmtp", "ptime", "crypto", "rtcp", "ssrc", "tool", "mid"]),
        EVERY,
    ),
    st.builds("a=rtpmap:{} {}/8000".format, st.sampled_from([0, 96, 101]), EVERY),
    st.builds("m=audio 4000 {} 0".format, EVERY),
    st.builds("c=IN IP4 {}".format, EVERY),
    EVERY,
)


@given(st.lists(LINES, max_size=6), st.booleans())
def test_an_error_of_any_description_is_printable(lines: list[str], whole: bool) -> None:
    offer = (CORPUS["asterisk"] if whole else "") + "".join(f"{line}\r\n" for line in lines)
    described = None
    try:
        described = SessionDescription.parse(offer)
        negotiation = Negotiation()
        negotiation.receive_offer(described)
        negotiation.answer((LOOPBACK, 4000))
        RTPSession.from_offer(offer)
    except ValueError as error:
        told = str(error)
        assert told.isprintable(), ascii(told)
        assert len(told) <= 600
        if isinstance(error, SDPError):
            assert error.line.isprintable()
            assert error.problem.isprintable()
        last = traceback.format_exception_only(error)[-1]
        assert last.rstrip("\n").isprintable()
    if described is not None:
        for media in described.media:
            for each in (repr(media), *map(repr, media.attributes)):
                assert each.isprintable(), ascii(each)


@given(EVERY)
def test_an_error_of_any_line_of_keys_is_printable(text: str) -> None:
    for line in (text, f"1 {text} inline:{text}", f"1 AES_CM_128_HMAC_SHA1_80 inline:{text}"):
        try:
            CryptoLine.parse(line)
        except ValueError as error:
            assert str(error).isprintable(), ascii(str(error))


@given(st.lists(LINES, max_size=6))
def test_what_the_command_line_tells_of_an_offer_is_printable(lines: list[str]) -> None:
    begin = CORPUS["linphone"] + "a=rtpmap:99 \x1b[2J\u202e/8000\r\nm=audio 1 \x9b5m 8\r\n"
    offer = begin + "".join(f"{line}\r\n" for line in lines)
    out, err = io.StringIO(), io.StringIO()
    with TemporaryDirectory() as folder, redirect_stdout(out), redirect_stderr(err):
        path = Path(folder) / "offer.sdp"
        path.write_bytes(offer.encode("utf-8", "replace"))
        cli.main(["sdp", str(path)])
    told = (out.getvalue() + err.getvalue()).removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in told), ascii(told)


async def test_transcripts_are_lines_of_a_log_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    for level in (True, False):
        backend = RTPVoiceBackend(
            local_addr=(LOOPBACK, 0), source_policy="learn", log_transcripts=level
        )
        session = await backend.connect("r", "p", "c")
        for text in HOSTILE.values():
            await backend.send_transcription(session, text, role="user\n")
        await backend.close()
    assert_fit_for_a_log(caplog, longest=11_000)


def assert_fit_for_a_log(caplog: pytest.LogCaptureFixture, longest: int = 400) -> None:
    records = [record for record in caplog.records if record.name.startswith("roomkit")]
    assert records
    for record in records:
        assert record.getMessage().isprintable(), ascii(record.getMessage())
        assert len(record.getMessage()) <= longest
        assert record.levelno < logging.WARNING
