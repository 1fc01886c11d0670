"""Echo calls on bare `aiortp` sessions, as its README uses them: no framework around them.

Reads one line with the callers' ports, prints one with its own, serves until its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from aiortp import PayloadType, RTPSession  # type: ignore[import-not-found]
from ports import HOST, free_port_pair


async def main() -> None:
    remotes = [int(word) for word in sys.stdin.readline().split()]
    ports: list[int] = []
    sessions: list[Any] = []
    for remote in remotes:
        port = free_port_pair()
        session = await RTPSession.create(
            local_addr=(HOST, port),
            remote_addr=(HOST, remote),
            payload_type=PayloadType.PCMU,
        )
        session.on_audio = echo_of(session)
        sessions.append(session)
        ports.append(port)
    print(*ports, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for session in sessions:
        await session.close()


def echo_of(session: Any) -> Callable[[bytes, int], None]:
    def echo(pcm: bytes, timestamp: int) -> None:
        session.send_audio_pcm_auto(pcm)

    return echo


asyncio.run(main())
