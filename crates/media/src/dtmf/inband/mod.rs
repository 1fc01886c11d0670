//! Digits that are heard: the tones of the keys in the audio itself (ITU-T Q.23, Q.24).
//!
//! Every 5 ms a window of 13 ms is looked at. Eight Goertzel filters say which row and column are the strongest; only if
//! these two make up much of the window, [`fit`](fit::fit) says exactly at which frequencies, how loud, and how much else
//! there is. Four windows in a row that are nothing but one key's tones are a digit; it is told when it has ended.
//!
//! | | accepted | not accepted |
//! |---|---|---|
//! | each tone off its frequency | to 1.5 % | from 3.5 % |
//! | stronger tone | −3 to −30 dBm0 | below −36 dBm0 |
//! | either tone stronger than the other | by 8 dB | by 12 dB |
//! | length of a tone | from 40 ms | below 23 ms |
//! | pause between two | from 40 ms; 20 ms are bridged | |
//! | everything else in the window, below the tones | 15 dB | 7 dB |

mod fit;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use super::tones::{amplitude, key_at, HIGH_HZ, LOW_HZ};
use super::{Digit, LONGEST_DIGIT};
use crate::mix;
use crate::resample::{BadConversion, Bank, Resampler};
use crate::time::Duration;
use fit::{fit, Pair, WINDOW};

/// From one window to the next: 5 ms.
const HOP: usize = 40;
/// Windows in a row that make a digit. A window that a tone fills to nine tenths counts, so that four need 25 ms of tone,
/// and 31 ms are enough for four however they lie: between what must not be accepted and what must.
const WINDOWS_TO_BEGIN: u32 = 4;
/// Windows without the tone that end a digit: a pause of 40 ms spans nine, however they lie. A lost packet of 20 ms spans
/// seven at most, and is bridged (Q.24 asks so for interruptions of 10 ms).
const WINDOWS_TO_END: u32 = 8;
/// How far off a tone may be: between the 1.5 % and 3.5 % that Q.24 gives.
const FREQUENCY: f64 = 0.025;
/// How much more it may move from one window to the next, as a share: a key's tone stands still, a voice's do not.
const DRIFT: f64 = 0.012;
/// The share of a window's power that is the tones: noise 15 dB below them leaves 97 %.
const PURITY: f64 = 0.86;
/// The share of it that the filters must find in the strongest row and column before it is worth a closer look.
const WORTH_A_LOOK: f64 = 0.3;
/// How much stronger one tone may be, as a ratio of powers: 8 dB, and 2 for what codecs do to the weaker.
const TWIST: f64 = 10.0;
/// The softest tones, in dBm0: of the stronger one, and of the other with 8 dB of twist.
const SOFTEST_STRONG: f64 = -33.0;
const SOFTEST_WEAK: f64 = -43.0;
/// Digits that may wait to be polled: the owner polls after every frame, and one takes 40 ms at least.
const PENDING: usize = 32;

/// A digit heard in the audio, complete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeardDigit {
    /// The key.
    pub digit: Digit,
    /// When it began, counted from the first sample the detector was given. To half a window, 7 ms.
    pub start: Duration,
    /// How long it lasted, to a window.
    pub duration: Duration,
    /// The mean share of the tones in the power of its windows: 0.86 to just below 1.
    pub confidence: f32,
}

/// Finds digits in audio of any rate from 8 to 192 kHz.
///
/// ```
/// use roomkit_media::dtmf::{Digit, InbandDetector, Tone};
/// use core::time::Duration;
/// let mut detector = InbandDetector::new(16_000, 1)?;
/// let mut pcm = vec![0; 1600];
/// Tone::new(Digit::parse('7').unwrap(), Duration::from_millis(60), 16_000).fill(&mut pcm, 1);
/// detector.process(&pcm);
/// let heard = detector.poll().unwrap();
/// assert_eq!(heard.digit.as_char(), '7');
/// assert!(heard.duration.abs_diff(Duration::from_millis(60)) < Duration::from_millis(14));
/// # Ok::<(), roomkit_media::resample::BadConversion>(())
/// ```
#[derive(Clone, Debug)]
pub struct InbandDetector {
    channels: u8,
    resampler: Option<Resampler>,
    mono: Vec<i16>,
    /// At [`RATE`](Self::RATE): what the next windows are made of.
    ready: Vec<i16>,
    /// The place of the first sample of `ready`, in samples from the first.
    place: u64,
    coefficients: [f32; 8],
    tracker: Tracker,
    suspected: Option<(u64, u64)>,
}

impl InbandDetector {
    /// The rate at which tones are looked for, in Hz; audio of another is converted first. All eight lie below 1.7 kHz.
    pub const RATE: u32 = 8000;

    /// For audio at `sample_rate`, interleaved over `channels`, which are averaged.
    pub fn new(sample_rate: u32, channels: u8) -> Result<InbandDetector, BadConversion> {
        InbandDetector::with_bank(Arc::new(Bank::new(sample_rate, Self::RATE)?), channels)
    }

    /// For audio that this filter brings to [`RATE`](Self::RATE).
    pub fn with_bank(bank: Arc<Bank>, channels: u8) -> Result<InbandDetector, BadConversion> {
        if channels == 0 {
            return Err(BadConversion::Channels);
        }
        let (from_hz, to_hz) = bank.rates();
        if to_hz != Self::RATE {
            return Err(BadConversion::Rate(to_hz));
        }
        let resampler = if from_hz == to_hz { None } else { Some(Resampler::with_bank(bank, 1)?) };
        let mut coefficients = [0.0; 8];
        for (coefficient, hz) in coefficients.iter_mut().zip(LOW_HZ.iter().chain(&HIGH_HZ)) {
            *coefficient = (2.0 * radians(*hz).cos()) as f32;
        }
        Ok(InbandDetector {
            channels,
            resampler,
            mono: Vec::new(),
            ready: Vec::new(),
            place: 0,
            coefficients,
            tracker: Tracker::default(),
            suspected: None,
        })
    }

    /// Takes the next audio, of any length. Poll afterwards.
    pub fn process(&mut self, pcm: &[i16]) {
        let pcm = if self.channels == 1 {
            pcm
        } else {
            self.mono.clear();
            mix::to_channels(pcm, self.channels, 1, &mut self.mono);
            &self.mono
        };
        match &mut self.resampler {
            Some(resampler) => resampler.process(pcm, &mut self.ready),
            None => self.ready.extend_from_slice(pcm),
        }
        let mut at = 0;
        while let Some(samples) = self.ready.get(at..at + WINDOW) {
            let mut window = [0.0; WINDOW];
            for (to, from) in window.iter_mut().zip(samples) {
                *to = f32::from(*from);
            }
            let place = self.place + at as u64;
            let look = self.look(&window);
            if !matches!(look, Look::Nothing) {
                let end = place + WINDOW as u64;
                self.suspected = Some((self.suspected.map_or(place, |(from, _)| from), end));
            }
            self.tracker.window(place, look);
            at += HOP;
        }
        self.ready.drain(..at);
        self.place += at as u64;
    }

    /// The next digit that has ended.
    pub fn poll(&mut self) -> Option<HeardDigit> {
        self.tracker.pending.pop_front()
    }

    /// The digit that sounds now, once it is certain, and when it began.
    pub fn sounding(&self) -> Option<(Digit, Duration)> {
        self.tracker.current.filter(|c| c.certain()).map(|c| (c.digit, span(c.start)))
    }

    /// From where to where in the audio there may have been a key's tones, since this was asked last, however short. Voices
    /// raise the suspicion now and then, too.
    pub fn take_suspicion(&mut self) -> Option<(Duration, Duration)> {
        self.suspected.take().map(|(from, to)| (span(from), span(to)))
    }

    /// The audio that was given so far and has been looked at: nothing more will be said of it.
    pub fn seen(&self) -> Duration {
        span(self.place)
    }

    /// The audio ends here, or what comes next has nothing to do with it: a digit that sounds is over. Poll afterwards.
    pub fn finish(&mut self) {
        self.place += self.ready.len() as u64;
        self.ready.clear();
        self.tracker.finish();
    }

    fn look(&self, window: &[f32; WINDOW]) -> Look {
        let total: f32 = window.iter().map(|x| x * x).sum();
        if f64::from(total) < SILENCE * WINDOW as f64 {
            return Look::Nothing;
        }
        let powers = goertzel(window, &self.coefficients);
        let (row, low) = strongest(&powers[..4]);
        let (column, high) = strongest(&powers[4..]);
        // A sine that fills the window gives (A · N / 2)², and has an energy of A² · N / 2.
        let share = f64::from(low + high) * 2.0 / WINDOW as f64 / f64::from(total);
        if share < WORTH_A_LOOK {
            return Look::Nothing;
        }
        match fit(window, radians(LOW_HZ[row]), radians(HIGH_HZ[column])) {
            Some(pair) => judge(row, column, &pair),
            None => Look::Nothing,
        }
    }
}

/// What a window holds.
#[derive(Clone, Copy, Debug)]
enum Look {
    Nothing,
    /// It may be a key's tones, or a part of them: not enough for a digit.
    Suspicious,
    Hit(Hit),
}

#[derive(Clone, Copy, Debug)]
struct Hit {
    digit: Digit,
    /// How far off the tones are, as a share.
    off: [f64; 2],
    purity: f64,
}

/// Mean square of a signal that is too soft to hold two tones worth hearing: −46 dBm0 in all.
const SILENCE: f64 = 6500.0;

/// What a fitted pair stands for.
fn judge(row: usize, column: usize, pair: &Pair) -> Look {
    let off = [pair.low / radians(LOW_HZ[row]) - 1.0, pair.high / radians(HIGH_HZ[column]) - 1.0];
    let strong = pair.low_power.max(pair.high_power);
    let weak = pair.low_power.min(pair.high_power);
    if strong > 4.0 * TWIST * weak || off.iter().any(|o| o.abs() > 2.0 * FREQUENCY) {
        return Look::Nothing;
    }
    let certain = pair.purity >= PURITY
        && off.iter().all(|o| o.abs() <= FREQUENCY)
        && strong <= TWIST * weak
        && strong >= power(SOFTEST_STRONG)
        && weak >= power(SOFTEST_WEAK);
    if certain {
        Look::Hit(Hit { digit: key_at(row, column), off, purity: pair.purity })
    } else if pair.purity >= SUSPICIOUS {
        Look::Suspicious
    } else {
        Look::Nothing
    }
}

/// The share that is enough to suspect a key's tones: 8 of the window's 13 ms.
const SUSPICIOUS: f64 = 0.6;

/// Makes digits of what the windows hold.
#[derive(Clone, Debug, Default)]
struct Tracker {
    current: Option<Current>,
    pending: VecDeque<HeardDigit>,
}

/// A digit that sounds, or may.
#[derive(Clone, Copy, Debug)]
struct Current {
    digit: Digit,
    start: u64,
    /// Where its last window so far ends.
    end: u64,
    windows: u32,
    /// Windows since, that were not of it.
    missed: u32,
    off: [f64; 2],
    purity: f64,
    /// It was told already, for lasting too long.
    told: bool,
}

impl Current {
    fn certain(&self) -> bool {
        self.windows >= WINDOWS_TO_BEGIN
    }
}

impl Tracker {
    fn window(&mut self, place: u64, look: Look) {
        let hit = match look {
            Look::Hit(hit) => Some(hit),
            _ => None,
        };
        let end = place + WINDOW as u64;
        if let (Some(current), Some(hit)) = (&mut self.current, hit) {
            // Once it is certain, it may move: codecs of speech bend a tone that they cannot hold.
            let stands = current.certain()
                || current.off.iter().zip(&hit.off).all(|(a, b)| (a - b).abs() <= DRIFT);
            if current.digit == hit.digit && stands {
                current.end = end;
                current.windows += 1;
                current.missed = 0;
                current.purity += hit.purity;
                current.off = hit.off;
                if end - current.start >= LONGEST && !current.told {
                    current.told = true;
                    let current = *current;
                    self.tell(&current);
                }
                return;
            }
        }
        match (&mut self.current, hit) {
            (Some(current), None) if current.certain() => {
                current.missed += 1;
                if current.missed >= WINDOWS_TO_END {
                    self.finish();
                }
            }
            (_, hit) => {
                // Another key's tones, or none: whatever was before is over.
                self.finish();
                self.current = hit.map(|hit| Current {
                    digit: hit.digit,
                    start: place,
                    end,
                    windows: 1,
                    missed: 0,
                    off: hit.off,
                    purity: hit.purity,
                    told: false,
                });
            }
        }
    }

    fn finish(&mut self) {
        if let Some(current) = self.current.take().filter(|c| c.certain() && !c.told) {
            self.tell(&current);
        }
    }

    fn tell(&mut self, current: &Current) {
        if self.pending.len() < PENDING {
            self.pending.push_back(HeardDigit {
                digit: current.digit,
                start: span(current.start),
                duration: span(current.end - current.start),
                // A machine's own tone is as pure as can be, and still only heard.
                confidence: (current.purity / f64::from(current.windows)).min(0.99) as f32,
            });
        }
    }
}

/// [`LONGEST_DIGIT`] in samples.
const LONGEST: u64 = LONGEST_DIGIT.as_secs() * InbandDetector::RATE as u64;

/// The squared magnitude of each filter after a window. All eight run side by side, in one vector register or two.
fn goertzel(window: &[f32; WINDOW], coefficients: &[f32; 8]) -> [f32; 8] {
    let (mut one, mut two) = ([0.0_f32; 8], [0.0_f32; 8]);
    for &x in window {
        for k in 0..8 {
            let now = x + coefficients[k] * one[k] - two[k];
            two[k] = one[k];
            one[k] = now;
        }
    }
    core::array::from_fn(|k| one[k] * one[k] + two[k] * two[k] - coefficients[k] * one[k] * two[k])
}

fn strongest(powers: &[f32]) -> (usize, f32) {
    powers.iter().copied().enumerate().fold((0, f32::MIN), |best, next| {
        if next.1 > best.1 {
            next
        } else {
            best
        }
    })
}

fn radians(hz: f64) -> f64 {
    core::f64::consts::TAU * hz / f64::from(InbandDetector::RATE)
}

/// The mean square of a sine of so many dBm0.
fn power(dbm0: f64) -> f64 {
    amplitude(dbm0).powi(2) / 2.0
}

fn span(samples: u64) -> Duration {
    Duration::from_nanos(samples * (1_000_000_000 / u64::from(InbandDetector::RATE)))
}
