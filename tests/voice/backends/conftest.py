from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.leaks import no_leaks
from rtp.wire import Peer

__all__ = ["backend", "no_leaks", "peer"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        yield made


@pytest_asyncio.fixture
async def backend(no_leaks: None, peer: Peer) -> AsyncIterator[RTPVoiceBackend]:
    """A backend whose sessions talk to `peer`."""
    made = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=peer.addr)
    yield made
    await made.close()
