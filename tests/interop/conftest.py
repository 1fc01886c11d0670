"""Every test with another implementation is captured, and tshark has nothing to find in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interop import steady
from interop.wire import Wire, can_capture


@pytest_asyncio.fixture(autouse=True)
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire | None]:
    """The test's capture; None where nothing can be captured, which `test_tshark` reports.

    A test excuses by `wire.excuse(port, why)` what a peer of it is known to send wrongly. Those of
    the matrix judge calls that were captured before.
    """
    calls = request.node.get_closest_marker("interop") and "matrix" not in request.fixturenames
    if not calls or not can_capture():
        yield None
        return
    async with Wire(tmp_path / "wire.pcap") as wire:
        yield wire
    assert wire.complaints() == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which calls were made again, because a peer of them did not keep its time."""
    if steady.REPEATED:
        terminalreporter.section("made again: a peer did not keep its time")
        for line in steady.REPEATED:
            terminalreporter.line(line)
