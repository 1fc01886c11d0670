//! From audio to frames: the outbound timeline.
//!
//! The program's audio waits here as PCM and is cut, mixed and resampled one frame at a time, when that frame is due. So
//! an interruption drops all of it within one frame, costs the same whatever is queued, and the position that was sent
//! is known to the sample.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mix;
use crate::playout::samples;
use crate::resample::{Bank, Resampler};
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
    /// Filters made so far: a program uses one or two rates.
    banks: Vec<(u32, Arc<Bank>)>,
    current: Option<Current>,
    /// Playbacks up to this one are over: what is still pushed of them is dropped.
    over: u64,
    /// Set when a frame was held back because only a part of it was there.
    held: bool,
    scratch: Vec<i16>,
    mixed: Vec<i16>,
    progress: VecDeque<Progress>,
}

/// The playback that plays.
#[derive(Clone, Copy, Debug)]
struct Current {
    playback: u64,
    /// Samples per channel, at the codec's rate, that left.
    played: u64,
    /// Its last chunk has been taken into `ready`.
    complete: bool,
}

#[derive(Debug)]
struct Resampling {
    from: u32,
    filter: Resampler,
    /// Samples still to be left out at the start: the filter's delay, so that a playback keeps its length.
    lead: usize,
}

/// Filters of this many source rates are kept; a program that uses more pays for making them again.
const MAX_BANKS: usize = 4;

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
            banks: Vec::new(),
            current: None,
            over: 0,
            held: false,
            scratch: Vec::new(),
            mixed: Vec::new(),
            progress: VecDeque::new(),
        }
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
                    let playback = chunk.playback;
                    self.current = Some(Current { playback, played: 0, complete: false });
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
                let filter = Resampler::with_bank(self.bank(from), self.channels)
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

    fn bank(&mut self, from: u32) -> Arc<Bank> {
        if let Some((_, bank)) = self.banks.iter().find(|(rate, _)| *rate == from) {
            return Arc::clone(bank);
        }
        if self.banks.len() == MAX_BANKS {
            self.banks.remove(0);
        }
        let bank = Bank::new(from, self.sample_rate).expect("pieces and codecs have checked rates");
        let bank = Arc::new(bank);
        self.banks.push((from, Arc::clone(&bank)));
        bank
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
mod tests {
    use super::*;

    const PTIME: Duration = Duration::from_millis(20);

    fn pacer() -> Pacer {
        Pacer::new(PTIME, 8000, 1)
    }

    fn piece(playback: u64, samples: usize, last: bool) -> Chunk {
        Chunk { playback, pcm: vec![1000; samples], sample_rate: 8000, channels: 1, last }
    }

    fn next(pacer: &mut Pacer) -> Option<Vec<i16>> {
        let mut out = Vec::new();
        pacer.frame(&mut out).then_some(out)
    }

    fn told(pacer: &mut Pacer) -> Vec<Progress> {
        core::iter::from_fn(|| pacer.poll()).collect()
    }

    #[test]
    fn a_playback_leaves_frame_by_frame_and_its_end_is_filled_with_silence() {
        let mut pacer = pacer();
        pacer.push(piece(1, 400, true)).unwrap();
        assert_eq!(next(&mut pacer), Some(vec![1000; 160]));
        assert_eq!(told(&mut pacer), [Progress::Started { playback: 1 }]);
        assert_eq!(pacer.position(), Some((1, PTIME)));
        assert_eq!(next(&mut pacer), Some(vec![1000; 160]));
        let end = next(&mut pacer).expect("the rest");
        assert_eq!((&end[..80], &end[80..]), (&[1000; 80][..], &[0; 80][..]));
        let played = Duration::from_millis(50);
        assert_eq!(told(&mut pacer), [Progress::Ended { playback: 1, played, cancelled: false }]);
        assert_eq!(next(&mut pacer), None);
        assert!(pacer.is_idle());
    }

    #[test]
    fn an_empty_last_piece_ends_the_playback_with_the_frame_before_it() {
        let mut pacer = pacer();
        pacer.push(piece(1, 160, false)).unwrap();
        pacer.push(piece(1, 0, true)).unwrap();
        assert!(next(&mut pacer).is_some());
        assert!(matches!(told(&mut pacer)[1], Progress::Ended { cancelled: false, .. }));
        // The same when it comes after the frame has left.
        pacer.push(piece(2, 160, false)).unwrap();
        assert!(next(&mut pacer).is_some());
        pacer.push(piece(2, 0, true)).unwrap();
        assert!(next(&mut pacer).is_none());
        assert!(matches!(told(&mut pacer)[1], Progress::Ended { cancelled: false, .. }));
    }

    #[test]
    fn a_playback_of_nothing_ends_at_once() {
        let mut pacer = pacer();
        pacer.push(piece(1, 0, true)).unwrap();
        assert_eq!(next(&mut pacer), None);
        assert_eq!(
            told(&mut pacer),
            [Progress::Ended { playback: 1, played: Duration::ZERO, cancelled: false }]
        );
    }

    #[test]
    fn cancelling_silences_the_next_frame_and_tells_each_playback_once() {
        let mut pacer = pacer();
        pacer.push(piece(1, 8000, true)).unwrap();
        pacer.push(piece(2, 8000, false)).unwrap();
        pacer.push(piece(2, 8000, true)).unwrap();
        next(&mut pacer);
        told(&mut pacer);
        pacer.cancel(2);
        assert_eq!(next(&mut pacer), None);
        assert_eq!(
            told(&mut pacer),
            [
                Progress::Ended { playback: 1, played: PTIME, cancelled: true },
                Progress::Ended { playback: 2, played: Duration::ZERO, cancelled: true },
            ]
        );
        pacer.push(piece(2, 160, true)).unwrap();
        assert_eq!(next(&mut pacer), None, "a late piece of a cancelled playback");
        pacer.push(piece(3, 160, true)).unwrap();
        assert!(next(&mut pacer).is_some());
    }

    #[test]
    fn what_comes_after_the_last_piece_is_dropped() {
        let mut pacer = pacer();
        pacer.push(piece(1, 160, true)).unwrap();
        assert!(next(&mut pacer).is_some());
        told(&mut pacer);
        pacer.push(piece(1, 160, false)).unwrap();
        assert!(next(&mut pacer).is_none());
        assert_eq!(told(&mut pacer), []);
    }

    #[test]
    fn playbacks_follow_one_another_without_a_gap() {
        let mut pacer = pacer();
        pacer.push(piece(1, 320, true)).unwrap();
        pacer.push(piece(2, 320, true)).unwrap();
        let frames: Vec<bool> = (0..5).map(|_| next(&mut pacer).is_some()).collect();
        assert_eq!(frames, [true, true, true, true, false]);
    }

    #[test]
    fn pieces_longer_than_a_frame_gain_their_lead_once() {
        // 30 ms pieces every 30 ms into frames of 20 ms: one frame's wait, then no gap.
        let mut pacer = pacer();
        let mut sent = Vec::new();
        let mut pieces = 0;
        for frame in 0..60 {
            while pieces * 30 <= frame * 20 {
                pacer.push(piece(1, 240, false)).unwrap();
                pieces += 1;
            }
            sent.push(next(&mut pacer).is_some());
        }
        let gaps = sent.iter().filter(|s| !**s).count();
        assert_eq!(gaps, 1, "{sent:?}");
    }

    #[test]
    fn the_rest_of_a_stream_that_stops_is_held_for_one_frame_and_then_sent() {
        let mut pacer = pacer();
        pacer.push(piece(1, 200, false)).unwrap();
        assert!(next(&mut pacer).is_some());
        assert!(next(&mut pacer).is_none(), "held");
        let rest = next(&mut pacer).expect("sent");
        assert_eq!((rest[39], rest[40]), (1000, 0));
    }

    #[test]
    fn another_rate_and_stereo_become_the_codecs_without_losing_time() {
        for (rate, channels) in [(16_000u32, 1u8), (24_000, 2), (44_100, 1), (48_000, 2)] {
            let mut pacer = pacer();
            let pcm = vec![3000; rate as usize * usize::from(channels)];
            pacer
                .push(Chunk { playback: 1, pcm, sample_rate: rate, channels, last: true })
                .unwrap();
            let mut frames = 0;
            while let Some(frame) = next(&mut pacer) {
                frames += 1;
                if (5..45).contains(&frames) {
                    assert!(frame.iter().all(|s| (2950..3050).contains(s)), "{rate} {frame:?}");
                }
            }
            assert_eq!(frames, 50, "{rate}");
        }
    }

    #[test]
    fn a_change_of_rate_within_a_playback_loses_nothing() {
        let mut pacer = pacer();
        for (rate, last) in [(16_000, false), (24_000, false), (8000, true)] {
            let pcm = vec![3000; rate as usize / 10];
            pacer.push(Chunk { playback: 1, pcm, sample_rate: rate, channels: 1, last }).unwrap();
        }
        let frames = core::iter::from_fn(|| next(&mut pacer)).count();
        assert_eq!(frames, 15);
        let ended = told(&mut pacer)[1];
        let Progress::Ended { played, .. } = ended else { panic!("{ended:?}") };
        assert!(played.abs_diff(Duration::from_millis(300)) < Duration::from_micros(300));
    }

    #[test]
    fn what_is_queued_is_known_in_time() {
        let mut pacer = pacer();
        pacer.push(piece(1, 8000, false)).unwrap();
        assert_eq!(pacer.queued(), Duration::from_secs(1));
        next(&mut pacer);
        assert_eq!(pacer.queued(), Duration::from_millis(980));
        let pcm = vec![0; 2 * 4410];
        let stereo = Chunk { playback: 2, pcm, sample_rate: 44_100, channels: 2, last: true };
        pacer.push(stereo).unwrap();
        assert_eq!(pacer.queued(), Duration::from_millis(1080));
        pacer.cancel(1);
        assert_eq!(pacer.queued(), Duration::from_millis(100));
        while next(&mut pacer).is_some() {}
        assert_eq!(pacer.queued(), Duration::ZERO);
    }
}
