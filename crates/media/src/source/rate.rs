//! How many packets a second are taken.

use crate::time::{Duration, Time};

/// What a network that stalled lets go at once is no flood: so much of the rate may come in one burst.
const BURST: Duration = Duration::from_secs(1);

/// A bound on a rate, with room for bursts: every packet pays its share of a second, and a second of debt is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    share: Duration,
    /// When all packets so far are paid for.
    paid: Time,
}

impl Rate {
    pub fn new(per_second: u32) -> Rate {
        Rate { share: Duration::from_secs(1) / per_second.max(1), paid: Time::ZERO }
    }

    /// Whether one more fits at `now`; it is then counted.
    pub fn admits(&mut self, now: Time) -> bool {
        let paid = self.paid.max(now) + self.share;
        let fits = paid - now <= BURST;
        if fits {
            self.paid = paid;
        }
        fits
    }

    /// As if nothing had come yet.
    pub fn reset(&mut self) {
        self.paid = Time::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_the_rate_fits_at_once_and_one_more_does_not() {
        let mut rate = Rate::new(100);
        assert_eq!((0..200).filter(|_| rate.admits(Time::secs(5))).count(), 100);
        assert!(!rate.admits(Time::ms(5009)));
        assert!(rate.admits(Time::ms(5010)) && !rate.admits(Time::ms(5010)));
    }

    #[test]
    fn a_flood_gets_exactly_the_rate_and_who_keeps_to_it_is_never_refused() {
        let mut rate = Rate::new(400);
        let taken = (0..500_000).filter(|n| rate.admits(Time::us(n * 20))).count();
        assert!((4390..=4401).contains(&taken), "ten seconds, and one in advance: {taken}");
        let mut rate = Rate::new(400);
        assert!((0..40_000).all(|n| rate.admits(Time::us(n * 2500))));
    }
}
