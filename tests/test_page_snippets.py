"""The published page, executed: its snippets verbatim, its defaults to the letter."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import roomkit.voice.backends
import roomkit.voice.backends.rtp
from roomkit import HookExecution, HookTrigger, RoomKit, VoiceChannel
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.leaks import no_leaks
from rtp.sound import tone
from rtp.wire import Peer

__all__ = ["no_leaks"]

QUICK_START = """
from roomkit.voice.backends.rtp import RTPVoiceBackend

backend = RTPVoiceBackend(
    local_addr=("0.0.0.0", 10000),
    remote_addr=("192.168.1.100", 20000),
)
"""

DTMF = """
@kit.hook(HookTrigger.ON_DTMF, execution=HookExecution.ASYNC)
async def on_dtmf(event, ctx):
    print(f"DTMF: {event.digit}")
"""

SIGNATURE = (
    "(*, local_addr=('0.0.0.0', 0), remote_addr=None, payload_type=0, clock_rate=8000,"
    " dtmf_payload_type=101, rtcp_interval=5.0"
)


def test_the_quick_start_makes_a_backend() -> None:
    names: dict[str, Any] = {}
    exec(QUICK_START, names)
    assert isinstance(names["backend"], RTPVoiceBackend)
    assert isinstance(names["backend"], VoiceBackend)
    assert names["backend"].options.local_addr == ("0.0.0.0", 10000)
    assert names["backend"].options.remote_addr == ("192.168.1.100", 20000)


def test_the_six_parameters_have_the_page_s_names_order_and_defaults() -> None:
    signature = inspect.signature(RTPVoiceBackend)
    bare = signature.replace(
        parameters=[
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in signature.parameters.values()
        ],
        return_annotation=inspect.Signature.empty,
    )
    assert str(bare).startswith(SIGNATURE)
    kinds = {p.kind for p in signature.parameters.values() if p.name != "extra"}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_the_methods_have_the_page_s_signatures() -> None:
    transcription = inspect.signature(RTPVoiceBackend.send_transcription)
    assert list(transcription.parameters) == ["self", "session", "text", "role"]
    assert transcription.parameters["role"].default == "user"
    assert inspect.iscoroutinefunction(RTPVoiceBackend.send_transcription)
    assert list(inspect.signature(RTPVoiceBackend.on_dtmf_received).parameters) == [
        "self",
        "callback",
    ]


def test_the_backend_is_also_in_the_package_of_backends() -> None:
    assert roomkit.voice.backends.RTPVoiceBackend is RTPVoiceBackend


async def test_the_dtmf_hook_prints_the_digit_of_a_real_call() -> None:
    printed: asyncio.Queue[str] = asyncio.Queue()
    kit = RoomKit()
    names = {"kit": kit, "HookTrigger": HookTrigger, "HookExecution": HookExecution}
    exec(DTMF, {**names, "print": printed.put_nowait})
    with Peer() as peer:
        backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)
        kit.register_channel(VoiceChannel("voice", backend=backend))
        await kit.create_room(room_id="call")
        await kit.attach_channel("call", "voice")
        session = await kit.join("call", "voice")
        peer.greet(session.metadata["local_addr"])
        for event in (7, 7, 11):
            peer.digit(session.metadata["local_addr"], event)
        async with asyncio.timeout(10):
            assert [await printed.get() for _ in range(3)] == ["DTMF: 7", "DTMF: 7", "DTMF: #"]
        await kit.close()


async def test_the_remote_address_can_be_told_per_session() -> None:
    backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0))
    with Peer() as peer:
        host, port = peer.addr
        session = await backend.connect(
            "room", "caller", "voice", metadata={"remote_addr": (host, port)}
        )
        await backend.send_audio(session, tone(440, 60))
        await peer.until(lambda: len(peer.packets) == 3)
        await backend.close()
