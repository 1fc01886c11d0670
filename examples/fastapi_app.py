"""Calls over HTTP: a web service that places calls, tells of them, hangs them up, and lets those
that are up come to their end when it is told to stop (SIGTERM).

    pip install 'roomkit[examples]'
    python examples/fastapi_app.py

    curl -X POST localhost:8000/calls -H 'content-type: application/json' \
         -d '{"remote": "192.0.2.10:20000"}'
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from roomkit import AudioPipelineConfig, Call, RoomKit, RTPVoiceBackend, VoiceChannel
from roomkit.errors import KitClosedError
from roomkit.voice.tts import EspeakTTS
from roomkit.voice.vad import EnergyVAD

DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "600"))
"""How long calls that are up may go on when the service is told to stop."""


class NewCall(BaseModel):
    """What a call is asked for with."""

    remote: str = Field(pattern=r"^[^:\s]+:\d{1,5}$", examples=["192.0.2.10:20000"])


async def reminder(call: Call) -> None:
    """What is said to whoever is called."""
    text = "Your appointment is tomorrow at nine. Press one to confirm, two to hear it again."
    for _ in range(3):
        match await call.key(10, prompt=text):
            case "1":
                call.metadata["confirmed"] = True
                await call.say("Thank you. Goodbye.")
                return
            case None:
                break


def rtp_phone() -> VoiceChannel:
    backend = RTPVoiceBackend(local_addr=("0.0.0.0", 0))
    pipeline = AudioPipelineConfig(vad=EnergyVAD())
    return VoiceChannel("phone", backend=backend, tts=EspeakTTS(), pipeline=pipeline)


def make_app(phone: Callable[[], VoiceChannel] = rtp_phone) -> FastAPI:
    """The service. `phone` makes its channel, when it starts."""
    kit = RoomKit()
    calls: dict[str, Call] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with kit:
            kit.register_channel(phone())
            kit.answer(reminder, fallback="Something went wrong. We will call again.")
            room = await kit.create_room("calls")
            await kit.attach_channel(room.id, "phone")
            yield
            # uvicorn is here when SIGTERM or Ctrl-C came: no new requests, and no new calls.
            await kit.drain(DRAIN_SECONDS)

    app = FastAPI(title="Calls", lifespan=lifespan)

    @app.post("/calls", status_code=201)
    async def place(new: NewCall) -> dict[str, Any]:
        host, _, port = new.remote.rpartition(":")
        try:
            remote = {"remote_addr": (host, int(port))}
            session = await kit.join("calls", "phone", metadata=remote)
        except KitClosedError:
            raise HTTPException(503, "the service is being stopped") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        calls[session.id] = call = kit.call(session)
        return describe(call)

    @app.get("/calls")
    async def list_calls() -> list[dict[str, Any]]:
        return [describe(call) for call in calls.values()]

    @app.get("/calls/{call_id}")
    async def show(call_id: str) -> dict[str, Any]:
        return describe(found(call_id))

    @app.delete("/calls/{call_id}")
    async def hang_up(call_id: str) -> dict[str, Any]:
        call = found(call_id)
        await call.hang_up("hung up over HTTP")
        return describe(call)

    def found(call_id: str) -> Call:
        if call_id not in calls:
            raise HTTPException(404, "there is no such call")
        return calls[call_id]

    return app


def describe(call: Call) -> dict[str, Any]:
    return {
        "id": call.session.id,
        "state": str(call.session.state),
        "over": call.over,
        "reason": call.reason,
        "confirmed": bool(call.metadata.get("confirmed")),
    }


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
