"""One engine per process, one inbox per event loop; both exist only while there are sessions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from roomkit import _bridge
from roomkit.rtp import RTPSession, configure_media
from rtp.leaks import assert_given_back, held
from rtp.sound import tone
from rtp.wire import Peer

Main = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture(autouse=True, scope="module")
def libuv_s_own() -> None:
    """libuv keeps a pipe per process, from the first loop on."""
    with contextlib.suppress(ImportError):
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.sleep(0))


@pytest.fixture(autouse=True)
def nothing_left(libuv_s_own: None) -> Iterator[None]:
    before = held()
    yield
    assert_given_back(before)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        yield made


def to(peer: Peer) -> RTPSession:
    return RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)


def media_threads() -> int:
    return sum(name.startswith("roomkit-media") for name in held())


def with_asyncio(main: Main) -> Any:
    return asyncio.run(main())


def with_uvloop(main: Main) -> Any:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


LOOPS = pytest.mark.parametrize("run", [with_asyncio, with_uvloop])


@LOOPS
def test_a_call_works_on_asyncio_and_on_uvloop(run: Callable[[Main], Any], peer: Peer) -> None:
    async def main() -> None:
        async with to(peer) as session:
            assert (await session.play(tone(440, 100))).played_ms == 100
            peer.greet(session.local_addr)
            async with asyncio.timeout(5):
                assert (await anext(aiter(session))).sample_rate == 8000

    run(main)
    assert len(peer.packets) == 5


@LOOPS
def test_a_loop_that_ends_with_open_sessions_says_bye_and_frees_their_ports(
    run: Callable[[Main], Any], peer: Peer
) -> None:
    left: list[RTPSession] = []

    async def main() -> None:
        for _ in range(3):
            session = await to(peer).open()
            left.append(session)
            await session.play(tone(440, 20))

    with pytest.warns(ResourceWarning, match="was not closed before its event loop") as warned:
        run(main)
    assert len(warned) == 3
    assert all(session.closed for session in left)
    for session in left:
        assert_free(session.local_addr)
    asyncio.run(peer.until(lambda: len(peer.reports) >= 3))


@LOOPS
def test_a_loop_that_ends_in_the_middle_of_a_playback_does_not_hang(
    run: Callable[[Main], Any], peer: Peer
) -> None:
    async def main() -> None:
        session = await to(peer).open()
        playing = asyncio.create_task(session.play(tone(440, 5000)))
        await peer.until(lambda: len(peer.packets) >= 2)
        assert not playing.done()

    with pytest.warns(ResourceWarning, match="was not closed before its event loop"):
        run(main)


@LOOPS
def test_a_session_may_be_closed_after_its_loop_was(run: Callable[[Main], Any], peer: Peer) -> None:
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(to(peer).open())
    playing = loop.create_task(session.play(tone(440, 5000)))
    loop.run_until_complete(peer.until(lambda: len(peer.packets) >= 2))
    playing.cancel()
    loop.run_until_complete(asyncio.wait((playing,)))
    local = session.local_addr
    with pytest.warns(ResourceWarning, match=f"the session on 127.0.0.1:{local[1]} was not closed"):
        loop.close()  # without shutdown_asyncgens: nobody was told
    assert session.closed
    assert_free(local)

    async def main() -> None:
        await session.close()
        await session.close()
        assert not session.playing

    run(main)
    assert session.closed


def test_a_session_may_be_closed_by_another_loop_while_its_own_runs(peer: Peer) -> None:
    opened: list[RTPSession] = []
    ready = threading.Event()
    ended: list[str] = []

    async def owner() -> None:
        session = await to(peer).open()
        peer.greet(session.local_addr)
        frames = aiter(session)
        playing = asyncio.create_task(session.play(tone(440, 5000)))
        await anext(frames)
        opened.append(session)
        ready.set()
        async for _ in frames:
            pass
        ended.append("frames")
        if (await playing).cancelled:
            ended.append("playback")

    async def other() -> None:
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await opened[0].play(b"")
        await opened[0].close()

    thread = threading.Thread(target=lambda: asyncio.run(owner()))
    thread.start()
    assert ready.wait(10)
    asyncio.run(other())
    thread.join(10)
    assert ended == ["frames", "playback"]


def test_several_loops_in_several_threads_share_the_engine(peer: Peer) -> None:
    failures: list[BaseException] = []
    running = threading.Barrier(3, timeout=20)
    most: list[int] = []

    async def main() -> None:
        async with to(peer) as session:
            running.wait()
            most.append(media_threads())
            assert (await session.play(tone(440, 200))).played_ms == 200
            running.wait()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 (a thread cannot fail a test)
            failures.append(error)
            running.abort()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert most == [1, 1, 1]
    assert len(peer.packets) == 30
    assert len({packet.ssrc for packet in peer.packets}) == 3


def test_threads_and_descriptors_exist_only_while_there_are_sessions(peer: Peer) -> None:
    async def main() -> None:
        before = held()
        async with to(peer) as first:
            await first.play(tone(440, 20))  # the thread has run, and has its name
            with_one = held()
            async with to(peer):
                # The second session adds its sockets, and neither a thread nor an inbox.
                assert media_threads() == 1
                assert len(held()) - len(with_one) == 2
            assert_given_back(with_one)
        assert_given_back(before)

    asyncio.run(main())


def test_a_failed_opening_leaves_no_inbox_and_no_thread(peer: Peer) -> None:
    async def main() -> None:
        before = held()
        with pytest.raises(OSError):
            await RTPSession(local_addr=("192.0.2.1", 0), remote_addr=peer.addr).open()
        assert_given_back(before)

    asyncio.run(main())


def test_the_number_of_threads_is_set_before_the_first_session(peer: Peer) -> None:
    async def main() -> None:
        async with to(peer) as first, to(peer) as second:
            await asyncio.gather(first.play(tone(440, 20)), second.play(tone(440, 20)))
            assert media_threads() == 2
            configure_media(threads=2)  # what is so already may be said
            with pytest.raises(RuntimeError, match="before the first session"):
                configure_media(threads=1)

    configure_media(threads=2)
    try:
        asyncio.run(main())
    finally:
        configure_media(threads=1)


@pytest.mark.parametrize("threads", [0, 65, 1.0, True, None])
def test_a_number_of_threads_that_makes_no_sense_is_refused(threads: Any) -> None:
    with pytest.raises(ValueError, match="threads: .* 1 to 64 fits"):
        configure_media(threads=threads)


def test_a_loop_that_cannot_watch_descriptors_is_refused_with_the_remedy(peer: Peer) -> None:
    class ProactorLike(asyncio.SelectorEventLoop):
        def add_reader(self, *_: Any) -> Any:  # type: ignore[override]
            raise NotImplementedError

    refused = pytest.raises(RuntimeError, match=r"ProactorLike cannot watch.*SelectorEventLoop")
    with asyncio.Runner(loop_factory=ProactorLike) as runner, refused:
        runner.run(to(peer).open())


def test_a_backlog_is_worked_off_in_pieces_between_which_others_run(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bridge, "_DRAIN_LIMIT", 4)
    seen: list[str] = []

    async def main() -> None:
        async with to(peer) as session:
            peer.greet(session.local_addr)
            await anext(aiter(session))
            stall(0.4)
            session.on_frame(lambda _: seen.append("frame"))
            for _ in range(8):
                await asyncio.sleep(0)
                seen.append("other")

    asyncio.run(main())
    # 20 frames waited; the other task had its turn after each few of them.
    assert seen.count("frame") >= 12
    runs = "".join("f" if entry == "frame" else "o" for entry in seen).split("o")
    assert max(map(len, runs)) <= 5


def test_a_receiver_that_raises_is_logged_and_the_others_go_on(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with to(peer) as broken, to(peer) as sound:
            assert broken._media._native is not None
            assert broken._media._bridge is not None

            def fail(*_: Any) -> None:
                raise RuntimeError("broken receiver")

            broken._media._bridge._frames[broken._media._native.key] = fail
            frames = aiter(sound)
            for session in (broken, sound):
                peer.ssrc += 1
                peer.greet(session.local_addr)
            for _ in range(5):
                await anext(frames)

    asyncio.run(main())
    assert "broken receiver" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_starts_afresh_and_leaves_the_parent_s_calls_alone(peer: Peer) -> None:
    async def child() -> None:
        async with to(peer) as session:
            await session.play(tone(440, 100))

    async def main() -> None:
        async with to(peer) as session:
            playing = asyncio.create_task(session.play(tone(440, 1000)))
            await peer.until(lambda: len(peer.packets) >= 2)
            pid = os.fork()
            if pid == 0:
                # What the parent's loop left running in this thread is none of the child's.
                code = 1
                with contextlib.suppress(BaseException):
                    asyncio.events._set_running_loop(None)
                    asyncio.run(child())
                    code = 0
                os._exit(code)
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert (await playing).played_ms == 1000

    asyncio.run(main())
    by_ssrc = {packet.ssrc: 0 for packet in peer.packets}
    for packet in peer.packets:
        by_ssrc[packet.ssrc] += 1
    assert sorted(by_ssrc.values()) == [5, 50]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_that_just_ends_says_bye(peer: Peer) -> None:
    program = f"""
import asyncio
from roomkit.rtp import RTPSession
loop = asyncio.new_event_loop()
session = RTPSession(local_addr=("127.0.0.1", 0), remote_addr={peer.addr!r})
loop.run_until_complete(session.open())
loop.run_until_complete(session.play(bytes(640)))
"""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        assert await process.wait() == 0
        await peer.until(lambda: len(peer.reports) >= 1)

    asyncio.run(main())
    assert peer.reports[-1].data[-8:-4].hex().startswith("81cb")  # RTCP type 203


def assert_free(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)


def stall(seconds: float) -> None:
    """Blocks the loop, holding the GIL as much as Python code can."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        pass
