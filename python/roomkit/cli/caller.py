"""The caller of the demo: a person with a telephone, played by a process of its own.

It hears only what comes over RTP, and acts on that: waits for a voice to begin and to pause,
presses keys, speaks, speaks into the other's words, and hangs up when it is left. What it does and
hears goes to standard output as lines of JSON; the recording of what it heard to a WAV file.

    python -m roomkit.cli.caller PORT CODEC WAV ORIGIN
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from roomkit.cli import arguments, speech
from roomkit.cli.figures import figures
from roomkit.cli.journal import Journal
from roomkit.cli.tape import Tape
from roomkit.rtp import RTPSession
from roomkit.voice.base import AudioChunk

if TYPE_CHECKING:
    from roomkit.rtp.events import Disconnected
    from roomkit.voice.frame import AudioFrame

__all__ = ["Ear", "main"]

_PATIENCE = 20.0
"""Seconds after which the caller gives up waiting for something."""


class Ear:
    """Tells speech from quiet, frame by frame, and lets others wait for either."""

    loud_db = -50.0
    """Telephone speech is 20 dB above this and more, idle lines 20 dB below."""

    def __init__(self) -> None:
        self.speech_ms = 0.0
        """Sound without a pause of 60 ms, until now."""
        self.quiet_ms = 0.0
        """Quiet until now."""
        self._frame = asyncio.Event()

    def hear(self, frame: AudioFrame, level_db: float) -> None:
        """The next frame and its level."""
        if level_db > self.loud_db:
            self.speech_ms += frame.duration_ms
            self.quiet_ms = 0.0
        else:
            self.quiet_ms += frame.duration_ms
            if self.quiet_ms > 60:
                self.speech_ms = 0.0
        self._frame.set()

    async def speech(self, what: str, ms: float = 60.0) -> None:
        """Returns when somebody has been speaking for so long. Raises `TimeoutError`."""
        await self._until(lambda: self.speech_ms >= ms, what)

    async def quiet(self, what: str, ms: float = 450.0) -> None:
        """Returns after so long a quiet: longer than any pause between two words. Raises
        `TimeoutError`."""
        await self._until(lambda: self.quiet_ms >= ms, what)

    async def _until(self, true: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                while not true():
                    self._frame.clear()
                    await self._frame.wait()
        except TimeoutError:
            raise TimeoutError(f"waited {_PATIENCE:.0f} s in vain for {what}") from None


class Caller:
    """One call, from the first word to the last."""

    def __init__(self, session: RTPSession, tape: Tape, journal: Journal) -> None:
        self.session, self.tape, self.journal = session, tape, journal
        self.ear = Ear()
        self.gone = asyncio.Event()
        session.on_frame(self._on_frame)
        session.on_disconnected(self._on_disconnected)

    async def talk(self) -> None:
        """The whole conversation. Raises `TimeoutError` when the other side does not play along."""
        ear = self.ear
        await ear.speech("the greeting")
        await ear.quiet("the end of the menu")
        await self.press("1")
        await ear.speech("the request to speak")
        await ear.quiet("the tone")
        await self.say("message")
        await self.press("#")
        await ear.speech("the own words")
        await ear.quiet("the end of the own words")
        # The menu again, known by now: a key in the middle of it.
        await ear.speech("the menu")
        await asyncio.sleep(1.0)
        await self.press("2")
        await ear.quiet("the menu to stop", 200)
        await ear.speech("the story")
        await asyncio.sleep(2.4)
        await self.say("stop")
        await ear.quiet("the story to stop", 200)
        await ear.speech("the menu")
        await asyncio.sleep(0.8)
        await self.press("0")
        async with asyncio.timeout(_PATIENCE):
            await self.gone.wait()

    async def press(self, digit: str) -> None:
        """A key, for 160 ms."""
        self.journal.note("key", f"presses {digit}", digit=digit)
        self.session.send_dtmf(digit)
        await asyncio.sleep(0.3)

    async def say(self, clip: str) -> None:
        """A sentence, to its end."""
        audio = speech.clip(clip)
        self.journal.note("says", f"says “{speech.WORDS[clip]}”", clip=clip)
        await self.session.play(AudioChunk(audio.pcm(), audio.sample_rate))
        self.journal.note("said", "", clip=clip)

    def _on_frame(self, frame: AudioFrame) -> None:
        self.tape.add(frame)
        self.ear.hear(frame, self.tape.level_db)

    def _on_disconnected(self, event: Disconnected) -> None:
        self.journal.note("bye", f"is left ({event.reason})", reason=event.reason)
        self.gone.set()


async def _run(port: int, codec: str, path: Path, origin: float) -> int:
    tape = Tape(path, origin=origin)
    journal = Journal("caller")
    journal.listeners.append(lambda entry: _tell(entry.line()))
    session = RTPSession(
        local_addr=("127.0.0.1", 0),
        remote_addr=("127.0.0.1", port),
        codecs=[arguments.codec(codec)],
        rtcp_interval=2.0,
    )
    parent = asyncio.ensure_future(_end_of_input())
    code = 0
    async with session:
        _tell(json.dumps({"port": session.local_addr[1]}))
        caller = Caller(session, tape, journal)
        talk = asyncio.ensure_future(caller.talk())
        tell = asyncio.ensure_future(_report(session, tape))
        left = asyncio.ensure_future(caller.gone.wait())
        await asyncio.wait({talk, parent, left}, return_when=asyncio.FIRST_COMPLETED)
        if left.done():
            # The conversation ends so, too; if it does not, it was not over.
            await asyncio.wait({talk}, timeout=0.2)
        for task in (talk, tell, parent, left):
            task.cancel()
        results = await asyncio.gather(talk, tell, return_exceptions=True)
        if isinstance(results[0], Exception):
            journal.note("warning", f"gives up: {results[0]}")
            code = 1
        tape.close()
        _tell(json.dumps({"tape": tape.facts(), "stats": dict(session.stats())}))
    return code


async def _report(session: RTPSession, tape: Tape) -> None:
    """What the live view shows of this end."""
    while True:
        status = {"levels": list(tape.levels)[-60:], "figures": figures(session.stats())}
        _tell(json.dumps({"status": status}))
        await asyncio.sleep(0.2)


async def _end_of_input() -> None:
    """Returns when standard input ends: the demo wants this process to go."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        # Not sys.stdin.read(): a thread that is inside it when Python exits is a fatal error.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()


def _tell(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str]) -> int:
    """See the top of the file."""
    # Ctrl-C in a terminal reaches every process of the demo; this one ends when its parent says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return asyncio.run(_run(int(argv[0]), argv[1], Path(argv[2]), float(argv[3])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
