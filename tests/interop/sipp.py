"""sipp, a load generator: it calls us by SIP and plays captured packets into the call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interop.peers import LOOPBACK, Peer, free_ports, require
from interop.sip import Phone

PACKAGE = "sip-tester"
# What comes with it: one key each, of 160 ms, A-law in packets of 30 ms.
RECORDINGS = Path("/usr/share/sip-tester")
KEYS = {
    **{digit: RECORDINGS / f"dtmf_2833_{digit}.pcap" for digit in "0123456789"},
    "*": RECORDINGS / "dtmf_2833_star.pcap",
    "#": RECORDINGS / "dtmf_2833_pound.pcap",
}
SPEECH = RECORDINGS / "g711a.pcap"

_INVITE = """\
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a call">
  <send retrans="500"><![CDATA[
    INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:[service]@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 1 INVITE
    Contact: <sip:sipp@[local_ip]:[local_port]>
    Max-Forwards: 70
    Content-Type: application/sdp
    Content-Length: [len]

    v=0
    o=sipp 1 1 IN IP[local_ip_type] [local_ip]
    s=-
    c=IN IP[media_ip_type] [media_ip]
    t=0 0
    m=audio [media_port] RTP/AVP 8 101
    a=rtpmap:8 PCMA/8000
    a=rtpmap:101 telephone-event/8000
    a=fmtp:101 0-15
  ]]></send>
  <recv response="200" crlf="true"/>
  <send><![CDATA[
    ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
    Call-ID: [call_id]
    CSeq: 1 ACK
    Max-Forwards: 70
    Content-Length: 0
  ]]></send>
"""
_PLAY = """\
  <nop><action><exec play_pcap_audio="{file}"/></action></nop>
  <pause milliseconds="{pause}"/>
"""
_END = """\
  <recv request="BYE"/>
  <send><![CDATA[
    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:]
    [last_Call-ID:]
    [last_CSeq:]
    Content-Length: 0
  ]]></send>
</scenario>
"""


class Sipp(Peer):
    """One call that plays recordings one after another, and waits until it is hung up."""

    def __init__(
        self,
        path: Path,
        phone: Phone,
        plays: Sequence[tuple[Path, int]] = (),
        *,
        echo: bool = False,
    ) -> None:
        """`plays`: recordings, and how many ms each takes with the pause behind it. `echo`: what
        comes on its media port is sent back."""
        scenario = path / "scenario.xml"
        played = "".join(_PLAY.format(file=file, pause=pause) for file, pause in plays)
        scenario.write_text(_INVITE + played + _END)
        [signalling] = free_ports(1, media=False)
        [media] = free_ports(1)
        super().__init__(
            [
                *(require("sipp", PACKAGE), f"{LOOPBACK}:{phone.port}", "-sf", scenario),
                *("-i", LOOPBACK, "-p", str(signalling), "-mi", LOOPBACK),
                *("-mp", str(media)),
                *("-m", "1", "-nostdin", "-timeout", "60"),
                *(("-rtp_echo",) if echo else ()),
            ]
        )
