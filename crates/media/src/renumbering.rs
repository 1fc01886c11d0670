//! A sender that goes on under numbers that it has used before.
//!
//! Its packets look like ones that were played already, by less than a receiver takes for a restart (RFC 3550 §A.1). Copies
//! and stragglers look so too; but these come at once, or between others, and say nothing new.

use crate::seq::ExtSeq;
use crate::time::{Duration, Time};

/// Two packets in a row with timestamps newer than all that is known are new ones; or so many in so much time, with nothing
/// newer among them.
const MANY: u32 = 4;
const LONG: Duration = Duration::from_millis(60);

/// After this long packets do not belong together any more in that.
const APART: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Renumbering {
    row: Option<Row>,
}

/// Packets in a row under old numbers.
#[derive(Clone, Copy, Debug)]
struct Row {
    newest: ExtSeq,
    count: u32,
    /// Their timestamps are newer than all others.
    ahead: bool,
    first_arrival: Time,
    arrival: Time,
}

impl Renumbering {
    /// A packet came under a number that is taken or past, its timestamp `ahead` of all others or not: whether its sender
    /// counts anew.
    pub fn old(&mut self, seq: ExtSeq, ahead: bool, arrival: Time) -> bool {
        let follows = |row: &Row| row.newest.plus(1) == seq && arrival - row.arrival < APART;
        let row = match self.row.filter(follows) {
            Some(row) => {
                let (count, ahead) = (row.count + 1, row.ahead && ahead);
                Row { newest: seq, count, ahead, arrival, ..row }
            }
            None => Row { newest: seq, count: 1, ahead, first_arrival: arrival, arrival },
        };
        self.row = Some(row);
        let took = row.arrival - row.first_arrival;
        (row.ahead && row.count > 1) || (row.count >= MANY && took >= LONG)
    }

    /// Something newer came.
    pub fn over(&mut self) {
        self.row = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::SeqNo;

    /// Whether the last of some old packets, so many ms apart, counts anew.
    fn after(packets: u64, apart_ms: u64, ahead: bool) -> bool {
        let mut renumbering = Renumbering::default();
        let seq = |n| ExtSeq::first(SeqNo(100)).plus(n);
        let mut told = (0..packets)
            .map(|n| renumbering.old(seq(n), ahead, Time::ms(1000 + n * apart_ms)))
            .collect::<Vec<_>>();
        told.pop().unwrap()
    }

    #[test]
    fn two_that_are_ahead_or_four_over_60_ms_count_anew_and_one_less_does_not() {
        assert!(!after(1, 20, true) && after(2, 0, true));
        assert!(!after(3, 50, false) && after(4, 20, false));
        assert!(!after(4, 19, false), "57 ms");
        assert!(!after(50, 1, false), "all at once they are copies");
        assert!(!after(50, 1000, false), "too far apart to belong together");
    }

    #[test]
    fn something_newer_between_them_and_a_gap_begin_again() {
        let mut renumbering = Renumbering::default();
        let seq = |n| ExtSeq::first(SeqNo(100)).plus(n);
        for n in 0..20 {
            assert!(!renumbering.old(seq(n), false, Time::ms(n * 20)));
            if n % 3 == 2 {
                renumbering.over();
            }
        }
        assert!(!renumbering.old(seq(30), true, Time::ms(500)));
        assert!(!renumbering.old(seq(32), true, Time::ms(520)), "not in a row");
    }
}
