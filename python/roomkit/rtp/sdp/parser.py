"""Reads the text of a session description (RFC 8866 §5, §9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypedDict

from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.media import Media
from roomkit.rtp.sdp.parts import Attribute, Connection, Line, Origin, in_order, parse_connection
from roomkit.rtp.sdp.text import whole

__all__ = ["MOST_CHARACTERS", "MOST_LINES", "Parsed", "parse"]

MOST_CHARACTERS: Final = 65_536
"""Of a description: the longest of browsers with all their media have some 10000."""
MOST_LINES: Final = 2_000
"""Of a description."""

_MEDIA_OTHERS: Final = "ibk"
_SESSION_OTHERS: Final = "iuepbtrzk"
_LONGEST_NUMBER: Final = 40  # digits


class Parsed(TypedDict):
    """The parts of a `SessionDescription`, as it is made of them."""

    origin: Origin
    name: str
    connection: Connection | None
    media: tuple[Media, ...]
    attributes: tuple[Attribute, ...]
    others: tuple[Line, ...]


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
        self.media: list[Media] = []
        self.of_media: list[Attribute] = []  # attributes of the last of them

    def read(self, number: int, line: str) -> None:
        letter, equals, value = line.partition("=")
        if not equals or len(letter) != 1:
            raise ValueError("a line such as 'v=0', one letter and '=', fits")
        if "\0" in value:
            raise ValueError("it has a NUL character")
        value = value.strip(" \t")
        if not self.begun:
            if letter != "v":
                raise ValueError("a description begins with 'v=0'")
            if value != "0":
                raise ValueError(f"version {value!r}; 0 fits")
            self.begun = True
        elif letter == "m":
            self._finish_media()
            self.media.append(_media(value, number))
        elif letter == "a":
            name, colon, rest = value.partition(":")
            if not name.strip():
                raise ValueError("an attribute's name is missing")
            into = self.of_media if self.media else self.attributes
            into.append(Attribute(name.strip(), rest if colon else None, number))
        elif self.media:
            self._of_media(letter, value)
        else:
            self._of_session(letter, value)

    def done(self) -> Parsed:
        if not self.begun:
            raise SDPError("it is empty; a description begins with 'v=0'")
        if self.origin is None:
            raise SDPError("the line 'o=' is missing")
        self._finish_media()
        return Parsed(
            origin=self.origin,
            name="-" if self.name is None else self.name,
            connection=self.connection,
            media=tuple(self.media),
            attributes=tuple(self.attributes),
            others=in_order(self.others) or (("t", "0 0"),),
        )

    def _of_session(self, letter: str, value: str) -> None:
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

    def _of_media(self, letter: str, value: str) -> None:
        last = self.media[-1]
        if letter == "c":
            # Several are the groups of layered multicast (RFC 8866 §5.7); the first speaks for all.
            if last.connection is None:
                self.media[-1] = replace(last, connection=parse_connection(value))
        elif letter in _MEDIA_OTHERS:
            self.media[-1] = replace(last, others=in_order((*last.others, (letter, value))))
        elif letter in "vos":
            raise ValueError(f"a line '{letter}=' behind the first 'm='")

    def _finish_media(self) -> None:
        """Gives the last medium its attributes, and finds what is wrong with those we understand
        while the line is still known."""
        if not self.media:
            return
        media = replace(self.media[-1], attributes=tuple(self.of_media))
        self.of_media = []
        self.media[-1] = media
        if media.kind == "audio" and media.is_rtp:
            _ = (media.encodings, media.ptime, media.maxptime, media.rtcp, media.ssrcs)


def _origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) != 6:
        raise ValueError(f"{len(parts)} fields; six such as '- 1 1 IN IP4 192.0.2.10' fit")
    for name, text in (("session id", parts[1]), ("version", parts[2])):
        # They are compared, never counted with: 64 bits and more are fine.
        if not (text.isascii() and text.isdecimal()) or len(text) > _LONGEST_NUMBER:
            raise ValueError(f"{name} {text[:_LONGEST_NUMBER]!r}; a number fits")
    return Origin(parts[0], parts[1], parts[2], parse_connection(" ".join(parts[3:])))


def _media(value: str, number: int) -> Media:
    parts = value.split()
    if len(parts) < 4:
        raise ValueError("kind, port, protocol and formats such as 'audio 4000 RTP/AVP 0' fit")
    kind, ports, protocol, *formats = parts
    text, slash, count = ports.partition("/")
    port, port_count = whole(text, 0, 65535), whole(count, 1, 255) if slash else 1
    if port is None:
        raise ValueError(f"port {text!r}; 0 to 65535 fits")
    if port_count is None:
        raise ValueError(f"number of ports {count!r}; 1 to 255 fits")
    return Media(
        kind=kind,
        port=port,
        protocol=protocol,
        formats=tuple(formats),
        port_count=port_count,
        line_number=number,
    )
