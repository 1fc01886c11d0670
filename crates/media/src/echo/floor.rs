//! How loud the line is when nobody speaks.

/// The quietest 20 ms of the last three seconds is the background: speech, ours or theirs, dips to it between words.
const BUCKETS: usize = 6;
/// Samples of a bucket at 8 kHz: 500 ms.
const BUCKET: usize = 4000;
/// A line that is digitally silent has no background: −66 dBFS stands in for it.
const LOWEST: f32 = 270.0;

/// Powers are of samples of 16 bits.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    past: [f32; BUCKETS],
    newest: usize,
    filled: usize,
}

impl Floor {
    pub const fn new() -> Floor {
        Floor { past: [f32::INFINITY; BUCKETS], newest: 0, filled: 0 }
    }

    /// Takes the power of the next `count` samples at 8 kHz.
    pub fn learn(&mut self, power: f32, count: usize) {
        if self.filled >= BUCKET {
            self.newest = (self.newest + 1) % BUCKETS;
            self.past[self.newest] = f32::INFINITY;
            self.filled = 0;
        }
        self.past[self.newest] = self.past[self.newest].min(power);
        self.filled += count;
    }

    /// What speech has to stand out from.
    pub fn power(&self) -> f32 {
        self.background().max(LOWEST)
    }

    /// What is really there: none on a line that is digitally silent.
    pub fn background(&self) -> f32 {
        let least = self.past.iter().copied().fold(f32::INFINITY, f32::min);
        if least.is_finite() {
            least
        } else {
            0.0
        }
    }
}
