"""The matrix: every peer, every codec, both directions, with human speech.

All codecs of a peer are spoken at the same time, and then each cell is judged for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from interop import calls
from interop.calls import Result
from interop.judge import ROWS, Row, assert_decoded_as_by_ffmpeg, assert_original
from interop.wire import Wire

pytestmark = pytest.mark.interop

PEERS: dict[str, Callable[[Row, Path], Awaitable[Result]]] = {
    "ffmpeg": calls.ffmpeg,
    "GStreamer": calls.gstreamer,
}
CELLS = [pytest.param(peer, row, id=f"{peer}-{row}") for peer in PEERS for row in ROWS]


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Calls]:
    found = {}
    for peer, call in PEERS.items():
        path = tmp_path_factory.mktemp(peer)
        for row in ROWS:
            (path / row.name).mkdir()
        async with Wire(path / "wire.pcap") as wire:
            results = await asyncio.gather(
                *(call(row, path / row.name) for row in ROWS), return_exceptions=True
            )
        found[peer] = Calls(
            wire, {row.name: result for row, result in zip(ROWS, results, strict=True)}
        )
    return found


@pytest.mark.parametrize(("peer", "row"), CELLS)
def test_in_we_hear_what_the_peer_says(matrix: dict[str, Calls], peer: str, row: Row) -> None:
    calls = matrix[peer]
    call = calls[row]
    packets = calls.wire.payloads(
        call.incoming.source, call.incoming.payload_type, call.incoming.destination
    )
    assert_decoded_as_by_ffmpeg(row, call.heard, packets)
    assert_original(row, call.heard)
    assert call.lost == 0


@pytest.mark.parametrize(("peer", "row"), CELLS)
def test_out_the_peer_hears_what_we_say(matrix: dict[str, Calls], peer: str, row: Row) -> None:
    calls = matrix[peer]
    call = calls[row]
    packets = calls.wire.payloads(
        call.outgoing.source, call.outgoing.payload_type, call.outgoing.destination
    )
    assert_original(row, row.decode(packets))
    assert_decoded_as_by_ffmpeg(row, call.theirs, packets)
    assert_original(row, call.theirs)


@pytest.mark.parametrize("peer", PEERS)
def test_tshark_finds_nothing_wrong(matrix: dict[str, Calls], peer: str) -> None:
    assert matrix[peer].wire.packets
    assert matrix[peer].wire.complaints() == []
