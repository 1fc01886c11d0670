"""Runs an application for a call: `async def app(call: Call)`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from roomkit._faults import log_fault
from roomkit.errors import SessionError

if TYPE_CHECKING:
    from roomkit.call import Call
    from roomkit.voice.base import AudioChunk

    Fallback = str | PathLike[str] | AudioChunk

__all__ = ["App", "run_app"]

_log = logging.getLogger("roomkit.call")

App = Callable[["Call"], Awaitable[object]]

_FALLBACK_SECONDS: Final = 30.0
"""Nobody listens to an apology for longer, and a voice that hangs must not keep the line."""
_LIMIT_SECONDS: Final = 5.0
"""For each thing of users and providers that is waited for when all is over."""


async def run_app(
    call: Call, app: App, *, fallback: Fallback | None = None, limit: float = _LIMIT_SECONDS
) -> Exception | None:
    """Runs `app(call)` and ends the call with it. Returns what the application raised, or None.

    - It returns: the call is hung up, with the reason `"left"`.
    - It raises: that is logged and told by ON_ERROR, `fallback` (a text to say, a WAV file's path,
      audio) is played, and the call is hung up with the reason `"app_failed"`.
    - The call ends: what the application waits for in `call` ends by that. If it still runs after
      `CallOptions.linger_ms` it is cancelled, and if that does not end it in `limit` seconds, it is
      abandoned and that is logged.

    Cancelled, it cancels the application in the same way and hangs up.
    """
    name = _name_of(app)
    task = asyncio.ensure_future(_run(app, call))
    over = asyncio.ensure_future(call.ended())
    error: Exception | None = None
    try:
        try:
            await asyncio.wait((task, over), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait((task,), timeout=call.options.linger_ms / 1000)
        finally:
            over.cancel()
            if not task.done():
                await _stop(task, call, name, limit)
        error = _outcome(call, task)
        if error is not None:
            _log.error(
                "session %s: application %s failed: %r",
                call.session.id,
                name,
                error,
                exc_info=error,
            )
            call.kit.hooks.report(call.session, f"application {name}", error)
            await _fall_back(call, fallback)
        return error
    finally:
        await _hang_up(call, "left" if error is None else "app_failed", limit)
        await call.settle(limit)


async def _run(app: App, call: Call) -> None:
    await app(call)


def _outcome(call: Call, task: asyncio.Task[None]) -> Exception | None:
    """What the application raised; that its call is over is no fault of it."""
    if not task.done() or task.cancelled():
        return None
    error = task.exception()
    if isinstance(error, SessionError) and error.session_id == call.session.id and call.over:
        return None
    if error is not None and not isinstance(error, Exception):
        raise error  # KeyboardInterrupt and its like are for whoever runs us
    return error


async def _stop(task: asyncio.Task[None], call: Call, name: str, limit: float) -> None:
    task.cancel()
    await asyncio.wait((task,), timeout=limit)
    if not task.done():
        _log.error(
            "session %s: application %s does not end when it is cancelled; it is left to itself"
            " after %g s",
            call.session.id,
            name,
            limit,
        )
        task.add_done_callback(_forget)


async def _fall_back(call: Call, fallback: Fallback | None) -> None:
    """Says that something went wrong, to whoever is still there."""
    if call.over:
        return
    try:
        async with asyncio.timeout(_FALLBACK_SECONDS):
            # What the application left playing would come first.
            await call.channel.interrupt(call.session)
            if isinstance(fallback, str):
                await call.say(fallback, interruptible=False)
            elif fallback is not None:
                await call.play(fallback, interruptible=False)
    except SessionError:
        pass  # he has hung up
    except Exception as error:  # noqa: BLE001 (whatever a voice raises, the call is hung up)
        log_fault(_log, error, "session %s: the fallback could not be played", call.session.id)


async def _hang_up(call: Call, reason: str, limit: float) -> None:
    try:
        async with asyncio.timeout(limit):
            await call.hang_up(reason)
    except Exception as error:  # noqa: BLE001 (it is over nevertheless)
        log_fault(_log, error, "session %s did not end cleanly", call.session.id)


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _name_of(app: App) -> str:
    return getattr(app, "__qualname__", None) or type(app).__name__
