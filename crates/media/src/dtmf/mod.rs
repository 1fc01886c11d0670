//! Telephone digits as RTP events, RFC 4733: the payload, and the two state machines that read and write it.
//!
//! A digit is one *event*: a train of packets that share a timestamp (the event's start) while their duration grows. The
//! [`Receiver`] makes exactly one digit of a train, whatever the network does to it; the [`Sender`] paces a train, one
//! packet per frame, in place of the audio or beside it.

mod arrivals;
mod clocks;
mod dial;
mod inband;
mod merge;
mod press;
mod receiver;
mod sender;
mod tone;
mod tones;
#[cfg(test)]
mod trains_over_a_bad_link;

pub use dial::{parse as parse_dial, BadDial, PAUSE};
pub use inband::{HeardDigit, InbandDetector};
pub use merge::{Merger, Origin, Press};
pub use receiver::{Ended, EventHeader, Outcome, ReceivedDigit, Receiver, ReceiverCounts};
pub use sender::{Dialled, EventPacket, Method, QueueFull, Sender, Signal};
pub use tone::Tone;

use core::fmt;
use core::time::Duration;

/// The longest duration one packet can state, in RTP ticks; longer events are split into segments (RFC 4733 §2.5.1.3).
const SEGMENT_TICKS: u16 = u16::MAX;

/// A key is held no longer than this, in either direction: who waits for the digit waits for its end, and no menu asks
/// for a press of a minute. It bounds what a stuck key, or a peer that never ends its event, can do.
pub(crate) const LONGEST_DIGIT: Duration = Duration::from_secs(60);

/// One of the sixteen keys: 0–9, `*`, `#`, A–D (RFC 4733 §3.2, events 0–15).
///
/// Its `Debug` form tells the key: digits are often secrets, so whoever logs one decides that knowingly.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    const KEYS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

    /// The digit of a key, letters in either case; `None` if there is no such key.
    pub fn parse(key: char) -> Option<Digit> {
        let key = key.to_ascii_uppercase();
        Self::KEYS.iter().position(|&k| k == key).map(|event| Digit(event as u8))
    }

    /// The digit of an event code; `None` above 15, where tones such as flash begin.
    pub const fn from_event(event: u8) -> Option<Digit> {
        if event < 16 {
            Some(Digit(event))
        } else {
            None
        }
    }

    /// The key, letters in upper case.
    pub const fn as_char(self) -> char {
        Self::KEYS[self.0 as usize]
    }

    /// The event code, 0 to 15.
    pub const fn event(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digit({})", self.as_char())
    }
}

/// The payload of an event packet, RFC 4733 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPayload {
    /// The event code; 0 to 15 are the digits.
    pub event: u8,
    /// The E bit: the duration is the event's whole one.
    pub end: bool,
    /// The tone's power in −dBm0, 0 (loudest) to 63.
    pub volume: u8,
    /// How long the event, or this segment of it, has lasted so far, in RTP ticks.
    pub duration: u16,
}

/// The payload is shorter than one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl EventPayload {
    /// Reads the first event of a payload.
    ///
    /// What follows the first four bytes is left alone: the reserved R bit too (§2.3.3), and further events, which only
    /// senders of very short digits pack together (§2.5.1.5) and which no gateway is known to send.
    pub fn parse(payload: &[u8]) -> Result<EventPayload, Truncated> {
        let &[event, flags, high, low, ..] = payload else { return Err(Truncated) };
        Ok(EventPayload {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The four bytes on the wire; a volume above 63 is sent as 63, the softest.
    pub fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | self.volume.min(63), high, low]
    }
}

/// A span of RTP ticks as time.
fn ticks_to_duration(ticks: u64, clock_rate: u32) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(clock_rate);
    Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64)
}

/// A span of time in whole RTP ticks.
fn duration_to_ticks(span: Duration, clock_rate: u32) -> u64 {
    let ticks = span.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
    ticks.min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4733_3_2_the_sixteen_keys_are_events_0_to_15() {
        for (event, key) in "0123456789*#ABCD".chars().enumerate() {
            let digit = Digit::parse(key).unwrap();
            assert_eq!((digit.event(), digit.as_char()), (event as u8, key));
            assert_eq!(Digit::from_event(event as u8), Some(digit));
        }
        assert_eq!(Digit::parse('d'), Digit::parse('D'));
        assert_eq!(Digit::from_event(16), None, "flash is a signal, not a key");
        for no_key in ['E', 'e', ' ', '+', '１', '\0'] {
            assert_eq!(Digit::parse(no_key), None, "{no_key:?}");
        }
    }

    #[test]
    fn rfc4733_2_3_the_payload_reads_bit_by_bit_and_writes_back() {
        let bytes = [11, 0b1000_1010, 0x03, 0x20];
        let payload = EventPayload::parse(&bytes).unwrap();
        assert_eq!(payload, EventPayload { event: 11, end: true, volume: 10, duration: 800 });
        assert_eq!(payload.to_bytes(), bytes);
        // §2.3.3: the reserved bit is written 0 and ignored when read.
        assert_eq!(EventPayload::parse(&[11, 0b1100_1010, 0x03, 0x20]), Ok(payload));
        let too_soft = EventPayload { event: 0, end: false, volume: 255, duration: 1 };
        assert_eq!(too_soft.to_bytes()[1], 63, "the volume never spills into E and R");
    }

    #[test]
    fn a_payload_is_read_whole_truncated_and_with_trailing_bytes() {
        let bytes = [5, 0x80, 0, 160, 6, 0x80, 0, 160];
        for len in 0..4 {
            assert_eq!(EventPayload::parse(&bytes[..len]), Err(Truncated), "{len} bytes");
        }
        let first = EventPayload::parse(&bytes[..4]).unwrap();
        for len in 5..=8 {
            assert_eq!(EventPayload::parse(&bytes[..len]), Ok(first), "{len} bytes");
        }
    }
}
