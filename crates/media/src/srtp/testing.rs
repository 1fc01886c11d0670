//! Keys and packets for tests.

use super::{MasterKey, SrtpConfig, Suite};

/// Octets from hexadecimal digits, for the vectors of the RFCs.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |octet: u8| (octet as char).to_digit(16).expect("a digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A key that is `fill` all over, without a name.
pub(super) fn key(suite: Suite, fill: u8) -> MasterKey {
    named(suite, fill, &[])
}

/// One with a name.
pub(super) fn named(suite: Suite, fill: u8, mki: &[u8]) -> MasterKey {
    MasterKey::new(suite, &vec![fill; suite.key_len() + suite.salt_len()], mki, None).unwrap()
}

/// The keys of both ends of a call.
pub(super) fn ends(here: MasterKey, there: MasterKey) -> (SrtpConfig, SrtpConfig) {
    (
        SrtpConfig { send: here.clone(), receive: vec![there.clone()] },
        SrtpConfig { send: there, receive: vec![here] },
    )
}

/// 20 ms of G.711.
pub(super) fn rtp(seq: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&(u32::from(seq) * 160).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend((0..160).map(|n| n as u8));
    packet
}

/// A receiver report without blocks.
pub(super) fn report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x81, 202, 0, 3]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[1, 4, b'p', b'e', b'e', b'r', 0, 0]);
    packet
}
