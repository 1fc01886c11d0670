//! What the program gets of a session: frames of audio, and what happens in it.

use roomkit_media::dtmf::Digit;
use roomkit_media::seq::Ssrc;
use roomkit_media::session::FrameKind;
use roomkit_media::time::{Duration, Time};
use std::net::SocketAddr;

/// What the program gets of a session.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A frame of audio.
    Frame {
        /// Interleaved samples at the session's rate and channels.
        pcm: Vec<i16>,
        /// Media time of its first sample since the first frame.
        timestamp: Duration,
        /// What it is made of.
        kind: FrameKind,
        /// When it was due on the media clock, since the session opened.
        clock: Duration,
    },
    /// The remote pressed a key.
    Digit {
        /// Which.
        digit: Digit,
        /// For how long.
        duration: Duration,
        /// How sure that is, 0 to 1.
        confidence: f32,
        /// Digits were masked then.
        masked: bool,
    },
    /// What was dialled under this number has left.
    Dialled {
        /// The number.
        batch: u64,
        /// Whether some of it was dropped.
        cancelled: bool,
    },
    /// The first packet of this playback has left.
    PlaybackStarted(u64),
    /// Nothing more of a playback will leave.
    PlaybackEnded {
        /// Which.
        playback: u64,
        /// How much of it left on the wire.
        played: Duration,
        /// Whether it was cut short.
        cancelled: bool,
        /// When its first packet left, and its newest one.
        started: Option<Time>,
        /// When its newest packet left.
        at: Option<Time>,
    },
    /// The packet with the first sample behind a mark has left.
    PlaybackMark {
        /// Of which playback.
        playback: u64,
        /// Which mark.
        id: u64,
        /// Where it lies in the playback.
        position: Duration,
        /// When it left.
        at: Time,
    },
    /// Audio of playbacks has left, and [`Session::take_left`](crate::Session::take_left) tells of it.
    Left,
    /// After a push that did not fit, there is room again.
    LowWater,
    /// A remote source has proven itself.
    Source {
        /// Its address.
        addr: SocketAddr,
        /// Its SSRC.
        ssrc: Ssrc,
        /// Whether it took the place of another.
        changed: bool,
    },
    /// The remote has said goodbye (RFC 3550 §6.6), with this reason.
    Bye(String),
    /// No RTP came for the time configured.
    RtpTimeout,
    /// No RTCP came for the time configured.
    RtcpTimeout,
    /// The far end is heard again.
    RtpResumed,
    /// Packets come and nothing of them is heard, for this reason.
    Unheard(&'static str),
    /// Audio is heard after that.
    HeardAgain,
    /// For a second all that the session sent was refused, for this reason; told once until something leaves.
    NothingLeaves(String),
    /// The session ended by a fault.
    Fault(String),
    /// The last item: the session is over and its socket given back.
    Closed,
}
