"""The RTP backend as the framework sees it: sessions, audio, digits, callbacks, and their ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomkit import RoomKit, VoiceChannel, _native
from roomkit.errors import (
    AddressConflictError,
    BackendClosedError,
    QueueFullError,
    SessionEndedError,
    SessionNotFoundError,
)
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import (
    AudioChunk,
    DisconnectReason,
    VoiceCapability,
    VoiceSession,
    VoiceSessionState,
)
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"


async def connect(backend: RTPVoiceBackend, **metadata: Any) -> VoiceSession:
    return await backend.connect("room", "caller", "voice", metadata=metadata)


# --- what it is ----------------------------------------------------------------------------------


def test_its_name_and_capabilities_are_those_of_the_page() -> None:
    backend = RTPVoiceBackend()
    assert backend.name == "RTP"
    assert VoiceCapability.DTMF_SIGNALING in backend.capabilities
    assert VoiceCapability.INTERRUPTION in backend.capabilities


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("local_addr", ("127.0.0.1", 70000)),
        ("remote_addr", "192.168.1.100:20000"),
        ("payload_type", 3),
        ("clock_rate", 0),
        ("dtmf_payload_type", 0),
        ("rtcp_interval", 0),
        ("source_policy", "all"),
    ],
)
def test_its_arguments_are_checked_at_once(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        RTPVoiceBackend(**{name: value})


# --- connecting ----------------------------------------------------------------------------------


async def test_a_session_is_up_when_connect_returns(backend: RTPVoiceBackend, peer: Peer) -> None:
    ready: list[VoiceSession] = []
    later: list[VoiceSession] = []

    async def asynchronous(session: VoiceSession) -> None:
        later.append(session)

    backend.on_session_ready(ready.append)
    backend.on_session_ready(asynchronous)
    session = await connect(backend, tenant="acme")
    assert ready == later == [session]
    assert session.state is VoiceSessionState.ACTIVE
    assert (session.room_id, session.participant_id, session.channel_id) == (
        "room",
        "caller",
        "voice",
    )
    assert session.metadata["tenant"] == "acme"
    assert session.metadata["backend"] == "rtp"
    assert session.metadata["remote_addr"] == peer.addr
    assert session.metadata["local_addr"][0] == LOOPBACK
    assert session.metadata["local_addr"][1] > 0
    assert session.metadata["payload_type"] == 0
    assert session.metadata["clock_rate"] == 8000
    assert session.metadata["codec"] == "PCMU"
    assert backend.get_session(session.id) is session
    assert backend.list_sessions("room") == [session]
    assert backend.list_sessions("another") == []


@pytest.mark.parametrize("form", [tuple, list])
async def test_metadata_overrides_the_remote_address(form: type) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=("192.0.2.1", 9))
    with Peer() as other:
        session = await connect(backend, remote_addr=form(other.addr))
        await backend.send_audio(session, tone(440, 60))
        await other.until(lambda: len(other.packets) == 3)
        assert session.metadata["remote_addr"] == other.addr
        await backend.close()


async def test_no_remote_address_at_all_is_refused_unless_the_peer_is_learned(peer: Peer) -> None:
    with pytest.raises(ValueError, match="remote_addr"):
        await RTPVoiceBackend().connect("room", "caller", "voice")
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), source_policy="learn")
    session = await connect(backend)
    assert session.metadata["remote_addr"] is None
    await backend.close()


@pytest.mark.parametrize(
    "metadata",
    [
        {"remote_addr": "192.0.2.1:9"},
        {"remote_addr": ("192.0.2.1", 0)},
        {"remote_addr": ("::1", 9)},
        {"remote_addr": 5},
        {"srtp": "by all means"},  # never unencrypted by mistake
        "remote_addr",
    ],
)
async def test_metadata_that_does_not_fit_is_refused_and_leaves_nothing(
    backend: RTPVoiceBackend, metadata: Any
) -> None:
    with pytest.raises(ValueError, match="remote_addr|srtp|metadata"):
        await backend.connect("room", "caller", "voice", metadata=metadata)
    assert backend.list_sessions("room") == []


async def test_a_ready_callback_that_raises_does_not_harm_the_call(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    def broken(session: VoiceSession) -> None:
        raise RuntimeError("mine")

    backend.on_session_ready(broken)
    session = await connect(backend)
    await backend.send_audio(session, tone(440, 40))
    await peer.until(lambda: len(peer.packets) == 2)


async def test_cancelling_connect_leaves_nothing_open(backend: RTPVoiceBackend) -> None:
    connecting: list[asyncio.Task[VoiceSession]] = []

    def cancel(session: VoiceSession) -> None:
        connecting[0].cancel()

    backend.on_session_ready(cancel)
    connecting.append(asyncio.create_task(connect(backend)))
    with pytest.raises(asyncio.CancelledError):
        await connecting[0]
    assert backend.list_sessions("room") == []


async def test_a_closed_backend_connects_no_more(backend: RTPVoiceBackend) -> None:
    session = await connect(backend)
    await backend.close()
    await backend.close()
    assert session.state is VoiceSessionState.ENDED
    with pytest.raises(BackendClosedError):
        await connect(backend)


async def test_a_close_while_a_name_is_resolved_ends_that_session_too(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=("localhost", peer.addr[1]))
    connecting = asyncio.create_task(connect(backend))
    await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(BackendClosedError):
        await connecting


# --- several sessions on one port ----------------------------------------------------------------


async def test_sessions_on_one_port_are_told_apart_by_the_remote_address() -> None:
    port = free_port_pair()
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, port))
    digits: list[tuple[str, str]] = []
    with Peer() as first, Peer() as second:
        sessions = [await connect(backend, remote_addr=peer.addr) for peer in (first, second)]
        got = asyncio.Event()

        def on_dtmf(session: VoiceSession, event: DTMFEvent) -> None:
            digits.append((session.id, event.digit))
            if len(digits) == 2:
                got.set()

        backend.on_dtmf_received(on_dtmf)
        for event, peer in ((1, first), (2, second)):
            peer.greet((LOOPBACK, port))
            peer.digit((LOOPBACK, port), event)
        async with asyncio.timeout(10):
            await got.wait()
        assert sorted(digits) == sorted([(sessions[0].id, "1"), (sessions[1].id, "2")])
        await asyncio.gather(*(backend.send_audio(session, tone(440, 60)) for session in sessions))
        await first.until(lambda: len(first.packets) == 3)
        await second.until(lambda: len(second.packets) == 3)
        assert {packet.source for packet in first.packets} == {(LOOPBACK, port)}

        # One may end: the other and the port go on.
        await backend.disconnect(sessions[0])
        await backend.send_audio(sessions[1], tone(440, 40))
        await second.until(lambda: len(second.packets) == 5)
        await backend.close()


async def test_two_sessions_with_one_peer_are_refused_unless_their_ssrc_is_known() -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, free_port_pair()))
    with Peer() as peer:
        await connect(backend, remote_addr=peer.addr)
        with pytest.raises(AddressConflictError, match=str(peer.addr[1])):
            await connect(backend, remote_addr=peer.addr)
        assert len(backend.list_sessions("room")) == 1
        await backend.close()


async def test_sessions_with_one_peer_are_told_apart_by_ssrc() -> None:
    port = free_port_pair()
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, port))
    with Peer() as peer:
        sessions = [
            await connect(backend, remote_addr=peer.addr, remote_ssrc=ssrc) for ssrc in (11, 12)
        ]
        got: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        backend.on_dtmf_received(lambda session, e: got.put_nowait((session.id, e.digit)))
        for ssrc in (11, 12):
            peer.ssrc = ssrc
            peer.greet((LOOPBACK, port))
            peer.digit((LOOPBACK, port), ssrc - 10)
        async with asyncio.timeout(10):
            digits = {await got.get() for _ in sessions}
        assert digits == {(sessions[0].id, "1"), (sessions[1].id, "2")}
        await backend.close()


# --- audio ---------------------------------------------------------------------------------------


async def test_audio_is_sent_and_awaited(backend: RTPVoiceBackend, peer: Peer) -> None:
    async def voice() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(tone(440, 100, 16000), 16000)
        yield AudioChunk(tone(440, 100, 24000), 24000, is_final=True)

    session = await connect(backend)
    assert not backend.is_playing(session)
    sending = asyncio.create_task(backend.send_audio(session, voice()))
    await peer.until(lambda: len(peer.packets) >= 1)
    assert backend.is_playing(session)
    assert await backend.wait_playback(session) is True
    await sending
    assert backend.playback_position(session).played_ms == pytest.approx(200, abs=20)
    await peer.until(lambda: len(peer.packets) >= 10)


async def test_interrupting_stops_and_tells_whether_there_was_anything(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    session = await connect(backend)
    assert await backend.cancel_audio(session) is False
    sending = asyncio.create_task(backend.send_audio(session, tone(440, 10_000)))
    await peer.until(lambda: len(peer.packets) >= 2)
    waiting = asyncio.create_task(backend.wait_playback(session))
    await asyncio.sleep(0)
    assert await backend.cancel_audio(session) is True
    assert await waiting is False
    await sending
    sending = asyncio.create_task(backend.send_audio(session, tone(440, 10_000)))
    await peer.until(lambda: len(peer.packets) >= 5)
    backend.interrupt(session)
    await sending
    assert not backend.is_playing(session)


async def test_live_frames_may_come_from_another_thread(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    session = await connect(backend)

    def forward() -> None:
        for _ in range(5):
            backend.send_audio_sync(session, AudioChunk(tone(440, 20, 16000), 16000))

    await asyncio.to_thread(forward)
    backend.end_of_response(session)
    assert await backend.wait_playback(session) is True
    await peer.until(lambda: len(peer.packets) >= 5)


async def test_what_was_played_is_told(backend: RTPVoiceBackend) -> None:
    told: list[tuple[VoiceSession, bytes]] = []
    backend.on_audio_played(lambda session, frame: told.append((session, frame.data)))
    session = await connect(backend)
    await backend.send_audio(session, tone(440, 60))
    assert b"".join(data for of, data in told if of is session) == tone(440, 60)


async def test_frames_reach_every_callback_in_order_and_async_ones_are_awaited_in_order(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    plain: list[float | None] = []
    awaited: list[float | None] = []
    enough = asyncio.Event()

    def broken(session: VoiceSession, frame: AudioFrame) -> None:
        raise RuntimeError("mine")

    async def slowly(session: VoiceSession, frame: AudioFrame) -> None:
        await asyncio.sleep(0)
        awaited.append(frame.timestamp_ms)
        if len(awaited) == 10:
            enough.set()

    backend.on_audio_received(broken)
    backend.on_audio_received(lambda _, frame: plain.append(frame.timestamp_ms))
    unsubscribe = backend.on_audio_received(slowly)
    session = await connect(backend)
    peer.greet(session.metadata["local_addr"])
    async with asyncio.timeout(10):
        await enough.wait()
    unsubscribe()
    unsubscribe()
    assert awaited[:10] == plain[:10] == pytest.approx([20 * n for n in range(10)])


async def test_sending_to_a_session_that_has_ended_says_so(backend: RTPVoiceBackend) -> None:
    session = await connect(backend)
    await backend.disconnect(session)
    for use in (
        lambda: backend.send_audio_sync(session, AudioChunk(b"\0\0")),
        lambda: backend.send_dtmf(session, "1"),
        lambda: backend.set_input_muted(session, True),
        lambda: backend.retarget(session, ("192.0.2.1", 9)),
        lambda: backend.playback_position(session),
    ):
        with pytest.raises(SessionEndedError):
            use()
    with pytest.raises(SessionEndedError):
        await backend.send_audio(session, b"\0\0")
    # What only asks, or stops what does not play, has an answer.
    assert backend.stats(session)["packets_received"] == 0
    assert await backend.cancel_audio(session) is False
    assert await backend.wait_playback(session) is True
    assert not backend.is_playing(session)
    backend.interrupt(session)
    backend.end_of_response(session)


async def test_a_session_of_another_backend_is_not_found(backend: RTPVoiceBackend) -> None:
    stranger = VoiceSession("x", "room", "caller", "voice", VoiceSessionState.ACTIVE)
    with pytest.raises(SessionNotFoundError):
        await backend.send_audio(stranger, b"\0\0")
    with pytest.raises(SessionNotFoundError):
        backend.stats(stranger)


# --- beside the audio ----------------------------------------------------------------------------


async def test_digits_go_out_and_come_in(backend: RTPVoiceBackend, peer: Peer) -> None:
    got: asyncio.Queue[tuple[VoiceSession, DTMFEvent]] = asyncio.Queue()
    backend.on_dtmf_received(lambda session, event: got.put_nowait((session, event)))
    session = await connect(backend)
    peer.greet(session.metadata["local_addr"])
    peer.digit(session.metadata["local_addr"], 11)
    async with asyncio.timeout(10):
        assert await got.get() == (session, DTMFEvent("#", 100.0))
    backend.send_dtmf(session, "d", duration_ms=60)
    await peer.until(lambda: len(peer.audio_packets(101)) >= 3)
    assert {packet.payload[0] for packet in peer.audio_packets(101)} == {15}


@pytest.mark.parametrize("digit", ["", "E", "1 ", None, 1])
async def test_what_is_no_digit_is_refused(backend: RTPVoiceBackend, digit: Any) -> None:
    session = await connect(backend)
    with pytest.raises(ValueError, match=r"^digit.*0123456789\*#ABCD"):
        backend.send_dtmf(session, digit)


async def test_too_many_digits_are_refused(backend: RTPVoiceBackend) -> None:
    session = await connect(backend)
    with pytest.raises(QueueFullError):
        for _ in range(1000):
            backend.send_dtmf(session, "1")


@pytest.mark.parametrize("asked", [False, True])
async def test_transcripts_and_digits_are_logged_at_debug_unless_asked(
    peer: Peer, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    backend = RTPVoiceBackend(
        local_addr=(LOOPBACK, 0), remote_addr=peer.addr, log_transcripts=asked
    )
    session = await connect(backend)
    got = asyncio.Event()
    backend.on_dtmf_received(lambda *_: got.set())
    with caplog.at_level(logging.DEBUG):
        await backend.send_transcription(session, "my card number is 4711")
        await backend.send_transcription(session, "thank you", "assistant")
        peer.greet(session.metadata["local_addr"])
        peer.digit(session.metadata["local_addr"], 7)
        async with asyncio.timeout(10):
            await got.wait()
    await backend.close()
    open_records = [r.getMessage() for r in caplog.records if r.levelno > logging.DEBUG]
    assert any("4711" in message for message in open_records) is asked
    assert any("4711" in record.getMessage() for record in caplog.records)
    assert not any("digit 7" in message for message in open_records)
    assert any("digit 7" in record.getMessage() for record in caplog.records)


async def test_retargeting_changes_the_metadata_too(backend: RTPVoiceBackend) -> None:
    with Peer() as other:
        session = await connect(backend)
        backend.retarget(session, other.addr)
        assert session.metadata["remote_addr"] == other.addr
        await backend.send_audio(session, tone(440, 60))
        await other.until(lambda: len(other.packets) == 3)


async def test_on_hold_a_session_is_paused_and_music_still_leaves(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    session = await connect(backend)
    states = [session.state]
    await backend.hold(session)
    states.append(session.state)
    await backend.send_audio(session, tone(440, 100))
    await backend.resume(session)
    states.append(session.state)
    await backend.update(session, direction="inactive")
    states.append(session.state)
    await backend.disconnect(session)
    states.append(session.state)
    assert states == ["active", "paused", "active", "paused", "ended"]
    with pytest.raises(SessionEndedError):
        await backend.resume(session)
    await peer.until(lambda: len(peer.audio_packets()) == 5)


async def test_a_call_on_hold_is_paused_and_music_is_played_to_it(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    async with RoomKit() as kit:
        channel = VoiceChannel("phone", backend=backend)
        kit.register_channel(channel)
        await kit.create_room("room")
        await kit.attach_channel("room", "phone")
        session = await kit.join("room", "phone")
        await channel.hold(session)
        states = [session.state]
        assert await channel.play(session, tone(440, 100))
        await channel.resume(session)
        states.append(session.state)
        assert states == ["paused", "active"]
        await peer.until(lambda: len(peer.audio_packets()) == 5)
        await kit.leave(session)
        with pytest.raises(SessionNotFoundError):
            await channel.hold(session)


async def test_a_peer_that_was_silent_and_speaks_again_is_told(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, rtp_timeout=0.3)
    told: asyncio.Queue[str] = asyncio.Queue()
    backend.on_client_disconnected(lambda session, why: told.put_nowait(why))
    backend.on_client_resumed(lambda session: told.put_nowait("back"))
    session = await connect(backend)
    peer.greet(session.metadata["local_addr"])
    assert await asyncio.wait_for(told.get(), 5) == "rtp_timeout"
    peer.greet(session.metadata["local_addr"])
    assert await asyncio.wait_for(told.get(), 5) == "back"
    await backend.close()


async def test_a_peer_that_says_bye_is_told_and_the_session_stays_until_disconnected(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    told: asyncio.Queue[tuple[VoiceSession, str]] = asyncio.Queue()
    backend.on_client_disconnected(lambda session, why: told.put_nowait((session, why)))
    session = await connect(backend)
    host, port = session.metadata["local_addr"]
    peer.greet((host, port))
    await anext(aiter(backend._media[session.id]))
    peer.bye((host, port + 1), "hung up")
    async with asyncio.timeout(10):
        gone, why = await told.get()
    assert (gone, why) == (session, "bye")
    assert isinstance(why, DisconnectReason)
    assert why.detail == "hung up"
    assert session.state is VoiceSessionState.ACTIVE
    await backend.disconnect(session)


async def test_a_fault_of_the_core_ends_the_session_and_gives_everything_back(
    backend: RTPVoiceBackend,
) -> None:
    told: list[tuple[VoiceSession, str]] = []
    backend.on_client_disconnected(lambda session, why: told.append((session, why)))
    session, other = await connect(backend), await connect(backend)
    playing = asyncio.create_task(backend.send_audio(session, tone(440, 5000)))
    await asyncio.sleep(0)
    # What the core reports when it has caught a panic in this session.
    backend._media[session.id]._media.on_media_item(_native.FAULT, "it broke", None, None)
    await playing
    assert told == [(session, "fault: it broke")]
    assert session.ended
    assert backend.list_sessions("room") == [other]
    assert backend.stats(session)["malformed"] == 0
    await backend.disconnect(session)
    await backend.send_audio(other, tone(440, 20))


# --- ending --------------------------------------------------------------------------------------


async def test_disconnecting_during_playback_ends_it(backend: RTPVoiceBackend, peer: Peer) -> None:
    session = await connect(backend)
    sending = [
        asyncio.create_task(backend.send_audio(session, tone(440, 10_000))) for _ in range(2)
    ]
    await peer.until(lambda: len(peer.packets) >= 2)
    await asyncio.gather(backend.disconnect(session), backend.disconnect(session))
    await backend.disconnect(session)
    await asyncio.gather(*sending)
    assert session.state is VoiceSessionState.ENDED
    assert backend.get_session(session.id) is None
    await peer.until(lambda: len(peer.reports) >= 1, what="the BYE")


@pytest.mark.parametrize("steps", range(14))
async def test_disconnecting_at_any_moment_leaks_and_hangs_nothing(
    backend: RTPVoiceBackend, steps: int
) -> None:
    """The fixture checks for leaks; `steps` passes of the event loop, then everything ends."""

    async def voice() -> AsyncIterator[AudioChunk]:
        while True:
            await asyncio.sleep(0)
            yield AudioChunk(tone(440, 20), 8000)

    session = await connect(backend)
    work = [
        asyncio.create_task(backend.send_audio(session, voice())),
        asyncio.create_task(backend.send_audio(session, tone(440, 200))),
        asyncio.create_task(backend.wait_playback(session)),
        asyncio.create_task(connect(backend)),
    ]
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        ending = asyncio.create_task(backend.disconnect(session))
        for _ in range(steps % 3):
            await asyncio.sleep(0)
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        await backend.disconnect(session)
        results = await asyncio.gather(*work, return_exceptions=True)
    assert session.ended
    unexpected = [r for r in results if isinstance(r, Exception)]
    assert all(isinstance(error, SessionEndedError) for error in unexpected)


async def test_many_sessions_close_together_in_a_moment(backend: RTPVoiceBackend) -> None:
    sessions = [await connect(backend) for _ in range(50)]
    async with asyncio.timeout(2):
        await backend.close()
    assert {session.state for session in sessions} == {VoiceSessionState.ENDED}


@pytest.mark.parametrize(
    "options",
    [{"dtmf_types": {8000: 101}}, {"preset": "freeswitch"}, {"dtmf_types": {8000: 101, 16000: 98}}],
)
async def test_the_type_of_digits_of_one_call_wins_over_the_backends(options: Any) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=(LOOPBACK, 40000), **options)
    try:
        session = await backend.connect("r", "p", "c", options={"dtmf_payload_type": 96})
        assert backend._media[session.id].options.events == {8000: 96}
    finally:
        await backend.close()
