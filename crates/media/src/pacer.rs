//! From audio to frames: the outbound timeline.
//!
//! The program's audio waits here as PCM and is cut, mixed and resampled one frame at a time, when that frame is due. So
//! an interruption drops all of it within one frame, costs the same whatever is queued, and the position that was sent
//! is known to the sample.

mod live;
mod piece;
mod trail;

use std::collections::VecDeque;

use crate::filters::Filters;
use crate::mix;
use crate::playout::samples;
use crate::resample::Resampler;
use crate::time::Duration;
use live::LiveDepth;
use trail::Trail;

pub use piece::{BadChunk, Chunk, Left, Mark, Progress};

/// What the resampler converts from, in Hz.
const RATES: core::ops::RangeInclusive<u32> = 8000..=192_000;

/// Surround formats have up to eight channels.
const MAX_CHANNELS: u8 = 8;

/// See the [module](self).
#[derive(Debug)]
pub struct Pacer {
    /// The codec's rate and channels: what frames are made in.
    sample_rate: u32,
    channels: u8,
    /// Samples per channel of a frame.
    frame: usize,
    queue: VecDeque<Chunk>,
    /// How long the chunks of `queue` play, kept up to date: it is asked for at every frame, and a program that
    /// forwards frames queues a chunk for each.
    queued: Duration,
    /// Samples of the front chunk that have been taken, over all its channels.
    taken: usize,
    /// Audio of `current` that is ready, at the codec's rate.
    ready: Vec<i16>,
    resampler: Option<Resampling>,
    /// Filters from the rates that are played to that of the codec.
    pub filters: Filters,
    current: Option<Current>,
    /// Where in the audio of `current` the samples of `ready` are.
    trail: Trail,
    /// Those that are held back.
    paused: Vec<u64>,
    /// Those that were cancelled alone, before the ones ahead of them were over.
    dropped: Vec<u64>,
    /// Marks of chunks that wait.
    marks_queued: usize,
    /// Whether anybody wants to know what leaves, and what left with the newest frame.
    pub tells_left: bool,
    left: Vec<Left>,
    /// Playbacks up to this one are over: what is still pushed of them is dropped.
    over: u64,
    /// Set when a frame was held back because only a part of it was there.
    held: bool,
    scratch: Vec<i16>,
    mixed: Vec<i16>,
    progress: VecDeque<Progress>,
    live: LiveDepth,
}

/// The playback that plays.
#[derive(Clone, Copy, Debug)]
struct Current {
    playback: u64,
    /// A frame of it has left.
    started: bool,
    /// Its last chunk has been taken into `ready`.
    complete: bool,
    live: bool,
}

#[derive(Debug)]
struct Resampling {
    from: u32,
    filter: Resampler,
    /// Samples still to be left out at the start: the filter's delay, so that a playback keeps its length.
    lead: usize,
}

impl Pacer {
    /// An empty queue that makes frames of `ptime` at the codec's `sample_rate` and `channels`.
    pub fn new(ptime: Duration, sample_rate: u32, channels: u8) -> Pacer {
        Pacer {
            sample_rate,
            channels,
            frame: samples(ptime, sample_rate),
            queue: VecDeque::new(),
            queued: Duration::ZERO,
            taken: 0,
            ready: Vec::new(),
            resampler: None,
            filters: Filters::default(),
            current: None,
            trail: Trail::default(),
            paused: Vec::new(),
            dropped: Vec::new(),
            marks_queued: 0,
            tells_left: false,
            left: Vec::new(),
            over: 0,
            held: false,
            scratch: Vec::new(),
            mixed: Vec::new(),
            progress: VecDeque::new(),
            live: LiveDepth::new(),
        }
    }

    /// Makes frames of another length or format from the next one on. What is queued stays: it is PCM.
    pub fn set_format(&mut self, ptime: Duration, sample_rate: u32, channels: u8) {
        self.frame = samples(ptime, sample_rate);
        if (sample_rate, channels) == (self.sample_rate, self.channels) {
            return;
        }
        // Less than a frame has been converted for the old codec already; it is converted once more, alone.
        self.drain_resampler();
        let old = std::mem::take(&mut self.ready);
        let mut mixed = Vec::new();
        mix::to_channels(&old, self.channels, channels, &mut mixed);
        if mixed.is_empty() || sample_rate == self.sample_rate {
            self.ready = mixed;
        } else {
            let bank = self.filters.have(self.sample_rate, sample_rate);
            let mut filter = Resampler::with_bank(bank, channels).expect("a codec has channels");
            let lead = samples(filter.delay(), sample_rate) * usize::from(channels);
            filter.process(&mixed, &mut self.ready);
            filter.drain(&mut self.ready);
            self.ready.drain(..lead.min(self.ready.len()));
        }
        if sample_rate != self.sample_rate {
            let made = (self.ready.len() / usize::from(channels)) as u64;
            self.trail.convert(self.sample_rate, sample_rate, made);
        }
        (self.sample_rate, self.channels) = (sample_rate, channels);
    }

    /// Queues a piece of audio. One of a playback that has ended or was cancelled is dropped.
    pub fn push(&mut self, chunk: Chunk) -> Result<(), BadChunk> {
        if !RATES.contains(&chunk.sample_rate) {
            return Err(BadChunk::Rate(chunk.sample_rate));
        }
        if !(1..=MAX_CHANNELS).contains(&chunk.channels) {
            return Err(BadChunk::Channels(chunk.channels));
        }
        if chunk.pcm.len() % usize::from(chunk.channels) != 0 {
            return Err(BadChunk::Length { samples: chunk.pcm.len(), channels: chunk.channels });
        }
        let samples = (chunk.pcm.len() / usize::from(chunk.channels)) as u64;
        let mut before = 0;
        for mark in &chunk.marks {
            if mark.at < before || (mark.at >= samples && !chunk.last) {
                return Err(BadChunk::Mark(mark.at));
            }
            before = mark.at;
        }
        if chunk.playback > self.over && !self.dropped.contains(&chunk.playback) {
            self.queued += chunk_span(&chunk);
            self.marks_queued += chunk.marks.len();
            self.queue.push_back(chunk);
        }
        Ok(())
    }

    /// Drops all audio of the playbacks up to and including `upto`. The next frame is silence or a later playback.
    pub fn cancel(&mut self, upto: u64) {
        if let Some(current) = self.current.filter(|c| c.playback <= upto) {
            self.ready.clear();
            self.held = false;
            self.end(current, true);
        }
        let mut seen = 0;
        while let Some(chunk) = self.queue.front().filter(|c| c.playback <= upto) {
            let playback = chunk.playback;
            self.drop_front();
            let told = self.dropped.contains(&playback)
                || self.progress.iter().any(
                    |p| matches!(p, Progress::Ended { playback: ended, .. } if *ended == playback),
                );
            if playback != seen && !told {
                self.tell_unheard(playback);
            }
            seen = playback;
        }
        self.over = self.over.max(upto);
        self.forget();
    }

    /// Drops the audio of one playback, wherever it stands: those before it and behind it play as if it had never been there.
    pub fn cancel_one(&mut self, playback: u64) {
        if playback <= self.over || self.dropped.contains(&playback) {
            return;
        }
        if self.current.is_some_and(|current| current.playback == playback) {
            // Those before it are over.
            self.cancel(playback);
            return;
        }
        let mut known = false;
        let mut freed = Duration::ZERO;
        for chunk in self.queue.iter_mut().filter(|chunk| chunk.playback == playback) {
            freed += chunk_span(chunk);
            self.marks_queued -= chunk.marks.len();
            (chunk.pcm, chunk.marks) = (Vec::new(), Vec::new());
            known = true;
        }
        self.queued = self.queued.saturating_sub(freed);
        if known {
            // Its empty pieces keep its place in the order, and are taken away when it has come.
            self.dropped.push(playback);
            self.resume(playback);
            self.tell_unheard(playback);
        }
    }

    /// Holds a playback back: from the next frame on nothing of it leaves, and what comes behind it waits.
    pub fn pause(&mut self, playback: u64) {
        let over = playback <= self.over || self.dropped.contains(&playback);
        if !over && !self.paused.contains(&playback) {
            self.paused.push(playback);
        }
    }

    /// Goes on with a playback that was held back, with the sample after the last that left.
    pub fn resume(&mut self, playback: u64) {
        self.paused.retain(|&paused| paused != playback);
    }

    /// Whether the playback that plays, or would begin now, is held back.
    fn is_held(&self) -> bool {
        if self.paused.is_empty() {
            return false;
        }
        let next = self.queue.front().map(|chunk| chunk.playback);
        let next = self.current.map(|current| current.playback).or(next);
        next.is_some_and(|playback| self.paused.contains(&playback))
    }

    fn tell_unheard(&mut self, playback: u64) {
        let played = Duration::ZERO;
        self.progress.push_back(Progress::Ended { playback, played, cancelled: true });
    }

    /// Takes away what nobody will ask for any more.
    fn forget(&mut self) {
        let over = self.over;
        self.paused.retain(|&playback| playback > over);
        self.dropped.retain(|&playback| playback > over);
    }

    /// Writes the frame that is due now into `out`, at the codec's rate and channels; false if there is nothing to send.
    ///
    /// The end of a playback is filled up with silence to a whole frame. When a playback stops short of a frame without
    /// being over, the rest is held back for one frame's time: a program that forwards pieces of another length than
    /// the frame's thereby gains the lead it needs, and hears no gap afterwards.
    pub fn frame(&mut self, out: &mut Vec<i16>) -> bool {
        self.left.clear();
        let whole = self.frame * usize::from(self.channels);
        let (mut current, available) = loop {
            if self.is_held() {
                return false;
            }
            self.gather(whole);
            let Some(current) = self.current else { return false };
            let available = self.ready.len().min(whole);
            if available > 0 || !current.complete {
                break (current, available);
            }
            // Nothing was left of it but its end.
            self.end(current, false);
        };
        let partial = available < whole && !current.complete;
        if available == 0 || (partial && !self.held) {
            self.held = partial && available > 0;
            return false;
        }
        self.held = false;
        out.clear();
        out.extend(self.ready.drain(..available));
        out.resize(whole, 0);
        if !current.started {
            current.started = true;
            self.progress.push_back(Progress::Started { playback: current.playback });
        }
        self.current = Some(current);
        let count = (available / usize::from(self.channels)) as u64;
        let gives_back = current.live
            && self.live.gives_back(self.queued(), self.span(self.frame as u64))
            && self.gather_next(whole);
        if gives_back {
            mix::cross_fade(out, &self.ready[..whole], self.channels);
            self.ready.drain(..whole);
            self.leave_faded(current.playback);
        } else {
            self.leave(current.playback, count, true, Duration::ZERO);
        }
        // The end of what was gathered may have come to light.
        let current = self.current.unwrap_or(current);
        if current.complete && self.ready.is_empty() {
            self.end(current, false);
        }
        true
    }

    /// Whether a whole frame is ready behind the one that leaves.
    fn gather_next(&mut self, whole: usize) -> bool {
        self.gather(whole);
        self.ready.len() >= whole
    }

    /// So many of the codec's samples leave, `into` the frame; `heard` is false for those that were faded away.
    fn leave(&mut self, playback: u64, count: u64, heard: bool, into: Duration) {
        let (to, progress) = (self.sample_rate, &mut self.progress);
        let from = self.trail.sample(to);
        self.trail.leave(count, to, |id, position| {
            progress.push_back(Progress::Mark { playback, id, position });
        });
        let samples = self.trail.sample(to) - from;
        if self.tells_left && heard && samples > 0 {
            let span = self.span(count);
            self.left.push(Left { playback, from, samples, into, span });
        }
    }

    /// Two frames leave in the time of one, which fades from the first into the second: what is heard is the first half of the one
    /// and the second half of the other.
    fn leave_faded(&mut self, playback: u64) {
        let half = self.frame as u64 / 2;
        let rest = self.frame as u64 - half;
        self.leave(playback, half, true, Duration::ZERO);
        self.leave(playback, rest + half, false, Duration::ZERO);
        self.leave(playback, rest, true, self.span(half));
    }

    /// What left with the newest frame, in the order of time, where `tells_left` asks for it.
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// Lets a frame's time of live audio pass unsent: later it would be late. What has a beginning and an end waits.
    pub fn pass_live(&mut self) {
        let next = self.queue.front().is_some_and(|chunk| chunk.live);
        if !self.current.map_or(next, |current| current.live) || self.is_held() {
            return;
        }
        let whole = self.frame_len();
        self.gather(whole);
        let passes = whole.min(self.ready.len());
        self.ready.drain(..passes);
        self.trail.pass((passes / usize::from(self.channels)) as u64, self.sample_rate);
        if let Some(current) = self.current.filter(|c| c.complete && self.ready.is_empty()) {
            self.end(current, false);
        }
    }

    /// Samples of a frame, over all channels.
    pub fn frame_len(&self) -> usize {
        self.frame * usize::from(self.channels)
    }

    /// What happened to playbacks since this was last asked.
    pub fn poll(&mut self) -> Option<Progress> {
        self.progress.pop_front()
    }

    /// The playback that plays and how much of it has left.
    pub fn position(&self) -> Option<(u64, Duration)> {
        self.current.map(|c| (c.playback, self.trail.played(self.sample_rate)))
    }

    /// Marks that wait to be told.
    pub fn marks(&self) -> usize {
        self.marks_queued + self.trail.marks()
    }

    /// Playbacks up to this one are over.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// How long the queued audio plays.
    pub fn queued(&self) -> Duration {
        let ready = (self.ready.len() / usize::from(self.channels)) as u64;
        let taken = self.queue.front().map_or(Duration::ZERO, |front| {
            span((self.taken / usize::from(front.channels)) as u64, front.sample_rate)
        });
        (self.span(ready) + self.queued).saturating_sub(taken)
    }

    /// True if nothing is queued or under way.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// Takes from the queue until `whole` samples are ready, the playback is complete or the queue is empty.
    fn gather(&mut self, whole: usize) {
        while self.ready.len() < whole {
            let Some(chunk) = self.queue.front() else { return };
            match self.current {
                None if self.dropped.contains(&chunk.playback) => {
                    let playback = chunk.playback;
                    while self.queue.front().is_some_and(|chunk| chunk.playback == playback) {
                        self.drop_front();
                    }
                    self.over = self.over.max(playback);
                    self.forget();
                    continue;
                }
                None if self.paused.contains(&chunk.playback) => return,
                None => {
                    let (playback, live) = (chunk.playback, chunk.live);
                    self.current =
                        Some(Current { playback, started: false, complete: false, live });
                }
                // A playback that was left open ends where the next one begins.
                Some(c) if c.playback != chunk.playback => {
                    self.complete();
                    return;
                }
                Some(c) if c.complete => return,
                Some(_) => {}
            }
            self.take(whole - self.ready.len());
        }
        // The last piece is often an empty one that only says so: see it now, and the playback ends with this frame.
        while let (Some(current), Some(chunk)) = (self.current, self.queue.front()) {
            let over = chunk.last && self.taken == chunk.pcm.len();
            if current.complete || chunk.playback != current.playback || !over {
                return;
            }
            self.end_marks();
            self.drop_front();
            self.complete();
        }
    }

    /// Moves about as much of the front chunk into `ready` as `missing` samples of output need.
    fn take(&mut self, missing: usize) {
        let chunk = self.queue.front_mut().expect("the caller saw it");
        let (from, channels, last) = (chunk.sample_rate, chunk.channels, chunk.last);
        let width = usize::from(channels);
        let frames = missing / usize::from(self.channels);
        let wanted = (frames as u64 * u64::from(from)).div_ceil(u64::from(self.sample_rate)) + 1;
        let end = (self.taken + wanted as usize * width).min(chunk.pcm.len());
        let piece = &chunk.pcm[self.taken..end];
        self.mixed.clear();
        mix::to_channels(piece, channels, self.channels, &mut self.mixed);
        let fed = (piece.len() / width) as u64;
        let first = (self.taken / width) as u64;
        let here = chunk.marks.iter().take_while(|mark| mark.at < first + fed).count();
        let marks: Vec<Mark> = chunk.marks.drain(..here).collect();
        self.marks_queued -= marks.len();
        let made_before = match &self.resampler {
            Some(resampler) if resampler.from != from => {
                self.drain_resampler();
                self.ready.len()
            }
            _ => self.ready.len(),
        };
        if from == self.sample_rate {
            self.ready.extend_from_slice(&self.mixed);
        } else {
            if self.resampler.is_none() {
                let filter =
                    Resampler::with_bank(self.filters.have(from, self.sample_rate), self.channels)
                        .expect("a codec has channels");
                // Rounded up, so that a playback does not spill into one more frame.
                let delay = filter.delay() + Duration::from_nanos(999_999_999) / self.sample_rate;
                let lead = samples(delay, self.sample_rate) * usize::from(self.channels);
                self.resampler = Some(Resampling { from, filter, lead });
            }
            let resampling = self.resampler.as_mut().expect("made above");
            self.scratch.clear();
            resampling.filter.process(&self.mixed, &mut self.scratch);
            let lead = resampling.lead.min(self.scratch.len());
            resampling.lead -= lead;
            self.ready.extend_from_slice(&self.scratch[lead..]);
        }
        let made = ((self.ready.len() - made_before) / usize::from(self.channels)) as u64;
        if fed > 0 {
            let marks = marks.into_iter().map(|mark| (mark.at - first, mark.id));
            self.trail.fed(from, fed, made, marks);
        }
        self.taken = end;
        if end == self.queue[0].pcm.len() {
            self.end_marks();
            self.drop_front();
            if last {
                self.complete();
            }
        }
    }

    /// The front chunk has been taken: what marks it still has lie behind the end.
    fn end_marks(&mut self) {
        let Some(chunk) = self.queue.front_mut() else { return };
        for mark in core::mem::take(&mut chunk.marks) {
            self.marks_queued -= 1;
            self.trail.mark_the_end(mark.id);
        }
    }

    fn drop_front(&mut self) {
        if let Some(chunk) = self.queue.pop_front() {
            self.marks_queued -= chunk.marks.len();
            self.queued = self.queued.saturating_sub(chunk_span(&chunk));
        }
        self.taken = 0;
    }

    /// The playback has given all it had: the filter's tail is its end.
    fn complete(&mut self) {
        self.drain_resampler();
        if let Some(current) = &mut self.current {
            current.complete = true;
        }
    }

    fn drain_resampler(&mut self) {
        let made_before = self.ready.len();
        let Some(mut resampling) = self.resampler.take() else { return };
        self.scratch.clear();
        resampling.filter.drain(&mut self.scratch);
        let lead = resampling.lead.min(self.scratch.len());
        self.ready.extend_from_slice(&self.scratch[lead..]);
        let made = (self.ready.len() - made_before) / usize::from(self.channels);
        self.trail.finish(made as u64);
    }

    fn end(&mut self, current: Current, cancelled: bool) {
        self.current = None;
        self.resampler = None;
        self.over = self.over.max(current.playback);
        let playback = current.playback;
        let (to, progress) = (self.sample_rate, &mut self.progress);
        if !cancelled {
            self.trail.end(to, |id, position| {
                progress.push_back(Progress::Mark { playback, id, position });
            });
        }
        let played = self.trail.played(to);
        self.progress.push_back(Progress::Ended { playback, played, cancelled });
        self.trail = Trail::default();
        self.forget();
    }

    fn span(&self, frames: u64) -> Duration {
        span(frames, self.sample_rate)
    }
}

fn chunk_span(chunk: &Chunk) -> Duration {
    span((chunk.pcm.len() / usize::from(chunk.channels)) as u64, chunk.sample_rate)
}

fn span(frames: u64, rate: u32) -> Duration {
    // Seconds apart from the rest, so that 64 bits hold all of it.
    let rate = u64::from(rate);
    Duration::new(frames / rate, (frames % rate * 1_000_000_000 / rate) as u32)
}

#[cfg(test)]
mod pausing;
#[cfg(test)]
mod tests;
