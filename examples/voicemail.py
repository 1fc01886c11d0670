"""Voicemail: a message after the tone, kept also when the caller simply hangs up.

    roomkit serve --local 0.0.0.0:10000 --app voicemail:voicemail

Messages go into ./messages, or where VOICEMAIL says.
"""

from __future__ import annotations

import os
from array import array
from math import pi, sin
from pathlib import Path

from roomkit import AudioChunk, Call

GREETING = "Nobody is here. Please speak after the tone, then press the hash key."
# 300 ms of 1 kHz: sixteen samples a period at 16 kHz. The core resamples to what the codec needs.
BEEP = AudioChunk(
    array("h", [round(8000 * sin(2 * pi * n / 16)) for n in range(4800)]).tobytes(), 16000
)


async def voicemail(call: Call) -> None:
    await call.say(GREETING, stop_on="key")
    await call.play(BEEP)
    # Returns when he presses the hash key, says nothing for 5 s, has talked for 2 min or hangs up.
    message = await call.record(path_for(call), max_seconds=120, silence=5, stop_on="#")
    if message:
        print(f"a message of {message.duration_ms / 1000:.1f} s: {message.path}")
    if message.reason != "hangup":
        await call.say("Thank you. Goodbye." if message else "There was nothing. Goodbye.")


def path_for(call: Call) -> Path:
    """Where its message goes."""
    folder = Path(os.environ.get("VOICEMAIL", "messages"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{call.session.created_at:%Y%m%d-%H%M%S}-{call.session.id[:8]}.wav"
