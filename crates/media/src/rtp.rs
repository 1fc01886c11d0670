//! RTP packets, read without copying and written as a fixed header (RFC 3550 §5).

use core::fmt;

use crate::seq::{RtpTime, SeqNo, Ssrc};

/// Octets of the fixed header, the shortest RTP packet there is (RFC 3550 §5.1).
pub const HEADER_LEN: usize = 12;

/// The only version of RTP in use (RFC 3550 §5.1).
const VERSION: u8 = 2;

/// One RTP packet, borrowed from its datagram (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The marker bit; for audio, the first packet of a talkspurt (RFC 3551 §4.1).
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub seq: SeqNo,
    /// The sampling instant of the payload's first octet, in ticks of the payload's RTP clock.
    pub timestamp: RtpTime,
    /// The synchronization source.
    pub ssrc: Ssrc,
    /// The contributing sources that a mixer listed.
    pub csrcs: Csrcs<'a>,
    /// The header extension, if there is one.
    pub extension: Option<Extension<'a>>,
    /// What is carried, without padding. It may be empty.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads a datagram as an RTP packet. Every length in it is checked against the datagram's own (RFC 3550 §A.1).
    pub fn parse(bytes: &'a [u8]) -> Result<RtpPacket<'a>, RtpError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(RtpError::Short);
        };
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if first >> 6 != VERSION {
            return Err(RtpError::Version);
        }
        let padded = first & 0x20 != 0;
        let extended = first & 0x10 != 0;
        let csrc_len = usize::from(first & 0x0f) * 4;
        let (csrcs, rest) = rest.split_at_checked(csrc_len).ok_or(RtpError::Csrc)?;
        let (extension, rest) = if extended {
            let (extension, rest) = Extension::split(rest).ok_or(RtpError::Extension)?;
            (Some(extension), rest)
        } else {
            (None, rest)
        };
        let payload = if padded { without_padding(rest).ok_or(RtpError::Padding)? } else { rest };
        Ok(RtpPacket {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            seq: SeqNo(u16::from_be_bytes([s0, s1])),
            timestamp: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([c0, c1, c2, c3])),
            csrcs: Csrcs(csrcs),
            extension,
            payload,
        })
    }
}

/// The contributing sources of a packet, in the order of the packet: at most 15 (RFC 3550 §5.1).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Csrcs<'a>(&'a [u8]);

impl<'a> Csrcs<'a> {
    /// How many there are, 0 to 15.
    pub fn len(&self) -> usize {
        self.0.len() / 4
    }
    /// True if no mixer listed any, the usual case.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Ssrc> + 'a {
        self.0.chunks_exact(4).map(|c| Ssrc(u32::from_be_bytes([c[0], c[1], c[2], c[3]])))
    }
}

impl fmt::Debug for Csrcs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A header extension: an identifier that a profile defines, and whole 32-bit words of data (RFC 3550 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The first 16 bits, "defined by profile": 0xBEDE for the one-byte elements of RFC 8285.
    pub profile: u16,
    /// The data, a multiple of four octets, possibly none.
    pub data: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The extension at the start of `bytes`, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Extension<'a>, &'a [u8])> {
        let ([p0, p1, w0, w1], rest) = bytes.split_first_chunk()?;
        let words = u16::from_be_bytes([*w0, *w1]);
        let (data, rest) = rest.split_at_checked(usize::from(words) * 4)?;
        Some((Extension { profile: u16::from_be_bytes([*p0, *p1]), data }, rest))
    }
}

/// Why a datagram is not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtpError {
    /// Shorter than the fixed header of 12 octets.
    Short,
    /// The version is not 2.
    Version,
    /// The CSRC list runs past the end.
    Csrc,
    /// The header extension runs past the end.
    Extension,
    /// The count of padding octets is more than there are.
    Padding,
}

impl fmt::Display for RtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RtpError::Short => "shorter than an RTP header",
            RtpError::Version => "RTP version is not 2",
            RtpError::Csrc => "CSRC list runs past the end",
            RtpError::Extension => "header extension runs past the end",
            RtpError::Padding => "count of padding octets does not fit",
        })
    }
}

impl core::error::Error for RtpError {}

/// The header of a packet to send: no padding, no extension, no CSRC, which is all that an endpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit.
    pub marker: bool,
    /// The payload type, 0 to 127; the eighth bit is not written.
    pub payload_type: u8,
    /// The sequence number.
    pub seq: SeqNo,
    /// The timestamp, in ticks of the payload's RTP clock.
    pub timestamp: RtpTime,
    /// The synchronization source.
    pub ssrc: Ssrc,
}

impl RtpHeader {
    /// Appends the header's 12 octets; the payload goes right after them.
    pub fn write(&self, out: &mut Vec<u8>) {
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        out.extend_from_slice(&[VERSION << 6, second]);
        out.extend_from_slice(&self.seq.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.ssrc.0.to_be_bytes());
    }
}

/// Tells RTCP from RTP on a shared port: the second octet of RTCP is a packet type of 192 to 223 (RFC 5761 §4).
///
/// RTP with the marker bit and a payload type of 64 to 95 looks the same; the RFC forbids those types beside RTCP.
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes.get(1), Some(192..=223))
}

/// `bytes` without the padding that its last octet counts, itself included (RFC 3550 §5.1).
///
/// Padding may fill the payload entirely. RFC 3550 §A.1 would have one octet left; but probes for bandwidth and
/// keep-alives in the field are padding alone, their sequence number counts, and they do no harm.
///
/// A count of zero cannot be, since it counts itself. Many devices send it with a packet that is whole, and their audio
/// is good: they set the bit and add nothing.
fn without_padding(bytes: &[u8]) -> Option<&[u8]> {
    let count = bytes.last().map_or(0, |&count| usize::from(count));
    bytes.get(..bytes.len().checked_sub(count)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet with everything: two CSRCs, an extension of one word, five octets of payload, three of padding.
    const FULL: [u8; 36] = [
        0xb2, 0x88, 0xff, 0xfe, 0xff, 0xff, 0xff, 0x60, 0xde, 0xad, 0xbe, 0xef, // header
        0, 0, 0, 1, 0, 0, 0, 2, // CSRCs
        0xbe, 0xde, 0, 1, 0x10, 0x7f, 0, 0, // extension
        1, 2, 3, 4, 5, // payload
        0, 0, 3, // padding
    ];

    fn parse(bytes: &[u8]) -> Result<RtpPacket<'_>, RtpError> {
        RtpPacket::parse(bytes)
    }

    fn with(at: usize, value: u8) -> [u8; 36] {
        let mut bytes = FULL;
        bytes[at] = value;
        bytes
    }

    #[test]
    fn rfc3550_5_1_every_field_of_a_full_packet() {
        let packet = parse(&FULL).unwrap();
        assert!(packet.marker);
        assert_eq!(packet.payload_type, 8);
        assert_eq!(packet.seq, SeqNo(0xfffe));
        assert_eq!(packet.timestamp, RtpTime(0xffff_ff60));
        assert_eq!(packet.ssrc, Ssrc(0xdead_beef));
        assert_eq!(packet.csrcs.len(), 2);
        assert!(packet.csrcs.iter().eq([Ssrc(1), Ssrc(2)]));
        let extension = Extension { profile: 0xbede, data: &[0x10, 0x7f, 0, 0] };
        assert_eq!(packet.extension, Some(extension));
        assert_eq!(packet.payload, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn rfc3550_5_1_a_version_other_than_2_is_dropped() {
        for version in [0u8, 1, 3] {
            assert_eq!(parse(&with(0, version << 6 | 0x32)), Err(RtpError::Version));
        }
    }

    #[test]
    fn rfc3550_5_1_padding_is_removed_up_to_the_whole_payload_and_not_one_past_it() {
        for (count, left) in [(1u8, 7), (8, 0)] {
            assert_eq!(parse(&with(35, count)).unwrap().payload.len(), left);
        }
        for count in [9u8, 255] {
            assert_eq!(parse(&with(35, count)), Err(RtpError::Padding), "{count}");
        }
    }

    #[test]
    fn rfc3550_5_1_padding_that_counts_nothing_is_none() {
        assert_eq!(
            parse(&with(35, 0)).unwrap().payload,
            [1, 2, 3, 4, 5, 0, 0, 0],
            "all of it is payload"
        );
        let mut empty = FULL[..12].to_vec();
        empty[0] = 0xa0;
        assert!(parse(&empty).unwrap().payload.is_empty(), "padding announced, none there");
    }

    #[test]
    fn rfc3550_5_1_csrcs_fill_the_packet_exactly_or_are_refused() {
        let mut bytes = vec![0x8f, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        bytes.resize(12 + 15 * 4, 7);
        let packet = parse(&bytes).unwrap();
        assert_eq!((packet.csrcs.len(), packet.payload.len()), (15, 0));
        assert_eq!(parse(&bytes[..bytes.len() - 1]), Err(RtpError::Csrc));
    }

    #[test]
    fn rfc3550_5_3_1_an_unknown_extension_is_skipped_by_its_length() {
        let head = [0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        let packet = |tail: &[u8]| [&head[..], tail].concat();

        let none = packet(&[0x12, 0x34, 0, 0, 42]);
        assert_eq!(parse(&none).unwrap().extension, Some(Extension { profile: 0x1234, data: &[] }));
        assert_eq!(parse(&none).unwrap().payload, [42]);
        let exact = packet(&[0x12, 0x34, 0, 1, 1, 2, 3, 4]);
        assert_eq!(parse(&exact).unwrap().payload, []);
        assert_eq!(parse(&exact[..15]), Err(RtpError::Extension));
        assert_eq!(parse(&exact[..19]), Err(RtpError::Extension));
        assert_eq!(parse(&packet(&[0, 0, 0xff, 0xff])), Err(RtpError::Extension));
    }

    #[test]
    fn a_header_alone_is_a_packet_and_one_octet_less_is_not() {
        let header = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        assert!(parse(&header).unwrap().payload.is_empty());
        assert_eq!(parse(&header[..11]), Err(RtpError::Short));
        assert_eq!(parse(&[]), Err(RtpError::Short));
    }

    #[test]
    fn a_truncated_packet_never_reads_as_the_whole_one() {
        for cut in 0..FULL.len() {
            assert_ne!(parse(&FULL[..cut]), parse(&FULL), "{cut}");
        }
    }

    #[test]
    fn rfc5761_4_rtcp_is_told_from_rtp_by_its_second_octet() {
        for (second, rtcp) in [(191, false), (192, true), (200, true), (223, true), (224, false)] {
            assert_eq!(is_rtcp(&[0x80, second]), rtcp, "{second}");
        }
        assert!(!is_rtcp(&[0x80, 0x80 | 101]), "a marked telephone event is RTP");
        assert!(!is_rtcp(&[0x80]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn whatever_is_read_lies_within_the_datagram(mut bytes in prop::collection::vec(any::<u8>(), 12..120)) {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            if let Ok(packet) = parse(&bytes) {
                let extension = packet.extension.map_or(0, |e| 4 + e.data.len());
                let before = HEADER_LEN + packet.csrcs.len() * 4 + extension;
                prop_assert!(before + packet.payload.len() <= bytes.len());
                prop_assert_eq!(&bytes[before..][..packet.payload.len()], packet.payload);
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0u8..128, seq: u16, timestamp: u32, ssrc: u32, payload: Vec<u8>,
        ) {
            let header = RtpHeader {
                marker, payload_type, seq: SeqNo(seq), timestamp: RtpTime(timestamp), ssrc: Ssrc(ssrc),
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            bytes.extend_from_slice(&payload);
            let packet = parse(&bytes).unwrap();
            let RtpPacket { marker, payload_type, seq, timestamp, ssrc, .. } = packet;
            prop_assert_eq!(RtpHeader { marker, payload_type, seq, timestamp, ssrc }, header);
            prop_assert!(packet.csrcs.is_empty() && packet.extension.is_none());
            prop_assert_eq!(packet.payload, &payload[..]);
        }

        #[test]
        fn another_implementation_reads_the_same(mut bytes in prop::collection::vec(any::<u8>(), 12..120)) {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            let (Ok(ours), Ok(theirs)) = (parse(&bytes), rtp_types::RtpPacket::parse(&bytes)) else {
                return Ok(());
            };
            prop_assert_eq!(ours.marker, theirs.marker_bit());
            prop_assert_eq!(ours.payload_type, theirs.payload_type());
            prop_assert_eq!(ours.seq.0, theirs.sequence_number());
            prop_assert_eq!(ours.timestamp.0, theirs.timestamp());
            prop_assert_eq!(ours.ssrc.0, theirs.ssrc());
            prop_assert!(ours.csrcs.iter().map(|c| c.0).eq(theirs.csrc()));
            prop_assert_eq!(ours.extension.map(|e| (e.profile, e.data)), theirs.extension());
            prop_assert_eq!(ours.payload, theirs.payload());
        }
    }
}
