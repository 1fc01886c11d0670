"""Asterisk's ExternalMedia as docs/gateways.md has it: every format, a caller behind a bridge, and
what does not cross it.

What Asterisk sends is judged by its packets: when the machine stalls, its timestamps follow the
wall clock, and the pauses that they tell are not for us to leave out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from interop.ari import APP, ARI
from interop.asterisk import Asterisk, program
from interop.judge import assert_alike
from interop.ours import Ours
from interop.peers import LOOPBACK, free_ports, not_tested
from interop.sound import Pcm, assert_contains, coded, speech
from interop.wire import Wire
from roomkit.rtp import RTPSession
from roomkit.rtp.presets import ASTERISK_FORMATS, PRESETS

pytestmark = pytest.mark.interop
program()  # or nothing of this file is tested

UNREAD = PRESETS["asterisk-external-media"].unread
# Its open-source tree has no codec for opus.
SENT = [name for name in ASTERISK_FORMATS if name != "opus"]
UNDERSTOOD = [name for name in SENT if ASTERISK_FORMATS[name].payload_type not in UNREAD]
EVENTS = 101


@dataclass(frozen=True)
class Leg:
    """Our session, and Asterisk's channel to it."""

    us: Ours
    channel: str
    ours: int
    theirs: int
    """UDP ports."""


@contextlib.asynccontextmanager
async def external_media(ari: ARI, name: str, sends: str, **options: Any) -> AsyncIterator[Leg]:
    """As the recipe has it, with every parameter of the request."""
    [port] = free_ports()
    async with RTPSession(
        local_addr=(LOOPBACK, port),
        preset="asterisk-external-media",
        payload_type=ASTERISK_FORMATS[sends].payload_type,
        source_policy="learn",
        rtcp="off",
        dtmf_method="inband",
        jitter_ms=200,
        **options,
    ) as session:
        channel = await ari.post(
            "channels/externalMedia",
            app=APP,
            external_host=f"{LOOPBACK}:{port}",
            format=name,
            encapsulation="rtp",
            transport="udp",
            connection_type="client",
            direction="both",
        )
        told = channel["channelvars"]
        theirs = int(told["UNICASTRTP_LOCAL_PORT"])
        session.retarget((told["UNICASTRTP_LOCAL_ADDRESS"], theirs))
        await ari.event("StasisStart", channel["id"])
        yield Leg(Ours(session), channel["id"], port, theirs)
        await ari.delete(f"channels/{channel['id']}")


async def test_every_format_is_sent_under_its_number(wire: Wire | None) -> None:
    """L16 in network byte order; the recordings that it plays are in that of the machine."""
    if wire is None:
        not_tested("Asterisk's packets", "apt-get install tshark")
    assert wire is not None

    async def call(asterisk: Asterisk, ari: ARI, name: str) -> Leg:
        pcm = speech(ASTERISK_FORMATS[name].sample_rate)
        file = f"said-{name}.{name.replace('slin', 'sln')}"
        # Any octets are a file of the others.
        (asterisk.sounds / file).write_bytes(pcm.tobytes())
        async with external_media(ari, name, "ulaw") as leg:
            playback = await ari.post(f"channels/{leg.channel}/play", media=f"sound:said-{name}")
            await ari.event("PlaybackFinished", playback["id"], timeout=30)
            await leg.us.audio(400)
            stats = leg.us.session.stats()
            assert (stats.unknown_payload_type, stats.packets_lost, stats.stranger) == (0, 0, 0)
        return leg

    async with Asterisk() as asterisk, ARI(asterisk.http_port) as ari:
        legs = await asyncio.gather(*(call(asterisk, ari, name) for name in SENT))
    await wire.read()
    for name, leg in zip(SENT, legs, strict=True):
        codec = ASTERISK_FORMATS[name]
        packets = wire.rtp(leg.theirs, leg.ours)
        assert {packet.number_of("rtp.p_type") for packet in packets} == {codec.payload_type}, name
        pcm = speech(codec.sample_rate)
        wanted = (pcm.astype(">i2") if codec.name == "L16" else pcm).tobytes()
        heard = b"".join(packet.payload for packet in packets)
        assert heard == wanted, f"{name}: {len(heard)} octets of {len(wanted)}"
        # From the first packet on: nothing is lost while the source proves itself.
        assert leg.us.session.stats().packets_received == len(packets), name


async def test_what_the_preset_does_not_call_unread_is_understood_on_any_channel() -> None:
    async def call(asterisk: Asterisk, ari: ARI, name: str, sends: str) -> None:
        codec = ASTERISK_FORMATS[sends]
        said = speech(codec.sample_rate)
        if codec.name in ("PCMU", "PCMA"):
            said = coded(said, codec.name)
        async with external_media(ari, name, sends) as leg:
            heard = await recorded(asterisk, ari, leg, said)
        if codec.name == "G722" or name == "slin16":
            assert_alike(heard, said, codec.sample_rate, 0.95, 30)
        else:
            assert_contains(heard, said)

    async with Asterisk() as asterisk, ARI(asterisk.http_port) as ari:
        await asyncio.gather(
            *(
                call(asterisk, ari, name, sends)
                for sends in UNDERSTOOD
                for name in (sends, "slin16")
            )
        )


async def test_what_the_preset_calls_unread_is_not_heard() -> None:
    async with (
        Asterisk() as asterisk,
        ARI(asterisk.http_port) as ari,
        external_media(ari, "slin16", "slin16") as leg,
    ):
        heard = await recorded(asterisk, ari, leg, speech(16000))
    assert len(heard) == 0, "docs/gateways.md and the preset's warning are out of date"


async def test_a_caller_behind_a_bridge_and_digits_as_tones(wire: Wire | None) -> None:
    said = speech(16000)
    usual: Any = {"sample_rate": 16000, "dtmf_inband": True}
    async with Asterisk() as asterisk, ARI(asterisk.http_port) as ari:
        async with (
            external_media(ari, "slin16", "g722", **usual) as bot,
            external_media(ari, "g722", "g722", **usual) as caller,
        ):
            bridge = await ari.post("bridges", type="mixing,dtmf_events")
            legs = f"{bot.channel},{caller.channel}"
            await ari.post(f"bridges/{bridge['id']}/addChannel", channel=legs)
            await asyncio.gather(*(leg.us.session.play(said.tobytes()) for leg in (bot, caller)))
            bot.us.session.send_dtmf("5", method="rfc4733")
            await ari.post(f"channels/{bot.channel}/dtmf", dtmf="7")
            await bot.us.session.wait_dtmf()
            for leg in (bot, caller):
                leg.us.session.send_dtmf("159#")
            for leg in (bot, caller):
                await leg.us.wait(lambda leg=leg: "#" in leg.us.digits, "the last tone")  # type: ignore[misc]
        for leg in (bot, caller):
            # A stall of the machine may cut a tone in two; no other is ever heard.
            assert "".join(dict.fromkeys(leg.us.digits)) == "159#"
            assert len(leg.us.heard) > len(said)
        assert not [event for event in ari.events if event["type"] == "ChannelDtmfReceived"]
    if wire is not None:
        await wire.read()
        events = [p for p in wire.rtp(bot.ours) if p.number_of("rtp.p_type") == EVENTS]
        assert events, "we did send one"
        for leg in (bot, caller):
            received = wire.rtp(leg.theirs, leg.ours)
            assert EVENTS not in {p.number_of("rtp.p_type") for p in received}


async def test_the_dialplan_calls_a_bot_on_a_fixed_port() -> None:
    [port] = free_ports()
    dialplan = f"exten => 100,1,Answer()\n same => n,Dial(UnicastRTP/{LOOPBACK}:{port}/c(slin16))\n"
    async with (
        Asterisk(dialplan) as asterisk,
        ARI(asterisk.http_port) as ari,
        RTPSession(
            local_addr=(LOOPBACK, port),
            preset="asterisk-external-media",
            payload_type=ASTERISK_FORMATS["g722"].payload_type,
            source_policy="learn",
            rtcp="off",
        ) as session,
    ):
        us = Ours(session)
        caller = await ari.post("channels", endpoint="Local/100@default", app=APP)
        await ari.event("StasisStart", caller["id"])
        (asterisk.sounds / "said.sln16").write_bytes(speech(16000).tobytes())
        playback = await ari.post(f"channels/{caller['id']}/play", media="sound:said")
        await ari.event("PlaybackFinished", playback["id"])
        await us.audio(400)
        assert session.stats().packets_received > 100
        assert session.stats().unknown_payload_type == 0
        await ari.delete(f"channels/{caller['id']}")


async def recorded(asterisk: Asterisk, ari: ARI, leg: Leg, said: Pcm) -> Pcm:
    """What Asterisk has heard of what we say, at the rate of that."""
    rate = leg.us.session.codec.sample_rate
    name, extension = f"heard-{leg.channel}", {8000: "sln", 16000: "sln16"}[rate]
    await ari.post(f"channels/{leg.channel}/record", name=name, format=extension)
    await ari.event("RecordingStarted", name)
    await leg.us.session.play(said.tobytes())
    # Half a second of silence: by its end Asterisk has read what came before.
    await leg.us.session.play(bytes(rate))
    await ari.post(f"recordings/live/{name}/stop")
    await ari.event("RecordingFinished", name)
    return np.frombuffer(asterisk.recording(f"{name}.{extension}").read_bytes(), "<i2")
