"""`SessionDescription`: an SDP as values, and its text again (RFC 8866)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.media import Media
from roomkit.rtp.sdp.parser import parse
from roomkit.rtp.sdp.parts import Attribute, Attributed, Connection, Line, Origin, in_order
from roomkit.rtp.sdp.text import one_line, shown

if TYPE_CHECKING:
    from roomkit.rtp.addresses import Address
    from roomkit.rtp.options import MediaDirection

__all__ = ["SessionDescription"]


@dataclass(frozen=True)
class SessionDescription(Attributed):
    """A session description (RFC 8866)::

        offer = SessionDescription.parse(text)
        offer.audio.encodings
        str(offer)

    `str` gives its text, with the line ends of RFC 8866 and its lines in the order of §5.
    """

    origin: Origin = field(default_factory=Origin)
    name: str = "-"
    connection: Connection | None = None
    """For all media that have none of their own."""
    media: tuple[Media, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    others: tuple[Line, ...] = field(default=(("t", "0 0"),), repr=False)
    """The lines of other types, in their order: `i=`, `b=`, `t=`, …"""
    unread: tuple[SDPError, ...] = field(default=(), compare=False, repr=False)
    """What could not be read before the first `m=`, and why: it counts as not written."""

    @classmethod
    def parse(cls, text: str | bytes) -> SessionDescription:
        """Reads a description. Line ends of any kind, blanks at the ends of lines and lines of
        unknown types are borne; the missing lines `o=`, `s=` and `t=` too. What a call can do
        without, and cannot be read, is in `unread` here and of its medium, and told at DEBUG.

        Raises `SDPError` that names the line, `TypeError` for what is no text.
        """
        return cls(**parse(text))

    @property
    def audio(self) -> Media | None:
        """The first audio over RTP that is not refused."""
        for media in self.media:
            if media.kind == "audio" and media.is_rtp and media.port:
                return media
        return None

    def connection_of(self, media: Media) -> Connection | None:
        """Its own connection, or the description's."""
        return media.connection or self.connection

    def direction_of(self, media: Media) -> MediaDirection:
        """Who sends, seen from who wrote this (RFC 8866 §6.7), with the older form of hold, the
        address 0.0.0.0, counted as not receiving (RFC 3264 §8.4)."""
        said = media.direction or self.direction or "sendrecv"
        connection = self.connection_of(media)
        if connection is not None and connection.is_unspecified:
            return "sendonly" if said in ("sendrecv", "sendonly") else "inactive"
        return said

    def address_of(self, media: Media) -> Address | None:
        """Where its packets go to; None while the address is 0.0.0.0."""
        connection = self.connection_of(media)
        if connection is None or connection.is_unspecified:
            return None
        return connection.host, media.port

    def __repr__(self) -> str:
        return (
            f"<SessionDescription {shown(f's={self.name}')[2:]!r} of {self.origin!r} at"
            f" {self.connection!r} with {self.media!r} and {self.attributes!r}>"
        )

    def __str__(self) -> str:
        others = in_order(self.others)
        lines = ["v=0", f"o={self.origin}", f"s={self.name or ' '}"]
        lines += [f"{letter}={value}" for letter, value in others if letter in "iuep"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"{letter}={value}" for letter, value in others if letter not in "iuep"]
        lines += [f"a={attribute}" for attribute in self.attributes]
        for media in self.media:
            lines += media.lines()
        for number, line in enumerate(lines, 1):
            one_line(line, f"line {number}")
        return "".join(f"{line}\r\n" for line in lines)
