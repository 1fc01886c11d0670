//! Source descriptions: chunks of items, each chunk padded to 32 bits on its own (RFC 3550 §6.5).

use super::RtcpError;
use crate::seq::Ssrc;

/// The canonical name, the one item that every source sends (RFC 3550 §6.5.1).
pub(super) const CNAME: u8 = 1;

/// The chunks of an SDES packet, at most 31.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
    left: u8,
}

impl<'a> Chunks<'a> {
    /// Walks `count` chunks once, so that later walks find them in order.
    pub(super) fn check(bytes: &'a [u8], count: u8) -> Result<Chunks<'a>, RtcpError> {
        let chunks = Chunks { bytes, left: count };
        if chunks.clone().count() == usize::from(count) {
            Ok(chunks)
        } else {
            Err(RtcpError::Sdes)
        }
    }

    /// The canonical name of a source, if it is here. Meant to be UTF-8, but a peer's word for it.
    pub fn cname(&self, ssrc: Ssrc) -> Option<&'a [u8]> {
        let chunk = self.clone().find(|chunk| chunk.ssrc == ssrc)?;
        chunk.items.clone().find(|item| item.kind == CNAME).map(|item| item.text)
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;
    fn next(&mut self) -> Option<Chunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, rest) = Chunk::split(self.bytes)?;
        self.bytes = rest;
        Some(chunk)
    }
}

/// What is said of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    /// What is said.
    pub items: Items<'a>,
}

impl<'a> Chunk<'a> {
    /// The chunk at the start of `bytes`, and what follows its padding.
    ///
    /// A list of items that ends with the packet needs no null octet after it: peers forget it when the items happen to
    /// end on a 32-bit boundary, and nothing else can be meant.
    fn split(bytes: &'a [u8]) -> Option<(Chunk<'a>, &'a [u8])> {
        let (ssrc, list) = bytes.split_first_chunk()?;
        let mut left = list;
        while left.first().is_some_and(|kind| *kind != 0) {
            left = Item::split(left)?.1;
        }
        let items = Items(&list[..list.len() - left.len()]);
        let chunk = Chunk { ssrc: Ssrc(u32::from_be_bytes(*ssrc)), items };
        // The terminating null octet and the padding together reach the next 32-bit boundary, so there are one to four.
        // The packet is whole words, and so is what is left at each chunk's start.
        let nulls = if left.is_empty() { 0 } else { (left.len() - 1) % 4 + 1 };
        Some((chunk, &left[nulls..]))
    }
}

/// The items of a chunk, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;
    fn next(&mut self) -> Option<Item<'a>> {
        let (item, rest) = Item::split(self.0)?;
        self.0 = rest;
        Some(item)
    }
}

/// One thing said of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is: 1 for CNAME, others in RFC 3550 §12.2. Never 0.
    pub kind: u8,
    /// At most 255 octets. Meant to be UTF-8, but a peer's word for it.
    pub text: &'a [u8],
}

impl<'a> Item<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Item<'a>, &'a [u8])> {
        let ([kind, len], rest) = bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(*len))?;
        Some((Item { kind: *kind, text }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read<'a> = Vec<(u32, Vec<(u8, &'a [u8])>)>;

    fn read(bytes: &[u8], count: u8) -> Result<Read<'_>, RtcpError> {
        let chunks = Chunks::check(bytes, count)?;
        Ok(chunks.map(|c| (c.ssrc.0, c.items.map(|i| (i.kind, i.text)).collect())).collect())
    }

    #[test]
    fn rfc3550_6_5_several_chunks_each_with_several_items() {
        #[rustfmt::skip]
        let bytes = [
            0, 0, 0, 7, 1, 2, b'm', b'e', 2, 0, 0, 0,
            0, 0, 0, 8, 6, 1, b't', 1, 3, b'y', b'o', b'u', 0, 0, 0, 0,
        ];
        let expected =
            vec![(7, vec![(1, &b"me"[..]), (2, b"")]), (8, vec![(6, b"t"), (1, b"you")])];
        assert_eq!(read(&bytes, 2), Ok(expected));
        let chunks = Chunks::check(&bytes, 2).unwrap();
        assert_eq!(chunks.cname(Ssrc(8)), Some(&b"you"[..]));
        assert_eq!(chunks.cname(Ssrc(9)), None);
        assert_eq!(read(&bytes, 3), Err(RtcpError::Sdes), "a chunk that is not there");
    }

    #[test]
    fn rfc3550_6_5_one_to_four_null_octets_end_a_chunk() {
        for text in [&b"abcde"[..], b"abcd", b"abc", b"ab"] {
            let mut bytes = vec![0, 0, 0, 7, 1, text.len() as u8];
            bytes.extend_from_slice(text);
            bytes.push(0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend_from_slice(&[0, 0, 0, 8, 0, 0, 0, 0]);
            assert_eq!(read(&bytes, 2), Ok(vec![(7, vec![(1, text)]), (8, vec![])]), "{bytes:?}");
        }
    }

    #[test]
    fn a_list_that_ends_with_the_packet_needs_no_null_octet() {
        assert_eq!(read(&[0, 0, 0, 7, 1, 2, b'm', b'e'], 1), Ok(vec![(7, vec![(1, &b"me"[..])])]));
        assert_eq!(read(&[0, 0, 0, 7], 1), Ok(vec![(7, vec![])]));
    }

    #[test]
    fn an_item_fills_the_packet_exactly_and_not_one_past_it() {
        assert!(read(&[0, 0, 0, 7, 1, 2, b'm', b'e'], 1).is_ok());
        assert_eq!(read(&[0, 0, 0, 7, 1, 3, b'm', b'e'], 1), Err(RtcpError::Sdes));
        assert_eq!(read(&[0, 0, 0, 7, 1, 1, b'm', 1], 1), Err(RtcpError::Sdes), "no length");
        assert_eq!(read(&[], 1), Err(RtcpError::Sdes));
    }
}
