"""Echo calls on a `RTPVoiceBackend`: one Python callback per frame, which sends it back.

The published API and nothing else, so that the same program runs on any package that has it.

    echo_backend.py one|each    one backend for all calls, or one for each call

Reads one line with the callers' ports, prints one with its own, serves until its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ports import HOST, free_port_pair

from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk


async def main(backends: str) -> None:
    remotes = [int(word) for word in sys.stdin.readline().split()]
    ports: list[int] = []
    keep: list[RTPVoiceBackend] = []
    if backends == "one":
        keep.append(backend := echoing(RTPVoiceBackend(local_addr=(HOST, 0))))
        for number, remote in enumerate(remotes):
            session = await backend.connect(
                "room", f"caller {number}", "voice", metadata={"remote_addr": (HOST, remote)}
            )
            ports.append(session.metadata["local_addr"][1])
    else:
        for number, remote in enumerate(remotes):
            port = free_port_pair()
            backend = RTPVoiceBackend(local_addr=(HOST, port), remote_addr=(HOST, remote))
            keep.append(echoing(backend))
            await backend.connect("room", f"caller {number}", "voice")
            ports.append(port)
    print(*ports, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for backend in keep:
        await backend.close()


def echoing(backend: RTPVoiceBackend) -> RTPVoiceBackend:
    def echo(session: Any, frame: Any) -> None:
        backend.send_audio_sync(session, AudioChunk(data=frame.data, sample_rate=frame.sample_rate))

    backend.on_audio_received(echo)
    return backend


asyncio.run(main(sys.argv[1]))
