"""Session descriptions: their text (RFC 8866), and what is agreed on with them (RFC 3264)."""

from __future__ import annotations

from roomkit.rtp.sdp.agreement import Agreement
from roomkit.rtp.sdp.description import SessionDescription
from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.media import Media
from roomkit.rtp.sdp.negotiation import Negotiation
from roomkit.rtp.sdp.parts import Attribute, Connection, Encoding, Origin

__all__ = [
    "Agreement",
    "Attribute",
    "Connection",
    "Encoding",
    "Media",
    "Negotiation",
    "Origin",
    "SDPError",
    "SessionDescription",
]
