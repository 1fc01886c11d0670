//! The packets of a compound, borrowed from the datagram (RFC 3550 §6.4 to §6.7).

use super::sdes::Chunks;
use super::xr::XrBlocks;
use super::{ReportBlock, RtcpError, SenderInfo};
use crate::seq::{NtpTime, RtpTime, Ssrc};

/// Packet types (RFC 3550 §12.1).
pub(super) const SENDER_REPORT: u8 = 200;
pub(super) const RECEIVER_REPORT: u8 = 201;
pub(super) const SDES: u8 = 202;
pub(super) const BYE: u8 = 203;
const APP: u8 = 204;
/// Feedback on the transport and on the payload (RFC 4585 §6.1).
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
pub(super) const EXTENDED: u8 = 207;

/// Octets of one report block on the wire.
const BLOCK_LEN: usize = 24;

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtcpPacket<'a> {
    /// SR: what a sender sent, and what it received from others (RFC 3550 §6.4.1).
    SenderReport {
        /// Who reports.
        ssrc: Ssrc,
        /// What it sent.
        info: SenderInfo,
        /// What it received, a block for each source.
        blocks: Blocks<'a>,
    },
    /// RR: what a participant received (RFC 3550 §6.4.2).
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// What it received, a block for each source.
        blocks: Blocks<'a>,
    },
    /// SDES: who the sources are (RFC 3550 §6.5).
    Sdes {
        /// One chunk for each source.
        chunks: Chunks<'a>,
    },
    /// BYE: sources that leave (RFC 3550 §6.6).
    Bye {
        /// Those that leave; maybe none.
        ssrcs: Ssrcs<'a>,
        /// Why, at most 255 octets; empty if not said. Meant to be UTF-8, but a peer's word for it.
        reason: &'a [u8],
    },
    /// APP: something of an application's own (RFC 3550 §6.7).
    App {
        /// Who sent it.
        ssrc: Ssrc,
        /// The application's subtype, 0 to 31.
        subtype: u8,
        /// The application's name in ASCII.
        name: [u8; 4],
        /// What the application defines, whole 32-bit words.
        data: &'a [u8],
    },
    /// XR: what a receiver knows beyond its report (RFC 3611).
    Extended {
        /// Who reports.
        ssrc: Ssrc,
        /// The blocks.
        blocks: XrBlocks<'a>,
    },
    /// A type that is not understood here, feedback for example.
    Unknown {
        /// The packet type.
        packet_type: u8,
        /// The five bits beside the version: a count, or a format.
        count: u8,
        /// What follows the 4-octet header, without padding.
        body: &'a [u8],
    },
}

impl RtcpPacket<'_> {
    /// Who sent it, if it says so: what an unknown type begins with is unknown as well.
    pub(super) fn sender(&self) -> Option<Ssrc> {
        match self {
            RtcpPacket::SenderReport { ssrc, .. }
            | RtcpPacket::ReceiverReport { ssrc, .. }
            | RtcpPacket::App { ssrc, .. }
            | RtcpPacket::Extended { ssrc, .. } => Some(*ssrc),
            RtcpPacket::Sdes { chunks } => chunks.clone().next().map(|chunk| chunk.ssrc),
            RtcpPacket::Bye { ssrcs, .. } => ssrcs.clone().next(),
            RtcpPacket::Unknown {
                packet_type: TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK,
                body,
                ..
            } => body.first_chunk::<8>().map(|sources| Ssrc(word(sources, 0))),
            RtcpPacket::Unknown { .. } => None,
        }
    }
}

/// The report blocks of an SR or RR, at most 31.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    /// Takes `count` blocks; what follows them is a profile's extension and is ignored (RFC 3550 §6.4.3).
    fn take(bytes: &'a [u8], count: u8) -> Result<Blocks<'a>, RtcpError> {
        bytes.get(..usize::from(count) * BLOCK_LEN).map(Blocks).ok_or(RtcpError::Report)
    }
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;
    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk::<BLOCK_LEN>()?;
        self.0 = rest;
        Some(read_block(block))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let blocks = self.0.len() / BLOCK_LEN;
        (blocks, Some(blocks))
    }
}

impl ExactSizeIterator for Blocks<'_> {}

/// The sources of a BYE, at most 31.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssrcs<'a>(&'a [u8]);

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;
    fn next(&mut self) -> Option<Ssrc> {
        let (ssrc, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Ssrc(u32::from_be_bytes(*ssrc)))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let sources = self.0.len() / 4;
        (sources, Some(sources))
    }
}

impl ExactSizeIterator for Ssrcs<'_> {}

/// The packet at the start of `bytes`, and the bytes after it.
pub(super) fn split(bytes: &[u8]) -> Result<(RtcpPacket<'_>, &[u8]), RtcpError> {
    let ([first, packet_type, l0, l1], rest) = bytes.split_first_chunk().ok_or(RtcpError::Short)?;
    if first >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let len = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    let (mut body, rest) = rest.split_at_checked(len).ok_or(RtcpError::Length)?;
    if first & 0x20 != 0 && counts(body) {
        if !rest.is_empty() {
            return Err(RtcpError::Padding);
        }
        body = without_padding(body).ok_or(RtcpError::Padding)?;
    }
    let count = first & 0x1f;
    let packet = match *packet_type {
        SENDER_REPORT => sender_report(body, count)?,
        RECEIVER_REPORT => {
            let (ssrc, blocks) = body.split_first_chunk().ok_or(RtcpError::Report)?;
            let ssrc = Ssrc(u32::from_be_bytes(*ssrc));
            RtcpPacket::ReceiverReport { ssrc, blocks: Blocks::take(blocks, count)? }
        }
        SDES => RtcpPacket::Sdes { chunks: Chunks::check(body, count)? },
        BYE => bye(body, count)?,
        APP => app(body, count)?,
        EXTENDED => {
            let (ssrc, blocks) = body.split_first_chunk().ok_or(RtcpError::Extended)?;
            let ssrc = Ssrc(u32::from_be_bytes(*ssrc));
            RtcpPacket::Extended { ssrc, blocks: XrBlocks::check(blocks)? }
        }
        packet_type => RtcpPacket::Unknown { packet_type, count, body },
    };
    Ok((packet, rest))
}

fn sender_report(body: &[u8], count: u8) -> Result<RtcpPacket<'_>, RtcpError> {
    let (fixed, blocks) = body.split_first_chunk::<24>().ok_or(RtcpError::Report)?;
    let info = SenderInfo {
        ntp: NtpTime(u64::from(word(fixed, 4)) << 32 | u64::from(word(fixed, 8))),
        rtp: RtpTime(word(fixed, 12)),
        packets: word(fixed, 16),
        octets: word(fixed, 20),
    };
    let blocks = Blocks::take(blocks, count)?;
    Ok(RtcpPacket::SenderReport { ssrc: Ssrc(word(fixed, 0)), info, blocks })
}

fn read_block(block: &[u8; BLOCK_LEN]) -> ReportBlock {
    let loss = word(block, 4);
    ReportBlock {
        ssrc: Ssrc(word(block, 0)),
        fraction_lost: block[4],
        // The lower 24 bits are signed: shifted up and back, the sign is carried along.
        cumulative_lost: (loss << 8) as i32 >> 8,
        highest_seq: word(block, 8),
        jitter: word(block, 12),
        lsr: word(block, 16),
        dlsr: word(block, 20),
    }
}

fn bye(body: &[u8], count: u8) -> Result<RtcpPacket<'_>, RtcpError> {
    let (ssrcs, rest) = body.split_at_checked(usize::from(count) * 4).ok_or(RtcpError::Bye)?;
    let reason = match rest.split_first() {
        // What follows the reason is null octets up to the next 32-bit boundary.
        Some((len, text)) => text.get(..usize::from(*len)).ok_or(RtcpError::Bye)?,
        None => &[],
    };
    Ok(RtcpPacket::Bye { ssrcs: Ssrcs(ssrcs), reason })
}

fn app(body: &[u8], subtype: u8) -> Result<RtcpPacket<'_>, RtcpError> {
    let (ssrc, rest) = body.split_first_chunk().ok_or(RtcpError::App)?;
    let (name, data) = rest.split_first_chunk().ok_or(RtcpError::App)?;
    Ok(RtcpPacket::App { ssrc: Ssrc(u32::from_be_bytes(*ssrc)), subtype, name: *name, data })
}

/// Whether the last octet counts any padding. Where it is 0, the bit was set for nothing, as some ends do (RFC 3550 §5.1
/// has the same bit): a description of sources ends with a 0 anyway.
pub(super) fn counts(body: &[u8]) -> bool {
    body.last() != Some(&0)
}

/// `body` without its padding, whose last octet counts it in whole words (RFC 3550 §6.4.1).
fn without_padding(body: &[u8]) -> Option<&[u8]> {
    let count = usize::from(*body.last()?);
    if count == 0 || count % 4 != 0 {
        return None;
    }
    body.get(..body.len().checked_sub(count)?)
}

/// The 32 bits at a fixed place of a fixed part.
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(bytes: &[u8]) -> RtcpPacket<'_> {
        let (packet, rest) = split(bytes).unwrap();
        assert!(rest.is_empty());
        packet
    }

    fn error(bytes: &[u8]) -> RtcpError {
        split(bytes).unwrap_err()
    }

    #[rustfmt::skip]
    const SR: [u8; 52] = [
        0x81, 200, 0, 12, 0, 0, 0, 7,
        0xe9, 0, 0, 1, 0x80, 0, 0, 0, // NTP
        0xff, 0xff, 0xff, 0xff, // RTP
        0, 0, 1, 0, 0, 0, 0xa0, 0, // packets, octets
        0, 0, 0, 9, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 2, // source, fraction, cumulative, highest
        0, 0, 0, 17, 1, 2, 3, 4, 0, 1, 0x80, 0, // jitter, LSR, DLSR
    ];

    #[test]
    fn rfc3550_6_4_1_every_field_of_a_sender_report() {
        let RtcpPacket::SenderReport { ssrc, info, mut blocks } = only(&SR) else {
            panic!("expected a sender report");
        };
        assert_eq!(ssrc, Ssrc(7));
        let ntp = NtpTime(0xe900_0001_8000_0000);
        let rtp = RtpTime(u32::MAX);
        assert_eq!(info, SenderInfo { ntp, rtp, packets: 256, octets: 40_960 });
        assert_eq!(blocks.len(), 1);
        let expected = ReportBlock {
            ssrc: Ssrc(9),
            fraction_lost: 64,
            cumulative_lost: -2,
            highest_seq: 0x0001_0002,
            jitter: 17,
            lsr: 0x0102_0304,
            dlsr: 0x0001_8000,
        };
        assert_eq!(blocks.next(), Some(expected));
        assert_eq!(blocks.next(), None);
    }

    #[test]
    fn rfc3550_6_4_1_a_count_of_blocks_that_are_not_there_is_refused() {
        let mut sr = SR;
        sr[0] = 0x82;
        assert_eq!(error(&sr), RtcpError::Report);
        assert_eq!(error(&[0x80, 200, 0, 1, 0, 0, 0, 7]), RtcpError::Report, "no sender info");
        assert_eq!(error(&[0x80, 201, 0, 0]), RtcpError::Report, "no source");
        assert_eq!(error(&[0x81, 201, 0, 1, 0, 0, 0, 7]), RtcpError::Report, "no block");
    }

    #[test]
    fn rfc3550_6_4_3_a_profile_extension_after_the_blocks_is_ignored() {
        let RtcpPacket::ReceiverReport { ssrc, blocks } =
            only(&[0x80, 201, 0, 2, 0, 0, 0, 7, 0xde, 0xad, 0xbe, 0xef])
        else {
            panic!("expected a receiver report");
        };
        assert_eq!((ssrc, blocks.len()), (Ssrc(7), 0));
    }

    #[test]
    fn rfc3550_6_6_a_bye_with_and_without_a_reason() {
        let without = [0x82, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8];
        let RtcpPacket::Bye { ssrcs, reason } = only(&without) else { panic!("expected a BYE") };
        assert!(ssrcs.eq([Ssrc(7), Ssrc(8)]));
        assert_eq!(reason, b"");

        let with = [0x81, 203, 0, 3, 0, 0, 0, 7, 5, b'e', b'n', b'o', b'u', b'g', 0, 0];
        let RtcpPacket::Bye { reason, .. } = only(&with) else { panic!("expected a BYE") };
        assert_eq!(reason, b"enoug");

        let nobody = [0x80, 203, 0, 0];
        let RtcpPacket::Bye { ssrcs, .. } = only(&nobody) else { panic!("expected a BYE") };
        assert_eq!(ssrcs.len(), 0, "\"a count value of zero is valid, but useless\"");
    }

    #[test]
    fn rfc3550_6_6_a_reason_fills_the_packet_exactly_and_not_one_past_it() {
        let exact = [0x80, 203, 0, 1, 3, b'a', b'b', b'c'];
        assert!(matches!(only(&exact), RtcpPacket::Bye { reason: b"abc", .. }));
        assert_eq!(error(&[0x80, 203, 0, 1, 4, b'a', b'b', b'c']), RtcpError::Bye);
        assert_eq!(error(&[0x81, 203, 0, 0]), RtcpError::Bye, "a source that is not there");
    }

    #[test]
    fn rfc3550_6_7_an_application_packet_has_a_source_and_a_name() {
        let bytes = [0x85, 204, 0, 3, 0, 0, 0, 7, b'q', b'u', b'a', b'l', 1, 2, 3, 4];
        let expected =
            RtcpPacket::App { ssrc: Ssrc(7), subtype: 5, name: *b"qual", data: &[1, 2, 3, 4] };
        assert_eq!(only(&bytes), expected);
        assert_eq!(error(&[0x80, 204, 0, 1, 0, 0, 0, 7]), RtcpError::App);
    }
}
