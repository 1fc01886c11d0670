"""A parrot: repeats whatever it is told, until it is told to stop by the star key.

roomkit serve --local 0.0.0.0:10000 --app parrot:parrot
"""

from __future__ import annotations

from roomkit import Call


async def parrot(call: Call) -> None:
    while True:
        answer = await call.ask(timeout=30)
        if answer.audio is not None:
            # Whoever speaks on is listened to, and repeated next.
            await call.play(answer.audio, stop_on=("key", "voice"))
        elif answer.key == "*" or not answer:
            break
