"""RTP sessions for programs that want the media and no framework::

    from roomkit.rtp import RTPSession

`RTPSession` is loaded when it is first asked for: it brings in the native media core.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomkit._bridge import configure_media
    from roomkit.rtp.addresses import Address
    from roomkit.rtp.audio import Audio
    from roomkit.rtp.codecs import Codec
    from roomkit.rtp.events import (
        Disconnected,
        DTMFSent,
        HeardAgain,
        PlaybackEnded,
        PlaybackStarted,
        Resumed,
        RTPEvent,
        SourceTrusted,
        Unheard,
        UnheardReason,
    )
    from roomkit.rtp.options import RTPCallOptions, RTPExtra, RTPOptions, RTPWishes
    from roomkit.rtp.opus import OpusSettings
    from roomkit.rtp.playback import RTPPlayback
    from roomkit.rtp.playout import Playback
    from roomkit.rtp.session import RTPSession
    from roomkit.rtp.srtp import SRTP, CryptoLine, SRTPKey
    from roomkit.rtp.stats import RTPStats

_HOMES = {
    "Address": "roomkit.rtp.addresses",
    "Audio": "roomkit.rtp.audio",
    "Codec": "roomkit.rtp.codecs",
    "DTMFSent": "roomkit.rtp.events",
    "Disconnected": "roomkit.rtp.events",
    "HeardAgain": "roomkit.rtp.events",
    "OpusSettings": "roomkit.rtp.opus",
    "Playback": "roomkit.rtp.playout",
    "PlaybackEnded": "roomkit.rtp.events",
    "PlaybackStarted": "roomkit.rtp.events",
    "RTPEvent": "roomkit.rtp.events",
    "RTPCallOptions": "roomkit.rtp.options",
    "RTPExtra": "roomkit.rtp.options",
    "RTPOptions": "roomkit.rtp.options",
    "RTPSession": "roomkit.rtp.session",
    "SRTP": "roomkit.rtp.srtp",
    "SRTPKey": "roomkit.rtp.srtp",
    "CryptoLine": "roomkit.rtp.srtp",
    "RTPStats": "roomkit.rtp.stats",
    "RTPWishes": "roomkit.rtp.options",
    "RTPPlayback": "roomkit.rtp.playback",
    "Resumed": "roomkit.rtp.events",
    "SourceTrusted": "roomkit.rtp.events",
    "Unheard": "roomkit.rtp.events",
    "UnheardReason": "roomkit.rtp.events",
    "configure_media": "roomkit._bridge",
}

__all__ = [
    "SRTP",
    "Address",
    "Audio",
    "Codec",
    "CryptoLine",
    "DTMFSent",
    "Disconnected",
    "HeardAgain",
    "OpusSettings",
    "Playback",
    "PlaybackEnded",
    "PlaybackStarted",
    "RTPCallOptions",
    "RTPEvent",
    "RTPExtra",
    "RTPOptions",
    "RTPPlayback",
    "RTPSession",
    "RTPStats",
    "RTPWishes",
    "Resumed",
    "SRTPKey",
    "SourceTrusted",
    "Unheard",
    "UnheardReason",
    "configure_media",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
