//! A safe face of libopus (RFC 6716), which `opusic-sys` builds from its sources.
//!
//! All `unsafe` of the Opus codec is here, one line of it at a time. Nothing panics: what libopus refuses is an
//! [`Error`]. What Opus means in RTP (packets, payloads, clocks) is none of this crate's business.
//!
//! ```
//! use roomkit_opus::{Decoder, Encoder, Settings};
//! let mut encoder = Encoder::new(48_000, 1, &Settings::default()).unwrap();
//! let mut packet = [0; 1275];
//! let size = encoder.encode(&[0; 960], &mut packet).unwrap();
//! let mut decoder = Decoder::new(16_000, 1).unwrap();
//! let mut pcm = [0; 5760];
//! assert_eq!(decoder.decode(&packet[..size], &mut pcm), Ok(320));
//! ```
#![warn(missing_docs)]

mod decoder;
mod encoder;

pub use decoder::Decoder;
pub use encoder::{Bandwidth, Encoder, Settings};

use core::ffi::{c_int, CStr};
use core::fmt;

/// The longest packet there is, in milliseconds (RFC 6716 §3.2.5, R5).
pub const LONGEST_MS: u32 = 120;

/// What libopus refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A rate, channel count, frame size or setting that cannot be.
    BadArgument,
    /// The output does not fit.
    BufferTooSmall,
    /// Octets that are no Opus packet.
    InvalidPacket,
    /// There is no memory for another encoder or decoder.
    NoMemory,
    /// A fault inside libopus, with its number.
    Internal(i32),
}

impl Error {
    fn of(code: c_int) -> Error {
        match code {
            opusic_sys::OPUS_BAD_ARG => Error::BadArgument,
            opusic_sys::OPUS_BUFFER_TOO_SMALL => Error::BufferTooSmall,
            opusic_sys::OPUS_INVALID_PACKET => Error::InvalidPacket,
            opusic_sys::OPUS_ALLOC_FAIL => Error::NoMemory,
            other => Error::Internal(other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadArgument => write!(f, "Opus has no such rate, channels, frame or setting"),
            Error::BufferTooSmall => write!(f, "the output is too small for the packet"),
            Error::InvalidPacket => write!(f, "no Opus packet"),
            Error::NoMemory => write!(f, "no memory for Opus"),
            Error::Internal(code) => write!(f, "libopus failed with {code}"),
        }
    }
}

impl std::error::Error for Error {}

/// The version of the libopus that is built in: `"libopus 1.6.1"`.
pub fn version() -> &'static str {
    // SAFETY: libopus returns a string that is part of its program text and ends with a zero.
    let text = unsafe { CStr::from_ptr(opusic_sys::opus_get_version_string()) };
    text.to_str().unwrap_or("libopus")
}

/// Whether a packet carries a coarse copy of the audio right before it, which [`Decoder::recover`] makes use of.
pub fn carries_copy(packet: &[u8]) -> bool {
    let Some(length) = length(packet) else { return false };
    // SAFETY: the packet has at least one octet and `length` is its length; it is only read during the call.
    unsafe { opusic_sys::opus_packet_has_lbrr(packet.as_ptr(), length) == 1 }
}

/// The length of a packet that has one.
fn length(packet: &[u8]) -> Option<i32> {
    i32::try_from(packet.len()).ok().filter(|&length| length > 0)
}

/// Opus knows these rates (RFC 6716 §2) and one or two channels; libopus refuses others with the same error.
fn format(sample_rate: u32, channels: u8) -> Result<(i32, c_int), Error> {
    if ![8000, 12_000, 16_000, 24_000, 48_000].contains(&sample_rate)
        || !(1..=2).contains(&channels)
    {
        return Err(Error::BadArgument);
    }
    Ok((sample_rate as i32, c_int::from(channels)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libopus_is_the_one_that_is_bundled() {
        assert!(version().starts_with("libopus 1.6"), "{}", version());
    }

    #[test]
    fn no_octets_and_any_octets_carry_no_copy() {
        assert!(!carries_copy(&[]));
        for first in 0..=255 {
            for rest in [&[][..], &[0][..], &[255; 3][..], &[0; 70][..]] {
                let mut packet = vec![first];
                packet.extend(rest);
                carries_copy(&packet);
            }
        }
    }

    #[test]
    fn an_error_says_what_it_is() {
        assert_eq!(Error::of(-4), Error::InvalidPacket);
        assert_eq!(Error::of(-99).to_string(), "libopus failed with -99");
    }
}
