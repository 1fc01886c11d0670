from __future__ import annotations

from collections.abc import Iterator

import pytest

from attacks.scene import Attacker
from rtp.leaks import no_leaks
from rtp.wire import Peer

__all__ = ["attacker", "no_leaks", "peer"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        yield made


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    with Attacker() as made:
        yield made
