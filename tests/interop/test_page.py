"""Codecs named by `payload_type` and `clock_rate` alone, as the published page names them, both
ways with ffmpeg and GStreamer; and digits under `dtmf_payload_type` beside them."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from interop import calls
from interop.calls import Ports, Result
from interop.gstreamer import GStreamer
from interop.judge import BY_NAME, Row, assert_decoded_as_by_ffmpeg, assert_original
from interop.ours import ours
from interop.peers import free_ports, until
from interop.sound import speech, write_wav
from interop.steady import again_if_unsteady
from interop.wire import Wire
from roomkit.rtp import RTPOptions

pytestmark = pytest.mark.interop

L16 = BY_NAME["L16"]
PAGE = [
    BY_NAME["PCMU"],
    BY_NAME["PCMA"],
    BY_NAME["G722"],
    replace(L16, payload_type=11, clock_rate=44100, rate=44100),
    replace(L16, payload_type=96, clock_rate=8000, rate=8000),
    replace(L16, payload_type=127, clock_rate=24000, rate=24000),
    BY_NAME["opus"],
    replace(BY_NAME["opus"], payload_type=120),
]
PEERS = {"ffmpeg": calls.ffmpeg, "GStreamer": calls.gstreamer}


def named(row: Row) -> dict[str, int]:
    """As the page has it."""
    return {"payload_type": row.payload_type, "clock_rate": row.clock_rate}


def type_of(row: Row) -> str:
    return f"{row.name}-{row.payload_type}-{row.clock_rate}"


@pytest.mark.parametrize("row", PAGE, ids=type_of)
def test_two_parameters_name_a_codec(row: Row) -> None:
    options = RTPOptions(**named(row))  # type: ignore[arg-type]
    assert options.codec.rtpmap == row.rtpmap
    assert options.codec.sample_rate == row.rate


@pytest.mark.parametrize("peer", PEERS)
@again_if_unsteady
async def test_they_make_calls_in_which_both_ends_hear_all(
    peer: str, tmp_path: Path, wire: Wire | None
) -> None:
    made: list[Result] = []
    for some in (PAGE[:4], PAGE[4:]):
        paths = []
        for row in some:
            row.said()
            # Another one each time that the calls are made.
            paths.append(Path(tempfile.mkdtemp(prefix=type_of(row), dir=tmp_path)))
        made += await asyncio.gather(
            *(PEERS[peer](row, path, **named(row)) for row, path in zip(some, paths, strict=True))
        )
    if wire is not None:
        await wire.read()
    for row, call in zip(PAGE, made, strict=True):
        assert_original(row, call.heard)
        assert_original(row, call.theirs)
        assert (call.lost, call.unread) == (0, 0)
        if wire is not None:
            for ports, heard in ((call.incoming, call.heard), (call.outgoing, call.theirs)):
                assert_decoded_as_by_ffmpeg(row, heard, payloads(wire, ports))


def payloads(wire: Wire, ports: Ports) -> list[bytes]:
    return wire.payloads(ports.source, ports.payload_type, ports.destination)


@pytest.mark.parametrize("row", [BY_NAME["PCMU"], BY_NAME["opus"]], ids=type_of)
async def test_rfc4733_2_1_digits_count_at_the_clock_of_the_codec(row: Row, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "said.wav", np.tile(speech(row.rate), 10), row.rate)
    theirs, port = free_ports(2)
    async with (
        ours(port, theirs, **named(row), dtmf_payload_type=101) as us,
        GStreamer(
            theirs,
            port,
            tmp_path / "heard.raw",
            codec=row.name.upper(),
            rate=row.rate,
            clock_rate=row.clock_rate,
            payload_type=row.payload_type,
            dtmf_payload_type=101,
            play=wav,
        ) as gst,
    ):
        await us.wait(lambda: len(us.frames) > 10, "audio of GStreamer")
        us.session.send_dtmf("159D", duration_ms=100)
        for digit in "2#4":
            gst.press(digit, 100)
        await us.wait(partial(us.has_digits, "2#4"), "their digits", 30)
        await until(lambda: len(gst.digits) >= 4, "our digits")
        await gst.quit()
    assert (us.digits, gst.digits) == ("2#4", "159D")
