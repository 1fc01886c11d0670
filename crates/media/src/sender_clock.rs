//! What a sender's timestamps count.
//!
//! They should count the samples of its audio (RFC 3550 §5.1), and the length of each packet says how many these are. Some
//! senders count at another rate (G.722 at 16 kHz, where RFC 3551 §4.5.2 asks for 8; Opus at the rate of its input), some
//! not at all. It shows where packets follow one another in sequence: their timestamps say one thing, their lengths another,
//! and the time at which they arrive tells which of the two is so.

use crate::time::{Duration, Time};

/// So many steps alike prove something: a change of pace or a stray timestamp makes one or two.
const STEPS: u32 = 3;

/// Steps are alike, and as they should be, within this part of them: some senders are off by a few ticks to either side.
const ALIKE: u64 = 16;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct SenderClock {
    run: Option<Run>,
    /// What it was found to count: so many ticks in so much time.
    counts: Option<(u64, Duration)>,
}

/// Steps alike, one after the other.
#[derive(Debug)]
struct Run {
    step: u64,
    span: Duration,
    steps: u32,
    began: Time,
}

impl SenderClock {
    /// A packet that arrived at `arrival` follows one of length `span` that arrived at `before`, with a timestamp that is
    /// `step` ticks of `clock_rate` further.
    pub fn follow(
        &mut self,
        step: i64,
        span: Duration,
        before: Time,
        arrival: Time,
        clock_rate: u32,
    ) {
        let Ok(step) = u64::try_from(step) else {
            // Back in time: it says nothing of how fast the clock runs.
            self.run = None;
            return;
        };
        let goes_on = |run: &&mut Run| is_like(step, run.step) && run.span == span;
        match self.run.as_mut().filter(goes_on) {
            Some(run) => run.steps += 1,
            None => self.run = Some(Run { step, span, steps: 1, began: before }),
        }
        let Some(run) = self.run.as_ref().filter(|run| run.steps >= STEPS) else { return };
        if is_like(step, ticks(span, clock_rate)) {
            self.counts = None;
            return;
        }
        let (took, by_length) = (arrival - run.began, run.span * run.steps);
        let by_clock = span_of(run.step, clock_rate).saturating_mul(run.steps);
        // What comes all at once was held back on the way: it proves nothing.
        if took >= by_length / 2 && took.abs_diff(by_length) < took.abs_diff(by_clock) {
            self.counts = Some((run.step, run.span));
        }
    }

    /// How much media time lies between two timestamps that are `step` ticks apart; `None` if they do not tell.
    pub fn elapsed(&self, step: i64, clock_rate: u32) -> Option<Duration> {
        let step = u64::try_from(step).ok()?;
        match self.counts {
            None => Some(span_of(step, clock_rate)),
            Some((0, _)) => None,
            Some((counted, span)) => {
                let nanos = u128::from(step) * span.as_nanos() / u128::from(counted);
                Some(Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64))
            }
        }
    }
}

fn is_like(step: u64, other: u64) -> bool {
    step.abs_diff(other) <= other / ALIKE
}

/// How long so many ticks last.
pub fn span_of(ticks: u64, clock_rate: u32) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(clock_rate.max(1));
    Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64)
}

/// The ticks nearest to a span.
pub fn ticks(span: Duration, clock_rate: u32) -> u64 {
    let ticks = (span.as_nanos() * u128::from(clock_rate) + 500_000_000) / 1_000_000_000;
    ticks.min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// A clock that was followed for `steps` packets of 20 ms, each `step` ticks of 8 kHz and `apart` ms after the last.
    fn followed(clock: &mut SenderClock, steps: u64, step: i64, apart: u64) {
        for n in 0..steps {
            clock.follow(step, MS(20), Time::ms(n * apart), Time::ms((n + 1) * apart), 8000);
        }
    }

    #[test]
    fn a_clock_that_counts_as_it_should_is_believed() {
        let mut clock = SenderClock::default();
        followed(&mut clock, 50, 160, 20);
        assert_eq!(clock.elapsed(1600, 8000), Some(MS(200)));
        assert_eq!(clock.elapsed(-160, 8000), None);
    }

    #[test]
    fn a_clock_that_counts_at_another_rate_is_learned_and_unlearned() {
        for (step, counted) in [(320, 3200), (27, 270)] {
            let mut clock = SenderClock::default();
            followed(&mut clock, 2, step, 20);
            assert_ne!(clock.elapsed(counted, 8000), Some(MS(200)), "two steps prove nothing");
            followed(&mut clock, 3, step, 20);
            assert_eq!(clock.elapsed(counted, 8000), Some(MS(200)), "{step}");
            followed(&mut clock, 3, 160, 20);
            assert_eq!(clock.elapsed(1600, 8000), Some(MS(200)), "{step}");
        }
    }

    #[test]
    fn a_clock_that_stands_still_tells_nothing() {
        let mut clock = SenderClock::default();
        followed(&mut clock, 3, 0, 20);
        assert_eq!(clock.elapsed(1600, 8000), None);
    }

    #[test]
    fn who_pauses_after_every_packet_has_a_clock_that_is_right() {
        let mut clock = SenderClock::default();
        followed(&mut clock, 20, 320, 40);
        assert_eq!(clock.elapsed(320, 8000), Some(MS(40)));
    }

    #[test]
    fn what_comes_all_at_once_proves_nothing() {
        let mut clock = SenderClock::default();
        followed(&mut clock, 20, 320, 1);
        assert_eq!(clock.elapsed(320, 8000), Some(MS(40)));
    }

    #[test]
    fn spans_and_ticks_are_the_same_there_and_back() {
        for clock_rate in [8000, 16_000, 44_100, 48_000, 192_000] {
            for n in [0, 1, 7, 160, 882, 952, 967, 1 << 33] {
                assert_eq!(ticks(span_of(n, clock_rate), clock_rate), n, "{n} of {clock_rate}");
            }
        }
    }
}
