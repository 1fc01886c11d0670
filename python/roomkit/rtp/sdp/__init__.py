"""Session descriptions: their text, and what is agreed on with them (RFC 8866, RFC 3264)::

from roomkit.rtp.sdp import SessionDescription
"""

from __future__ import annotations

from roomkit.rtp.sdp.description import SessionDescription
from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.sdp.media import Media
from roomkit.rtp.sdp.parts import Attribute, Connection, Encoding, Origin

__all__ = [
    "Attribute",
    "Connection",
    "Encoding",
    "Media",
    "Origin",
    "SDPError",
    "SessionDescription",
]
