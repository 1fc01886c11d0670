"""Memory that cannot be had is a `MemoryError`, and neither the process nor the call ends by it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, resource
from roomkit import _native
from roomkit.rtp import RTPSession
from roomkit.voice.base import AudioChunk

data = bytes(60 * 192_000 * 8 * 2)  # what a lead of a minute has room for
chunk = AudioChunk(data, 192_000, 8)

def used():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()

async def main():
    async with RTPSession(
        local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", 9), lead_ms=60_000
    ) as session:
        assert (await session.play(bytes(640))).played_ms == 40
        resource.setrlimit(resource.RLIMIT_AS, (used() + 64 * 2**20, resource.RLIM_INFINITY))
        try:
            await session.play(chunk)
        except MemoryError as error:
            print("play:", error)
        try:
            session.send(chunk)
        except MemoryError as error:
            print("send:", error)
        detector = _native.DTMFDetector(8000)
        try:
            detector.process(data)
        except MemoryError as error:
            print("detector:", error)
        resampler = _native.Resampler(8000, 48000)
        try:
            resampler.process(data)
        except MemoryError as error:
            print("resampler:", error)
        assert (await session.play(bytes(640))).played_ms == 40
        assert not session.closed
    print("closed")

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
async def test_what_memory_has_no_room_for_raises_and_the_call_goes_on() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, errors) == (0, b"")
    *refused, end = output.decode().splitlines()
    assert end == "closed"
    assert [line.partition(":")[0] for line in refused] == ["play", "send", "detector", "resampler"]
    for line in refused:
        assert "there is no memory for" in line
