//! How much of its time a media thread has to spare for what may be a flood.
//!
//! A thread with real-time scheduling runs when its time has come, whatever it did before. One without shares the core: on a
//! busy machine the scheduler makes good for what it used by letting it wait, and frames would be late for the sake of a flood.
//! How late it wakes tells which of the two it is.

use roomkit_media::time::Duration;

/// The time that reading more than the least may take before frames, of all sockets together. It bounds how late a flood
/// makes the others' frames.
const BEFORE_FRAMES: Duration = Duration::from_millis(1);
/// The time that reading all flooded sockets together may take in a millisecond: enough for 250 000 usual datagrams a second.
/// More would take the core from the program's threads and, from a thread with real-time scheduling, bring the kernel's own
/// limit near, which stops such a thread for 50 ms.
const BEHIND_FRAMES: Duration = Duration::from_micros(250);
/// A thread that wakes later than this in the mean has to compete: then a quarter of both must do, which is no more than its
/// share among a dozen others.
const LATE: Duration = Duration::from_micros(300);
/// Wakes that the mean is of: a twentieth to a fifth of a second.
const MEMORY: u32 = 32;

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spare {
    lateness: Duration,
}

impl Spare {
    /// The thread woke so late.
    pub fn woke(&mut self, late: Duration) {
        // A machine that was away for long tells nothing of how it is now.
        let late = late.min(20 * LATE);
        self.lateness = (self.lateness * (MEMORY - 1) + late) / MEMORY;
    }

    /// For more than the least of what waits in sockets before frames, in one pass.
    pub fn before_frames(self) -> Duration {
        self.share(BEFORE_FRAMES)
    }

    /// For flooded sockets behind the frames, in a millisecond.
    pub fn behind_frames(self) -> Duration {
        self.share(BEHIND_FRAMES)
    }

    fn share(self, whole: Duration) -> Duration {
        if self.lateness > LATE {
            whole / 4
        } else {
            whole
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(wakes: impl IntoIterator<Item = u64>) -> Duration {
        let mut spare = Spare::default();
        wakes.into_iter().for_each(|micros| spare.woke(Duration::from_micros(micros)));
        assert_eq!(spare.before_frames(), 4 * spare.behind_frames());
        spare.before_frames()
    }

    #[test]
    fn who_wakes_in_time_has_the_whole_to_spare_and_who_competes_a_quarter() {
        assert_eq!(after([100; 100]), BEFORE_FRAMES);
        assert_eq!(after([2000; 20]), BEFORE_FRAMES / 4);
        assert_eq!(after((0..200).map(|n| if n % 4 == 0 { 4000 } else { 0 })), BEFORE_FRAMES / 4);
        assert_eq!(after(std::iter::repeat_n(4000, 500).chain([50; 100])), BEFORE_FRAMES, "again");
    }

    #[test]
    fn one_wake_however_late_changes_nothing() {
        assert_eq!(after([50, 50, 5_000_000, 50]), BEFORE_FRAMES);
    }
}
