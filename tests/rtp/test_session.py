"""Two sessions, or a session and a bare socket, over loopback: what is played is heard."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from roomkit.errors import QueueFullError, SessionEndedError
from roomkit.rtp import Codec, Disconnected, RTPSession
from roomkit.rtp.events import Resumed, RTPEvent, SourceTrusted
from roomkit.voice.base import AudioChunk
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from rtp.sound import audible, frequency, level, listen, sound_then_silence, tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"


@contextlib.asynccontextmanager
async def call(**options: Any) -> AsyncIterator[tuple[RTPSession, RTPSession]]:
    """Two sessions that know each other's address."""
    port = free_port_pair()
    options = {"local_addr": (LOOPBACK, 0), **options}
    async with RTPSession(remote_addr=(LOOPBACK, port), **options) as alice:
        options = {**options, "local_addr": (LOOPBACK, port), "remote_addr": alice.local_addr}
        async with RTPSession(**options) as bob:
            yield alice, bob


def to(peer: Peer, **options: Any) -> RTPSession:
    return RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, **options)


# --- audio ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"payload_type": 8}], ids=["PCMU", "PCMA"])
async def test_what_one_plays_the_other_hears_at_its_pitch_and_length(
    options: dict[str, Any],
) -> None:
    async with call(**options) as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(100)))
        played = await alice.play(tone(440, 400))
        heard = audible(await hearing)
    assert (played.played_ms, played.cancelled) == (400, False)
    assert sum(frame.duration_ms for frame in heard) == pytest.approx(400, abs=40)
    assert frequency(b"".join(frame.data for frame in heard)) == pytest.approx(440, abs=5)


@pytest.mark.parametrize(
    "codec", [Codec("L16", 10, 44100, 2), Codec("L16", 96, 16000), Codec("L16", 97, 48000)]
)
async def test_linear_audio_arrives_sample_for_sample(codec: Codec) -> None:
    sent = tone(440, 300, codec.sample_rate, codec.channels)
    async with call(codecs=[codec]) as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(100)))
        await alice.play(sent)
        heard = await hearing
    assert sent in b"".join(frame.data for frame in heard)
    assert {(frame.sample_rate, frame.channels) for frame in heard} == {
        (codec.sample_rate, codec.channels)
    }


async def test_frames_are_contiguous_in_media_time_and_say_what_they_are() -> None:
    async with call() as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(200)))
        await alice.play(tone(440, 200))
        heard = await hearing
    for frame, following in pairwise(heard):
        assert frame.timestamp_ms is not None
        assert following.timestamp_ms == pytest.approx(frame.timestamp_ms + frame.duration_ms)
    assert {frame.kind for frame in audible(heard)} == {"received"}
    assert heard[-1].kind == "silence"


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (24000, 1), (48000, 2), (44100, 1)])
async def test_a_chunk_s_own_rate_and_channels_are_honoured(rate: int, channels: int) -> None:
    async with call() as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(100)))
        await alice.play(AudioChunk(tone(440, 400, rate, channels), rate, channels))
        heard = audible(await hearing)
    assert sum(frame.duration_ms for frame in heard) == pytest.approx(400, abs=40)
    assert frequency(b"".join(frame.data for frame in heard)) == pytest.approx(440, abs=5)


async def test_frames_come_in_the_rate_that_was_asked_for() -> None:
    async with call(sample_rate=24000, channels=2) as (alice, bob):
        hearing = asyncio.create_task(listen(aiter(bob), sound_then_silence(100)))
        await alice.play(tone(440, 300, 24000, 2))
        heard = audible(await hearing)
    assert {(frame.sample_rate, frame.channels) for frame in heard} == {(24000, 2)}
    assert {frame.duration_ms for frame in heard} == {20}
    left = b"".join(frame.data[n : n + 2] for frame in heard for n in range(0, 1920, 4))
    assert frequency(left, 24000) == pytest.approx(440, abs=5)


async def test_an_iteration_ends_when_its_session_is_closed() -> None:
    async with call() as (alice, bob):
        frames = aiter(bob)
        await alice.play(tone(440, 100))
        await anext(frames)
        closing = asyncio.create_task(bob.close())
        await listen(frames, lambda _: False)
        await closing
        assert bob.closed


async def test_a_slow_consumer_loses_the_oldest_frames_and_this_is_counted() -> None:
    async with call(inbound_ms=100) as (alice, bob):
        frames = aiter(bob)
        all_of_them: list[AudioFrame] = []
        bob.on_frame(all_of_them.append)
        await alice.play(tone(440, 100))
        await listen(aiter(bob), lambda heard: len(heard) == 12)
        lost = len(all_of_them) - 5  # 100 ms may wait
        assert bob.stats().frames_overrun == lost > 0
        assert (await anext(frames)).timestamp_ms == all_of_them[lost].timestamp_ms


async def test_while_muted_the_frames_are_silence_and_go_on() -> None:
    async with call() as (alice, bob):
        bob.set_input_muted(True)
        playing = asyncio.create_task(alice.play(tone(440, 300)))
        heard = await listen(aiter(bob), lambda frames: len(frames) == 15)
        assert max(level(frame.data) for frame in heard) == 0
        bob.set_input_muted(False)
        await playing


async def test_a_frame_callback_that_raises_harms_no_other() -> None:
    async with call() as (alice, bob):
        heard: list[AudioFrame] = []
        await alice.play(tone(440, 100))

        def broken(frame: AudioFrame) -> None:
            frame.metadata["mine"] = 1
            raise RuntimeError("mine")

        bob.on_frame(broken)
        unsubscribe = bob.on_frame(heard.append)
        await listen(aiter(bob), lambda frames: len(frames) == 3)
        unsubscribe()
        unsubscribe()
        count = len(heard)
        await listen(aiter(bob), lambda frames: len(frames) == 2)
        assert len(heard) == count >= 3
        assert all("mine" not in frame.metadata for frame in heard)


# --- digits --------------------------------------------------------------------------------------


async def test_digits_arrive_once_each_in_order_beside_the_audio() -> None:
    async with call() as (alice, bob):
        events = bob.events()
        playing = asyncio.create_task(alice.play(tone(440, 600)))
        alice.send_dtmf("1#a", duration_ms=100)
        got: list[DTMFEvent] = []
        async with asyncio.timeout(10):
            async for event in events:
                if isinstance(event, DTMFEvent):
                    got.append(event)
                if len(got) == 3:
                    break
        assert [event.digit for event in got] == ["1", "#", "A"]
        assert [event.duration_ms for event in got] == pytest.approx([100] * 3, abs=20)
        assert (await playing).cancelled is False


@pytest.mark.parametrize("digits", ["", "x", "1 2", "12E", None, 5])
async def test_what_is_no_digit_is_refused_before_any_is_sent(peer: Peer, digits: Any) -> None:
    async with to(peer) as session:
        with pytest.raises(ValueError, match=r"^digits: .*0123456789\*#ABCD"):
            session.send_dtmf(digits)


@pytest.mark.parametrize("duration_ms", [0, 19, 60_001, 100.0, True])
async def test_a_duration_that_no_digit_has_is_refused(peer: Peer, duration_ms: Any) -> None:
    async with to(peer) as session:
        with pytest.raises(ValueError, match="^duration_ms: "):
            session.send_dtmf("1", duration_ms)


async def test_too_many_digits_are_refused_whole(peer: Peer) -> None:
    async with to(peer) as session:
        with pytest.raises(QueueFullError, match="1000 digits and pauses find no room; 128"):
            session.send_dtmf("1" * 1000)
        session.send_dtmf("2" * 120)
        with pytest.raises(QueueFullError, match="20 digits"):
            session.send_dtmf("3" * 20)
        await peer.until(lambda: len(peer.audio_packets(101)) >= 3)
        assert {packet.payload[0] for packet in peer.audio_packets(101)} == {2}


async def test_a_session_without_digits_says_so(peer: Peer) -> None:
    async with to(peer, dtmf_payload_type=None) as session:
        with pytest.raises(ValueError, match="dtmf_payload_type"):
            session.send_dtmf("1")


# --- the far end ---------------------------------------------------------------------------------


async def test_a_bye_is_told_and_ends_the_iteration() -> None:
    async with call() as (alice, bob):
        told: list[Disconnected] = []
        bob.on_disconnected(told.append)
        playing = asyncio.create_task(alice.play(tone(440, 2000)))
        hearing = asyncio.create_task(listen(aiter(bob), lambda _: False))
        await listen(aiter(bob), sound_then_silence(0))
        await alice.close("enough")
        await hearing
        assert told == [Disconnected("bye", "enough")]
        assert (await playing).cancelled


async def test_silence_of_the_peer_is_told_and_so_is_its_return(peer: Peer) -> None:
    async with to(peer, rtp_timeout=0.3) as session:
        events = session.events()
        peer.greet(session.local_addr)
        got: list[RTPEvent] = []
        async with asyncio.timeout(10):
            async for event in events:
                got.append(event)
                if isinstance(event, Disconnected):
                    # An iteration that begins now ends at once; one after the return goes on.
                    assert [frame async for frame in session] == []
                    peer.audio(session.local_addr)
                if isinstance(event, Resumed):
                    break
        assert (await anext(aiter(session))).duration_ms == 20
    assert [type(event) for event in got] == [SourceTrusted, Disconnected, Resumed]
    assert got[1] == Disconnected("rtp_timeout")
    assert got[0] == SourceTrusted(peer.addr, peer.ssrc, changed=False)


async def test_a_session_may_learn_its_peer() -> None:
    async with RTPSession(local_addr=(LOOPBACK, 0), source_policy="learn") as bob:
        assert bob.remote_addr is None
        events = bob.events()
        async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=bob.local_addr) as alice:
            await alice.play(tone(440, 200))
            async with asyncio.timeout(10):
                learned = await anext(events)
            assert learned == SourceTrusted(alice.local_addr, alice.ssrc, changed=False)
            hearing = asyncio.create_task(listen(aiter(alice), sound_then_silence(100)))
            await bob.play(tone(440, 200))
            assert len(audible(await hearing)) == pytest.approx(10, abs=2)


async def test_retargeting_moves_the_stream_and_the_trust(peer: Peer) -> None:
    with Peer() as other:
        async with to(peer) as session:
            playing = asyncio.create_task(session.play(tone(440, 5000)))
            await peer.until(lambda: len(peer.packets) >= 3)
            session.retarget(other.addr)
            await other.until(lambda: len(other.packets) >= 3)
            assert session.remote_addr == other.addr
            session.cancel()
            await playing
        assert peer.packets[-1].seq == (other.packets[0].seq - 1) % 65_536


@pytest.mark.parametrize("address", [("localhost", 5004), ("::1", 5004), (LOOPBACK, 0), None])
async def test_retargeting_to_a_name_or_nowhere_is_refused(peer: Peer, address: Any) -> None:
    async with to(peer) as session:
        with pytest.raises(ValueError, match="^remote_addr: "):
            session.retarget(address)


# --- life ----------------------------------------------------------------------------------------


async def test_the_bound_ports_can_be_had(peer: Peer) -> None:
    async with to(peer) as session:
        assert session.local_addr[0] == LOOPBACK
        assert session.local_addr[1] % 2 == 0
        assert session.rtcp_addr == (LOOPBACK, session.local_addr[1] + 1)
        assert session.remote_addr == peer.addr
        assert session.id == f"{session.ssrc:08x}"


async def test_rfc3550_8_2_after_a_collision_the_ssrc_is_another_one_and_the_id_stays(
    peer: Peer,
) -> None:
    async with to(peer) as session:
        id_, before = session.id, session.ssrc
        peer.ssrc = before
        peer.greet(session.local_addr)
        await session.play(tone(440, 400))
        after = session.ssrc
        assert (session.id, id_) == (id_, f"{before:08x}")
        await peer.until(lambda: peer.packets[-1].ssrc == after)
    assert after != before


async def test_names_are_resolved() -> None:
    async with RTPSession(local_addr=("localhost", 0), remote_addr=("localhost", 9)) as session:
        assert session.local_addr[0] == session.remote_addr[0] == LOOPBACK  # type: ignore[index]


async def test_ipv6_works() -> None:
    with Peer("::1") as peer:
        async with RTPSession(local_addr=("::1", 0), remote_addr=peer.addr) as session:
            await session.play(tone(440, 60))
            await peer.until(lambda: len(peer.packets) >= 3)


@pytest.mark.parametrize("busy", [0, 1], ids=["the RTP port", "the RTCP port"])
async def test_a_busy_port_is_an_error_and_leaves_nothing_open(peer: Peer, busy: int) -> None:
    port = free_port_pair()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, port + busy))
        with pytest.raises(OSError, match=str(port + busy)):
            await RTPSession(local_addr=(LOOPBACK, port), remote_addr=peer.addr).open()
    async with RTPSession(local_addr=(LOOPBACK, port), remote_addr=peer.addr) as session:
        assert session.local_addr == (LOOPBACK, port)


async def test_closing_frees_the_ports_and_is_idempotent(peer: Peer) -> None:
    port = free_port_pair()
    for _ in range(3):
        session = RTPSession(local_addr=(LOOPBACK, port), remote_addr=peer.addr)
        await session.open()
        await session.play(tone(440, 20))  # who never spoke says no BYE (RFC 3550 §6.3.7)
        await asyncio.gather(session.close(), session.close())
        await session.close()
    await peer.until(lambda: len(peer.reports) >= 3, what="a BYE each")


async def test_an_orderly_end_says_bye_with_the_reason(peer: Peer) -> None:
    session = await to(peer).open()
    await session.play(tone(440, 40))
    await session.close("lunch")
    await peer.until(lambda: any(b"lunch" in report.data for report in peer.reports))


async def test_frames_on_their_way_are_not_heard_once_the_session_closes() -> None:
    heard: list[bool] = []
    first = asyncio.Event()
    async with call() as (alice, bob):

        def hear(_: AudioFrame) -> None:
            heard.append(bob.closed)
            first.set()

        bob.on_frame(hear)
        playing = asyncio.create_task(alice.play(tone(440, 2000)))
        await first.wait()
        time.sleep(0.1)  # sleep: the stall in which frames come to wait
        await bob.close()
        alice.cancel()
        await playing
    assert heard
    assert not any(heard)


async def test_closing_while_a_close_is_cancelled_still_gives_everything_back(peer: Peer) -> None:
    session = await to(peer).open()
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert session.closed


async def test_what_needs_an_open_session_says_so(peer: Peer) -> None:
    session = to(peer)
    for use in (session.stats, lambda: session.local_addr, lambda: session.send(b"")):
        with pytest.raises(RuntimeError, match="not open yet"):
            use()
    assert (session.playing, session.cancel(), session.position.playback) == (False, False, 0)
    await session.close()
    with pytest.raises(SessionEndedError):
        await session.open()


async def test_after_the_end_numbers_can_be_asked_but_nothing_be_sent(peer: Peer) -> None:
    async with to(peer) as session:
        await session.play(tone(440, 100))
    assert session.stats().packets_sent == 5
    assert session.position.played_ms == 100
    assert (session.playing, session.cancel()) == (False, False)
    assert await session.wait_playback()
    uses: list[Callable[[], object]] = [
        lambda: session.send(b"\0\0"),
        lambda: session.send_dtmf("1"),
    ]
    for use in uses:
        with pytest.raises(SessionEndedError, match="has ended"):
            use()
    with pytest.raises(SessionEndedError):
        await session.play(b"\0\0")
    with pytest.raises(RuntimeError, match="opened before"):
        await session.open()


async def test_statistics_have_all_that_the_core_counts(peer: Peer) -> None:
    async with to(peer) as session:
        native = set(session._media.native.stats())
        stats = session.stats()
    assert native == set(stats) - {"frames_overrun", "live_bytes_dropped"}
    assert dict(stats)["packets_sent"] == stats.packets_sent
    with pytest.raises(KeyError):
        stats["from_native"]
