"""Whatever is given for whatever parameter: it fits, or the error says which it was, what came and
what fits. No bare error of Python's comes through, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from roomkit.errors import RoomKitError
from roomkit.rtp import Codec, RTPOptions, RTPSession
from roomkit.rtp.sdp import Negotiation, SDPError, SessionDescription
from roomkit.rtp.srtp import SRTP, CryptoLine, SRTPKey, choose_line
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from rtp.wire import Peer

JUNK: tuple[Any, ...] = (
    *(None, True, object(), lambda *_: 1, range(3)),
    *(0, -1, 10**30, 10**400, 10**5000, 1.5, float("nan"), float("inf")),
    *("", "x", "é", "\ud800", "9" * 5000, b"", b"x", bytearray(b"abc")),
    *([], {}, (), [None], {"a": 1}, {8000: 101}, (1, 2), ("127.0.0.1", 9), ("", 0), [[]]),
)
BARE = (AttributeError, LookupError, ArithmeticError, UnicodeError, AssertionError, RecursionError)
OFFER = "v=0\no=- 1 1 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 40000 RTP/AVP 0\n"
KEYS = bytes(range(30)), bytes(range(1, 31))
LINE = CryptoLine.generate()

# What an error calls a parameter that has a name of its own in what it is read from.
CALLED = {
    "sdp": "SDP",
    "text": "SDP",
    "offer": "SDP",
    "answer": "SDP",
    "local": "crypto|local",
    "remote": "crypto",
    "line": "crypto",
    "lines": "crypto|lines",
    "suites": "crypto|suites",
    "audio": "audio|data",
    "tag": "crypto tag",
    "keys": "crypto keys",
    "name": "codec name",
}


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """Its named ones."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = inspect.signature(function).parameters.values()
    return [each.name for each in found if each.kind not in kinds and each.name != "self"]


def check(error: Exception, name: str, value: Any) -> None:
    """That an error is one of ours, and names the parameter."""
    about = f"{name}={type(value)!s}: {error!r:.200}"
    if isinstance(error, RoomKitError):
        return
    assert isinstance(error, (ValueError, TypeError, OSError)), about
    assert not isinstance(error, BARE), about
    assert any(word in str(error) for word in (name, *CALLED.get(name, name).split("|"))), about
    assert len(str(error)) < 1000, about


def sweep(function: Callable[..., Any], **fitting: Any) -> None:
    """Calls it with junk for each parameter in turn, the others as they fit."""
    for name in parameters_of(function):
        for value in JUNK:
            try:
                function(**{**fitting, name: value})
            except Exception as error:  # noqa: BLE001 (which, is what is tested)
                check(error, name, value)


def test_what_is_made_of_values_says_which_does_not_fit() -> None:
    sweep(RTPSession, remote_addr=("127.0.0.1", 9))
    sweep(RTPSession.from_options, options=RTPOptions(remote_addr=("127.0.0.1", 9)))
    sweep(RTPSession.from_offer, sdp=OFFER)
    sweep(RTPSession.for_offer)
    sweep(RTPVoiceBackend)
    sweep(Codec, name="opus", payload_type=111)
    sweep(SRTP, send_key=KEYS[0], receive_key=KEYS[1])
    sweep(SRTP.from_lines, local=LINE, remote=LINE.answer())
    sweep(SRTPKey, suite="AES_CM_128_HMAC_SHA1_80", key=KEYS[0])
    sweep(SRTPKey.generate)
    sweep(CryptoLine, tag=1, keys=LINE.keys)
    sweep(CryptoLine.parse)
    sweep(CryptoLine.generate)
    sweep(choose_line, lines=[LINE.to_sdp()])
    sweep(SessionDescription.parse)
    sweep(AudioChunk, data=bytes(2))
    sweep(AudioFrame, data=bytes(2))
    sweep(DTMFEvent, digit="1", duration_ms=100)


@pytest.mark.parametrize("make", [RTPOptions, Negotiation], ids=lambda make: make.__name__)
def test_every_option_says_that_it_does_not_fit(make: Callable[..., Any]) -> None:
    for name, field in RTPOptions.__dataclass_fields__.items():
        for value in JUNK if field.init else ():
            try:
                make(**{name: value})
            except Exception as error:  # noqa: BLE001
                check(error, name, value)


def test_offers_and_answers_say_what_does_not_fit() -> None:
    def answering(local: Any, rtcp: Any) -> None:
        negotiation = Negotiation()
        negotiation.receive_offer(OFFER)
        negotiation.answer(local, rtcp)

    def offering(answer: Any) -> None:
        negotiation = Negotiation()
        negotiation.offer(("127.0.0.1", 4000))
        negotiation.receive_answer(answer)

    def holding(direction: Any) -> None:
        negotiation = Negotiation()
        negotiation.receive_offer(OFFER)
        negotiation.hold(direction)
        assert direction in ("sendrecv", "sendonly", "recvonly", "inactive")

    sweep(answering, local=("127.0.0.1", 4000), rtcp=None)
    sweep(offering)
    sweep(holding)
    negotiation = Negotiation()
    sweep(negotiation.offer, local=("127.0.0.1", 4000))
    sweep(negotiation.receive_offer, offer=OFFER)


@pytest_asyncio.fixture
async def session(peer: Peer) -> AsyncIterator[RTPSession]:
    offer = OFFER.replace("40000", str(peer.addr[1]))
    async with RTPSession.from_offer(offer, local_addr=("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *(("play", "audio"), ("send", "audio"), ("rekey", "srtp"), ("hold", "direction")),
        *(("send_dtmf", "digits"), ("inject_dtmf", "digit"), ("inject_dtmf", "duration_ms")),
        *(("mask_digits", "masked"), ("set_input_muted", "muted"), ("retarget", "remote_addr")),
        *(("on_frame", "callback"), ("on_event", "callback"), ("on_played", "callback")),
        *(("on_dtmf", "callback"), ("on_disconnected", "callback")),
        *(("offer", "codecs"), ("offer", "ptime_ms"), ("offer", "direction")),
        *(("update", "sdp"), ("accept_answer", "sdp"), ("update", "codecs")),
        *(("update", "remote_addr"), ("update", "keepalive"), ("update", "dtmf_types")),
        *(("update", "direction"), ("update", "fill"), ("update", "rtp_timeout")),
    ],
)
async def test_an_open_session_says_what_does_not_fit(
    session: RTPSession, method: str, name: str
) -> None:
    others = {"digit": "5"} if method == "inject_dtmf" else {}
    for value in JUNK:
        session.offer()
        try:
            async with asyncio.timeout(10):
                done = getattr(session, method)(**{**others, name: value})
                if inspect.isawaitable(done):
                    await done
        except TimeoutError:
            pytest.fail(f"{method} waits for ever with {name}={type(value)}")
        except Exception as error:  # noqa: BLE001
            check(error, name, value)
    assert not session.closed


@pytest.mark.parametrize("register", ["on_frame", "on_dtmf", "on_event", "on_disconnected"])
async def test_what_cannot_be_called_is_no_callback(session: RTPSession, register: str) -> None:
    for wrong in (None, "f"):
        with pytest.raises(TypeError, match="^callback: .*; a function fits, plain or async"):
            getattr(session, register)(wrong)


@pytest.mark.parametrize("reason", [None, b"bye", 5])
async def test_a_reason_that_is_no_text_leaves_the_session_open(
    session: RTPSession, reason: Any
) -> None:
    with pytest.raises(TypeError, match=f"^reason: {reason!r}; a str fits"):
        await session.close(reason)
    assert not session.closed
    assert session.playing is False


async def test_a_reason_that_no_wire_carries_does_not_keep_the_ports(session: RTPSession) -> None:
    await session.close("half of a pair: \ud800")
    again = RTPSession(local_addr=session.local_addr, remote_addr=("127.0.0.1", 9))
    async with again:
        assert again.local_addr == session.local_addr


def test_an_sdp_error_is_short() -> None:
    with pytest.raises(SDPError) as caught:
        SessionDescription.parse("v=" + "9" * 60_000)
    assert len(str(caught.value)) < 300
