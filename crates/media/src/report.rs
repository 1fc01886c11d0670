//! What is counted of a remote source, and what a peer's report tells of the way there and back (RFC 3550 §6.4, App. A).

use crate::rtcp::{ReportBlock, SenderInfo};
use crate::seq::{ExtSeq, NtpTime, RtpTime, Ssrc, Transit};
use crate::time::{Duration, Time};

/// More numbers than [`MAX_MISORDER`](crate::seq::SeqTracker::MAX_MISORDER), the most that a packet may be older than the newest.
const SEEN: u64 = 128;

/// Reception of one remote source, from its first packet on. A source that restarts, or a new one, gets a new record.
#[derive(Clone, Debug)]
pub struct Reception {
    first: ExtSeq,
    newest: ExtSeq,
    received: u64,
    /// Which of the 128 numbers up to the newest came (bit 0 is itself), and how many came more than once.
    seen: u128,
    duplicates: u64,
    expected_before: u64,
    received_before: u64,
    jitter: Jitter,
    sender_report: Option<(u32, Time)>,
}

impl Reception {
    /// Starts at a source's first packet, which is then counted as every other.
    ///
    /// * `first`: its extended sequence number, as a [`SeqTracker`](crate::seq::SeqTracker) gives it.
    /// * `clock_rate`: of the source's RTP clock, in ticks per second.
    pub fn new(first: ExtSeq, clock_rate: u32) -> Reception {
        Reception {
            first,
            newest: first,
            received: 0,
            seen: 0,
            duplicates: 0,
            expected_before: 0,
            received_before: 0,
            jitter: Jitter::new(clock_rate),
            sender_report: None,
        }
    }

    /// A packet came whose timestamp is its sampling instant. Late ones and duplicates are counted too (RFC 3550 §6.4.1).
    pub fn on_packet(&mut self, seq: ExtSeq, timestamp: RtpTime, arrival: Time) {
        self.on_untimed_packet(seq);
        self.jitter.update(timestamp, arrival);
    }

    /// The timestamps that follow count at another clock (RFC 7160 §4.3): the jitter so far is kept, in its ticks.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.jitter.set_clock_rate(clock_rate);
    }

    /// A packet came whose timestamp says nothing of when it left: the packets of a telephone event all carry the
    /// event's start (RFC 4733 §2.1), and would read as jitter.
    pub fn on_untimed_packet(&mut self, seq: ExtSeq) {
        self.received += 1;
        if let Some(ahead) = seq.since(self.newest) {
            self.seen = if ahead < SEEN { self.seen << ahead } else { 0 };
            self.newest = seq;
        }
        // What is older has left the bounds in which a packet is taken at all (RFC 3550 §A.1).
        let age = self.newest.since(seq).unwrap_or(0);
        if age < SEEN {
            self.duplicates += u64::from(self.seen >> age & 1 == 1);
            self.seen |= 1 << age;
        }
    }

    /// A sender report of this source came: the next blocks tell it when, so that it can measure the round trip.
    pub fn on_sender_report(&mut self, info: &SenderInfo, now: Time) {
        self.sender_report = Some((info.ntp.middle(), now));
    }

    /// Packets that should have come, from the first to the newest (RFC 3550 §A.3).
    pub fn expected(&self) -> u64 {
        // A late packet may be older than the one that came first.
        self.newest.since(self.first).map_or(0, |after| after + 1)
    }

    /// Packets that came, duplicates included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets lost; negative when there were more duplicates than losses (RFC 3550 §A.3).
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Packets that never came, however often the others did (RFC 3611 §4.7.1).
    pub fn missing(&self) -> u64 {
        self.expected().saturating_sub(self.received - self.duplicates)
    }

    /// Interarrival jitter in ticks of the RTP clock (RFC 3550 §A.8).
    pub fn jitter_ticks(&self) -> u32 {
        self.jitter.ticks()
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f64 {
        self.jitter.ms()
    }

    /// The report of this source, `ssrc`; its fraction lost covers the time since the previous call.
    pub fn block(&mut self, ssrc: Ssrc, now: Time) -> ReportBlock {
        let expected = self.expected();
        let expected_since = expected - self.expected_before;
        let received_since = self.received - self.received_before;
        self.expected_before = expected;
        self.received_before = self.received;
        // Duplicates may hide loss, never make it negative (RFC 3550 §A.3). All of it, 256/256, is
        // more than eight bits can say, and is lost only before the first packet is counted.
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction = (lost_since << 8).checked_div(expected_since).unwrap_or(0).min(255);
        let (lsr, dlsr) = match self.sender_report {
            Some((middle, at)) => (middle, in_65536ths(now - at)),
            None => (0, 0),
        };
        ReportBlock {
            ssrc,
            fraction_lost: fraction as u8,
            cumulative_lost: self.lost().clamp(-(1 << 23), (1 << 23) - 1) as i32,
            highest_seq: self.newest.wire_with_cycles(),
            jitter: self.jitter_ticks(),
            lsr,
            dlsr,
        }
    }
}

/// The way there and back, from a block that a peer sent about us (RFC 3550 §6.4.1).
///
/// `now` is the wall clock at the block's arrival, the same clock that our sender reports carry. `None` if the peer has not
/// seen a report of ours, or if its arithmetic cannot be right.
pub fn round_trip(block: &ReportBlock, now: NtpTime) -> Option<Duration> {
    /// A peer whose clock runs fast, or rounds up, counts a delay a little longer than it was, and on a short way the
    /// result is just below zero. 10 ms is 5 s at 2000 ppm: more than that is no clock's fault. In 1/65536 s.
    const MAX_BELOW_ZERO: i32 = -655;
    /// Nobody talks over a way of a minute; the block answers a report that was not ours. In 1/65536 s.
    const MAX: i32 = 60 << 16;

    if block.lsr == 0 {
        return None;
    }
    // All three wrap every 18 hours, and so does the difference.
    let trip = now.round_trip(block.lsr, block.dlsr);
    if !(MAX_BELOW_ZERO..=MAX).contains(&trip) {
        return None;
    }
    Some(Duration::from_nanos((trip.max(0) as u64 * 1_000_000_000) >> 16))
}

/// A span in 1/65536 s, as DLSR has it; after 18 hours it stays at the most the field can say.
pub(crate) fn in_65536ths(span: Duration) -> u32 {
    u32::try_from((span.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Interarrival jitter (RFC 3550 §6.4.1, §A.8): the mean deviation of the time packets take, smoothed by 1/16.
#[derive(Clone, Debug)]
struct Jitter {
    clock_rate: u32,
    /// That of the packet before.
    transit: Option<Transit>,
    /// In ticks of 32.32 fixed point.
    mean: u64,
}

impl Jitter {
    /// A step in transit time beyond this is a step of the time base, not jitter: the sender began its timestamps anew, or
    /// let them stand through a long silence. It is longer than what queues on a usable way can do. In seconds.
    /// RFC 3550 §A.8 has no such bound, and one step of 2³¹ ticks spoils its estimate for minutes.
    const MAX_STEP_SECS: u64 = 2;

    fn new(clock_rate: u32) -> Jitter {
        Jitter { clock_rate, transit: None, mean: 0 }
    }

    fn set_clock_rate(&mut self, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            let mean = u128::from(self.mean) * u128::from(clock_rate);
            self.mean =
                u64::try_from(mean / u128::from(self.clock_rate.max(1))).unwrap_or(u64::MAX);
            // Between a packet of the one clock and one of the other there is no difference to be taken.
            (self.clock_rate, self.transit) = (clock_rate, None);
        }
    }

    fn update(&mut self, timestamp: RtpTime, arrival: Time) {
        let transit = Transit::of(timestamp, arrival, self.clock_rate);
        let Some(before) = self.transit.replace(transit) else { return };
        let deviation = transit.deviation(before);
        if deviation > u64::from(self.clock_rate).saturating_mul(Self::MAX_STEP_SECS << 32) {
            return;
        }
        // J += (|D| − J) / 16
        self.mean = self.mean - self.mean / 16 + deviation / 16;
    }

    fn ticks(&self) -> u32 {
        (self.mean >> 32) as u32
    }

    fn ms(&self) -> f64 {
        let ticks = self.mean as f64 / (1u64 << 32) as f64;
        ticks * 1e3 / f64::from(self.clock_rate.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seq::{SeqNo, SeqTracker, SeqUpdate};

    const SSRC: Ssrc = Ssrc(9);
    const RATE: u32 = 8_000;

    /// The extended number of a first packet with this sequence number.
    fn first(seq: u16) -> ExtSeq {
        SeqTracker::new(SeqNo(seq)).newest()
    }

    /// Counts packets `first + n` for each n.
    fn receive(reception: &mut Reception, first: ExtSeq, packets: impl IntoIterator<Item = u64>) {
        for n in packets {
            reception.on_packet(first.plus(n), RtpTime(n as u32 * 160), Time::ms(n * 20));
        }
    }

    #[test]
    fn rfc3550_a3_loss_is_expected_less_received() {
        let first = first(100);
        let mut reception = Reception::new(first, RATE);
        receive(&mut reception, first, (0..10).filter(|n| n % 5 != 2));
        assert_eq!((reception.expected(), reception.received(), reception.lost()), (10, 8, 2));
    }

    #[test]
    fn rfc3550_a3_a_late_packet_takes_its_loss_back_and_duplicates_make_it_negative() {
        let first = first(100);
        let mut reception = Reception::new(first, RATE);
        receive(&mut reception, first, [0, 2, 1]);
        assert_eq!(reception.lost(), 0);
        receive(&mut reception, first, [2, 2, 2]);
        let block = reception.block(SSRC, Time::ms(60));
        assert_eq!((reception.lost(), block.cumulative_lost), (-3, -3));
        assert_eq!(block.fraction_lost, 0, "duplicates never make the fraction negative");
    }

    #[test]
    fn rfc3611_4_7_1_duplicates_do_not_make_up_for_what_never_came() {
        let first = first(65_500);
        let mut reception = Reception::new(first, RATE);
        // Every packet twice, one of them at the very edge of what is taken at all, and every tenth not at all.
        let (twice, late) = ((0..200).filter(|n| n % 10 != 3), 99..=99);
        receive(&mut reception, first, twice.clone().flat_map(|n| [n, n]).chain(late));
        assert_eq!((reception.expected(), reception.missing()), (200, 20));
        assert_eq!(reception.lost(), 200 - 361);
        // A packet that came late is none that is missing.
        receive(&mut reception, first, [193, 103]);
        assert_eq!(reception.missing(), 18);
        // After a jump beyond all that is remembered, nothing is taken for a duplicate.
        receive(&mut reception, first, [1000, 872, 873]);
        assert_eq!(reception.missing(), 1001 - 182 - 3);
    }

    #[test]
    fn rfc3550_a3_the_fraction_covers_the_time_since_the_last_report() {
        let first = first(0);
        let mut reception = Reception::new(first, RATE);
        receive(&mut reception, first, [0, 1, 3]);
        assert_eq!(reception.block(SSRC, Time::ms(80)).fraction_lost, 64, "1 of 4");
        receive(&mut reception, first, [4, 5, 6, 7]);
        let block = reception.block(SSRC, Time::ms(160));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1), "none since");
        assert_eq!(reception.block(SSRC, Time::ms(180)).fraction_lost, 0, "nothing was expected");
        receive(&mut reception, first, [2_999]);
        assert_eq!(reception.block(SSRC, Time::secs(60)).fraction_lost, 255, "2991 of 2992");
        let before_the_first = Reception::new(first, RATE).block(SSRC, Time::ZERO);
        assert_eq!(before_the_first.fraction_lost, 255, "1 of 1");
    }

    #[test]
    fn rfc3550_a3_cumulative_loss_is_clamped_to_signed_24_bits() {
        let first = first(0);
        let mut reception = Reception::new(first, RATE);
        receive(&mut reception, first, [0, 0x7f_ffff + 1]);
        assert_eq!(reception.block(SSRC, Time::ZERO).cumulative_lost, 0x7f_ffff, "exactly");
        receive(&mut reception, first, [0x7f_ffff + 4]);
        assert_eq!(reception.lost(), 0x7f_ffff + 2);
        assert_eq!(reception.block(SSRC, Time::ZERO).cumulative_lost, 0x7f_ffff);

        let mut reception = Reception::new(first, RATE);
        (0..0x80_0002).for_each(|_| reception.on_untimed_packet(first));
        assert_eq!(reception.lost(), -0x80_0001);
        assert_eq!(reception.block(SSRC, Time::ZERO).cumulative_lost, -0x80_0000);
    }

    #[test]
    fn rfc3550_6_4_1_the_highest_sequence_number_carries_its_cycles() {
        let mut tracker = SeqTracker::new(SeqNo(65_534));
        let mut reception = Reception::new(tracker.newest(), RATE);
        for n in 0..4 {
            let SeqUpdate::Valid(extended) = tracker.update(SeqNo(65_534).plus(n)) else {
                panic!("a packet in sequence is valid");
            };
            reception.on_packet(extended, RtpTime(0), Time::ZERO);
        }
        assert_eq!(reception.block(SSRC, Time::ZERO).highest_seq, 1 << 16 | 1);
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn rfc3550_6_4_1_lsr_and_dlsr_in_65536ths_of_a_second() {
        let mut reception = Reception::new(first(0), RATE);
        let block = reception.block(SSRC, Time::secs(9));
        assert_eq!((block.lsr, block.dlsr), (0, 0), "no sender report came yet");
        let info = SenderInfo { ntp: NtpTime(0x1111_2222_3333_4444), ..Default::default() };
        reception.on_sender_report(&info, Time::secs(10));
        let block = reception.block(SSRC, Time::ms(11_500));
        assert_eq!((block.lsr, block.dlsr), (0x2222_3333, 3 << 15));
        assert_eq!(reception.block(SSRC, Time::secs(80_000)).dlsr, u32::MAX, "18 hours and more");
    }

    #[test]
    fn rfc3550_6_4_1_the_round_trip_of_the_figure_in_the_rfc() {
        // Figure 2: n = 0xb44d:b705 2000 0000, A = 0xb710:8000, DLSR 5.250 s, LSR 0xb705:2000, round trip 6.125 s.
        let block = ReportBlock { lsr: 0xb705_2000, dlsr: 0x0005_4000, ..Default::default() };
        let arrival = NtpTime(0xb44d_b710_8000_0000);
        assert_eq!(round_trip(&block, arrival), Some(Duration::from_millis(6_125)));
    }

    #[test]
    fn rfc3550_6_4_1_the_round_trip_is_never_negative_and_crosses_the_wrap() {
        let trip = |now: u32, lsr, dlsr| {
            let block = ReportBlock { lsr, dlsr, ..Default::default() };
            round_trip(&block, NtpTime(u64::from(now) << 16))
        };
        assert_eq!(trip(1 << 16, 1 << 15, 1 << 15), Some(Duration::ZERO));
        assert_eq!(trip(1 << 16, 1 << 15, (1 << 15) + 655), Some(Duration::ZERO), "10 ms below");
        assert_eq!(trip(1 << 16, 1 << 15, (1 << 15) + 656), None);
        assert_eq!(
            trip(100, u32::MAX - 99, 136),
            Some(Duration::from_nanos(976_562)),
            "64/65536 s"
        );
        assert_eq!(trip((60 << 16) + 1, 1, 0), Some(Duration::from_secs(60)));
        assert_eq!(trip((60 << 16) + 2, 1, 0), None, "an answer to nobody");
        assert_eq!(trip(1 << 16, 0, 0), None, "no report of ours was seen");
    }

    #[test]
    fn rfc3550_a8_a_steady_stream_has_no_jitter_whatever_the_phase_of_its_arrival() {
        for rate in [8_000, 16_000, 44_100, 48_000] {
            let mut reception = Reception::new(first(0), rate);
            for n in 0..3_000u64 {
                // Packets of 20 ms that arrive at odd nanoseconds, as they do.
                let arrival = Time::ns(12_345_678_901 + n * 20_000_000);
                reception.on_packet(first(0).plus(n), RtpTime(n as u32 * rate / 50), arrival);
            }
            assert!(reception.jitter_ms() < 1e-3, "{rate}: {}", reception.jitter_ms());
        }
    }

    #[test]
    fn rfc3550_a8_deviations_below_a_tick_are_measured_and_not_rounded() {
        for phase in [0, 50, 120] {
            let mut reception = Reception::new(first(0), RATE);
            for n in 0..500u64 {
                // Late by 10 µs every other time; a tick is 125 µs.
                let arrival = Time::us(phase + n * 20_000 + n % 2 * 10);
                reception.on_packet(first(0).plus(n), RtpTime(n as u32 * 160), arrival);
            }
            let us = reception.jitter_ms() * 1e3;
            assert!((9.9..10.1).contains(&us), "{phase}: {us} µs");
        }
    }

    #[test]
    fn rfc3550_a8_the_estimate_settles_at_the_mean_deviation() {
        let mut reception = Reception::new(first(0), RATE);
        for n in 0..500u64 {
            let arrival = Time::ms(n * 20 + if n % 2 == 0 { 0 } else { 10 });
            reception.on_packet(first(0).plus(n), RtpTime(n as u32 * 160), arrival);
        }
        assert!((9.9..10.1).contains(&reception.jitter_ms()), "{}", reception.jitter_ms());
        assert!((79..=80).contains(&reception.jitter_ticks()));
        assert_eq!(reception.block(SSRC, Time::ZERO).jitter, reception.jitter_ticks());
    }

    #[test]
    fn rfc3550_a8_the_wrap_of_timestamps_leaves_no_trace() {
        let mut reception = Reception::new(first(0), RATE);
        for n in 0..100u64 {
            let timestamp = RtpTime(u32::MAX - 8_000).plus(n as u32 * 160);
            reception.on_packet(first(0).plus(n), timestamp, Time::ms(n * 20));
        }
        assert_eq!(reception.jitter_ms(), 0.0);
    }

    #[test]
    fn rfc3550_a8_a_pause_in_talking_is_no_jitter() {
        let mut reception = Reception::new(first(0), RATE);
        for n in 0..100u64 {
            // The sequence goes on, the timestamp and the clock pass through ten minutes of silence.
            let pause_ms = if n < 50 { 0 } else { 600_000 };
            let ms = n * 20 + pause_ms;
            reception.on_packet(first(0).plus(n), RtpTime(ms as u32 * 8), Time::ms(ms));
        }
        assert_eq!(reception.jitter_ms(), 0.0);
    }

    #[test]
    fn rfc3550_a8_a_jump_of_the_time_base_does_not_explode_the_estimate() {
        for (jump, at_most_ms) in
            [(1u32 << 31, 0.0), (123_456_789, 0.0), (16_001, 0.0), (16_000, 126.0)]
        {
            let mut reception = Reception::new(first(0), RATE);
            receive(&mut reception, first(0), 0..50);
            for n in 50..60u64 {
                let timestamp = RtpTime(n as u32 * 160).plus(jump);
                reception.on_packet(first(0).plus(n), timestamp, Time::ms(n * 20));
                assert!(reception.jitter_ms() <= at_most_ms, "{jump}: {}", reception.jitter_ms());
            }
        }
    }

    #[test]
    fn rfc4733_2_1_the_packets_of_an_event_are_counted_and_are_no_jitter() {
        let mut reception = Reception::new(first(0), RATE);
        receive(&mut reception, first(0), 0..10);
        (10..60).for_each(|n| reception.on_untimed_packet(first(0).plus(n)));
        receive(&mut reception, first(0), 60..70);
        assert_eq!((reception.lost(), reception.jitter_ms()), (0, 0.0));
    }

    #[test]
    fn a_clock_rate_of_zero_gives_a_number() {
        let mut reception = Reception::new(first(0), 0);
        receive(&mut reception, first(0), 0..10);
        assert!(reception.jitter_ms().is_finite());
    }

    /// The integer algorithm as RFC 3550 §A.8 prints it, for arrivals in whole ticks.
    fn rfc3550_a8(packets: &[(u32, u32)]) -> u32 {
        let mut transit = packets[0].1.wrapping_sub(packets[0].0) as i32;
        let mut jitter = 0u32;
        for (timestamp, arrival) in &packets[1..] {
            let new = arrival.wrapping_sub(*timestamp) as i32;
            let d = new.wrapping_sub(transit).unsigned_abs();
            transit = new;
            jitter = jitter.wrapping_add(d).wrapping_sub(jitter.wrapping_add(8) >> 4);
        }
        jitter >> 4
    }

    proptest! {
        #[test]
        fn rfc3550_a8_equals_the_algorithm_of_the_rfc(
            start: u32,
            origin in 0u64..1 << 46,
            delays in prop::collection::vec(0u32..2_000, 2..200),
        ) {
            let mut reception = Reception::new(first(0), RATE);
            let mut packets = Vec::new();
            for (n, delay) in delays.iter().enumerate() {
                let timestamp = start.wrapping_add(n as u32 * 160);
                let ticks = origin + n as u64 * 160 + u64::from(*delay);
                packets.push((timestamp, ticks as u32));
                reception.on_packet(first(0).plus(n as u64), RtpTime(timestamp), Time::us(ticks * 125));
            }
            let theirs = rfc3550_a8(&packets);
            prop_assert!(reception.jitter_ticks().abs_diff(theirs) <= 1, "{} {theirs}", reception.jitter_ticks());
        }

        #[test]
        fn no_arrival_and_no_timestamp_panics_or_gives_more_than_the_bound(
            packets in prop::collection::vec(any::<(u32, u64)>(), 0..50), rate: u32,
        ) {
            let mut reception = Reception::new(first(0), rate);
            for (timestamp, arrival) in packets {
                reception.on_packet(first(0), RtpTime(timestamp), Time::ns(arrival));
            }
            prop_assert!(reception.jitter_ms() <= 2_000.0);
            reception.block(SSRC, Time::FAR);
        }

        #[test]
        fn a_round_trip_is_between_nothing_and_a_minute(lsr: u32, dlsr: u32, now: u64) {
            let trip = round_trip(&ReportBlock { lsr, dlsr, ..Default::default() }, NtpTime(now));
            prop_assert!(trip.is_none_or(|t| t <= Duration::from_secs(60)));
        }
    }
}
