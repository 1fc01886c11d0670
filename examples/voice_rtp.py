"""The full RTP example: a voice application that takes a call from a PBX, or from anything that
speaks RTP.

It greets the caller, offers a menu by digits, repeats what the caller says, tells a story that any
digit interrupts, and records both sides of the call.

    python examples/voice_rtp.py --local 0.0.0.0:10000 --remote 192.168.1.100:20000

Try it without a PBX: run it with `--local 127.0.0.1:10000 --remote 127.0.0.1:20000` and be its
caller in a second terminal:

    roomkit call --local 127.0.0.1:20000 --remote 127.0.0.1:10000 --dtmf 2 --record heard.wav

Ctrl-C hangs up properly: the far end gets an RTCP BYE, the recordings are completed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from array import array
from collections.abc import Coroutine
from importlib.resources import as_file, files
from math import pi, sin
from pathlib import Path
from typing import Any

from roomkit import (
    AudioChunk,
    AudioPipelineConfig,
    HookExecution,
    HookTrigger,
    RoomKit,
    RTPVoiceBackend,
    VoiceChannel,
    VoiceSession,
)
from roomkit.errors import ProviderUnavailableError
from roomkit.voice.pipeline import WavRecorder
from roomkit.voice.tts import EspeakTTS, FliteTTS, TTSProvider, WavPrompts
from roomkit.voice.vad import EnergyVAD

GREETING = "Welcome to Room Kit. This is a real call."
MENU = "Press one to record a message. Two for a story. Or zero to hang up."
RECORD = "Speak after the tone, then press the hash key."
STORY = (
    "Every twenty milliseconds a packet leaves, and nothing that Python does can make it late."
    " A blocking call, a garbage collection, a slow model: the voice goes on."
    " But the moment you speak, it has to stop."
)
GOODBYE = "Thank you for calling. Goodbye."
# 200 ms of 1 kHz: sixteen samples a period at 16 kHz. The core resamples to what the codec needs.
BEEP = AudioChunk(
    array("h", [round(8000 * sin(2 * pi * n / 16)) for n in range(3200)]).tobytes(), 16000
)


class Menu:
    """What the application does for its caller, one thing at a time."""

    def __init__(self, kit: RoomKit, voice: VoiceChannel) -> None:
        self.kit = kit
        self.voice = voice
        self.over = asyncio.Event()
        self.message: list[AudioChunk] | None = None  # while the caller records one
        self._doing: asyncio.Task[None] | None = None

    def now_do(self, work: Coroutine[Any, Any, None]) -> None:
        """Begins something else in place of what is going on. Cancelling the task that awaits `say`
        or `play` silences it before the next packet leaves."""
        if self._doing is not None:
            self._doing.cancel()
        self._doing = asyncio.create_task(work)
        self.message = None

    async def welcome(self, session: VoiceSession) -> None:
        await self.voice.say(session, GREETING)
        await self.voice.say(session, MENU)

    async def record(self, session: VoiceSession) -> None:
        await self.voice.say(session, RECORD)
        await self.voice.play(session, BEEP)
        self.message = []

    async def repeat(self, session: VoiceSession, message: list[AudioChunk]) -> None:
        # A list of chunks is played like one piece of audio, whatever the lengths and rates.
        await self.voice.play(session, message)
        await self.voice.say(session, MENU)

    async def tell_story(self, session: VoiceSession) -> None:
        if await self.voice.say(session, STORY):  # False: it was interrupted
            await self.voice.say(session, MENU)

    async def hang_up(self, session: VoiceSession) -> None:
        await self.voice.say(session, GOODBYE)
        await self.kit.leave(session)


def add_hooks(kit: RoomKit, backend: RTPVoiceBackend, menu: Menu) -> None:
    """Hooks are where an application meets its calls. These only watch (ASYNC); SYNC hooks form a
    chain that may block or change, such as a text that is about to be spoken."""

    @kit.hook(HookTrigger.ON_SESSION_STARTED, execution=HookExecution.ASYNC)
    async def on_started(event: Any, ctx: Any) -> None:
        facts = event.session.metadata
        host, port = facts["local_addr"]
        print(f"call up: {facts['codec']} on {host}:{port}, room {ctx.room.id}")
        menu.now_do(menu.welcome(event.session))

    @kit.hook(HookTrigger.ON_DTMF, execution=HookExecution.ASYNC)
    async def on_dtmf(event: Any, ctx: Any) -> None:
        print(f"DTMF: {event.digit} ({event.duration_ms:.0f} ms)")
        # The hook returns at once: the next digit waits for this one's hook, and it may come to
        # interrupt what this one begins.
        match event.digit:
            case "1":
                menu.now_do(menu.record(event.session))
            case "2":
                menu.now_do(menu.tell_story(event.session))
            case "#" if menu.message is not None:
                menu.now_do(menu.repeat(event.session, menu.message))
            case "0":
                menu.now_do(menu.hang_up(event.session))
            case _:
                menu.now_do(menu.welcome(event.session))

    @kit.hook(HookTrigger.ON_SPEECH_END, execution=HookExecution.ASYNC)
    async def on_speech(event: Any, ctx: Any) -> None:
        # `event.audio` is the whole utterance: this is where a recogniser would get it.
        print(f"the caller spoke for {event.duration_ms / 1000:.1f} s")
        if menu.message is not None:
            menu.message.append(event.audio)

    @kit.hook(HookTrigger.ON_SESSION_ENDED, execution=HookExecution.ASYNC)
    async def on_ended(event: Any, ctx: Any) -> None:
        stats = backend.stats(event.session)
        print(
            f"call over ({event.reason}): {stats.packets_received} packets in,"
            f" {stats.packets_lost} lost, jitter {stats.jitter_ms:.1f} ms,"
            f" {stats.packets_sent} packets out"
        )
        for path in event.session.metadata.get("recordings", ()):
            print(f"recorded: {path}")
        menu.over.set()


async def take_call(options: argparse.Namespace, tts: TTSProvider) -> None:
    """Takes one call and returns when it is over."""
    # The page's six parameters are enough for a call; the others have safe defaults.
    backend = RTPVoiceBackend(
        local_addr=options.local,
        payload_type=options.payload_type,
        clock_rate=options.clock_rate,
    )
    voice = VoiceChannel(
        "voice",
        backend=backend,
        tts=tts,
        pipeline=AudioPipelineConfig(
            vad=EnergyVAD(),
            recorder=WavRecorder(options.recordings),
        ),
    )
    async with RoomKit() as kit:  # closes channel, backend and calls, whatever happens
        add_hooks(kit, backend, menu := Menu(kit, voice))
        kit.register_channel(voice)
        room = await kit.create_room()
        await kit.attach_channel(room.id, "voice")
        # The remote address may also be given per call, as a PBX with many tenants needs it.
        await kit.join(room.id, "voice", metadata={"remote_addr": options.remote})
        await menu.over.wait()


def voice_of(name: str, clips: Path) -> TTSProvider:
    """A voice that is there: a synthesiser on this machine, or else the clips of the package."""
    for wanted, make in (("flite", FliteTTS), ("espeak", EspeakTTS)):
        if name in (wanted, "any"):
            try:
                return make()
            except ProviderUnavailableError as error:
                if name == wanted:
                    raise SystemExit(str(error)) from None
    names = {GREETING: "greeting", MENU: "menu", RECORD: "record", STORY: "story"}
    names[GOODBYE] = "goodbye"
    return WavPrompts({text: clips / f"{clip}.wav" for text, clip in names.items()})


def address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: HOST:PORT fits, such as 192.168.1.100:20000")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="A voice application on an RTP call.")
    parser.add_argument("--local", type=address, default=("0.0.0.0", 10000), metavar="HOST:PORT")
    parser.add_argument("--remote", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--payload-type", type=int, default=0, help="0 PCMU (default), 8 PCMA, …")
    parser.add_argument("--clock-rate", type=int, default=8000, metavar="HZ")
    parser.add_argument("--voice", choices=["any", "flite", "espeak", "clips"], default="any")
    parser.add_argument("--recordings", type=Path, default=Path("recordings"), metavar="DIR")
    parser.add_argument("--verbose", action="store_true", help="show the library's log")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    with as_file(files("roomkit") / "data") as clips:
        try:
            asyncio.run(take_call(options, voice_of(options.voice, clips)))
        except KeyboardInterrupt:
            print("hung up")
        except (ValueError, OSError) as error:
            parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
