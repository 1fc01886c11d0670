//! The outside of an Opus packet: how many frames of which length it holds, and where they are (RFC 6716 §3).

use core::fmt;

/// The longest packet, in samples at 48 kHz: 120 ms (§3.2.5, R5).
const LONGEST: usize = 5760;
/// The most octets of one frame (§3.2.1, R2).
const MAX_FRAME: usize = 1275;
/// The most frames of a packet: 120 ms of 2.5 ms each.
const MAX_FRAMES: usize = 48;

/// A packet whose frames all lie inside it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    toc: u8,
    count: usize,
    frames: [&'a [u8]; MAX_FRAMES],
}

/// Octets that break one of the rules of RFC 6716 §3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The rule, 1 to 7.
    pub rule: u8,
}

impl<'a> Packet<'a> {
    /// Reads the outside of a packet.
    pub fn parse(octets: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let broken = |rule| Malformed { rule };
        let (&toc, body) = octets.split_first().ok_or(broken(1))?;
        let mut packet = Packet { toc, count: 0, frames: [&[]; MAX_FRAMES] };
        match toc & 3 {
            0 => packet.push(body, 2)?,
            1 => {
                if body.len() % 2 != 0 {
                    return Err(broken(3));
                }
                let (first, second) = body.split_at(body.len() / 2);
                packet.push(first, 2)?;
                packet.push(second, 2)?;
            }
            2 => {
                let (length, rest) = frame_length(body).ok_or(broken(4))?;
                if length > rest.len() {
                    return Err(broken(4));
                }
                let (first, second) = rest.split_at(length);
                packet.push(first, 4)?;
                packet.push(second, 2)?;
            }
            _ => packet.read_any_number(body)?,
        }
        Ok(packet)
    }

    /// Code 3: a count, padding, and frames of one length or each of its own (§3.2.5).
    fn read_any_number(&mut self, body: &'a [u8]) -> Result<(), Malformed> {
        let broken = |rule| Malformed { rule };
        let (&head, mut rest) = body.split_first().ok_or(broken(6))?;
        let (lengths_differ, padded, count) = (head & 0x80 != 0, head & 0x40 != 0, head & 0x3f);
        let count = usize::from(count);
        if count == 0 || count * self.frame_samples() > LONGEST {
            return Err(broken(5));
        }
        let rule = if lengths_differ { 7 } else { 6 };
        if padded {
            let mut padding = 0;
            loop {
                let (&more, after) = rest.split_first().ok_or(broken(rule))?;
                rest = after;
                padding += usize::from(more.min(254));
                if more < 255 {
                    break;
                }
            }
            let end = rest.len().checked_sub(padding).ok_or(broken(rule))?;
            rest = &rest[..end];
        }
        if lengths_differ {
            let mut lengths = [0; MAX_FRAMES];
            for length in &mut lengths[..count - 1] {
                (*length, rest) = frame_length(rest).ok_or(broken(7))?;
            }
            for &length in &lengths[..count - 1] {
                let (frame, after) = rest.split_at_checked(length).ok_or(broken(7))?;
                self.push(frame, 7)?;
                rest = after;
            }
            self.push(rest, 2)
        } else {
            if rest.len() % count != 0 {
                return Err(broken(6));
            }
            let length = rest.len() / count;
            for n in 0..count {
                self.push(&rest[n * length..(n + 1) * length], 2)?;
            }
            Ok(())
        }
    }

    fn push(&mut self, frame: &'a [u8], rule: u8) -> Result<(), Malformed> {
        if frame.len() > MAX_FRAME {
            return Err(Malformed { rule });
        }
        self.frames[self.count] = frame;
        self.count += 1;
        Ok(())
    }

    /// The first octet but for the number of frames: mode, band, frame length and channels of all of them.
    pub fn kind(&self) -> u8 {
        self.toc & 0xfc
    }

    /// Samples of one frame at 48 kHz (§3.1, table 2).
    pub fn frame_samples(&self) -> usize {
        let config = usize::from(self.toc >> 3);
        match config {
            0..=11 => [480, 960, 1920, 2880][config & 3],
            12..=15 => [480, 960][config & 1],
            _ => [120, 240, 480, 960][config & 3],
        }
    }

    /// Samples of all frames at 48 kHz, at most 5760.
    pub fn samples(&self) -> usize {
        self.count * self.frame_samples()
    }

    /// The coded frames. One of no octets was not sent: the sender pauses, or had no room.
    pub fn frames(&self) -> &[&'a [u8]] {
        &self.frames[..self.count]
    }
}

/// Appends one packet of several frames of one kind, each of its own length (§3.2.5).
pub(super) fn join(kind: u8, frames: &[&[u8]], out: &mut Vec<u8>) {
    out.extend([kind | 3, 0x80 | frames.len() as u8]);
    for frame in &frames[..frames.len().saturating_sub(1)] {
        // §3.2.1
        match frame.len() {
            short @ 0..=251 => out.push(short as u8),
            long => {
                let first = 252 + (long & 3);
                out.extend([first as u8, ((long - first) / 4) as u8]);
            }
        }
    }
    frames.iter().for_each(|frame| out.extend_from_slice(frame));
}

/// A frame's length in one or two octets (§3.2.1), and what follows it.
fn frame_length(octets: &[u8]) -> Option<(usize, &[u8])> {
    match *octets {
        [short @ 0..=251, ref rest @ ..] => Some((usize::from(short), rest)),
        [first, second, ref rest @ ..] => {
            Some((4 * usize::from(second) + usize::from(first), rest))
        }
        _ => None,
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no Opus packet (RFC 6716 §3.4, R{})", self.rule)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(octets: &[u8]) -> Option<u8> {
        Packet::parse(octets).err().map(|malformed| malformed.rule)
    }

    #[test]
    fn rfc6716_s3_4_what_breaks_a_rule_is_malformed() {
        assert_eq!(rule(&[]), Some(1));
        assert_eq!(rule(&[0; 1277]), Some(2));
        assert_eq!(rule(&[1, 0]), Some(3));
        assert_eq!(rule(&[2]), Some(4));
        assert_eq!(rule(&[2, 252]), Some(4));
        assert_eq!(rule(&[2, 5, 0, 0]), Some(4));
        assert_eq!(rule(&[3, 0]), Some(5));
        // Three frames of 60 ms, 49 of 2.5 ms.
        assert_eq!(rule(&[3 << 3 | 3, 3]), Some(5));
        assert_eq!(rule(&[16 << 3 | 3, 49]), Some(5));
        assert_eq!(rule(&[3]), Some(6));
        assert_eq!(rule(&[3, 2, 0]), Some(6));
        assert_eq!(rule(&[3, 0x41, 200]), Some(6));
        assert_eq!(rule(&[3, 0x41, 255]), Some(6));
        assert_eq!(rule(&[3, 0x82]), Some(7));
        assert_eq!(rule(&[3, 0x82, 9, 0]), Some(7));
    }

    #[test]
    fn rfc6716_s3_1_lengths_of_frames() {
        let ms = |config: u8| Packet::parse(&[config << 3]).unwrap().samples() as f32 / 48.0;
        let silk = [10.0, 20.0, 40.0, 60.0];
        let celt = [2.5, 5.0, 10.0, 20.0];
        for config in 0..32 {
            let expected = match config {
                0..=11 => silk[usize::from(config) % 4],
                12..=15 => silk[usize::from(config) % 2],
                _ => celt[usize::from(config) % 4],
            };
            assert_eq!(ms(config), expected, "configuration {config}");
        }
        // Two frames of 60 ms are as long as a packet gets (RFC 7587 §4.2).
        assert_eq!(Packet::parse(&[3 << 3 | 1, 0, 0]).unwrap().samples(), LONGEST);
    }

    #[test]
    fn frames_are_found_behind_every_kind_of_length_and_before_the_padding() {
        let frames = |octets: &[u8]| -> Vec<Vec<u8>> {
            Packet::parse(octets).unwrap().frames().iter().map(|f| f.to_vec()).collect()
        };
        assert_eq!(frames(&[0, 1, 2]), [[1, 2]]);
        assert_eq!(frames(&[1, 1, 2]), [[1], [2]]);
        assert_eq!(frames(&[2, 1, 1, 2, 3]), [vec![1], vec![2, 3]]);
        assert_eq!(frames(&[3, 0x43, 2, 1, 2, 3, 0, 0]), [[1], [2], [3]]);
        assert_eq!(frames(&[3, 0x83, 1, 0, 7, 8, 9]), [vec![7], vec![], vec![8, 9]]);
        let mut padded = vec![3, 0xc1, 255, 1, 7];
        padded.extend([0; 255]);
        assert_eq!(frames(&padded), [[7]]);
    }

    proptest! {
        #[test]
        fn what_we_take_for_a_packet_libopus_does_too_and_nothing_else(
            octets in proptest::collection::vec(any::<u8>(), 0..200), code in 0u8..4
        ) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = *first & 0xfc | code;
            }
            let mut decoder = roomkit_opus::Decoder::new(48_000, 1).unwrap();
            let theirs = decoder.decode(&octets, &mut [0; LONGEST]);
            let ours = Packet::parse(&octets).map(|packet| packet.samples());
            prop_assert_eq!(ours.ok(), theirs.ok());
        }

        #[test]
        fn joined_frames_are_found_again(
            kind in any::<u8>().prop_map(|toc| toc & 0xe0),
            lengths in proptest::collection::vec(0usize..=1275, 2..=4)
        ) {
            let frames: Vec<Vec<u8>> = lengths.iter().map(|&n| vec![n as u8; n]).collect();
            let pieces: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
            let mut wire = vec![];
            join(kind, &pieces, &mut wire);
            let packet = Packet::parse(&wire).unwrap();
            prop_assert_eq!(packet.kind(), kind);
            prop_assert_eq!(packet.frames(), &pieces[..]);
        }
    }
}
