"""Every exception roomkit raises on purpose, in one tree.

::

    RoomKitError
    ├── KitClosedError (RuntimeError)            the RoomKit was closed
    ├── RoomError
    │   ├── RoomExistsError (ValueError)         create_room with an id that is taken
    │   └── RoomNotFoundError (LookupError)      no room of that id
    ├── ChannelError
    │   ├── ChannelExistsError (ValueError)      register_channel with an id that is taken
    │   ├── ChannelBoundError (ValueError)       the channel is another kit's
    │   ├── ChannelNotRegisteredError (LookupError)  no channel of that id
    │   ├── ChannelNotAttachedError (LookupError)    the channel is not in that room
    │   └── ChannelTypeError (TypeError)         the channel is of a kind that cannot do that
    ├── ParticipantExistsError (ValueError)      join with a participant id already in the room
    ├── SessionError
    │   ├── SessionEndedError (RuntimeError)     the call is over: nothing leaves ENDED
    │   │   └── CallEnded                        the same, told to who waits in a `Call`; `.reason`
    │   ├── SessionNotFoundError (LookupError)   the backend, channel or kit has no such session
    │   └── SessionFaultError (RuntimeError)     the media core ended the session by itself
    ├── BackendError
    │   ├── BackendClosedError (RuntimeError)    the backend was closed
    │   ├── AddressConflictError (ValueError)    two sessions of one port could not be told apart
    │   ├── PortsExhaustedError (OSError)        no local port is left to take
    │   └── QueueFullError (RuntimeError)        a bounded queue is full; try again later
    ├── ProviderError
    │   ├── ProviderMissingError (RuntimeError)  the channel has no stt, tts or backend for that
    │   ├── ProviderUnavailableError (RuntimeError)  a program or library is not installed
    │   └── SynthesisError (RuntimeError)        a voice or prompt could not be produced
    └── CloseError (RuntimeError)                parts of a close failed; `.errors` lists them

Wrong arguments are plain `ValueError` and `TypeError`: they name the argument, the value that
came and what fits. The classes above also derive from the built-in exception they resemble, so
that `except LookupError` does what it says. Bad packets are never exceptions: they are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

__all__ = [
    "AddressConflictError",
    "BackendClosedError",
    "BackendError",
    "CallEnded",
    "ChannelBoundError",
    "ChannelError",
    "ChannelExistsError",
    "ChannelNotAttachedError",
    "ChannelNotRegisteredError",
    "ChannelTypeError",
    "CloseError",
    "KitClosedError",
    "ParticipantExistsError",
    "PortsExhaustedError",
    "ProviderError",
    "ProviderMissingError",
    "ProviderUnavailableError",
    "QueueFullError",
    "RoomError",
    "RoomExistsError",
    "RoomKitError",
    "RoomNotFoundError",
    "SessionEndedError",
    "SessionError",
    "SessionFaultError",
    "SessionNotFoundError",
    "SynthesisError",
]

_LONGEST: Final = 200  # characters of a wrong value that are shown


class RoomKitError(Exception):
    """Root of the tree: `except RoomKitError` catches whatever roomkit itself raised."""


class KitClosedError(RoomKitError, RuntimeError):
    """The `RoomKit` was closed; it takes no new rooms, channels or calls."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"cannot {doing}: this RoomKit is closed")


# --- rooms -----------------------------------------------------------------------------------


class RoomError(RoomKitError):
    """Something about a room; `.room_id` says which."""

    def __init__(self, room_id: str, message: str) -> None:
        super().__init__(message)
        self.room_id = room_id


class RoomExistsError(RoomError, ValueError):
    """A room of that id exists already."""

    def __init__(self, room_id: str) -> None:
        super().__init__(room_id, f"room_id: {room_id!r} exists already; use another id, or none")


class RoomNotFoundError(RoomError, LookupError):
    """There is no room of that id."""

    def __init__(self, room_id: str, known: Iterable[str] = ()) -> None:
        super().__init__(
            room_id, f"room_id: there is no room {room_id!r}; {_these('rooms', known)}"
        )


# --- channels --------------------------------------------------------------------------------


class ChannelError(RoomKitError):
    """Something about a channel; `.channel_id` says which."""

    def __init__(self, channel_id: str, message: str) -> None:
        super().__init__(message)
        self.channel_id = channel_id


class ChannelExistsError(ChannelError, ValueError):
    """A channel of that id is registered already."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(channel_id, f"channel_id: {channel_id!r} is registered already")


class ChannelBoundError(ChannelError, ValueError):
    """The channel is registered with another kit: a channel belongs to one."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(
            channel_id,
            f"channel: {channel_id!r} is registered with another RoomKit already; a channel of its"
            " own for each kit fits",
        )


class ChannelNotRegisteredError(ChannelError, LookupError):
    """No channel of that id was given to `register_channel`."""

    def __init__(self, channel_id: str, known: Iterable[str] = ()) -> None:
        super().__init__(
            channel_id,
            f"channel_id: {channel_id!r} is not registered; {_these('channels', known)}",
        )


class ChannelNotAttachedError(ChannelError, LookupError):
    """The channel is registered, but not attached to that room."""

    def __init__(self, channel_id: str, room_id: str) -> None:
        super().__init__(
            channel_id,
            f"channel_id: {channel_id!r} is not attached to room {room_id!r};"
            " call attach_channel first",
        )
        self.room_id = room_id


class ChannelTypeError(ChannelError, TypeError):
    """The channel exists and is of a kind that cannot do what was asked."""


class ParticipantExistsError(RoomError, ValueError):
    """A participant of that id is in the room already."""

    def __init__(self, room_id: str, participant_id: str) -> None:
        super().__init__(
            room_id, f"participant_id: {participant_id!r} is in room {room_id!r} already"
        )
        self.participant_id = participant_id


# --- calls -----------------------------------------------------------------------------------


class SessionError(RoomKitError):
    """Something about one call; `.session_id` says which."""

    def __init__(self, session_id: str, message: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class SessionEndedError(SessionError, RuntimeError):
    """The call is over. ENDED is final: a new call is a new session."""

    def __init__(self, session_id: str, doing: str = "use it") -> None:
        super().__init__(
            session_id, f"session {session_id} has ended; cannot {doing} (open a new session)"
        )


class CallEnded(SessionEndedError):  # noqa: N818 (no error of anybody's: people hang up)
    """The call ended while a method of `Call` waited, or before it was called. `reason` says why,
    as `SessionEndedEvent.reason` does."""

    def __init__(self, session_id: str, reason: str, doing: str = "use it") -> None:
        super().__init__(session_id, doing)
        self.args = (f"the call is over ({reason}); cannot {doing}",)
        self.reason = reason


class SessionNotFoundError(SessionError, LookupError):
    """That session does not belong here, or does so no longer."""

    def __init__(self, session_id: str, owner: str) -> None:
        super().__init__(session_id, f"session {session_id} is not one of {owner}")


class SessionFaultError(SessionError, RuntimeError):
    """The media core ended the session by itself: a fault in it, or its socket failed."""


# --- backends --------------------------------------------------------------------------------


class BackendError(RoomKitError):
    """Something about a voice backend."""


class BackendClosedError(BackendError, RuntimeError):
    """The backend was closed; it opens no new sessions."""


class AddressConflictError(BackendError, ValueError):
    """Packets of two sessions on one local address could not be told apart."""


class PortsExhaustedError(BackendError, OSError):
    """No local port is left: all of `port_range` are in use, or rest after another call."""


class QueueFullError(BackendError, RuntimeError):
    """A bounded queue is full. Nothing was queued; try again when it has drained."""


# --- providers -------------------------------------------------------------------------------


class ProviderError(RoomKitError):
    """Something about a recogniser, a voice or a model."""


class ProviderMissingError(ProviderError, RuntimeError):
    """The channel was built without the provider that this call needs."""


class ProviderUnavailableError(ProviderError, RuntimeError):
    """A program or library is missing here; the message names what to install."""


class SynthesisError(ProviderError, RuntimeError):
    """A voice or a prompt file could not be turned into audio."""


class CloseError(RoomKitError, RuntimeError):
    """Everything was closed that could be; these parts failed while they were.

    `errors` holds what each raised, in the order of closing.
    """

    def __init__(self, what: str, errors: Sequence[BaseException]) -> None:
        details = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
        super().__init__(f"closing {what}: {len(errors)} part(s) failed: {details}")
        self.errors = tuple(errors)


def _these(what: str, known: Iterable[str]) -> str:
    """ "known rooms: 'a', 'b'": what a typing mistake is corrected from. At most ten are named."""
    names = sorted(known)
    if not names:
        return f"there are no {what}"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"known {what}: {', '.join(map(repr, names[:10]))}{more}"


def check_text(value: object, name: str) -> None:
    """Raises `TypeError` for an id that is no string."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {shown(value)}; a str fits")


def check_mapping(value: object, name: str) -> None:
    """Raises `ValueError` for anything but a mapping or None."""
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{name}: {shown(value)}; a dict or None fits")


def shown(value: object) -> str:
    """`value` as an answer shows it: short, and whatever it is. Python refuses to write integers of
    more than some thousand digits."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (the caller is told of his mistake, not of this one)
        return f"{type(value).__name__} without a repr"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
