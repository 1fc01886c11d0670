"""`roomkit serve`: answers a PBX, a gateway or a softphone with an application."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from roomkit import RoomKit, VoiceChannel
from roomkit._calls.apps import run_app
from roomkit.cli.figures import figures, summary
from roomkit.cli.journal import Journal
from roomkit.cli.noted import NotedCall
from roomkit.cli.running import codec_options, failed, first_of, stop_on_signals
from roomkit.cli.tape import Tape
from roomkit.cli.view import Meter, View, open_view
from roomkit.errors import ProviderUnavailableError
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.pipeline import AudioPipelineConfig
from roomkit.voice.tts import EspeakTTS, FliteTTS, TTSProvider
from roomkit.voice.vad import EnergyVAD

__all__ = ["answer", "run"]


def run(options: argparse.Namespace) -> int:
    """Answers one call. The exit code: 0, or 1 when it could not be answered or nobody came."""
    try:
        return asyncio.run(_serve(options))
    except (OSError, ValueError) as error:
        return failed(error)


@asynccontextmanager
async def answer(
    journal: Journal,
    tape: Tape,
    backend_options: Mapping[str, Any],
    tts: TTSProvider | None = None,
) -> AsyncIterator[NotedCall]:
    """A call on a `RoomKit` with an RTP backend and a voice channel: what an application of one's
    own builds too. At the end the far end gets a BYE. `backend_options` are `RTPVoiceBackend`'s."""
    kit = RoomKit()
    backend = RTPVoiceBackend(**backend_options)
    channel = VoiceChannel(
        "phone", backend=backend, tts=tts, pipeline=AudioPipelineConfig(vad=EnergyVAD())
    )
    kit.register_channel(channel)
    try:
        room = await kit.create_room()
        await kit.attach_channel(room.id, "phone")
        session = await kit.join(room.id, "phone", participant_id="caller")
        call = NotedCall(kit, channel, session, journal=journal)
        call.on_frame(tape.add)
        yield call
        await call.hang_up()
    finally:
        await kit.close()
        tape.close()


async def _serve(options: argparse.Namespace) -> int:
    journal, tape = Journal("application"), Tape(options.record)
    meter = Meter("heard")
    backend_options = {
        "local_addr": options.local,
        "remote_addr": options.remote,
        **codec_options(options.codec, options.preset),
        "rtcp_interval": options.rtcp_interval,
        "source_policy": "host" if options.remote else "learn",
    }
    began = time.monotonic()
    with stop_on_signals() as stop:
        async with answer(journal, tape, backend_options, _voice()) as call:
            host, port = call.session.metadata["local_addr"]
            remote = "{}:{}".format(*options.remote) if options.remote else "whoever calls"
            name = getattr(options.app, "__name__", "application")
            title = f"roomkit serve: {name} on {host}:{port} for {remote}, {options.codec.rtpmap}"

            def refresh() -> None:
                meter.level_db, meter.levels = tape.level_db, tuple(tape.levels)
                meter.figures = figures(call.backend.stats(call.session))

            view = View(title, journal, [meter], refresh=refresh)
            with open_view(view, plain=options.plain):
                running = asyncio.ensure_future(run_app(call, options.app))
                await first_of(stop.wait(), running)
                error = None if running.cancelled() else running.result()
                if error is not None:
                    journal.note("warning", f"the application failed: {error!r}")
            stats = call.backend.stats(call.session)
    print(f"call of {time.monotonic() - began:.1f} s ended with a BYE: {summary(stats)}")
    if tape.seconds and options.record:
        print(f"recorded {tape.seconds:.1f} s in {options.record}")
    if error is not None:
        return failed(f"the application failed: {error!r}")
    if stats["packets_received"] == 0:
        return failed(f"nobody came: nothing valid was received on {host}:{port}")
    return 0


def _voice() -> TTSProvider | None:
    """What an application says `Call.say` with, if this machine has a voice."""
    for make in (EspeakTTS, FliteTTS):
        try:
            return make()
        except ProviderUnavailableError:
            continue
    return None
