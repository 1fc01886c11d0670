//! What a frame is made of.

/// What a frame is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Audio as it arrived, or most of it.
    Received,
    /// Audio that was lost, concealed.
    Concealed,
    /// The sender sent nothing.
    Silence,
    /// The sender described its background noise (RFC 3389).
    ComfortNoise,
}

/// How much of what is ready did not arrive, in samples per channel.
#[derive(Clone, Copy, Default)]
pub(super) struct Made {
    pub(super) concealed: usize,
    pub(super) silence: usize,
    pub(super) noise: usize,
}

impl Made {
    /// What so many samples per channel are, most of all.
    pub(super) fn kind(&self, of: usize) -> FrameKind {
        let Made { concealed, silence, noise } = *self;
        let carried = of.saturating_sub(concealed + silence + noise);
        if carried >= concealed.max(silence).max(noise) {
            FrameKind::Received
        } else if concealed >= silence.max(noise) {
            FrameKind::Concealed
        } else if noise >= silence {
            FrameKind::ComfortNoise
        } else {
            FrameKind::Silence
        }
    }
}
