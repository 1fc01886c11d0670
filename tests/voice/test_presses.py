"""Presses: one press is told once, a second press is a second one."""

from __future__ import annotations

import asyncio

from roomkit.hooks import HookContext, HookRunner, HookTrigger
from roomkit.rooms import Room
from roomkit.voice._presses import Presses
from roomkit.voice.events import DTMFDetectedEvent, DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import AudioPipelineConfig, GoertzelDTMF
from support.hearing import hearing
from support.keys import keys_tone


def told(*reports: tuple[str, str, float, float]) -> str:
    presses = Presses()
    return "".join(report[0] for report in reports if presses.is_new(*report))


def test_what_a_backend_signals_and_a_stage_hears_is_one_press_in_either_order() -> None:
    signalled, heard = ("5", "backend", 1160.0, 160.0), ("5", "stage", 1250.0, 150.0)
    assert told(signalled, heard) == told(heard, signalled) == "5"


def test_the_same_key_twice_is_two_presses_however_each_is_reported() -> None:
    signalled = [("1", "backend", end, 60.0) for end in (1060.0, 1200.0)]
    heard = [("1", "stage", end + 100, 60.0) for end in (1060.0, 1200.0)]
    assert told(*signalled) == told(*heard) == "11"
    assert told(signalled[0], heard[0], signalled[1], heard[1]) == "11"
    assert told(signalled[0], signalled[1], heard[0], heard[1]) == "11"


def test_a_tone_that_a_gateway_cuts_in_two_is_of_the_same_press() -> None:
    signalled = ("1", "backend", 1300.0, 300.0)
    assert told(signalled, ("1", "stage", 1090.0, 50.0), ("1", "stage", 1290.0, 50.0)) == "1"


def test_other_keys_and_other_times_are_other_presses() -> None:
    assert told(("1", "backend", 1000, 100), ("2", "stage", 1000, 100)) == "12"
    assert told(("1", "backend", 1000, 100), ("1", "stage", 1500, 100)) == "11"


def test_what_is_remembered_is_bounded() -> None:
    presses = Presses()
    for n in range(10_000):
        assert presses.is_new("1", "backend", n * 1000.0, 100.0)
    assert len(presses._told) <= 32


async def test_a_call_with_a_stage_and_signalled_digits_fires_the_hook_once_per_key() -> None:
    got: list[DTMFDetectedEvent] = []
    both = asyncio.Event()
    room = Room("room")
    hooks = HookRunner(lambda _: HookContext(room, (), ()))

    async def on_dtmf(event: DTMFDetectedEvent, ctx: HookContext) -> None:
        got.append(event)
        if len(got) == 2:
            both.set()

    hooks.add(HookTrigger.ON_DTMF, on_dtmf)
    config = AudioPipelineConfig(dtmf=GoertzelDTMF())
    one, _ = hearing(hooks, config)
    pcm = keys_tone("4", 100, 100)
    for offset in range(0, len(pcm), 320):
        one.process(AudioFrame(pcm[offset : offset + 320], 8000))
    one.signalled(DTMFEvent("4", 100.0, masked=True))
    one.signalled(DTMFEvent("8", 100.0, masked=True))
    async with asyncio.timeout(5):
        await both.wait()
    assert [(event.digit, event.masked) for event in got] == [("4", False), ("8", True)]
