//! From packets to frames: the inbound timeline.
//!
//! Once started, [`Playout::frame`] gives one frame for every frame's deadline: what the jitter buffer has for that
//! piece of media time, decoded; concealment where audio was lost; silence where the sender paused, or noise if it said
//! what its silence sounds like. So samples delivered are elapsed time times rate, whatever sizes, gaps and orders the
//! network brought.

mod lane;
mod made;
mod places;

use crate::bursts::Bursts;
use crate::codec::CodecSpec;
use crate::comfort_noise::{NoiseGenerator, NoiseShape};
use crate::conceal::Concealer;
use crate::filters::Filters;
use crate::jitter::{Insert, JitterBuffer, Packet, Pop};
use crate::level::Levels;
use crate::mix;
use crate::seq::ExtSeq;
use crate::time::{Duration, Time};
use lane::Lane;
use made::Made;
use places::Places;

pub use made::FrameKind;

/// While nothing arrives it is unknown whether audio was lost or the sender paused. For this long it is called lost:
/// the concealment has faded out by then.
const UNCERTAIN: Duration = Duration::from_millis(100);

/// How long a payload type is understood after it has left the receive map: RFC 3264 §8.3.2 asks for as long as packets
/// of it may come, which is until the far end has acted on the answer.
const STILL_UNDERSTOOD: Duration = Duration::from_secs(2);

/// With discontinuous transmission libopus still sends a packet each 400 ms (RFC 6716 §2.1.9); for longer than this no
/// sender that is still there says nothing, and its noise is not made up any more.
const LONGEST_DTX: Duration = Duration::from_secs(1);

/// One frame of inbound audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `i16`, interleaved, at the session's sample rate and channels; always exactly one frame long.
    pub pcm: Vec<i16>,
    /// What it is made of.
    pub kind: FrameKind,
    /// When it belongs: media time since the first frame of the session.
    pub timestamp: Duration,
    /// When it was due, on the clock of who asked for it.
    pub due: Time,
}

/// What playout counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames made mostly of received audio.
    pub received: u64,
    /// Frames concealed for audio that was lost.
    pub concealed: u64,
    /// Frames of a pause, those included that were concealed before it was known for one.
    pub silence: u64,
    /// Frames of noise as the sender described it.
    pub noise: u64,
    /// Times a piece of at most a frame was left out to give back delay.
    pub given_back: u64,
    /// Times a piece of at most a frame was put in for want of delay.
    pub put_in: u64,
    /// Packets that were left out because too much waited.
    pub skipped: u64,
    /// Payloads that could not be decoded; they were concealed.
    pub undecodable: u64,
    /// Frames of lost audio that were recovered from the packet after it.
    pub recovered: u64,
}

/// See the [module](self).
pub struct Playout {
    jitter: JitterBuffer,
    lanes: Vec<Lane>,
    /// The lane of the packet that plays now.
    lane: usize,
    /// Which lane a payload type means, and until when if it is no longer agreed on.
    types: Vec<(u8, usize, Option<Time>)>,
    ptime: Duration,
    sample_rate: u32,
    channels: u8,
    concealer: Concealer,
    /// On from a description of noise to the next speech.
    noise: NoiseGenerator,
    /// Audio that is due next, at the session's rate and channels.
    ready: Vec<i16>,
    /// How long nothing has come that could be decoded.
    hole: Duration,
    /// How long nothing has told what belongs here, and the frames that were concealed meanwhile.
    uncertain: Duration,
    uncertain_frames: u64,
    /// When the next frame belongs.
    position: Duration,
    places: Places,
    counts: Counts,
    bursts: Bursts,
    levels: Levels,
}

impl Playout {
    /// `codecs` is the receive map, not empty; frames are `ptime` long at `sample_rate` and `channels`. Comfort noise is
    /// made from `seed`.
    pub fn new(
        codecs: &[CodecSpec],
        ptime: Duration,
        delay: Duration,
        sample_rate: u32,
        channels: u8,
        seed: u64,
    ) -> Playout {
        let lanes: Vec<Lane> =
            codecs.iter().map(|&spec| Lane::new(spec, sample_rate, channels)).collect();
        let types =
            codecs.iter().enumerate().map(|(i, spec)| (spec.payload_type, i, None)).collect();
        Playout {
            jitter: JitterBuffer::new(delay),
            lanes,
            lane: 0,
            types,
            ptime,
            sample_rate,
            channels,
            concealer: Concealer::new(sample_rate, channels),
            noise: NoiseGenerator::new(seed),
            ready: Vec::new(),
            hole: Duration::ZERO,
            uncertain: Duration::ZERO,
            uncertain_frames: 0,
            position: Duration::ZERO,
            places: Places::default(),
            counts: Counts::default(),
            bursts: Bursts::default(),
            levels: Levels::default(),
        }
    }

    /// Which codec of the receive map a payload type stands for.
    pub fn codec_of(&self, payload_type: u8) -> Option<usize> {
        self.types.iter().find(|(number, ..)| *number == payload_type).map(|(_, lane, _)| *lane)
    }

    /// Goes over to another receive map. A type that is not in it any more keeps its meaning for a while, unless it has a
    /// new one, here or as one of the types in `elsewhere`, which are no codecs: packets are on their way, and the far end
    /// may not know yet.
    pub fn set_codecs(&mut self, codecs: &[CodecSpec], elsewhere: &[u8], now: Time) {
        let until = now + STILL_UNDERSTOOD;
        let before = std::mem::take(&mut self.types);
        for spec in codecs {
            let lane = self.lane_for(spec, &before);
            self.types.push((spec.payload_type, lane, None));
        }
        for (number, lane, leaves) in before {
            if self.codec_of(number).is_none() && !elsewhere.contains(&number) {
                self.types.push((number, lane, Some(leaves.unwrap_or(until))));
            }
        }
    }

    /// Hands over the filters that were made for it, so that none is made when a packet of another rate comes.
    pub fn set_filters(&mut self, filters: &Filters) {
        for lane in &mut self.lanes {
            lane.set_filters(filters);
        }
    }

    /// Ends the meaning of types whose time is over.
    pub fn forget_codecs(&mut self, now: Time) {
        self.types.retain(|(.., leaves)| leaves.is_none_or(|until| now < until));
    }

    /// Frames are this long from the next one on.
    pub fn set_ptime(&mut self, ptime: Duration) {
        self.ptime = ptime;
    }

    /// The lane of a codec: one that has it already, one that nobody needs any more, or a new one.
    fn lane_for(&mut self, spec: &CodecSpec, before: &[(u8, usize, Option<Time>)]) -> usize {
        if let Some(lane) = self.lanes.iter().position(|lane| lane.spec == *spec) {
            return lane;
        }
        let lane = Lane::new(*spec, self.sample_rate, self.channels);
        let needed = |index| {
            let mut types = self.types.iter().chain(before);
            index == self.lane
                || types.any(|(_, lane, _)| *lane == index)
                || self.jitter.holds_codec(index)
        };
        match (0..self.lanes.len()).find(|&index| !needed(index)) {
            Some(index) => {
                self.lanes[index] = lane;
                index
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        }
    }

    /// A codec of the receive map with this RTP clock, the one that plays before others: noise counts at its clock.
    pub fn codec_of_clock(&self, clock_rate: u32) -> Option<usize> {
        let agreed = self.types.iter().map(|(_, lane, _)| *lane);
        let mut lanes = core::iter::once(self.lane).chain(agreed);
        lanes.find(|&lane| self.lanes[lane].spec.clock_rate == clock_rate)
    }

    /// The codec at a place of the receive map.
    pub fn spec(&self, codec: usize) -> &CodecSpec {
        &self.lanes[codec].spec
    }

    /// Puts a packet in.
    pub fn insert(&mut self, packet: Packet) -> Insert {
        let outcome = self.jitter.insert(packet);
        if let Insert::Overflow(skipped) = outcome {
            self.skip(skipped);
        }
        outcome
    }

    /// See [`JitterBuffer::note_silent`].
    pub fn note_silent(&mut self, seq: ExtSeq) {
        self.jitter.note_silent(seq);
    }

    /// See [`JitterBuffer::new_timeline`].
    pub fn new_timeline(&mut self) {
        self.jitter.new_timeline();
        self.bursts = Bursts::default();
        self.levels = Levels::default();
    }

    /// The pause is silence from here on, whatever the sender said of it.
    pub fn end_noise(&mut self) {
        self.noise.end();
    }

    /// Stops until the next packet arrives.
    pub fn stop(&mut self) {
        self.jitter.clear();
        self.noise.end();
        self.ready.clear();
        self.uncertain = Duration::ZERO;
    }

    /// The frame due at `now`; `None` until the first packets have gathered their delay.
    pub fn frame(&mut self, now: Time) -> Option<Frame> {
        let step = self.ptime.min(places::STEP);
        let size = samples(self.ptime, self.sample_rate);
        let mut made = Made::default();
        self.places.frame(self.jitter.plan(step, self.ptime), self.ptime);
        if self.places.lengthens(step) && self.jitter.is_playing() {
            self.put_in(step, &mut made);
        }
        self.fill(now, size, &mut made)?;
        self.places.heard(&self.ready[..size * usize::from(self.channels)]);
        let mut of = size;
        if self.places.shortens(step) {
            of += self.leave_out(now, step, &mut made);
        }
        let rest = self.ready.split_off(size * usize::from(self.channels));
        let pcm = core::mem::replace(&mut self.ready, rest);
        let kind = made.kind(of);
        match kind {
            FrameKind::Received => {
                self.counts.received += 1;
                self.levels.frame(&pcm);
            }
            FrameKind::Concealed if self.uncertain > Duration::ZERO => self.uncertain_frames += 1,
            FrameKind::Concealed => self.counts.concealed += 1,
            FrameKind::Silence => self.counts.silence += 1,
            FrameKind::ComfortNoise => self.counts.noise += 1,
        }
        let timestamp = self.position;
        self.position += self.ptime;
        Some(Frame { pcm, kind, timestamp, due: now })
    }

    /// Adds a piece that goes on with what was heard, and is in nobody's packet.
    fn put_in(&mut self, step: Duration, made: &mut Made) {
        if self.noise.is_on() {
            self.comfort(step, made);
        } else {
            self.conceal(step, made);
        }
        self.jitter.lengthened(step);
        self.places.changed();
        self.counts.put_in += 1;
    }

    /// Makes a piece more than the frame that is ready, and leaves as much out of it; says how much that is, in samples per
    /// channel.
    fn leave_out(&mut self, now: Time, step: Duration, made: &mut Made) -> usize {
        let (size, more) = (samples(self.ptime, self.sample_rate), samples(step, self.sample_rate));
        // What is behind the frame will be heard a step earlier than it would have been.
        self.jitter.shortened(step);
        if self.fill(now.back(step), size + more, made).is_none() {
            return 0;
        }
        let length = more * usize::from(self.channels);
        let (left_out, stays) = self.ready.split_at_mut(length);
        if left_out.iter().any(|&s| s != 0) {
            mix::cross_fade(left_out, stays, self.channels);
            stays[..length].copy_from_slice(left_out);
        }
        self.ready.drain(..length);
        self.places.changed();
        self.counts.given_back += 1;
        more
    }

    /// Leaves `count` frames out of the timeline, up to the one that is due at `now`: their time has passed unheard (the
    /// machine slept). Says how many of the packets that wait are over with it.
    pub fn pass(&mut self, count: u64, now: Time) -> usize {
        if self.jitter.is_playing() {
            self.position += self.ptime.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        }
        self.ready.clear();
        self.jitter.pass(now)
    }

    /// What was counted since the session began.
    pub fn counts(&self) -> Counts {
        // As long as no packet tells otherwise, a stream that stopped has paused.
        Counts { silence: self.counts.silence + self.uncertain_frames, ..self.counts }
    }

    /// So many packets were refused on their way here: they are lost to who listens.
    pub fn count_unheard(&mut self, packets: u64) {
        self.bursts.refused(packets);
    }

    /// How losses lie in what was played of the present source.
    pub fn bursts(&self) -> &Bursts {
        &self.bursts
    }

    /// How loud it is.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// How much audio one of its packets holds; `None` before the first was played.
    pub fn packet_span(&self) -> Option<Duration> {
        self.jitter.packet_span()
    }

    /// The longest that packets can be held back.
    pub fn longest(&self) -> Duration {
        self.jitter.longest()
    }

    /// Audio that waits to be played, and the delay aimed at.
    pub fn depth(&self) -> (Duration, Duration) {
        (self.jitter.depth(), self.jitter.target())
    }

    /// How long after its arrival audio is played that came without delay.
    pub fn delay(&self) -> Duration {
        self.jitter.delay().unwrap_or(self.jitter.target())
    }

    /// Makes what is ready at least so long, in samples per channel; its first one is heard at `from`.
    fn fill(&mut self, from: Time, size: usize, made: &mut Made) -> Option<()> {
        loop {
            let have = self.ready.len() / usize::from(self.channels);
            if have >= size {
                return Some(());
            }
            let at = from + span(have as u64, self.sample_rate);
            let want = whole_span(size - have, self.sample_rate);
            match self.jitter.pop(at, want, self.ptime) {
                Pop::Idle => return None,
                Pop::Packet { packet, missing, delayed } => {
                    self.bursts.lost(missing);
                    self.settle(missing > 0 || delayed);
                    self.take(&packet, made);
                }
                Pop::Skipped(packets) => {
                    self.skip(packets);
                    self.concealer.change();
                }
                // The sender said that it pauses: what does not come is noise, until something does.
                Pop::Lost(piece) | Pop::Pause(piece) | Pop::Empty(piece) if self.noise.is_on() => {
                    self.comfort(piece, made);
                }
                Pop::Lost(piece) => {
                    self.settle(true);
                    self.bridge(piece, made);
                }
                Pop::Pause(piece) => {
                    self.settle(false);
                    self.pause(piece, made);
                }
                Pop::Empty(piece) if self.uncertain < UNCERTAIN => {
                    self.uncertain += piece;
                    self.conceal(piece, made);
                }
                Pop::Empty(piece) => self.pause(piece, made),
            }
        }
    }

    /// So many packets went unheard since too much waited.
    fn skip(&mut self, packets: usize) {
        self.counts.skipped += packets as u64;
        self.bursts.lost(packets as u64);
    }

    /// Decodes a packet onto the end of what is ready.
    fn take(&mut self, packet: &Packet, made: &mut Made) {
        if packet.noise {
            self.bursts.arrived();
            self.describe_noise(packet);
            return;
        }
        self.noise.end();
        if packet.codec != self.lane {
            self.enter_lane(packet.codec);
        }
        let at = self.ready.len();
        let lane = &mut self.lanes[packet.codec];
        if lane.decode(&packet.payload, &mut self.ready).is_err() {
            self.counts.undecodable += 1;
            // To who listens it is as if it had not come.
            self.bursts.lost(1);
            self.conceal(packet.span, made);
            return;
        }
        self.bursts.arrived();
        if self.lanes[packet.codec].spec.is_silence(&packet.payload) {
            made.noise += (self.ready.len() - at) / usize::from(self.channels);
        }
        self.hole = Duration::ZERO;
        self.concealer.good(&mut self.ready[at..]);
    }

    /// A packet came after a time in which nothing did: now it is known whether audio was lost or the sender paused.
    fn settle(&mut self, lost: bool) {
        self.uncertain = Duration::ZERO;
        let frames = core::mem::take(&mut self.uncertain_frames);
        if lost {
            self.counts.concealed += frames;
        } else {
            self.counts.silence += frames;
        }
    }

    /// Fills a piece of a hole with a packet behind it, and more if that packet carries a copy of what was lost.
    fn bridge(&mut self, piece: Duration, made: &mut Made) {
        let Some((packet, left)) = self.jitter.hole() else { return self.conceal(piece, made) };
        let lane = &mut self.lanes[self.lane];
        let copied = if packet.codec == self.lane {
            lane.copied_before(&packet.payload)
        } else {
            Duration::ZERO
        };
        if left >= copied {
            return self.conceal(piece, made);
        }
        let whole = piece + left;
        if whole > copied {
            self.conceal(whole - copied, made);
        }
        let Some((packet, _)) = self.jitter.hole() else { return };
        let at = self.ready.len();
        self.lanes[self.lane].recover(&packet.payload, whole.min(copied), &mut self.ready);
        self.concealer.good(&mut self.ready[at..]);
        self.counts.recovered += 1;
        self.jitter.fill_hole();
    }

    fn conceal(&mut self, piece: Duration, made: &mut Made) {
        let at = self.ready.len();
        if self.lanes[self.lane].conceal(piece, &mut self.ready) {
            // Made by the decoder, which has joined it to what it gave before.
            self.concealer.good(&mut self.ready[at..]);
        } else {
            self.make_room(piece);
            self.concealer.conceal(&mut self.ready[at..]);
        }
        made.concealed += self.made_since(at, piece);
    }

    fn pause(&mut self, piece: Duration, made: &mut Made) {
        let at = self.ready.len();
        let lane = &mut self.lanes[self.lane];
        if self.hole < LONGEST_DTX && lane.conceal(piece, &mut self.ready) {
            // The codec knows what the background sounded like (RFC 6716 §2.1.9).
            self.concealer.good(&mut self.ready[at..]);
            made.noise += self.made_since(at, piece);
        } else {
            self.make_room(piece);
            self.concealer.silence(&mut self.ready[at..]);
            made.silence += self.made_since(at, piece);
        }
    }

    /// Fills a piece of a pause with noise, the end of speech fading into it.
    fn comfort(&mut self, piece: Duration, made: &mut Made) {
        let at = self.ready.len();
        self.lanes[self.lane].add_noise(&mut self.noise, piece, &mut self.ready);
        let mut fading = vec![0; self.ready.len() - at];
        self.concealer.silence(&mut fading);
        for (sample, fading) in self.ready[at..].iter_mut().zip(fading) {
            *sample = sample.saturating_add(fading);
        }
        made.noise += self.made_since(at, piece);
    }

    /// What the pause sounds like from here on.
    fn describe_noise(&mut self, packet: &Packet) {
        let Ok(shape) = NoiseShape::parse(&packet.payload) else { return };
        let (spec, clock_rate) =
            (self.lanes[self.lane].spec, self.lanes[packet.codec].spec.clock_rate);
        if spec.clock_rate != clock_rate {
            self.enter_lane(packet.codec);
        }
        // The spectrum is that of audio sampled at the clock; beside G.722, whose audio has twice that rate, it would
        // sound an octave too high.
        let fits = self.lanes[self.lane].spec.sample_rate == clock_rate;
        self.noise.describe(if fits { shape } else { shape.without_spectrum() });
    }

    /// Lengthens what is ready by a piece.
    fn make_room(&mut self, piece: Duration) {
        let samples = self.lanes[self.lane].samples(piece) * usize::from(self.channels);
        self.ready.resize(self.ready.len() + samples, 0);
    }

    /// What was made up since so much was ready, in samples per channel.
    fn made_since(&mut self, at: usize, piece: Duration) -> usize {
        self.hole += piece;
        (self.ready.len() - at) / usize::from(self.channels)
    }

    /// Goes over to another codec of the receive map.
    fn enter_lane(&mut self, index: usize) {
        if index == self.lane {
            return;
        }
        let (low, high) = (index.min(self.lane), index.max(self.lane));
        let (left, right) = self.lanes.split_at_mut(high);
        let (first, second) = (&mut left[low], &mut right[0]);
        let (before, after) = if index == high { (first, second) } else { (second, first) };
        if !after.take_over(before) {
            self.concealer.change();
        }
        self.lane = index;
    }
}

impl core::fmt::Debug for Playout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Playout")
            .field("codec", &self.lanes[self.lane].spec)
            .field("jitter", &self.jitter)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// Samples per channel in a span, exact for the frame lengths and rates a session accepts.
pub(crate) fn samples(span: Duration, rate: u32) -> usize {
    (span.as_nanos() * u128::from(rate) / 1_000_000_000) as usize
}

/// How long so many samples per channel last.
fn span(samples: u64, rate: u32) -> Duration {
    crate::sender_clock::span_of(samples, rate)
}

/// A span that holds so many samples per channel.
fn whole_span(samples: usize, rate: u32) -> Duration {
    Duration::from_nanos((samples as u64 * 1_000_000_000).div_ceil(u64::from(rate)))
}

#[cfg(test)]
mod tests;
