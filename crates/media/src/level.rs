//! How loud speech is, and the noise between it (RFC 3611 §4.7.4): measured over the frames of one stream.

/// 0 dBm0 is a sine 3.14 dB below the loudest that G.711 A-law can say (G.711 table 1a), whose RMS is another 3.01 dB below
/// full scale: what is to be added to dB of RMS by full scale.
const FULL_SCALE_DBM0: f64 = 6.15;
/// A frame this many times as strong as the floor is speech: 10 dB, less than any room's speech stands above its noise.
const ABOVE_FLOOR: f64 = 10.0;
/// Speech is not weaker than this, about −45 dBm0, however quiet the line.
const LEAST_SPEECH: f64 = 8.0e3;
/// The floor is the least of the last one to two windows of this many frames, two seconds of the usual ones: longer than
/// anybody speaks without a breath.
const WINDOW: u32 = 100;
/// Frames before a level is known: a second of the usual ones.
const ENOUGH: u64 = 50;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    /// The least mean square of the window before and of this one.
    least: [f64; 2],
    in_window: u32,
    speech: Mean,
    noise: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Default for Levels {
    fn default() -> Levels {
        Levels {
            least: [f64::MAX; 2],
            in_window: 0,
            speech: Mean::default(),
            noise: Mean::default(),
        }
    }
}

impl Levels {
    /// Takes the next received frame.
    pub fn frame(&mut self, pcm: &[i16]) {
        if pcm.is_empty() {
            return;
        }
        let square = |s: &i16| i64::from(*s) * i64::from(*s);
        let mean = pcm.iter().map(square).sum::<i64>() as f64 / pcm.len() as f64;
        if self.in_window == WINDOW {
            self.least = [self.least[1], f64::MAX];
            self.in_window = 0;
        }
        self.in_window += 1;
        self.least[1] = self.least[1].min(mean);
        let floor = self.least[0].min(self.least[1]);
        let to = if mean > LEAST_SPEECH && mean > floor * ABOVE_FLOOR {
            &mut self.speech
        } else {
            &mut self.noise
        };
        to.sum += mean;
        to.count += 1;
    }

    /// The mean level of speech in dBm0, once a second of it was heard.
    pub fn speech_dbm0(&self) -> Option<f64> {
        self.speech.dbm0()
    }

    /// The mean level of what lies between, in dBm0.
    pub fn noise_dbm0(&self) -> Option<f64> {
        self.noise.dbm0()
    }
}

impl Mean {
    fn dbm0(&self) -> Option<f64> {
        (self.count >= ENOUGH).then(|| {
            let mean = (self.sum / self.count as f64).max(1e-9);
            (10.0 * (mean / (32_768.0 * 32_768.0)).log10() + FULL_SCALE_DBM0).max(-99.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loudest sine.
    const OVERLOAD_DBM0: f64 = FULL_SCALE_DBM0 - 3.01;

    /// A sine of this level; 0.1 dB are lost to rounding at the quietest.
    fn sine(dbm0: f64, frames: usize) -> Vec<Vec<i16>> {
        let peak = 32_768.0 * 10f64.powf((dbm0 - OVERLOAD_DBM0) / 20.0);
        let at = |n: usize| (peak * (n as f64 * 0.7).sin()).round() as i16;
        (0..frames).map(|f| (f * 160..(f + 1) * 160).map(at).collect()).collect()
    }

    #[test]
    fn speech_and_noise_are_told_apart_and_measured_in_dbm0() {
        let mut levels = Levels::default();
        for _ in 0..10 {
            sine(-60.0, 30).iter().for_each(|frame| levels.frame(frame));
            sine(-15.0, 50).iter().for_each(|frame| levels.frame(frame));
        }
        let (speech, noise) = (levels.speech_dbm0().unwrap(), levels.noise_dbm0().unwrap());
        assert!((speech + 15.0).abs() < 0.2, "{speech}");
        assert!((noise + 60.0).abs() < 0.5, "{noise}");
    }

    #[test]
    fn what_was_not_heard_for_a_second_is_unknown() {
        let mut levels = Levels::default();
        sine(-60.0, 60).iter().for_each(|frame| levels.frame(frame));
        sine(-15.0, 49).iter().for_each(|frame| levels.frame(frame));
        assert_eq!(levels.speech_dbm0(), None);
        assert!(levels.noise_dbm0().is_some());
        sine(-15.0, 1).iter().for_each(|frame| levels.frame(frame));
        assert!(levels.speech_dbm0().is_some());
    }

    #[test]
    fn digital_silence_has_a_level_that_fits_the_report() {
        let mut levels = Levels::default();
        (0..200).for_each(|_| levels.frame(&[0; 160]));
        levels.frame(&[]);
        assert_eq!(levels.noise_dbm0(), Some(-99.0));
    }
}
