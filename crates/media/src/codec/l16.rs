//! L16: sixteen-bit linear samples in network byte order, the left channel first (RFC 3551 §4.5.11, §4.1).

use super::{CodecSpec, Decoder, Encoder, Undecodable};

pub(super) struct Decode(CodecSpec);

impl Decode {
    pub(super) fn new(spec: CodecSpec) -> Decode {
        Decode(spec)
    }
}

impl Decoder for Decode {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        self.0.samples_in(payload)?;
        out.extend(payload.chunks_exact(2).map(|b| i16::from_be_bytes([b[0], b[1]])));
        Ok(())
    }
}

pub(super) struct Encode;

impl Encoder for Encode {
    fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        out.reserve(2 * pcm.len());
        for sample in pcm {
            out.extend_from_slice(&sample.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3551_s4_5_11_most_significant_octet_first_left_before_right() {
        let spec = CodecSpec::l16(10, 44_100, 2);
        let mut wire = vec![];
        spec.encoder().encode(&[0x0102, -2, i16::MIN, i16::MAX], &mut wire);
        assert_eq!(wire, [0x01, 0x02, 0xff, 0xfe, 0x80, 0x00, 0x7f, 0xff]);
        let mut pcm = vec![];
        spec.decoder().decode(&wire, &mut pcm).unwrap();
        assert_eq!(pcm, [0x0102, -2, i16::MIN, i16::MAX]);
    }

    #[test]
    fn every_length_that_ends_inside_a_sample_is_undecodable_and_decodes_nothing() {
        for (channels, unit) in [(1, 2), (2, 4)] {
            let spec = CodecSpec::l16(96, 16_000, channels);
            for octets in 0..=9 {
                let mut pcm = vec![];
                let outcome = spec.decoder().decode(&vec![0x55; octets], &mut pcm);
                if octets % unit == 0 {
                    assert_eq!((outcome, pcm.len()), (Ok(()), octets / 2));
                } else {
                    assert_eq!(outcome, Err(Undecodable::PartialSample { octets, unit }));
                    assert!(pcm.is_empty());
                }
            }
        }
    }
}
