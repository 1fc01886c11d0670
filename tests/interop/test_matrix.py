"""The matrix: every peer, every codec, both directions, with human speech.

All codecs of a peer are spoken at the same time, and then each cell is judged for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio

from interop import calls
from interop.calls import CallOf, Ports, Result
from interop.judge import (
    BY_NAME,
    ROWS,
    Row,
    assert_decoded_as_by_ffmpeg,
    assert_near,
    assert_original,
    transcoded,
)
from interop.peers import Peer, require
from interop.rtpengine import PACKAGE, RTPEngine
from interop.steady import ATTEMPTS, REPEATED, unsteady
from interop.wire import Wire

# All calls are made before the first cell is judged: a minute, and more where some are made again.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

Lab: TypeAlias = Callable[[Path], AbstractAsyncContextManager[CallOf]]


@contextlib.asynccontextmanager
async def ffmpeg(_path: Path) -> AsyncIterator[CallOf]:
    yield calls.ffmpeg


@contextlib.asynccontextmanager
async def gstreamer(_path: Path) -> AsyncIterator[CallOf]:
    yield calls.gstreamer


@contextlib.asynccontextmanager
async def baresip(_path: Path) -> AsyncIterator[CallOf]:
    yield calls.baresip


@contextlib.asynccontextmanager
async def rtpengine_forwards(path: Path) -> AsyncIterator[CallOf]:
    async with RTPEngine(path) as engine:
        yield lambda row, _: calls.through_rtpengine(engine, row, row)


@contextlib.asynccontextmanager
async def rtpengine_transcodes(path: Path) -> AsyncIterator[CallOf]:
    """To A-law, and A-law to µ-law."""
    async with RTPEngine(path) as engine:
        yield lambda row, _: calls.through_rtpengine(
            engine, row, BY_NAME["PCMU" if row.name == "PCMA" else "PCMA"]
        )


@contextlib.asynccontextmanager
async def rtpengine_srtp(path: Path) -> AsyncIterator[CallOf]:
    """Encrypted between us and rtpengine, in the clear behind it."""
    async with RTPEngine(path) as engine:
        yield lambda row, _: calls.through_rtpengine(engine, row, row, encrypted=True)


PEERS: dict[str, Lab] = {
    "ffmpeg": ffmpeg,
    "GStreamer": gstreamer,
    "baresip": baresip,
    "rtpengine-forwards": rtpengine_forwards,
    "rtpengine-transcodes": rtpengine_transcodes,
    "rtpengine-SRTP": rtpengine_srtp,
}
# What a peer does not offer. `test_what_is_not_offered` asks it.
NOT_OFFERED = {("rtpengine-transcodes", "L16")}
CELLS = [
    pytest.param(peer, row, id=f"{peer}-{row}")
    for peer in PEERS
    for row in ROWS
    if (peer, row.name) not in NOT_OFFERED
]


class Calls:
    """All calls with one peer, and what they put on the wire."""

    def __init__(self, wire: Wire, results: dict[str, Result | BaseException]) -> None:
        self.wire = wire
        self._results = results

    def __getitem__(self, row: Row) -> Result:
        result = self._results[row.name]
        if isinstance(result, BaseException):
            raise result
        return result

    def payloads(self, ports: Ports) -> list[bytes]:
        return self.wire.payloads(ports.source, ports.payload_type, ports.destination)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Calls]:
    """The calls with every peer. One that cannot be made is raised where its cells are judged."""
    return {
        name: await _all_calls(name, lab, tmp_path_factory.mktemp(name))
        for name, lab in PEERS.items()
    }


async def _all_calls(peer: str, lab: Lab, path: Path) -> Calls:
    """The calls with a peer; made again if they are not as they should be and it was the peer that
    did not keep its time."""
    rows = [row for row in ROWS if (peer, row.name) not in NOT_OFFERED]
    for row in rows:
        row.said()
    for attempt in range(1, ATTEMPTS + 1):
        calls = await _calls(peer, lab, path / str(attempt), rows)
        why = unsteady(calls.wire.packets)
        if not why or attempt == ATTEMPTS or all(_is_sound(calls, row) for row in rows):
            break
        REPEATED.append(f"the matrix with {peer}: {'; '.join(why)}")
    return calls


async def _calls(peer: str, lab: Lab, path: Path, rows: list[Row]) -> Calls:
    for row in rows:
        (path / row.name).mkdir(parents=True)
    wire = Wire(path / "wire.pcap")
    try:
        async with wire, lab(path) as call:
            results = await asyncio.gather(
                *(call(row, path / row.name) for row in rows), return_exceptions=True
            )
    except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:  # noqa: BLE001
        results = [error] * len(rows)
    for result in results:
        if not isinstance(result, BaseException):
            for ports in result.encrypted:
                wire.excuse(ports.source + 1, "encrypted RTCP, which tshark has no key for")
    return Calls(wire, {row.name: result for row, result in zip(rows, results, strict=True)})


def _is_sound(calls: Calls, row: Row) -> bool:
    try:
        judge_in(calls, row)
        judge_out(calls, row)
    except (AssertionError, TimeoutError):
        return False
    return True


@pytest.mark.parametrize(("peer", "row"), CELLS)
def test_in_we_hear_what_the_peer_says(matrix: dict[str, Calls], peer: str, row: Row) -> None:
    judge_in(matrix[peer], row)


@pytest.mark.parametrize(("peer", "row"), CELLS)
def test_out_the_peer_hears_what_we_say(matrix: dict[str, Calls], peer: str, row: Row) -> None:
    judge_out(matrix[peer], row)


def judge_in(calls: Calls, row: Row) -> None:
    call = calls[row]
    judged, original = (row, row.said()) if call.far is None else transcoded(call.far, row)
    packets = calls.payloads(call.incoming)
    assert_decoded_as_by_ffmpeg(row, call.heard, packets, original)
    assert_original(judged, call.heard, original)
    assert (call.lost, call.unread) == (0, 0)


def judge_out(calls: Calls, row: Row) -> None:
    call = calls[row]
    packets = calls.payloads(call.outgoing)
    assert_original(row, row.decode(packets))
    if call.tolerance:
        assert_near(call.theirs, row.decode(packets), call.tolerance)
    elif call.far is None:
        assert_decoded_as_by_ffmpeg(row, call.theirs, packets)
        assert_original(row, call.theirs)
    else:
        judged, original = transcoded(row, call.far)
        assert_original(judged, call.theirs, original)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_encrypted_cannot_be_heard(matrix: dict[str, Calls], row: Row) -> None:
    calls = matrix["rtpengine-SRTP"]
    call = calls[row]
    for clear, encrypted in zip((call.incoming, call.outgoing), call.encrypted, strict=True):
        plain, hidden = calls.payloads(clear), calls.payloads(encrypted)
        assert len(hidden) == len(plain)
        # Counter mode, and a tag of 80 bits behind it (RFC 3711 §4.1.1, §4.2).
        assert all(len(h) == len(p) + 10 for h, p in zip(hidden, plain, strict=True))
        assert not any(p in h for h, p in zip(hidden, plain, strict=True))


@pytest.mark.parametrize("peer", PEERS)
def test_tshark_finds_nothing_wrong(matrix: dict[str, Calls], peer: str) -> None:
    calls = matrix[peer]
    for row in ROWS:
        if (peer, row.name) not in NOT_OFFERED:
            assert calls[row].lost == 0
    assert calls.wire.packets
    assert calls.wire.complaints() == []


def test_two_ports_and_late_reports(matrix: dict[str, Calls]) -> None:
    """ffmpeg sends from another port than it receives on; GStreamer's reports come late."""
    for row in ROWS:
        call = matrix["ffmpeg"][row]
        assert call.incoming.source != call.outgoing.destination
        calls = matrix["GStreamer"]
        port = calls[row].incoming.source
        speech = [packet.number for packet in calls.wire.rtp(port)]
        reports = [packet.number for packet in calls.wire.packets if packet.source == port + 1]
        assert speech[20] < min(reports)


def test_the_documentation_has_this_matrix() -> None:
    names = {"G722": "G.722", "opus": "Opus"}
    lines = ["| peer | " + " | ".join(names.get(row.name, row.name) for row in ROWS) + " |"]
    lines += ["| --- |" + " --- |" * len(ROWS)]
    for peer in PEERS:
        cells = ["—" if (peer, row.name) in NOT_OFFERED else "in, out" for row in ROWS]
        lines += [f"| {peer.replace('-', ' ')} | " + " | ".join(cells) + " |"]
    page = Path(__file__).parents[2] / "docs" / "testing.md"
    assert "\n".join(lines) in page.read_text(), "docs/testing.md should have\n" + "\n".join(lines)


async def test_what_is_not_offered() -> None:
    """rtpengine forwards L16, and has a decoder for it, but no RTP to transcode it from or to."""
    async with Peer([require("rtpengine", PACKAGE), "--codecs"]) as rtpengine:
        await rtpengine.exit()
    offered = [
        line.split(":")[0].strip() for line in rtpengine.lines if line.endswith("fully supported")
    ]
    missing = {("rtpengine-transcodes", row.name) for row in ROWS if row.name not in offered}
    assert missing == {cell for cell in NOT_OFFERED if cell[0] == "rtpengine-transcodes"}
