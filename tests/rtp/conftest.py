from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtp.leaks import no_leaks
from rtp.wire import Peer

__all__ = ["no_leaks", "peer"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        yield made
