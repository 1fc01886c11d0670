//! The one home of wrap-around arithmetic: sequence numbers, RTP and NTP timestamps, and the RFC 3550 §A.1 sequence check.
//!
//! Nothing outside this file masks a number or subtracts wrapping ones by hand. Inside the core, packets are known by
//! *extended* numbers that never wrap, [`ExtSeq`] and [`ExtTime`]: only their `wire` makes one of the wire's again.

use core::fmt;

use crate::time::{Duration, Time};

/// An RTP sequence number as it stands on the wire (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// The number `n` packets later.
    pub const fn plus(self, n: u16) -> SeqNo {
        SeqNo(self.0.wrapping_add(n))
    }
    /// How far `self` is ahead of `other` on the shorter way round: −32768 to 32767.
    pub const fn ahead_of(self, other: SeqNo) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }
}

/// An RTP timestamp as it stands on the wire, in ticks of the payload's RTP clock (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// The timestamp `ticks` later.
    pub const fn plus(self, ticks: u32) -> RtpTime {
        RtpTime(self.0.wrapping_add(ticks))
    }
    /// The timestamp `ticks` earlier.
    pub const fn back(self, ticks: u32) -> RtpTime {
        RtpTime(self.0.wrapping_sub(ticks))
    }
    /// The timestamp `frames` frames of `ticks` later, however many.
    pub const fn after_frames(self, frames: u64, ticks: u32) -> RtpTime {
        self.plus((frames as u32).wrapping_mul(ticks))
    }
    /// The timestamp `span` later, in whole ticks of a clock of `clock_rate` Hz.
    pub fn after(self, span: Duration, clock_rate: u32) -> RtpTime {
        self.plus(whole_ticks(span, clock_rate))
    }
    /// The timestamp `span` earlier, in whole ticks of a clock of `clock_rate` Hz.
    pub fn before(self, span: Duration, clock_rate: u32) -> RtpTime {
        self.back(whole_ticks(span, clock_rate))
    }
    /// How many ticks `self` is ahead of `other` on the shorter way round.
    pub const fn ahead_of(self, other: RtpTime) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

/// An instant as NTP counts it: seconds since 1900 in 32.32 fixed point (RFC 3550 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Seconds between 1900 (NTP) and 1970 (Unix).
    const UNIX_OFFSET_SECS: u64 = 2_208_988_800;

    /// From the span since the Unix epoch.
    pub fn from_unix(since_epoch: Duration) -> NtpTime {
        let secs = since_epoch.as_secs().wrapping_add(Self::UNIX_OFFSET_SECS);
        let frac = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        // The seconds field wraps in 2036; the arithmetic of reports is modulo 2³² anyway.
        NtpTime((secs << 32) | frac)
    }

    /// This instant plus a span.
    pub fn plus(self, span: Duration) -> NtpTime {
        let frac = (u64::from(span.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(self.0.wrapping_add(span.as_secs() << 32).wrapping_add(frac))
    }

    /// The middle 32 bits, in 1/65536 s: what LSR and round-trip arithmetic use (RFC 3550 §6.4.1).
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// How long the way there and back took of which `self` is the end, in 1/65536 s: since the middle of our report, without the
    /// time that the far end kept it (RFC 3550 §6.4.1). Below zero where the clocks differ by more than the way is long.
    pub const fn round_trip(self, sent: u32, kept: u32) -> i32 {
        self.middle().wrapping_sub(sent).wrapping_sub(kept) as i32
    }
}

/// A synchronization source identifier (RFC 3550 §3).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ssrc({:08x})", self.0)
    }
}

/// The ticks of a span, modulo 2³².
fn whole_ticks(span: Duration, clock_rate: u32) -> u32 {
    (span.as_nanos() * u128::from(clock_rate) / 1_000_000_000) as u32
}

/// Extended counts start here, so that packets older than the first one still have a number.
const EXTENDED_ORIGIN: u64 = 1 << 40;

/// An extended sequence number: a count of packets that never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtSeq(u64);

impl ExtSeq {
    /// That of a source's first packet.
    pub const fn first(wire: SeqNo) -> ExtSeq {
        ExtSeq(EXTENDED_ORIGIN + wire.0 as u64)
    }
    /// The number `n` packets later.
    pub const fn plus(self, n: u64) -> ExtSeq {
        ExtSeq(self.0.saturating_add(n))
    }
    /// The number `n` packets earlier.
    pub const fn back(self, n: u64) -> ExtSeq {
        ExtSeq(self.0.saturating_sub(n))
    }
    /// How many packets `self` is after `earlier`; `None` if it is before.
    pub const fn since(self, earlier: ExtSeq) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
    /// Its sequence number on the wire.
    pub const fn wire(self) -> SeqNo {
        SeqNo(self.0 as u16)
    }
    /// Its cycles and its sequence number, as a report block carries them (RFC 3550 §6.4.1).
    pub const fn wire_with_cycles(self) -> u32 {
        self.0.wrapping_sub(EXTENDED_ORIGIN) as u32
    }
}

/// An extended RTP timestamp: ticks of the payload's RTP clock that never wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtTime(u64);

impl ExtTime {
    /// That of a source's first timestamp.
    pub const fn first(wire: RtpTime) -> ExtTime {
        ExtTime(EXTENDED_ORIGIN + wire.0 as u64)
    }
    /// The timestamp `ticks` later.
    pub const fn plus(self, ticks: u64) -> ExtTime {
        ExtTime(self.0.saturating_add(ticks))
    }
    /// The timestamp `ticks` earlier.
    pub const fn back(self, ticks: u64) -> ExtTime {
        ExtTime(self.0.saturating_sub(ticks))
    }
    /// How many ticks `self` is after `earlier`; `None` if it is before.
    pub const fn since(self, earlier: ExtTime) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
    /// How many ticks lie between the two, whichever is earlier.
    pub const fn apart(self, other: ExtTime) -> u64 {
        self.0.abs_diff(other.0)
    }
    /// How many ticks `self` is ahead of `other`; negative if it is behind.
    pub const fn ahead_of(self, other: ExtTime) -> i64 {
        self.0.saturating_sub(other.0) as i64 - other.0.saturating_sub(self.0) as i64
    }
    /// Its timestamp on the wire.
    pub const fn wire(self) -> RtpTime {
        RtpTime(self.0 as u32)
    }
}

/// Turns wrapping RTP timestamps into extended ones, each taken as the nearest to the newest seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeUnwrapper {
    newest: Option<ExtTime>,
}

impl TimeUnwrapper {
    /// The extended timestamp of `wire`. Forgets nothing and accepts anything: trust is decided elsewhere.
    pub fn unwrap(&mut self, wire: RtpTime) -> ExtTime {
        let extended = self.peek(wire);
        self.newest = self.newest.max(Some(extended));
        extended
    }

    /// As [`unwrap`](Self::unwrap), without moving on.
    pub fn peek(&self, wire: RtpTime) -> ExtTime {
        let Some(newest) = self.newest else { return ExtTime::first(wire) };
        ExtTime(newest.0.saturating_add_signed(i64::from(wire.ahead_of(newest.wire()))))
    }
}

/// How long a packet was on its way, but for a constant that nobody knows: the clocks of the two ends are not the same. So it
/// has no meaning but in differences (RFC 3550 §A.8).
///
/// Ticks in 32.32 fixed point: 64 bits that wrap are then modulo 2³² ticks, as RTP timestamps are, and an arrival between
/// two ticks (125 µs apart at 8 kHz) is not rounded into jitter that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transit(u64);

impl Transit {
    /// Of a packet with this timestamp, of a clock of `clock_rate` Hz.
    pub fn of(timestamp: RtpTime, arrival: Time, clock_rate: u32) -> Transit {
        // Up to 2⁶⁴ ns at up to 2³² Hz, shifted by 32: 128 bits hold it. Only the fraction and 32 bits of ticks are kept.
        let ticks = u128::from(arrival.as_ns()) * u128::from(clock_rate);
        let arrival = ((ticks << 32) / 1_000_000_000) as u64;
        Transit(arrival.wrapping_sub(u64::from(timestamp.0) << 32))
    }

    /// How much the two differ, in ticks of 32.32 fixed point.
    pub const fn deviation(self, other: Transit) -> u64 {
        (self.0.wrapping_sub(other.0) as i64).unsigned_abs()
    }
}

/// A count as the sender's packets and octets stand in its report: modulo 2³² (RFC 3550 §6.4.1).
pub const fn wire_count(count: u64) -> u32 {
    count as u32
}

/// The SRTP index of a packet: its sequence number with the rollover counter before it, as the nearest to the newest index of
/// its source (RFC 3711 §3.3.1, appendix A). Before the first turn there is none to go back to.
pub fn srtp_index(newest: u64, seq: SeqNo) -> u64 {
    let (roc, last, number) = (newest >> 16, newest & 0xffff, u64::from(seq.0));
    let roc = if last < 1 << 15 && number > last + (1 << 15) {
        roc.saturating_sub(1)
    } else if last >= 1 << 15 && number < last - (1 << 15) {
        roc + 1
    } else {
        roc
    };
    roc << 16 | number
}

/// What [`SeqTracker::update`] says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqUpdate {
    /// Its extended sequence number; it may be newer than all others, or late, or a duplicate.
    Valid(ExtSeq),
    /// The source restarted: numbering begins anew at this extended number.
    Restarted(ExtSeq),
    /// A jump too large to be believed; a second packet right after it will be taken as a restart.
    Doubtful,
}

/// Sequence validation of one trusted source (RFC 3550 §A.1, without the probation, which is the source guard's).
#[derive(Clone, Debug)]
pub struct SeqTracker {
    newest: ExtSeq,
    /// The number that would confirm a restart: one past the last doubtful packet.
    restart_at: Option<SeqNo>,
}

impl SeqTracker {
    /// A jump ahead of up to this many packets is a gap; RFC 3550 §A.1 MAX_DROPOUT.
    pub const MAX_DROPOUT: u16 = 3000;
    /// A step back of up to this many packets is reordering; RFC 3550 §A.1 MAX_MISORDER.
    pub const MAX_MISORDER: u16 = 100;

    /// Starts at the first packet of a source.
    pub fn new(first: SeqNo) -> SeqTracker {
        SeqTracker { newest: ExtSeq::first(first), restart_at: None }
    }

    /// The newest extended sequence number seen.
    pub fn newest(&self) -> ExtSeq {
        self.newest
    }

    /// Judges the next packet.
    pub fn update(&mut self, seq: SeqNo) -> SeqUpdate {
        let step = seq.ahead_of(self.newest.wire());
        let extended = ExtSeq(self.newest.0.saturating_add_signed(i64::from(step)));
        let near = if step >= 0 {
            step as u16 <= Self::MAX_DROPOUT
        } else {
            step.unsigned_abs() <= Self::MAX_MISORDER
        };
        if near {
            self.newest = self.newest.max(extended);
            self.restart_at = None;
            return SeqUpdate::Valid(extended);
        }
        if self.restart_at == Some(seq) {
            self.restart_at = None;
            self.newest = ExtSeq::first(seq);
            return SeqUpdate::Restarted(self.newest);
        }
        self.restart_at = Some(seq.plus(1));
        SeqUpdate::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(update: SeqUpdate) -> ExtSeq {
        match update {
            SeqUpdate::Valid(n) => n,
            other => panic!("expected a valid packet, got {other:?}"),
        }
    }

    #[test]
    fn extended_numbers_go_on_across_65535_to_0() {
        let mut tracker = SeqTracker::new(SeqNo(65_534));
        let first = tracker.newest();
        assert_eq!(valid(tracker.update(SeqNo(65_535))), first.plus(1));
        assert_eq!(valid(tracker.update(SeqNo(0))), first.plus(2));
        assert_eq!(valid(tracker.update(SeqNo(65_535))), first.plus(1), "late, not new");
        assert_eq!(tracker.newest().wire_with_cycles(), 1 << 16);
    }

    #[test]
    fn rfc3550_a1_dropout_and_misorder_at_the_edge_and_one_past_it() {
        let at = SeqNo(10_000);
        let mut tracker = SeqTracker::new(at);
        let first = tracker.newest();
        assert_eq!(valid(tracker.clone().update(at.plus(3000))), first.plus(3000));
        assert_eq!(tracker.clone().update(at.plus(3001)), SeqUpdate::Doubtful);
        assert_eq!(valid(tracker.clone().update(SeqNo(9_900))), first.back(100));
        assert_eq!(tracker.update(SeqNo(9_899)), SeqUpdate::Doubtful);
    }

    #[test]
    fn rfc3550_a1_two_consecutive_packets_far_away_are_a_restart() {
        let mut tracker = SeqTracker::new(SeqNo(5));
        assert_eq!(tracker.update(SeqNo(40_000)), SeqUpdate::Doubtful);
        assert_eq!(tracker.update(SeqNo(50_000)), SeqUpdate::Doubtful, "not consecutive");
        assert!(matches!(tracker.update(SeqNo(50_001)), SeqUpdate::Restarted(_)));
        assert!(matches!(tracker.update(SeqNo(50_002)), SeqUpdate::Valid(_)));
    }

    #[test]
    fn rfc3711_appendix_a_the_index_turns_with_the_sequence_both_ways() {
        let index = |newest, seq| srtp_index(newest, SeqNo(seq));
        assert_eq!(index(0x1_ffff, 0), 0x2_0000);
        assert_eq!(index(0x2_0000, 65_535), 0x1_ffff, "late, from before the turn");
        assert_eq!(index(0x1_0000, 0x8000), 0x1_8000, "half way round is ahead");
        assert_eq!(index(0x1_0000, 0x8001), 0x0_8001, "one past it is behind");
        assert_eq!(index(0x1_8000, 0), 0x1_0000, "half way back is behind");
        assert_eq!(index(0x1_8001, 0), 0x2_0000, "one past it has turned");
        assert_eq!(index(0x0_0005, 65_535), 0x0_ffff, "there is no round before the first");
    }

    #[test]
    fn timestamps_unwrap_to_the_nearest_across_the_wrap_both_ways() {
        let mut time = TimeUnwrapper::default();
        let first = time.unwrap(RtpTime(u32::MAX - 79));
        assert_eq!(time.unwrap(RtpTime(80)), first.plus(160));
        assert_eq!(time.unwrap(RtpTime(u32::MAX - 79)), first);
        assert_eq!(time.unwrap(RtpTime(240)), first.plus(320));
    }

    #[test]
    fn a_first_timestamp_of_zero_leaves_room_for_older_ones() {
        let mut time = TimeUnwrapper::default();
        let first = time.unwrap(RtpTime(0));
        assert_eq!(time.unwrap(RtpTime(u32::MAX)), first.back(1));
    }

    #[test]
    fn extended_numbers_compare_and_subtract_as_numbers_do_and_wrap_on_the_wire_only() {
        let (a, b) = (ExtSeq::first(SeqNo(65_535)), ExtSeq::first(SeqNo(65_535)).plus(2));
        assert!(a < b && b.back(2) == a);
        assert_eq!((b.since(a), a.since(b), a.since(a)), (Some(2), None, Some(0)));
        assert_eq!((a.wire(), b.wire()), (SeqNo(65_535), SeqNo(1)));
        let (a, b) =
            (ExtTime::first(RtpTime(u32::MAX)), ExtTime::first(RtpTime(u32::MAX)).plus(161));
        assert!(a < b && b.back(161) == a);
        assert_eq!((b.since(a), a.since(b)), (Some(161), None));
        assert_eq!((a.ahead_of(b), b.ahead_of(a), a.apart(b), b.apart(a)), (-161, 161, 161, 161));
        assert_eq!((a.wire(), b.wire()), (RtpTime(u32::MAX), RtpTime(160)));
    }

    #[test]
    fn timestamps_of_the_wire_go_both_ways_round() {
        let at = RtpTime(u32::MAX - 79);
        assert_eq!((at.plus(160), at.plus(160).back(160)), (RtpTime(80), at));
        assert_eq!(at.after_frames(1 << 33 | 2, 160), at.plus(320), "modulo 2³²");
        let (span, rate) = (Duration::from_micros(20_100), 8000);
        assert_eq!((at.after(span, rate), RtpTime(80).before(span, rate)), (RtpTime(80), at));
    }

    #[test]
    fn ntp_counts_from_1900_and_its_middle_is_in_65536ths() {
        let t = NtpTime::from_unix(Duration::from_millis(1_500));
        assert_eq!(t.0 >> 32, 2_208_988_801);
        assert_eq!(t.0 & 0xffff_ffff, 1 << 31);
        assert_eq!(t.plus(Duration::from_millis(500)).0 & 0xffff_ffff, 0);
        assert_eq!(t.plus(Duration::from_secs(1)).middle().wrapping_sub(t.middle()), 65_536);
    }
}
