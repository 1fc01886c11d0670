"""How much memory calls take.

    footprint.py idle|echo COUNT

Reads one line with the callers' ports (`idle` needs but one), prints one with its resident set
before the sessions, in KiB, and their ports; then, for each line read, its resident set.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any

from ports import HOST

from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk


async def main(mode: str, count: int) -> None:
    remotes = [int(word) for word in sys.stdin.readline().split()]
    backend = RTPVoiceBackend(local_addr=(HOST, 0))
    if mode == "echo":

        def echo(session: Any, frame: Any) -> None:
            chunk = AudioChunk(data=frame.data, sample_rate=frame.sample_rate)
            backend.send_audio_sync(session, chunk)

        backend.on_audio_received(echo)
    # What the first call brings with it for all (threads, tables) is not a session's.
    first = await connect(backend, remotes[0])
    await backend.disconnect(first)
    base = resident_kib()
    sessions = [await connect(backend, remotes[n % len(remotes)]) for n in range(count)]
    print(base, *(session.metadata["local_addr"][1] for session in sessions), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(resident_kib(), flush=True)
    await backend.close()


async def connect(backend: RTPVoiceBackend, remote: int) -> Any:
    return await backend.connect(
        "room", "caller", "voice", metadata={"remote_addr": (HOST, remote)}
    )


def resident_kib() -> int:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmRSS")


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
