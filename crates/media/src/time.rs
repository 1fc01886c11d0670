//! The core's notion of time: a plain number with an origin the caller chooses.

use core::ops::{Add, AddAssign, Sub};
pub use core::time::Duration;

/// An instant on the caller's monotonic clock, in nanoseconds since an origin the caller chose.
///
/// A test writes `Time::ms(20)`; the engine counts from the moment it started. The range is 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// Later than anything that happens.
    pub const FAR: Time = Time(u64::MAX);

    /// `n` nanoseconds after the origin.
    pub const fn ns(n: u64) -> Time {
        Time(n)
    }
    /// `n` microseconds after the origin.
    pub const fn us(n: u64) -> Time {
        Time(n * 1_000)
    }
    /// `n` milliseconds after the origin.
    pub const fn ms(n: u64) -> Time {
        Time(n * 1_000_000)
    }
    /// `n` seconds after the origin.
    pub const fn secs(n: u64) -> Time {
        Time(n * 1_000_000_000)
    }
    /// Nanoseconds since the origin.
    pub const fn as_ns(self) -> u64 {
        self.0
    }
    /// Milliseconds since the origin, rounded down.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }
    /// The time that passed since `earlier`; zero if `earlier` is the later one.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
    /// `span` before this time, not before the origin.
    pub const fn back(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(nanos(span)))
    }
}

/// A span in nanoseconds; a span of more than 584 years is that long.
const fn nanos(span: Duration) -> u64 {
    let n = span.as_nanos();
    if n > u64::MAX as u128 {
        u64::MAX
    } else {
        n as u64
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_before_the_origin_are_zero_not_a_panic() {
        assert_eq!(Time::ms(5) - Time::ms(9), Duration::ZERO);
        assert_eq!(Time::ms(5).back(Duration::from_secs(1)), Time::ZERO);
        assert_eq!(Time::FAR + Duration::from_secs(1), Time::FAR);
    }
}
