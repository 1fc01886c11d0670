//! A key's tones, made sample by sample: for peers that know no events.

use super::tones::{amplitude, frequencies};
use super::Digit;
use crate::time::Duration;

/// Power of the two tones, in dBm0. The high one is 2 dB louder, as telephones send it to make up for long lines; together
/// they are as loud as speech. Q.24 receivers accept −3 to −25 dBm0 and more.
const LOW_DBM0: f64 = -9.0;
const HIGH_DBM0: f64 = -7.0;
/// Time to swell and to fade, within the tone's length: none is heard as a click, and the tone is steady for all but 4 of
/// the 40 ms that a receiver may need.
const RAMP: Duration = Duration::from_millis(2);

/// The tones of one key, from swelling to fading.
#[derive(Clone, Debug)]
pub struct Tone {
    low: Wave,
    high: Wave,
    ramp: u64,
    /// Samples made, and of the whole tone.
    at: u64,
    length: u64,
}

impl Tone {
    /// Of a key held for `duration`, at `sample_rate` Hz.
    pub fn new(digit: Digit, duration: Duration, sample_rate: u32) -> Tone {
        let (low, high) = frequencies(digit);
        let samples = |span: Duration| {
            u64::try_from(span.as_nanos() * u128::from(sample_rate) / 1_000_000_000)
                .unwrap_or(u64::MAX)
        };
        let length = samples(duration);
        Tone {
            low: Wave::new(low, LOW_DBM0, sample_rate),
            high: Wave::new(high, HIGH_DBM0, sample_rate),
            ramp: samples(RAMP).clamp(1, (length / 2).max(1)),
            at: 0,
            length,
        }
    }

    /// Writes the next piece over `pcm`, interleaved over `channels`; silence where the tone is over.
    pub fn fill(&mut self, pcm: &mut [i16], channels: u8) {
        for frame in pcm.chunks_mut(usize::from(channels).max(1)) {
            frame.fill(self.sample());
        }
    }

    /// Whether all of it was made.
    pub fn is_over(&self) -> bool {
        self.at >= self.length
    }

    /// Lets it fade from here on.
    pub fn stop(&mut self) {
        self.length = self.length.min(self.at + self.ramp);
    }

    fn sample(&mut self) -> i16 {
        if self.is_over() {
            return 0;
        }
        let edge = (self.at + 1).min(self.length - self.at).min(self.ramp) as f64;
        // A raised cosine: no corner at either end of the ramp.
        let phase = core::f64::consts::PI * edge / self.ramp as f64;
        let gain = 0.5 - 0.5 * phase.cos();
        self.at += 1;
        (gain * (self.low.next() + self.high.next())).round() as i16
    }
}

/// A sine that is turned on by one step per sample. Over the 60 s of the longest digit its rounding stays far below one step
/// of 16 bits.
#[derive(Clone, Debug)]
struct Wave {
    cos: f64,
    sin: f64,
    turn: (f64, f64),
}

impl Wave {
    fn new(hz: f64, dbm0: f64, sample_rate: u32) -> Wave {
        let step = core::f64::consts::TAU * hz / f64::from(sample_rate.max(1));
        Wave { cos: amplitude(dbm0), sin: 0.0, turn: (step.cos(), step.sin()) }
    }

    fn next(&mut self) -> f64 {
        let now = self.sin;
        let (c, s) = self.turn;
        (self.cos, self.sin) = (self.cos * c - self.sin * s, self.sin * c + self.cos * s);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(key: char, ms: u64, rate: u32) -> Vec<i16> {
        let mut pcm = vec![0; (rate as usize / 1000) * (ms as usize + 10)];
        let mut tone = Tone::new(Digit::parse(key).unwrap(), Duration::from_millis(ms), rate);
        tone.fill(&mut pcm, 1);
        assert!(tone.is_over());
        pcm
    }

    /// Power at a frequency, in dBm0, over the whole of `pcm`.
    fn dbm0(pcm: &[i16], hz: f64, rate: u32) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, &x) in pcm.iter().enumerate() {
            let phase = core::f64::consts::TAU * hz * n as f64 / f64::from(rate);
            re += f64::from(x) * phase.cos();
            im += f64::from(x) * phase.sin();
        }
        let peak = 2.0 * re.hypot(im) / pcm.len() as f64;
        3.17 + 20.0 * (peak / 32_768.0).log10()
    }

    #[test]
    fn q23_the_tones_have_their_frequency_and_level_at_every_rate() {
        for rate in [8_000, 16_000, 44_100, 48_000] {
            for key in "0123456789*#ABCD".chars() {
                let pcm = tone(key, 1000, rate);
                let steady = &pcm[rate as usize / 100..rate as usize];
                let (low, high) = frequencies(Digit::parse(key).unwrap());
                assert!((dbm0(steady, low, rate) - LOW_DBM0).abs() < 0.1, "{key} at {rate}");
                assert!((dbm0(steady, high, rate) - HIGH_DBM0).abs() < 0.1, "{key} at {rate}");
                let apart = dbm0(steady, 1080.0, rate);
                assert!(apart < -50.0, "{key} at {rate}: {apart} dBm0 between the tones");
            }
        }
    }

    #[test]
    fn it_lasts_to_the_sample_and_swells_and_fades_without_a_click() {
        let pcm = tone('5', 60, 8000);
        assert!(pcm[480..].iter().all(|&s| s == 0));
        assert_ne!(pcm[474..480], [0; 6]);
        let loudest = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(loudest < 24_000, "two tones never clip: {loudest}");
        for edge in [&pcm[..3], &pcm[477..480]] {
            assert!(edge.iter().all(|s| s.unsigned_abs() < 1500), "{edge:?}");
        }
    }

    #[test]
    fn pieces_of_any_length_and_channels_join_up() {
        let whole = tone('D', 50, 8000);
        let mut tone = Tone::new(Digit::parse('D').unwrap(), Duration::from_millis(50), 8000);
        let mut pieces: Vec<i16> = Vec::new();
        for len in [1, 7, 160, 200, 112] {
            let mut pcm = vec![1; 2 * len];
            tone.fill(&mut pcm, 2);
            assert!(pcm.chunks(2).all(|pair| pair[0] == pair[1]));
            pieces.extend(pcm.iter().copied().step_by(2));
        }
        assert_eq!(pieces, whole);
    }

    #[test]
    fn stopped_it_fades_at_once() {
        let mut tone = Tone::new(Digit::parse('1').unwrap(), Duration::from_secs(60), 8000);
        tone.fill(&mut [0; 800], 1);
        tone.stop();
        let mut rest = [1; 160];
        tone.fill(&mut rest, 1);
        assert!(tone.is_over() && rest[16..].iter().all(|&s| s == 0));
    }

    #[test]
    fn a_tone_of_no_length_is_silence() {
        let mut tone = Tone::new(Digit::parse('1').unwrap(), Duration::ZERO, 8000);
        assert!(tone.is_over());
        let mut pcm = [1; 8];
        tone.fill(&mut pcm, 1);
        assert_eq!(pcm, [0; 8]);
    }
}
