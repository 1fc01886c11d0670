//! RTCP: compound packets read without copying and written whole, and the schedule they leave on (RFC 3550 §6).
//!
//! A datagram is a *compound* of several packets. [`parse_compound`] checks all of it before any of it is used; what
//! comes out is walked packet by packet:
//!
//! ```
//! # use roomkit_media::rtcp::{parse_compound, write_compound, RtcpPacket};
//! # use roomkit_media::seq::Ssrc;
//! # let mut datagram = Vec::new();
//! # write_compound(&mut datagram, Ssrc(7), None, &[], "caller", &[], Some("hung up"));
//! let compound = parse_compound(&datagram)?;
//! for packet in compound {
//!     match packet {
//!         RtcpPacket::SenderReport { info, .. } => println!("sent {} packets", info.packets),
//!         RtcpPacket::Bye { reason, .. } => println!("gone: {}", String::from_utf8_lossy(reason)),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), roomkit_media::rtcp::RtcpError>(())
//! ```

use core::fmt;

use crate::seq::{NtpTime, RtpTime, Ssrc};

mod packet;
mod schedule;
mod sdes;
mod writer;
pub mod xr;

pub use packet::{Blocks, RtcpPacket, Ssrcs};
pub use schedule::Schedule;
pub use sdes::{Chunk, Chunks, Item, Items};
pub use writer::write_compound;

/// What a receiver reports of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: Ssrc,
    /// Loss since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since reception began; negative when duplicates outnumber losses. 24 bits on the wire: clamped to
    /// −2²³ … 2²³−1 when written.
    pub cumulative_lost: i32,
    /// The highest sequence number received, with the count of its cycles in the upper 16 bits.
    pub highest_seq: u32,
    /// Interarrival jitter, in ticks of the source's RTP clock (RFC 3550 §A.8).
    pub jitter: u32,
    /// LSR: the middle 32 bits of the NTP time in the last sender report, or 0 if none came.
    pub lsr: u32,
    /// DLSR: the delay between that report's arrival and this block, in 1/65536 s.
    pub dlsr: u32,
}

/// What a sender reports of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The wall clock when the report was made.
    pub ntp: NtpTime,
    /// The same instant on the RTP clock of the stream, which is later than the last packet's timestamp when idle.
    pub rtp: RtpTime,
    /// RTP packets sent, modulo 2³².
    pub packets: u32,
    /// Payload octets sent, without headers and padding, modulo 2³².
    pub octets: u32,
}

/// A datagram of RTCP that passed every check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound<'a> {
    sender: Ssrc,
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// The source that the first packet names, who speaks in this compound.
    pub fn sender(&self) -> Ssrc {
        self.sender
    }
    /// Its packets in order. The first is a sender or receiver report, or another one that names its sender where peers
    /// leave the report out.
    pub fn iter(&self) -> Packets<'a> {
        Packets(self.bytes)
    }
}

impl<'a> IntoIterator for Compound<'a> {
    type Item = RtcpPacket<'a>;
    type IntoIter = Packets<'a>;
    fn into_iter(self) -> Packets<'a> {
        self.iter()
    }
}

/// The packets of a [`Compound`].
#[derive(Clone, Debug)]
pub struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = RtcpPacket<'a>;
    fn next(&mut self) -> Option<RtcpPacket<'a>> {
        // An error cannot come: the same walk over the same bytes succeeded when the compound was checked.
        let (packet, rest) = packet::split(self.0).ok()?;
        self.0 = rest;
        Some(packet)
    }
}

/// Checks a datagram as RFC 3550 §A.2 asks, and each packet in it down to its last count and length.
///
/// What peers leave out is not missed, though §6.1 requires it: the SDES, and the report at the start. Without the report
/// it is reduced-size RTCP (RFC 5506), and so are the goodbyes and keep-alives of softphones (libre). The first packet
/// must name its sender then, as all do that RFC 3550, RFC 3611 and RFC 4585 define, for trust begins with that. Packets
/// of unknown type are walked over by their length.
pub fn parse_compound(bytes: &[u8]) -> Result<Compound<'_>, RtcpError> {
    let (first, mut rest) = packet::split(bytes)?;
    // §A.2 refuses padding on the report that comes first, also when it is the last packet too.
    let report =
        matches!(first, RtcpPacket::SenderReport { .. } | RtcpPacket::ReceiverReport { .. });
    let whole = &bytes[..bytes.len() - rest.len()];
    if report && bytes[0] & 0x20 != 0 && packet::counts(whole) {
        return Err(RtcpError::Padding);
    }
    let sender = first.sender().ok_or(RtcpError::FirstType)?;
    while !rest.is_empty() {
        rest = packet::split(rest)?.1;
    }
    Ok(Compound { sender, bytes })
}

/// Why a datagram is not a valid compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtcpError {
    /// Shorter than one packet's header of 4 octets.
    Short,
    /// A version that is not 2.
    Version,
    /// The first packet does not say who sent it: a BYE or SDES of nobody, a type that is unknown, or no RTCP at all.
    FirstType,
    /// Padding on a packet that is not the last, on a report that is the first, or with a count that does not fit.
    Padding,
    /// The lengths of the packets do not add up to the datagram's.
    Length,
    /// A report shorter than its sender information and its count of blocks.
    Report,
    /// A source description whose chunks or items run past its end.
    Sdes,
    /// A BYE whose sources or reason run past its end.
    Bye,
    /// An APP packet without its source and name.
    App,
    /// An extended report without its source, or whose blocks run past its end (RFC 3611).
    Extended,
}

impl fmt::Display for RtcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RtcpError::Short => "shorter than an RTCP header",
            RtcpError::Version => "RTCP version is not 2",
            RtcpError::FirstType => "first packet does not name its sender",
            RtcpError::Padding => "padding where none may be, or with a wrong count",
            RtcpError::Length => "packet lengths do not add up to the datagram's",
            RtcpError::Report => "report is shorter than its block count",
            RtcpError::Sdes => "source description runs past its end",
            RtcpError::Bye => "BYE runs past its end",
            RtcpError::Extended => "extended report's blocks do not add up",
            RtcpError::App => "APP packet has no source or name",
        })
    }
}

impl core::error::Error for RtcpError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An empty receiver report of source 7.
    const RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 7];
    /// A BYE of source 7, without a reason.
    const BYE: [u8; 8] = [0x81, 203, 0, 1, 0, 0, 0, 7];

    fn error(parts: &[&[u8]]) -> Option<RtcpError> {
        parse_compound(&parts.concat()).err()
    }

    fn block() -> ReportBlock {
        ReportBlock {
            ssrc: Ssrc(9),
            fraction_lost: 25,
            cumulative_lost: -3,
            highest_seq: 0x0001_0002,
            jitter: 17,
            lsr: 0x1234_5678,
            dlsr: 0x0001_8000,
        }
    }

    fn full() -> Vec<u8> {
        let info = SenderInfo { ntp: NtpTime(1 << 40), rtp: RtpTime(160), packets: 1, octets: 160 };
        let mut bytes = Vec::new();
        write_compound(&mut bytes, Ssrc(7), Some(info), &[block()], "cname", &[], Some("bye"));
        bytes
    }

    #[test]
    fn rfc3550_a2_a_compound_starts_with_a_report_or_with_another_packet_that_names_its_sender() {
        assert_eq!(parse_compound(&RR).unwrap().sender(), Ssrc(7));
        let nobody = [0x80, 203, 0, 0];
        let unknown = [0x81, 208, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9];
        let jitter = [0x81, 195, 0, 1, 0, 0, 0, 7];
        let audio = [0x80, 0x80, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9];
        for first in [&nobody[..], &[0x80, 202, 0, 0], &unknown, &jitter, &audio] {
            assert_eq!(error(&[first]), Some(RtcpError::FirstType), "{first:?}");
            assert_eq!(error(&[first, &RR]), Some(RtcpError::FirstType), "{first:?}");
            assert_eq!(error(&[&RR, first]), None, "{first:?}");
        }
    }

    #[test]
    fn rfc5506_3_4_2_without_a_report_the_first_packet_says_who_speaks() {
        let sdes = [0x81, 202, 0, 2, 0, 0, 0, 7, 1, 2, b'm', b'e'];
        let app = [0x80, 204, 0, 3, 0, 0, 0, 7, b'P', b'I', b'N', b'G', b'P', b'O', b'N', b'G'];
        let xr = [0x80, 207, 0, 1, 0, 0, 0, 7];
        let feedback = |kind| [0x81, kind, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9];
        for first in [&BYE[..], &sdes, &app, &xr, &feedback(205), &feedback(206)] {
            let sender = |bytes: &[u8]| parse_compound(bytes).map(|compound| compound.sender());
            assert_eq!(sender(first), Ok(Ssrc(7)), "{first:?}");
            assert_eq!(sender(&[first, &RR, &BYE].concat()), Ok(Ssrc(7)), "{first:?}");
            assert_eq!(error(&[first, &RR[..6]]), Some(RtcpError::Length), "{first:?}");
        }
        // RFC 4585 §6.1: feedback names its sender and the source it is about.
        assert_eq!(error(&[&[0x81, 206, 0, 1, 0, 0, 0, 7]]), Some(RtcpError::FirstType));
        // The only packet is the last one too, which may be padded.
        assert_eq!(error(&[&[0xa1, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4]]), None);
    }

    #[test]
    fn rfc3550_a2_every_packet_is_of_version_2() {
        for version in [0u8, 1, 3] {
            let mut bye = BYE;
            bye[0] = version << 6 | 1;
            assert_eq!(error(&[&RR, &bye]), Some(RtcpError::Version));
            assert_eq!(error(&[&[version << 6, 201, 0, 1, 0, 0, 0, 7]]), Some(RtcpError::Version));
        }
    }

    #[test]
    fn rfc3550_a2_lengths_add_up_to_the_datagram() {
        assert_eq!(error(&[&RR, &BYE]), None);
        assert_eq!(error(&[&RR, &BYE[..7]]), Some(RtcpError::Length));
        assert_eq!(error(&[&RR, &BYE[..4]]), Some(RtcpError::Length));
        assert_eq!(error(&[&RR, &BYE, &[0]]), Some(RtcpError::Short));
        assert_eq!(error(&[&RR, &BYE, &[0, 0, 0, 0]]), Some(RtcpError::Version));
        assert_eq!(error(&[&[0x80, 201, 0xff, 0xff, 0, 0, 0, 7]]), Some(RtcpError::Length));
        assert_eq!(error(&[]), Some(RtcpError::Short));
    }

    #[test]
    fn rfc3550_6_4_1_padding_stands_on_the_last_packet_only() {
        let padded = |count| [0xa1, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, count];
        assert_eq!(error(&[&RR, &padded(4)]), None);
        assert_eq!(error(&[&RR, &padded(4), &BYE]), Some(RtcpError::Padding));
        for count in [1, 2, 3, 5, 6, 12, 255] {
            assert_eq!(error(&[&RR, &padded(count)]), Some(RtcpError::Padding), "{count}");
        }
        // Eight octets would be the source itself: allowed as padding, and then the BYE has no source left.
        assert_eq!(error(&[&RR, &padded(8)]), Some(RtcpError::Bye));
        let mut first = RR;
        first[0] |= 0x20;
        assert_eq!(error(&[&first, &BYE]), Some(RtcpError::Padding), "§A.2, on the first");
        let only = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
        assert_eq!(error(&[&only]), Some(RtcpError::Padding), "§A.2, on the only one");
    }

    #[test]
    fn rfc3550_6_4_1_padding_that_counts_nothing_is_none() {
        let sdes = [0xa1, 202, 0, 3, 0, 0, 0, 7, 1, 2, b'm', b'e', 0, 0, 0, 0];
        let bytes = [&RR[..], &sdes, &BYE].concat();
        let compound = parse_compound(&bytes).unwrap();
        let kinds: Vec<_> =
            compound.iter().map(|packet| core::mem::discriminant(&packet)).collect();
        assert_eq!(kinds.len(), 3);
        assert_eq!(error(&[&RR, &sdes]), None, "as the last one too");
        let report = [0xa0, 201, 0, 1, 0, 0, 7, 0];
        assert_eq!(parse_compound(&report).map(|compound| compound.sender()), Ok(Ssrc(0x700)));
        // What is behind a packet is all of it, to the last octet.
        let noted = [0xa1, 203, 0, 3, 0, 0, 0, 7, 5, b'd', b'o', b'n', b'e', 0, 0, 0];
        let bytes = [&RR[..], &noted].concat();
        let Some(RtcpPacket::Bye { reason, .. }) = parse_compound(&bytes).unwrap().iter().nth(1)
        else {
            panic!("a goodbye");
        };
        assert_eq!(reason, b"done\0");
    }

    #[test]
    fn packets_of_unknown_type_are_skipped_by_their_length() {
        let feedback = [0x80, 206, 0, 2, 0, 0, 0, 7, 1, 2, 3, 4];
        let bytes = [&RR[..], &feedback, &BYE].concat();
        let mut packets = parse_compound(&bytes).unwrap().into_iter();
        assert!(matches!(packets.next(), Some(RtcpPacket::ReceiverReport { .. })));
        let Some(RtcpPacket::Unknown { packet_type: 206, count: 0, body }) = packets.next() else {
            panic!("expected the feedback");
        };
        assert_eq!(body, &feedback[4..]);
        assert!(matches!(packets.next(), Some(RtcpPacket::Bye { .. })));
        assert_eq!(packets.next(), None);
    }

    #[test]
    fn a_truncated_compound_is_refused_or_is_a_shorter_compound() {
        let whole = full();
        let packets = parse_compound(&whole).unwrap().iter().count();
        for cut in 0..whole.len() {
            if let Ok(compound) = parse_compound(&whole[..cut]) {
                assert!(compound.iter().count() < packets, "{cut}");
            }
        }
    }

    /// Packets as they may come: of these types and with honest lengths, so that the walk gets far.
    fn likely_compound(types: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
        let body = prop::collection::vec(0u8..16, 0..40);
        let packet = (0u8..4, prop::sample::select(types), body).prop_map(
            |(count, packet_type, mut body)| {
                body.resize(body.len() / 4 * 4, 0);
                let words = (body.len() / 4) as u8;
                [&[0x80 | count, packet_type, 0, words], &body[..]].concat()
            },
        );
        prop::collection::vec(packet, 0..4).prop_map(|rest| [&RR[..], &rest.concat()].concat())
    }

    /// Visits everything there is to visit, and counts the packets.
    fn walk(compound: Compound<'_>) -> usize {
        compound
            .into_iter()
            .inspect(|packet| match packet.clone() {
                RtcpPacket::SenderReport { blocks, .. } => assert!(blocks.count() <= 31),
                RtcpPacket::ReceiverReport { blocks, .. } => assert!(blocks.count() <= 31),
                RtcpPacket::Sdes { chunks } => {
                    assert!(chunks.flat_map(|c| c.items).all(|item| item.kind != 0));
                }
                RtcpPacket::Bye { ssrcs, .. } => assert!(ssrcs.count() <= 31),
                RtcpPacket::Extended { blocks, .. } => assert!(blocks.count() <= 400),
                RtcpPacket::App { .. } | RtcpPacket::Unknown { .. } => {}
            })
            .count()
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse_compound(&bytes).map(walk);
        }

        /// Behind the report they are valid on their own.
        #[test]
        fn what_is_read_without_a_report_is_what_is_read_behind_one(
            bytes in likely_compound(&[200, 201, 202, 203, 204, 205, 206, 207, 210])
        ) {
            let alone = &bytes[RR.len()..];
            if let Ok(compound) = parse_compound(alone) {
                let behind = parse_compound(&bytes).expect("each packet of it is valid");
                prop_assert!(compound.iter().eq(behind.iter().skip(1)));
            }
        }

        #[test]
        fn every_packet_that_was_checked_is_walked(bytes in likely_compound(&[200, 201, 202, 203, 204, 207])) {
            if let Ok(compound) = parse_compound(&bytes) {
                let mut expected = 0;
                let mut at = 0;
                while at < bytes.len() {
                    at += 4 + 4 * usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
                    expected += 1;
                }
                prop_assert_eq!(walk(compound), expected);
            }
        }

        #[test]
        fn one_flipped_octet_never_harms(at in 0usize..100, value: u8) {
            let mut bytes = full();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = parse_compound(&bytes).map(walk);
        }

        /// Without SDES, whose count of chunks the other one does not heed.
        #[test]
        fn another_implementation_agrees_on_what_is_valid(
            bytes in likely_compound(&[200, 201, 203, 204]),
        ) {
            let theirs: Vec<_> = rtcp_types::Compound::parse(&bytes).unwrap().collect();
            let ours = parse_compound(&bytes);
            prop_assert_eq!(ours.is_ok(), theirs.iter().all(Result::is_ok), "{:?}, {:?}", ours, theirs);
            if let Ok(ours) = ours {
                prop_assert_eq!(ours.iter().count(), theirs.len());
            }
        }
    }
}
