//! What was sent a moment ago, to know it again: a far end that sends it back is an echo test, and no collision.
//!
//! RFC 3550 §8.2 takes any packet under our SSRC for a collision or a loop. Those who test a line with sipp's `rtp_echo`
//! or a loopback plug hear nothing then. What comes back unchanged and soon, from where we sent it to, is therefore heard;
//! everything else under our SSRC is a collision as before.
//!
//! Of each packet a keyed digest is kept. Who reads our packets and forges the signalled address can send them back as well
//! as the far end does, and is heard like anybody who forges it in a call without keys; the digest keeps it to what we said.

use crate::rng::Rng;
use crate::rtp::RtpPacket;
use crate::time::{Duration, Time};

/// What comes back later is no reflection: a round trip of a call is never that long.
const MEMORY: Duration = Duration::from_secs(2);

/// Digests that are kept: at least so many, and at most those of packets of 5 ms with as many beside them.
const SLOTS: core::ops::RangeInclusive<usize> = 128..=1024;

/// Reports leave every few seconds; with what is said at a collision and the end, these are more than two seconds' worth.
const REPORTS: usize = 4;

/// Digests of the packets and reports of the last two seconds.
#[derive(Clone, Debug)]
pub(super) struct Reflection {
    key: [u64; 2],
    now: Time,
    /// A packet's place is its sequence number's, modulo their number; none before the first is sent.
    packets: Vec<Sent>,
    reports: [Sent; REPORTS],
    next_report: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    at: Time,
    /// Its lowest bits are the length of what was sent, so that nothing longer is ever looked at. 0: the place is empty.
    digest: u64,
}

impl Reflection {
    pub(super) fn new(seed: u64) -> Reflection {
        let mut rng = Rng::new(seed.rotate_left(17));
        let key = [rng.next_u64(), rng.next_u64() | 1];
        Reflection {
            key,
            now: Time::ZERO,
            packets: Vec::new(),
            reports: [Sent::default(); REPORTS],
            next_report: 0,
        }
    }

    /// What is noted from here on leaves at `now`.
    pub(super) fn at(&mut self, now: Time) {
        self.now = now;
    }

    /// Notes an RTP packet that leaves, of a session with frames of `ptime`.
    pub(super) fn sent(&mut self, bytes: &[u8], ptime: Duration) {
        let Ok(packet) = RtpPacket::parse(bytes) else { return };
        if self.packets.is_empty() {
            // One packet a frame, and one beside it.
            let most = 2 * MEMORY.as_nanos() / ptime.as_nanos().max(1);
            let slots = (most as usize).next_power_of_two().clamp(*SLOTS.start(), *SLOTS.end());
            self.packets = vec![Sent::default(); slots];
        }
        let sent = Sent { at: self.now, digest: self.of_packet(&packet) };
        let place = usize::from(packet.seq.0) % self.packets.len();
        self.packets[place] = sent;
    }

    /// Whether it is a packet of ours that left within the last two seconds.
    pub(super) fn is_ours(&self, now: Time, packet: &RtpPacket<'_>) -> bool {
        let place = usize::from(packet.seq.0) % self.packets.len().max(1);
        let sent = self.packets.get(place).filter(|sent| sent.may_be(now, packet.payload));
        sent.is_some_and(|sent| sent.digest == self.of_packet(packet))
    }

    /// Notes a compound that leaves.
    pub(super) fn reported(&mut self, now: Time, bytes: &[u8]) {
        let digest = digest(self.key, 0, bytes);
        self.reports[self.next_report % REPORTS] = Sent { at: now, digest };
        self.next_report = (self.next_report + 1) % REPORTS;
    }

    /// Whether it is a compound of ours that left within the last two seconds.
    pub(super) fn is_our_report(&self, now: Time, bytes: &[u8]) -> bool {
        let mut sent = self.reports.iter().filter(|sent| sent.may_be(now, bytes)).peekable();
        sent.peek().is_some() && {
            let digest = digest(self.key, 0, bytes);
            sent.any(|sent| sent.digest == digest)
        }
    }

    /// Of what makes it ours: SSRC, sequence number, timestamp and payload. Marker and payload type may be another network's.
    fn of_packet(&self, packet: &RtpPacket<'_>) -> u64 {
        let numbers = u64::from(packet.ssrc.0) << 32 | u64::from(packet.timestamp.0);
        digest(self.key, numbers ^ u64::from(packet.seq.0).rotate_right(16), packet.payload)
    }
}

impl Sent {
    /// Whether it left within the last two seconds, and with so many octets.
    fn may_be(self, now: Time, bytes: &[u8]) -> bool {
        self.digest != 0 && self.digest as u16 == bytes.len() as u16 && now - self.at <= MEMORY
    }
}

/// A keyed digest with the length in its lowest 16 bits, by multiplication in lanes of 64 bits: what it costs is hidden behind the encoder. It need not withstand
/// more than guesses of a key that nobody sees anything of.
fn digest(key: [u64; 2], numbers: u64, bytes: &[u8]) -> u64 {
    let [secret, factor] = key;
    let mut lanes = [secret, secret ^ factor, !secret, secret.rotate_left(32)];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(8)) {
            *lane = fold(*lane ^ word_of(word), factor);
        }
    }
    let mut sum = fold(secret ^ numbers, factor);
    for (n, word) in chunks.remainder().chunks(8).enumerate() {
        lanes[n] = fold(lanes[n] ^ word_of(word), factor);
    }
    for lane in lanes {
        sum = fold(sum ^ lane, factor);
    }
    // A datagram's length fits.
    sum << 16 | u64::from(bytes.len() as u16)
}

/// Up to eight octets as a number.
fn word_of(octets: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..octets.len()].copy_from_slice(octets);
    u64::from_le_bytes(word)
}

fn fold(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::{RtpHeader, HEADER_LEN};
    use crate::seq::{RtpTime, SeqNo, Ssrc};

    const PTIME: Duration = Duration::from_millis(20);

    fn packet(seq: u16, payload: &[u8]) -> Vec<u8> {
        let timestamp = RtpTime(u32::from(seq) * 160);
        let mut bytes = Vec::new();
        RtpHeader { marker: false, payload_type: 0, seq: SeqNo(seq), timestamp, ssrc: Ssrc(77) }
            .write(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn with(sent: &[u8], at: Time) -> Reflection {
        let mut reflection = Reflection::new(5);
        reflection.at(at);
        reflection.sent(sent, PTIME);
        reflection
    }

    fn knows(reflection: &Reflection, now: Time, bytes: &[u8]) -> bool {
        RtpPacket::parse(bytes).is_ok_and(|packet| reflection.is_ours(now, &packet))
    }

    #[test]
    fn what_was_sent_is_known_for_two_seconds_and_not_longer() {
        let sent = packet(9, &[3; 160]);
        for began in [Time::ZERO, Time::ms(7), Time::secs(49 * 86_400)] {
            let reflection = with(&sent, began);
            for (age, known) in [(0, true), (1, true), (2000, true), (2001, false), (60_000, false)]
            {
                let now = began + Duration::from_millis(age);
                assert_eq!(knows(&reflection, now, &sent), known, "{age} ms");
            }
        }
        assert!(!knows(&Reflection::new(5), Time::ZERO, &sent), "nothing was sent");
    }

    #[test]
    fn all_of_the_last_two_seconds_is_known_at_any_length_of_frames_with_digits_beside_them() {
        for ptime_ms in [5, 10, 20, 30, 60] {
            let mut reflection = Reflection::new(1);
            let ptime = Duration::from_millis(ptime_ms);
            let sent: Vec<_> = (0..2 * 3000 / ptime_ms)
                .map(|n| {
                    (
                        Time::ms(n / 2 * ptime_ms),
                        packet(65_000u16.wrapping_add(n as u16), &[n as u8; 80]),
                    )
                })
                .collect();
            for (at, bytes) in &sent {
                reflection.at(*at);
                reflection.sent(bytes, ptime);
            }
            let now = sent.last().unwrap().0;
            for (at, bytes) in &sent {
                assert_eq!(
                    knows(&reflection, now, bytes),
                    now - *at <= MEMORY,
                    "{ptime_ms} ms, at {at:?}"
                );
            }
            assert!(reflection.packets.len() * size_of::<Sent>() <= 16 * 1024);
        }
    }

    #[test]
    fn a_report_is_known_as_it_was_and_no_longer_than_a_packet() {
        let mut reflection = Reflection::new(5);
        assert!(!reflection.is_our_report(Time::ZERO, b"report"));
        reflection.reported(Time::secs(3), b"report");
        assert!(reflection.is_our_report(Time::secs(5), b"report"));
        assert!(!reflection.is_our_report(Time::secs(5), b"repors"));
        assert!(!reflection.is_our_report(Time::ms(5001), b"report"));
    }

    #[test]
    fn another_marker_or_payload_type_is_the_network_s_and_still_ours() {
        let sent = packet(9, &[3; 160]);
        let reflection = with(&sent, Time::ZERO);
        let mut back = sent;
        back[1] = 0x88;
        assert!(knows(&reflection, Time::ZERO, &back));
    }

    proptest! {
        /// One bit of sequence, timestamp, SSRC or payload, or one octet more or less, and it is not ours.
        #[test]
        fn nothing_that_is_changed_is_taken_for_ours(
            payload in prop::collection::vec(any::<u8>(), 1..400), at in 2usize..400, bit in 0u8..8, seed: u64,
        ) {
            let sent = packet(9, &payload);
            let mut reflection = Reflection::new(seed);
            reflection.sent(&sent, PTIME);
            prop_assert!(knows(&reflection, Time::ZERO, &sent));
            let mut changed = sent.clone();
            let at = 2 + (at - 2) % (changed.len() - 2);
            changed[at] ^= 1 << bit;
            prop_assert!(!knows(&reflection, Time::ZERO, &changed), "octet {at}");
            prop_assert!(!knows(&reflection, Time::ZERO, &sent[..sent.len() - 1]));
            let longer = [&sent[..], &[0]].concat();
            prop_assert!(!knows(&reflection, Time::ZERO, &longer));
            prop_assert!(sent.len() > HEADER_LEN);
        }
    }
}
