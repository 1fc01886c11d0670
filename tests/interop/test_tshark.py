"""tshark reads all that we send, audio with pauses, digits, reports, goodbyes: no fault found."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
import pytest_asyncio

from interop.capture import Capture, Packet, complaints, dissect
from interop.ours import ours
from interop.peers import LOOPBACK, free_ports
from interop.sound import speech
from interop.wire import Wire

pytestmark = pytest.mark.interop

TICKS = 160
XR = "rtcp.xr.voipmetrics"
DIGITS = "19#D"
JITTER_MS = 200
# Seconds by which a busy machine may delay one packet. What must hold to the tick is tested on
# virtual time; here it is the order of magnitude that shows a wrong clock or a burst.
BUSY = 0.25


@dataclass
class Call:
    """One captured call: everything that both of our ends sent."""

    packets: list[Packet]
    caller: int
    """The RTP port of the end that speaks and dials."""
    answerer: int

    def rtp(self) -> list[Packet]:
        """The caller's RTP, in the order of the wire."""
        return [
            packet
            for packet in self.packets
            if packet.source == self.caller and packet.destination == self.answerer
        ]

    def rtcp(self, port: int) -> list[Packet]:
        return [packet for packet in self.packets if packet.source == port + 1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Talkspurts with a pause, digits between and during them, reports, and a BYE each way."""
    path = tmp_path_factory.mktemp("tshark") / "call.pcap"
    caller, answerer = free_ports(2)
    async with (
        Capture(path, [caller, caller + 1, answerer, answerer + 1]),
        ours(answerer, caller, jitter_ms=JITTER_MS) as there,
        ours(caller, answerer, jitter_ms=JITTER_MS) as here,
    ):
        said = speech()[: 50 * TICKS].tobytes()
        await here.session.play(said)
        for digit in DIGITS[:2]:
            here.session.send_dtmf(digit, duration_ms=100)
        await there.wait(lambda: len(there.digits) >= 2, "two digits in the pause")
        await there.audio(milliseconds=200)  # a pause on the wire
        playing = asyncio.create_task(here.session.play(said))
        for digit in DIGITS[2:]:
            here.session.send_dtmf(digit, duration_ms=100)
        await playing
        await there.wait(lambda: there.digits == DIGITS, "all digits")
        await here.session.play(said)
    return Call(await dissect(path, [caller, answerer]), caller, answerer)


async def test_the_check_itself_sees_broken_packets(tmp_path: Path, wire: Wire | None) -> None:
    """Without this, a capture that tshark does not understand would pass as a good one."""
    sender, receiver = free_ports(2)
    if wire is not None:
        wire.excuse(sender, "broken on purpose")
    rtcp = struct.pack("!BBHI", 0x80, 201, 1, 7)
    event = struct.pack("!BBHII", 0x80, 101, 2, 320, 7)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp_in,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp_in,
    ):
        out.bind((LOOPBACK, sender))
        rtp_in.bind((LOOPBACK, receiver))
        rtcp_in.bind((LOOPBACK, receiver + 1))
        async with Capture(tmp_path / "broken.pcap", [sender, receiver, receiver + 1]):
            out.sendto(event + bytes([5, 0x0A, 0, 160]), (LOOPBACK, receiver))  # well formed
            out.sendto(event + bytes([5, 0x0A]), (LOOPBACK, receiver))  # half an event
            out.sendto(rtcp, (LOOPBACK, receiver + 1))  # well formed
            out.sendto(b"\x81" + rtcp[1:], (LOOPBACK, receiver + 1))  # its report block is missing
    packets = await dissect(tmp_path / "broken.pcap", [sender, receiver])
    assert len(packets) == 4
    faults = complaints(packets)
    assert len(faults) == 2, faults
    assert "rtpevent" in faults[0]
    assert "rtcp" in faults[1]


def test_tshark_finds_nothing_malformed_and_warns_of_nothing(call: Call) -> None:
    assert complaints(call.packets) == []
    # It understood each packet as what it is meant to be.
    for packet in call.packets:
        assert packet.protocols[-1] in ("rtp", "rtpevent", "rtcp"), packet
    assert len(call.rtp()) > 150
    assert len(call.rtcp(call.caller)) > 3
    assert len(call.rtcp(call.answerer)) > 3


def test_rfc3550_5_1_one_source_and_one_sequence(call: Call) -> None:
    packets = call.rtp()
    assert {packet.first("rtp.version") for packet in packets} == {"2"}
    assert len({packet.first("rtp.ssrc") for packet in packets}) == 1
    sequence = [packet.number_of("rtp.seq") for packet in packets]
    assert all(after == (before + 1) % 65536 for before, after in itertools.pairwise(sequence))


def test_rfc3551_4_1_marker_and_timestamp_across_pauses(call: Call) -> None:
    audio = [packet for packet in call.rtp() if packet.first("rtp.p_type") == "0"]
    talkspurts = [packet for packet in audio if packet.first("rtp.marker") == "1"]
    assert audio[0] is talkspurts[0]
    for before, after in itertools.pairwise(audio):
        ticks = (after.number_of("rtp.timestamp") - before.number_of("rtp.timestamp")) % 2**32
        if after.first("rtp.marker") == "1":
            # The clock ran on through the pause: it agrees with the time on the wire.
            assert abs(ticks / 8000 - (after.time - before.time)) < BUSY
            assert ticks > TICKS
        else:
            assert ticks == TICKS or digits_between(call, before, after)


def test_rfc4733_2_5_shape_of_events(call: Call) -> None:
    events = [packet for packet in call.rtp() if packet.first("rtp.p_type") == "101"]
    digits = [list(run) for _, run in itertools.groupby(events, timestamp)]
    assert [event_code(run[0]) for run in digits] == [1, 9, 11, 15]
    for run in digits:
        assert {packet.protocols[-1] for packet in run} == {"rtpevent"}
        # §2.5.1.2: the marker is on the first packet alone.
        assert [packet.first("rtp.marker") for packet in run] == ["1"] + ["0"] * (len(run) - 1)
        # §2.5.1.4: the end is sent three times, and nothing after it.
        ends = [packet.first("rtpevent.end_of_event") for packet in run]
        assert ends == ["0"] * (len(run) - 3) + ["1"] * 3
        # The duration grows, up to the same end in all three.
        durations = [packet.number_of("rtpevent.duration") for packet in run]
        growing = durations[: len(run) - 2]
        assert growing == sorted(set(growing)), durations
        assert durations[-3:] == [800] * 3, durations
        assert {packet.first("rtpevent.reserved") for packet in run} == {"0"}
        # §2.5.1.2: updates at most 50 ms apart, and never in a burst. One that a busy machine holds
        # up makes two of the six steps another length, and not the one in the middle.
        times = [packet.time for packet in run]
        steps = [after - before for before, after in itertools.pairwise(times)]
        assert 0.01 < median(steps) < 0.05, steps
    # The events begin one after another.
    starts = [timestamp(run[0]) for run in digits]
    assert all(0 < (b - a) % 2**32 < 2**31 for a, b in itertools.pairwise(starts))


def test_rfc3550_6_1_compounds_carry_a_report_and_a_cname(call: Call) -> None:
    for port in (call.caller, call.answerer):
        names = set()
        for packet in call.rtcp(port):
            kinds = [int(kind) for kind in packet.all("rtcp.pt")]
            assert kinds[0] in (200, 201), kinds
            assert 202 in kinds, kinds
            names.add(packet.first("rtcp.sdes.text"))
        assert len(names) == 1, names
        # §6.6: the last is the goodbye, and there is one.
        byes = [packet for packet in call.rtcp(port) if "203" in packet.all("rtcp.pt")]
        assert byes == call.rtcp(port)[-1:]


def test_rfc3550_6_4_1_reports_agree_with_the_packets(call: Call) -> None:
    reports = [packet for packet in call.rtcp(call.caller) if "200" in packet.all("rtcp.pt")]
    assert reports
    for report in reports:
        sent = [packet for packet in call.rtp() if packet.number < report.number]
        # A packet may have left between the count and the capture, not more.
        assert abs(len(sent) - report.number_of("rtcp.sender.packetcount")) <= 1
    # The NTP and RTP timestamps of the reports name the same instants.
    for before, after in itertools.pairwise(reports):
        seconds = ntp(after) - ntp(before)
        ticks = after.number_of("rtcp.timestamp.rtp") - before.number_of("rtcp.timestamp.rtp")
        assert abs(ticks % 2**32 / 8000 - seconds) < 0.001
    # Wall clock, not uptime: seconds since 1900.
    assert abs(ntp(reports[0]) - 2_208_988_800 - reports[0].time) < BUSY


def test_rfc3611_4_7_voip_metrics_as_tshark_reads_them(call: Call) -> None:
    reports = [packet for packet in call.rtcp(call.answerer) if packet.all(f"{XR}.gmin")]
    assert reports, "the end that listens reports how it hears"
    last = reports[-1]
    assert last.all("rtcp.pt").index("202") < last.all("rtcp.pt").index("207")
    assert last.number_of(f"{XR}.gmin") == 16
    # The buffer begins with the frame nearest to its delay; what a busy machine adds is in it too.
    nominal = last.number_of(f"{XR}.jbnominal")
    assert JITTER_MS - 10 <= nominal <= JITTER_MS + 10 + BUSY * 1000
    assert abs(last.number_of(f"{XR}.esdelay") - nominal - 20) <= 1
    assert 85 <= last.number_of(f"{XR}.rfactor") <= 94
    assert float(last.first(f"{XR}.moslq").split()[0]) >= 4.0
    # Enhanced concealment, a buffer that does not adapt, echo not measured.
    assert [last.number_of(f"{XR}.{name}") for name in ("plc", "jba", "rerl")] == [2, 2, 127]


async def test_what_is_sent_in_silence_and_on_hold_is_what_it_is_meant_to_be(
    tmp_path: Path,
) -> None:
    """Comfort noise after speech, an empty packet of an unused type while nothing may be sent."""
    caller, answerer = free_ports(2)
    async with (
        Capture(tmp_path / "silence.pcap", [caller, caller + 1, answerer, answerer + 1]),
        ours(answerer, caller) as there,
        ours(caller, answerer, fill="comfort_noise", keepalive=1) as here,
    ):
        await here.session.play(speech()[: 10 * TICKS].tobytes())
        await there.wait(
            lambda: sum(frame.kind == "comfort_noise" for frame in there.frames) >= 25, "noise"
        )
        await here.session.hold("inactive")
        await there.wait(lambda: there.session.stats().keepalives_received >= 1, "a keep-alive")
        await here.session.resume()
        await here.session.play(speech()[: 10 * TICKS].tobytes())
    packets = await dissect(tmp_path / "silence.pcap", [caller, answerer])
    assert complaints(packets) == []
    sent = [packet for packet in packets if packet.source == caller]
    by_type = {
        number: [packet for packet in sent if packet.first("rtp.p_type") == number]
        for number in ("0", "13", "127")
    }
    assert by_type["13"], "comfort noise"
    assert by_type["127"], "a keep-alive"
    again = [p for p in by_type["0"] if p.number > by_type["127"][-1].number]
    for spurt in (by_type["0"][:10], again):
        assert [packet.first("rtp.marker") for packet in spurt] == ["1"] + ["0"] * 9
    sequence = [packet.number_of("rtp.seq") for packet in sent]
    assert all(after == (before + 1) % 65536 for before, after in itertools.pairwise(sequence))


def digits_between(call: Call, before: Packet, after: Packet) -> bool:
    """Whether events took the place of audio between the two packets."""
    return any(
        before.number < packet.number < after.number and packet.first("rtp.p_type") == "101"
        for packet in call.rtp()
    )


def timestamp(packet: Packet) -> int:
    return packet.number_of("rtp.timestamp")


def event_code(packet: Packet) -> int:
    return packet.number_of("rtpevent.event_id")


def ntp(report: Packet) -> float:
    msw, lsw = (report.number_of(f"rtcp.timestamp.ntp.{half}") for half in ("msw", "lsw"))
    return msw + lsw / 2**32
