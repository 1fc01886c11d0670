"""The full RTP example, run as its reader would run it, by a caller who presses keys and speaks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import roomkit
from roomkit.rtp import Disconnected, RTPSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.tts import read_wav
from rtp.leaks import no_leaks
from rtp.sound import frequency, level, likeness, listen
from rtp.wire import free_port_pair

__all__ = ["no_leaks"]

EXAMPLE = Path(__file__).parents[1] / "examples" / "voice_rtp.py"
CLIPS = Path(roomkit.__file__).parent / "data"
LOOPBACK = "127.0.0.1"


class Program:
    """The example as a process, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def says(self, beginning: str) -> str:
        """The next line that begins so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while line := (await self.process.stdout.readline()).decode().rstrip():
                self.lines.append(line)
                if line.startswith(beginning):
                    return line
        raise AssertionError(f"it never said {beginning!r} but {self.lines}")

    async def ends(self) -> int:
        async with asyncio.timeout(15):
            rest, _ = await self.process.communicate()
        self.lines += rest.decode().splitlines()
        return self.process.returncode or 0


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Program]:
    # A shell starts what runs in the background with SIGINT ignored, which would be inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", str(EXAMPLE), "--voice", "clips", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def call(recordings: Path) -> AsyncIterator[tuple[Program, RTPSession]]:
    """The example in a call with us."""
    theirs, ours = free_port_pair(), free_port_pair()
    addresses = ("--local", f"{LOOPBACK}:{theirs}", "--remote", f"{LOOPBACK}:{ours}")
    async with (
        RTPSession(local_addr=(LOOPBACK, ours), remote_addr=(LOOPBACK, theirs)) as caller,
        running(*addresses, "--recordings", str(recordings)) as program,
    ):
        yield program, caller


def pcm(frames: list[AudioFrame]) -> bytes:
    return b"".join(frame.data for frame in frames)


async def heard_speech(caller: RTPSession, ms: int = 500) -> bytes:
    """The next `ms` of what is audible."""
    frames = await listen(
        aiter(caller), lambda all_: sum(level(f.data) > 300 for f in all_) * 20 >= ms, 20
    )
    return pcm([frame for frame in frames if level(frame.data) > 300])


@pytest.mark.slow
async def test_the_caller_is_greeted_repeated_interrupts_and_hangs_up(tmp_path: Path) -> None:
    message = [chunk async for chunk in read_wav(CLIPS / "message.wav")]
    said = b"".join(chunk.data for chunk in message)[8000:24000]  # one second of it
    async with call(tmp_path) as (program, caller):
        gone: asyncio.Queue[Disconnected] = asyncio.Queue()
        caller.on_disconnected(gone.put_nowait)
        await program.says("call up: PCMU")
        await heard_speech(caller)

        # A message is recorded after the tone and played back.
        caller.send_dtmf("1")
        await program.says("DTMF: 1")
        pitch = 0.0
        async with asyncio.timeout(20):
            while not 990 < pitch < 1010:
                pitch = frequency(await heard_speech(caller, 100))
        await listen(aiter(caller), lambda frames: len(frames) == 15)
        await caller.play(message)
        await program.says("the caller spoke for")
        caller.send_dtmf("#")
        heard = await listen(
            aiter(caller),
            lambda frames: len(frames) % 25 == 0 and likeness(pcm(frames), said) > 0.9,
        )
        assert likeness(pcm(heard), said) > 0.9

        # The story is interrupted by a key.
        caller.send_dtmf("2")
        await program.says("DTMF: 2")
        await heard_speech(caller, 1000)
        caller.send_dtmf("0")
        await program.says("call over (left)")
        assert await program.ends() == 0
        async with asyncio.timeout(5):
            assert (await gone.get()).reason == "bye"
    [path] = tmp_path.glob("*.wav")
    assert f"recorded: {path}" in program.lines
    with wave.open(str(path)) as recording:
        assert recording.getnchannels() == 2
        assert recording.getnframes() / recording.getframerate() > 5


async def test_ctrl_c_hangs_up_with_a_bye(tmp_path: Path) -> None:
    async with call(tmp_path) as (program, caller):
        gone: asyncio.Queue[Disconnected] = asyncio.Queue()
        caller.on_disconnected(gone.put_nowait)
        await program.says("call up")
        await heard_speech(caller, 200)
        program.process.send_signal(signal.SIGINT)
        assert await program.ends() == 0
        assert "hung up" in program.lines
        async with asyncio.timeout(5):
            assert (await gone.get()).reason == "bye"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--remote", "nowhere"], "HOST:PORT fits"),
        (["--remote", "127.0.0.1:0"], "remote_addr: port 0"),
        (["--remote", "127.0.0.1:9", "--payload-type", "3"], "payload_type: 3"),
        (["--remote", "127.0.0.1:9", "--local", "192.0.2.1:10000"], "192.0.2.1:10000"),
    ],
)
async def test_wrong_arguments_are_told_in_one_line(arguments: list[str], complaint: str) -> None:
    async with running(*arguments) as program:
        assert await program.ends() == 2
    assert complaint in program.lines[-1]
    assert not any("Traceback" in line for line in program.lines)
