"""The applications of `roomkit serve`, on a real session whose far end is a session too."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from roomkit.cli import g711, signals, speech
from roomkit.cli.apps import APPS, Call, _trimmed
from roomkit.cli.journal import Journal
from roomkit.cli.serve import answer
from roomkit.cli.tape import Tape
from roomkit.rtp import RTPSession
from roomkit.voice.base import AudioChunk
from roomkit.voice.frame import AudioFrame

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def a_call() -> AsyncIterator[tuple[Call, RTPSession, Tape]]:
    """A call that was answered, its far end, and what the far end hears."""
    far = RTPSession(local_addr=("127.0.0.1", 0), source_policy="learn")
    tape = Tape(keep=True)
    far.on_frame(tape.add)
    async with far:
        options = {"local_addr": ("127.0.0.1", 0), "remote_addr": far.local_addr}
        async with answer(Journal("application"), Tape(), options) as call:
            # The far end knows where to send once it was spoken to; a second of quiet is enough.
            await call.play(AudioChunk(bytes(3200), 8000))
            yield call, far, tape


async def hear(far: RTPSession, ms: int) -> None:
    """Returns when the far end has heard this much more, words or silence."""
    frames = aiter(far)
    for _ in range(ms // 20):
        await asyncio.wait_for(anext(frames), 5)


async def test_play_tells_how_much_was_heard_and_that_it_was_whole() -> None:
    async with a_call() as (call, far, tape):
        clip = call.clip("stop")
        played = await call.play(clip, "stop")
        assert played.cut is None
        assert played.seconds == pytest.approx(clip.seconds, abs=0.021)
        await hear(far, 200)
        reference = g711.through("PCMU", clip.samples)
        match = signals.find(reference, tape.samples)
        assert match is not None
        assert match.likeness > 0.99


async def test_a_key_interrupts_only_what_may_be_interrupted_and_is_not_lost() -> None:
    async with a_call() as (call, far, _):
        playing = asyncio.ensure_future(call.play(call.clip("stop"), stop_on=("voice",)))
        far.send_dtmf("5")
        assert (await playing).cut is None
        assert await call.key() == "5"

        playing = asyncio.ensure_future(call.play(call.clip("story"), stop_on=("key",)))
        await hear(far, 300)
        far.send_dtmf("6")
        played = await playing
        assert played.cut == "key"
        assert 0.2 < played.seconds < 5
        assert await call.key() == "6"
        assert await call.key(timeout=0.01) is None
        (cut,) = call.journal.of("cut")
        assert cut.data == {"by": "key"}


async def test_voice_interrupts_and_the_sentence_is_told() -> None:
    async with a_call() as (call, far, _):
        playing = asyncio.ensure_future(call.play(call.clip("story"), stop_on=("voice",)))
        await hear(far, 300)
        words = speech.clip("stop")
        await far.play(AudioChunk(words.pcm(), words.sample_rate))
        assert (await playing).cut == "voice"
        utterance = await asyncio.wait_for(call.utterance(), 5)
        assert utterance.duration_ms > 700


async def test_the_call_ends_when_the_far_end_leaves() -> None:
    async with a_call() as (call, far, _):
        far.send_dtmf("1")  # proves the source, whose BYE counts from then on
        await call.key()
        await far.close("enough")
        await asyncio.wait_for(call.ended.wait(), 5)
        (bye,) = call.journal.of("bye")
        assert bye.data == {"reason": "bye"}


async def test_the_menu_says_goodbye_on_zero() -> None:
    async with a_call() as (call, far, _):
        running = asyncio.ensure_future(APPS["menu"](call))
        await hear(far, 300)
        far.send_dtmf("0")  # cuts the greeting short, and is the answer to the menu
        await asyncio.wait_for(running, 30)
        said = [entry.data["clip"] for entry in call.journal.of("said")]
        assert said[-1] == "goodbye"
        assert call.journal.of("said")[-3].data["cut"] == "key"


def test_quiet_around_a_message_is_trimmed_and_nothing_is_no_message() -> None:
    quiet = AudioFrame(bytes(320), 8000, 1)
    loud = AudioFrame(array("h", [3000] * 160).tobytes(), 8000, 1)
    message = _trimmed([quiet] * 20 + [loud] * 3 + [quiet] * 2 + [loud] + [quiet] * 20)
    assert message is not None
    assert message.seconds == pytest.approx((5 + 6 + 5) * 0.02)
    assert _trimmed([quiet] * 10) is None
    assert _trimmed([]) is None
