//! What is sent: each packet under an index that no other had, for as long as the session lasts.

use super::keys::MasterKey;
use super::transform::{Transform, ENCRYPTED, RTCP_HEADER_LEN};
use super::{header_len, ssrc_of_rtcp, ssrc_of_rtp};
use crate::seq::{srtp_index, SeqNo, Ssrc};

/// SSRCs of our own in one session: one, and another after each collision.
const MOST_SSRCS: usize = 16;
/// The last index of SRTP (RFC 3711 §3.3.1): 32 bits of rollover counter and 16 of sequence.
const LAST_RTP: u64 = (1 << 48) - 1;
/// SRTCP has 31 bits (RFC 3711 §3.4).
const LAST_RTCP: u32 = ENCRYPTED - 1;

/// Why a packet cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The key has served its lifetime (RFC 3711 §9.2). Only another key helps.
    KeyExpired,
    /// Its key stream was used already, or might have been: a packet out of order, or one SSRC too many.
    KeyStreamUsed,
    /// It is no RTP or RTCP packet.
    Malformed,
}

/// The sending half of SRTP.
///
/// A key stream that is used twice gives both packets away. So indices go up and never back: not for another key (RFC 3711
/// §3.3.1, §3.2.1), which may be one that we had before, and not for an SSRC that we return to.
pub(super) struct Sender {
    master: MasterKey,
    transform: Transform,
    /// Packets sent under this key.
    sent: u64,
    /// The newest index of each of our SSRCs; the present one last.
    streams: Vec<(Ssrc, u64)>,
    next_rtcp: u32,
}

impl Sender {
    pub(super) fn new(master: MasterKey) -> Sender {
        Sender {
            transform: Transform::new(&master),
            master,
            sent: 0,
            streams: Vec::new(),
            next_rtcp: 0,
        }
    }

    /// Goes over to another key with the next packet. The same key goes on as it was.
    pub(super) fn rekey(&mut self, master: &MasterKey) {
        if *master != self.master {
            if !self.master.same_secret(master) {
                self.transform = Transform::new(master);
                self.sent = 0;
            }
            self.master = master.clone();
        }
    }

    pub(super) fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Unsent> {
        let header = header_len(packet).ok_or(Unsent::Malformed)?;
        let (ssrc, seq) = ssrc_of_rtp(packet).ok_or(Unsent::Malformed)?;
        self.check_lifetime()?;
        let index = self.next_index(ssrc, seq)?;
        self.transform.seal_rtp(packet, header, ssrc, index, self.master.mki());
        self.sent += 1;
        Ok(())
    }

    pub(super) fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Unsent> {
        let ssrc = ssrc_of_rtcp(packet).ok_or(Unsent::Malformed)?;
        self.check_lifetime()?;
        if self.next_rtcp > LAST_RTCP {
            return Err(Unsent::KeyExpired);
        }
        debug_assert!(packet.len() >= RTCP_HEADER_LEN);
        self.transform.seal_rtcp(packet, ssrc, self.next_rtcp, self.master.mki());
        self.next_rtcp += 1;
        self.sent += 1;
        Ok(())
    }

    fn check_lifetime(&self) -> Result<(), Unsent> {
        if self.sent < self.master.lifetime() {
            Ok(())
        } else {
            Err(Unsent::KeyExpired)
        }
    }

    /// The index of the next packet, which is then taken.
    fn next_index(&mut self, ssrc: Ssrc, seq: SeqNo) -> Result<u64, Unsent> {
        let Some(at) = self.streams.iter().rposition(|(known, _)| *known == ssrc) else {
            if self.streams.len() == MOST_SSRCS {
                return Err(Unsent::KeyStreamUsed);
            }
            let index = u64::from(seq.0);
            self.streams.push((ssrc, index));
            return Ok(index);
        };
        let newest = &mut self.streams[at].1;
        let index = srtp_index(*newest, seq);
        if index > LAST_RTP {
            return Err(Unsent::KeyExpired);
        }
        if index <= *newest {
            return Err(Unsent::KeyStreamUsed);
        }
        *newest = index;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::testing::{key, report, rtp};
    use crate::srtp::Suite;

    const SUITE: Suite = Suite::AesCm128HmacSha1_80;

    fn sealed(sender: &mut Sender, seq: u16, ssrc: u32) -> Result<Vec<u8>, Unsent> {
        let mut packet = rtp(seq, ssrc);
        sender.protect_rtp(&mut packet).map(|()| packet)
    }

    #[test]
    fn rfc3711_9_2_after_its_lifetime_a_key_sends_nothing_until_there_is_another() {
        let master = MasterKey::new(SUITE, &[1; 30], &[], Some(3)).unwrap();
        let mut sender = Sender::new(master);
        assert!(sealed(&mut sender, 1, 7).is_ok());
        assert!(sender.protect_rtcp(&mut report(7)).is_ok(), "RTCP counts as well");
        assert!(sealed(&mut sender, 2, 7).is_ok());
        assert_eq!(sealed(&mut sender, 3, 7), Err(Unsent::KeyExpired));
        assert_eq!(sender.protect_rtcp(&mut report(7)), Err(Unsent::KeyExpired));
        sender.rekey(&MasterKey::new(SUITE, &[1; 30], &[], Some(3)).unwrap());
        assert_eq!(sealed(&mut sender, 3, 7), Err(Unsent::KeyExpired), "the same key is no other");
        sender.rekey(&MasterKey::new(SUITE, &[1; 30], b"new name", Some(3)).unwrap());
        assert_eq!(sealed(&mut sender, 3, 7), Err(Unsent::KeyExpired), "nor under another name");
        sender.rekey(&key(SUITE, 2));
        assert!(sealed(&mut sender, 3, 7).is_ok());
    }

    #[test]
    fn rfc3711_9_2_the_last_index_is_used_and_none_after_it() {
        let mut sender = Sender::new(key(SUITE, 1));
        sender.streams.push((Ssrc(7), LAST_RTP - 1));
        assert!(sealed(&mut sender, 65_535, 7).is_ok());
        assert_eq!(sealed(&mut sender, 0, 7), Err(Unsent::KeyExpired));
        sender.next_rtcp = LAST_RTCP;
        assert!(sender.protect_rtcp(&mut report(7)).is_ok());
        assert_eq!(sender.protect_rtcp(&mut report(7)), Err(Unsent::KeyExpired));
    }

    #[test]
    fn no_key_stream_is_used_twice_whatever_is_sent() {
        let mut sender = Sender::new(key(SUITE, 1));
        assert!(sealed(&mut sender, 65_535, 7).is_ok());
        assert!(sealed(&mut sender, 0, 7).is_ok());
        assert_eq!(sealed(&mut sender, 0, 7), Err(Unsent::KeyStreamUsed), "again");
        assert_eq!(sealed(&mut sender, 65_535, 7), Err(Unsent::KeyStreamUsed), "back");
        assert!(sealed(&mut sender, 0, 8).is_ok(), "another SSRC has a key stream of its own");
        assert_eq!(sealed(&mut sender, 0, 7), Err(Unsent::KeyStreamUsed), "back to the first");
        assert!(sealed(&mut sender, 1, 7).is_ok());
    }

    #[test]
    fn rfc3711_3_3_1_a_key_that_we_had_before_meets_no_index_that_it_had() {
        let mut sender = Sender::new(key(SUITE, 1));
        let first = sealed(&mut sender, 65_535, 7).unwrap();
        let mut report_before = report(7);
        sender.protect_rtcp(&mut report_before).unwrap();
        sender.rekey(&key(SUITE, 2));
        for seq in 0..5 {
            assert!(sealed(&mut sender, seq, 7).is_ok());
        }
        sender.rekey(&key(SUITE, 1));
        let mut report_after = report(7);
        sender.protect_rtcp(&mut report_after).unwrap();
        assert_ne!(report_before, report_after, "RFC 3711 §3.2.1: the SRTCP index goes on");
        for seq in (5..=65_535).step_by(10_000).chain([65_535]) {
            assert!(sealed(&mut sender, seq, 7).is_ok());
        }
        assert_ne!(first, sealed(&mut sender, 0, 7).unwrap());
    }

    #[test]
    fn own_ssrcs_are_bounded() {
        let mut sender = Sender::new(key(SUITE, 1));
        for ssrc in 0..16 {
            assert!(sealed(&mut sender, 1, ssrc).is_ok());
        }
        assert_eq!(sealed(&mut sender, 1, 16), Err(Unsent::KeyStreamUsed));
        assert!(sealed(&mut sender, 2, 0).is_ok());
    }

    #[test]
    fn what_is_no_packet_is_not_sent() {
        let mut sender = Sender::new(key(SUITE, 1));
        for bytes in [&[][..], &[0x80; 11], &[0x00; 20]] {
            assert_eq!(sender.protect_rtp(&mut bytes.to_vec()), Err(Unsent::Malformed));
        }
        assert_eq!(sender.protect_rtcp(&mut vec![0x80; 7]), Err(Unsent::Malformed));
    }
}
