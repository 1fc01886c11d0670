//! The decision, every 20 ms at 8 kHz: while something is played nothing passes, until it is known for a caller.

use super::fft::{energy, sum, Fft};
use super::filter::{Filter, HOP};
use super::floor::Floor;
use super::played::Played;
use super::search::{accepted, find, rejected, search, Likeness, LATEST, LONGEST};
use crate::rng::Rng;

/// What is remembered of what was heard: the longest stretch that is searched, and some hops.
const KEPT: usize = 2560;
/// Ways by which it may come back at once: a hybrid, a speakerphone, and one more or a long room.
const FILTERS: usize = 3;
/// How much louder than the background (a power) something is before it is anything: 6 dB.
const AUDIBLE: f32 = 4.0;
/// How much more than what the filters leave over as a rule (a power) is not of the echo: 6 dB.
const BEYOND: f32 = 4.0;
/// The rest of a long room dies away by so much in 20 ms.
const TAIL: f32 = 0.7;
/// Samples of quiet in which a stretch goes on: the gap between two syllables is no new beginning.
const BRIDGED: usize = 480;
/// How long something lasts that no echo can be before it passes: 40 ms.
const SURE: usize = 320;
/// How long something lasts that an echo could be: 100 ms tell voices apart as a rule, and 240 ms always.
const DOUBTED: usize = 800;
/// The gate stays open after the caller for 200 ms.
const LINGERS: usize = 1600;
/// Two delays that one filter covers: 25 ms.
const SAME_WAY: i64 = 200;
/// Samples for which a new way has to have been known before the others are trusted to be known too: 1 s.
const SETTLED: usize = 8000;
/// What is softer is a pause, whatever the background is: −60 dBFS.
const LOWEST_PAUSE: f32 = 1074.0 / AUDIBLE;
/// The loudest background made: −45 dBFS.
const LOUDEST_FILL: f32 = 34_000.0;
/// The faintest: −51 dBFS. Detectors by level do not count what is below that.
const FAINT: f32 = 8500.0;
/// By how much it may rise from hop to hop: 10 dB a second.
const RISE: f32 = 1.047;

/// What is known of the ways.
#[derive(Debug)]
struct Known {
    filters: Vec<Filter>,
    leak: f32,
    bound: f32,
    bounded: bool,
}

#[derive(Debug)]
pub(super) struct Gate {
    pub played: Played,
    fft: Fft,
    filters: Vec<Filter>,
    /// The newest of what was heard, and of what the filters left of it.
    heard: Box<[i16; KEPT]>,
    left: Box<[i16; KEPT]>,
    /// How much of it there is.
    known: usize,
    /// What the filters leave of the echo, as a share of its power.
    leak: f32,
    /// The echo that is expected, with its tail.
    expected: f32,
    /// No echo is louder than this share of what was played (a power), as far as was seen.
    bound: f32,
    /// Samples since a way was found.
    since_found: usize,
    /// Samples of echo that the filters were fitted to or could be by now, and how often that was done.
    fitted: usize,
    refits: usize,
    /// Whether `bound` is of what was heard, not of what could be.
    bounded: bool,
    /// What was known before the newest way was found, which is on probation.
    before: Option<Known>,
    run: Run,
    open: bool,
    /// Samples by which what is heard is late.
    lag: usize,
    /// The power of the background that is made.
    fill: f32,
    rng: Rng,
}

/// A stretch of what is not explained.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    length: usize,
    quiet: usize,
    searched: usize,
    heard: f32,
    left: f32,
    echo: f32,
    /// Of what was heard and the echo as predicted.
    common: f32,
}

impl Gate {
    pub fn new() -> Gate {
        Gate {
            played: Played::new(),
            fft: Fft::new(),
            filters: Vec::new(),
            heard: Box::new([0; KEPT]),
            left: Box::new([0; KEPT]),
            known: 0,
            leak: 1.0,
            expected: 0.0,
            bound: 1.0,
            since_found: 0,
            fitted: 0,
            refits: 0,
            bounded: false,
            before: None,
            run: Run::default(),
            open: false,
            lag: 0,
            fill: 0.0,
            rng: Rng::new(0x6563_686f),
        }
    }

    /// What comes does not continue what came before.
    pub fn begin(&mut self) {
        self.known = 0;
        self.expected = 0.0;
        self.run = Run::default();
        self.open = false;
    }

    /// Takes the samples before `end`, `HOP` at most, and makes of them what is to be heard; false if nothing changed.
    pub fn hop(&mut self, pcm: &mut [i16], end: i64, floor: &mut Floor) -> bool {
        let count = pcm.len();
        let mut heard = [0.0; HOP];
        let heard = &mut heard[..count];
        for (to, from) in heard.iter_mut().zip(pcm.iter()) {
            *to = f32::from(*from);
        }
        let mut echo = [0.0; HOP];
        let echo = &mut echo[..count];
        for filter in &mut self.filters {
            filter.predict(&self.fft, &self.played, end, echo);
        }
        let mut left = [0.0; HOP];
        let left = &mut left[..count];
        for i in 0..count {
            left[i] = heard[i] - echo[i];
        }
        self.remember(heard, left);
        let (in_power, left_power, echo_power) = (power(heard), power(left), power(echo));
        floor.learn(in_power, count);
        let background = floor.background();
        let floor = floor.power();
        self.since_found = self.since_found.saturating_add(count);
        self.expected = echo_power.max(self.expected * TAIL);
        self.observe(end);

        let allowed = floor * AUDIBLE + self.expected * self.leak * BEYOND;
        if left_power.min(in_power) > allowed {
            let n = count as f32;
            self.run.length += count + if self.run.length > 0 { self.run.quiet } else { 0 };
            self.run.quiet = 0;
            self.run.heard += in_power * n;
            self.run.left += left_power * n;
            self.run.echo += echo_power * n;
            self.run.common += sum(heard, echo, |a, b| a * b);
            if !self.open {
                self.judge(end);
            } else if self.run.length >= LONGEST.max(2 * self.run.searched) {
                self.doubt(end);
            }
        } else {
            self.run.quiet += count;
            if !self.open && self.run.length == 0 && !self.filters.is_empty() && echo_power > floor
            {
                self.refit(count, end);
            }
            if !self.open {
                self.learn(left, left_power, echo_power, floor);
            }
            if self.run.quiet > BRIDGED {
                self.run = Run { quiet: self.run.quiet, ..Run::default() };
            }
        }
        if self.open && self.run.quiet > LINGERS {
            self.open = false;
            self.run = Run::default();
        }
        self.make(pcm, in_power, left_power, background)
    }

    /// What the detector hears.
    fn make(&mut self, pcm: &mut [i16], heard: f32, residue: f32, background: f32) -> bool {
        if self.open {
            // A detector that does not hear how a sound begins takes it for something else: what was held back is heard
            // first, and what is late is made up for in the first pause.
            let from = if residue > heard { &self.heard } else { &self.left };
            let count = pcm.len();
            let mut late = &from[KEPT - count - self.lag..][..count];
            if self.lag > 0 && power_of(late) < background.max(LOWEST_PAUSE) * AUDIBLE {
                self.lag = self.lag.saturating_sub(count);
                late = &from[KEPT - count - self.lag..][..count];
            }
            if self.lag == 0 && self.filters.is_empty() {
                return false;
            }
            pcm.copy_from_slice(late);
            return true;
        }
        self.lag = 0;
        // White noise as loud as the background, so that a detector's own idea of the background stays; silence where
        // that is faint. It rises slowly: detectors take a step for something.
        self.fill = background.min(LOUDEST_FILL).min(self.fill.max(FAINT) * RISE);
        if self.fill < FAINT {
            pcm.fill(0);
            return true;
        }
        let amplitude = (3.0 * self.fill).sqrt();
        for to in pcm.iter_mut() {
            *to = ((self.rng.unit() as f32 * 2.0 - 1.0) * amplitude) as i16;
        }
        true
    }

    /// Something is heard that is not explained: is it a caller, or an echo not known yet?
    fn judge(&mut self, end: i64) {
        if self.run.length < SURE {
            return;
        }
        let n = self.run.length as f32;
        let too_loud = self.run.left.min(self.run.heard) / n > 4.0 * self.bound * self.loudest(end);
        let sure = too_loud || self.there();
        if self.shift(end) {
            return;
        }
        let likeness = self.search(end);
        let mut alike = likeness.map_or(0.0, |l| l.correlation);
        // Where the ways are known, or an echo as loud would have been heard, another one is less likely than a caller.
        let doubts = if too_loud {
            0.15
        } else if self.settled() {
            0.05
        } else {
            0.0
        };
        if let Some(likeness) = likeness {
            if alike > accepted(self.run.length) + doubts {
                let ratio = self.find(likeness, self.run.length, end);
                if ratio <= explained(self.run.length) {
                    return;
                }
                if ratio > 0.5 {
                    alike = 0.0;
                }
            }
        }
        let enough = if sure { SURE } else { DOUBTED };
        let told = self.run.length >= enough && alike < rejected(self.run.length) + doubts;
        if (told || self.run.length >= LONGEST) && !self.explain(end) {
            self.open();
            self.run.searched = self.run.length;
        }
    }

    fn open(&mut self) {
        self.open = true;
        self.lag = self.run.length.min(LONGEST);
    }

    /// The gate is open: is it an echo after all?
    fn doubt(&mut self, end: i64) {
        self.run.searched = self.run.length;
        let likeness = self.search(end).filter(|l| l.correlation > 0.4);
        if likeness.is_some_and(|likeness| self.find(likeness, self.run.length, end) <= 0.3)
            || self.explain(end)
        {
            self.open = false;
        }
    }

    /// Whether the echo is there as predicted, beside something else: that does not come of a delay that moved.
    fn there(&self) -> bool {
        self.settled()
            && self.run.length >= 480
            && self.run.echo > 0.1 * self.run.left
            && (self.run.common / self.run.echo - 1.0).abs() < 0.15
    }

    /// Whether the known ways explain it after all: a filter learns of what it hears, and a new sound is news to it.
    fn explain(&mut self, end: i64) -> bool {
        if self.filters.is_empty() {
            return false;
        }
        let before = self.filters.clone();
        let count = self.known;
        let run = self.run.length.min(count);
        let mut all = 1.0;
        for _ in 0..self.filters.len() {
            let mut filter = self.filters.remove(0);
            let stretch = self.rest(count, end);
            all = filter.fit(&self.fft, &self.played, &stretch, end);
            self.filters.push(filter);
        }
        let rest = self.rest(run, end);
        let heard = energy_of(&self.heard[KEPT - run..]);
        let ratio = energy(&rest) / heard.max(1.0);
        if ratio > 0.08 || all > 0.2 {
            self.filters = before;
            return false;
        }
        self.leak = leak(ratio, count).max(self.leak);
        self.run = Run::default();
        true
    }

    /// Whether the ways have been known for a while.
    fn settled(&self) -> bool {
        !self.filters.is_empty() && self.since_found > SETTLED
    }

    /// Whether the filters take away more than they add.
    fn helped(&self) -> bool {
        !self.filters.is_empty() && self.run.left < self.run.heard + 0.5 * self.run.echo
    }

    fn search(&self, end: i64) -> Option<Likeness> {
        let count = (self.run.length + HOP).min(LONGEST).min(self.known);
        let from = if self.helped() { &self.left } else { &self.heard };
        let mut stretch = [0.0; LONGEST];
        for (to, from) in stretch.iter_mut().zip(&from[KEPT - count..]) {
            *to = f32::from(*from);
        }
        search(&self.fft, &self.played, &stretch[..count], end)
    }

    /// What was found does not explain what followed: there is another way, or it has moved, or it was the caller, who
    /// sounded like us for a syllable.
    fn reconsider(&mut self, end: i64) {
        let Some(before) = self.before.take() else { return };
        let recent = self.known.min(1280);
        let rest = self.rest(recent, end);
        let heard: Vec<f32> = self.heard[KEPT - recent..].iter().map(|&s| f32::from(s)).collect();
        for stretch in [rest, heard] {
            let likeness = search(&self.fft, &self.played, &stretch, end);
            if let Some(likeness) = likeness.filter(|l| l.correlation > SECOND) {
                if self.find(likeness, recent, end) <= explained(recent) {
                    // Still on probation.
                    self.before = Some(before);
                    return;
                }
            }
        }
        self.filters = before.filters;
        (self.leak, self.bound, self.bounded) = (before.leak, before.bound, before.bounded);
        self.since_found = SETTLED;
        self.refits = REFITS.len();
        self.open();
    }

    /// Whether all of it moved, as when a buffer there or here grows or shrinks.
    fn shift(&mut self, end: i64) -> bool {
        if self.filters.is_empty() {
            return false;
        }
        let run = self.run.length.min(self.known).min(LONGEST);
        let mut echo = vec![0.0; (2 * SHIFT + run).next_multiple_of(HOP)];
        let mut at = end + SHIFT as i64 - echo.len() as i64;
        let begin = at;
        for hop in echo.chunks_mut(HOP) {
            at += hop.len() as i64;
            for filter in &mut self.filters {
                filter.predict(&self.fft, &self.played, at, hop);
            }
        }
        let heard: Vec<f32> = self.heard[KEPT - run..].iter().map(|&s| f32::from(s)).collect();
        let Some((found, _)) = find(&self.fft, &echo, &heard) else { return false };
        let left = sum(&heard, &echo[found..][..heard.len()], |a, b| (a - b) * (a - b));
        let ratio = left / run as f32 / power(&heard).max(1.0);
        let by = end - run as i64 - (begin + found as i64);
        if ratio > SHIFTED || by == 0 {
            return false;
        }
        for filter in &mut self.filters {
            filter.lag += by;
        }
        self.run = Run::default();
        true
    }

    /// Learns a way by which it comes back, if it explains what was heard; returns the share that it does not.
    fn find(&mut self, likeness: Likeness, length: usize, end: i64) -> f32 {
        let count = (length + HOP).min(KEPT).min(self.known);
        let before = Known {
            filters: self.filters.clone(),
            leak: self.leak,
            bound: self.bound,
            bounded: self.bounded,
        };
        self.filters.retain(|filter| (filter.lag - likeness.lag).abs() > SAME_WAY);
        if self.filters.len() == FILTERS {
            self.filters.remove(0);
        }
        let heard: Vec<f32> = self.heard[KEPT - count..].iter().map(|&s| f32::from(s)).collect();
        let mut filter = Filter::new(likeness.lag);
        let mut ratio = filter.fit(&self.fft, &self.played, &heard, end);
        if !self.filters.is_empty() {
            // Beside the others, or in their place?
            let rest = self.rest(count, end);
            let mut beside = Filter::new(likeness.lag);
            let share = beside.fit(&self.fft, &self.played, &rest, end) * power(&rest)
                / power(&heard).max(1.0);
            if share < 1.1 * ratio {
                (filter, ratio) = (beside, share);
            } else {
                self.filters.clear();
            }
        }
        self.filters.push(filter);
        if ratio > explained(length) && ratio < 0.9 && length >= 640 {
            // Two at once?
            let rest = self.rest(count, end);
            let second = search(&self.fft, &self.played, &rest, end);
            if let Some(second) =
                second.filter(|l| l.correlation > SECOND && self.filters.len() < FILTERS)
            {
                let mut filter = Filter::new(second.lag);
                ratio = filter.fit(&self.fft, &self.played, &rest, end) * power(&rest)
                    / power(&heard).max(1.0);
                self.filters.push(filter);
            }
        }
        if ratio > explained(length) {
            self.filters = before.filters;
            return ratio;
        }
        self.before = Some(before);
        self.leak = leak(ratio, count);
        let gain = power(&heard) / self.power_at(likeness.lag, count, end);
        self.bound = if self.bounded { self.bound.max(2.0 * gain) } else { 2.0 * gain };
        self.bounded = true;
        self.since_found = 0;
        self.fitted = count;
        self.refits = 0;
        self.run = Run::default();
        ratio
    }

    /// The mean power of what was played `lag` before the last `count` samples.
    fn power_at(&self, lag: i64, count: usize, end: i64) -> f32 {
        let mut stretch = [0.0; KEPT];
        let stretch = &mut stretch[..count.min(KEPT)];
        self.played.read(end - lag - stretch.len() as i64, stretch);
        power(stretch).max(1.0)
    }

    /// Makes the filters anew of all that was heard since a way was found: of a syllable first, then of more.
    fn refit(&mut self, count: usize, end: i64) {
        self.fitted += count;
        if self.refits == REFITS.len() || self.fitted < REFITS[self.refits] {
            return;
        }
        self.refits += 1;
        let count = self.known.min(self.fitted + 160);
        let mut worst = 0.0f32;
        for n in 0..self.filters.len() {
            let mut filter = self.filters.remove(0);
            let stretch = self.rest(count, end);
            let ratio = filter.fit(&self.fft, &self.played, &stretch, end);
            self.filters.push(filter);
            worst = if n == 0 { ratio } else { worst.min(ratio) };
        }
        self.leak = leak(worst, count);
        if worst > 0.4 {
            self.reconsider(end);
        } else if self.refits == REFITS.len() {
            self.before = None;
        }
    }

    /// What the filters leave of the last of what was heard.
    fn rest(&mut self, count: usize, end: i64) -> Vec<f32> {
        let mut rest: Vec<f32> = self.heard[KEPT - count..].iter().map(|&s| f32::from(s)).collect();
        let mut at = end - count as i64;
        for hop in rest.chunks_mut(HOP) {
            at += hop.len() as i64;
            let mut echo = [0.0; HOP];
            for filter in &mut self.filters {
                filter.predict(&self.fft, &self.played, at, &mut echo[..hop.len()]);
            }
            for (sample, echo) in hop.iter_mut().zip(&echo) {
                *sample -= echo;
            }
        }
        rest
    }

    /// Follows the way it takes, as far as the echo stands out.
    fn learn(&mut self, left: &[f32], left_power: f32, echo_power: f32, floor: f32) {
        if self.filters.is_empty() || echo_power <= 0.0 || left_power < 1.5 * floor {
            return;
        }
        let step = 0.5 * (self.leak * echo_power / left_power.max(1.0)).min(1.0);
        for filter in &mut self.filters {
            filter.adapt(&self.fft, left, step);
        }
        if echo_power > floor {
            let ratio = (left_power - floor).max(0.0) / self.expected;
            let by = if ratio > self.leak { 0.05 } else { 0.02 };
            self.leak = (self.leak + by * (ratio - self.leak)).clamp(0.01, 1.0);
        }
    }

    /// What is heard bounds the echo: no delay can hide one that is louder, if all of the last second was loud.
    fn observe(&mut self, end: i64) {
        const WINDOW: usize = 2400;
        // Every 100 ms is enough.
        if self.known < WINDOW || end.rem_euclid(800) >= HOP as i64 {
            return;
        }
        let heard = energy_of(&self.heard[KEPT - WINDOW..]);
        let mut powers = [0.0; (LATEST as usize + WINDOW) / HOP];
        self.powers(end, &mut powers);
        let bins = WINDOW / HOP;
        let least = powers.windows(bins).map(|w| w.iter().sum::<f32>()).fold(f32::MAX, f32::min);
        let (heard, least) = (heard / WINDOW as f32, least / bins as f32);
        if least > 10_000.0 {
            self.bound = self.bound.min(heard / least);
            self.bounded = true;
        }
    }

    /// The power of the loudest 20 ms of all that an echo could come of.
    fn loudest(&self, end: i64) -> f32 {
        let mut powers = [0.0; (LATEST as usize + LONGEST) / HOP];
        self.powers(end, &mut powers);
        powers.iter().copied().fold(0.0, f32::max)
    }

    /// The powers of the last of what was played, 20 ms each.
    fn powers(&self, end: i64, powers: &mut [f32]) {
        let mut at = end - (powers.len() * HOP) as i64;
        for slot in powers {
            let mut hop = [0.0; HOP];
            self.played.read(at, &mut hop);
            *slot = power(&hop);
            at += HOP as i64;
        }
    }

    fn remember(&mut self, heard: &[f32], left: &[f32]) {
        let count = heard.len();
        for (kept, fresh) in [(&mut self.heard, heard), (&mut self.left, left)] {
            kept.copy_within(count.., 0);
            for (to, from) in kept[KEPT - count..].iter_mut().zip(fresh) {
                *to = *from as i16;
            }
        }
        self.known = (self.known + count).min(KEPT);
    }
}

/// How far the delay may move at once: 100 ms, some frames of a jitter buffer.
const SHIFT: usize = 800;
/// What the known filters leave of it at another delay, at most, if that is what happened.
const SHIFTED: f32 = 0.3;
/// The likeness from which what one way does not explain is taken for another.
const SECOND: f32 = 0.25;
/// Samples of echo after which the filters are made anew.
const REFITS: [usize; 3] = [900, 1600, 2400];

/// What a filter will leave of an echo, which left `ratio` of the `count` samples it was made of: the fewer these are, the
/// more of them it explains by chance.
fn leak(ratio: f32, count: usize) -> f32 {
    (2.0 * ratio + 300.0 / count as f32).clamp(0.05, 1.0)
}

/// What a new way leaves of what it was learnt from, at most.
fn explained(length: usize) -> f32 {
    match length {
        0..800 => 0.3,
        _ => 0.35,
    }
}

fn power_of(samples: &[i16]) -> f32 {
    energy_of(samples) / samples.len().max(1) as f32
}

fn energy_of(samples: &[i16]) -> f32 {
    sum(samples, samples, |x, y| f32::from(x) * f32::from(y))
}

fn power(samples: &[f32]) -> f32 {
    energy(samples) / samples.len().max(1) as f32
}
