//! The one clock: monotonic, with one origin for every thread, shard and session of the process.

use roomkit_media::seq::NtpTime;
use roomkit_media::time::Time;
use std::time::{Duration, SystemTime};

/// The time now. On Linux this is CLOCK_MONOTONIC itself, so that it can be handed to the kernel as a deadline.
#[cfg(target_os = "linux")]
pub fn now() -> Time {
    Time::ns(crate::linux::monotonic_ns())
}

/// The time now, counted from the first call.
#[cfg(not(target_os = "linux"))]
pub fn now() -> Time {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    // An hour of room, so that "a little earlier" is a time too.
    Time::secs(3600) + ORIGIN.get_or_init(Instant::now).elapsed()
}

/// What a wall clock shows at [`Time::ZERO`]; RTCP sender reports carry it (RFC 3550 §6.4.1). It is taken once per
/// session: a step of the system's clock in the middle of a call must not look like drift to the remote.
pub fn wallclock_at_zero() -> NtpTime {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    NtpTime::from_unix(unix.saturating_sub(now() - Time::ZERO))
}

/// The engine's grid: wake-ups, polls and the ticks of sessions fall on multiples of `step`, so that they coalesce.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    step_ns: u64,
}

impl Grid {
    /// A grid of `step`, which is at least a nanosecond.
    pub const fn new(step: Duration) -> Grid {
        Grid { step_ns: step.as_nanos() as u64 }
    }

    /// The first point of the grid at or after `time`.
    pub const fn at_or_after(self, time: Time) -> Time {
        match time.as_ns().checked_next_multiple_of(self.step_ns) {
            Some(ns) => Time::ns(ns),
            None => Time::FAR,
        }
    }

    /// The first point of the grid after `time`.
    pub const fn after(self, time: Time) -> Time {
        self.at_or_after(Time::ns(time.as_ns().saturating_add(1)))
    }

    /// The number of the last point at or before `time`.
    pub const fn index(self, time: Time) -> u64 {
        time.as_ns() / self.step_ns
    }

    /// The point of that number.
    pub const fn point(self, index: u64) -> Time {
        Time::ns(index * self.step_ns)
    }

    /// Whether `span` is a whole number of steps.
    pub const fn divides(self, span: Duration) -> bool {
        (span.as_nanos() as u64) % self.step_ns == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_the_wallclock_agrees_with_the_system() {
        let first = now();
        assert!(now() >= first && first > Time::ZERO);
        let shown = wallclock_at_zero().plus(now() - Time::ZERO).0 >> 32;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!((shown - 2_208_988_800).abs_diff(unix) <= 1);
    }

    #[test]
    fn grid_points_at_the_edge_and_one_past_it() {
        let grid = Grid::new(Duration::from_millis(5));
        assert_eq!(grid.at_or_after(Time::ms(10)), Time::ms(10));
        assert_eq!(grid.at_or_after(Time::ns(10_000_001)), Time::ms(15));
        assert_eq!(grid.after(Time::ms(10)), Time::ms(15));
        assert_eq!(grid.at_or_after(Time::FAR), Time::FAR);
        assert_eq!(grid.point(grid.index(Time::ms(14))), Time::ms(10));
        assert!(
            grid.divides(Duration::from_millis(20)) && !grid.divides(Duration::from_millis(12))
        );
    }
}
