//! Our own voice that comes back from the far end (a hybrid, a speakerphone), told from a caller who speaks.
//!
//! For the ear of a detector of voice activity alone: what it is to hear is either the caller, or the line's background.
//! Nothing here is for listening.

mod fft;
mod filter;
mod floor;
mod gate;
mod played;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::mix;
use crate::resample::{BadConversion, Bank, Resampler};
use floor::Floor;
use gate::Gate;

/// Samples per ms at the rate that is worked at.
const PER_MS: i64 = 8;
/// The rate that is worked at, in Hz.
const RATE: u32 = 8000;
/// How long after the last sound of ours its echo may still be heard: 1 s.
const LINGERS: i64 = 1000 * PER_MS;
/// A frame within 5 ms of where the one before ended continues it: clocks are rounded, and a filter needs every sample in
/// its place.
const SAME_PLACE: i64 = 5 * PER_MS;
/// What a buffer for a frame keeps, in samples: 60 ms at 48 kHz.
const LONG_FRAME: usize = 2880;
/// Places on the clock are counted within ± 36 years: enough, and their sums cannot overflow.
const FARTHEST_MS: f64 = 1.2e12;

/// Tells a caller's speech from the echo of what was played, frame by frame.
#[derive(Debug)]
pub struct EchoGuard {
    down: Option<Arc<Bank>>,
    up: Option<Arc<Bank>>,
    played_bank: Option<Arc<Bank>>,
    floor: Floor,
    /// Made when something audible is played.
    ear: Option<Box<Ear>>,
}

#[derive(Debug)]
struct Ear {
    gate: Gate,
    heard: Stream,
    played: Stream,
    up: Option<Resampler>,
    back: Vec<i16>,
}

/// One direction, brought to mono at 8 kHz.
#[derive(Debug)]
struct Stream {
    resampler: Option<Resampler>,
    mono: Vec<i16>,
    pcm: Vec<i16>,
    /// Where the next sample belongs.
    next: Option<i64>,
}

impl EchoGuard {
    /// For frames heard at `heard_hz` and frames played at `played_hz`, 8000 to 192 000 each.
    pub fn new(heard_hz: u32, played_hz: u32) -> Result<EchoGuard, BadConversion> {
        let bank = |from, to| {
            let bank = Bank::new(from, to)?;
            Ok((from != to).then(|| Arc::new(bank)))
        };
        Ok(EchoGuard {
            down: bank(heard_hz, RATE)?,
            up: bank(RATE, heard_hz)?,
            played_bank: bank(played_hz, RATE)?,
            floor: Floor::new(),
            ear: None,
        })
    }

    /// Takes a frame that was played: interleaved over `channels`, its first sample due at `clock_ms`.
    pub fn played(&mut self, clock_ms: f64, channels: u8, pcm: &[i16]) {
        let Some(at) = place(clock_ms) else { return };
        if self.ear.is_none() {
            if pcm.iter().all(|&s| s == 0) {
                return;
            }
            self.ear = Some(Box::new(Ear::new(self)));
        }
        if let Some(ear) = &mut self.ear {
            ear.played.take(pcm, channels);
            let at = ear.played.place(at);
            ear.gate.played.write(at, &ear.played.pcm);
        }
    }

    /// Takes the next frame that is heard and makes of it what a detector is to hear; false if it was left as it is.
    pub fn heard(&mut self, clock_ms: f64, channels: u8, pcm: &mut [i16]) -> bool {
        let Some(at) = place(clock_ms) else { return false };
        let width = usize::from(channels);
        if width == 0 || pcm.len() < width {
            return false;
        }
        match &mut self.ear {
            Some(ear) if !ear.gate.played.silent_since(at - LINGERS) => {
                ear.hear(at, channels, pcm, &mut self.floor)
            }
            ear => {
                if let Some(ear) = ear {
                    ear.heard.next = None;
                }
                let sum: f32 = pcm.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
                let samples = pcm.len() / width * RATE as usize;
                let rate = self.down.as_ref().map_or(RATE, |bank| bank.rates().0);
                self.floor.learn(sum / pcm.len() as f32, samples / rate as usize);
                false
            }
        }
    }
}

impl Ear {
    fn new(guard: &EchoGuard) -> Ear {
        let resampler = |bank: &Option<Arc<Bank>>| {
            bank.as_ref().and_then(|bank| Resampler::with_bank(Arc::clone(bank), 1).ok())
        };
        Ear {
            gate: Gate::new(),
            heard: Stream::new(resampler(&guard.down)),
            played: Stream::new(resampler(&guard.played_bank)),
            up: resampler(&guard.up),
            back: Vec::new(),
        }
    }

    fn hear(&mut self, at: i64, channels: u8, pcm: &mut [i16], floor: &mut Floor) -> bool {
        self.heard.take(pcm, channels);
        let before = self.heard.next;
        let mut end = self.heard.place(at);
        if before != Some(end) {
            self.gate.begin();
        }
        let mut changed = false;
        for hop in self.heard.pcm.chunks_mut(filter::HOP) {
            end += hop.len() as i64;
            changed |= self.gate.hop(hop, end, floor);
        }
        if !changed {
            return false;
        }
        let made = match &mut self.up {
            Some(up) => {
                self.back.clear();
                up.process(&self.heard.pcm, &mut self.back);
                &self.back
            }
            None => &self.heard.pcm,
        };
        let mut made = made.iter().copied();
        let mut last = 0;
        for frame in pcm.chunks_mut(usize::from(channels)) {
            last = made.next().unwrap_or(last);
            frame.fill(last);
        }
        true
    }
}

impl Stream {
    fn new(resampler: Option<Resampler>) -> Stream {
        Stream { resampler, mono: Vec::new(), pcm: Vec::new(), next: None }
    }

    fn take(&mut self, pcm: &[i16], channels: u8) {
        for buffer in [&mut self.pcm, &mut self.mono] {
            buffer.clear();
            // A frame is 20 ms as a rule; a minute in one piece is no reason to hold a minute.
            buffer.shrink_to(LONG_FRAME);
        }
        match &mut self.resampler {
            None => mix::to_channels(pcm, channels, 1, &mut self.pcm),
            Some(resampler) => {
                mix::to_channels(pcm, channels, 1, &mut self.mono);
                resampler.process(&self.mono, &mut self.pcm);
            }
        }
    }

    /// Where the audio taken begins, which says `at` of itself.
    fn place(&mut self, at: i64) -> i64 {
        let at = match self.next {
            Some(next) if (next - at).abs() <= SAME_PLACE => next,
            _ => at,
        };
        self.next = Some(at + self.pcm.len() as i64);
        at
    }
}

fn place(clock_ms: f64) -> Option<i64> {
    (clock_ms.abs() <= FARTHEST_MS).then(|| (clock_ms * PER_MS as f64).round() as i64)
}
