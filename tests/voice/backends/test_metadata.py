"""What options and metadata of `connect` ask for."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from roomkit.voice.backends.rtp import RTPVoiceBackend
from rtp.sound import tone
from rtp.wire import Peer, free_port_pair

LOOPBACK = "127.0.0.1"
LOGGER = "roomkit.voice.backends.rtp"


async def connect(backend: RTPVoiceBackend, metadata: Any = None, options: Any = None) -> Any:
    return await backend.connect("room", "caller", "voice", metadata=metadata, options=options)


async def test_a_session_may_have_a_local_address_of_its_own(
    backend: RTPVoiceBackend, peer: Peer
) -> None:
    """On a host of many addresses each call leaves from the one it belongs to."""
    elsewhere = "127.0.0.2"
    session = await connect(backend, options={"local_addr": [elsewhere, 0]})
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
        first = await connect(backend, options={"local_addr": local})
        second = await connect(backend, {"remote_addr": other.addr}, {"local_addr": local})
        assert first.metadata["local_addr"] == second.metadata["local_addr"] == local
        offer = f"v=0\no=- 1 1 IN IP4 {LOOPBACK}\nc=IN IP4 {LOOPBACK}\nm=audio 40000 RTP/AVP 0\n"
        third = await connect(backend, {"sdp": offer}, {"local_addr": local})
        assert third.metadata["local_addr"] == local
        assert f"m=audio {local[1]} " in third.metadata["sdp_answer"]


async def test_beside_a_fixed_port_of_the_backend_a_session_may_have_a_free_one(
    peer: Peer, no_leaks: None
) -> None:
    fixed = (LOOPBACK, free_port_pair())
    backend = RTPVoiceBackend(local_addr=fixed, remote_addr=peer.addr)
    first = await connect(backend, None)
    second = await connect(
        backend, options={"local_addr": (LOOPBACK, 0)}
    )  # the same peer: own socket
    assert first.metadata["local_addr"] == fixed != second.metadata["local_addr"]
    await backend.close()


@pytest.mark.parametrize(
    ("metadata", "options", "said"),
    [
        (
            None,
            {"local_addr": "127.0.0.1:5000"},
            r"local_addr: '127.0.0.1:5000'; a \(host, port\) pair",
        ),
        (
            None,
            {"local_addr": (LOOPBACK, 70_000)},
            "local_addr: port 70000; an integer from 0 to 65535",
        ),
        (None, {"local_addr": ("::1", 0)}, "remote_addr: '127.0.0.1' cannot be reached from"),
        ({"remote_addr": "192.0.2.1:5000"}, None, "remote_addr: '192.0.2.1:5000'; a"),
        ({"offer_sdp": "no"}, None, "metadata: offer_sdp: 'no'; True or False fits"),
        ({"sdp": "v=0", "offer_sdp": True}, None, "metadata: sdp and offer_sdp; only one of"),
        ({"sdp": "v=0"}, {"payload_type": 8}, "options: payload_type: SDP decides it"),
        ([("sdp", "v=0")], None, r"metadata: \[\('sdp', 'v=0'\)\]; a dict or None fits"),
        (None, [("ptime_ms", 20)], r"options: \[\('ptime_ms', 20\)\]; a dict or None fits"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    backend: RTPVoiceBackend, metadata: Any, options: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        await connect(backend, metadata, options)
    assert backend.list_sessions("room") == []


async def test_an_option_that_is_none_is_named(backend: RTPVoiceBackend) -> None:
    with pytest.raises(TypeError, match="payload_typ: there is no such option; payload_type is"):
        await connect(backend, options={"payload_typ": 8})


@pytest.mark.parametrize(
    "own",
    [
        {"direction": "inbound"},
        {"preset": "vip"},
        {"channels": ["sms", "voice"]},
        {"codecs": "all of them"},
        {"local_addr": "12 High Street"},
    ],
    ids=lambda own: next(iter(own)),
)
async def test_a_name_of_an_option_with_a_value_that_is_none_is_the_application_s_own(
    backend: RTPVoiceBackend, own: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        session = await connect(backend, own)
    assert {"direction", "preset"}.isdisjoint(own) or session.metadata.items() >= own.items()
    assert [record for record in caplog.records if record.name == LOGGER] == []


async def test_an_option_in_metadata_counts_for_now_and_is_warned_of_once(
    backend: RTPVoiceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(2):
            session = await connect(backend, {"payload_type": 8})
            assert session.metadata["codec"] == "PCMA"
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert said == [
        "metadata: 'payload_type' is an option of the backend, and is given as"
        " options={'payload_type': …}; in metadata it will be the application's own"
    ]


async def test_options_come_before_metadata(backend: RTPVoiceBackend) -> None:
    session = await connect(backend, {"payload_type": 8}, {"payload_type": 0})
    assert session.metadata["codec"] == "PCMU"


async def test_a_key_that_is_almost_an_option_is_warned_of_once_and_kept(
    backend: RTPVoiceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"remote_address": ("192.0.2.1", 9), "sdp_offer": "v=0"}
    with caplog.at_level(logging.WARNING, LOGGER):
        session = await connect(backend, given)
        await connect(backend, given)
    assert {name: session.metadata[name] for name in given} == given
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert said == [
        f"metadata: {key!r} is no option, and kept as the application's own; {meant!r} is one"
        for key, meant in (
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
