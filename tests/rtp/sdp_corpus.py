"""Session descriptions in the manner of the stacks one meets, written for these tests."""

from __future__ import annotations

from typing import Final

__all__ = ["CORPUS", "text"]


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
