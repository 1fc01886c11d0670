//! Any payload, read as a telephone event; and any train of them, received as digits.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use roomkit_media::dtmf::{EventHeader, EventPayload, Receiver};
use roomkit_media::seq::{ExtSeq, ExtTime, RtpTime, SeqNo};
use roomkit_media::time::{Duration, Time};

/// One event packet, as it comes off the wire.
#[derive(Arbitrary, Debug)]
struct Packet<'a> {
    /// After the packet before, in milliseconds.
    after_ms: u16,
    /// Relative to the packet before, in RTP ticks: mostly small steps, sometimes back.
    timestamp_step: i16,
    /// Packets between this one and the one before: mostly none, sometimes it has been overtaken.
    seq_step: i8,
    marker: bool,
    /// A packet of audio comes beside it.
    beside: bool,
    /// The source begins anew.
    restarts: bool,
    /// At which clocks: of the events and of the timestamps.
    clocks: (u8, u8),
    payload: &'a [u8],
}

const CLOCKS: [u32; 3] = [8_000, 16_000, 48_000];

fuzz_target!(|packets: Vec<Packet<'_>>| {
    let mut receiver = Receiver::new(8_000);
    let mut now = Time::ZERO;
    let mut timestamp = ExtTime::first(RtpTime(0));
    let mut seq = ExtSeq::first(SeqNo(0));
    let (mut events, mut digits) = (0, 0);
    for packet in &packets {
        now += Duration::from_millis(packet.after_ms.into());
        let step = u64::from(packet.timestamp_step.unsigned_abs());
        timestamp =
            if packet.timestamp_step < 0 { timestamp.back(step) } else { timestamp.plus(step) };
        let step = u64::from(packet.seq_step.unsigned_abs());
        seq = if packet.seq_step < 0 { seq.back(step) } else { seq.plus(step + 1) };
        if packet.restarts {
            receiver.new_timeline();
        }
        if packet.beside {
            receiver.pass(now, seq);
            seq = seq.plus(1);
        }
        let event = EventPayload::parse(packet.payload);
        assert_eq!(event.is_ok(), packet.payload.len() >= 4);
        let Ok(event) = event else { continue };
        let bytes = event.to_bytes();
        assert_eq!(EventPayload::parse(&bytes), Ok(event));
        assert_eq!(bytes[1] & 0x40, 0, "the reserved bit is sent as zero (RFC 4733 §2.3.3)");

        events += 1;
        let [counts, stamps] =
            [packet.clocks.0, packet.clocks.1].map(|which| CLOCKS[usize::from(which % 3)]);
        receiver.set_clock_rates(counts, stamps);
        let header = EventHeader { seq, timestamp, marker: packet.marker };
        receiver.receive(now, header, &event);
        assert!(receiver.deadline().is_none_or(|deadline| deadline >= now));
        while receiver.poll(now).is_some() {
            digits += 1;
        }
    }
    now += Duration::from_secs(3_600);
    while receiver.poll(now).is_some() {
        digits += 1;
    }
    assert_eq!(receiver.deadline(), None, "an hour later nothing is held any more");
    assert!(digits <= events, "{digits} digits of {events} packets");
});
