//! What was played of late, by its place on the media clock.

/// What is remembered, in samples at 8 kHz: 1.25 s, for the longest delay, the stretch that is looked at, and a filter.
const KEPT: usize = 10_000;
/// Power below which what is played is silence, whose echo nobody hears: −60 dBFS.
const SILENCE: f32 = 1074.0;

/// A ring of samples at 8 kHz.
#[derive(Clone, Debug)]
pub(super) struct Played {
    samples: Box<[i16]>,
    /// The place after the newest sample.
    end: i64,
    /// The place after the last audible one.
    audible: i64,
}

impl Played {
    pub fn new() -> Played {
        Played { samples: vec![0; KEPT].into(), end: i64::MIN / 2, audible: i64::MIN / 2 }
    }

    /// Whether nothing that is audible was played at `since` or later.
    pub fn silent_since(&self, since: i64) -> bool {
        self.audible <= since
    }

    /// Puts audio where it belongs. What lies between it and what came before is silence; what was there is replaced.
    pub fn write(&mut self, at: i64, pcm: &[i16]) {
        let pcm = &pcm[pcm.len().saturating_sub(KEPT)..];
        let end = at + pcm.len() as i64;
        if !(self.end - KEPT as i64..=self.end + KEPT as i64).contains(&at) {
            // Another stretch of time altogether.
            self.samples.fill(0);
            (self.end, self.audible) = (at, i64::MIN / 2);
        }
        while self.end < at {
            self.put(self.end, 0);
            self.end += 1;
        }
        for (place, sample) in (at..).zip(pcm) {
            self.put(place, *sample);
        }
        self.end = self.end.max(end);
        if power(pcm) > SILENCE {
            self.audible = self.audible.max(end);
        }
    }

    /// Fills `out` with what was played from `at` on; false if all of it is silence.
    pub fn read(&self, at: i64, out: &mut [f32]) -> bool {
        out.fill(0.0);
        let from = at.max(self.end - KEPT as i64);
        let to = (at + out.len() as i64).min(self.end);
        if from >= to {
            return false;
        }
        let slots = &mut out[(from - at) as usize..(to - at) as usize];
        let slot = from.rem_euclid(KEPT as i64) as usize;
        // The ring's end may lie in it. Each part is in one piece, so that the compiler makes vectors of it.
        let (first, second) = slots.split_at_mut(slots.len().min(KEPT - slot));
        let any = copy(&self.samples[slot..], first) | copy(&self.samples, second);
        any != 0
    }

    fn put(&mut self, place: i64, sample: i16) {
        self.samples[place.rem_euclid(KEPT as i64) as usize] = sample;
    }
}

fn copy(samples: &[i16], out: &mut [f32]) -> i16 {
    let mut any = 0;
    for (value, sample) in out.iter_mut().zip(samples) {
        any |= sample;
        *value = f32::from(*sample);
    }
    any
}

fn power(pcm: &[i16]) -> f32 {
    let sum: f32 = pcm.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
    sum / pcm.len().max(1) as f32
}
