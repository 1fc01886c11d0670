"""All sixteen keys, both ways, with every peer that has them: what was pressed and nothing else."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from interop.baresip import Baresip
from interop.calls import agreed
from interop.gstreamer import EVENTS, GStreamer
from interop.ours import PATIENT, Ours, ours
from interop.peers import LOOPBACK, free_ports, until
from interop.rtpengine import RTPEngine
from interop.sip import Phone
from interop.sipp import KEYS, Sipp
from interop.sound import speech, write_wav
from interop.wire import Wire
from roomkit.rtp import RTPSession
from roomkit.rtp.sdp import Negotiation

pytestmark = pytest.mark.interop

# The same key twice, and all others.
PRESSED = "1" + "1" + EVENTS


async def test_gstreamer(tmp_path: Path) -> None:
    # Longer than the digits take: at the end of the file GStreamer says goodbye.
    wav = write_wav(tmp_path / "said.wav", np.tile(speech(), 20), 8000)
    theirs, port = free_ports(2)
    async with (
        ours(port, theirs) as us,
        GStreamer(theirs, port, tmp_path / "heard.raw", play=wav) as gst,
    ):
        await us.wait(lambda: len(us.frames) > 10, "audio of GStreamer")
        us.session.send_dtmf(PRESSED, duration_ms=80)
        for digit in PRESSED:
            gst.press(digit, 80)
        await us.wait(partial(us.has_digits, PRESSED), "all digits", 30)
        await until(lambda: len(gst.digits) >= len(PRESSED), "all digits at GStreamer")
        await gst.quit()
    assert (us.digits, gst.digits) == (PRESSED, PRESSED)


async def test_baresip(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "said.wav", np.tile(speech(), 20), 8000)
    [port] = free_ports(1)
    async with Phone() as phone, Baresip(tmp_path, "pcmu/8000/1", wav) as softphone:
        softphone.dial(phone.uri)
        invite = await phone.invited()
        async with RTPSession.from_offer(invite.body, local_addr=(LOOPBACK, port)) as session:
            us = Ours(session)
            await phone.answer(session.answer)
            await us.wait(lambda: len(us.frames) > 10, "audio of baresip")
            session.send_dtmf(PRESSED, duration_ms=80)
            for number, digit in enumerate(PRESSED, 1):
                softphone.press(digit)
                await us.wait(partial(us.has_digits, PRESSED[:number]), f"{number} digits")
            await until(lambda: len(softphone.digits) >= len(PRESSED), "all digits at baresip")
            await phone.hang_up()
    assert (us.digits, softphone.digits) == (PRESSED, PRESSED)


async def test_rtpengine_forwards_them(tmp_path: Path) -> None:
    async with RTPEngine(tmp_path) as engine:
        a_port, b_port = free_ports(2)
        call = engine.call()
        a, b = Negotiation(codecs=["PCMU"]), Negotiation(codecs=["PCMU"])
        to_b = b.receive_offer(await call.offer(str(a.offer((LOOPBACK, a_port)))))
        to_a = a.receive_answer(await call.answer(str(b.answer((LOOPBACK, b_port)))))
        async with agreed(a_port, to_a) as here, agreed(b_port, to_b) as there:
            for end in (here, there):
                end.session.send_dtmf(PRESSED, duration_ms=80)
            for end in (here, there):
                await end.wait(partial(end.has_digits, PRESSED), "all digits")
        await call.delete()
    assert (here.digits, there.digits) == (PRESSED, PRESSED)


@pytest.mark.parametrize("beside", [False, True], ids=["in-its-place", "beside-it"])
async def test_rtpengine_transcodes_the_audio_and_a_press_stays_one(
    tmp_path: Path, wire: Wire | None, beside: bool
) -> None:
    """A receiver tells presses by their timestamps (RFC 4733 §2.5.2.2): beside audio, rtpengine's
    transcoder gives the repeats of the end timestamps of their own. Ours tells each once anyhow."""
    keys = "1" + "5" * 5
    async with RTPEngine(tmp_path) as engine:
        a_port, b_port = free_ports(2)
        call = engine.call()
        options = {"dtmf_beside_audio": beside, **PATIENT}
        async with RTPSession.for_offer(
            local_addr=(LOOPBACK, a_port), codecs=["PCMU"], **options
        ) as a:
            codec = {"mask": ["PCMU"], "transcode": ["PCMA"]}
            offer = await call.offer(a.offer(), codec=codec)
            async with RTPSession.from_offer(
                offer, local_addr=(LOOPBACK, b_port), codecs=["PCMA"], **PATIENT
            ) as b:
                there = Ours(b)
                await a.accept_answer(await call.answer(b.answer))
                audio = asyncio.create_task(a.play(np.tile(speech(), 20).tobytes()))
                await there.wait(lambda: len(there.frames) > 20, "audio of a")
                a.send_dtmf(keys, duration_ms=120)
                await there.wait(partial(there.has_digits, keys), "all digits")
                assert await a.wait_dtmf()
                heard = len(there.frames) + 50  # by then the relay has sent on what there is
                await there.wait(lambda: len(there.frames) > heard, "the audio behind them")
                a.cancel()
                await audio
                assert b.remote_addr is not None
                relay = b.remote_addr[1]
        await call.delete()
    assert there.digits == keys
    if wire is not None:
        await wire.read()
        events = [
            packet for packet in wire.rtp(relay, b_port) if packet.number_of("rtp.p_type") == 101
        ]
        times = len({packet.number_of("rtp.timestamp") for packet in events})
        assert (times > len(keys)) is beside, f"{times} timestamps of {len(keys)} presses"


async def test_rtpengine_presses_them_itself(tmp_path: Path) -> None:
    """`play DTMF`, as a SIP server asks for when it gets SIP INFO."""
    async with RTPEngine(tmp_path) as engine:
        a_port, b_port = free_ports(2)
        call = engine.call()
        a, b = Negotiation(codecs=["PCMA"]), Negotiation(codecs=["PCMA"])
        offer = await call.offer(str(a.offer((LOOPBACK, a_port))), flags=["inject-DTMF"])
        to_b = b.receive_offer(offer)
        answer = str(b.answer((LOOPBACK, b_port)))
        to_a = a.receive_answer(await call.answer(answer, flags=["inject-DTMF"]))
        async with agreed(a_port, to_a) as here, agreed(b_port, to_b) as there:
            # They take the place of audio that comes in.
            audio = asyncio.create_task(here.session.play(np.tile(speech(), 20).tobytes()))
            await there.wait(lambda: len(there.frames) > 10, "audio of a")
            for number, digit in enumerate(PRESSED, 1):
                await call.play_digit("a", digit, 100)
                await there.wait(partial(there.has_digits, PRESSED[:number]), f"{number} digits")
            here.session.cancel()
            await audio
        await call.delete()
    assert there.digits == PRESSED


async def test_sipp(tmp_path: Path) -> None:
    """Recordings, each with a sequence and a clock of its own under one SSRC: a source that
    restarts with every key. sipp has none for A to D, and does not tell what it receives."""
    assert set(EVENTS) - set(KEYS) == set("ABCD")
    [port] = free_ports(1)
    plays = [(file, 400) for file in KEYS.values()]
    plays[-1] = plays[-1][0], 0  # or it would not expect to be hung up
    async with Phone() as phone, Sipp(tmp_path, phone, plays) as sipp:
        invite = await phone.invited()
        async with RTPSession.from_offer(invite.body, local_addr=(LOOPBACK, port)) as session:
            us = Ours(session)
            await phone.answer(session.answer)
            await us.wait(partial(us.has_digits, "".join(KEYS)), "all digits")
            await phone.hang_up()
        assert await sipp.exit() == 0, sipp
    assert us.digits == "".join(KEYS)


def test_ffmpeg_does_not_offer_them() -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("NOT TESTED: ffmpeg is missing")
    for what in ("-codecs", "-formats", "-muxers"):
        listed = subprocess.run(
            [ffmpeg, "-hide_banner", what], capture_output=True, text=True, check=True
        )
        assert "telephone-event" not in listed.stdout.lower()
