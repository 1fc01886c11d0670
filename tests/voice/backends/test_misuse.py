"""What is no session, or no argument, is told at once, by every method of the backend."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from roomkit import RoomKit, VoiceChannel
from roomkit.rtp import RTPSession
from roomkit.voice.backends.base import VoiceBackend
from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.pipeline import AudioPipelineConfig

ARGUMENTS: dict[str, Any] = {
    "audio": bytes(320),
    "chunk": bytes(320),
    "digit": "5",
    "muted": True,
    "callback": print,
    "text": "hello",
    "remote_addr": ("127.0.0.1", 40000),
    "sdp": "v=0",
}
"""What fits every other parameter that has no default."""
NO_SESSIONS = [None, "ab12", 7, b"id", object(), RTPSession(remote_addr=("127.0.0.1", 40000))]


def with_session(kind: type) -> list[str]:
    """The methods of `kind` that take a session first."""
    return [
        name
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        and list(inspect.signature(method).parameters)[1:2] == ["session"]
    ]


async def call(thing: Any, name: str, session: Any) -> None:
    method = getattr(thing, name)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    needed = [each for each in parameters if each.default is each.empty]
    given = {
        each.name: ARGUMENTS[each.name]
        for each in needed
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    result = method(session, **given)
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("session", NO_SESSIONS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("name", with_session(RTPVoiceBackend))
async def test_what_is_no_session_is_a_type_error_that_says_so(name: str, session: Any) -> None:
    shown = repr(session) if session is None or isinstance(session, str) else type(session).__name__
    with pytest.raises(TypeError) as caught:
        await call(RTPVoiceBackend(), name, session)
    assert str(caught.value) == (
        f"session: {shown}; a VoiceSession, as connect and join return it, fits"
    )


# `session_ended` is the kit's to call.
@pytest.mark.parametrize("name", sorted({*with_session(VoiceChannel)} - {"session_ended"}))
async def test_a_channel_says_the_same(name: str) -> None:
    channel = VoiceChannel("voice", backend=RTPVoiceBackend())
    with pytest.raises(TypeError, match="^session: None; a VoiceSession"):
        await call(channel, name, None)


async def test_a_kit_says_the_same() -> None:
    async with RoomKit() as kit:
        with pytest.raises(TypeError, match="^session: None; a VoiceSession"):
            await kit.leave(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [5, b"room", [], {}, object()])
async def test_a_kit_says_what_is_no_id_no_metadata_and_no_category(wrong: Any) -> None:
    async with RoomKit() as kit:
        kit.register_channel(VoiceChannel("voice", backend=RTPVoiceBackend()))
        room = (await kit.create_room()).id
        for call, name in (
            (lambda: kit.create_room(wrong), "room_id"),
            (lambda: kit.attach_channel(wrong, "voice"), "room_id"),
            (lambda: kit.attach_channel(room, wrong), "channel_id"),
            (lambda: kit.join(wrong, "voice"), "room_id"),
            (lambda: kit.join(room, wrong), "channel_id"),
            (lambda: kit.join(room, "voice", participant_id=wrong), "participant_id"),
        ):
            with pytest.raises(TypeError, match=f"^{name}: .*; a str fits"):
                await call()
        with pytest.raises(ValueError, match="^category: .* or None fits"):
            await kit.attach_channel(room, "voice", wrong)
        if wrong != {}:
            for refused in (
                lambda: kit.create_room(metadata=wrong),
                lambda: kit.attach_channel(room, "voice", metadata=wrong),
                lambda: kit.join(room, "voice", metadata=wrong),
            ):
                with pytest.raises(ValueError, match="^metadata: .*; a dict or None fits"):
                    await refused()


@pytest.mark.parametrize("name", ["pre_roll_ms", "max_utterance_ms"])
@pytest.mark.parametrize("wrong", [None, "300", True, float("nan"), 10**400])
def test_a_pipeline_says_which_number_does_not_fit(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*00 fits"):
        AudioPipelineConfig(**{name: wrong})


def test_no_method_is_left_out() -> None:
    assert {"send_dtmf", "stats", "disconnect", "update"} < set(with_session(RTPVoiceBackend))
    assert set(with_session(VoiceBackend)) <= set(with_session(RTPVoiceBackend))


@pytest.mark.parametrize("name", ["room_id", "participant_id", "channel_id"])
@pytest.mark.parametrize("value", [None, 5, b"room"])
async def test_ids_are_strings(backend: RTPVoiceBackend, name: str, value: Any) -> None:
    ids = {"room_id": "room", "participant_id": "caller", "channel_id": "voice", name: value}
    with pytest.raises(TypeError, match=f"^{name}: {value!r}; a str fits"):
        await backend.connect(**ids)
    assert not backend.sessions


async def test_other_arguments_are_checked_as_well(backend: RTPVoiceBackend) -> None:
    session = await backend.connect("room", "caller", "voice")
    for role, text in (("user", None), ("user", b"hello"), (None, "hello")):
        with pytest.raises(TypeError, match="^(text|role): (NoneType|bytes); a str fits"):
            await backend.send_transcription(session, text, role)  # type: ignore[arg-type]
    for wrong in (None, "yes", 1):
        with pytest.raises(ValueError, match="^muted: .*; True or False fits"):
            backend.set_input_muted(session, wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="^masked: .*; True or False fits"):
            backend.mask_digits(session, wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="^log_transcripts: .*; True or False fits"):
            RTPVoiceBackend(log_transcripts=wrong)  # type: ignore[arg-type]
