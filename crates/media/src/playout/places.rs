//! Where and how fast the delay is changed, so that it is heard least.

use crate::jitter::Plan;
use crate::time::Duration;

/// Delay is changed by this much at a time, or by a frame if that is shorter.
pub(super) const STEP: Duration = Duration::from_millis(20);

/// From one change of the delay to the next so many of its steps are left as they are: speech is shortened by a fifth at
/// the most, and by a third while far too much waits.
const STEPS_APART: u32 = 5;
const STEPS_APART_URGENT: u32 = 3;

/// So much spare delay is far too much.
const URGENT: Duration = Duration::from_millis(60);

/// Delay is changed where it is quiet, a quarter of the recent peak; after this time wherever it may be.
const WAIT_FOR_QUIET: Duration = Duration::from_millis(300);

/// What is left of the recent peak from frame to frame: it halves in about a second.
const PEAK_DECAY: f32 = 0.986;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Places {
    plan: Plan,
    /// Since the delay was changed, and since there is reason to change it.
    unchanged: Duration,
    wanted: Duration,
    /// The last frame's peak and the recent one.
    loudest: u16,
    peak: f32,
}

impl Default for Places {
    fn default() -> Places {
        let (unchanged, wanted) = (Duration::ZERO, Duration::ZERO);
        Places { plan: Plan::Keep, unchanged, wanted, loudest: 0, peak: 0.0 }
    }
}

impl Places {
    /// A frame of that length is to be made, and this is to be done about the delay.
    pub(super) fn frame(&mut self, plan: Plan, ptime: Duration) {
        self.plan = plan;
        self.unchanged = self.unchanged.saturating_add(ptime);
        self.wanted = match plan {
            Plan::Keep => Duration::ZERO,
            Plan::Shorten(_) | Plan::Lengthen(_) => self.wanted.saturating_add(ptime),
        };
    }

    /// This is what it holds.
    pub(super) fn heard(&mut self, pcm: &[i16]) {
        self.loudest = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.peak = (self.peak * PEAK_DECAY).max(f32::from(self.loudest));
    }

    /// Whether this is the place to put a `step` in.
    pub(super) fn lengthens(&self, step: Duration) -> bool {
        matches!(self.plan, Plan::Lengthen(_)) && self.is_place(step * STEPS_APART, false)
    }

    /// Whether this is the place to leave a `step` out.
    pub(super) fn shortens(&self, step: Duration) -> bool {
        let Plan::Shorten(spare) = self.plan else { return false };
        let urgent = spare > URGENT;
        let apart = if urgent { STEPS_APART_URGENT } else { STEPS_APART };
        self.is_place(step * apart, urgent)
    }

    /// The delay has been changed.
    pub(super) fn changed(&mut self) {
        self.unchanged = Duration::ZERO;
    }

    fn is_place(&self, apart: Duration, urgent: bool) -> bool {
        let quiet = f32::from(self.loudest) <= self.peak / 4.0;
        self.unchanged >= apart && (quiet || urgent || self.wanted >= WAIT_FOR_QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// The frames, of a hundred, in which the delay is changed.
    fn changes(plan: Plan, pcm: impl Fn(u32) -> i16) -> Vec<u32> {
        let mut places = Places::default();
        let changed = |n: &u32| {
            places.frame(plan, FRAME);
            let lengthens = places.lengthens(FRAME);
            places.heard(&[pcm(*n)]);
            let change = lengthens || places.shortens(FRAME);
            if change {
                places.changed();
            }
            change
        };
        (0..100).filter(changed).collect()
    }

    #[test]
    fn it_waits_for_quiet_and_not_for_ever() {
        let spare = Plan::Shorten(Duration::from_millis(40));
        assert_eq!(changes(spare, |n| if n == 7 { 100 } else { 8000 })[0], 7);
        assert_eq!(changes(spare, |_| 8000)[..2], [14, 19], "300 ms, and then every fifth frame");
        assert_eq!(changes(Plan::Lengthen(FRAME), |_| 8000)[..2], [14, 19]);
        assert!(changes(Plan::Keep, |_| 0).is_empty());
    }

    #[test]
    fn far_too_much_does_not_wait() {
        assert_eq!(changes(Plan::Shorten(Duration::from_millis(61)), |_| 8000)[..3], [2, 5, 8]);
    }
}
