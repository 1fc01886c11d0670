"""Playbacks that are interrupted.

    interrupted.py moments COUNT    each call, COUNT times: play, interrupt at a random moment
    interrupted.py amounts COUNT    COUNT times per amount of audio that waits: what it costs

Reads one line with the listeners' ports, prints the result as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from ports import HOST

from roomkit.voice.backends.rtp import RTPVoiceBackend

SECOND = b"\x00\x10" * 8000
SILENCE_S = 0.06
AMOUNTS_S = (0.1, 1, 60, 600)
# How much of it waits in the core: the default, and as much as can be asked for.
LEADS_MS = (1000, 60_000)


async def main(mode: str, count: int) -> None:
    remotes = [int(word) for word in sys.stdin.readline().split()]
    result: Any
    if mode == "moments":
        backend = RTPVoiceBackend(local_addr=(HOST, 0))
        sessions = [await connect(backend, remote) for remote in remotes]
        result = await asyncio.gather(*(moments(backend, session, count) for session in sessions))
        await backend.close()
    else:
        result = []
        for lead_ms in LEADS_MS:
            backend = RTPVoiceBackend(local_addr=(HOST, 0), lead_ms=lead_ms)
            result += await amounts(backend, await connect(backend, remotes[0]), lead_ms, count)
            await backend.close()
    print(json.dumps(result), flush=True)


async def connect(backend: RTPVoiceBackend, remote: int) -> Any:
    return await backend.connect(
        "room", "caller", "voice", metadata={"remote_addr": (HOST, remote)}
    )


async def moments(backend: RTPVoiceBackend, session: Any, count: int) -> list[dict[str, float]]:
    """When each playback began, was interrupted, and was interrupted for sure (CLOCK_MONOTONIC)."""
    rows = []
    for _ in range(count):
        began = time.monotonic()
        playing = asyncio.create_task(backend.send_audio(session, 10 * SECOND))
        await asyncio.sleep(random.uniform(0.1, 0.14))
        called = time.monotonic()
        found = await backend.cancel_audio(session)
        returned = time.monotonic()
        await playing
        rows.append({"began": began, "called": called, "returned": returned, "found": found})
        await asyncio.sleep(SILENCE_S)
    return rows


async def amounts(
    backend: RTPVoiceBackend, session: Any, lead_ms: int, count: int
) -> list[dict[str, float]]:
    """Time and CPU of `cancel_audio` with different amounts waiting, in turn."""
    audio = {seconds: bytes(SECOND * 600)[: int(seconds * 16000)] for seconds in AMOUNTS_S}
    rows = []
    for _ in range(count):
        for seconds, pcm in audio.items():
            playing = asyncio.create_task(backend.send_audio(session, pcm))
            await asyncio.sleep(0.04)
            cpu, called = time.process_time(), time.perf_counter()
            found = await backend.cancel_audio(session)
            returned = time.perf_counter()
            await playing
            over, cpu_over = time.perf_counter(), time.process_time()
            rows.append(
                {
                    "seconds": seconds,
                    "lead_ms": lead_ms,
                    "found": found,
                    "cancel_us": (returned - called) * 1e6,
                    "over_ms": (over - called) * 1e3,
                    "cpu_us": (cpu_over - cpu) * 1e6,
                }
            )
            await asyncio.sleep(SILENCE_S)
    return rows


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
