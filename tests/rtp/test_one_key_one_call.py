"""One key, one call: sessions of one process, their offers and their changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import pytest

from roomkit.rtp import SRTP, CryptoLine, RTPSession, SRTPKey
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sdp_corpus import text
from rtp.wire import free_port_pair

LOOPBACK = "127.0.0.1"
SHARED = r"^srtp: another live session of this process receives under its receive_key"
FAR = (LOOPBACK, 47_002)


def keys(receive: SRTPKey | None = None) -> SRTP:
    return SRTP(send_key=SRTPKey.generate(), receive_key=receive or SRTPKey.generate())


def to(srtp: SRTP | None, port: int = 0) -> RTPSession:
    return RTPSession(local_addr=(LOOPBACK, port), remote_addr=FAR, srtp=srtp)


def offer(key: SRTPKey, addr: tuple[str, int] = FAR) -> str:
    return text(
        *("v=0", f"o=- 1 1 IN IP4 {addr[0]}", "s=-", f"c=IN IP4 {addr[0]}", "t=0 0"),
        *(f"m=audio {addr[1]} RTP/SAVP 0", f"a=crypto:{CryptoLine(1, (key,)).to_sdp()}"),
    )


def policy_of(session: RTPSession) -> str:
    return session.options.source_policy


@contextlib.contextmanager
def warnings_of(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    told: list[str] = []
    with caplog.at_level(logging.INFO, "roomkit"):
        yield told
    told += [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    caplog.clear()


def bindable(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, port))
        return True
    return False


async def test_a_backend_has_no_key() -> None:
    with pytest.raises(ValueError, match=r"^srtp: .* connect\(\.\.\., options=") as caught:
        RTPVoiceBackend(srtp=keys())
    assert "inline" not in str(caught.value)
    assert RTPVoiceBackend(srtp=None).options.srtp is None


async def test_a_second_session_is_refused_before_it_binds_anything(no_leaks: None) -> None:
    srtp, port = keys(), free_port_pair()
    async with to(srtp) as first:
        for second in (to(srtp, port), to(keys(srtp.receive[0]), port)):
            with pytest.raises(ValueError, match=SHARED):
                await second.open()
            assert bindable(port)
        assert first.stats().packets_sent == 0
    async with to(srtp):
        pass


async def test_calls_of_a_backend(no_leaks: None) -> None:
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), remote_addr=FAR)
    srtp = keys()
    one = await backend.connect("r", "p", "c", options={"srtp": srtp})
    with pytest.raises(ValueError, match=SHARED):
        await backend.connect("r", "p", "d", options={"srtp": srtp})
    two = await backend.connect("r", "p", "d", options={"srtp": keys()})
    with pytest.raises(ValueError, match=SHARED):
        await backend.update(two, srtp=srtp)
    await backend.update(one, srtp=keys())
    await backend.update(one, srtp=srtp)
    await backend.disconnect(one)
    await backend.update(two, srtp=srtp)
    await backend.close()


async def test_a_change_that_is_refused_has_changed_nothing(no_leaks: None) -> None:
    taken, own = keys(), keys()
    async with to(taken), to(own) as session:
        for change in (session.rekey, lambda srtp: session.update(srtp=srtp, ptime_ms=10)):
            with pytest.raises(ValueError, match=SHARED):
                await change(keys(taken.receive[0]))
        assert (session.options.srtp, session.options.ptime_ms) == (own, 20)
        # Of a change that failed for another reason the key is free again.
        free = keys()
        with pytest.raises(ValueError, match="ptime_ms"):
            await session.update(srtp=free, ptime_ms=7)
        async with to(free):
            pass
    # A session in plain gets keys in the same way.
    async with to(taken), to(None) as plain:
        with pytest.raises(ValueError, match=SHARED):
            await plain.rekey(taken)


async def test_who_does_not_open_holds_nothing(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    srtp, port = keys(), free_port_pair()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOOPBACK, port))
        with pytest.raises(OSError, match="local_addr|in use"):
            await to(srtp, port).open()
    unresolved = asyncio.Event()

    async def for_ever(*_: object, **__: object) -> None:
        unresolved.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", for_ever)
    opening = asyncio.create_task(
        RTPSession(
            local_addr=(LOOPBACK, 0), remote_addr=("gateway.example", 4000), srtp=srtp
        ).open()
    )
    await unresolved.wait()
    with pytest.raises(ValueError, match=SHARED):
        await to(srtp).open()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with to(srtp):
        pass


async def test_of_two_that_open_at_once_one_does(no_leaks: None) -> None:
    srtp = keys()
    one, two = to(srtp), to(srtp)
    done = await asyncio.gather(one.open(), two.open(), return_exceptions=True)
    assert sorted(isinstance(each, ValueError) for each in done) == [False, True]
    await asyncio.gather(one.close(), two.close())


@pytest.mark.parametrize("policy", ["host", "learn", "follow", "strict"])
async def test_a_device_with_one_key_for_its_calls_is_taken_with_one_warning(
    no_leaks: None, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    key = SRTPKey.generate()
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), source_policy=policy)  # type: ignore[arg-type]
    with warnings_of(caplog) as told:
        first = await backend.connect("r", "p", "a", metadata={"sdp": offer(key)})
    assert told == []
    assert policy_of(backend._media[first.id]) == policy
    for _ in range(2):
        with warnings_of(caplog) as told:
            other = await backend.connect("r", "p", "b", metadata={"sdp": offer(key)})
            # A re-INVITE with the same key is no news.
            await backend.update(other, sdp=offer(key))
        assert len(told) == 1
        assert (
            f"session {backend._media[other.id].id}: by SDP the far end sends with an SRTP key"
            in told[0]
        )
        for each in (first, other):
            assert policy_of(backend._media[each.id]) == "strict"
    # Of the program's own keys none may be one of these.
    with pytest.raises(ValueError, match=SHARED):
        await backend.connect("r", "p", "c", options={"srtp": keys(key), "remote_addr": FAR})
    await backend.close()
    assert CryptoLine(1, (key,)).to_sdp().split("inline:")[1] not in caplog.text
    # The call after these has it for itself.
    backend = RTPVoiceBackend(local_addr=(LOOPBACK, 0), source_policy=policy)  # type: ignore[arg-type]
    with warnings_of(caplog) as told:
        last = await backend.connect("r", "p", "a", metadata={"sdp": offer(key)})
    assert (told, policy_of(backend._media[last.id])) == ([], policy)
    await backend.close()


async def test_a_key_of_sdp_that_the_program_gave_another_call(
    no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    key = SRTPKey.generate()
    async with to(keys(key)):
        with warnings_of(caplog) as told:
            async with RTPSession.from_offer(offer(key), local_addr=(LOOPBACK, 0)) as session:
                assert policy_of(session) == "strict"
        assert len(told) == 1


async def test_a_key_that_comes_with_a_re_invite_or_an_answer(
    no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    key = SRTPKey.generate()
    async with RTPSession.from_offer(offer(key), local_addr=(LOOPBACK, 0)) as first:
        async with RTPSession.from_offer(
            offer(SRTPKey.generate()), local_addr=(LOOPBACK, 0)
        ) as second:
            assert policy_of(second) == "host"
            with warnings_of(caplog) as told:
                await second.update(sdp=offer(key))
            assert len(told) == 1
            assert policy_of(first) == policy_of(second) == "strict"
            assert second.options.srtp is not None
            assert second.options.srtp.receive == (key,)
        async with RTPSession.for_offer(local_addr=(LOOPBACK, 0), sdp_security="require") as third:
            third.offer()
            with warnings_of(caplog) as told:
                await third.accept_answer(offer(key))
            assert len(told) == 1
            assert policy_of(third) == "strict"


def test_a_loop_that_ends_gives_the_keys_of_its_calls_back() -> None:
    srtp = keys()
    left = []

    async def leaves_it_open() -> None:
        left.append(await to(srtp).open())

    async def opens_another() -> None:
        async with to(srtp):
            pass

    asyncio.run(leaves_it_open())
    assert left[0].closed
    asyncio.run(opens_another())


async def test_our_own_key_is_new_in_every_answer() -> None:
    key = SRTPKey.generate()
    ours = set()
    for _ in range(4):
        async with RTPSession.from_offer(offer(key), local_addr=(LOOPBACK, 0)) as session:
            assert session.options.srtp is not None
            ours.add(session.options.srtp.send.key)
    assert len(ours) == 4
