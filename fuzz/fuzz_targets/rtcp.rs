//! Any datagram, read as RTCP: everything in a checked compound can be walked, and what a report says survives being
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomkit_media::report::round_trip;
use roomkit_media::rtcp::{
    parse_compound, write_compound, Blocks, ReportBlock, RtcpPacket, SenderInfo,
};
use roomkit_media::seq::{NtpTime, Ssrc};
use roomkit_media::time::Duration;

fuzz_target!(|datagram: &[u8]| {
    let Ok(compound) = parse_compound(datagram) else { return };
    // All first packets that are accepted begin with the source that sent them.
    assert_eq!(datagram[4..8], compound.sender().0.to_be_bytes());
    let mut packets = 0;
    for packet in compound {
        packets += 1;
        match packet {
            RtcpPacket::SenderReport { ssrc, info, blocks } => again(ssrc, Some(info), blocks),
            RtcpPacket::ReceiverReport { ssrc, blocks } => again(ssrc, None, blocks),
            RtcpPacket::Sdes { chunks } => {
                for chunk in chunks.clone() {
                    let _ = chunks.cname(chunk.ssrc);
                    assert!(chunk
                        .items
                        .into_iter()
                        .all(|item| item.kind != 0 && item.text.len() < 256));
                }
            }
            RtcpPacket::Bye { ssrcs, reason } => {
                assert!(ssrcs.len() < 32 && reason.len() < 256);
                bye_again(&String::from_utf8_lossy(reason));
            }
            RtcpPacket::Extended { blocks, .. } => assert!(blocks.count() <= datagram.len() / 4),
            RtcpPacket::App { subtype, data, .. } => assert!(subtype < 32 && data.len() % 4 == 0),
            RtcpPacket::Unknown { count, body, .. } => assert!(count < 32 && body.len() % 4 == 0),
        }
    }
    assert_eq!(packets, count_by_length(datagram));
});

/// The packets of a compound, told by their lengths alone.
fn count_by_length(datagram: &[u8]) -> usize {
    let mut packets = 0;
    let mut at = 0;
    while at < datagram.len() {
        at += 4 + 4 * usize::from(u16::from_be_bytes([datagram[at + 2], datagram[at + 3]]));
        packets += 1;
    }
    assert_eq!(at, datagram.len());
    packets
}

/// Writes a report that was read, and reads it.
fn again(ssrc: Ssrc, info: Option<SenderInfo>, blocks: Blocks<'_>) {
    let blocks: Vec<ReportBlock> = blocks.collect();
    for block in &blocks {
        let trip = round_trip(block, NtpTime(u64::from(block.jitter) << 16));
        assert!(trip.is_none_or(|trip| trip <= Duration::from_secs(60)));
    }
    let mut out = Vec::new();
    write_compound(&mut out, ssrc, info, &blocks, "fuzz", &[], None);
    match parse_compound(&out).unwrap().iter().next() {
        Some(RtcpPacket::SenderReport { ssrc: s, info: i, blocks: b }) => {
            assert_eq!((s, Some(i)), (ssrc, info));
            assert!(b.eq(blocks));
        }
        Some(RtcpPacket::ReceiverReport { ssrc: s, blocks: b }) => {
            assert_eq!((s, None), (ssrc, info));
            assert!(b.eq(blocks));
        }
        other => panic!("a report was written, {other:?} was read"),
    }
}

/// Writes a reason for leaving, and reads it: the start of it, if invalid octets grew it beyond what fits.
fn bye_again(reason: &str) {
    let mut out = Vec::new();
    write_compound(&mut out, Ssrc(1), None, &[], "fuzz", &[], Some(reason));
    match parse_compound(&out).unwrap().iter().last() {
        Some(RtcpPacket::Bye { reason: read, .. }) => {
            assert!(reason.as_bytes().starts_with(read));
            assert!(read.len() == reason.len() || read.len() > 251);
        }
        other => panic!("a BYE was written, {other:?} was read"),
    }
}
