"""What the commands share while a call runs: ending on Ctrl-C, and the codecs of a session."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit.rtp.codecs import Codec

__all__ = ["codec_options", "failed", "first_of", "stop_on_signals"]


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a call ends in order; a second one ends the
    program at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    names = [signal.SIGINT, signal.SIGTERM]
    before = {name: signal.getsignal(name) for name in names}

    def restore() -> None:
        for name, handler in before.items():
            signal.signal(name, handler if handler is not None else signal.SIG_DFL)

    def handle(number: int, frame: object) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    # signal.signal and not the loop's add_signal_handler, which Windows does not have.
    for name in names:
        signal.signal(name, handle)
    try:
        yield stop
    finally:
        restore()


async def first_of(*things: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> None:
    """Waits until one of them is done, then cancels the others; what it raised is raised."""
    tasks = [asyncio.ensure_future(thing) for thing in things]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def codec_options(codec: Codec, preset: str | None) -> dict[str, Any]:
    """The options of a session that sends this codec. It also understands what a far end may well
    send although it was told otherwise: both laws of G.711 under their static types. With a preset,
    its numbers hold."""
    if preset is None:
        from roomkit.rtp.codecs import PCMA, PCMU

        others: Iterable[Codec] = (PCMU, PCMA)
        same = codec.payload_type
        return {"codecs": [codec, *(other for other in others if other.payload_type != same)]}
    from roomkit.rtp.presets import PRESETS

    codecs = PRESETS[preset].options["codecs"]
    of_preset = [other for other in codecs if other.rtpmap == codec.rtpmap]
    if not of_preset:
        names = ", ".join(other.rtpmap for other in codecs)
        raise ValueError(f"--codec {codec.rtpmap}: the preset {preset} has {names}")
    return {"preset": preset, "payload_type": of_preset[0].payload_type}


def failed(message: object) -> int:
    """Says on stderr why a command could not do its work; the exit code of that."""
    print(f"roomkit: {message}", file=sys.stderr)
    return 1
