"""Calls that end with what they stand on: their process, its copies, its threads, its loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from roomkit.errors import SessionEndedError
from roomkit.rtp import RTPSession
from rtp.sound import tone
from rtp.wire import Peer

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # A fork beside threads is what is tested.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        yield made


def to(peer: Peer, port: int = 0) -> RTPSession:
    return RTPSession(local_addr=("127.0.0.1", port), remote_addr=peer.addr)


def free(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        try:
            again.bind(address)
        except OSError:
            return False
    return True


@contextlib.contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A forked child that has begun, runs `work` and ends with 0 if that went well."""
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            there.send(b"!")
            work()
            code = 0
        os._exit(code)
    there.close()
    try:
        with here:
            assert here.recv(1) == b"!"
        yield pid
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise


# --- forks ----------------------------------------------------------------------------------------


async def test_a_port_is_free_after_its_call_while_a_child_lives_on(peer: Peer) -> None:
    go, gone = socket.socketpair()
    with go, gone:
        async with to(peer) as session:
            playing = asyncio.create_task(session.play(tone(440, 5000)))
            await peer.until(lambda: len(peer.packets) >= 2)
            with child(lambda: gone.recv(1)):
                local, rtcp = session.local_addr, session.rtcp_addr
                await session.close()
                assert rtcp is not None
                assert free(local)
                assert free(rtcp)
                async with to(peer, local[1]):
                    pass
                go.send(b"!")
            await playing


async def test_a_process_pool_holds_no_port(peer: Peer) -> None:
    context = multiprocessing.get_context("fork")
    async with to(peer) as session:
        local = session.local_addr
        with context.Pool(2) as pool:
            assert await asyncio.to_thread(pool.map, abs, [-1, -2]) == [1, 2]
            await session.close()
            # A worker that has not run yet has not let go yet.
            await peer.until(lambda: free(local))


def sessions_of_a_child(inherited: RTPSession, peer: Peer) -> None:
    """All that a child may do with what it inherited, and a call of its own beside it."""
    began = time.monotonic()
    assert inherited.closed
    assert not inherited.playing
    assert not inherited.cancel()
    inherited.stats()

    async def main() -> None:
        await inherited.close()
        with pytest.raises(SessionEndedError):
            await inherited.play(b"")
        async with to(peer) as own:
            assert (await own.play(tone(440, 100))).played_ms == 100
        await inherited.close()

    asyncio.run(main())
    gc.collect()
    assert time.monotonic() - began < 5


async def test_what_a_child_inherited_is_over_and_the_parent_s_call_goes_on(peer: Peer) -> None:
    async with to(peer) as session:
        peer.greet(session.local_addr)
        frames = aiter(session)
        await anext(frames)
        playing = asyncio.create_task(session.play(tone(440, 1000)))
        await peer.until(lambda: len(peer.packets) >= 2)
        with child(lambda: sessions_of_a_child(session, peer)):
            # The loop is the parent's: it goes on hearing, and what it plays is whole.
            for _ in range(10):
                async with asyncio.timeout(2):
                    await anext(frames)
            assert (await playing).played_ms == 1000
            assert not [report for report in peer.reports if said_bye(report.data, session)]
        assert not [report for report in peer.reports if said_bye(report.data, session)]
    packets = [packet for packet in peer.packets if packet.ssrc == session_ssrc(session)]
    assert len(packets) == 50


async def test_a_child_that_ends_in_order_says_nothing_for_its_parent(peer: Peer) -> None:
    def end() -> None:
        import atexit

        atexit._run_exitfuncs()
        gc.collect()

    async with to(peer) as session:
        playing = asyncio.create_task(session.play(tone(440, 500)))
        await peer.until(lambda: len(peer.packets) >= 2)
        with child(end):
            pass
        assert (await playing).played_ms == 500
        assert not peer.reports or not said_bye(peer.reports[-1].data, session)


def test_a_child_is_not_held_up_by_what_other_threads_did_at_the_fork(peer: Peer) -> None:
    """They push, look at statistics and drain all the time: some lock is always held."""

    async def main() -> None:
        async with to(peer) as session:
            stop = threading.Event()

            def hammer() -> None:
                while not stop.is_set():
                    session.send(tone(440, 20))
                    session.stats()
                    session.playing  # noqa: B018 (it takes a lock)

            threads = [threading.Thread(target=hammer) for _ in range(2)]
            for thread in threads:
                thread.start()
            try:
                for _ in range(20):
                    with child(lambda: sessions_of_a_child_in_short(session)):
                        pass
            finally:
                stop.set()
                for thread in threads:
                    thread.join()

    asyncio.run(main())


def sessions_of_a_child_in_short(inherited: RTPSession) -> None:
    inherited.stats()
    assert not inherited.playing
    assert not inherited.cancel()
    asyncio.run(inherited.close())


def session_ssrc(session: RTPSession) -> int:
    return int(session.id, 16)


def said_bye(report: bytes, session: RTPSession) -> bool:
    return b"\x81\xcb\x00\x01" + session_ssrc(session).to_bytes(4, "big") in report


# --- threads --------------------------------------------------------------------------------------


async def test_a_session_closes_where_no_thread_can_be_had(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with to(peer) as session:
        await session.play(tone(440, 40))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            await session.close()
        assert session.closed
        assert free(session.local_addr)
    await peer.until(lambda: bool(peer.reports))
    assert said_bye(peer.reports[-1].data, session)


# --- the interpreter ------------------------------------------------------------------------------


ENDINGS = {
    "in atexit": """
import atexit
atexit.register(lambda: asyncio.run(session.close()))
""",
    "in a finalizer": """
class Owner:
    def __del__(self):
        asyncio.run(session.close())
owner = Owner()
del owner
""",
    "not at all": "",
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_program_that_closes_at_its_end_says_bye(ending: str, peer: Peer) -> None:
    program = f"""
import asyncio
from roomkit.rtp import RTPSession
loop = asyncio.new_event_loop()
session = RTPSession(local_addr=("127.0.0.1", 0), remote_addr={peer.addr!r})
loop.run_until_complete(session.open())
loop.run_until_complete(session.play(bytes(640)))
{ENDINGS[ending]}
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors) == (0, b"")
    await peer.until(lambda: bool(peer.reports))
    assert peer.reports[-1].data[-8:-4].hex().startswith("81cb")
