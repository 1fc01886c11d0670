//! The one home of wrap-around arithmetic: sequence numbers, RTP timestamps, and the RFC 3550 §A.1 sequence check.
//!
//! Nothing outside this file masks with `0xFFFF` or subtracts wrapping numbers by hand. Inside the core, packets are
//! known by *extended* numbers, `u64` counts that never wrap.

use core::fmt;

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
    /// How many ticks `self` is ahead of `other` on the shorter way round.
    pub const fn ahead_of(self, other: RtpTime) -> i32 {
        self.0.wrapping_sub(other.0) as i32
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

/// Extended counts start here, so that packets older than the first one still have a number.
const EXTENDED_ORIGIN: u64 = 1 << 40;

/// Turns wrapping RTP timestamps into extended ones, each taken as the nearest to the newest seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeUnwrapper {
    newest: Option<(RtpTime, u64)>,
}

impl TimeUnwrapper {
    /// The extended timestamp of `wire`. Forgets nothing and accepts anything: trust is decided elsewhere.
    pub fn unwrap(&mut self, wire: RtpTime) -> u64 {
        let extended = self.peek(wire);
        if self.newest.is_none_or(|(_, newest)| extended > newest) {
            self.newest = Some((wire, extended));
        }
        extended
    }

    /// As [`unwrap`](Self::unwrap), without moving on.
    pub fn peek(&self, wire: RtpTime) -> u64 {
        match self.newest {
            None => EXTENDED_ORIGIN + u64::from(wire.0),
            Some((newest, extended)) => {
                extended.saturating_add_signed(i64::from(wire.ahead_of(newest)))
            }
        }
    }
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
    Valid(u64),
    /// The source restarted: numbering begins anew at this extended number.
    Restarted(u64),
    /// A jump too large to be believed; a second packet right after it will be taken as a restart.
    Doubtful,
}

/// Sequence validation of one trusted source (RFC 3550 §A.1, without the probation, which is the source guard's).
#[derive(Clone, Debug)]
pub struct SeqTracker {
    newest: u64,
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
        SeqTracker { newest: EXTENDED_ORIGIN + u64::from(first.0), restart_at: None }
    }

    /// The newest extended sequence number seen.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The cycles and sequence number of an extended number, as a report block carries them (RFC 3550 §6.4.1).
    pub fn wire_extended(extended: u64) -> u32 {
        (extended - EXTENDED_ORIGIN) as u32
    }

    /// Judges the next packet.
    pub fn update(&mut self, seq: SeqNo) -> SeqUpdate {
        let step = seq.ahead_of(SeqNo(self.newest as u16));
        let extended = self.newest.saturating_add_signed(i64::from(step));
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
            self.newest = EXTENDED_ORIGIN + u64::from(seq.0);
            return SeqUpdate::Restarted(self.newest);
        }
        self.restart_at = Some(seq.plus(1));
        SeqUpdate::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(update: SeqUpdate) -> u64 {
        match update {
            SeqUpdate::Valid(n) => n,
            other => panic!("expected a valid packet, got {other:?}"),
        }
    }

    #[test]
    fn extended_numbers_go_on_across_65535_to_0() {
        let mut tracker = SeqTracker::new(SeqNo(65_534));
        let first = tracker.newest();
        assert_eq!(valid(tracker.update(SeqNo(65_535))), first + 1);
        assert_eq!(valid(tracker.update(SeqNo(0))), first + 2);
        assert_eq!(valid(tracker.update(SeqNo(65_535))), first + 1, "late, not new");
        assert_eq!(SeqTracker::wire_extended(tracker.newest()), 1 << 16);
    }

    #[test]
    fn rfc3550_a1_dropout_and_misorder_at_the_edge_and_one_past_it() {
        let at = SeqNo(10_000);
        let mut tracker = SeqTracker::new(at);
        let first = tracker.newest();
        assert_eq!(valid(tracker.clone().update(at.plus(3000))), first + 3000);
        assert_eq!(tracker.clone().update(at.plus(3001)), SeqUpdate::Doubtful);
        assert_eq!(valid(tracker.clone().update(SeqNo(9_900))), first - 100);
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
        assert_eq!(time.unwrap(RtpTime(80)), first + 160);
        assert_eq!(time.unwrap(RtpTime(u32::MAX - 79)), first);
        assert_eq!(time.unwrap(RtpTime(240)), first + 320);
    }

    #[test]
    fn a_first_timestamp_of_zero_leaves_room_for_older_ones() {
        let mut time = TimeUnwrapper::default();
        let first = time.unwrap(RtpTime(0));
        assert_eq!(time.unwrap(RtpTime(u32::MAX)), first - 1);
    }
}
