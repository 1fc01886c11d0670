"""`PRESETS`: options for peers that send no SDP, and so have to be known beforehand.

    RTPSession(preset="asterisk-external-media", payload_type=118, ...)

A preset is nothing but options; those that the program gives itself win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from roomkit.errors import shown
from roomkit.rtp.codecs import G722, PCMA, PCMU, Codec

__all__ = ["ASTERISK_FORMATS", "PRESETS", "Preset", "preset_options"]


@dataclass(frozen=True)
class Preset:
    """What is known of a kind of peer."""

    name: str
    summary: str
    """One sentence on what it is for."""
    options: Mapping[str, Any]
    """Of `RTPOptions`, by name. The first of its `codecs` is sent unless `payload_type` names
    another of them."""
    unread: frozenset[int] = frozenset()
    """Payload types that it sends, and does not understand when they come back."""


# Asterisk, main/rtp_engine.c, `ast_rtp_engine_init`, at f0c1c1a (August 2026): the calls of
# `add_static_payload`. A channel without SDP has only these numbers (`find_static_payload_type`).
# Linear audio is in network byte order there, as in RFC 3551 §4.5.11: main/codec_builtin.c has
# AST_SMOOTHER_FLAG_BE, res_rtp_asterisk.c swaps what it reads.
ASTERISK_FORMATS: Final[Mapping[str, Codec]] = MappingProxyType(
    {
        "ulaw": PCMU,
        "alaw": PCMA,
        "g722": G722,
        # 8 kHz under the number that RFC 3551 §6 gives to 44.1 kHz in stereo.
        "slin": Codec("L16", 10, 8000),
        "slin12": Codec("L16", 122, 12000),
        "slin16": Codec("L16", 118, 16000),
        "slin24": Codec("L16", 123, 24000),
        "slin32": Codec("L16", 124, 32000),
        "slin44": Codec("L16", 125, 44100),
        "slin48": Codec("L16", 126, 48000),
        "slin96": Codec("L16", 127, 96000),
        "slin192": Codec("L16", 96, 192_000),
        "opus": Codec("opus", 107),
    }
)
"""What Asterisk calls its formats, in ARI and the dialplan, as codecs under its payload types."""

# There too, `ast_rtp_codecs_get_payload`: of what comes in, only types up to 34 need no SDP. All
# others are dropped without a word, telephone events among them.
_LAST_STATIC: Final = 34
_ASTERISK_EVENTS: Final = 101
_ASTERISK_UNREAD: Final = frozenset(
    number
    for number in (*(codec.payload_type for codec in ASTERISK_FORMATS.values()), _ASTERISK_EVENTS)
    if number > _LAST_STATIC
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                "asterisk-external-media",
                "Asterisk's ExternalMedia over RTP, and its channel UnicastRTP.",
                {
                    "codecs": tuple(ASTERISK_FORMATS.values()),
                    # 101 counts in 8000 Hz whatever the audio does: the same table.
                    "dtmf_types": {8000: _ASTERISK_EVENTS},
                },
                unread=_ASTERISK_UNREAD,
            ),
            Preset(
                "freeswitch",
                "FreeSWITCH where its SDP is not handed on: its default payload types.",
                {
                    # Static ones, and the number that its mod_opus.c registers.
                    "codecs": (PCMU, PCMA, G722, Codec("opus", 116)),
                    "dtmf_types": {8000: 101},
                },
            ),
            Preset(
                "rtpengine",
                "rtpengine where its SDP is not handed on: the static types of RFC 3551.",
                {
                    "codecs": (PCMU, PCMA, G722),
                    "dtmf_types": {8000: 101},
                },
            ),
        )
    }
)
"""All there are, by name."""


def preset_options(name: object, payload_type: int = 0) -> dict[str, Any]:
    """The options of the preset `name`, with the codec of `payload_type` first if it is not 0.

    Raises `ValueError` that lists what there is.
    """
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        raise ValueError(f"preset: {shown(name)}; {', '.join(map(repr, PRESETS))} or None fits")
    options = dict(preset.options)
    codecs: tuple[Codec, ...] = options["codecs"]
    first = [codec for codec in codecs if codec.payload_type == payload_type]
    if not first and payload_type:
        known = ", ".join(f"{codec.payload_type} {codec.rtpmap}" for codec in codecs)
        raise ValueError(f"payload_type: {payload_type!r}; preset {name!r} has {known}")
    options["codecs"] = (*first, *(codec for codec in codecs if codec not in first))
    return options
