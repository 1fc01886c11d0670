"""A session that changes in the middle of the call, over real sockets."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from roomkit.errors import AddressConflictError
from roomkit.rtp import Codec, RTPSession
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"


def to(peer: Peer, **options: Any) -> RTPSession:
    return RTPSession(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, **options)


async def test_another_codec_takes_over_in_the_middle_of_a_playback(peer: Peer) -> None:
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(tone(440, 600)))
        await peer.until(lambda: len(peer.packets) >= 10)
        wide = Codec("L16", 97, 16000, send_payload_type=99)
        await session.update(codecs=[wide, "PCMU"])
        assert session.codec == wide
        assert (session.sample_rate, session.channels) == (8000, 1)
        assert (await playing).played_ms == pytest.approx(600, abs=1)
        await peer.until(lambda: len(peer.packets) >= 30)
    sent = peer.packets[:30]
    assert [packet.payload_type for packet in sent] == sorted(p.payload_type for p in sent)
    assert {packet.payload_type for packet in sent} == {0, 99}
    assert all((b.seq - a.seq) % 65536 == 1 for a, b in pairwise(sent))
    assert {len(p.payload) for p in sent if p.payload_type == 99} == {640}


async def test_the_far_end_is_understood_under_the_new_type(peer: Peer) -> None:
    async with to(peer) as session:
        frames = aiter(session)
        for _ in range(10):
            peer.audio(session.local_addr)
        await anext(frames)
        await session.update(codecs=[Codec("L16", 97, 16000)])
        for _ in range(10):
            peer.audio(session.local_addr, bytes(640), pt=97)
        for _ in range(12):
            frame = await anext(frames)
            assert (frame.sample_rate, len(frame.data)) == (8000, 320)
        assert session.stats().unknown_payload_type == 0


async def test_on_hold_nothing_is_sent_and_the_playback_waits(peer: Peer) -> None:
    async with to(peer) as session:
        playing = asyncio.create_task(session.play(tone(440, 400)))
        await peer.until(lambda: len(peer.packets) >= 5)
        await session.update(direction="inactive")
        frames_skipped = session.stats().packets_sent
        assert not playing.done()
        assert session.options.direction == "inactive"
        await session.update(direction="sendrecv")
        assert (await playing).played_ms == 400
        assert session.stats().packets_sent >= frames_skipped


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jitter_ms": 20}, "jitter_ms: it cannot change in mid-call"),
        ({"jitter_ms": 20}, "ptime_ms, remote_addr, remote_rtcp_addr, "),
        ({"sample_rate": 16000}, "sample_rate: it cannot change"),
        ({"ptime_ms": 25}, "ptime_ms: 25"),
        ({"codecs": []}, "codecs: it is empty"),
        ({"codecs": [Codec("L16", 101, 16000)]}, "dtmf_payload_type: 101 is also"),
        ({"remote_addr": ("::1", 9)}, "remote_addr: '::1'"),
        ({"direction": "up"}, "direction: 'up'"),
    ],
)
async def test_what_does_not_fit_is_refused_and_changes_nothing(
    peer: Peer, changes: dict[str, Any], said: str
) -> None:
    async with to(peer) as session:
        before = session.options
        with pytest.raises(ValueError, match=said):
            await session.update(**changes)
        assert session.options == before


async def test_a_session_of_the_backend_has_options_of_its_own(peer: Peer) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=peer.addr, payload_type=8)
    wide = Codec("L16", 97, 16000)
    one = await backend.connect("room", "a", "voice", options={"codecs": [wide], "ptime_ms": 40})
    two = await backend.connect("room", "b", "voice", metadata={"remote_addr": peer.addr})
    assert (one.metadata["codec"], one.metadata["payload_type"]) == ("L16", 97)
    assert (two.metadata["codec"], two.metadata["payload_type"]) == ("PCMA", 8)
    await backend.send_audio(one, tone(440, 80, 16000))
    await peer.until(lambda: len(peer.packets) == 2)
    assert {len(packet.payload) for packet in peer.packets} == {1280}
    await backend.update(one, codecs=["PCMU"])
    assert (one.metadata["codec"], one.metadata["payload_type"]) == ("PCMU", 0)
    await backend.close()


async def test_a_change_of_something_else_leaves_the_address_of_retarget(peer: Peer) -> None:
    with Peer() as elsewhere:
        async with to(peer) as session:
            session.retarget(elsewhere.addr)
            await session.hold()
            await session.resume()
            assert session.options.remote_addr == elsewhere.addr
            await session.play(tone(440, 100))
            assert session.remote_addr == elsewhere.addr
    assert len(elsewhere.audio_packets()) == 5
    assert not peer.audio_packets()


async def test_a_name_is_looked_up_once(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo
    asked: list[str] = []

    async def counted(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return await look_up(host, *rest, **more)

    monkeypatch.setattr(loop, "getaddrinfo", counted)
    name = ("localhost", peer.addr[1])
    async with RTPSession(local_addr=(LOOPBACK, 0), remote_addr=name) as session:
        await session.hold()
        await session.resume()
        assert session.options.remote_addr == name
        assert asked == ["localhost"]
        await session.update(remote_addr=name)
        assert asked == ["localhost"] * 2


async def test_a_change_while_another_looks_up_a_name_is_not_undone_by_it(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(*what: Any, **more: Any) -> Any:
        asked.set()
        await answered.wait()
        return await look_up(*what, **more)

    async with to(peer) as session:
        monkeypatch.setattr(loop, "getaddrinfo", slow)
        moving = asyncio.create_task(session.update(remote_addr=("localhost", peer.addr[1])))
        await asked.wait()
        await session.update(ptime_ms=40)
        await session.hold()
        answered.set()
        await moving
        assert (session.options.ptime_ms, session.options.direction) == (40, "sendonly")
        assert session.options.remote_addr == ("localhost", peer.addr[1])
        assert session.on_hold


async def test_a_cancelled_change_has_changed_nothing(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    async def never(*_what: Any, **_more: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    async with to(peer) as session:
        monkeypatch.setattr(loop, "getaddrinfo", never)
        before = session.options
        moving = asyncio.create_task(session.update(remote_addr=("localhost", 9), ptime_ms=40))
        await asked.wait()
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        assert session.options is before
        await session.play(tone(440, 100))
    assert len(peer.audio_packets()) == 5


async def test_no_codecs_at_all_are_no_change(peer: Peer) -> None:
    async with to(peer, payload_type=8) as session:
        with pytest.raises(ValueError, match=r"^codecs: None; .* fits"):
            await session.update(codecs=None)
        assert session.codec.name == "PCMA"


async def test_a_conflict_with_another_session_of_the_port_changes_nothing(peer: Peer) -> None:
    """By whichever way, it is the same error."""
    local = (LOOPBACK, free_port_pair())
    with Peer() as other:
        async with (
            RTPSession(local_addr=local, remote_addr=peer.addr, shared=True),
            RTPSession(local_addr=local, remote_addr=other.addr, shared=True) as session,
        ):
            with pytest.raises(AddressConflictError, match="^remote_addr: another session"):
                await session.update(remote_addr=peer.addr)
            with pytest.raises(AddressConflictError, match="^remote_addr: another session"):
                session.retarget(peer.addr)
            assert session.options.remote_addr == session.remote_addr == other.addr
