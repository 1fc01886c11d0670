"""The functions that a program registers: whether they are what fits, and for which sessions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit.voice.base import VoiceSession

__all__ = ["check_async", "ids_of", "is_async", "wants"]


def is_async(function: object) -> bool:
    """True for async functions and methods, partials of them, and objects with an async call."""
    function = _unwrapped(function)
    # Of the type: a class whose objects have an async call makes one, and awaits nothing.
    call = getattr(type(function), "__call__", None)  # noqa: B004 (the method itself)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def check_async(what: str, function: Any, *arguments: str) -> None:
    """Raises `TypeError` unless `function` is async and takes these arguments."""
    takes = f"({', '.join(arguments)})"
    if not callable(function):
        raise TypeError(f"{what}: {function!r} is not callable; an async function {takes} fits")
    inner = _unwrapped(function)
    name = getattr(inner, "__qualname__", repr(inner))
    if not is_async(function):
        raise TypeError(f"{what}: {name} is not async; `async def {name}{takes}` fits")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{what}: {name} must take {takes}: {error}") from None


def ids_of(argument: str, ids: Collection[str] | None) -> frozenset[str] | None:
    """The filter `argument`, as it is kept. Raises `ValueError` for an id alone."""
    if isinstance(ids, str):
        raise ValueError(f"{argument}: {ids!r}; a collection of ids fits, such as [{ids!r}]")
    return None if ids is None else frozenset(ids)


def wants(
    session: VoiceSession, channel_ids: frozenset[str] | None, room_ids: frozenset[str] | None
) -> bool:
    """True if these filters let the session through; None lets every one."""
    return (channel_ids is None or session.channel_id in channel_ids) and (
        room_ids is None or session.room_id in room_ids
    )


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function
