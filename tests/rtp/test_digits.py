"""Digits of a session beyond a plain one: pauses, tones, injected and masked ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from interop.spandsp import digits_in
from roomkit.cli.g711 import decode
from roomkit.errors import SessionEndedError
from roomkit.rtp import DTMFSent, RTPSession
from roomkit.rtp.digits import Dialling
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from rtp.sound import level, tone
from rtp.test_session import call, to
from rtp.wire import Packet, Peer
from support.keys import KEYS, keys_tone


async def digits_of(session: RTPSession, count: int) -> list[DTMFEvent]:
    """The next digits that the session tells."""
    got: asyncio.Queue[DTMFEvent] = asyncio.Queue()
    stop = session.on_dtmf(got.put_nowait)
    try:
        async with asyncio.timeout(15):
            return [await got.get() for _ in range(count)]
    finally:
        stop()


def starts(peer: Peer, pt: int = 101) -> list[int]:
    """RTP timestamps at which events began, in order."""
    return list(dict.fromkeys(packet.timestamp for packet in peer.audio_packets(pt)))


# --- dialling ------------------------------------------------------------------------------------


async def test_a_dial_string_keeps_its_gaps_and_pauses(peer: Peer) -> None:
    async with to(peer) as session:
        session.send_dtmf("12,3", duration_ms=60, gap_ms=100)
        assert await session.wait_dtmf()
        await peer.until(lambda: len(peer.audio_packets(101)) >= 15)
    assert [packet.payload[0] for packet in peer.audio_packets(101)][::5] == [1, 2, 3]
    apart = [(b - a) / 8 for a, b in pairwise(starts(peer))]
    assert apart == [60 + 100, 60 + 100 + 500]


async def test_each_send_is_told_when_its_last_digit_has_left(peer: Peer) -> None:
    async with to(peer) as session:
        told: list[DTMFSent] = []
        session.on_event(lambda event: told.append(event) if isinstance(event, DTMFSent) else None)
        numbers = [session.send_dtmf("1", 40), session.send_dtmf("2p", 40)]
        assert await session.wait_dtmf()
        assert told == [DTMFSent(number, cancelled=False) for number in numbers]
        assert await session.wait_dtmf(), "nothing waits"
        assert session.stats().digits_sent == 2


async def test_cancelled_digits_do_not_leave_and_the_waiting_are_told(peer: Peer) -> None:
    async with to(peer) as session:
        session.send_dtmf("1", duration_ms=10_000)
        session.send_dtmf("2345")
        waiting = asyncio.create_task(session.wait_dtmf())
        await peer.until(lambda: len(peer.audio_packets(101)) >= 3)
        assert session.cancel_dtmf() is True
        assert await waiting is False
        assert session.cancel_dtmf() is False
        session.send_dtmf("6", 40)
        assert await session.wait_dtmf()
        await peer.until(lambda: len(starts(peer)) == 2)
        packets = peer.audio_packets(101)
    ends = [packet.payload[0] for packet in packets if packet.payload[1] & 0x80]
    assert ends[:3] == [1] * 3, "the key is released (RFC 4733 §2.5.1.4)"
    assert {packet.payload[0] for packet in packets} == {1, 6}


async def test_rfc4733_2_5_1_4_a_session_that_closes_lets_go_of_the_key_before_the_bye(
    peer: Peer,
) -> None:
    async with to(peer) as session:
        session.send_dtmf("1", duration_ms=10_000)
        await peer.until(lambda: len(peer.audio_packets(101)) >= 3)
    await peer.until(lambda: bool(ends(peer)), what="the end of the key")
    await peer.until(lambda: any(is_bye(packet.data) for packet in peer.reports), what="the BYE")
    (end,) = ends(peer)
    assert end.payload[0] == 1
    bye = next(packet for packet in peer.reports if is_bye(packet.data))
    assert end.at <= bye.at, "by the kernel's clock"


def ends(peer: Peer) -> list[Packet]:
    """The packets so far with the E bit (RFC 4733 §2.3.2)."""
    return [packet for packet in peer.audio_packets(101) if packet.payload[1] & 0x80]


def is_bye(compound: bytes) -> bool:
    """Whether the last packet of an RTCP compound is a BYE (RFC 3550 §6.6)."""
    while compound[1] != 203:
        compound = compound[4 + 4 * int.from_bytes(compound[2:4], "big") :]
        if not compound:
            return False
    return True


async def test_who_waits_when_the_session_ends_is_told_that_not_all_left(peer: Peer) -> None:
    async with to(peer) as session:
        session.send_dtmf("1" * 50)
        waiting = asyncio.create_task(session.wait_dtmf())
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await waiting is False
    uses: list[Callable[[], object]] = [
        session.cancel_dtmf,
        session.mask_digits,
        lambda: session.inject_dtmf("1"),
    ]
    for use in uses:
        with pytest.raises(SessionEndedError):
            use()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"digits": "4929 12"}, "^digits: ' ' at place 4"),
        ({"digits": "1", "gap_ms": 39}, "^gap_ms: 39"),
        ({"digits": "1", "gap_ms": 60_001}, "^gap_ms: 60001"),
        ({"digits": "1", "method": "info"}, "^method: 'info'"),
    ],
)
async def test_what_cannot_be_dialled_is_refused(
    peer: Peer, arguments: dict[str, Any], names: str
) -> None:
    async with to(peer) as session:
        with pytest.raises(ValueError, match=names) as caught:
            session.send_dtmf(**arguments)
    assert "4929" not in str(caught.value), "digits are secrets"


async def test_dialling_tells_each_waiter_of_what_it_waits_for() -> None:
    dialling = Dialling()
    dialling.number(1)
    first = asyncio.create_task(dialling.wait())
    await asyncio.sleep(0)
    dialling.number(2)
    second = asyncio.create_task(dialling.wait())
    await asyncio.sleep(0)
    dialling.on_sent(DTMFSent(1, False))
    assert await first is True
    dialling.on_sent(DTMFSent(2, True))
    assert await second is False
    dialling.number(3)
    third = asyncio.create_task(dialling.wait())
    await asyncio.sleep(0)
    dialling.on_sent(DTMFSent(3, False))
    assert await third is True, "what was cancelled before does not count"


# --- in place of the audio -----------------------------------------------------------------------


def audio_within_events(peer: Peer) -> list[int]:
    """How many packets of audio left between the first and the last packet of each event."""
    within: list[int] = []
    ends = 3
    for packet in sorted(peer.packets, key=lambda packet: packet.at):
        if packet.payload_type == 101:
            if ends == 3:
                within.append(0)
                ends = 0
            ends += packet.payload[1] >> 7
        elif ends < 3:
            within[-1] += 1
    return within


async def test_what_is_played_waits_for_a_digit_and_is_heard_whole(peer: Peer) -> None:
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(tone(440, 2000)))
        await peer.until(lambda: len(peer.audio_packets()) >= 10)
        session.send_dtmf("12", duration_ms=200, gap_ms=200)
        assert await session.wait_dtmf()
        await peer.until(lambda: len(peer.audio_packets(101)) == 24)
        assert len(peer.audio_packets()) < 100, "it still plays"
        played = await playing
        await peer.until(lambda: len(peer.audio_packets()) >= 100)
    assert (played.cancelled, played.played_ms) == (False, 2000)
    assert audio_within_events(peer) == [0, 0]
    sent = [packet.payload for packet in peer.audio_packets()]
    assert len(sent) == 100, "each frame once"


async def test_live_audio_passes_while_a_digit_is_sent(peer: Peer) -> None:
    async with to(peer) as session:
        session.send_dtmf("1", duration_ms=400)
        await peer.until(lambda: len(peer.audio_packets(101)) >= 2)
        for _ in range(5):
            session.send(tone(440, 20))
        assert await session.wait_dtmf()
        await asyncio.to_thread(lambda: None)
    assert audio_within_events(peer) == [0]
    assert len(peer.audio_packets()) == 0, "nothing of it is sent late"


async def test_audio_goes_on_beside_digits_where_that_is_asked_for(peer: Peer) -> None:
    async with to(peer, dtmf_beside_audio=True) as session:
        playing = asyncio.create_task(session.play(tone(440, 2000)))
        await peer.until(lambda: len(peer.audio_packets()) >= 10)
        session.send_dtmf("1", duration_ms=200)
        assert await session.wait_dtmf()
        await session.update(dtmf_beside_audio=False)
        session.send_dtmf("2", duration_ms=200)
        assert await session.wait_dtmf()
        await playing
        await peer.until(lambda: len(peer.audio_packets()) >= 100)
    assert audio_within_events(peer) == [11, 0]


# --- in the audio --------------------------------------------------------------------------------


async def test_without_events_digits_go_as_tones_and_are_heard() -> None:
    options = {"dtmf_payload_type": None, "dtmf_inband": True, "dtmf_method": "inband"}
    async with call(**options) as (alice, bob):
        hearing = asyncio.create_task(digits_of(bob, 16))
        await asyncio.sleep(0)
        alice.send_dtmf(KEYS, 60, gap_ms=60)
        got = await hearing
        assert "".join(event.digit for event in got) == KEYS
        assert all(0.9 < event.confidence < 1 for event in got)
        assert [event.duration_ms for event in got] == pytest.approx([60] * 16, abs=14)
        assert await alice.wait_dtmf()
        assert bob.stats().digits_received == 16
        assert bob.stats().dtmf_invalid == bob.stats().unknown_payload_type == 0


async def test_one_method_for_one_call_of_send_dtmf() -> None:
    async with call(dtmf_inband=True) as (alice, bob):
        hearing = asyncio.create_task(digits_of(bob, 2))
        await asyncio.sleep(0)
        alice.send_dtmf("1", method="inband")
        alice.send_dtmf("2")
        assert [(event.digit, event.confidence == 1) for event in await hearing] == [
            ("1", False),
            ("2", True),
        ]


async def test_a_key_that_is_signalled_and_heard_is_told_once() -> None:
    async with call(dtmf_inband=True, dtmf_beside_audio=True) as (alice, bob):
        hearing = asyncio.create_task(digits_of(bob, 5))
        playing = asyncio.create_task(alice.play(keys_tone("1159#", 160, 80)))
        alice.send_dtmf("1159#")
        assert [event.digit for event in await hearing] == list("1159#")
        await playing
        assert bob.stats().digits_received == 5


async def test_without_the_option_nobody_listens_for_tones() -> None:
    async with call() as (alice, bob):
        got: list[DTMFEvent] = []
        bob.on_dtmf(got.append)
        await alice.play(keys_tone("159", 100, 100))
        alice.send_dtmf("#", 40)
        hearing = asyncio.create_task(digits_of(bob, 1))
        assert [event.digit for event in await hearing] == ["#"]
        assert [event.digit for event in got] == ["#"]


# --- injected, masked ----------------------------------------------------------------------------


async def test_a_digit_of_sip_info_arrives_like_a_received_one(peer: Peer) -> None:
    async with to(peer) as session:
        hearing = asyncio.create_task(digits_of(session, 2))
        await asyncio.sleep(0)
        session.inject_dtmf("a", 250)
        session.inject_dtmf("#")
        assert await hearing == [DTMFEvent("A", 250), DTMFEvent("#", 160)]


@pytest.mark.parametrize("digit", ["", "12", "x", ",", None, 1])
async def test_what_is_not_one_digit_cannot_be_injected(peer: Peer, digit: Any) -> None:
    async with to(peer) as session:
        with pytest.raises(ValueError, match="^digit: "):
            session.inject_dtmf(digit)
        with pytest.raises(ValueError, match="^digit: ") as refused:
            session.inject_dtmf("4111")
        assert "4111" not in str(refused.value)
        with pytest.raises(ValueError, match="^duration_ms: 0"):
            session.inject_dtmf("1", 0)


async def test_masked_digits_are_told_but_in_no_frame_repr_or_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with call() as (alice, bob):
            frames: list[AudioFrame] = []
            bob.on_frame(frames.append)
            hearing = asyncio.create_task(digits_of(bob, 4))
            with bob.digits_masked():
                playing = asyncio.create_task(alice.play(keys_tone("738", 120, 120)))
                await playing
                alice.send_dtmf("9", 100)
                got = await hearing
            assert [event.digit for event in got] == list("7389")
            assert all(event.masked for event in got)
            assert all(event.digit not in repr(event).partition("duration")[0] for event in got)
            await alice.play(bytes(8000) + keys_tone("4", 300, 100))
            async with asyncio.timeout(10):
                async for frame in bob:
                    if level_of(frame) < 100 and max(map(level_of, frames)) > 1000:
                        break
    heard = [level_of(frame) > 10 for frame in frames]
    first = heard.index(True)
    # Before masking ended there is not one sample; after it, the tone of the 4 is whole.
    assert sum(heard[first:]) * 20 == pytest.approx(300, abs=40)
    begins = [frame.timestamp_ms or 0.0 for frame in frames]
    assert [b - a for a, b in pairwise(begins)] == [20] * (len(frames) - 1), "none is missing"
    assert not [record for record in caplog.records if "738" in record.getMessage()]


async def test_masking_ends_for_a_far_end_that_never_sent_audio() -> None:
    async with call() as (alice, bob):
        hearing = asyncio.create_task(digits_of(bob, 2))
        with bob.digits_masked():
            first = asyncio.create_task(digits_of(bob, 1))
            alice.send_dtmf("9")
            await first
        alice.send_dtmf(",8")
        told = [(event.digit, event.masked) for event in await hearing]
        assert told == [("9", True), ("8", False)]
        assert bob.stats().frames_received == 0


def level_of(frame: AudioFrame) -> float:
    return level(frame.data)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_masking_held_back_is_heard_before_the_session_has_closed(
    peer: Peer, stream: bool
) -> None:
    heard: list[AudioFrame] = []
    async with to(peer) as session:
        session.mask_digits()
        frames = aiter(session)
        if not stream:
            session.on_frame(heard.append)
        await peer.stream(session.local_addr, 25)
        await anext(frames)
        time.sleep(0.05)  # sleep: the stall in which frames come to wait behind those held back
    if stream:
        heard = [frame async for frame in frames]
        heard.insert(0, AudioFrame(heard[0].data, 8000))  # the one that was taken
    stats = session.stats()
    kinds = (
        stats.frames_received,
        stats.frames_concealed,
        stats.frames_silence,
        stats.frames_comfort_noise,
    )
    assert len(heard) == sum(kinds) > 10
    times = [frame.timestamp_ms or 0 for frame in heard]
    assert [b - a for a, b in pairwise(times)] == [20] * (len(times) - 1)


async def test_q23_spandsp_hears_the_tones_that_are_sent(peer: Peer) -> None:
    async with to(peer, dtmf_payload_type=None, dtmf_method="inband") as session:
        playing = asyncio.create_task(session.play(bytes(16_000) + tone(300, 2000)))
        session.send_dtmf(KEYS, 50, gap_ms=50)
        await session.wait_dtmf()
        session.cancel()
        await playing
        packets = peer.audio_packets(0)
    assert [b.timestamp - a.timestamp for a, b in pairwise(packets)] == [160] * (len(packets) - 1)
    pcm = decode("PCMU", b"".join(packet.payload for packet in packets))
    assert digits_in(pcm.tobytes()) == KEYS
    samples = np.array(pcm)
    assert max(abs(samples)) < 32_000, "two tones do not clip"
