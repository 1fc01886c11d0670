//! G.711 µ-law and A-law, by tables that the compiler builds.
//!
//! The encoder decides at the standard's own decision values, as the ITU's reference software does (G.191 STL,
//! `g711.c`): a negative sample is the one's complement mirror of a positive one, and silence of −1 stays silence.
//! ffmpeg's encoder differs by one code for 964 of the 65 536 samples of either law: it truncates negative samples
//! towards the louder code (−1 becomes −8) and moves the decision at the end of each segment. Decoders agree on all
//! 256 codes.

use super::{CodecSpec, Decoder, Encoder, Undecodable};

/// The two companding laws.
#[derive(Clone, Copy)]
pub(super) enum Law {
    Mu,
    A,
}

pub(super) struct Decode {
    table: &'static [i16; 256],
    spec: CodecSpec,
}

impl Decode {
    pub(super) fn new(law: Law, spec: CodecSpec) -> Decode {
        let table = match law {
            Law::Mu => &MU_DECODE,
            Law::A => &A_DECODE,
        };
        Decode { table, spec }
    }
}

impl Decoder for Decode {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        self.spec.samples_in(payload)?;
        out.extend(payload.iter().map(|&code| self.table[usize::from(code)]));
        Ok(())
    }
}

pub(super) struct Encode(Law);

impl Encode {
    pub(super) fn new(law: Law) -> Encode {
        Encode(law)
    }
}

impl Encoder for Encode {
    fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        match self.0 {
            Law::Mu => out.extend(pcm.iter().map(|&s| mu_encode(s))),
            Law::A => out.extend(pcm.iter().map(|&s| a_encode(s))),
        }
    }
}

fn mu_encode(sample: i16) -> u8 {
    MU_ENCODE[magnitude(sample) >> 2] | sign(sample)
}

fn a_encode(sample: i16) -> u8 {
    A_ENCODE[magnitude(sample) >> 4] | sign(sample)
}

/// One's complement magnitude, 0 to 32767.
fn magnitude(sample: i16) -> usize {
    (sample ^ (sample >> 15)) as u16 as usize & 0x7fff
}

/// 0x80 for positive samples, as both laws have it on the wire.
fn sign(sample: i16) -> u8 {
    ((!sample as u16) >> 8) as u8 & 0x80
}

static MU_DECODE: [i16; 256] = mu_decode_table();
static A_DECODE: [i16; 256] = a_decode_table();
/// By the upper 13 bits of the magnitude: 8 KiB, which stays in the first-level cache.
static MU_ENCODE: [u8; 1 << 13] = mu_encode_table();
/// By the upper 11 bits of the magnitude.
static A_ENCODE: [u8; 1 << 11] = a_encode_table();

/// µ-law moves every magnitude up by this, in units of 14 bit PCM, so that segments begin at powers of two.
const MU_BIAS: u32 = 33;

const fn mu_decode_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        // All bits of a µ-law code are inverted on the wire (G.711 table 2, note).
        let bits = !(code as u8);
        let (segment, step) = ((bits >> 4 & 7) as u32, (bits & 15) as u32);
        let value = ((((2 * step + MU_BIAS) << segment) - MU_BIAS) << 2) as i16;
        table[code] = if bits & 0x80 != 0 { -value } else { value };
        code += 1;
    }
    table
}

const fn a_decode_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        // Even bits of an A-law code are inverted on the wire (G.711 table 1, note).
        let bits = code as u8 ^ 0x55;
        let (segment, step) = ((bits >> 4 & 7) as u32, (bits & 15) as u32);
        // The middle of the step, in units of 13 bit PCM; segments 0 and 1 share one step size.
        let value = match segment {
            0 => 2 * step + 1,
            n => (2 * step + 33) << (n - 1),
        } << 3;
        table[code] = if bits & 0x80 != 0 { value as i16 } else { -(value as i16) };
        code += 1;
    }
    table
}

/// Codes of negative samples; the sign bit of positive ones is put in by the caller.
const fn mu_encode_table() -> [u8; 1 << 13] {
    let mut table = [0; 1 << 13];
    let mut magnitude = 0;
    while magnitude < table.len() {
        let biased = magnitude as u32 + MU_BIAS;
        // The largest decision value is 8159: beyond it the outermost code stands.
        let biased = if biased > 0x1fff { 0x1fff } else { biased };
        let segment = biased.ilog2() - 5;
        let step = biased >> (segment + 1) & 15;
        table[magnitude] = !(segment << 4 | step) as u8 & 0x7f;
        magnitude += 1;
    }
    table
}

/// Codes of negative samples; positive ones differ in the sign bit.
const fn a_encode_table() -> [u8; 1 << 11] {
    let mut table = [0; 1 << 11];
    let mut magnitude = 0;
    while magnitude < table.len() {
        let m = magnitude as u32;
        let code = if m < 32 {
            m
        } else {
            let segment = m.ilog2() - 3;
            segment << 4 | (m >> (segment - 1) & 15)
        };
        table[magnitude] = code as u8 ^ 0x55;
        magnitude += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of the reference: a code, the samples that encode to it, the sample it decodes to.
    struct Line {
        law: &'static str,
        code: u8,
        samples: core::ops::RangeInclusive<i16>,
        decoded: i16,
    }

    fn reference() -> impl Iterator<Item = Line> {
        let text = include_str!("../../tests/vectors/g711.txt");
        text.lines().filter(|l| !l.starts_with('#')).map(|line| {
            let mut fields = line.split(' ');
            let law = fields.next().unwrap();
            let mut number = || fields.next().unwrap().parse::<i16>().unwrap();
            let code = number() as u8;
            Line { law, code, samples: number()..=number(), decoded: number() }
        })
    }

    fn spec(law: &str) -> CodecSpec {
        if law == "PCMU" {
            CodecSpec::PCMU
        } else {
            CodecSpec::PCMA
        }
    }

    #[test]
    fn every_sample_encodes_as_the_itu_reference_does() {
        let mut seen = 0;
        for line in reference() {
            let pcm: Vec<i16> = line.samples.collect();
            let mut wire = vec![];
            spec(line.law).encoder().encode(&pcm, &mut wire);
            assert!(wire.iter().all(|&c| c == line.code), "{} {:#04x}", line.law, line.code);
            seen += pcm.len();
        }
        assert_eq!(seen, 2 << 16, "both laws, every sample once");
    }

    #[test]
    fn every_code_decodes_as_the_itu_reference_does() {
        let mut seen = 0;
        for line in reference() {
            let mut pcm = vec![];
            spec(line.law).decoder().decode(&[line.code], &mut pcm).unwrap();
            assert_eq!(pcm, [line.decoded], "{} {:#04x}", line.law, line.code);
            seen += 1;
        }
        assert_eq!(seen, 2 * 256);
    }

    #[test]
    fn g711_peak_codes_and_both_zeros() {
        let coded = |law, sample| {
            let mut wire = vec![];
            spec(law).encoder().encode(&[sample], &mut wire);
            wire[0]
        };
        // G.711 tables 1 and 2: character signals of the outermost and innermost steps.
        let extremes = [i16::MIN, -1, 0, i16::MAX];
        assert_eq!(extremes.map(|s| coded("PCMU", s)), [0x00, 0x7f, 0xff, 0x80]);
        assert_eq!(extremes.map(|s| coded("PCMA", s)), [0x2a, 0x55, 0xd5, 0xaa]);
    }
}
