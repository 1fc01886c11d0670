"""Sessions and chunks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from roomkit.errors import SessionEndedError
from roomkit.voice.base import AudioChunk, VoiceCapability, VoiceSession, VoiceSessionState
from roomkit.voice.events import DTMFEvent


def session() -> VoiceSession:
    return VoiceSession("s", "room", "ann", "phone")


def test_a_session_begins_connecting_now_in_utc() -> None:
    one = session()
    assert one.state is VoiceSessionState.CONNECTING
    assert one.created_at.utcoffset() == timedelta(0)
    assert (one.provider_session_id, one.metadata) == (None, {})
    assert one != session()
    assert {one: 1}[one] == 1


@pytest.mark.parametrize("state", [each for each in VoiceSessionState if each != "ended"])
def test_nothing_leaves_ended(state: VoiceSessionState) -> None:
    one = session()
    assert one.transition(VoiceSessionState.ENDED)
    assert not one.transition(VoiceSessionState.ENDED)
    with pytest.raises(SessionEndedError, match=f"session s has ended; cannot become {state}"):
        one.state = state
    assert one.ended


def test_a_state_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="ringing"):
        session().state = "ringing"  # type: ignore[assignment]


def test_the_repr_of_a_session_keeps_its_metadata_to_itself() -> None:
    one = session()
    one.metadata["srtp_key"] = "c2VjcmV0"
    assert "c2VjcmV0" not in repr(one)


def test_capabilities_combine() -> None:
    both = VoiceCapability.DTMF_SIGNALING | VoiceCapability.INTERRUPTION
    assert VoiceCapability.INTERRUPTION in both
    assert VoiceCapability.NATIVE_AEC not in both
    assert not VoiceCapability.NONE


def test_a_chunk_has_the_published_defaults() -> None:
    chunk = AudioChunk(bytes(640))
    assert (chunk.sample_rate, chunk.channels, chunk.format) == (16000, 1, "pcm_s16le")
    assert (chunk.timestamp_ms, chunk.is_final, chunk.duration_ms) == (None, False, 20.0)
    assert AudioChunk(memoryview(bytes(4))).data == bytes(4)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"format": "mp3"}, {"sample_rate": 0}, {"channels": 9}])
def test_a_chunk_that_does_not_fit_names_the_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AudioChunk(**{"data": b"", **wrong})


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(("E", 100), "digit"), (("", 100), "digit"), (("12", 1), "digit"), (("a", 1), "digit"),
     (("1", -1), "duration_ms"), (("1", 1, 1.01), "confidence")],
)  # fmt: skip
def test_a_digit_that_cannot_be_is_refused(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        DTMFEvent(*arguments)
    assert "5" not in repr(DTMFEvent("5", 100))
