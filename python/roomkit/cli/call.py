"""`roomkit call`: the far side, for trying a peer. Plays, dials and records, in the order given."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

from roomkit.cli.figures import figures, summary
from roomkit.cli.journal import Journal
from roomkit.cli.running import codec_options, failed, first_of, stop_on_signals
from roomkit.cli.tape import Tape
from roomkit.cli.view import Meter, View, open_view
from roomkit.rtp import RTPSession
from roomkit.voice.base import AudioChunk

if TYPE_CHECKING:
    from roomkit.cli.wav import Audio
    from roomkit.rtp.events import Disconnected
    from roomkit.voice.events import DTMFEvent

__all__ = ["run"]

_KEY_GAP = 0.1
"""Seconds between the last digit and speech: a menu that is told to speak should have stopped."""


def run(options: argparse.Namespace) -> int:
    """Makes the call. The exit code: 0, or 1 when it could not be made or nothing came back. Where
    only digits were sent, and so no audio need come, a report that they arrive is enough."""
    try:
        return asyncio.run(_call(options))
    except (OSError, ValueError) as error:
        return failed(error)


async def _call(options: argparse.Namespace) -> int:
    journal, tape = Journal("call"), Tape(options.record)
    local = options.local or ("::" if ":" in options.remote[0] else "0.0.0.0", 0)
    session = RTPSession(
        local_addr=local,
        remote_addr=options.remote,
        **codec_options(options.codec, options.preset),
        rtcp_interval=options.rtcp_interval,
    )
    meter = Meter("heard")
    gone = asyncio.Event()

    def on_dtmf(event: DTMFEvent) -> None:
        journal.note("key", f"heard key {event.digit} ({event.duration_ms:.0f} ms)")

    def on_disconnected(event: Disconnected) -> None:
        detail = f": {event.detail}" if event.detail else ""
        journal.note("bye", f"the far end has gone ({event.reason}{detail})")
        gone.set()

    def refresh() -> None:
        meter.level_db, meter.levels = tape.level_db, tuple(tape.levels)
        meter.figures = figures(session.stats())

    session.on_frame(tape.add)
    session.on_dtmf(on_dtmf)
    session.on_disconnected(on_disconnected)
    with stop_on_signals() as stop:
        async with session:
            host, port = session.local_addr
            title = (
                f"roomkit call: {host}:{port} to {options.remote[0]}:{options.remote[1]},"
                f" {session.codec.rtpmap}"
            )
            began = time.monotonic()
            script = asyncio.ensure_future(_perform(session, options.script, journal))
            try:
                with open_view(View(title, journal, [meter], refresh=refresh), plain=options.plain):
                    async with asyncio.timeout(options.seconds):
                        await first_of(stop.wait(), gone.wait(), _failure_of(script))
            except TimeoutError:
                pass
            finally:
                script.cancel()
                await asyncio.gather(script, return_exceptions=True)
                tape.close()
            stats = session.stats()
    print(f"call of {time.monotonic() - began:.1f} s ended with a BYE: {summary(stats)}")
    if tape.seconds and options.record:
        print(f"recorded {tape.seconds:.1f} s in {options.record}")
    if stats.packets_received:
        return 0
    kinds = {kind for kind, _ in options.script}
    only_digits = "dtmf" in kinds and "play" not in kinds and not options.record
    if only_digits and stats.remote_lost is not None:
        print("no audio came back, and none was sent; the far end reports that it receives us")
        return 0
    text = (
        f"nothing came back from {options.remote[0]}:{options.remote[1]}:"
        f" does it send to {host}:{port}, and is no firewall between?"
    )
    if stats.rtcp_received:
        text += " Its RTCP reports did come."
    elif only_digits:
        text += (
            " Only digits were sent: what repeats audio alone has nothing to repeat, and no RTCP"
            " report came either. --play sends sound; a longer call hears of more reports."
        )
    return failed(text)


async def _failure_of(script: asyncio.Task[None]) -> None:
    """Ends only if the script fails: after it, the call goes on listening."""
    await asyncio.shield(script)
    await asyncio.Event().wait()


async def _perform(session: RTPSession, script: list[tuple[str, object]], journal: Journal) -> None:
    for kind, value in script:
        match kind:
            case "play":
                await _play(session, value, journal)  # type: ignore[arg-type]
            case "dtmf":
                await _dial(session, str(value), journal)
            case _:
                await asyncio.sleep(float(str(value)))


async def _play(session: RTPSession, audio: Audio, journal: Journal) -> None:
    journal.note("says", f"plays {audio.seconds:.1f} s of sound")
    await session.play(AudioChunk(audio.pcm(), audio.sample_rate, audio.channels))
    journal.note("said", "has played it")


async def _dial(session: RTPSession, digits: str, journal: Journal) -> None:
    session.send_dtmf(digits)
    # Speech that follows waits until the last key is up, as it does on a telephone.
    await session.wait_dtmf()
    journal.note("key", f"dialled {digits}")
    await asyncio.sleep(_KEY_GAP)
