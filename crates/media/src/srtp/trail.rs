//! Where a source has been: what tells a far end that began anew from a copy of what it said before.
//!
//! A far end that restarts in mid-call may go on under its key and its SSRC and have forgotten how often its sequence had
//! turned. It should not (RFC 3711 §3.3.1), and it seals under indices that were used before: by its index its packet is no
//! other than one that somebody recorded and sends again. By its timestamp it is. The numbers and the clock of a stream go
//! on together, so a few points of it say which timestamps a copy of it could have, and a new beginning is elsewhere:
//! it draws its timestamp at random (RFC 3550 §5.1).

use crate::seq::RtpTime;

/// From one point to the next where nothing happens: 5 s of packets of 20 ms.
const EVERY: u64 = 256;

/// Points held at most; then every second one goes, and from there on they are further apart.
const MOST: usize = 256;

/// Ticks further than this from one packet to the next are no pause but another timestamp: 3 minutes at 48 kHz, and more
/// at less.
const LONGEST_STEP: u32 = 1 << 23;

/// Timestamps are uneven by less than this many ticks: 25 ms at 8 kHz. A sender whose numbers alone step back is
/// unheard for as long.
const UNEVEN: u32 = 200;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    /// By ascending index.
    points: Vec<Point>,
    newest: Option<Point>,
    /// As a point's, of what came after the last one.
    blurred: bool,
    /// How often points have been thinned out.
    thinned: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    index: u64,
    timestamp: RtpTime,
    /// Right before it timestamps have jumped, from the point before it.
    jumps: bool,
    /// Between the point before it and this one they have jumped, and nobody knows where to.
    blurred: bool,
}

impl Trail {
    /// A packet came that is genuine. From now on it is one of this stream, whatever else comes.
    pub(super) fn note(&mut self, index: u64, timestamp: RtpTime) {
        let Some(newest) = self.newest else { return self.begin(index, timestamp) };
        if index <= newest.index {
            if !self.leads_over(index, timestamp) {
                // It was overtaken, right at the beginning or where timestamps jump.
                self.put_between(index, timestamp);
            }
            return;
        }
        let jumps = ticks_from(newest.timestamp, timestamp) > LONGEST_STEP;
        let last = self.points.last().map_or(0, |point| point.index);
        if jumps && last < newest.index {
            self.push(newest);
        }
        let point = Point { index, timestamp, jumps, blurred: false };
        if jumps || index - last >= EVERY << self.thinned {
            self.push(point);
        }
        self.newest = Some(Point { jumps: false, ..point });
    }

    /// Whether a packet of that index and timestamp can be one of this stream.
    pub(super) fn leads_over(&self, index: u64, timestamp: RtpTime) -> bool {
        let Some(newest) = self.newest.filter(|newest| index <= newest.index) else { return false };
        let at = self.points.partition_point(|point| point.index < index);
        let newest = Point { blurred: self.blurred, ..newest };
        let behind = self.points.get(at).copied().unwrap_or(newest);
        // What was before the first packet that came has not come.
        let Some(before) = at.checked_sub(1).map(|at| self.points[at]) else {
            return behind.index == index && behind.timestamp == timestamp;
        };
        let length = ticks_from(before.timestamp, behind.timestamp);
        let near = |from: RtpTime, length: u32| {
            ticks_from(from.back(UNEVEN), timestamp) <= length.saturating_add(2 * UNEVEN)
        };
        if behind.blurred {
            return true;
        }
        if behind.jumps {
            // What lies between the two is on either side of the jump, if it came at all.
            return near(before.timestamp, 0) || near(behind.timestamp, 0);
        }
        near(before.timestamp, length)
    }

    fn begin(&mut self, index: u64, timestamp: RtpTime) {
        let point = Point { index, timestamp, jumps: false, blurred: false };
        self.newest = Some(point);
        self.points.push(point);
    }

    fn put_between(&mut self, index: u64, timestamp: RtpTime) {
        if self.points.len() == MOST {
            self.thin_out();
        }
        let at = self.points.partition_point(|point| point.index < index);
        // What came between the points on either side may now be nearer to neither.
        match self.points.get_mut(at) {
            Some(behind) => (behind.jumps, behind.blurred) = (false, true),
            None => self.blurred = true,
        }
        self.points.insert(at, Point { index, timestamp, jumps: false, blurred: at > 0 });
    }

    fn push(&mut self, point: Point) {
        if self.points.len() == MOST {
            self.thin_out();
        }
        // The point right before a jump may just have been thinned out.
        let before = self.points.last().map(|point| point.index);
        let lost = point.jumps && before != self.newest.map(|newest| newest.index);
        let blurred = core::mem::take(&mut self.blurred) || lost;
        self.points.push(Point { jumps: point.jumps && !lost, blurred, ..point });
    }

    /// Keeps every second point, and that there was a jump between those that are left.
    fn thin_out(&mut self) {
        let mut blurred = false;
        let mut kept = Vec::with_capacity(MOST);
        for (n, point) in self.points.drain(..).enumerate() {
            blurred |= point.blurred || point.jumps;
            if n % 2 == 0 {
                kept.push(Point { jumps: false, blurred, ..point });
                blurred = false;
            }
        }
        self.blurred = blurred;
        self.points = kept;
        self.thinned += 1;
    }
}

/// How far it is from one timestamp to the other, forwards.
fn ticks_from(from: RtpTime, to: RtpTime) -> u32 {
    to.ahead_of(from) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_copy_of_anything_that_was_sent_is_known_and_another_beginning_is_not() {
        let mut trail = Trail::default();
        let at = |index: u64| RtpTime(5000).after_frames(index, 160);
        for index in 100..10_000 {
            trail.note(index, at(index));
        }
        for index in 100..10_000 {
            assert!(trail.leads_over(index, at(index)), "{index}");
            assert!(!trail.leads_over(index, at(index).plus(1 << 30)), "{index}");
        }
        assert!(!trail.leads_over(10_000, at(10_000)), "newer than all");
        assert!(!trail.leads_over(99, at(99)), "before the first that came");
    }

    proptest! {
        #[test]
        fn no_history_of_jumps_pauses_and_overtaking_hides_a_packet_that_came(
            steps in proptest::collection::vec((1u64..20, any::<u32>(), 0u8..20), 1..3000),
            overtaken in 1usize..60,
        ) {
            let (mut trail, mut sent) = (Trail::default(), vec![]);
            let (mut index, mut timestamp) = (7, RtpTime(1));
            for (packets, ticks, kind) in steps {
                index += if kind < 15 { 1 } else { packets };
                timestamp = timestamp.plus(match kind {
                    0 => ticks,
                    1 => ticks % (1 << 22),
                    _ => 160,
                });
                sent.push((index, timestamp));
            }
            for (n, some) in sent.chunks_mut(overtaken).enumerate() {
                if n % 3 == 0 {
                    some.reverse();
                }
            }
            for &(index, timestamp) in &sent {
                trail.note(index, timestamp);
            }
            prop_assert!(trail.points.len() <= MOST);
            for (index, timestamp) in sent {
                prop_assert!(trail.leads_over(index, timestamp), "{index} {timestamp:?}");
            }
        }
    }
}
