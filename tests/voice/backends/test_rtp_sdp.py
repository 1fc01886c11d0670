"""Calls that a gateway's SDP decides on, through the backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roomkit.errors import SessionEndedError
from roomkit.rtp import Codec
from roomkit.rtp.sdp import SDPError, SessionDescription
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import VoiceSession
from rtp.sdp_corpus import text
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"


def offer_of(peer: Peer, *lines: str, types: str = "8 0 101") -> str:
    return text(
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=audio {peer.addr[1]} RTP/AVP {types}",
        "a=rtpmap:101 telephone-event/8000",
        *lines,
    )


@asynccontextmanager
async def closing(backend: RTPVoiceBackend) -> AsyncIterator[RTPVoiceBackend]:
    try:
        yield backend
    finally:
        await backend.close()


async def connect(backend: RTPVoiceBackend, **metadata: Any) -> VoiceSession:
    return await backend.connect("room", "caller", "voice", metadata=metadata)


async def test_an_offer_makes_a_session_and_an_answer(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0))
    session = await connect(backend, sdp=offer_of(peer), tenant="acme")
    answer = SessionDescription.parse(session.metadata["sdp_answer"])
    assert answer.audio is not None
    assert answer.address_of(answer.audio) == session.metadata["local_addr"]
    assert {
        name: session.metadata[name] for name in ("codec", "payload_type", "remote_addr", "tenant")
    } == {"codec": "PCMA", "payload_type": 8, "remote_addr": peer.addr, "tenant": "acme"}
    await backend.send_audio(session, tone(440, 100))
    await peer.until(lambda: len(peer.audio_packets(8)) >= 5)
    await backend.close()


async def test_options_of_the_backend_and_of_the_session_are_wishes(peer: Peer) -> None:
    backend = RTPVoiceBackend(
        local_addr=(LOOPBACK, 0), remote_addr=("192.0.2.7", 9), codecs=["PCMU"], ptime_ms=40
    )
    session = await connect(backend, sdp=offer_of(peer, "a=ptime:30"))
    assert session.metadata["codec"] == "PCMU"
    assert "a=ptime:40" in session.metadata["sdp_answer"]
    other = await connect(backend, sdp=offer_of(peer), codecs=["PCMA"], ptime_ms=60)
    assert other.metadata["codec"] == "PCMA"
    assert "a=ptime:60" in other.metadata["sdp_answer"]
    with pytest.raises(SDPError, match="no codec in common"):
        await connect(backend, sdp=offer_of(peer), codecs=["G722"])
    await backend.close()
    of_a_number = RTPVoiceBackend(local_addr=(LOOPBACK, 0), payload_type=0)
    session = await connect(of_a_number, sdp=offer_of(peer))
    assert session.metadata["codec"] == "PCMA", "0 is the default, and says nothing"
    await of_a_number.close()


async def test_several_calls_share_a_port(peer: Peer) -> None:
    with Peer() as other:
        backend = RTPVoiceBackend(local_addr=(LOOPBACK, free_port_pair()))
        first = await connect(backend, sdp=offer_of(peer))
        second = await connect(backend, sdp=offer_of(other))
        assert first.metadata["local_addr"] == second.metadata["local_addr"]
        for session, where in ((first, peer), (second, other)):
            await backend.send_audio(session, tone(440, 60))
            await where.until(lambda where=where: len(where.packets) >= 3)  # type: ignore[misc]
        await backend.close()


async def test_a_re_invite_is_answered_and_told_in_the_metadata(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0))
    session = await connect(backend, sdp=offer_of(peer))
    first = session.metadata["sdp_answer"]
    with Peer() as other:
        answer = await backend.update(session, sdp=offer_of(other, "a=sendonly", types="0"))
        assert answer is not None
        assert answer == session.metadata["sdp_answer"] != first
        assert "a=recvonly" in answer
        assert (session.metadata["codec"], session.metadata["remote_addr"]) == ("PCMU", other.addr)
    await backend.close()
    with pytest.raises(SessionEndedError):
        await backend.update(session, sdp=offer_of(peer))


async def test_rfc3264_8_4_a_re_invite_for_hold_pauses_the_session_and_one_to_go_on_ends_that(
    peer: Peer,
) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0))
    session = await connect(backend, sdp=offer_of(peer))
    states = [session.state]
    for line, answered in (
        ("a=sendonly", "a=recvonly"),
        ("a=sendrecv", "a=sendrecv"),
        ("a=inactive", "a=inactive"),
        ("a=sendrecv", "a=sendrecv"),
    ):
        answer = await backend.update(session, sdp=offer_of(peer, line))
        assert answer is not None
        assert answered in answer
        states.append(session.state)
    assert states == ["active", "paused", "active", "paused", "active"]
    await backend.close()


async def test_comfort_noise_is_sent_only_to_who_offered_it(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), fill="comfort_noise")
    first = await connect(backend, sdp=offer_of(peer, types="0 13 101"))
    await peer.until(lambda: len(peer.packets) >= 2)
    assert {packet.payload_type for packet in peer.packets} == {13}
    await backend.disconnect(first)
    with Peer() as other:
        second = await connect(backend, sdp=offer_of(other, types="0 101"))
        await other.until(lambda: len(other.packets) >= 5)
        assert {packet.payload_type for packet in other.packets} == {0}, "silence in its place"
        await backend.disconnect(second)
    await backend.close()


async def test_the_first_word_may_be_ours(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), codecs=["PCMU", Codec("L16", 96, 16000)])
    session = await connect(backend, offer_sdp=True)
    offer = SessionDescription.parse(session.metadata["sdp_offer"])
    assert offer.audio is not None
    assert offer.audio.formats == ("0", "96", "101", "97")
    await backend.accept_answer(session, offer_of(peer, "a=rtpmap:120 L16/16000", types="120"))
    assert (session.metadata["codec"], session.metadata["remote_addr"]) == ("L16", peer.addr)
    await backend.send_audio(session, tone(440, 100))
    await peer.until(lambda: len(peer.audio_packets(120)) >= 3)
    held = backend.offer(session, direction="sendonly")
    assert "a=sendonly" in held
    await backend.close()


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"sdp": "v=1"}, "line 1: 'v=1'"),
        ({"sdp": "", "offer_sdp": True}, "only one of the two"),
        ({"offer_sdp": True, "remote_addr": ("192.0.2.1", 9)}, "remote_addr: SDP decides it"),
        ({"offer_sdp": True, "payload_type": 8}, "payload_type: SDP decides it"),
    ],
)
async def test_what_cannot_be_leaves_nothing_open(metadata: dict[str, Any], problem: str) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0))
    with pytest.raises(ValueError, match=problem):
        await connect(backend, **metadata)
    assert backend.list_sessions("room") == []
    await backend.close()


async def test_an_offer_that_was_answered_is_no_longer_in_the_metadata(peer: Peer) -> None:
    async with closing(RTPVoiceBackend(local_addr=(LOOPBACK, 0))) as backend:
        session = await connect(backend, offer_sdp=True)
        assert "sdp_offer" in session.metadata
        await backend.accept_answer(session, offer_of(peer))
        assert "sdp_offer" not in session.metadata


async def test_an_offer_of_theirs_takes_the_place_of_ours_that_was_refused(peer: Peer) -> None:
    async with closing(RTPVoiceBackend(local_addr=(LOOPBACK, 0))) as backend:
        session = await connect(backend, sdp=offer_of(peer))
        ours = backend.offer(session, direction="sendonly")
        assert session.metadata["sdp_offer"] == ours
        answer = await backend.update(session, sdp=offer_of(peer))
        assert session.metadata["sdp_answer"] == answer
        assert "sdp_offer" not in session.metadata


async def test_offers_that_come_together_are_answered_one_after_another(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(*what: Any, **more: Any) -> Any:
        asked.set()
        await answered.wait()
        return await look_up(*what, **more)

    async with closing(RTPVoiceBackend(local_addr=(LOOPBACK, 0))) as backend:
        session = await connect(backend, sdp=offer_of(peer))
        monkeypatch.setattr(loop, "getaddrinfo", slow)
        named = offer_of(peer, types="8 101").replace("c=IN IP4 127.0.0.1", "c=IN IP4 localhost")
        first = asyncio.create_task(backend.update(session, sdp=named))
        await asked.wait()
        second = asyncio.create_task(backend.update(session, sdp=offer_of(peer, types="0 101")))
        await asyncio.sleep(0)
        answered.set()
        answers = await asyncio.gather(first, second)
        audio = [SessionDescription.parse(answer or "").audio for answer in answers]
        assert [media and media.formats[0] for media in audio] == ["8", "0"]
        assert session.metadata["codec"] == "PCMU"
