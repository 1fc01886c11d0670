"""The applications of `roomkit serve`, on a real session whose far end is a session too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from roomkit.cli import g711, signals, speech
from roomkit.cli.apps import APPS
from roomkit.cli.journal import Journal
from roomkit.cli.noted import NotedCall
from roomkit.cli.serve import answer
from roomkit.cli.tape import Tape
from roomkit.rtp import RTPSession
from roomkit.voice.base import AudioChunk

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def a_call() -> AsyncIterator[tuple[NotedCall, RTPSession, Tape]]:
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
        clip = speech.clip("stop")
        played = await call.play(speech.chunk("stop"))
        assert played
        assert played.played_ms == pytest.approx(1000 * clip.seconds, abs=21)
        (_, said) = call.journal.of("said")
        assert (said.data["clip"], said.data["cut"]) == ("stop", None)
        await hear(far, 200)
        reference = g711.through("PCMU", clip.samples)
        match = signals.find(reference, tape.samples)
        assert match is not None
        assert match.likeness > 0.99


async def test_a_key_interrupts_only_what_may_be_interrupted_and_is_not_lost() -> None:
    async with a_call() as (call, far, _):
        playing = asyncio.ensure_future(call.play(speech.chunk("stop"), stop_on="voice"))
        far.send_dtmf("5")
        assert (await playing).cut is None
        assert await call.key() == "5"

        playing = asyncio.ensure_future(call.play(speech.chunk("story"), stop_on="key"))
        await hear(far, 300)
        far.send_dtmf("6")
        played = await playing
        assert played.cut == "key"
        assert played.played_ms is not None
        assert 200 < played.played_ms < 5000
        assert await call.key() == "6"
        assert await call.key(timeout=0.01) is None
        (cut,) = call.journal.of("cut")
        assert cut.data == {"by": "key"}


async def test_voice_interrupts_and_the_sentence_is_told() -> None:
    async with a_call() as (call, far, _):
        playing = asyncio.ensure_future(call.play(speech.chunk("story"), stop_on="voice"))
        await hear(far, 300)
        await far.play(speech.chunk("stop"))
        assert (await playing).cut == "voice"
        utterance = await call.utterance(5)
        assert utterance is not None
        assert utterance.duration_ms > 700


async def test_the_call_ends_when_the_far_end_leaves() -> None:
    async with a_call() as (call, far, _):
        far.send_dtmf("1")  # proves the source, whose BYE counts from then on
        await call.key()
        await far.close("enough")
        assert await asyncio.wait_for(call.ended(), 5) == "bye"
        (bye,) = call.journal.of("bye")
        assert bye.data == {"reason": "bye"}


async def test_the_menu_says_goodbye_on_zero() -> None:
    async with a_call() as (call, far, _):
        running = asyncio.ensure_future(APPS["menu"](call))
        await hear(far, 300)
        far.send_dtmf("0")  # cuts the greeting short, and is the answer to the menu
        await asyncio.wait_for(running, 30)
        said = [entry.data for entry in call.journal.of("said")]
        assert [each["clip"] for each in said][1:] == ["greeting", "goodbye"]
        assert said[1]["cut"] == "key"


async def test_masked_keys_are_in_the_journal_as_keys_and_not_which() -> None:
    async with a_call() as (call, far, _):
        collecting = asyncio.ensure_future(call.collect(4, masked=True))
        await hear(far, 100)
        far.send_dtmf("7391")
        assert (await asyncio.wait_for(collecting, 10)).digits == "7391"
        keys = call.journal.of("key")
        assert [entry.text.partition(" (")[0] for entry in keys] == ["hears a masked key"] * 4
        assert not any(entry.data["digit"] for entry in keys)
