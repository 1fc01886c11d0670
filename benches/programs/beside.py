"""Calls that play beside one whose port is flooded with the worst there is.

    beside.py plain|keyed

On the first core. Reads one line with the peers' ports, the last one that of the flooded call;
prints one with that call's ports and the SSRC of a source that it knows, and plays until its
standard input ends. Then prints what the flooded call counted, as JSON, and how the media thread
was scheduled.

`keyed`: the flooded call has had 16 keys in a moment, and hears somebody under the first of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from ports import HOST

from roomkit.rtp import SRTP, RTPSession, SRTPKey

SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
PLAYED = b"\x00\x10" * 160 * 50


async def main(keyed: bool) -> None:
    os.sched_setaffinity(0, {0})
    *remotes, flooder = (int(word) for word in sys.stdin.readline().split())
    async with AsyncExitStack() as opened:

        async def session(remote: int, srtp: SRTP | None = None) -> RTPSession:
            # Where this program is late with the next piece, silence leaves: what is measured is
            # the media thread.
            made = RTPSession(
                local_addr=(HOST, 0), remote_addr=(HOST, remote), srtp=srtp, fill="silence"
            )
            return await opened.enter_async_context(made)

        calls = [await session(remote) for remote in remotes]
        ours, theirs = SRTPKey.generate(SUITE), SRTPKey.generate(SUITE)
        keys = SRTP(send_key=ours, receive_key=theirs) if keyed else None
        flooded = await session(flooder, keys)
        ssrc = 0x1234
        if keyed:
            known = await session(flooded.local_addr[1], SRTP(send_key=theirs, receive_key=ours))
            calls.append(known)
            ssrc = known.ssrc
        heard = asyncio.Event()
        flooded.on_frame(lambda frame: heard.set() if frame.kind == "received" else None)
        playing = [asyncio.create_task(play(call)) for call in calls]
        if keyed:
            await heard.wait()
            for _ in range(15):
                other = SRTPKey.generate(SUITE)
                await flooded.rekey(SRTP(send_key=ours, receive_key=other))
        assert flooded.rtcp_addr is not None
        print(flooded.local_addr[1], flooded.rtcp_addr[1], ssrc, flush=True)
        before = time.process_time()
        await asyncio.to_thread(sys.stdin.read)
        cpu_s = time.process_time() - before
        counts = {name: value for name, value in flooded.stats().items() if value}
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
        print(json.dumps({"cpu_s": cpu_s, "realtime": realtime(), "flooded": counts}), flush=True)


async def play(call: RTPSession) -> None:
    while True:
        await call.play(PLAYED)


def realtime() -> bool:
    """Whether a thread of this process is scheduled in real time."""
    tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    return any(os.sched_getscheduler(task) in (os.SCHED_FIFO, os.SCHED_RR) for task in tasks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] == "keyed"))
