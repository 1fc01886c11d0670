"""A recorder: both sides of a call on one stereo file, if the caller agrees, and without his card
number.

    python examples/recorder.py --remote 192.0.2.10:20000 --folder recordings
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from pathlib import Path

from roomkit import (
    AudioPipelineConfig,
    Call,
    RoomKit,
    RTPVoiceBackend,
    VoiceChannel,
    VoiceSession,
)
from roomkit.voice.pipeline import WavRecorder
from roomkit.voice.tts import EspeakTTS, TTSProvider
from roomkit.voice.vad import EnergyVAD

CONSENT = "This call may be recorded. Press one if you agree, and any other key if not."
CARD = "Please key in your card number, and the hash key."


class Consents:
    """What callers answered. The recorder asks at the beginning of a call, and waits beside it."""

    def __init__(self) -> None:
        self._answers: defaultdict[str, asyncio.Future[bool]] = defaultdict(
            asyncio.get_running_loop().create_future
        )

    async def of(self, session: VoiceSession) -> bool:
        """For `WavRecorder(consent=…)`."""
        try:
            return await self._answers[session.id]
        finally:
            self._answers.pop(session.id, None)

    async def desk(self, call: Call) -> None:
        """The application: asks, and takes an order."""
        agrees = await call.key(15, prompt=CONSENT) == "1"
        answer = self._answers[call.session.id]
        if not answer.done():
            answer.set_result(agrees)
        await call.say("Thank you." if agrees else "It is not recorded.")
        # In the file this is silence, whether he keys it in or a device plays it as tones.
        card = await call.collect(19, prompt=CARD, masked=True, first_timeout=15)
        await call.say("Thank you. Goodbye." if card else "Goodbye.")


def channel(
    backend: RTPVoiceBackend, tts: TTSProvider, folder: Path, consents: Consents
) -> VoiceChannel:
    recorder = WavRecorder(folder, name="{date}-{time}-{participant_id}", consent=consents.of)
    pipeline = AudioPipelineConfig(vad=EnergyVAD(), recorder=recorder)
    return VoiceChannel("phone", backend=backend, tts=tts, pipeline=pipeline)


async def take_calls(remote: tuple[str, int], local: tuple[str, int], folder: Path) -> None:
    """Calls of one PBX, one after another."""
    backend = RTPVoiceBackend(local_addr=local, remote_addr=remote)
    consents = Consents()
    async with RoomKit() as kit:
        kit.register_channel(channel(backend, EspeakTTS(), folder, consents))
        kit.answer(consents.desk)
        room = await kit.create_room()
        await kit.attach_channel(room.id, "phone")
        while True:
            session = await kit.join(room.id, "phone")
            await kit.call(session).ended()
            print("recorded:", *session.metadata.get("recordings", ["nothing"]))


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="Records calls on stereo files, with consent.")
    parser.add_argument("--local", type=address, default=("0.0.0.0", 10000), metavar="HOST:PORT")
    parser.add_argument("--remote", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--folder", type=Path, default=Path("recordings"))
    options = parser.parse_args()
    asyncio.run(take_calls(options.remote, options.local, options.folder))


if __name__ == "__main__":
    main()
