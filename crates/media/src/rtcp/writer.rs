//! Compounds as they are sent: a report, who we are, and goodbye if it is one (RFC 3550 §6.1).

use super::packet::{BYE, EXTENDED, RECEIVER_REPORT, SDES, SENDER_REPORT};
use super::xr::{self, XrBlock};
use super::{ReportBlock, SenderInfo};
use crate::seq::Ssrc;

/// Blocks that one report can hold: its count has five bits (RFC 3550 §6.4.1).
const MAX_BLOCKS: usize = 31;
/// Octets that a name or a reason can have: its length has eight bits (RFC 3550 §6.5, §6.6).
const MAX_TEXT: usize = 255;

/// Appends a whole compound: a sender report if something was `sent` and a receiver report otherwise, empty when nothing
/// was received; the canonical name, always; an extended report if there are blocks for it; and a BYE if there is one.
///
/// * `cname`: unique among all participants (RFC 7022); cut to 255 octets, as is the reason, between characters.
/// * `bye`: the reason for leaving; an empty one is not written.
pub fn write_compound(
    out: &mut Vec<u8>,
    ssrc: Ssrc,
    sent: Option<SenderInfo>,
    blocks: &[ReportBlock],
    cname: &str,
    extended: &[XrBlock<'_>],
    bye: Option<&str>,
) {
    let (first, more) = blocks.split_at(blocks.len().min(MAX_BLOCKS));
    match sent {
        Some(info) => write_sender_report(out, ssrc, info, first),
        None => write_receiver_report(out, ssrc, first),
    }
    // Sources that did not fit are reported right behind (RFC 3550 §6.1).
    for blocks in more.chunks(MAX_BLOCKS) {
        write_receiver_report(out, ssrc, blocks);
    }
    write_cname(out, ssrc, cname);
    if !extended.is_empty() {
        write_packet(out, EXTENDED, 0, |out| {
            out.extend_from_slice(&ssrc.0.to_be_bytes());
            extended.iter().for_each(|block| xr::write_block(out, block));
        });
    }
    if let Some(reason) = bye {
        write_bye(out, ssrc, reason);
    }
}

fn write_sender_report(out: &mut Vec<u8>, ssrc: Ssrc, info: SenderInfo, blocks: &[ReportBlock]) {
    write_packet(out, SENDER_REPORT, blocks.len(), |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        out.extend_from_slice(&info.ntp.0.to_be_bytes());
        out.extend_from_slice(&info.rtp.0.to_be_bytes());
        out.extend_from_slice(&info.packets.to_be_bytes());
        out.extend_from_slice(&info.octets.to_be_bytes());
        blocks.iter().for_each(|block| write_block(out, block));
    });
}

fn write_receiver_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[ReportBlock]) {
    write_packet(out, RECEIVER_REPORT, blocks.len(), |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        blocks.iter().for_each(|block| write_block(out, block));
    });
}

fn write_block(out: &mut Vec<u8>, block: &ReportBlock) {
    let lost = block.cumulative_lost.clamp(-(1 << 23), (1 << 23) - 1);
    let [_, l0, l1, l2] = lost.to_be_bytes();
    out.extend_from_slice(&block.ssrc.0.to_be_bytes());
    out.extend_from_slice(&[block.fraction_lost, l0, l1, l2]);
    for word in [block.highest_seq, block.jitter, block.lsr, block.dlsr] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

fn write_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    write_packet(out, SDES, 1, |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        out.push(super::sdes::CNAME);
        write_text(out, cname);
        // The list of items ends with a null octet, and the padding follows (RFC 3550 §6.5).
        out.push(0);
    });
}

fn write_bye(out: &mut Vec<u8>, ssrc: Ssrc, reason: &str) {
    write_packet(out, BYE, 1, |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        if !reason.is_empty() {
            write_text(out, reason);
        }
    });
}

/// Writes a packet's header, its body, and null octets up to the next 32-bit boundary.
fn write_packet(out: &mut Vec<u8>, packet_type: u8, count: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | count as u8, packet_type, 0, 0]);
    body(out);
    let len = (out.len() - start).next_multiple_of(4);
    out.resize(start + len, 0);
    // Words, less one (RFC 3550 §6.4.1). At most 31 blocks or 255 octets of text: 193 at the most.
    let words = (len / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// A length of one octet, and as much of the text as that can count, in whole characters.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut len = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    out.push(len as u8);
    out.extend_from_slice(&text.as_bytes()[..len]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{parse_compound, RtcpPacket};
    use super::*;
    use crate::seq::{NtpTime, RtpTime};

    const ME: Ssrc = Ssrc(7);

    fn write(
        sent: Option<SenderInfo>,
        blocks: &[ReportBlock],
        cname: &str,
        bye: Option<&str>,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        write_compound(&mut out, ME, sent, blocks, cname, &[], bye);
        assert_eq!(out.len() % 4, 0);
        out
    }

    fn kinds(bytes: &[u8]) -> Vec<&'static str> {
        let compound = parse_compound(bytes).unwrap();
        assert_eq!(compound.sender(), ME);
        compound
            .into_iter()
            .map(|packet| match packet {
                RtcpPacket::SenderReport { .. } => "SR",
                RtcpPacket::ReceiverReport { .. } => "RR",
                RtcpPacket::Sdes { .. } => "SDES",
                RtcpPacket::Bye { .. } => "BYE",
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn cname(bytes: &[u8]) -> Vec<u8> {
        let compound = parse_compound(bytes).unwrap();
        let mut names = compound.into_iter().filter_map(|packet| match packet {
            RtcpPacket::Sdes { chunks } => chunks.cname(ME),
            _ => None,
        });
        names.next().expect("a canonical name").to_vec()
    }

    fn reason(bytes: &[u8]) -> Vec<u8> {
        match parse_compound(bytes).unwrap().into_iter().last() {
            Some(RtcpPacket::Bye { ssrcs, reason }) => {
                assert!(ssrcs.eq([ME]));
                reason.to_vec()
            }
            other => panic!("expected a BYE at the end, got {other:?}"),
        }
    }

    #[test]
    fn rfc3550_6_1_a_compound_is_a_report_then_the_cname_then_bye() {
        let sent = Some(SenderInfo::default());
        assert_eq!(kinds(&write(None, &[], "me", None)), ["RR", "SDES"], "an empty RR");
        assert_eq!(kinds(&write(sent, &[], "me", None)), ["SR", "SDES"]);
        assert_eq!(kinds(&write(sent, &[], "me", Some(""))), ["SR", "SDES", "BYE"]);
        assert_eq!(kinds(&write(None, &[], "me", Some("done"))), ["RR", "SDES", "BYE"]);
    }

    #[test]
    fn rfc3550_6_1_a_32nd_block_goes_into_a_report_of_its_own() {
        let blocks = [ReportBlock::default(); 63];
        for (count, expected) in [(31, vec![31]), (32, vec![31, 1]), (63, vec![31, 31, 1])] {
            let bytes = write(Some(SenderInfo::default()), &blocks[..count], "me", None);
            let counts: Vec<_> = parse_compound(&bytes)
                .unwrap()
                .into_iter()
                .filter_map(|packet| match packet {
                    RtcpPacket::SenderReport { blocks, .. } => Some(blocks.len()),
                    RtcpPacket::ReceiverReport { blocks, .. } => Some(blocks.len()),
                    _ => None,
                })
                .collect();
            assert_eq!(counts, expected);
        }
    }

    #[test]
    fn rfc3550_6_4_1_cumulative_loss_is_clamped_to_24_bits() {
        for (lost, written) in [
            (-1, -1),
            (0x7f_ffff, 0x7f_ffff),
            (0x80_0000, 0x7f_ffff),
            (-0x80_0000, -0x80_0000),
            (-0x80_0001, -0x80_0000),
            (i32::MIN, -0x80_0000),
        ] {
            let block =
                ReportBlock { cumulative_lost: lost, fraction_lost: 255, ..Default::default() };
            let bytes = write(None, &[block], "me", None);
            let Some(RtcpPacket::ReceiverReport { mut blocks, .. }) =
                parse_compound(&bytes).unwrap().into_iter().next()
            else {
                panic!("expected a receiver report");
            };
            let expected = ReportBlock { cumulative_lost: written, ..block };
            assert_eq!(blocks.next(), Some(expected));
        }
    }

    #[test]
    fn rfc3550_6_5_1_a_cname_of_any_length_is_terminated_and_padded() {
        for len in [0, 1, 2, 3, 4, 5, 254, 255] {
            let name = "n".repeat(len);
            let bytes = write(None, &[], &name, None);
            assert_eq!(cname(&bytes), name.as_bytes());
            assert_eq!(bytes.last(), Some(&0), "null terminated");
        }
        assert_eq!(cname(&write(None, &[], &"n".repeat(256), None)).len(), 255);
    }

    #[test]
    fn rfc3550_6_6_a_reason_is_cut_at_255_octets_between_characters() {
        assert_eq!(reason(&write(None, &[], "me", Some(""))), b"");
        assert_eq!(reason(&write(None, &[], "me", Some("done"))), b"done");
        assert_eq!(reason(&write(None, &[], "me", Some(&"r".repeat(255)))).len(), 255);
        assert_eq!(reason(&write(None, &[], "me", Some(&"r".repeat(300)))).len(), 255);
        let umlauts = "ü".repeat(128);
        let cut = reason(&write(None, &[], "me", Some(&umlauts)));
        assert_eq!(cut.len(), 254, "half a character is left out");
        assert_eq!(core::str::from_utf8(&cut), Ok(&umlauts[..254]));
    }

    #[test]
    fn a_compound_is_appended_to_what_is_there() {
        let mut out = vec![1, 2, 3];
        write_compound(&mut out, ME, None, &[], "me", &[], Some("x"));
        assert_eq!(out[..3], [1, 2, 3]);
        assert_eq!(out[3..], write(None, &[], "me", Some("x")));
    }

    fn any_block() -> impl Strategy<Value = ReportBlock> {
        (any::<[u32; 5]>(), any::<u8>(), -(1i32 << 23)..1 << 23).prop_map(
            |([ssrc, highest_seq, jitter, lsr, dlsr], fraction_lost, cumulative_lost)| {
                ReportBlock {
                    ssrc: Ssrc(ssrc),
                    fraction_lost,
                    cumulative_lost,
                    highest_seq,
                    jitter,
                    lsr,
                    dlsr,
                }
            },
        )
    }

    fn any_info() -> impl Strategy<Value = SenderInfo> {
        any::<(u64, u32, u32, u32)>().prop_map(|(ntp, rtp, packets, octets)| SenderInfo {
            ntp: NtpTime(ntp),
            rtp: RtpTime(rtp),
            packets,
            octets,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            sent in prop::option::of(any_info()),
            sent_blocks in prop::collection::vec(any_block(), 0..4),
            name in ".{0,40}",
            bye in prop::option::of(".{0,80}"),
        ) {
            let bytes = write(sent, &sent_blocks, &name, bye.as_deref());
            let mut packets = parse_compound(&bytes).unwrap().into_iter();
            match packets.next().unwrap() {
                RtcpPacket::SenderReport { info, blocks, .. } => {
                    prop_assert_eq!(Some(info), sent);
                    prop_assert!(blocks.eq(sent_blocks));
                }
                RtcpPacket::ReceiverReport { blocks, .. } => {
                    prop_assert!(sent.is_none());
                    prop_assert!(blocks.eq(sent_blocks));
                }
                other => prop_assert!(false, "{other:?}"),
            }
            prop_assert_eq!(cname(&bytes), name.as_bytes());
            if let Some(bye) = bye {
                prop_assert!(bye.as_bytes().starts_with(&reason(&bytes)));
            }
        }

        #[test]
        fn another_implementation_reads_the_same(
            info in any_info(), block in any_block(), name in "[a-z@.]{1,40}", bye in "[a-z ]{1,80}",
        ) {
            let bytes = write(Some(info), &[block], &name, Some(&bye));
            let mut packets = rtcp_types::Compound::parse(&bytes).unwrap();
            let Some(Ok(rtcp_types::Packet::Sr(sr))) = packets.next() else {
                panic!("expected a sender report");
            };
            prop_assert_eq!(sr.ssrc(), ME.0);
            prop_assert_eq!(sr.ntp_timestamp(), info.ntp.0);
            prop_assert_eq!(sr.rtp_timestamp(), info.rtp.0);
            prop_assert_eq!((sr.packet_count(), sr.octet_count()), (info.packets, info.octets));
            let theirs = sr.report_blocks().next().unwrap();
            prop_assert_eq!(theirs.ssrc(), block.ssrc.0);
            prop_assert_eq!(theirs.fraction_lost(), block.fraction_lost);
            // It gives the 24 bits unsigned.
            prop_assert_eq!(theirs.cumulative_lost(), block.cumulative_lost as u32 & 0xff_ffff);
            prop_assert_eq!(theirs.extended_sequence_number(), block.highest_seq);
            prop_assert_eq!(theirs.interarrival_jitter(), block.jitter);
            prop_assert_eq!(theirs.last_sender_report_timestamp(), block.lsr);
            prop_assert_eq!(theirs.delay_since_last_sender_report_timestamp(), block.dlsr);
            let Some(Ok(rtcp_types::Packet::Sdes(sdes))) = packets.next() else {
                panic!("expected a source description");
            };
            let chunk = sdes.chunks().next().unwrap();
            prop_assert_eq!(chunk.ssrc(), ME.0);
            prop_assert_eq!(chunk.items().next().unwrap().value(), name.as_bytes());
            let Some(Ok(rtcp_types::Packet::Bye(theirs))) = packets.next() else {
                panic!("expected a BYE");
            };
            prop_assert!(theirs.ssrcs().eq([ME.0]));
            prop_assert_eq!(theirs.reason(), Some(bye.as_bytes()));
            prop_assert!(packets.next().is_none());
        }
    }
}
