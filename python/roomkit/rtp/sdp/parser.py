"""Reads the text of a session description (RFC 8866 §5, §9)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Final, TypedDict

from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.media import Media, unreadable
from roomkit.rtp.sdp.parts import Attribute, Connection, Line, Origin, in_order, parse_connection
from roomkit.rtp.sdp.text import quoted, whole

__all__ = ["MOST_CHARACTERS", "MOST_LINES", "Parsed", "parse"]

MOST_CHARACTERS: Final = 65_536
"""Of a description: the longest of browsers with all their media have some 10000."""
MOST_LINES: Final = 2_000
"""Of a description."""

_MEDIA_OTHERS: Final = "ibk"
_SESSION_OTHERS: Final = "iuepbtrzk"
_LONGEST_NUMBER: Final = 40  # characters of what counts versions
_MOST_TOLD: Final = 16  # lines of one description in the log
_log = logging.getLogger("roomkit.rtp")


class Parsed(TypedDict):
    """The parts of a `SessionDescription`, as it is made of them."""

    origin: Origin
    name: str
    connection: Connection | None
    media: tuple[Media, ...]
    attributes: tuple[Attribute, ...]
    others: tuple[Line, ...]
    unread: tuple[SDPError, ...]


def parse(text: str | bytes) -> Parsed:
    """See `SessionDescription.parse`."""
    if isinstance(text, (bytes, bytearray, memoryview)):
        text = bytes(text).decode("utf-8", "replace")
    if not isinstance(text, str):
        raise TypeError(f"SDP: {type(text).__name__}; str or bytes fits")
    if len(text) > MOST_CHARACTERS:
        raise SDPError(f"{len(text)} characters; at most {MOST_CHARACTERS} fit")
    # Not `splitlines`, which also breaks at characters that RFC 8866 §9 allows within a line.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MOST_LINES:
        raise SDPError(f"{len(lines)} lines; at most {MOST_LINES} fit")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        line = line.strip(" \t\ufeff" if number == 1 else " \t")
        if line:
            try:
                reader.read(number, line)
            except SDPError:
                raise
            except ValueError as error:
                raise SDPError(str(error), line_number=number, line=line) from None
    return reader.done()


class _Reader:
    """What has been read so far."""

    def __init__(self) -> None:
        self.begun = False
        self.origin: Origin | None = None
        self.name: str | None = None
        self.connection: Connection | None = None
        self.attributes: list[Attribute] = []
        self.others: list[Line] = []
        self.unread: list[SDPError] = []
        self.media: list[Media] = []
        self.last: _MediaReader | None = None

    def read(self, number: int, line: str) -> None:
        letter, equals, value = line.partition("=")
        letter, value = letter.lower(), value.strip(" \t")
        if not self.begun:
            if letter != "v":
                raise ValueError("a description begins with 'v=0'")
            if value != "0":
                raise ValueError(f"version {quoted(value)}; 0 fits")
            self.begun = True
            return
        if letter == "m":
            self._finish_media()
            self.last = _MediaReader(value, number)
            return
        # The rest of a description holds without one of the other lines.
        part: _Reader | _MediaReader = self if self.last is None else self.last
        try:
            if not equals or len(letter) != 1:
                raise ValueError("a line such as 'v=0', one letter and '=', fits")
            if "\0" in value:
                raise ValueError("it has a NUL character")
            if letter == "a":
                part.attributes.append(_attribute(value, number))
            else:
                part.take(letter, value)
        except ValueError as error:
            part.unread.append(SDPError(str(error), line_number=number, line=line))

    def done(self) -> Parsed:
        if not self.begun:
            raise SDPError("it is empty; a description begins with 'v=0'")
        self._finish_media()
        parsed = Parsed(
            origin=self.origin or Origin(),
            name="-" if self.name is None else self.name,
            connection=self.connection,
            media=tuple(self.media),
            attributes=tuple(self.attributes),
            others=in_order(self.others) or (("t", "0 0"),),
            unread=tuple(self.unread),
        )
        _tell(self.unread, *(media.unread for media in self.media))
        return parsed

    def take(self, letter: str, value: str) -> None:
        """A line before the first `m=`."""
        if letter == "o":
            if self.origin is not None:
                raise ValueError("a second line 'o='")
            self.origin = _origin(value)
        elif letter == "s":
            self.name = value
        elif letter == "c":
            self.connection = parse_connection(value)
        elif letter == "v":
            raise ValueError("a second line 'v='")
        elif letter in _SESSION_OTHERS:
            self.others.append((letter, value))

    def _finish_media(self) -> None:
        if self.last is not None:
            self.media.append(self.last.done())


class _MediaReader:
    """A line `m=`, and what belongs to it."""

    def __init__(self, value: str, number: int) -> None:
        self.attributes: list[Attribute] = []
        self.unread: list[SDPError] = []
        self._connection: Connection | None = None
        self._others: list[Line] = []
        try:
            self._media = _media(value, number)
        except ValueError as error:
            kind = (value.replace("\0", "").split(None, 1) or [""])[0].lower()
            if kind in ("", "audio"):
                raise
            # What we do not take keeps its place, refused.
            self._media = Media(kind, 0, "RTP/AVP", ("0",), line_number=number)
            self.unread.append(SDPError(str(error), line_number=number, line=f"m={value}"))

    def take(self, letter: str, value: str) -> None:
        """A line behind it, but for `a=`."""
        if letter == "c":
            # Several are the groups of layered multicast (RFC 8866 §5.7); the first speaks for all.
            if self._connection is None:
                self._connection = parse_connection(value)
        elif letter in _MEDIA_OTHERS:
            self._others.append((letter, value))
        elif letter in "vos":
            raise ValueError(f"a line '{letter}=' behind the first 'm='")

    def done(self) -> Media:
        media = replace(
            self._media,
            attributes=tuple(self.attributes),
            connection=self._connection,
            others=in_order(self._others),
        )
        if media.kind == "audio" and media.is_rtp and media.port:
            # Of no other is anything taken, whatever it says (RFC 3264 §8.2).
            self.unread.extend(unreadable(media))
        return replace(media, unread=tuple(self.unread))


def _tell(*problems: Iterable[SDPError]) -> None:
    """What could not be read, for whoever wonders why it has no effect."""
    if _log.isEnabledFor(logging.DEBUG):
        unread = list(chain.from_iterable(problems))
        for problem in unread[:_MOST_TOLD]:
            _log.debug("%s; ignored", problem)
        if len(unread) > _MOST_TOLD:
            _log.debug("SDP: %d more lines cannot be read; ignored", len(unread) - _MOST_TOLD)


def _attribute(value: str, number: int) -> Attribute:
    name, colon, rest = value.partition(":")
    if not name.strip():
        raise ValueError("an attribute's name is missing")
    return Attribute(name.strip(), rest if colon else None, number)


def _origin(value: str) -> Origin:
    # A name with blanks in it is forbidden, and written all the same.
    fields = value.split()
    if len(fields) < 6:
        raise ValueError(f"{len(fields)} fields; six such as '- 1 1 IN IP4 192.0.2.10' fit")
    *name, session_id, version = fields[:-3]
    for what, text in (("session id", session_id), ("version", version)):
        # They are compared, never counted with: 64 bits and more are fine.
        if len(text) > _LONGEST_NUMBER:
            raise ValueError(f"{what} of {len(text)} characters; at most {_LONGEST_NUMBER} fit")
    return Origin(" ".join(name), session_id, version, parse_connection(" ".join(fields[-3:])))


def _media(value: str, number: int) -> Media:
    if "\0" in value:
        raise ValueError("it has a NUL character")
    kind, *parts = value.split() or ("",)
    text, slash, count = (parts or [""])[0].partition("/")
    port = whole(text, 0, 65535)
    if len(parts) < 2 and port != 0:
        raise ValueError("kind, port, protocol and formats such as 'audio 4000 RTP/AVP 0' fit")
    if port is None:
        raise ValueError(f"port {quoted(text)}; 0 to 65535 fits")
    return Media(
        kind=kind.lower(),
        port=port,
        protocol=parts[1] if len(parts) > 1 else "RTP/AVP",
        formats=tuple(parts[2:]),
        # Of several, the first is where the audio goes, and that is one.
        port_count=(whole(count, 1, 255) if slash else 1) or 1,
        line_number=number,
    )
