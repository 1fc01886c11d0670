//! What goes into the pacer, and what it tells.

use crate::time::Duration;

/// A piece of a playback, as the program hands it over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Which playback it belongs to; a later playback has a greater number.
    pub playback: u64,
    /// `i16`, interleaved.
    pub pcm: Vec<i16>,
    /// Samples per second and channel, 8000 to 192 000.
    pub sample_rate: u32,
    /// Interleaved channels, 1 to 8.
    pub channels: u8,
    /// True for the last piece of its playback, which may be empty.
    pub last: bool,
    /// True for audio that is forwarded as it is made. What waits of it for long is delay, and is given back.
    pub live: bool,
    /// Places that are to be told as they leave, in rising order. One behind the end is told with the end of the playback, and
    /// fits the last piece only.
    pub marks: Vec<Mark>,
}

/// A place in a piece of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Samples per channel from the piece's first one.
    pub at: u64,
    /// What it is called.
    pub id: u64,
}

/// A piece that cannot be played: the program's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChunk {
    /// A sample rate outside 8000 to 192 000 Hz.
    Rate(u32),
    /// No channels, or more than eight.
    Channels(u8),
    /// Samples that do not fill a whole frame of all channels.
    Length {
        /// How many there are.
        samples: usize,
        /// How many make a frame.
        channels: u8,
    },
    /// A mark before the one ahead of it, or behind the end of a piece that others follow.
    Mark(u64),
}

/// What happened to a playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its first frame leaves now.
    Started {
        /// The playback.
        playback: u64,
    },
    /// The frame that holds the first sample behind a mark leaves now.
    Mark {
        /// The playback.
        playback: u64,
        /// What the mark is called.
        id: u64,
        /// Where it lies, in audio of the playback that came before it.
        position: Duration,
    },
    /// It is over: its last frame leaves now, or it was cancelled.
    Ended {
        /// The playback.
        playback: u64,
        /// How much of its audio left.
        played: Duration,
        /// True if it was cancelled.
        cancelled: bool,
    },
}

/// Audio of a playback that leaves with the present frame, in the program's own samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The playback.
    pub playback: u64,
    /// Samples per channel of it that were before these, of whatever rates its pieces had.
    pub from: u64,
    /// How many these are.
    pub samples: u64,
    /// How far into the frame they begin.
    pub into: Duration,
    /// How long they last there.
    pub span: Duration,
}
