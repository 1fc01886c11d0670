"""What the metadata of `connect` asks for."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"
LOGGER = "roomkit.voice.backends.rtp"


async def connect(backend: RTPVoiceBackend, metadata: Any) -> Any:
    return await backend.connect("room", "caller", "voice", metadata=metadata)


async def test_a_session_may_have_a_local_address_of_its_own(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    """On a host of many addresses each call leaves from the one it belongs to."""
    elsewhere = "127.0.0.2"
    session = await connect(backend, {"local_addr": [elsewhere, 0]})
    host, port = session.metadata["local_addr"]
    assert host == elsewhere
    assert port > 0
    await backend.send_audio(session, tone(440, 60))
    await peer.until(lambda: len(peer.packets) == 3)
    assert {packet.source for packet in peer.packets} == {(elsewhere, port)}


async def test_sessions_on_one_fixed_local_address_of_the_metadata_share_it(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    local = (LOOPBACK, free_port_pair())
    with Peer() as other:
        first = await connect(backend, {"local_addr": local})
        second = await connect(backend, {"local_addr": local, "remote_addr": other.addr})
        assert first.metadata["local_addr"] == second.metadata["local_addr"] == local
        offer = f"v=0\no=- 1 1 IN IP4 {LOOPBACK}\nc=IN IP4 {LOOPBACK}\nm=audio 40000 RTP/AVP 0\n"
        third = await connect(backend, {"local_addr": local, "sdp": offer})
        assert third.metadata["local_addr"] == local
        assert f"m=audio {local[1]} " in third.metadata["sdp_answer"]


async def test_beside_a_fixed_port_of_the_backend_a_session_may_have_a_free_one(
    peer: Peer, no_leaks: None
) -> None:
    fixed = (LOOPBACK, free_port_pair())
    backend = RTPVoiceBackend(local_addr=fixed, remote_addr=peer.addr)
    first = await connect(backend, None)
    second = await connect(backend, {"local_addr": (LOOPBACK, 0)})  # the same peer: own socket
    assert first.metadata["local_addr"] == fixed != second.metadata["local_addr"]
    await backend.close()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"local_addr": "127.0.0.1:5000"}, r"local_addr: '127.0.0.1:5000'; a \(host, port\) pair"),
        ({"local_addr": (LOOPBACK, 70_000)}, "local_addr: port 70000; an integer from 0 to 65535"),
        ({"local_addr": ("::1", 0)}, "remote_addr: '127.0.0.1' cannot be reached from"),
        ({"offer_sdp": "no"}, "metadata: offer_sdp: 'no'; True or False fits"),
        ({"sdp": "v=0", "offer_sdp": True}, "metadata: sdp and offer_sdp; only one of the two"),
        ([("sdp", "v=0")], r"metadata: \[\('sdp', 'v=0'\)\]; a dict or None fits"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    backend: RTPVoiceBackend, metadata: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        await connect(backend, metadata)
    assert backend.list_sessions("room") == []


async def test_a_key_that_is_almost_an_option_is_warned_of_once_and_kept(
    backend: RTPVoiceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"payload_typ": 8, "remote_address": ("192.0.2.1", 9), "sdp_offer": "v=0"}
    with caplog.at_level(logging.WARNING, LOGGER):
        session = await connect(backend, given)
        await connect(backend, given)
    assert {name: session.metadata[name] for name in given} == given
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert said == [
        f"metadata: {key!r} is no option, and kept as the application's own; {meant!r} is one"
        for key, meant in (
            ("payload_typ", "payload_type"),
            ("remote_address", "remote_addr"),
            ("sdp_offer", "sdp"),
        )
    ]


async def test_the_application_s_own_keys_and_what_the_backend_wrote_are_not_warned_of(
    backend: RTPVoiceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"caller": "alice", "tenant": "acme", "call_id": 7, "codec": "PCMA", "from": "a", 5: 6}
    with caplog.at_level(logging.WARNING, LOGGER):
        session = await connect(backend, own)
        await connect(backend, {**session.metadata, "local_addr": (LOOPBACK, 0)})
    assert [record for record in caplog.records if record.name == LOGGER] == []
