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

    #[test]
    fn ntp_counts_from_1900_and_its_middle_is_in_65536ths() {
        let t = NtpTime::from_unix(Duration::from_millis(1_500));
        assert_eq!(t.0 >> 32, 2_208_988_801);
        assert_eq!(t.0 & 0xffff_ffff, 1 << 31);
        assert_eq!(t.plus(Duration::from_millis(500)).0 & 0xffff_ffff, 0);
        assert_eq!(t.plus(Duration::from_secs(1)).middle().wrapping_sub(t.middle()), 65_536);
    }
}
