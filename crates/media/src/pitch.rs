//! The pitch of what was heard last: normalised autocorrelation, coarse at about 8 kHz, then fine.

/// The shortest period looked for, 400 Hz: women's and children's voices.
const SHORTEST_US: u32 = 2_500;
/// The longest, 66 Hz: the lowest male voices.
const LONGEST_US: u32 = 15_000;
/// How much of the newest signal is compared with what was a period before. Short, because the repetition has to go on
/// from the newest sound and not from the average of the last ones: on speech at 5 % loss, 20 ms here instead of 7 ms
/// costs 0.1 of PESQ.
const WINDOW_US: u32 = 7_000;
/// The coarse search runs at about this rate, whatever the stream's: its cost grows with the square of the rate, and
/// the voice's period does not show better above the telephone band.
const COARSE_HZ: u32 = 8_000;
/// Energy of a sample of background hiss, in PCM steps squared: keeps the correlation of near silence near zero.
const FLOOR: f32 = 16.0;

/// Finds pitch periods; holds the buffer to do it in.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    channels: usize,
    /// In frames over all channels at the stream's rate.
    shortest: usize,
    longest: usize,
    window: usize,
    /// Frames averaged to one of the coarse search.
    decimation: usize,
    /// The newest `window + longest` frames, mixed to one channel.
    mono: Vec<f32>,
    coarse: Vec<f32>,
}

impl Search {
    pub(crate) fn new(sample_rate: u32, channels: usize) -> Search {
        let frames = |us: u32| (u64::from(sample_rate) * u64::from(us) / 1_000_000) as usize;
        let (shortest, longest, window) =
            (frames(SHORTEST_US), frames(LONGEST_US), frames(WINDOW_US));
        let decimation = (sample_rate / COARSE_HZ).max(1) as usize;
        let mono = vec![0.0; window + longest];
        let coarse = vec![0.0; mono.len() / decimation];
        Search { channels, shortest, longest, window, decimation, mono, coarse }
    }

    /// The longest period it can find, in frames.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The frames of the past that it looks at.
    pub(crate) fn span(&self) -> usize {
        self.mono.len()
    }

    /// The period of the end of `past`, which is interleaved and at least [`span`](Self::span) frames long. Noise has
    /// none, but some lag always fits best.
    pub(crate) fn find(&mut self, past: &[i16]) -> usize {
        self.load(past);
        let d = self.decimation;
        let coarse = best_lag(&self.coarse, self.window / d, self.shortest / d, self.longest / d);
        let near = (coarse * d).clamp(self.shortest, self.longest);
        let (low, high) = ((near - d.min(near)).max(self.shortest), (near + d).min(self.longest));
        best_lag(&self.mono, self.window, low, high)
    }

    fn load(&mut self, past: &[i16]) {
        let newest = &past[past.len() - self.mono.len() * self.channels..];
        for (slot, samples) in self.mono.iter_mut().zip(newest.chunks_exact(self.channels)) {
            *slot = samples.iter().map(|&s| f32::from(s)).sum::<f32>() / self.channels as f32;
        }
        // Aligned at the newest end; the few oldest frames that fill no group are left out.
        let grouped = &self.mono[self.mono.len() - self.coarse.len() * self.decimation..];
        for (slot, group) in self.coarse.iter_mut().zip(grouped.chunks_exact(self.decimation)) {
            *slot = group.iter().sum::<f32>() / self.decimation as f32;
        }
    }
}

/// The lag in `low..=high` at which the last `window` values (whole eights of them, for the compiler to make vectors of)
/// are most like those before.
fn best_lag(signal: &[f32], window: usize, low: usize, high: usize) -> usize {
    let high = high.min(signal.len() - window);
    let newest = &signal[signal.len() - window..];
    let (mut best, mut best_score) = (low, f32::MIN);
    for lag in low..=high {
        let before = &signal[signal.len() - window - lag..][..window];
        let (mut product, mut energy) = ([0.0f32; 8], [0.0f32; 8]);
        for (a, b) in newest.chunks_exact(8).zip(before.chunks_exact(8)) {
            for lane in 0..8 {
                product[lane] += a[lane] * b[lane];
                energy[lane] += b[lane] * b[lane];
            }
        }
        let energy = energy.iter().sum::<f32>() + FLOOR * window as f32;
        let score = product.iter().sum::<f32>() / energy.sqrt();
        if score > best_score {
            (best, best_score) = (lag, score);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_voiced_sound_is_found_at_every_rate() {
        for rate in [8000u32, 11_025, 16_000, 44_100, 48_000] {
            for channels in [1, 2] {
                for hz in [70, 110, 180, 390] {
                    let mut search = Search::new(rate, channels);
                    let period = f64::from(rate) / f64::from(hz);
                    let wave = |n: usize| {
                        let turn = core::f64::consts::TAU * n as f64 / period;
                        let harmonics = turn.sin() + 0.6 * (2.0 * turn + 1.0).sin();
                        (5000.0 * (harmonics + 0.5 * (3.0 * turn + 2.0).sin())) as i16
                    };
                    let past: Vec<i16> = (0..search.span() + 50)
                        .flat_map(|n| core::iter::repeat_n(wave(n), channels))
                        .collect();
                    let found = search.find(&past) as f64;
                    // Twice or three times the period repeats as well as the period itself.
                    let periods = (found / period).round();
                    let off = (found - periods * period).abs();
                    assert!(periods >= 1.0 && off <= 1.0, "{rate} Hz: {hz} Hz found as {found}");
                }
            }
        }
    }

    #[test]
    fn silence_and_full_scale_noise_give_a_lag_in_range() {
        let mut search = Search::new(8000, 1);
        let mut rng = crate::rng::Rng::new(3);
        let noise: Vec<i16> = (0..search.span()).map(|_| rng.next_u16() as i16).collect();
        for past in [vec![0; search.span()], vec![i16::MIN; search.span()], noise] {
            assert!((20..=120).contains(&search.find(&past)));
        }
    }
}
