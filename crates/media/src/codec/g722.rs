//! G.722 at 64 kbit/s: sub-band ADPCM, two samples of 16 kHz audio in each octet (ITU-T G.722; RFC 3551 §4.5.2).
//!
//! A quadrature mirror filter parts the audio into two bands of 8 kHz samples. The lower one gets six bits of each octet,
//! the upper one two; both adapt their step size and their predictor from the code alone, so that encoder and decoder
//! stay in step. Coding and decoding together delay the sound by 22 samples, 1.4 ms: the two filters.
//!
//! Bit for bit what ffmpeg and spandsp make of the same input, either way. Names in capitals are the blocks of the
//! recommendation's §6.2.

use super::{Decoder, Encoder, Undecodable};

/// Coefficients of the quadrature mirror filter (table 11); the other half mirrors them.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Samples that the filter looks back on.
const MEMORY: usize = 22;

#[derive(Default)]
pub(super) struct Decode {
    bands: Bands,
    /// Sum and difference of the bands, in turn; the filter's past.
    past: [i32; MEMORY],
    work: Vec<i32>,
}

impl Decoder for Decode {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        let work = &mut self.work;
        work.clear();
        work.extend_from_slice(&self.past);
        for &code in payload {
            let (low, high) = self.bands.decode(code);
            work.extend([low + high, low - high]);
        }
        out.reserve(2 * payload.len());
        for window in work.windows(MEMORY + 2).step_by(2) {
            let (even, odd) = filter(window);
            out.push(clip(odd >> 11) as i16);
            out.push(clip(even >> 11) as i16);
        }
        self.past.copy_from_slice(&work[work.len() - MEMORY..]);
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Encode {
    bands: Bands,
    past: [i32; MEMORY],
    work: Vec<i32>,
}

impl Encoder for Encode {
    fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        let work = &mut self.work;
        work.clear();
        work.extend_from_slice(&self.past);
        // An octet is two samples: frames are of 10 ms and more, so none is left over.
        work.extend(pcm[..pcm.len() & !1].iter().map(|&sample| i32::from(sample)));
        for window in work.windows(MEMORY + 2).step_by(2) {
            let (even, odd) = filter(window);
            out.push(self.bands.encode((even + odd) >> 14, (odd - even) >> 14));
        }
        self.past.copy_from_slice(&work[work.len() - MEMORY..]);
    }
}

/// Both halves of the mirror filter over 24 samples: those at even places, and those at odd ones.
fn filter(window: &[i32]) -> (i32, i32) {
    let (mut even, mut odd) = (0, 0);
    for (i, pair) in window.chunks_exact(2).enumerate() {
        even += pair[0] * QMF[i];
        odd += pair[1] * QMF[11 - i];
    }
    (even, odd)
}

/// The two bands of one direction.
struct Bands {
    low: Band,
    high: Band,
}

impl Default for Bands {
    fn default() -> Bands {
        Bands { low: Band::with_step(32), high: Band::with_step(8) }
    }
}

impl Bands {
    fn decode(&mut self, code: u8) -> (i32, i32) {
        let (low_code, high_code) = (usize::from(code & 63), usize::from(code >> 6));
        // The sound of the lower band is told by all six bits, its adaptation by the upper four.
        let low = self.low.estimate + scaled(self.low.step, QM6[low_code]);
        let low = low.clamp(-16_384, 16_383);
        let high = self.high.estimate + scaled(self.high.step, QM2[high_code]);
        let high = high.clamp(-16_384, 16_383);
        self.adapt(low_code, high_code);
        (low, high)
    }

    fn encode(&mut self, low: i32, high: i32) -> u8 {
        let error = clip(low - self.low.estimate);
        let size = if error < 0 { !error } else { error };
        // QUANTL: the first of 30 decision levels that the error does not reach.
        let step = self.low.step;
        let level = Q6.partition_point(|&level| size >= (level * step) >> 12);
        let low_code = if error < 0 { low_negative(level) } else { low_positive(level) };

        let error = clip(high - self.high.estimate);
        let size = if error < 0 { !error } else { error };
        let outer = size >= (564 * self.high.step) >> 12;
        let high_code = match (error < 0, outer) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.adapt(low_code, high_code);
        (high_code << 6 | low_code) as u8
    }

    /// What both ends learn from a code.
    fn adapt(&mut self, low_code: usize, high_code: usize) {
        let coarse = low_code >> 2;
        let difference = scaled(self.low.step, QM4[coarse]);
        self.low.rescale(WL[RL42[coarse]], 18_432, 8);
        self.low.predict(difference);

        let difference = scaled(self.high.step, QM2[high_code]);
        self.high.rescale(WH[high_code & 1], 22_528, 10);
        self.high.predict(difference);
    }
}

/// QUANTL's code of a negative error between decision levels `level` and the next (table 14).
fn low_negative(level: usize) -> usize {
    match level {
        0 | 1 => 63 - level,
        _ => 33 - level,
    }
}

fn low_positive(level: usize) -> usize {
    61 - level
}

/// One band: its step size, and a predictor of two poles and six zeros.
struct Band {
    /// The logarithm of the step (NABLA) and the step itself (DETL, DETH).
    log_step: i32,
    step: i32,
    /// What the next sample is expected to be, and the part of it that the zeros make.
    estimate: i32,
    zeros_part: i32,
    /// Poles, and the two newest values of what they weigh and adapt by.
    poles: [i32; 2],
    rebuilt: [i32; 2],
    partial: [i32; 2],
    /// Zeros, and the six newest differences.
    zeros: [i32; 6],
    differences: [i32; 6],
}

impl Band {
    fn with_step(step: i32) -> Band {
        Band {
            log_step: 0,
            step,
            estimate: 0,
            zeros_part: 0,
            poles: [0; 2],
            rebuilt: [0; 2],
            partial: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
        }
    }

    /// LOGSCL, SCALEL and their twins of the upper band.
    fn rescale(&mut self, weight: i32, most: i32, shift: i32) {
        self.log_step = (((self.log_step * 127) >> 7) + weight).clamp(0, most);
        let mantissa = ILB[(self.log_step >> 6) as usize & 31];
        let down = shift - (self.log_step >> 11);
        self.step = if down < 0 { mantissa << -down } else { mantissa >> down } << 2;
    }

    /// Takes the quantized difference in, adapts the predictor by signs alone, and predicts.
    fn predict(&mut self, difference: i32) {
        // RECONS, PARREC
        let rebuilt = clip(self.estimate + difference);
        let partial = clip(self.zeros_part + difference);
        let same = |a: i32, b: i32| (a ^ b) >= 0;

        // UPPOL2, UPPOL1
        let four_times = clip(self.poles[0] * 4);
        let drawn = if same(partial, self.partial[0]) { -four_times } else { four_times };
        let nudge = if same(partial, self.partial[1]) { 128 } else { -128 };
        let second = (nudge + (drawn.min(32_767) >> 7) + ((self.poles[1] * 32_512) >> 15))
            .clamp(-12_288, 12_288);
        let nudge = if same(partial, self.partial[0]) { 192 } else { -192 };
        let bound = clip(15_360 - second);
        let first = clip(nudge + ((self.poles[0] * 32_640) >> 15)).clamp(-bound, bound);
        self.poles = [first, second];

        // UPZERO
        let nudge = if difference == 0 { 0 } else { 128 };
        for (zero, &before) in self.zeros.iter_mut().zip(&self.differences) {
            let nudge = if same(difference, before) { nudge } else { -nudge };
            *zero = clip(nudge + ((*zero * 32_640) >> 15));
        }

        // DELAYA
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.rebuilt = [rebuilt, self.rebuilt[0]];
        self.partial = [partial, self.partial[0]];

        // FILTEP, FILTEZ, PREDIC
        let weighed = |weight: i32, value: i32| (weight * clip(2 * value)) >> 15;
        let poles_part = clip(weighed(first, self.rebuilt[0]) + weighed(second, self.rebuilt[1]));
        let pairs = self.zeros.iter().zip(&self.differences);
        self.zeros_part = clip(pairs.map(|(&zero, &value)| weighed(zero, value)).sum());
        self.estimate = clip(poles_part + self.zeros_part);
    }
}

/// A code's value, a fraction of 2¹⁵, in steps.
fn scaled(step: i32, value: i32) -> i32 {
    (step * value) >> 15
}

fn clip(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// Inverse quantizers of the lower band by six and by four bits, and of the upper band by two (tables 16, 18, 20).
#[rustfmt::skip]
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
    -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
    24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
#[rustfmt::skip]
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// Decision levels of the lower band (table 14).
#[rustfmt::skip]
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// How the logarithm of the step goes on, by the size of the code (tables 17 and 21).
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
/// By the lowest bit of the code: the outer value, then the inner one.
const WH: [i32; 2] = [798, -214];

/// Powers of two in 32 steps (table 19).
#[rustfmt::skip]
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    use super::super::CodecSpec;
    use proptest::prelude::*;

    const INPUT: &[u8] = include_bytes!("../../tests/vectors/g722.in.s16");
    const CODE: &[u8] = include_bytes!("../../tests/vectors/g722.code");
    const OUTPUT: &[u8] = include_bytes!("../../tests/vectors/g722.out.s16");
    const LOUDEST: &[u8] = include_bytes!("../../tests/vectors/g722.loudest.s16");
    const LOUDEST_CODE: &[u8] = include_bytes!("../../tests/vectors/g722.loudest.code");
    const ANY_CODE: &[u8] = include_bytes!("../../tests/vectors/g722.any.code");
    const ANY: &[u8] = include_bytes!("../../tests/vectors/g722.any.s16");

    fn pcm(bytes: &[u8]) -> Vec<i16> {
        bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
    }

    fn encoded(pcm: &[i16]) -> Vec<u8> {
        let mut wire = vec![];
        CodecSpec::G722.encoder().encode(pcm, &mut wire);
        wire
    }

    fn decoded(code: &[u8]) -> Vec<i16> {
        let mut heard = vec![];
        CodecSpec::G722.decoder().decode(code, &mut heard).unwrap();
        heard
    }

    #[test]
    fn every_octet_is_as_ffmpeg_and_spandsp_code_it() {
        let ours = encoded(&pcm(INPUT));
        assert_eq!(ours.len(), CODE.len());
        assert_eq!(ours.iter().zip(CODE).position(|(a, b)| a != b), None);
    }

    #[test]
    fn every_sample_is_as_ffmpeg_and_spandsp_decode_it() {
        let (ours, theirs) = (decoded(CODE), pcm(OUTPUT));
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(ours.iter().zip(&theirs).position(|(a, b)| a != b), None);
    }

    #[test]
    fn the_loudest_audio_and_any_octets_at_all_come_out_as_theirs_too() {
        let (ours, theirs) = (encoded(&pcm(LOUDEST)), LOUDEST_CODE);
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(ours.iter().zip(theirs).position(|(a, b)| a != b), None);
        let (ours, theirs) = (decoded(ANY_CODE), pcm(ANY));
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(ours.iter().zip(&theirs).position(|(a, b)| a != b), None);
    }

    #[test]
    fn the_two_filters_delay_the_sound_by_22_samples_and_keep_its_sign() {
        let mut said = vec![0; 640];
        said[100..].iter_mut().enumerate().for_each(|(n, s)| {
            *s = (9000.0 * (n as f32 * 0.35).sin() * (n as f32 * 0.03).sin()) as i16;
        });
        let heard = decoded(&encoded(&said));
        let likeness = |delay: usize| -> i64 {
            let pairs = said.iter().zip(&heard[delay..]);
            pairs.map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
        };
        assert_eq!((0..60).max_by_key(|&delay| likeness(delay)), Some(22));
        let (peak, power) =
            (likeness(22) as f64, said.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>());
        assert!((0.95..1.05).contains(&(peak / power)), "{}", peak / power);
    }

    proptest! {
        #[test]
        fn how_code_and_audio_are_cut_into_packets_changes_nothing(
            cuts in proptest::collection::vec(0usize..300, 1..20)
        ) {
            let (mut encoder, mut decoder) =
                (CodecSpec::G722.encoder(), CodecSpec::G722.decoder());
            let (mut wire, mut heard) = (vec![], vec![]);
            let (said, mut at) = (pcm(INPUT), 0);
            for cut in cuts.iter().cycle().map(|cut| cut + 1) {
                let end = (at + 2 * cut).min(said.len());
                let before = wire.len();
                encoder.encode(&said[at..end], &mut wire);
                decoder.decode(&wire[before..], &mut heard).unwrap();
                at = end;
                if at == said.len() {
                    break;
                }
            }
            prop_assert!(wire == CODE && heard == pcm(OUTPUT));
        }
    }
}
