//! One way by which our voice comes back: an adaptive filter around its delay, in the frequency domain.

use super::fft::{energy, sum, Fft, Spectrum, BINS, LEN};
use super::played::Played;

/// Samples that are predicted at a time, at most: 20 ms.
pub(super) const HOP: usize = 160;
/// The filter's length: 44 ms, what one transform leaves beside a hop.
const TAPS: usize = LEN - HOP;
/// So much of it lies before the delay that was found: the strongest path need not be the first, 8 ms.
const EARLY: i64 = 64;
/// Regularises bins in which nothing was played: about −75 dBFS over a transform.
const QUIET: f32 = 25.0 * LEN as f32;

/// A bin in which less than this share of the mean was played learns slower: what it leaks from its neighbours is more.
const WEAK: f32 = 0.02;
/// Iterations of the fit: they explain all that a short stretch tells for sure, and little of its noise.
const ITERATIONS: usize = 8;

/// See the module. Delays are in samples at 8 kHz.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// The delay of the strongest path.
    pub lag: i64,
    response: Spectrum,
    power: [f32; BINS],
    /// What was played, as of the last prediction.
    played: Spectrum,
    silent: bool,
}

impl Filter {
    pub fn new(lag: i64) -> Filter {
        Filter {
            lag,
            response: Spectrum::ZERO,
            power: [0.0; BINS],
            played: Spectrum::ZERO,
            silent: true,
        }
    }

    /// Adds to `echo` what comes back this way during the samples before `end`.
    pub fn predict(&mut self, fft: &Fft, played: &Played, end: i64, echo: &mut [f32]) {
        let mut block = [0.0; LEN];
        self.silent = !played.read(end - self.lag + EARLY - LEN as i64, &mut block);
        if self.silent {
            return;
        }
        fft.forward(&block, &mut self.played);
        let (x, h) = (&self.played, &self.response);
        fft.inverse(&x.times(h), &mut block);
        let count = echo.len();
        for (sum, value) in echo.iter_mut().zip(&block[LEN - count..]) {
            *sum += value;
        }
    }

    /// Learns from what the last prediction left over; `step`: 0 to 1.
    pub fn adapt(&mut self, fft: &Fft, residual: &[f32], step: f32) {
        if self.silent || step <= 0.0 {
            return;
        }
        let mut block = [0.0; LEN];
        block[LEN - residual.len()..].copy_from_slice(residual);
        let mut error = Spectrum::ZERO;
        fft.forward(&block, &mut error);
        let x = &self.played;
        // The error fills a part of the block only.
        let step = step * LEN as f32 / residual.len() as f32;
        let mut gradient = Spectrum::ZERO;
        gradient.add_correlation(x, &error);
        let mut mean = 0.0;
        for k in 0..BINS {
            let power = x.re[k] * x.re[k] + x.im[k] * x.im[k];
            self.power[k] = (0.8 * self.power[k] + 0.2 * power).max(power);
            mean += self.power[k] / BINS as f32;
        }
        for k in 0..BINS {
            let by = step / (self.power[k] + WEAK * mean + QUIET);
            gradient.re[k] *= by;
            gradient.im[k] *= by;
        }
        fft.inverse(&gradient, &mut block);
        block[TAPS..].fill(0.0);
        fft.forward(&block, &mut gradient);
        for k in 0..BINS {
            self.response.re[k] += gradient.re[k];
            self.response.im[k] += gradient.im[k];
        }
    }
}

impl Filter {
    /// Makes the filter that explains most of the `heard` samples before `end`; returns the share of their power that it
    /// leaves. Least squares by conjugate gradients, preconditioned bin by bin.
    pub fn fit(&mut self, fft: &Fft, played: &Played, heard: &[f32], end: i64) -> f32 {
        let mut at = end - heard.len() as i64;
        let mut block = [0.0; LEN];
        let mut weight = [0.0; BINS];
        let mut mean = 0.0;
        let mut references = Vec::with_capacity(heard.len().div_ceil(HOP));
        for hop in heard.chunks(HOP) {
            at += hop.len() as i64;
            played.read(at - self.lag + EARLY - LEN as i64, &mut block);
            let mut x = Spectrum::ZERO;
            fft.forward(&block, &mut x);
            for (k, sum) in weight.iter_mut().enumerate() {
                let power = x.re[k] * x.re[k] + x.im[k] * x.im[k];
                *sum += power;
                mean += power / BINS as f32;
            }
            references.push(x);
        }
        for power in &mut weight {
            *power = 1.0 / (*power + WEAK * mean + QUIET);
        }
        let mut left = heard.to_vec();
        let all = energy(&left);
        let mut taps = [0.0; LEN];
        let mut direction = [0.0; LEN];
        let mut before = 0.0;
        for _ in 0..ITERATIONS {
            let mut total = Spectrum::ZERO;
            let mut error = Spectrum::ZERO;
            for (x, hop) in references.iter().zip(left.chunks(HOP)) {
                block.fill(0.0);
                block[LEN - hop.len()..].copy_from_slice(hop);
                fft.forward(&block, &mut error);
                total.add_correlation(x, &error);
            }
            let mut gradient = [0.0; LEN];
            fft.inverse(&total, &mut gradient);
            gradient[TAPS..].fill(0.0);
            fft.forward(&gradient, &mut total);
            for (k, by) in weight.iter().enumerate() {
                total.re[k] *= by;
                total.im[k] *= by;
            }
            fft.inverse(&total, &mut block);
            block[TAPS..].fill(0.0);
            let steep = sum(&gradient, &block, |a, b| a * b);
            let turn = if before > 0.0 { steep / before } else { 0.0 };
            before = steep;
            for (to, from) in direction.iter_mut().zip(&block) {
                *to = from + turn * *to;
            }
            let mut p = Spectrum::ZERO;
            fft.forward(&direction, &mut p);
            let mut step: Vec<f32> = Vec::with_capacity(left.len());
            for (x, hop) in references.iter().zip(left.chunks(HOP)) {
                fft.inverse(&x.times(&p), &mut block);
                step.extend_from_slice(&block[LEN - hop.len()..]);
            }
            let by = steep / energy(&step);
            if !by.is_finite() {
                break;
            }
            for (to, from) in left.iter_mut().zip(&step) {
                *to -= by * from;
            }
            for (to, from) in taps.iter_mut().zip(&direction) {
                *to += by * from;
            }
        }
        fft.forward(&taps, &mut self.response);
        energy(&left) / all.max(1.0)
    }
}
