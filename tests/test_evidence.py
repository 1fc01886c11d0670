"""What callers suffer with other implementations does not happen here: a test per complaint.

Real sockets on loopback against a bare one. What needs loss, jitter and minutes of time is a matter
of the media core, on virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
import pytest_asyncio

from roomkit.errors import CloseError
from roomkit.rtp import RTPSession
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from rtp.leaks import no_leaks
from rtp.sound import audible, listen, tone
from rtp.wire import Peer, digit_payload, free_port_pair, rtp

__all__ = ["no_leaks"]

LOOPBACK = "127.0.0.1"


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        yield made


@pytest_asyncio.fixture
async def backend(no_leaks: None, peer: Peer) -> AsyncIterator[RTPVoiceBackend]:
    made = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=peer.addr)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def session(no_leaks: None, peer: Peer) -> AsyncIterator[RTPSession]:
    async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr) as made:
        yield made


async def connect(backend: RTPVoiceBackend, **metadata: Any) -> VoiceSession:
    return await backend.connect("room", "caller", "voice", metadata=metadata)


async def next_digit(session: RTPSession) -> str:
    """The next digit that arrives."""
    events = session.events()
    async with asyncio.timeout(10):
        async for event in events:
            if isinstance(event, DTMFEvent):
                return event.digit
    raise AssertionError("the session ended")


# --- outbound ------------------------------------------------------------------------------------


async def test_audio_is_paced_and_never_a_burst(backend: RTPVoiceBackend, peer: Peer) -> None:
    session = await connect(backend)
    began = time.monotonic()
    await backend.send_audio(session, tone(440, 1000))
    assert time.monotonic() - began == pytest.approx(1.0, abs=0.1)
    await peer.until(lambda: len(peer.packets) == 50)
    gaps = [b.at - a.at for a, b in pairwise(peer.packets)]
    assert sorted(gaps)[4] > 0.005  # a busy machine may delay one, and the next is on time again
    assert sum(gaps) == pytest.approx(0.98, abs=0.02)


async def test_cancelling_after_100_ms_of_10_s_finds_something_to_cancel(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    session = await connect(backend)
    sending = asyncio.create_task(backend.send_audio(session, tone(440, 10_000)))
    await peer.until(lambda: len(peer.packets) == 5)
    assert await backend.cancel_audio(session) is True
    await sending
    assert backend.playback_position(session).played_ms == pytest.approx(110, abs=30)


async def test_barge_in_works_with_a_voice_much_faster_than_real_time(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    async def fast() -> AsyncIterator[AudioChunk]:
        for _ in range(300):
            yield AudioChunk(tone(440, 100, 24000), 24000)

    session = await connect(backend)
    sending = asyncio.create_task(backend.send_audio(session, fast()))
    await peer.until(lambda: len(peer.packets) == 10)
    assert await backend.cancel_audio(session)
    count = len(peer.packets)
    await sending
    await backend.send_audio(session, tone(440, 20))
    await peer.until(lambda: peer.packets[-1].marker)
    assert len(peer.packets) - 1 - count <= 1


async def test_digits_sent_have_times_of_their_own_and_grow_in_real_time(
    session: RTPSession, peer: Peer
) -> None:
    session.send_dtmf("1234", duration_ms=80)
    await peer.until(lambda: sum(p.payload[1] >> 7 for p in peer.audio_packets(101)) == 12)
    digits: dict[int, list[Any]] = {}
    for packet in peer.audio_packets(101):
        digits.setdefault(packet.timestamp, []).append(packet)
    assert [packets[0].payload[0] for packets in digits.values()] == [1, 2, 3, 4]
    for packets in digits.values():
        assert [packet.marker for packet in packets] == [True] + [False] * (len(packets) - 1)
        updates = [packet for packet in packets if not packet.payload[1] >> 7]
        assert len(updates) >= 3
        assert updates[-1].at - updates[0].at == pytest.approx(0.02 * (len(updates) - 1), abs=0.015)
        assert struct.unpack("!H", packets[-1].payload[2:4]) == (640,)


async def test_1234_arrives_as_1234(backend: RTPVoiceBackend) -> None:
    port = free_port_pair()
    got: asyncio.Queue[str] = asyncio.Queue()
    far = RTPVoiceBackend(local_addr=(LOOPBACK, port), source_policy="learn")
    far.on_dtmf_received(lambda _, event: got.put_nowait(event.digit))
    await connect(far)
    session = await connect(backend, remote_addr=(LOOPBACK, port))
    for digit in "1234":
        backend.send_dtmf(session, digit, duration_ms=60)
    async with asyncio.timeout(10):
        assert [await got.get() for _ in range(4)] == ["1", "2", "3", "4"]
    await far.close()


async def test_a_chunk_s_sample_rate_is_honoured(session: RTPSession, peer: Peer) -> None:
    result = await session.play(AudioChunk(tone(440, 400, 16000), 16000))
    assert result.played_ms == pytest.approx(400, abs=1)
    await peer.until(lambda: len(peer.packets) == 20)


async def test_a_digit_of_more_than_8_s_is_sent(session: RTPSession, peer: Peer) -> None:
    session.send_dtmf("5", duration_ms=9000)
    await peer.until(lambda: len(peer.audio_packets(101)) >= 3)


async def test_sends_at_the_same_time_use_every_number_once(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    session = await connect(backend)
    await asyncio.gather(*(backend.send_audio(session, tone(440, 40)) for _ in range(20)))
    await peer.until(lambda: len(peer.packets) == 40)
    assert len({packet.seq for packet in peer.packets}) == 40


@pytest.mark.parametrize(
    ("payload_type", "clock_rate", "step", "size"),
    [(0, 8000, 160, 160), (11, 44100, 882, 1764), (10, 44100, 882, 3528), (96, 16000, 320, 640)],
)
async def test_the_clock_of_every_codec_is_right(
    peer: Peer, payload_type: int, clock_rate: int, step: int, size: int
) -> None:
    async with RTPSession(
        local_addr=(LOOPBACK, 0),
        remote_addr=peer.addr,
        payload_type=payload_type,
        clock_rate=clock_rate,
    ) as session:
        await session.play(tone(440, 100, session.sample_rate, session.channels))
        await peer.until(lambda: len(peer.packets) == 5)
    assert {packet.payload_type for packet in peer.packets} == {payload_type}
    assert {len(packet.payload) for packet in peer.packets} == {size}
    assert {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(peer.packets)} == {step}


async def test_a_pause_moves_the_timestamp_and_speech_after_it_has_the_marker(
    session: RTPSession, peer: Peer
) -> None:
    await session.play(tone(440, 40))
    await peer.stream(session.local_addr, 10)
    await session.play(tone(440, 40))
    await peer.until(lambda: len(peer.packets) == 4)
    assert [packet.marker for packet in peer.packets] == [True, False, True, False]
    _, before, after, _ = peer.packets
    moved = (after.timestamp - before.timestamp) % 2**32 / 8000
    assert moved == pytest.approx(after.at - before.at, abs=0.025)
    assert moved >= 0.18


async def test_a_stall_of_the_event_loop_delays_no_packet(session: RTPSession, peer: Peer) -> None:
    playing = asyncio.create_task(session.play(tone(440, 900)))
    await peer.until(lambda: len(peer.packets) == 5)
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        pass  # neither the loop nor, for long, any other Python thread gets its turn
    await playing
    await peer.until(lambda: len(peer.packets) == 45)
    start = peer.packets[0].at
    off = [abs(packet.at - start - n * 0.02) for n, packet in enumerate(peer.packets)]
    # Arrivals are the kernel's stamps. A stall that reached the packets would make twenty late; a
    # busy machine may hold back any thread now and then.
    assert sum(deviation > 0.015 for deviation in off) <= 4


# --- inbound -------------------------------------------------------------------------------------


async def test_one_lost_packet_costs_one_frame_and_no_delay(
    session: RTPSession, peer: Peer
) -> None:
    came: list[tuple[float, AudioFrame]] = []
    session.on_frame(lambda frame: came.append((time.monotonic(), frame)))
    late = await peer.stream(session.local_addr, 30, lose={15})
    speech = [(at, frame) for at, frame in came if (frame.timestamp_ms or 0) < 500]
    concealed = [frame.kind for _, frame in speech].count("concealed")
    # One for the packet, and none but for those that this test itself sent a frame too late.
    assert 1 <= concealed <= 1 + sum(seconds > 0.02 for seconds in late)
    delays = [at - (frame.timestamp_ms or 0) / 1000 for at, frame in speech]
    assert median(delays[-8:]) - median(delays[:8]) < 0.03
    assert session.stats().packets_lost == 1


async def test_the_last_words_before_a_pause_arrive_at_once(
    session: RTPSession, peer: Peer
) -> None:
    hearing = asyncio.create_task(listen(aiter(session), lambda frames: len(audible(frames)) == 10))
    await peer.stream(session.local_addr, 10)
    async with asyncio.timeout(0.2):
        await hearing


async def test_a_stranger_injects_neither_audio_nor_digits(session: RTPSession, peer: Peer) -> None:
    heard: list[AudioFrame] = []
    session.on_frame(heard.append)
    digit = asyncio.create_task(next_digit(session))
    await peer.stream(session.local_addr, 10, payload=b"\xff" * 160)
    with Peer("127.0.0.2") as stranger:  # another host
        stranger.ssrc, stranger.seq, stranger.timestamp = peer.ssrc, peer.seq, peer.timestamp
        for _ in range(50):
            stranger.audio(session.local_addr, b"\x00" * 160)
        stranger.digit(session.local_addr, 9)
        stranger.bye((LOOPBACK, session.local_addr[1] + 1))
    await peer.stream(session.local_addr, 10, payload=b"\xff" * 160)
    peer.digit(session.local_addr, 1)
    assert await digit == "1"
    assert audible(heard) == []
    assert session.remote_addr == peer.addr
    stats = session.stats()
    assert stats.stranger == 55
    assert stats.rtcp_stranger == 1
    assert stats.packets_received == 25


async def test_crafted_packets_kill_nothing_and_leak_nothing(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    session = await connect(backend)
    host, port = session.metadata["local_addr"]
    rtcp = (host, port + 1)
    for number in range(440):
        body = os.urandom(number % 97)
        peer.send(b"\x81\xc9" + body, rtcp)  # a receiver report cut off anywhere
        peer.send(b"\x80\xc8\x00\x06" + body, rtcp)
        peer.send(body, (host, port))
        peer.send(
            b"\xbf\x80" + body, (host, port)
        )  # CSRCs, extension and padding that are not there
    got: asyncio.Queue[str] = asyncio.Queue()
    backend.on_dtmf_received(lambda _, event: got.put_nowait(event.digit))
    peer.greet((host, port))
    peer.digit((host, port), 5)
    async with asyncio.timeout(10):
        assert await got.get() == "5"
    await backend.send_audio(session, tone(440, 40))
    stats = backend.stats(session)
    assert stats.malformed > 400
    assert stats.rtcp_malformed + stats.rtcp_stranger > 800
    await backend.disconnect(session)


async def test_a_digit_whose_end_is_lost_is_told_and_a_late_end_repeats_nothing(
    session: RTPSession, peer: Peer
) -> None:
    digits: list[str] = []
    session.on_dtmf(lambda event: digits.append(event.digit))
    peer.greet(session.local_addr)

    def event(number: int, duration: int, *, end: bool = False) -> None:
        payload = digit_payload(number, duration, end=end)
        packet = rtp(peer.seq, peer.timestamp, peer.ssrc, payload, pt=101)
        peer.send(packet, session.local_addr)
        peer.seq = (peer.seq + 1) % 65_536

    waiting = asyncio.create_task(next_digit(session))
    await asyncio.sleep(0)
    event(3, 160)
    event(3, 320)
    assert await waiting == "3"  # by its silence
    event(3, 480, end=True)
    peer.timestamp = (peer.timestamp + 8000) % 2**32
    waiting = asyncio.create_task(next_digit(session))
    await asyncio.sleep(0)
    peer.digit(session.local_addr, 4)
    assert await waiting == "4"
    assert digits == ["3", "4"]


async def test_a_digit_payload_of_less_than_4_bytes_is_counted_and_the_call_goes_on(
    session: RTPSession, peer: Peer
) -> None:
    peer.greet(session.local_addr)
    for size in range(4):
        packet = rtp(peer.seq, peer.timestamp, peer.ssrc, b"\x01\x0a\x00"[:size], pt=101)
        peer.send(packet, session.local_addr)
        peer.seq = (peer.seq + 1) % 65_536
    digit = asyncio.create_task(next_digit(session))
    await asyncio.sleep(0)
    peer.digit(session.local_addr, 6)
    assert await digit == "6"
    assert session.stats().dtmf_invalid == 4


async def test_the_payload_type_decides_how_a_packet_is_decoded(
    session: RTPSession, peer: Peer
) -> None:
    peer.greet(session.local_addr)
    hearing = asyncio.create_task(listen(aiter(session), lambda frames: len(frames) == 25))
    for _ in range(5):
        peer.audio(session.local_addr, b"\xd5" * 160, pt=8)  # silence in A-law, loud in µ-law
    for _ in range(5):
        peer.audio(session.local_addr, b"\x00" * 160, pt=3)
    assert audible(await hearing) == []
    stats = session.stats()
    assert stats.unknown_payload_type == 5
    assert stats.undecodable == 0


async def test_jitter_does_not_explode_when_the_timestamp_wraps(
    session: RTPSession, peer: Peer
) -> None:
    assert peer.timestamp + 160 * 20 > 2**32
    await peer.stream(session.local_addr, 20)
    digit = asyncio.create_task(next_digit(session))
    await asyncio.sleep(0)
    peer.digit(session.local_addr, 1)
    await digit
    assert session.stats().jitter_ms < 10
    assert session.stats().packets_lost == 0


@pytest.mark.parametrize("signalled", [True, False])
async def test_symmetric_rtp_reaches_a_peer_behind_another_address(
    peer: Peer, signalled: bool
) -> None:
    async with RTPSession(
        local_addr=(LOOPBACK, 0),
        remote_addr=peer.addr if signalled else None,
        source_policy="learn",
    ) as session:
        with Peer("127.0.0.2") as actual:  # such as a NAT's
            await actual.stream(session.local_addr, 20)
            await session.play(tone(440, 60))
            await actual.until(lambda: len(actual.packets) == 3)
            assert session.remote_addr == actual.addr


async def test_a_peer_that_sends_from_another_port_than_it_hears_on_is_heard(
    session: RTPSession, peer: Peer
) -> None:
    hearing = asyncio.create_task(listen(aiter(session), lambda frames: len(audible(frames)) > 5))
    with Peer() as its_sender:
        await its_sender.stream(session.local_addr, 20)
        await hearing
        await session.play(tone(440, 60))
        await peer.until(lambda: len(peer.packets) == 3)


async def test_a_new_ssrc_and_a_step_back_of_the_sequence_are_heard(
    session: RTPSession, peer: Peer
) -> None:
    heard: list[AudioFrame] = []
    session.on_frame(heard.append)
    await peer.stream(session.local_addr, 15)
    peer.ssrc, peer.seq = 77, (peer.seq - 5000) % 65_536
    await peer.stream(session.local_addr, 30, lose=range(8))
    peer.seq = (peer.seq - 5000) % 65_536
    await peer.stream(session.local_addr, 30)
    assert len(audible(heard)) >= 15 + 22 + 30 - 8
    assert session.stats().source_changes >= 1


@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
async def test_packets_of_another_length_become_frames_of_20_ms(
    session: RTPSession, peer: Peer, ptime_ms: int
) -> None:
    hearing = asyncio.create_task(listen(aiter(session), lambda frames: len(audible(frames)) >= 14))
    await peer.stream(
        session.local_addr,
        360 // ptime_ms,
        payload=b"\x2a\xaa" * (4 * ptime_ms),  # a tone of 4 kHz
        ptime=ptime_ms / 1000,
    )
    heard = await hearing
    assert {frame.duration_ms for frame in heard} == {20}
    for frame, following in pairwise(heard):
        assert following.timestamp_ms == pytest.approx((frame.timestamp_ms or 0) + 20)


# --- sessions ------------------------------------------------------------------------------------


async def test_a_second_session_on_a_fixed_port_works() -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, free_port_pair()))
    with Peer() as first, Peer() as second:
        sessions = [await connect(backend, remote_addr=peer.addr) for peer in (first, second)]
        await asyncio.gather(*(backend.send_audio(s, tone(440, 60)) for s in sessions))
        await first.until(lambda: len(first.packets) == 3)
        await second.until(lambda: len(second.packets) == 3)
        await backend.close()


async def test_a_busy_rtcp_port_is_an_error_and_leaves_nothing_open(peer: Peer) -> None:
    port = free_port_pair()
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, port), remote_addr=peer.addr)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, port + 1))
        with pytest.raises(OSError, match=str(port + 1)):
            await connect(backend)
    await connect(backend)  # the RTP port was not lost
    await backend.close()


async def test_the_port_that_port_0_became_can_be_had(backend: RTPVoiceBackend, peer: Peer) -> None:
    session = await connect(backend)
    await backend.send_audio(session, tone(440, 20))
    await peer.until(lambda: len(peer.packets) == 1)
    assert session.metadata["local_addr"] == peer.packets[0].source


async def test_the_caller_s_metadata_is_not_changed(backend: RTPVoiceBackend, peer: Peer) -> None:
    mine = {"remote_addr": list(peer.addr), "tenant": "acme"}
    session = await backend.connect("room", "caller", "voice", metadata=mine)
    session.metadata["more"] = 1
    backend.retarget(session, peer.addr)
    assert mine == {"remote_addr": list(peer.addr), "tenant": "acme"}


@pytest.mark.parametrize(
    "address", [("300.1.1.1.invalid", 5), ("127.0.0.1", 0), ("127.0.0.1",), "127.0.0.1:5", ("", 5)]
)
async def test_a_bad_address_is_an_error_at_the_call(
    backend: RTPVoiceBackend, address: Any
) -> None:
    with pytest.raises((ValueError, OSError), match="remote_addr"):
        await connect(backend, remote_addr=address)


async def test_a_name_is_looked_up_once_per_session(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def counting(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return await real(host, *args, **kwargs)

    monkeypatch.setattr(loop, "getaddrinfo", counting)
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=("localhost", peer.addr[1]))
    session = await connect(backend)
    await backend.send_audio(session, tone(440, 100))
    await peer.until(lambda: len(peer.packets) == 5)
    assert asked == ["localhost"]
    await backend.close()


@pytest.mark.parametrize("how", ["bye", "rtp_timeout"])
async def test_a_peer_that_leaves_or_vanishes_is_told(peer: Peer, how: str) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, rtp_timeout=0.4)
    told: asyncio.Queue[str] = asyncio.Queue()
    backend.on_client_disconnected(lambda _, reason: told.put_nowait(reason))
    session = await connect(backend)
    host, port = session.metadata["local_addr"]
    await peer.stream((host, port), 5)
    if how == "bye":
        peer.bye((host, port + 1), "done")
    async with asyncio.timeout(5):
        assert await told.get() == how
    await backend.close()


def test_a_clock_rate_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="clock_rate: 0"):
        RTPVoiceBackend(clock_rate=0)


async def test_a_raising_callback_blocks_no_other(backend: RTPVoiceBackend, peer: Peer) -> None:
    session = await connect(backend)
    got: asyncio.Queue[str] = asyncio.Queue()

    def broken(*_: Any) -> None:
        raise RuntimeError("mine")

    async def hanging(*_: Any) -> None:
        await asyncio.Event().wait()

    for callback in (broken, hanging):
        backend.on_dtmf_received(callback)
        backend.on_audio_received(callback)
    backend.on_dtmf_received(lambda _, event: got.put_nowait(event.digit))
    peer.greet(session.metadata["local_addr"])
    for number in (1, 2):
        peer.digit(session.metadata["local_addr"], number)
    async with asyncio.timeout(10):
        assert [await got.get(), await got.get()] == ["1", "2"]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_a_failing_close_leaves_no_other_session_open(
    backend: RTPVoiceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await connect(backend) for _ in range(3)]
    real = RTPSession.close
    broken = backend._media[sessions[1].id]

    async def close(self: RTPSession, reason: str = "") -> None:
        await real(self, reason)
        if self is broken:
            raise RuntimeError("mine")

    monkeypatch.setattr(RTPSession, "close", close)
    with pytest.raises(CloseError, match="mine"):
        await backend.close()
    assert all(session.ended for session in sessions)
    with contextlib.suppress(CloseError):
        await backend.close()
