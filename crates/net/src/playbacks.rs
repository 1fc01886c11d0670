//! What became of playbacks: how far each has come, and what of it left when. The media thread writes, the program looks.

use roomkit_media::time::{Duration, Time};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Playbacks that can be asked about: those that play or wait, and the last that are over.
const REMEMBERED: usize = 64;

/// How far a playback has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Which.
    pub playback: u64,
    /// How much of it left.
    pub played: Duration,
    /// When its first packet left, and the newest one.
    pub started: Option<Time>,
    /// When its newest packet left: that is when `played` was true.
    pub at: Option<Time>,
    /// Nothing more of it will leave.
    pub over: bool,
    /// It was cut short.
    pub cancelled: bool,
}

/// Audio of a playback that left without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which.
    pub playback: u64,
    /// Samples per channel of it that were before these, as the program pushed them.
    pub from: u64,
    /// How many these are.
    pub samples: u64,
    /// When the first was due on the media clock, since the session opened.
    pub clock: Duration,
    /// And how long they lasted there.
    pub span: Duration,
    /// The place of the first on the timeline of inbound frames; `None` before there was one.
    pub timestamp: Option<Duration>,
    /// Nothing more of the playback will leave.
    pub over: bool,
}

impl Run {
    /// Goes on with what left right behind it; false if there is a gap, or the inbound timeline has moved.
    fn join(&mut self, next: &Run) -> bool {
        let follows = self.from + self.samples == next.from
            && self.clock + self.span == next.clock
            && self.timestamp.map(|place| place + self.span) == next.timestamp;
        let joins = self.playback == next.playback && !self.over && (next.samples == 0 || follows);
        if joins {
            self.samples += next.samples;
            self.span += next.span;
            self.over = next.over;
        }
        joins
    }
}

/// What both ends see.
#[derive(Debug, Default)]
struct Shared {
    shown: Mutex<Shown>,
    /// The program has been told that runs wait, and has not taken them.
    rung: AtomicBool,
}

#[derive(Debug, Default)]
struct Shown {
    positions: VecDeque<Position>,
    runs: VecDeque<Run>,
}

/// The program's end.
#[derive(Debug)]
pub struct Playbacks(Arc<Shared>);

impl Playbacks {
    /// How far it has come; `None` if nothing of it left yet, or it is forgotten.
    pub fn position(&self, playback: u64) -> Option<Position> {
        let shown = self.lock();
        shown.positions.iter().rev().find(|position| position.playback == playback).copied()
    }

    /// What left since this was last asked.
    pub fn take_left(&self) -> VecDeque<Run> {
        self.0.rung.store(false, Ordering::SeqCst);
        std::mem::take(&mut self.lock().runs)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The media thread's end.
#[derive(Debug)]
pub struct PlaybacksEnd {
    shared: Arc<Shared>,
    /// In the order of their numbers.
    positions: VecDeque<Position>,
    /// What is shown of playbacks from this one on is old.
    changed: Option<u64>,
    runs: VecDeque<Run>,
}

/// Opens both ends.
pub fn open() -> (Playbacks, PlaybacksEnd) {
    let shared = Arc::new(Shared::default());
    let positions = VecDeque::new();
    let end =
        PlaybacksEnd { shared: shared.clone(), positions, changed: None, runs: VecDeque::new() };
    (Playbacks(shared), end)
}

impl PlaybacksEnd {
    /// The first packet of a playback leaves.
    pub fn started(&mut self, now: Time, playback: u64) {
        let position = self.change(playback);
        position.started = Some(now);
        position.at = Some(now);
    }

    /// So much of it has left.
    pub fn played(&mut self, now: Time, playback: u64, played: Duration) {
        let known = self.positions.binary_search_by_key(&playback, |position| position.playback);
        if known.is_ok_and(|place| self.positions[place].played < played) {
            let position = self.change(playback);
            position.played = played;
            position.at = Some(now);
        }
    }

    /// It is over.
    pub fn ended(
        &mut self,
        now: Time,
        playback: u64,
        played: Duration,
        cancelled: bool,
    ) -> Position {
        let position = self.change(playback);
        if position.played < played {
            position.played = played;
            position.at = Some(now);
        }
        (position.over, position.cancelled) = (true, cancelled);
        let ended = *position;
        if self.positions.len() > REMEMBERED {
            if let Some(oldest) = self.positions.iter().position(|position| position.over) {
                self.positions.remove(oldest);
                self.changed = Some(0);
            }
        }
        ended
    }

    /// Audio left.
    pub fn left(&mut self, run: Run) {
        if !self.runs.back_mut().is_some_and(|last| last.join(&run)) {
            self.runs.push_back(run);
        }
    }

    /// Nothing more of a playback will leave.
    pub fn left_for_good(&mut self, playback: u64) {
        let (clock, span) = (Duration::ZERO, Duration::ZERO);
        let (from, samples, timestamp) = (0, 0, None);
        self.left(Run { playback, from, samples, clock, span, timestamp, over: true });
    }

    /// Shows the program what there is; true if it is to be told that something left. What cannot be shown now, since it is just
    /// looking, is shown next time.
    pub fn show(&mut self) -> bool {
        if self.changed.is_none() && self.runs.is_empty() {
            return false;
        }
        let mut shown = match self.shared.shown.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if let Some(first) = self.changed.take() {
            while shown.positions.back().is_some_and(|position| position.playback >= first) {
                shown.positions.pop_back();
            }
            let new = self.positions.iter().filter(|position| position.playback >= first);
            shown.positions.extend(new);
        }
        let left = !self.runs.is_empty();
        for run in self.runs.drain(..) {
            if !shown.runs.back_mut().is_some_and(|last| last.join(&run)) {
                shown.runs.push_back(run);
            }
        }
        left && !self.shared.rung.swap(true, Ordering::SeqCst)
    }

    fn change(&mut self, playback: u64) -> &mut Position {
        self.changed = Some(self.changed.map_or(playback, |first| first.min(playback)));
        let find = self.positions.binary_search_by_key(&playback, |position| position.playback);
        let place = find.unwrap_or_else(|place| {
            self.positions.insert(place, Position { playback, ..Position::default() });
            place
        });
        &mut self.positions[place]
    }
}
