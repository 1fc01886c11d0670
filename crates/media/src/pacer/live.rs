//! How much live audio waits longer than it need.

use crate::time::Duration;

/// Live audio is watched for this many frames, a second of the usual ones, before any of it is called delay.
const LIVE_WINDOW_FRAMES: u32 = 50;
/// What live audio may have waiting at any time: as much as evens out a program that is a frame late now and then.
const LIVE_LEAD: Duration = Duration::from_millis(20);
/// At most one frame in this many is left out, so that speech is shortened by a fifth at the most.
const FRAMES_BETWEEN_GIVING_BACK: u32 = 5;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveDepth {
    /// Frames of the present window, and the least that waited in it.
    frames: u32,
    least: Duration,
    /// What the last window showed to be delay, and has not been given back yet.
    spare: Duration,
}

impl LiveDepth {
    pub(super) fn new() -> LiveDepth {
        LiveDepth { frames: 0, least: Duration::MAX, spare: Duration::ZERO }
    }

    /// Whether two frames of live audio are to leave in the time of one: the program was held up, its audio came in a burst, and
    /// what of it never ran out in a second is delay that the far end would hear for the rest of the call. `depth` is what waits.
    pub(super) fn gives_back(&mut self, depth: Duration, frame: Duration) -> bool {
        self.least = self.least.min(depth);
        self.frames += 1;
        if self.frames >= LIVE_WINDOW_FRAMES {
            self.spare = self.least.saturating_sub(LIVE_LEAD);
            (self.frames, self.least) = (0, Duration::MAX);
        }
        if self.spare < frame || self.frames % FRAMES_BETWEEN_GIVING_BACK != 0 {
            return false;
        }
        self.spare -= frame;
        true
    }
}
