"""Every place that takes a function of the program's knows the same ones as async."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from roomkit import HookTrigger, RoomKit
from roomkit._handlers import is_async
from roomkit.voice.pipeline import AudioPipelineConfig


async def function(*events: Any) -> None:
    """As most are."""


class Kept:
    """One that has something to remember."""

    async def __call__(self, *events: Any) -> None:
        """What is registered is the object."""

    async def method(self, *events: Any) -> None:
        """Or this."""

    def plain(self, *events: Any) -> None:
        """Not this."""


ASYNC = (function, Kept(), Kept().method, partial(function), partial(partial(Kept())))
PLAIN = (print, Kept, Kept().plain, partial(Kept().plain), lambda *_: function())


@pytest.mark.parametrize("one", ASYNC)
def test_what_is_async_fits_a_hook_and_an_application_and_no_stage(one: Any) -> None:
    kit = RoomKit()
    assert is_async(one)
    kit.add_hook(HookTrigger.ON_DTMF, one)
    kit.answer(one)
    with pytest.raises(TypeError, match="a coroutine function"):
        AudioPipelineConfig(stages=[one])


@pytest.mark.parametrize("one", PLAIN)
def test_what_is_not_async_is_neither(one: Any) -> None:
    kit = RoomKit()
    assert not is_async(one)
    registrations: tuple[Callable[[], object], ...] = (
        lambda: kit.add_hook(HookTrigger.ON_DTMF, one),
        lambda: kit.answer(one),
    )
    for register in registrations:
        with pytest.raises(TypeError, match="is not async"):
            register()
