"""From a gateway's offer to a running session, and on through the call, over loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from roomkit.errors import SessionEndedError
from roomkit.rtp import Codec, RTPSession
from roomkit.rtp.options import MediaDirection
from roomkit.rtp.sdp import SDPError, SessionDescription
from roomkit.rtp.srtp import CryptoLine
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from rtp.sdp_corpus import text
from rtp.sound import audible, frequency, level, listen, sound_then_silence, tone
from rtp.wire import Peer, rtp

LOOPBACK = "127.0.0.1"
HERE: Any = {"local_addr": (LOOPBACK, 0)}


def offer_of(peer: Peer, *lines: str, types: str = "0 101", port: int | None = None) -> str:
    return text(
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=audio {peer.addr[1] if port is None else port} RTP/AVP {types}",
        "a=rtpmap:101 telephone-event/8000",
        *lines,
    )


@contextlib.asynccontextmanager
async def call(
    ours: dict[str, Any] | None = None, theirs: dict[str, Any] | None = None
) -> AsyncIterator[tuple[RTPSession, RTPSession]]:
    """Alice has offered, Bob has answered."""
    async with contextlib.AsyncExitStack() as stack:
        alice = await stack.enter_async_context(RTPSession.for_offer(**HERE, **(ours or {})))
        answering = RTPSession.from_offer(alice.offer(), **HERE, **(theirs or {}))
        bob = await stack.enter_async_context(answering)
        await alice.accept_answer(bob.answer)
        yield alice, bob


async def heard(of: RTPSession, by: RTPSession) -> list[AudioFrame]:
    hearing = asyncio.create_task(listen(aiter(by), sound_then_silence(100)))
    await of.play(tone(440, 400, of.sample_rate))
    return audible(await hearing)


# --- the beginning of a call ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "codecs",
    [
        *(["PCMU"], ["PCMA", "PCMU"], ["G722"], [Codec("L16", 96, 16000)], ["opus"], None),
        *([Codec("opus", 35)], [Codec("L16", 63, 16000)]),
    ],
    ids=["PCMU", "PCMA", "G722", "L16", "opus", "all there are", "opus as 35", "L16 as 63"],
)
async def test_from_an_offer_to_audio_both_ways(codecs: Any) -> None:
    async with call({"codecs": codecs} if codecs else {}) as (alice, bob):
        assert alice.codec.rtpmap == bob.codec.rtpmap
        assert alice.agreement is not None
        for speaker, listener in ((alice, bob), (bob, alice)):
            frames = await heard(speaker, listener)
            assert sum(frame.duration_ms for frame in frames) == pytest.approx(400, abs=40)
            sound = b"".join(frame.data for frame in frames)
            assert frequency(sound, listener.sample_rate) == pytest.approx(440, abs=5)


async def test_the_answer_tells_the_bound_ports(peer: Peer) -> None:
    async with RTPSession.from_offer(offer_of(peer), **HERE) as session:
        answer = SessionDescription.parse(session.answer)
        assert answer.audio is not None
        assert answer.address_of(answer.audio) == session.local_addr
        assert session.remote_addr == peer.addr
        assert session.rtcp_addr == (LOOPBACK, session.local_addr[1] + 1)
    async with RTPSession.from_offer(offer_of(peer, "a=rtcp-mux"), **HERE) as session:
        assert "a=rtcp-mux" in session.answer
        assert session.rtcp_addr == session.local_addr


async def test_bound_to_every_address_the_answer_tells_the_one_that_reaches_the_peer(
    peer: Peer,
) -> None:
    async with RTPSession.from_offer(offer_of(peer)) as session:
        assert "c=IN IP4 127.0.0.1\r\n" in session.answer
    async with RTPSession.from_offer(offer_of(peer), advertised_host="198.51.100.4") as session:
        assert "c=IN IP4 198.51.100.4\r\n" in session.answer
        assert "o=- " in session.answer
        assert session.local_addr[0] == "0.0.0.0"


async def test_rfc_3264_section_5_1_each_end_sends_under_the_other_s_numbers(peer: Peer) -> None:
    async with RTPSession.for_offer(**HERE, codecs=[Codec("L16", 100, 16000)]) as session:
        session.offer()
        answer = offer_of(
            peer, "a=rtpmap:120 L16/16000", "a=rtpmap:121 telephone-event/16000", types="120 121"
        )
        await session.accept_answer(answer)
        frames = aiter(session)
        for n in range(10):
            peer.send(rtp(n, n * 320, 7, b"\x10\0" * 320, pt=100), session.local_addr)
        await listen(frames, lambda heard: level(heard[-1].data) > 0)
        await session.play(tone(440, 100, 16000))
        session.send_dtmf("5", 40)
        await peer.until(lambda: bool(peer.audio_packets(121)))
        assert len(peer.audio_packets(120)) >= 5
        assert session.stats().unknown_payload_type == 0


async def test_digits_travel_under_what_was_agreed_on() -> None:
    async with call({"codecs": ["PCMU"]}) as (alice, bob):
        digits: list[DTMFEvent] = []
        got = asyncio.Event()

        def on_dtmf(event: DTMFEvent) -> None:
            digits.append(event)
            got.set()

        bob.on_dtmf(on_dtmf)
        alice.send_dtmf("7")
        await asyncio.wait_for(got.wait(), 10)
    assert [event.digit for event in digits] == ["7"]


async def test_without_digits_in_the_answer_none_can_be_sent(peer: Peer) -> None:
    offer = offer_of(peer, types="0")
    async with RTPSession.from_offer(offer, **HERE) as session:
        with pytest.raises(ValueError, match="^digits: the far end takes none as events: its SDP"):
            session.send_dtmf("1")
        session.send_dtmf("1", method="inband")
    async with RTPSession.from_offer(offer_of(peer), dtmf_payload_type=None, **HERE) as session:
        with pytest.raises(ValueError, match="^digits: this session was made with dtmf_payload_ty"):
            session.send_dtmf("1")
    plain = RTPSession(remote_addr=peer.addr, dtmf_payload_type=None, **HERE)
    with pytest.raises(ValueError, match="^digits: .*; dtmf_payload_type=101 fits, or method='inb"):
        plain.send_dtmf("1")


async def test_before_the_answer_nobody_is_heard_and_nothing_is_sent(peer: Peer) -> None:
    async with RTPSession.for_offer(**HERE, codecs=["PCMU"]) as session:
        session.offer()
        for n in range(50):
            peer.send(rtp(n, n * 160, 7, bytes(160)), session.local_addr)
        await peer.until(lambda: session.stats().stranger_host == 50)
        assert not peer.packets
        frames = aiter(session)
        await session.accept_answer(offer_of(peer))
        await peer.until(lambda: session.remote_addr == peer.addr)
        for n in range(10):
            peer.send(rtp(9000 + n, n * 160, 8, bytes(160)), session.local_addr)
        await anext(frames)


async def test_keys_of_offer_and_answer_encrypt_both_ways_and_through_a_re_invite() -> None:
    async with call({"codecs": ["PCMU"], "sdp_security": "require"}) as (alice, bob):
        assert alice.options.srtp is not None
        assert bob.options.srtp is not None
        for speaker, listener in ((alice, bob), (bob, alice)):
            assert audible(await heard(speaker, listener))
        before = alice.options.srtp, bob.options.srtp
        directions: tuple[MediaDirection, ...] = ("sendonly", "sendrecv")
        for direction in directions:
            answer = await bob.update(sdp=alice.offer(direction=direction))
            assert answer is not None
            await alice.accept_answer(answer)
        assert (alice.options.srtp, bob.options.srtp) == before, "the keys go on"
        for speaker, listener in ((alice, bob), (bob, alice)):
            assert audible(await heard(speaker, listener))


async def test_plain_rtp_is_not_heard_in_an_encrypted_call(peer: Peer) -> None:
    line = CryptoLine.generate()
    secured = offer_of(peer, f"a=crypto:{line.to_sdp()}").replace("RTP/AVP", "RTP/SAVP")
    async with RTPSession.from_offer(secured, **HERE) as session:
        await session.play(tone(440, 100))
        await peer.until(lambda: len(peer.audio_packets(0)) >= 5)
        sizes = {len(packet.payload) for packet in peer.audio_packets(0)}
        assert sizes == {160 + 10}, "the tag of 80 bits"
        for n in range(10):
            peer.send(rtp(n, n * 160, 7, bytes(160)), session.local_addr)
        await peer.until(lambda: session.stats().srtp_bad_tag >= 10)
        assert session.stats().packets_received == 0


# --- what cannot be ------------------------------------------------------------------------------


async def test_what_cannot_be_is_refused_before_anything_is_open(peer: Peer) -> None:
    with pytest.raises(SDPError, match="line 6: .*no codec in common"):
        RTPSession.from_offer(offer_of(peer, types="18"), **HERE)
    with pytest.raises(ValueError, match="^ptime_ms: 25"):
        RTPSession.from_offer(offer_of(peer), ptime_ms=25)
    wrong: Any = {"remote_addr": peer.addr}
    with pytest.raises(ValueError, match="^remote_addr: the description decides it"):
        RTPSession.from_offer(offer_of(peer), **wrong)
    with pytest.raises(ValueError, match="^remote_addr: the description decides it"):
        RTPSession.for_offer(**wrong)
    with pytest.raises(ValueError, match="^advertised_host: 'here.example'"):
        RTPSession.for_offer(advertised_host="here.example")


async def test_offers_and_answers_in_the_wrong_order_are_misuse(peer: Peer) -> None:
    session = RTPSession.from_offer(offer_of(peer), **HERE)
    with pytest.raises(RuntimeError, match="not open yet"):
        _ = session.answer
    async with session:
        with pytest.raises(RuntimeError, match="no offer of ours"):
            await session.accept_answer(offer_of(peer))
        with pytest.raises(ValueError, match="^codecs: the description decides it"):
            await session.update(sdp=offer_of(peer), codecs=["PCMA"])
    with pytest.raises(SessionEndedError):
        session.offer()
    async with RTPSession(remote_addr=peer.addr, **HERE) as plain:
        with pytest.raises(RuntimeError, match="made without SDP"):
            plain.offer()
        with pytest.raises(RuntimeError, match="no offer to answer"):
            _ = plain.answer


async def test_a_re_invite_that_cannot_be_leaves_the_call_as_it_is(peer: Peer) -> None:
    async with RTPSession.from_offer(offer_of(peer), **HERE) as session:
        before = session.answer, session.agreement, session.options
        with pytest.raises(SDPError):
            await session.update(sdp=offer_of(peer, types="18"))
        with pytest.raises(ValueError, match="IPv6"):
            await session.update(
                sdp=offer_of(peer).replace("c=IN IP4 127.0.0.1", "c=IN IP6 2001:db8::1")
            )
        session.offer(direction="sendonly")
        with pytest.raises(SDPError, match="refused"):
            await session.accept_answer(offer_of(peer, port=0))
        assert (session.answer, session.agreement, session.options) == before


# --- renegotiation -------------------------------------------------------------------------------


async def test_a_change_of_codec_by_re_invite_leaves_no_gap_either_way() -> None:
    async with call({"codecs": ["PCMU", "PCMA"]}) as (alice, bob):
        streams = {session: aiter(session) for session in (alice, bob)}
        playing = [asyncio.create_task(session.play(tone(440, 1500))) for session in (alice, bob)]
        collected: dict[RTPSession, list[AudioFrame]] = {alice: [], bob: []}

        async def collect(session: RTPSession, upto: int) -> None:
            while len(collected[session]) < upto:
                collected[session].append(await anext(streams[session]))

        await asyncio.gather(*(collect(session, 20) for session in (alice, bob)))
        changes: list[list[Codec | str]] = [[Codec("L16", 97, 16000), "PCMA"], ["PCMA"]]
        for codecs in changes:
            answer = await bob.update(sdp=alice.offer(codecs=codecs))
            assert answer is not None
            await alice.accept_answer(answer)
            assert (
                alice.codec.name
                == bob.codec.name
                == SessionDescription.parse(answer).media[0].encodings[0].name
            )
            upto = len(collected[alice]) + 20
            await asyncio.gather(*(collect(session, upto) for session in (alice, bob)))
        for session in (alice, bob):
            assert session.stats().unknown_payload_type == 0
            sound = audible(collected[session])
            assert {frame.kind for frame in sound[1:-1]} == {"received"}
            for frame, following in pairwise(collected[session]):
                assert frame.timestamp_ms is not None
                assert following.timestamp_ms == pytest.approx(frame.timestamp_ms + 20)
            assert {len(frame.data) for frame in collected[session]} == {320}
        for task in playing:
            assert (await task).played_ms == 1500


async def test_hold_by_re_invite_and_back_again() -> None:
    async with call({"codecs": ["PCMU"]}) as (alice, bob):
        assert audible(await heard(bob, alice))
        answer = await bob.update(sdp=alice.offer(direction="sendonly"))
        assert answer is not None
        assert "a=recvonly" in answer
        await alice.accept_answer(answer)
        assert (alice.options.direction, bob.options.direction) == ("sendonly", "recvonly")
        waiting = asyncio.create_task(bob.play(tone(440, 200)))
        assert await heard(alice, bob), "music on hold"
        assert not waiting.done()
        listening = asyncio.create_task(listen(aiter(alice), sound_then_silence(100)))
        answer = await bob.update(sdp=alice.offer(direction="sendrecv"))
        assert answer is not None
        await alice.accept_answer(answer)
        assert (await waiting).played_ms == 200
        assert audible(await listening)


async def test_hold_in_the_older_style_keeps_the_address(peer: Peer) -> None:
    async with RTPSession.from_offer(offer_of(peer), **HERE) as session:
        held = offer_of(peer).replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")
        answer = await session.update(sdp=held)
        assert answer is not None
        assert "a=recvonly" in answer
        assert session.remote_addr == peer.addr
        answer = await session.update(sdp=offer_of(peer))
        assert answer is not None
        assert "a=sendrecv" in answer
        assert session.options.direction == "sendrecv"


async def test_a_call_may_begin_on_hold_without_an_address(peer: Peer) -> None:
    held = offer_of(peer).replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")
    async with RTPSession.from_offer(held, **HERE) as session:
        assert session.options.remote_addr is None
        assert "a=recvonly" in session.answer
        await session.update(sdp=offer_of(peer))
        await peer.until(lambda: session.remote_addr == peer.addr)
        await session.play(tone(440, 100))
        await peer.until(lambda: len(peer.packets) >= 5)


async def test_a_re_invite_moves_the_media(peer: Peer) -> None:
    async with RTPSession.from_offer(offer_of(peer), **HERE) as session:
        await session.play(tone(440, 100))
        with Peer() as other:
            await session.update(sdp=offer_of(other))
            await other.until(lambda: session.remote_addr == other.addr)
            await session.play(tone(440, 100))
            await other.until(lambda: len(other.packets) >= 5)


async def test_a_session_without_sdp_takes_a_re_invite_too(peer: Peer) -> None:
    async with RTPSession(remote_addr=peer.addr, **HERE) as session:
        answer = await session.update(sdp=offer_of(peer, types="8 101"))
        assert answer == session.answer
        assert "RTP/AVP 8 101" in answer
        assert session.codec.name == "PCMA"


@pytest.mark.parametrize("by_sdp", [True, False])
async def test_an_offer_of_the_far_end_does_not_take_it_off_our_hold(
    peer: Peer, by_sdp: bool
) -> None:
    """A refresh (RFC 4028) offers what it always offered; who holds says so again."""
    make = RTPSession.from_offer(offer_of(peer), **HERE) if by_sdp else None
    async with make or RTPSession(remote_addr=peer.addr, **HERE) as session:
        await session.hold()
        for direction, holding in (("sendrecv", "sendonly"), ("sendonly", "inactive")) * 2:
            answer = await session.update(sdp=offer_of(peer, f"a={direction}"))
            assert f"a={holding}" in (answer or "")
            assert (session.options.direction, session.on_hold) == (holding, True)
        await session.update(sdp=offer_of(peer))
        await session.resume()
        assert (session.options.direction, session.on_hold) == ("sendrecv", False)
        answer = await session.update(sdp=offer_of(peer))
        assert "a=sendrecv" in (answer or "")


async def test_held_by_the_far_end_meanwhile_we_are_still_held_after_resume(peer: Peer) -> None:
    async with RTPSession.from_offer(offer_of(peer), **HERE) as session:
        await session.hold()
        await session.update(sdp=offer_of(peer, "a=sendonly"))
        await session.resume()
        assert (session.options.direction, session.on_hold) == ("recvonly", True)
