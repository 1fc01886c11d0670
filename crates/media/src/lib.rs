//! The media core of roomkit: RTP, RTCP, jitter buffer, concealment, codecs and digits.
//!
//! Everything here is a state machine that is *told* the time: it is given datagrams, PCM and `now`, and is drained for
//! datagrams, PCM, events and its next deadline. No clock, socket, thread, environment or global lives in this crate, so
//! a minute of a lossy call runs in milliseconds, twice, bit for bit the same.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bursts;
pub mod codec;
pub mod comfort_noise;
pub mod conceal;
pub mod delay;
pub mod dtmf;
pub mod echo;
pub mod emodel;
pub mod filters;
pub mod jitter;
pub mod level;
pub mod mix;
pub mod pacer;
mod pitch;
pub mod playout;
mod renumbering;
pub mod report;
pub mod resample;
pub mod rng;
pub mod rtcp;
pub mod rtp;
pub mod sender_clock;
pub mod seq;
pub mod session;
pub mod source;
pub mod srtp;
pub mod stats;
pub mod time;
