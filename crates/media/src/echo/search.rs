//! Whether a stretch of what is heard is something that was played, and how late it is.
//!
//! Both are whitened by the linear prediction of what is heard (which flattens the two alike, if they are alike), and
//! correlated at every delay. Speech of another resembles ours a little at some delay; an echo is the same.

use super::fft::{Fft, Spectrum, LEN};
use super::played::Played;

/// The delays looked at, in samples at 8 kHz: from 50 ms early (clocks of two directions) to 850 ms.
pub(super) const EARLIEST: i64 = -400;
pub(super) const LATEST: i64 = 6800;
/// The longest stretch: 240 ms.
pub(super) const LONGEST: usize = 1920;
/// What a transform holds of the stretch, and how many delays come of it at once.
const BLOCK: usize = LEN / 2;
const LAGS: usize = (LATEST - EARLIEST) as usize;

/// The delay at which a stretch resembles what was played most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Likeness {
    /// In samples at 8 kHz.
    pub lag: i64,
    /// The correlation there, 0 to 1.
    pub correlation: f32,
}

/// Looks for the `heard` samples before `end` in what was played.
pub(super) fn search(fft: &Fft, played: &Played, heard: &[f32], end: i64) -> Option<Likeness> {
    let heard = &heard[heard.len().saturating_sub(LONGEST)..];
    let mut reference = vec![0.0; LAGS + heard.len()];
    if !played.read(end - heard.len() as i64 - LATEST, &mut reference) {
        return None;
    }
    let (at, correlation) = find(fft, &reference, heard)?;
    Some(Likeness { lag: LATEST - at as i64, correlation })
}

/// Where `heard` is found best in `reference`, which is longer, and its correlation there.
pub(super) fn find(fft: &Fft, reference: &[f32], heard: &[f32]) -> Option<(usize, f32)> {
    let lags = reference.len().saturating_sub(heard.len());
    if heard.len() < 2 * HEAD || lags == 0 {
        return None;
    }
    let whitener = Whitener::of(heard);
    let white = whitener.apply(heard);
    let energy: f32 = white.iter().map(|x| x * x).sum();
    if energy <= 0.0 {
        return None;
    }
    let reference = whitener.apply(reference);

    let blocks = white.len().div_ceil(BLOCK);
    let mut stretch = vec![Spectrum::ZERO; blocks];
    let mut block = [0.0; LEN];
    for (spectrum, part) in stretch.iter_mut().zip(white.chunks(BLOCK)) {
        block.fill(0.0);
        block[..part.len()].copy_from_slice(part);
        fft.forward(&block, spectrum);
    }
    // Spectra of what was played, a block apart; each serves as many delays as the stretch has blocks.
    let mut ring = vec![Spectrum::ZERO; blocks];
    let load = |ring: &mut [Spectrum], n: usize| {
        let mut block = [0.0; LEN];
        let from = (n * BLOCK).min(reference.len());
        let part = &reference[from..(from + LEN).min(reference.len())];
        block[..part.len()].copy_from_slice(part);
        fft.forward(&block, &mut ring[n % blocks]);
    };
    for n in 0..blocks - 1 {
        load(&mut ring, n);
    }
    let length = white.len();
    let mut under: f32 = reference[..length].iter().map(|x| x * x).sum();
    let floor = QUIET * length as f32;
    let mut best: Option<(usize, f32)> = None;
    let mut block = [0.0; LEN];
    for first in 0..lags.div_ceil(BLOCK) {
        load(&mut ring, first + blocks - 1);
        let mut sum = Spectrum::ZERO;
        for (b, part) in stretch.iter().enumerate() {
            sum.add_correlation(part, &ring[(first + b) % blocks]);
        }
        fft.inverse(&sum, &mut block);
        for (k, product) in block[..BLOCK].iter().enumerate() {
            let at = first * BLOCK + k;
            if at >= lags {
                break;
            }
            let correlation = product.abs() / (energy * under.max(floor)).sqrt();
            if best.is_none_or(|(_, most)| correlation > most) {
                best = Some((at, correlation));
            }
            let next = reference.get(at + length).map_or(0.0, |x| x * x);
            under += next - reference[at] * reference[at];
        }
    }
    best
}

/// The likeness from which a stretch of so many samples is looked at as an echo. People who speak at once are alike by 0.43
/// in 60 ms, 0.39 in 100 ms and 0.26 in 240 ms, in one case of fifty.
pub(super) fn accepted(length: usize) -> f32 {
    match length {
        0..480 => 0.5,
        480..800 => 0.36,
        800..1280 => 0.22,
        _ => 0.18,
    }
}

/// The likeness below which it is none.
pub(super) fn rejected(length: usize) -> f32 {
    match length {
        0..480 => 0.33,
        480..800 => 0.30,
        800..1280 => 0.22,
        _ => 0.24,
    }
}

/// Power of what was played below which it has no echo: −75 dBFS.
const QUIET: f32 = 34.0;
/// Coefficients of the prediction: two flatten the tilt of speech and its strongest formant, and leave tones standing.
const ORDER: usize = 2;
/// The samples at the beginning that are not predicted.
const HEAD: usize = ORDER;

struct Whitener([f32; ORDER]);

impl Whitener {
    fn of(signal: &[f32]) -> Whitener {
        let mut r = [0.0f64; ORDER + 1];
        for (lag, sum) in r.iter_mut().enumerate() {
            let pairs = signal.iter().zip(&signal[lag..]);
            *sum = pairs.map(|(a, b)| f64::from(a * b)).sum();
        }
        // As if there were noise 30 dB below: a pure tone is not predicted away.
        r[0] = r[0] * 1.001 + 1.0;
        let determinant = r[0] * r[0] - r[1] * r[1];
        let first = r[1] * (r[0] - r[2]) / determinant;
        let second = (r[0] * r[2] - r[1] * r[1]) / determinant;
        Whitener([first as f32, second as f32])
    }

    /// What is not predicted: `ORDER` samples fewer.
    fn apply(&self, signal: &[f32]) -> Vec<f32> {
        let [a, b] = self.0;
        signal.windows(ORDER + 1).map(|w| w[2] - a * w[1] - b * w[0]).collect()
    }
}
