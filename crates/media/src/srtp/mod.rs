//! SRTP and SRTCP: every packet encrypted and authenticated (RFC 3711, RFC 6188, RFC 7714).
//!
//! | file | what it answers |
//! |---|---|
//! | `suite` | how long are key, salt and tag? |
//! | `keys` | what did signalling agree on? |
//! | `kdf`, `keystream` | which session keys follow from it, and which key stream? |
//! | `transform` | what is done to one packet under one key and index? |
//! | `sender` | which index has a packet that is sent? |
//! | `receiver`, `replay`, `trail` | which key and index has a packet that came, is it genuine, did it come before? |
//!
//! The primitives are RustCrypto's, which use the machine's AES and SHA instructions where it has them; every comparison of
//! a tag is in constant time, and every key is wiped when it is dropped.

#[cfg(test)]
mod cost;
mod kdf;
mod keys;
mod keystream;
mod receiver;
mod replay;
mod sender;
mod suite;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trail;
mod transform;

use core::fmt;

use crate::rtp::HEADER_LEN;
use crate::seq::{RtpTime, SeqNo, Ssrc};
use crate::time::Time;

pub use self::keys::{KeyError, MasterKey, SrtpConfig};
pub use self::receiver::{Effort, Rejected};
pub use self::sender::Unsent;
pub use self::suite::Suite;

use self::receiver::Receiver;
use self::sender::Sender;

/// The crypto contexts of one session, both ways.
pub struct Srtp {
    sender: Sender,
    receiver: Receiver,
}

impl Srtp {
    /// With keys that have been [checked](SrtpConfig::check).
    pub fn new(config: &SrtpConfig) -> Srtp {
        Srtp { sender: Sender::new(config.send.clone()), receiver: Receiver::new(&config.receive) }
    }

    /// Goes over to other keys in the middle of the call. What is sent has the new key from the next packet on; what comes
    /// in may have the old one until the far end has begun with the new one, and two more seconds, but no longer than 32.
    ///
    /// Keys that are given again go on as they were, so that no packet is protected like one before it, and no packet that
    /// came is taken again.
    pub fn rekey(&mut self, now: Time, config: &SrtpConfig) {
        self.sender.rekey(&config.send);
        self.receiver.rekey(now, &config.receive);
    }

    /// Encrypts an RTP packet in place and appends what authenticates it.
    pub fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Unsent> {
        self.sender.protect_rtp(packet)
    }

    /// The same for an RTCP compound.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Unsent> {
        self.sender.protect_rtcp(packet)
    }

    /// Authenticates an RTP packet that came at `now`, decrypts it in place and removes what was appended. A packet that is
    /// refused has changed nothing here.
    pub fn unprotect_rtp(
        &mut self,
        now: Time,
        packet: &mut Vec<u8>,
        effort: Effort,
    ) -> Result<(), Rejected> {
        self.receiver.unprotect_rtp(now, packet, effort)
    }

    /// The same for an RTCP compound.
    pub fn unprotect_rtcp(
        &mut self,
        now: Time,
        packet: &mut Vec<u8>,
        effort: Effort,
    ) -> Result<(), Rejected> {
        self.receiver.unprotect_rtcp(now, packet, effort)
    }

    /// Tags computed of what came, so far: what authentication has cost.
    pub fn tries(&self) -> u64 {
        self.receiver.tries()
    }

    /// Wipes keys whose time is over; it happens as well when a packet comes.
    pub fn forget(&mut self, now: Time) {
        self.receiver.forget(now);
    }
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").finish_non_exhaustive()
    }
}

/// Octets of an RTP header with its CSRCs and its extension, which are authenticated but not encrypted (RFC 3711 §3.1).
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut len = HEADER_LEN + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words: [u8; 2] = packet.get(len + 2..len + 4)?.try_into().ok()?;
        len += 4 + usize::from(u16::from_be_bytes(words)) * 4;
    }
    (len <= packet.len()).then_some(len)
}

fn ssrc_of_rtp(packet: &[u8]) -> Option<(Ssrc, SeqNo)> {
    let ssrc: [u8; 4] = packet.get(8..HEADER_LEN)?.try_into().ok()?;
    let seq: [u8; 2] = packet.get(2..4)?.try_into().ok()?;
    Some((Ssrc(u32::from_be_bytes(ssrc)), SeqNo(u16::from_be_bytes(seq))))
}

fn timestamp_of_rtp(packet: &[u8]) -> Option<RtpTime> {
    let timestamp: [u8; 4] = packet.get(4..8)?.try_into().ok()?;
    Some(RtpTime(u32::from_be_bytes(timestamp)))
}

fn ssrc_of_rtcp(packet: &[u8]) -> Option<Ssrc> {
    let ssrc: [u8; 4] = packet.get(4..8)?.try_into().ok()?;
    Some(Ssrc(u32::from_be_bytes(ssrc)))
}
