"""The applications of `roomkit serve`, written as one of your own would be.

An application is `async def application(call: Call)`, with `roomkit.Call`. It is called when media
can flow; when it returns, the call is hung up; when the far end leaves, it ends.

    # answer.py, for: roomkit serve --app answer:greet
    async def greet(call):
        digit = await call.key(10, prompt=Path("greeting.wav"))
        await call.play("goodbye.wav")
"""

from __future__ import annotations

import asyncio

from roomkit import AudioChunk, AudioFrame, Call
from roomkit._calls.apps import App
from roomkit.cli import speech

__all__ = ["APPS", "App", "echo", "menu", "parrot"]


async def echo(call: Call) -> None:
    """Sends back every frame as it comes, 40 ms late: that much the event loop may be late
    without being heard."""

    begun = False

    def back(frame: AudioFrame) -> None:
        nonlocal begun
        # What is held up later comes in a burst, which is a cushion itself.
        data = frame.data if begun else bytes(2 * len(frame.data)) + frame.data
        begun = True
        call.backend.send_audio_sync(
            call.session, AudioChunk(data, frame.sample_rate, frame.channels)
        )

    stop = call.on_frame(back)
    try:
        await call.ended()
    finally:
        stop()


async def parrot(call: Call) -> None:
    """Repeats each sentence after the pause that ends it."""
    while True:
        if (said := await call.utterance()) is not None:
            await call.play(said.audio, stop_on="voice")


async def menu(call: Call) -> None:
    """An answering machine: a menu of digits, a recording played back, a story to interrupt."""
    await call.play(speech.chunk("greeting"), stop_on="key")
    await asyncio.sleep(_BREATH)
    for _ in range(_ROUNDS):
        match await call.key(_KEY_TIME, prompt=speech.chunk("menu")):
            case "1":
                await _record_and_repeat(call)
            case "2":
                await asyncio.sleep(_BREATH)
                await call.play(speech.chunk("story"), stop_on=("key", "voice"))
            case "0":
                break
        await asyncio.sleep(_PAUSE)
    await asyncio.sleep(_BREATH)
    await call.play(speech.chunk("goodbye"))


_BREATH, _PAUSE = 0.3, 0.9
"""Seconds: between two sentences of one thought, and between two thoughts."""
_KEY_TIME = 15.0
_ROUNDS = 20
"""Whoever never hangs up is left in the end."""
_MESSAGE_TIME = 30.0


async def _record_and_repeat(call: Call) -> None:
    await asyncio.sleep(_BREATH)
    await call.play(speech.chunk("record"))
    await call.play(speech.chunk("tone"))
    # Any key ends the message; so does its time.
    message = await call.record(max_seconds=_MESSAGE_TIME)
    await asyncio.sleep(_BREATH)
    if message:
        await call.play(message.audio)


APPS: dict[str, App] = {"echo": echo, "parrot": parrot, "menu": menu}
