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
/// A thread that wakes later than this in the mean has to compete for its core.
const LATE: Duration = Duration::from_micros(300);
/// Wakes that the mean is of, and after which less is spared if they were late: a thirtieth of a second under a flood.
const MEMORY: u32 = 32;
/// Wakes in time, one after another, after which more is spared: it is found out late what is too much.
const TRUST: u32 = 16 * MEMORY;
/// The least that is spared is the whole halved so many times: 1.5 % of the core.
const HALVINGS: u32 = 4;
/// Halved so many times, it is used less often as well: waking costs time too.
const SELDOM: u32 = 2;

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spare {
    lateness: Duration,
    halvings: u32,
    /// Wakes since the share was last looked at, and how many of the last ones were in time.
    wakes: u32,
    in_time: u32,
}

impl Spare {
    /// The thread woke so late.
    pub fn woke(&mut self, late: Duration) {
        // A machine that was away for long tells nothing of how it is now.
        let late = late.min(20 * LATE);
        self.lateness = (self.lateness * (MEMORY - 1) + late) / MEMORY;
        self.wakes += 1;
        self.in_time = if self.lateness > LATE { 0 } else { self.in_time + 1 };
        if self.lateness > LATE && self.wakes >= MEMORY {
            (self.halvings, self.wakes) = ((self.halvings + 1).min(HALVINGS), 0);
        } else if self.in_time >= TRUST {
            (self.halvings, self.in_time) = (self.halvings.saturating_sub(1), 0);
        }
    }

    /// For more than the least of what waits in sockets before frames, in one pass.
    pub fn before_frames(self) -> Duration {
        BEFORE_FRAMES / (1 << self.halvings)
    }

    /// For flooded sockets behind the frames, each time that they are read.
    pub fn behind_frames(self) -> Duration {
        BEHIND_FRAMES / (1 << self.halvings)
    }

    /// Whether flooded sockets are to be read no oftener than others.
    pub fn is_scarce(self) -> bool {
        self.halvings >= SELDOM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(wakes: impl IntoIterator<Item = u64>) -> Spare {
        let mut spare = Spare::default();
        wakes.into_iter().for_each(|micros| spare.woke(Duration::from_micros(micros)));
        spare
    }

    #[test]
    fn who_wakes_in_time_has_the_whole_to_spare_and_who_competes_less_and_less() {
        let whole = |spare: Spare| (spare.before_frames(), spare.behind_frames());
        assert_eq!(whole(after([100; 100])), (BEFORE_FRAMES, BEHIND_FRAMES));
        assert_eq!(whole(after([1000; 40])), (BEFORE_FRAMES / 2, BEHIND_FRAMES / 2));
        assert!(!after([1000; 40]).is_scarce() && after([1000; 80]).is_scarce());
        let uneven = (0..300).map(|n| if n % 4 == 0 { 4000 } else { 0 });
        assert_eq!(whole(after(uneven)), (BEFORE_FRAMES / 16, BEHIND_FRAMES / 16));
        let least = after([5000; 10_000]);
        assert_eq!(whole(least), (BEFORE_FRAMES / 16, BEHIND_FRAMES / 16), "never nothing");
    }

    #[test]
    fn it_is_the_whole_again_when_the_machine_is_free_and_not_at_once() {
        let late = std::iter::repeat_n(5000, 500);
        assert_eq!(after(late.clone().chain([50; 500])).before_frames(), BEFORE_FRAMES / 16);
        assert_eq!(after(late.clone().chain([50; 1200])).before_frames(), BEFORE_FRAMES / 4);
        assert_eq!(after(late.chain([50; 3000])).before_frames(), BEFORE_FRAMES);
    }

    #[test]
    fn one_wake_however_late_changes_nothing() {
        let spare = after([50; 100].into_iter().chain([5_000_000]).chain([50; 100]));
        assert_eq!(spare.before_frames(), BEFORE_FRAMES);
    }
}
