//! From audio to frames: the outbound timeline.
//!
//! The program's audio waits here as PCM and is cut, mixed and resampled one frame at a time, when that frame is due. So
//! an interruption drops all of it within one frame, costs the same whatever is queued, and the position that was sent
//! is known to the sample.

use std::collections::VecDeque;

use crate::filters::Filters;
use crate::mix;
use crate::playout::samples;
use crate::resample::Resampler;
use crate::time::Duration;

/// A piece of a playback, as the program hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which playback it belongs to; a later playback has a greater number.
    pub playback: u64,
    /// `i16`, interleaved.
    pub pcm: Vec<i16>,
    /// Samples per second and channel, 8000 to 192 000.
    pub sample_rate: u32,
    /// Interleaved channels, 1 to 8.
    pub channels: u8,
    /// True for the last piece of its playback, which may be empty.
    pub last: bool,
    /// True for audio that is forwarded as it is made. What waits of it for long is delay, and is given back.
    pub live: bool,
}

/// A piece that cannot be played: the program's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChunk {
    /// A sample rate outside 8000 to 192 000 Hz.
    Rate(u32),
    /// No channels, or more than eight.
    Channels(u8),
    /// Samples that do not fill a whole frame of all channels.
    Length {
        /// How many there are.
        samples: usize,
        /// How many make a frame.
        channels: u8,
    },
}

/// What happened to a playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its first frame leaves now.
    Started {
        /// The playback.
        playback: u64,
    },
    /// It is over: its last frame leaves now, or it was cancelled.
    Ended {
        /// The playback.
        playback: u64,
        /// How much of its audio left.
        played: Duration,
        /// True if it was cancelled.
        cancelled: bool,
    },
}

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
    /// Playbacks up to this one are over: what is still pushed of them is dropped.
    over: u64,
    /// Set when a frame was held back because only a part of it was there.
    held: bool,
    scratch: Vec<i16>,
    mixed: Vec<i16>,
    progress: VecDeque<Progress>,
    live: LiveDepth,
}

/// How much live audio waits longer than it need.
#[derive(Clone, Copy, Debug)]
struct LiveDepth {
    /// Frames of the present window, and the least that waited in it.
    frames: u32,
    least: Duration,
    /// What the last window showed to be delay, and has not been given back yet.
    spare: Duration,
}

/// The playback that plays.
#[derive(Clone, Copy, Debug)]
struct Current {
    playback: u64,
    /// Samples per channel, at the codec's rate, that left.
    played: u64,
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

/// Live audio is watched for this many frames, a second of the usual ones, before any of it is called delay.
const LIVE_WINDOW_FRAMES: u32 = 50;
/// What live audio may have waiting at any time: as much as evens out a program that is a frame late now and then.
const LIVE_LEAD: Duration = Duration::from_millis(20);
/// At most one frame in this many is left out, so that speech is shortened by a fifth at the most.
const FRAMES_BETWEEN_GIVING_BACK: u32 = 5;

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
            over: 0,
            held: false,
            scratch: Vec::new(),
            mixed: Vec::new(),
            progress: VecDeque::new(),
            live: LiveDepth { frames: 0, least: Duration::MAX, spare: Duration::ZERO },
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
        if let Some(current) = &mut self.current {
            current.played = current.played * u64::from(sample_rate) / u64::from(self.sample_rate);
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
        if chunk.playback > self.over {
            self.queued += chunk_span(&chunk);
            self.queue.push_back(chunk);
        }
        Ok(())
    }

    /// Drops all audio of the playbacks up to and including `upto`. The next frame is silence or a later playback.
    pub fn cancel(&mut self, upto: u64) {
        self.over = self.over.max(upto);
        if let Some(current) = self.current.filter(|c| c.playback <= upto) {
            self.ready.clear();
            self.held = false;
            self.end(current, true);
        }
        let mut seen = 0;
        while let Some(chunk) = self.queue.front().filter(|c| c.playback <= upto) {
            let playback = chunk.playback;
            self.drop_front();
            let told = self.progress.iter().any(
                |p| matches!(p, Progress::Ended { playback: ended, .. } if *ended == playback),
            );
            if playback != seen && !told {
                self.progress.push_back(Progress::Ended {
                    playback,
                    played: Duration::ZERO,
                    cancelled: true,
                });
            }
            seen = playback;
        }
    }

    /// Writes the frame that is due now into `out`, at the codec's rate and channels; false if there is nothing to send.
    ///
    /// The end of a playback is filled up with silence to a whole frame. When a playback stops short of a frame without
    /// being over, the rest is held back for one frame's time: a program that forwards pieces of another length than
    /// the frame's thereby gains the lead it needs, and hears no gap afterwards.
    pub fn frame(&mut self, out: &mut Vec<i16>) -> bool {
        let whole = self.frame * usize::from(self.channels);
        let (mut current, available) = loop {
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
        if current.live && self.gives_back() {
            self.gather(whole);
            if self.ready.len() >= whole {
                mix::cross_fade(out, &self.ready[..whole], self.channels);
                self.ready.drain(..whole);
                current.played += self.frame as u64;
            }
        }
        if current.played == 0 {
            self.progress.push_back(Progress::Started { playback: current.playback });
        }
        current.played += (available / usize::from(self.channels)) as u64;
        self.current = Some(current);
        if current.complete && self.ready.is_empty() {
            self.end(current, false);
        }
        true
    }

    /// Whether two frames of live audio are to leave in the time of one: the program was held up, its audio came in a
    /// burst, and what of it never ran out in a second is delay that the far end would hear for the rest of the call.
    fn gives_back(&mut self) -> bool {
        let depth = self.queued();
        let live = &mut self.live;
        live.least = live.least.min(depth);
        live.frames += 1;
        if live.frames >= LIVE_WINDOW_FRAMES {
            live.spare = live.least.saturating_sub(LIVE_LEAD);
            (live.frames, live.least) = (0, Duration::MAX);
        }
        let frame = self.span(self.frame as u64);
        let live = &mut self.live;
        if live.spare < frame || live.frames % FRAMES_BETWEEN_GIVING_BACK != 0 {
            return false;
        }
        live.spare -= frame;
        true
    }

    /// Lets a frame's time of live audio pass unsent: later it would be late. What has a beginning and an end waits.
    pub fn pass_live(&mut self) {
        let next = self.queue.front().is_some_and(|chunk| chunk.live);
        if !self.current.map_or(next, |current| current.live) {
            return;
        }
        let whole = self.frame_len();
        self.gather(whole);
        self.ready.drain(..whole.min(self.ready.len()));
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
        self.current.map(|c| (c.playback, self.span(c.played)))
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
                None => {
                    let (playback, live) = (chunk.playback, chunk.live);
                    self.current = Some(Current { playback, played: 0, complete: false, live });
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
            self.drop_front();
            self.complete();
        }
    }

    /// Moves about as much of the front chunk into `ready` as `missing` samples of output need.
    fn take(&mut self, missing: usize) {
        let chunk = self.queue.front().expect("the caller saw it");
        let (from, channels, last) = (chunk.sample_rate, chunk.channels, chunk.last);
        let width = usize::from(channels);
        let frames = missing / usize::from(self.channels);
        let wanted = (frames as u64 * u64::from(from)).div_ceil(u64::from(self.sample_rate)) + 1;
        let end = (self.taken + wanted as usize * width).min(chunk.pcm.len());
        let piece = &chunk.pcm[self.taken..end];
        self.mixed.clear();
        mix::to_channels(piece, channels, self.channels, &mut self.mixed);
        if self.resampler.as_ref().is_some_and(|r| r.from != from) {
            self.drain_resampler();
        }
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
        self.taken = end;
        if end == self.queue[0].pcm.len() {
            self.drop_front();
            if last {
                self.complete();
            }
        }
    }

    fn drop_front(&mut self) {
        if let Some(chunk) = self.queue.pop_front() {
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
        let Some(mut resampling) = self.resampler.take() else { return };
        self.scratch.clear();
        resampling.filter.drain(&mut self.scratch);
        let lead = resampling.lead.min(self.scratch.len());
        self.ready.extend_from_slice(&self.scratch[lead..]);
    }

    fn end(&mut self, current: Current, cancelled: bool) {
        self.current = None;
        self.resampler = None;
        self.over = self.over.max(current.playback);
        let played = self.span(current.played);
        self.progress.push_back(Progress::Ended { playback: current.playback, played, cancelled });
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
mod tests;
