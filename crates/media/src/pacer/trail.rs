//! Which of the program's samples the frames hold that leave: they have been resampled on the way, and pieces of a playback may
//! have several rates.

use std::collections::VecDeque;

use super::span;
use crate::time::Duration;

/// What has been made of the playback that plays, from the first sample that has not left on.
#[derive(Debug, Default)]
pub(super) struct Trail {
    stretches: VecDeque<Stretch>,
    /// Samples before these stretches, and how long they play.
    samples: u64,
    span: Duration,
    /// What of that passed without leaving.
    passed: Duration,
    /// Names of marks behind the end.
    tail: VecDeque<u64>,
    /// How many marks are in here.
    marks: usize,
}

/// Audio of one rate that went through one filter, or through none.
#[derive(Debug)]
struct Stretch {
    /// In Hz, of the program's samples.
    rate: u32,
    /// The program's samples, and those of the codec that were made of them.
    fed: u64,
    made: u64,
    /// How many of the codec's are over.
    left: u64,
    /// Nothing more is made of it.
    whole: bool,
    /// Places among the program's samples, and names.
    marks: VecDeque<(u64, u64)>,
}

impl Stretch {
    /// Which of the program's samples is the next to leave, at the codec's rate `to`.
    fn place(&self, left: u64, to: u32) -> u64 {
        if left == 0 {
            return 0; // also where so little was fed that nothing was made of it
        }
        if self.whole && left >= self.made {
            return self.fed;
        }
        self.fed.min(left * u64::from(self.rate) / u64::from(to))
    }

    fn is_over(&self) -> bool {
        self.whole && self.left >= self.made
    }
}

impl Trail {
    /// `made` samples of the codec were made of `fed` of the program's at `rate`, with marks among them.
    pub(super) fn fed(
        &mut self,
        rate: u32,
        fed: u64,
        made: u64,
        marks: impl Iterator<Item = (u64, u64)>,
    ) {
        if self.stretches.back().is_none_or(|last| last.whole || last.rate != rate) {
            self.finish(0);
            let marks = VecDeque::new();
            self.stretches.push_back(Stretch {
                rate,
                fed: 0,
                made: 0,
                left: 0,
                whole: false,
                marks,
            });
        }
        let Some(last) = self.stretches.back_mut() else { return };
        for (place, id) in marks {
            last.marks.push_back((last.fed + place, id));
            self.marks += 1;
        }
        last.fed += fed;
        last.made += made;
    }

    /// The filter gave its last `made` samples: what comes next is another stretch.
    pub(super) fn finish(&mut self, made: u64) {
        if let Some(last) = self.stretches.back_mut().filter(|last| !last.whole) {
            last.made += made;
            last.whole = true;
        }
    }

    /// A mark behind all audio.
    pub(super) fn mark_the_end(&mut self, id: u64) {
        self.tail.push_back(id);
        self.marks += 1;
    }

    /// How many marks are still to be told.
    pub(super) fn marks(&self) -> usize {
        self.marks
    }

    /// The next of the program's samples, counted from the first of the playback, at the codec's rate `to`.
    pub(super) fn sample(&self, to: u32) -> u64 {
        self.samples + self.stretches.front().map_or(0, |first| first.place(first.left, to))
    }

    /// How much of the audio has left.
    pub(super) fn played(&self, to: u32) -> Duration {
        self.reached(to).saturating_sub(self.passed)
    }

    /// How far it has come, whether that left or passed.
    fn reached(&self, to: u32) -> Duration {
        let begun = self.stretches.front();
        self.span + begun.map_or(Duration::ZERO, |s| span(s.place(s.left, to), s.rate))
    }

    /// So many of the codec's samples leave. `tell` hears of each mark that leaves with them: its name, and its place.
    pub(super) fn leave(&mut self, count: u64, to: u32, mut tell: impl FnMut(u64, Duration)) {
        let mut rest = count;
        while let Some(first) = self.stretches.front_mut() {
            let step = rest.min(first.made - first.left);
            first.left += step;
            rest -= step;
            // The newest that left, rounded down: the first sample at or behind a mark is then at least as new.
            let newest = first.left.checked_sub(1).map(|left| first.place(left, to));
            let over = first.is_over();
            while let Some(&(place, id)) = first.marks.front() {
                if !over && newest.is_none_or(|newest| newest < place) {
                    break;
                }
                first.marks.pop_front();
                self.marks -= 1;
                tell(id, self.span + span(place, first.rate));
            }
            if !over {
                return;
            }
            self.samples += first.fed;
            self.span += span(first.fed, first.rate);
            self.stretches.pop_front();
        }
    }

    /// So many of the codec's samples are over without having left, and the marks among them are not told.
    pub(super) fn pass(&mut self, count: u64, to: u32) {
        let before = self.reached(to);
        self.leave(count, to, |_, _| {});
        self.passed += self.reached(to) - before;
    }

    /// All has left: tells the marks behind the end, and those in what was too short to become a sample.
    pub(super) fn end(&mut self, to: u32, mut tell: impl FnMut(u64, Duration)) {
        self.leave(0, to, &mut tell);
        let end = self.reached(to);
        while let Some(id) = self.tail.pop_front() {
            self.marks -= 1;
            tell(id, end);
        }
    }

    /// What was made and has not left was converted once more, from the codec's rate `from` to `to`, and is `made` samples now.
    pub(super) fn convert(&mut self, from: u32, to: u32, made: u64) {
        self.finish(0);
        let (mut before, mut after) = (0, 0);
        let count = self.stretches.len();
        for (n, stretch) in self.stretches.iter_mut().enumerate() {
            let gone = stretch.place(stretch.left, from);
            before += stretch.made - stretch.left;
            let end = before * u64::from(to) / u64::from(from);
            let end = if n + 1 == count { made } else { end.min(made) };
            self.samples += gone;
            self.span += span(gone, stretch.rate);
            stretch.fed -= gone;
            stretch.made = end - after;
            stretch.left = 0;
            for (place, _) in &mut stretch.marks {
                *place = place.saturating_sub(gone);
            }
            after = end;
        }
    }
}
