"""Calls that play while the program stalls.

    player.py core|stream|own SECONDS STALL_MS EVERY_MS [quiet]

`core`: each call hands its whole audio to `send_audio` and lets the library pace it. `stream`: its
audio comes from a source three times faster than speech, in chunks of 100 ms. `own`: the program
paces, frame by frame from the event loop, for a library that does not.

Reads one line with the listeners' ports, prints one when all calls are up, reads another, plays.
Meanwhile the event loop is blocked for STALL_MS of every EVERY_MS by Python code, and unless it is
to be quiet a thread of pure Python spins. Ends when all is played.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from ports import HOST, free_port_pair

from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk

RATE = 8000
FRAME = b"\x00\x10" * 160


async def main(pacing: str, seconds: int, stall_s: float, every_s: float, spins: bool) -> None:
    remotes = [int(word) for word in sys.stdin.readline().split()]
    calls: list[tuple[RTPVoiceBackend, Any]] = []
    for number, remote in enumerate(remotes):
        local = free_port_pair()
        backend = RTPVoiceBackend(local_addr=(HOST, local), remote_addr=(HOST, remote))
        calls.append((backend, await backend.connect("room", f"caller {number}", "voice")))
    print(flush=True)
    sys.stdin.readline()

    stop = threading.Event()
    spinner = threading.Thread(target=spin, args=(stop,))
    if spins:
        spinner.start()
    stalls = asyncio.create_task(stall(stall_s, every_s))
    play = {"core": play_by_core, "stream": play_a_stream, "own": play_by_program}[pacing]
    await asyncio.gather(*(play(backend, session, seconds) for backend, session in calls))
    stalls.cancel()
    stop.set()
    if spins:
        spinner.join()
    for backend, _ in calls:
        await backend.close()


async def play_by_core(backend: RTPVoiceBackend, session: Any, seconds: int) -> None:
    await backend.send_audio(session, FRAME * (50 * seconds))


async def play_a_stream(backend: RTPVoiceBackend, session: Any, seconds: int) -> None:
    async def source() -> AsyncIterator[AudioChunk]:
        for _ in range(10 * seconds):
            yield AudioChunk(data=5 * FRAME, sample_rate=RATE)
            await asyncio.sleep(0.1 / 3)

    await backend.send_audio(session, source())


async def play_by_program(backend: RTPVoiceBackend, session: Any, seconds: int) -> None:
    """On absolute deadlines, as good as a program in an event loop can do it."""
    begin = time.monotonic()
    for frame in range(50 * seconds):
        backend.send_audio_sync(session, AudioChunk(data=FRAME, sample_rate=RATE))
        await asyncio.sleep(begin + (frame + 1) * 0.02 - time.monotonic())


async def stall(stall_s: float, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s - stall_s)
        end = time.monotonic() + stall_s
        while time.monotonic() < end:
            pass


def spin(stop: threading.Event) -> None:
    turns = 0
    while not stop.is_set():
        turns += 1


pacing, seconds, stall_ms, every_ms, *quiet = sys.argv[1:]
asyncio.run(main(pacing, int(seconds), int(stall_ms) / 1000, int(every_ms) / 1000, not quiet))
