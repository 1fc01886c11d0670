"""Calls that play and listen while strangers flood their ports.

    flooded.py alone|shared

Reads one line with the peers' ports, prints one with its own; plays, and judges what it hears,
until its standard input ends. Then prints the verdict on each call as JSON.

What the peers speak is known (`loadgen`'s `flood.rs`): packet n is 160 times the octet n % 200. So
every frame must be one value throughout, and the next frame the next one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from ports import HOST, free_port_pair

from roomkit.cli.g711 import decode
from roomkit.rtp import RTPSession
from roomkit.voice.frame import AudioFrame

VALUES = {decode("PCMU", bytes([n]) * 160).tobytes(): n for n in range(200)}
PLAYED = b"\x00\x10" * 160 * 50


class Verdict:
    """On what one call hears."""

    def __init__(self) -> None:
        self.frames = self.wrong = self.concealed = 0
        self.expected: int | None = None

    def hear(self, frame: AudioFrame) -> None:
        self.frames += 1
        self.concealed += frame.kind == "concealed"
        if frame.kind == "silence" and self.expected is None:
            return
        value = VALUES.get(frame.data)
        if frame.kind == "received" and value != self.expected and self.expected is not None:
            self.wrong += 1
        if value is not None:
            self.expected = (value + 1) % 200


async def main(shared: bool) -> None:
    remotes = [int(word) for word in sys.stdin.readline().split()]
    port = free_port_pair() if shared else 0
    verdicts = [Verdict() for _ in remotes]
    async with AsyncExitStack() as opened:
        sessions = []
        for remote, verdict in zip(remotes, verdicts, strict=True):
            session = RTPSession(local_addr=(HOST, port), remote_addr=(HOST, remote), shared=shared)
            sessions.append(await opened.enter_async_context(session))
            session.on_frame(verdict.hear)
        print(*(session.local_addr[1] for session in sessions), flush=True)
        playing = [asyncio.create_task(play(session)) for session in sessions]
        before = time.process_time()
        await asyncio.to_thread(sys.stdin.read)
        cpu_s = time.process_time() - before
        rows: list[dict[str, Any]] = [
            {**vars(verdict), **session.stats()}
            for verdict, session in zip(verdicts, sessions, strict=True)
        ]
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
    print(json.dumps({"cpu_s": cpu_s, "calls": rows}), flush=True)


async def play(session: RTPSession) -> None:
    while True:
        await session.play(PLAYED)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] == "shared"))
