"""The web service among the examples, as a process of its own: it is asked for calls over HTTP, and
told to stop while one is up."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from roomkit.rtp import Disconnected, RTPSession
from rtp.leaks import no_leaks
from rtp.sound import level, listen
from rtp.wire import free_port_pair

pytest.importorskip("fastapi", reason="pip install 'roomkit[examples]' brings it")
pytest.importorskip("uvicorn", reason="pip install 'roomkit[examples]' brings it")
httpx = pytest.importorskip("httpx", reason="pip install 'roomkit[examples]' brings it")

__all__ = ["no_leaks"]

EXAMPLES = Path(__file__).parents[1] / "examples"
LOOPBACK = "127.0.0.1"

# The example with a voice that every machine has.
SERVICE = """
import sys, uvicorn
sys.path.insert(0, {examples!r})
from fastapi_app import make_app
from roomkit import AudioPipelineConfig, RTPVoiceBackend, VoiceChannel
from roomkit.testing import FakeTTS
from roomkit.voice.vad import EnergyVAD

def phone():
    return VoiceChannel(
        "phone", backend=RTPVoiceBackend(local_addr=("127.0.0.1", 0)), tts=FakeTTS(),
        pipeline=AudioPipelineConfig(vad=EnergyVAD()),
    )

uvicorn.run(make_app(phone), host="127.0.0.1", port={port}, log_level="info")
"""


@asynccontextmanager
async def service() -> AsyncIterator[tuple[Any, asyncio.subprocess.Process]]:
    """The service, and somebody who asks it."""
    port = free_port_pair()
    program = SERVICE.format(examples=str(EXAMPLES), port=port)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", program), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"running on" not in (line := await process.stderr.readline()):
                assert line, "it ended before it began"
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}") as client:
            yield client, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def callee() -> AsyncIterator[tuple[RTPSession, str, asyncio.Queue[Disconnected]]]:
    """Who is called: his end, his address, and when he is hung up on."""
    async with RTPSession(local_addr=(LOOPBACK, 0), source_policy="learn") as phone:
        gone: asyncio.Queue[Disconnected] = asyncio.Queue()
        phone.on_disconnected(gone.put_nowait)
        host, port = phone.local_addr
        yield phone, f"{host}:{port}", gone


async def heard_speech(phone: RTPSession, ms: int) -> None:
    await listen(
        aiter(phone), lambda frames: sum(level(f.data) > 300 for f in frames) * 20 >= ms, 20
    )


async def test_calls_are_placed_shown_and_hung_up_over_http() -> None:
    async with service() as (client, process), callee() as (phone, address, gone):
        assert (await client.get("/calls")).json() == []
        assert (await client.get("/calls/none")).status_code == 404
        for wrong in ({}, {"remote": "nowhere"}, {"remote": "127.0.0.1:0"}):
            assert (await client.post("/calls", json=wrong)).status_code == 422, wrong
        placed = await client.post("/calls", json={"remote": address})
        assert placed.status_code == 201
        call = placed.json()
        assert (call["state"], call["over"]) == ("active", False)
        await heard_speech(phone, 300)
        shown = await client.delete(f"/calls/{call['id']}")
        assert (shown.json()["over"], shown.json()["reason"]) == (True, "hung up over HTTP")
        async with asyncio.timeout(5):
            assert (await gone.get()).reason == "bye"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() in (0, -signal.SIGTERM)


async def test_a_call_that_is_up_comes_to_its_end_when_the_service_is_told_to_stop() -> None:
    async with service() as (client, process), callee() as (phone, address, gone):
        await client.post("/calls", json={"remote": address})
        await heard_speech(phone, 300)
        process.send_signal(signal.SIGTERM)
        await heard_speech(phone, 600)  # it goes on
        with pytest.raises(httpx.TransportError):
            await client.post("/calls", json={"remote": address})
        assert process.returncode is None
        phone.send_dtmf("1")
        async with asyncio.timeout(20):
            assert (await gone.get()).reason == "bye"
            # uvicorn raises the signal again when it is through.
            assert await process.wait() in (0, -signal.SIGTERM)
