"""Session descriptions in the manner of the stacks one meets, written for these tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["CORPUS", "DEVICES", "KEY", "Device", "text"]


def text(*lines: str) -> str:
    """Lines as a description."""
    return "".join(f"{line}\r\n" for line in lines)


ASTERISK: Final = text(
    "v=0",
    "o=- 1823905342 1823905342 IN IP4 192.0.2.20",
    "s=Asterisk",
    "c=IN IP4 192.0.2.20",
    "t=0 0",
    "m=audio 14532 RTP/AVP 107 9 0 8 118 101",
    "a=rtpmap:107 opus/48000/2",
    "a=fmtp:107 useinbandfec=1",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:118 L16/16000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=ptime:20",
    "a=maxptime:60",
    "a=sendrecv",
)

FREESWITCH: Final = text(
    "v=0",
    "o=FreeSWITCH 1700000000 1700000001 IN IP4 198.51.100.7",
    "s=FreeSWITCH",
    "c=IN IP4 198.51.100.7",
    "t=0 0",
    "m=audio 24876 RTP/AVP 102 9 0 8 103 101 13",
    "a=rtpmap:102 opus/48000/2",
    "a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20;"
    " minptime=10; maxptime=40",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:103 telephone-event/48000",
    "a=fmtp:103 0-16",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=rtpmap:13 CN/8000",
    "a=ptime:20",
)

RTPENGINE: Final = text(
    "v=0",
    "o=- 7338231 2 IN IP4 203.0.113.5",
    "s=call",
    "c=IN IP4 203.0.113.5",
    "t=0 0",
    "m=audio 30112 RTP/SAVP 8 0 96",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:96 telephone-event/8000",
    "a=fmtp:96 0-15",
    "a=sendrecv",
    "a=rtcp:30113",
    "a=rtcp-mux",
    "a=crypto:1 AEAD_AES_256_GCM inline:"
    "YSBrZXkgb2YgNDQgb2N0ZXRzIHRoYXQgaXMgaW4gYSB0ZXN0LCBzbyBub24=",
    "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
    "a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
)

BARESIP: Final = text(
    "v=0",
    "o=- 3216434172 1283643732 IN IP6 2001:db8::17",
    "s=-",
    "c=IN IP6 2001:db8::17",
    "t=0 0",
    "a=tool:baresip 1.0.0",
    "m=audio 40116 RTP/AVP 96 97 0 8 101",
    "b=AS:125",
    "a=rtpmap:96 opus/48000/2",
    "a=fmtp:96 stereo=1;sprop-stereo=1;maxaveragebitrate=28000",
    "a=rtpmap:97 L16/44100/2",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-15",
    "a=rtcp-rsize",
    "a=ssrc:1357924680 cname:sip:alice@example.com",
    "a=sendrecv",
    "a=label:1",
    "a=minptime:10",
    "a=ptime:20",
)

LINPHONE: Final = text(
    "v=0",
    "o=alice 2713 1945 IN IP4 192.0.2.33",
    "s=Talk",
    "c=IN IP4 192.0.2.33",
    "t=0 0",
    "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics",
    "a=record:off",
    "m=audio 7078 RTP/AVP 96 97 98 0 8 101 99 100",
    "a=rtpmap:96 opus/48000/2",
    "a=fmtp:96 useinbandfec=1",
    "a=rtpmap:97 speex/16000",
    "a=fmtp:97 vbr=on",
    "a=rtpmap:98 speex/8000",
    "a=fmtp:98 vbr=on",
    "a=rtpmap:101 telephone-event/48000",
    "a=rtpmap:99 telephone-event/16000",
    "a=rtpmap:100 telephone-event/8000",
    "a=rtcp:33445",
    "a=rtcp-fb:* trr-int 1000",
    "a=rtcp-fb:* ccm tmmbr",
    "a=ice-ufrag:9f3k",
    "a=ice-pwd:0123456789abcdefghijkl",
    "a=candidate:1 1 UDP 2130706431 192.0.2.33 7078 typ host",
    "a=candidate:1 2 UDP 2130706430 192.0.2.33 7079 typ host",
    "m=video 9078 RTP/AVP 96",
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 nack pli",
)

# An enterprise SBC: no rtpmap for static types, G.729 with annex, own attributes, odd media order.
SBC: Final = text(
    "v=0",
    "o=CiscoSystemsSIP-GW-UserAgent 8361 2345 IN IP4 198.51.100.99",
    "s=SIP Call",
    "c=IN IP4 198.51.100.99",
    "t=0 0",
    "m=audio 17388 RTP/AVP 18 0 8 101 19",
    "c=IN IP4 198.51.100.99",
    "a=fmtp:18 annexb=no",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-15",
    "a=rtpmap:19 CN/8000",
    "a=ptime:20",
    "a=X-cap: 1 audio RTP/AVP 100",
    "m=image 17390 udptl t38",
    "a=T38FaxVersion:0",
)

# An office system that holds by direction, with silence suppression and RTCP on a port of its own.
OFFICE_HOLD: Final = text(
    "v=0",
    "o=- 1 2 IN IP4 192.0.2.200",
    "s=-",
    "c=IN IP4 192.0.2.200",
    "b=AS:64",
    "t=0 0",
    "a=avf:avc=n prio=n",
    "a=csup:avf-v0",
    "m=audio 35020 RTP/AVP 0 8 127",
    "a=sendonly",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:127 telephone-event/8000",
    "a=fmtp:127 0-15",
    "a=rtcp:40001 IN IP4 192.0.2.201",
)

# A phone of the nineties holds with an address and knows neither directions nor events.
OLD_HOLD: Final = text(
    "v=0",
    "o=phone 100 101 IN IP4 192.0.2.77",
    "s=call",
    "c=IN IP4 0.0.0.0",
    "t=0 0",
    "m=audio 5004 RTP/AVP 0",
)

BROWSER: Final = text(
    "v=0",
    "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "a=msid-semantic: WMS",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 126",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789abcdefghijklmn",
    "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77"
    ":88:99:AA:BB:CC:DD:EE:FF",
    "a=setup:actpass",
    "a=mid:0",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:126 telephone-event/8000",
)

CORPUS: Final = {
    "asterisk": ASTERISK,
    "freeswitch": FREESWITCH,
    "rtpengine": RTPENGINE,
    "baresip": BARESIP,
    "linphone": LINPHONE,
    "sbc": SBC,
    "office hold": OFFICE_HOLD,
    "old hold": OLD_HOLD,
    "browser": BROWSER,
}


# --- what devices write, and what is to become of it ---------------------------------------------

KEY: Final = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk"
_SDES: Final = f"a=crypto:8 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"
_F8: Final = _SDES.replace("AES_CM_128", "F8_128")
_PCMA: Final = ("a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")


@dataclass(frozen=True)
class Device:
    """An offer in the manner of a device, and what we answer."""

    kind: str
    lines: tuple[str, ...]
    """From the first `m=` on."""
    codec: str
    """The one that is sent, as `a=rtpmap` has it."""
    media: tuple[str, ...]
    """Of the answer: kind, port (4000 is ours) and formats."""
    options: dict[str, Any] = field(default_factory=dict)
    head: tuple[str, ...] = (
        "v=0",
        "o=- 7 7 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
    )

    @property
    def offer(self) -> str:
        return text(*self.head, *self.lines)

    def __str__(self) -> str:
        return self.kind


def _audio(*more: str, m: str = "audio 5004 RTP/AVP 8 101") -> tuple[str, ...]:
    return (f"m={m}", *_PCMA, *more)


_OURS: Final = "audio 4000 8 101"

DEVICES: Final = (
    # What is refused already may be anything.
    Device(
        "a room system refuses video with a format that there is not",
        _audio("m=video 0 RTP/AVP 255"),
        "PCMA/8000",
        (_OURS, "video 0 255"),
    ),
    Device(
        "the same of audio",
        _audio("m=audio 0 RTP/AVP 255"),
        "PCMA/8000",
        (_OURS, "audio 0 255"),
    ),
    Device(
        "a refused line before the one that lives",
        ("m=audio 0 RTP/AVP 100", *_audio()),
        "PCMA/8000",
        ("audio 0 100", _OURS),
    ),
    Device(
        "a refused line with an empty rtpmap, ptime and address",
        _audio("m=audio 0 RTP/AVP 96", "a=rtpmap:96", "a=ptime:", "c=IN IP4"),
        "PCMA/8000",
        (_OURS, "audio 0 96"),
    ),
    Device(
        "a refused line without any format",
        _audio("m=video 0 UDP/TLS/RTP/SAVPF"),
        "PCMA/8000",
        (_OURS, "video 0 0"),
    ),
    Device(
        "a refused line without a profile",
        _audio("m=video 0", "m=image 0 udptl t38"),
        "PCMA/8000",
        (_OURS, "video 0 0", "image 0 t38"),
    ),
    Device(
        "a port that there is not, of what we do not take",
        _audio("m=video 65600 RTP/AVP 96"),
        "PCMA/8000",
        (_OURS, "video 0 0"),
    ),
    # Hints.
    Device(
        "a PBX whose a=rtcp leaves out the kind of address",
        _audio("a=rtcp:9356 IN 192.0.2.47"),
        "PCMA/8000",
        (_OURS,),
    ),
    Device(
        "hints that nobody can read",
        _audio(
            *("a=ptime:20ms", "a=maxptime:-1", "a=rtcp:", "a=ssrc:cname", "a=rtcp-mux:yes"),
            *("a=fmtp:", "a=rtpmap:", "b=AS", "b=", "a=silenceSupp:off - - - -", "a=X-nat:"),
        ),
        "PCMA/8000",
        (_OURS,),
    ),
    Device(
        "a format that is no number among those that are",
        _audio(m="audio 5004/0 RTP/AVP 8 * 101 300"),
        "PCMA/8000",
        (_OURS,),
    ),
    Device(
        "format parameters of Opus that cannot be",
        (
            "m=audio 5004 RTP/AVP 96",
            "a=rtpmap:96 opus/48000/2",
            "a=fmtp:96 stereo=loud; maxaveragebitrate=fast; useinbandfec=1",
        ),
        "opus/48000/2",
        ("audio 4000 96",),
    ),
    Device(
        "events at a clock that there is not",
        ("m=audio 5004 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/1000"),
        "PCMA/8000",
        ("audio 4000 8",),
    ),
    Device(
        "an origin with a name of two words and versions in letters",
        _audio(),
        "PCMA/8000",
        (_OURS,),
        head=("v=0", "o=A phone x1 v2 IN IP4 192.0.2.1", "s=", "c=IN IP4 192.0.2.1", "t=0 0"),
    ),
    Device(
        "no origin, no name, no time, and addresses that only the audio has",
        _audio("c=IN IP4 192.0.2.1/127"),
        "PCMA/8000",
        (_OURS,),
        head=("v=0", "c=IN IP4"),
    ),
    # Encodings.
    Device(
        "Opus without its channels",
        ("m=audio 5004 RTP/AVP 102", "a=rtpmap:102 opus/48000"),
        "opus/48000/2",
        ("audio 4000 102",),
    ),
    Device(
        "Opus with one channel, in capitals",
        ("m=audio 5004 RTP/AVP 97", "a=rtpmap:97 OPUS/48000/1"),
        "opus/48000/2",
        ("audio 4000 97",),
    ),
    Device(
        "Opus at a clock that it has not, and PCMA behind it",
        (
            "m=audio 5004 RTP/AVP 98 8 127",
            "a=rtpmap:98 opus/8000",
            "a=fmtp:98 ptime=20; maxplaybackrate=8000; sprop-maxcapturerate=8000",
            "a=rtpmap:127 telephone-event/8000",
        ),
        "PCMA/8000",
        ("audio 4000 8 127",),
    ),
    Device(
        "G.722 at the rate of its samples",
        ("m=audio 5004 RTP/AVP 9", "a=rtpmap:9 G722/16000"),
        "G722/8000",
        ("audio 4000 9",),
    ),
    Device(
        "the same in small letters, with a channel and under a type of its own",
        ("m=audio 5004 RTP/AVP 109", "a=rtpmap:109  g722 / 16000 / 1"),
        "G722/8000",
        ("audio 4000 109",),
    ),
    Device(
        "G.722 and no word of it",
        ("m=audio 5004 RTP/AVP 9",),
        "G722/8000",
        ("audio 4000 9",),
    ),
    Device(
        "comfort noise under the number that it had before",
        ("m=audio 5004 RTP/AVP 0 19", "a=rtpmap:19 CN/8000"),
        "PCMU/8000",
        ("audio 4000 0 19",),
    ),
    # Several lines of audio.
    Device(
        "the same audio encrypted and in plain",
        ("m=audio 5004 RTP/SAVP 9 0 8", _SDES, "m=audio 5004 RTP/AVP 9 0 8"),
        "G722/8000",
        ("audio 4000 9 0 8", "audio 0 9 0 8"),
    ),
    Device(
        "the same where we want no encryption",
        ("m=audio 5004 RTP/SAVP 9 0 8", _SDES, "m=audio 5004 RTP/AVP 9 0 8"),
        "G722/8000",
        ("audio 0 9 0 8", "audio 4000 9 0 8"),
        {"sdp_security": "off"},
    ),
    Device(
        "encrypted with what we lack, and in plain",
        ("m=audio 5004 RTP/SAVP 9 0 8", _F8, "m=audio 5004 RTP/AVP 9 0 8"),
        "G722/8000",
        ("audio 0 9 0 8", "audio 4000 9 0 8"),
    ),
    Device(
        "in plain first, where we want encryption",
        ("m=audio 5004 RTP/AVP 9 0", "m=audio 5004 RTP/SAVP 9 0", _SDES),
        "G722/8000",
        ("audio 0 9 0", "audio 4000 9 0"),
        {"sdp_security": "require"},
    ),
    Device(
        "for browsers first, and for phones",
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2", *_audio()),
        "PCMA/8000",
        ("audio 0 111", _OURS),
    ),
    Device(
        "AMR first, and PCMA",
        (
            *("m=audio 5004 RTP/AVP 96", "a=rtpmap:96 AMR/8000"),
            *("m=audio 5006 RTP/AVP 97", "a=rtpmap:97 AMR-WB/16000"),
            *_audio(m="audio 5008 RTP/AVP 8 101"),
        ),
        "PCMA/8000",
        ("audio 0 96", "audio 0 97", _OURS),
    ),
    Device(
        "to a group first, and to one host",
        ("m=audio 5004 RTP/AVP 8", "c=IN IP4 224.2.1.1/127", *_audio()),
        "PCMA/8000",
        ("audio 0 8", _OURS),
    ),
    Device(
        "to nowhere first, and to somewhere",
        (*_audio("c=IN IP4 nowhere nowhere"), *_audio("c=IN IP4 192.0.2.1")),
        "PCMA/8000",
        ("audio 0 8 101", _OURS),
        head=("v=0", "o=- 7 7 IN IP4 192.0.2.1", "s=-", "t=0 0"),
    ),
)
