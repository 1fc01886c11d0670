"""SDP of ours through rtpengine, which reads, rewrites and obeys it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interop.rtpengine import Call, RTPEngine
from interop.wire import Wire
from roomkit.rtp import Codec, RTPSession
from roomkit.voice.events import DTMFEvent
from rtp.sound import audible, frequency, listen, sound_then_silence, tone

pytestmark = pytest.mark.interop

HERE: Any = {"local_addr": ("127.0.0.1", 0), "rtcp_interval": 0.5}


@contextlib.asynccontextmanager
async def call(
    path: Path, ours: dict[str, Any], theirs: dict[str, Any], **asked: Any
) -> AsyncIterator[tuple[RTPSession, RTPSession, Call]]:
    """Alice has offered through rtpengine, and Bob has answered. `asked`: of rtpengine."""
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(RTPEngine(path))
        between = engine.call()
        alice = await stack.enter_async_context(RTPSession.for_offer(**HERE, **ours))
        offer = await between.offer(alice.offer(), **asked)
        bob = await stack.enter_async_context(RTPSession.from_offer(offer, **HERE, **theirs))
        await alice.accept_answer(await between.answer(bob.answer))
        assert bob.remote_addr != alice.local_addr, "rtpengine is in between"
        yield alice, bob, between


async def heard(of: RTPSession, by: RTPSession) -> float:
    """The pitch of what arrives of a tone of 440 Hz."""
    hearing = asyncio.create_task(listen(aiter(by), sound_then_silence(200)))
    await of.play(tone(440, 600, of.sample_rate))
    sound = audible(await hearing)
    assert sum(frame.duration_ms for frame in sound) == pytest.approx(600, abs=80)
    return frequency(b"".join(frame.data for frame in sound), by.sample_rate)


@pytest.mark.parametrize(
    ("ours", "theirs", "asked"),
    [
        ({"codecs": ["PCMU", "G722"]}, {}, {}),
        ({"codecs": ["PCMU", Codec("L16", 96, 16000)]}, {"codecs": [Codec("L16", 99, 16000)]}, {}),
        ({"codecs": ["G722"]}, {"codecs": ["PCMA"]}, {"codec": {"transcode": ["PCMA"]}}),
        ({"codecs": ["PCMA"]}, {}, {"rtcp_mux": ["offer"]}),
        ({"codecs": ["PCMA"], "rtcp": "mux"}, {}, {"rtcp_mux": ["demux"]}),
        ({"codecs": ["PCMA"]}, {}, {"transport_protocol": "RTP/SAVP"}),
        (
            {"codecs": ["PCMA"], "sdp_security": "require"},
            {"sdp_security": "off"},
            {"transport_protocol": "RTP/AVP"},
        ),
        ({"codecs": ["opus"]}, {}, {}),
    ],
    ids=[
        *("first choice", "second choice", "transcoded", "mux offered", "mux taken away"),
        *("encrypted towards the callee", "encrypted towards the caller", "opus"),
    ],
)
async def test_what_is_agreed_on_through_rtpengine_is_heard_both_ways(
    tmp_path: Path,
    wire: Wire | None,
    ours: dict[str, Any],
    theirs: dict[str, Any],
    asked: dict[str, Any],
) -> None:
    async with call(tmp_path, ours, theirs, **asked) as (alice, bob, _):
        for session in (alice, bob):
            if session.options.srtp is not None and wire is not None:
                assert session.rtcp_addr is not None
                assert session.options.remote_addr is not None
                for port in (session.rtcp_addr[1], session.options.remote_addr[1] + 1):
                    wire.excuse(port, "encrypted RTCP, which tshark has no key for")
        for speaker, listener in ((alice, bob), (bob, alice)):
            assert await heard(speaker, listener) == pytest.approx(440, abs=5)
        for session in (alice, bob):
            assert session.stats().unknown_payload_type == 0


async def test_hold_and_resume_and_another_codec_through_rtpengine(tmp_path: Path) -> None:
    async with call(tmp_path, {"codecs": ["PCMU"]}, {}) as (alice, bob, between):

        async def re_invite(**changes: Any) -> None:
            answer = await bob.update(sdp=await between.offer(alice.offer(**changes)))
            assert answer is not None
            await alice.accept_answer(await between.answer(answer))

        assert await heard(bob, alice) == pytest.approx(440, abs=5)
        await re_invite(direction="sendonly")
        assert (alice.options.direction, bob.options.direction) == ("sendonly", "recvonly")
        assert await heard(alice, bob) == pytest.approx(440, abs=5)
        await re_invite(direction="sendrecv", codecs=["PCMA"])
        assert (alice.codec.name, bob.codec.name) == ("PCMA", "PCMA")
        for speaker, listener in ((alice, bob), (bob, alice)):
            assert await heard(speaker, listener) == pytest.approx(440, abs=5)


async def test_digits_pass_under_the_numbers_of_either_side(tmp_path: Path) -> None:
    async with call(tmp_path, {"codecs": ["PCMU"]}, {}) as (alice, bob, _):
        digits: list[str] = []
        all_there = asyncio.Event()

        def on_dtmf(event: DTMFEvent) -> None:
            digits.append(event.digit)
            if len(digits) == 4:
                all_there.set()

        bob.on_dtmf(on_dtmf)
        alice.send_dtmf("12#A")
        async with asyncio.timeout(20):
            await all_there.wait()
    assert digits == ["1", "2", "#", "A"]
