//! Clocks that run a little fast or slow, as every pair of machines has them.

use std::time::Duration;

/// A clock that gains `ppm` microseconds each true second (or loses them, if negative).
///
/// Crystals of telephones and cards are within ±100 ppm: 6 ms a minute, a 20 ms frame every 200 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftClock {
    /// How fast it runs, in parts per million; above −1 000 000.
    pub ppm: f64,
}

impl DriftClock {
    /// What this clock shows at a true time.
    pub fn shown_at(self, truly: Duration) -> Duration {
        // The drift alone goes through floating point, so that hours keep their nanoseconds.
        shift(truly, truly.as_secs_f64() * self.ppm * 1e-6)
    }

    /// The true time at which this clock shows `shown`.
    pub fn true_time(self, shown: Duration) -> Duration {
        let rate = self.ppm * 1e-6;
        shift(shown, -shown.as_secs_f64() * rate / (1.0 + rate))
    }
}

fn shift(time: Duration, secs: f64) -> Duration {
    let by = Duration::from_secs_f64(secs.abs());
    if secs < 0.0 {
        time.saturating_sub(by)
    } else {
        time + by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_ppm_are_six_ms_a_minute_both_ways() {
        let minute = Duration::from_secs(60);
        let ms = Duration::from_millis(6);
        assert_eq!(DriftClock { ppm: 100.0 }.shown_at(minute), minute + ms);
        assert_eq!(DriftClock { ppm: -100.0 }.shown_at(minute), minute - ms);
        assert_eq!(DriftClock { ppm: 0.0 }.shown_at(minute), minute);
    }

    #[test]
    fn true_time_is_the_inverse_to_the_nanosecond_and_never_runs_back() {
        for ppm in [-500.0, -37.5, 0.0, 20.0, 1000.0] {
            let clock = DriftClock { ppm };
            let mut before = Duration::ZERO;
            for n in 0..1000 {
                let shown = Duration::from_millis(20 * 997 * n);
                let truly = clock.true_time(shown);
                assert!(truly > before || n == 0);
                assert!(clock.shown_at(truly).abs_diff(shown) <= Duration::from_nanos(1));
                before = truly;
            }
        }
    }
}
