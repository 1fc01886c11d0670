"""`SessionMetadata`: what options and metadata of `connect` ask for, and what metadata tells of the
media."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, Final

from roomkit.errors import check_mapping
from roomkit.rtp.checks import flag
from roomkit.rtp.options import RTPOptions, check_names
from roomkit.rtp.presets import preset_options
from roomkit.rtp.session import RTPSession
from roomkit.voice.base import VoiceSession, VoiceSessionState

__all__ = ["SessionMetadata"]

_log = logging.getLogger("roomkit.voice.backends.rtp")

_OPTIONS: Final = tuple(option.name for option in fields(RTPOptions) if option.init)
_READ: Final = frozenset({"remote_addr", "sdp", "offer_sdp"})
"""What metadata is read for. Names of options beside these are read too, for now, with a warning,
if their values fit: `{"direction": "inbound"}` is the application's own."""
_NAMES: Final = frozenset(_OPTIONS) | _READ
_TOLD: Final = frozenset(
    {
        *("backend", "codec", "sdp_answer", "local_addr", "payload_type", "clock_rate"),
        *("sample_rate", "channels", "srtp"),
    }
)
"""What the backend itself writes there, and so may come back with a copy of the metadata."""
_ANOTHER_WORD: Final = {"sdp_offer": "sdp", "offer": "sdp"}
_NEAR: Final = 0.85
"""Of `difflib`: one letter of seven may be another one, and `remote_address` is as near."""
_MOST_WARNINGS: Final = 64


class SessionMetadata:
    """Options and metadata of the sessions of one backend. Options override the backend's."""

    def __init__(self, options: RTPOptions) -> None:
        """`options`: the backend's."""
        self._options = options
        self._warned: set[str] = set()

    def media_for(
        self, metadata: Mapping[str, Any] | None, options: Mapping[str, object] | None = None
    ) -> RTPSession:
        """The session that `connect` opens. Raises `ValueError` for what does not fit."""
        check_mapping(metadata, "metadata")
        check_mapping(options, "options")
        given = metadata or {}
        self._warn_of_misspelt(given)
        asked = self._asked(given, options or {})
        sdp, offers = given.get("sdp"), flag(given.get("offer_sdp", False), "metadata: offer_sdp")
        if sdp is None and not offers:
            of_call = self._options_for(asked)
            return RTPSession.from_options(of_call, shared=_is_shared(of_call.local_addr))
        if sdp is not None and offers:
            raise ValueError("metadata: sdp and offer_sdp; only one of the two can come first")
        for name in ("remote_addr", "payload_type", "clock_rate", "preset", "srtp"):
            if name in asked:
                raise ValueError(f"options: {name}: SDP decides it; leave it out")
        wishes = {**self._wishes(), **asked}
        shared = _is_shared(asked.get("local_addr", self._options.local_addr))
        if sdp is not None:
            return RTPSession.from_offer(sdp, shared=shared, **wishes)
        return RTPSession.for_offer(shared=shared, **wishes)

    def describe(self, session: VoiceSession, media: RTPSession) -> None:
        """What the session's metadata and state tell of its media."""
        session.metadata.update(
            backend="rtp",
            remote_addr=media.options.remote_addr,
            local_addr=media.local_addr,
            payload_type=media.codec.payload_type,
            clock_rate=media.codec.clock_rate,
            codec=media.codec.name,
            sample_rate=media.sample_rate,
            channels=media.channels,
        )
        if media.options.srtp is not None:
            session.metadata["srtp"] = media.options.srtp.suite
        if media.agreement is not None:
            session.metadata.pop("sdp_offer", None)  # unless it still waits for its answer
        session.metadata.update(media.descriptions)
        if not session.ended:
            paused = media.on_hold
            session.state = VoiceSessionState.PAUSED if paused else VoiceSessionState.ACTIVE

    def _asked(self, given: Mapping[str, Any], options: Mapping[str, object]) -> dict[str, Any]:
        """The options of one call, by name."""
        check_names(options)
        asked: dict[str, Any] = {
            name: value for name, value in options.items() if value is not None
        }
        told = given.get("backend") == "rtp"  # a copy of what `describe` wrote
        for name in _OPTIONS:
            value = given.get(name)
            if value is None or name in asked or (told and name in _TOLD):
                continue
            if name == "remote_addr":
                asked[name] = value
            elif name == "srtp" or self._fits(name, value):
                asked[name] = value
                self._warn_once(
                    name,
                    "metadata: %r is an option of the backend, and is given as options={%r: …};"
                    " in metadata it will be the application's own",
                    name,
                    name,
                )
        return asked

    def _fits(self, name: str, value: Any) -> bool:
        """Whether that can be the option of this name."""
        try:
            replace(self._options, **{name: value})
        except (TypeError, ValueError) as error:
            return not str(error).startswith(f"{name}:")
        return True

    def _wishes(self) -> dict[str, Any]:
        """What the program said of the backend's sessions; the rest is for SDP to decide."""
        said = {
            option.name: getattr(self._options, option.name)
            for option in fields(RTPOptions)
            if option.init and getattr(self._options, option.name) != option.default
        }
        if "codecs" not in said and said.get("payload_type"):
            said["codecs"] = self._options.active
        for name in ("remote_addr", "payload_type", "clock_rate"):
            said.pop(name, None)
        preset = said.pop("preset", None)
        if preset is not None:
            # It stands in for SDP, and what it knows of the peer is not the program's wish.
            for name in preset_options(preset):
                said.pop(name, None)
        return said

    def _options_for(self, asked: dict[str, Any]) -> RTPOptions:
        if {"codecs", "payload_type", "preset"} & asked.keys():
            # Another codec: what the backend's own says of it does not count.
            of_codec = {"codecs": None, "payload_type": 0, "clock_rate": 8000}
            asked = {**of_codec, **asked}
        if {"dtmf_payload_type", "preset"} & asked.keys():
            # So with digits: types by clock come before the one type, and before the preset's.
            asked = {"dtmf_types": None, **asked}
        options = replace(self._options, **asked) if asked else self._options
        if options.remote_addr is None and not options.learns:
            raise ValueError(
                "remote_addr: None; give one to RTPVoiceBackend, or per session as"
                ' metadata={"remote_addr": (host, port)}, or set source_policy="learn"'
            )
        return options

    def _warn_of_misspelt(self, given: Mapping[Any, Any]) -> None:
        """A key that is almost an option's may be the application's own: so it is no error."""
        for key in given:
            if not isinstance(key, str) or key in _NAMES | _TOLD or key in self._warned:
                continue
            near = get_close_matches(key, _READ, 1, _NEAR)
            meant = _ANOTHER_WORD.get(key, near[0] if near else None)
            if meant is not None:
                self._warn_once(
                    key,
                    "metadata: %r is no option, and kept as the application's own; %r is one",
                    key,
                    meant,
                )

    def _warn_once(self, key: str, message: str, *args: object) -> None:
        if key not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(key)
            _log.warning(message, *args)


def _is_shared(local: object) -> bool:
    """Whether sessions may share their socket: on a fixed port there is no other way."""
    return isinstance(local, (tuple, list)) and len(local) == 2 and local[1] != 0
