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

__all__ = ["failed", "first_of", "received_codecs", "stop_on_signals"]


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


def received_codecs(codec: Codec) -> list[Codec]:
    """The codec that is sent, and what a far end may well send although it was told otherwise: both
    laws of G.711 under their static types."""
    from roomkit.rtp.codecs import PCMA, PCMU

    others: Iterable[Codec] = (PCMU, PCMA)
    return [codec, *(other for other in others if other.payload_type != codec.payload_type)]


def failed(message: object) -> int:
    """Says on stderr why a command could not do its work; the exit code of that."""
    print(f"roomkit: {message}", file=sys.stderr)
    return 1
