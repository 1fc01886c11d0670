//! When reports leave (RFC 3550 §6.2, §6.3, §A.7).

use crate::rng::Rng;
use crate::time::{Duration, Time};

/// The transmission timer of one participant in a session of two.
///
/// RFC 3550 §6.3.1 derives the deterministic interval from the size of the group, the size of reports and the session's
/// bandwidth, but never less than a minimum. Two parties who share the smallest voice stream there is stay well below
/// what that allows, so the minimum is always what counts, and it is configured. Group size being fixed, what remains of
/// §6.3 is randomisation, the half interval at the start, and reconsideration.
///
/// ```
/// # use roomkit_media::{rng::Rng, rtcp::Schedule, time::{Duration, Time}};
/// # let mut rng = Rng::new(1);
/// # let mut sent = 0;
/// let mut schedule = Schedule::new(Duration::from_secs(5), Time::ZERO, &mut rng);
/// while schedule.deadline() < Time::secs(60) {
///     let now = schedule.deadline();
///     if schedule.due(now, &mut rng) {
///         sent += 1; // write and send a compound here
///         schedule.on_sent(now, &mut rng);
///     }
/// }
/// # assert!((8..20).contains(&sent));
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    base: Duration,
    /// `tp`: when the last report left, or when the session began.
    previous: Time,
    /// `tn`: when the timer expires.
    next: Time,
    /// `initial`: no report has left yet.
    initial: bool,
}

impl Schedule {
    /// What the interval is divided by: e − 3/2, because reconsideration lets intervals converge to a value that is
    /// longer by this much (RFC 3550 §6.3.1).
    const COMPENSATION: f64 = core::f64::consts::E - 1.5;

    /// A shorter base is taken as this one. An interval of zero would be due again at the instant it was served.
    pub const MIN_BASE: Duration = Duration::from_millis(10);

    /// Starts the timer. `base` is the deterministic interval between reports, `Td` of RFC 3550 §6.3.1.
    pub fn new(base: Duration, now: Time, rng: &mut Rng) -> Schedule {
        let base = base.max(Self::MIN_BASE);
        let mut schedule = Schedule { base, previous: now, next: now, initial: true };
        schedule.next = now + schedule.draw(rng);
        schedule
    }

    /// When to ask [`due`](Self::due) again.
    pub fn deadline(&self) -> Time {
        self.next
    }

    /// Whether a report is to leave now. If it is, send it and call [`on_sent`](Self::on_sent); if not, the deadline may
    /// have moved.
    ///
    /// At the deadline the interval is drawn once more, and only if that one has passed too is it time; otherwise the
    /// timer waits for it. That is timer reconsideration (RFC 3550 §6.3.6), without which the compensation above would
    /// make the mean interval too short.
    pub fn due(&mut self, now: Time, rng: &mut Rng) -> bool {
        if now < self.next {
            return false;
        }
        self.next = self.previous + self.draw(rng);
        self.next <= now
    }

    /// A report left, on this timer or ahead of it: the next is an interval away.
    pub fn on_sent(&mut self, now: Time, rng: &mut Rng) {
        self.initial = false;
        self.previous = now;
        self.next = now + self.draw(rng);
    }

    /// A random interval: 0.5 to 1.5 times the base, compensated; the base is half before the first report, so that the
    /// other side soon knows us (RFC 3550 §6.2, §6.3.1).
    fn draw(&self, rng: &mut Rng) -> Duration {
        let base = if self.initial { self.base / 2 } else { self.base };
        base.mul_f64((rng.unit() + 0.5) / Self::COMPENSATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(5);

    /// The intervals between the reports of one participant, the first counted from the start.
    fn intervals(seed: u64, count: usize) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        let mut schedule = Schedule::new(BASE, Time::secs(100), &mut rng);
        let mut last = Time::secs(100);
        let mut intervals = Vec::new();
        while intervals.len() < count {
            let now = schedule.deadline();
            if schedule.due(now, &mut rng) {
                schedule.on_sent(now, &mut rng);
                intervals.push((now - last).as_secs_f64());
                last = now;
            }
        }
        intervals
    }

    #[test]
    fn rfc3550_6_3_1_intervals_are_randomised_within_half_and_one_and_a_half() {
        let intervals = intervals(1, 10_000);
        let (low, high) = (2.5 / 1.21828, 7.5 / 1.21828);
        assert!(intervals[1..].iter().all(|i| (low - 1e-4..high + 1e-4).contains(i)));
        let min = intervals[1..].iter().copied().fold(f64::MAX, f64::min);
        let max = intervals.iter().copied().fold(0.0, f64::max);
        assert!(min < low + 0.2 && max > high - 0.01, "the whole range is used: {min} to {max}");
    }

    #[test]
    fn rfc3550_6_3_6_with_reconsideration_the_mean_is_the_configured_interval() {
        let intervals = intervals(2, 50_000);
        let mean = intervals[1..].iter().sum::<f64>() / (intervals.len() - 1) as f64;
        assert!((4.95..5.05).contains(&mean), "{mean}");
    }

    #[test]
    fn rfc3550_6_2_the_first_interval_is_half_as_long() {
        let first: Vec<f64> = (0..2_000).map(|seed| intervals(seed, 1)[0]).collect();
        let (low, high) = (1.25 / 1.21828, 3.75 / 1.21828);
        assert!(first.iter().all(|i| (low - 1e-4..high + 1e-4).contains(i)));
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        assert!((2.4..2.6).contains(&mean), "{mean}");
    }

    #[test]
    fn nothing_is_due_before_the_deadline_and_asking_early_changes_nothing() {
        let mut rng = Rng::new(3);
        let mut schedule = Schedule::new(BASE, Time::ZERO, &mut rng);
        let deadline = schedule.deadline();
        assert!(!schedule.due(deadline.back(Duration::from_nanos(1)), &mut rng));
        assert_eq!(schedule.deadline(), deadline);
    }

    #[test]
    fn a_late_wake_up_sends_one_report_and_not_the_missed_ones() {
        let mut rng = Rng::new(4);
        let mut schedule = Schedule::new(BASE, Time::ZERO, &mut rng);
        let late = Time::secs(3_600);
        assert!(schedule.due(late, &mut rng));
        schedule.on_sent(late, &mut rng);
        assert!(!schedule.due(late, &mut rng));
        assert!(schedule.deadline() > late + Duration::from_secs(2));
    }

    #[test]
    fn an_interval_of_nothing_still_moves_on() {
        let mut rng = Rng::new(5);
        let mut schedule = Schedule::new(Duration::ZERO, Time::ZERO, &mut rng);
        assert!(schedule.deadline() > Time::ZERO);
        schedule.on_sent(Time::ZERO, &mut rng);
        assert!(schedule.deadline() > Time::ZERO);
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(intervals(6, 20), intervals(6, 20));
        assert_ne!(intervals(6, 20), intervals(7, 20));
    }
}
