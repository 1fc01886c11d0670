//! From packets to frames: the inbound timeline.
//!
//! Once started, [`Playout::frame`] gives one frame for every frame's deadline: what the jitter buffer has for that
//! piece of media time, decoded; concealment where audio was lost; silence where the sender paused, or noise if it said
//! what its silence sounds like. So samples delivered are elapsed time times rate, whatever sizes, gaps and orders the
//! network brought.

mod lane;

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

/// While nothing arrives it is unknown whether audio was lost or the sender paused. For this long it is called lost:
/// the concealment has faded out by then.
const UNCERTAIN: Duration = Duration::from_millis(100);

/// How long a payload type is understood after it has left the receive map: RFC 3264 §8.3.2 asks for as long as packets
/// of it may come, which is until the far end has acted on the answer.
const STILL_UNDERSTOOD: Duration = Duration::from_secs(2);

/// With discontinuous transmission libopus still sends a packet each 400 ms (RFC 6716 §2.1.9); for longer than this no
/// sender that is still there says nothing, and its noise is not made up any more.
const LONGEST_DTX: Duration = Duration::from_secs(1);

/// At most one frame in this many is left out to give back delay, so that speech is shortened by a fifth at the most.
const FRAMES_BETWEEN_GIVING_BACK: u32 = 5;

/// Delay is given back where it is quiet, a quarter of the recent peak; after this many frames wherever it may be.
const FRAMES_TO_WAIT_FOR_QUIET: u32 = 150;

/// The delay of the quickest packets is forgotten at this share per packet, within a second or so.
const DELAY_DECAY: u32 = 32;

/// What is left of the recent peak from frame to frame: it halves in about a second.
const PEAK_DECAY: f32 = 0.986;

/// What a frame is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Audio as it arrived, or most of it.
    Received,
    /// Audio that was lost, concealed.
    Concealed,
    /// The sender sent nothing.
    Silence,
    /// The sender described its background noise (RFC 3389).
    ComfortNoise,
}

/// One frame of inbound audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `i16`, interleaved, at the session's sample rate and channels; always exactly one frame long.
    pub pcm: Vec<i16>,
    /// What it is made of.
    pub kind: FrameKind,
    /// When it belongs: media time since the first frame of the session.
    pub timestamp: Duration,
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
    /// Frames left out to give back delay.
    pub given_back: u64,
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
    frames_since_giving_back: u32,
    /// The recent peak of received audio.
    peak: f32,
    /// See [`Playout::delay`].
    delay: Duration,
    counts: Counts,
    bursts: Bursts,
    levels: Levels,
}

/// How much of a frame did not arrive, in samples per channel.
#[derive(Default)]
struct Made {
    concealed: usize,
    silence: usize,
    noise: usize,
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
        let clock_rate = lanes[0].spec.clock_rate;
        let types =
            codecs.iter().enumerate().map(|(i, spec)| (spec.payload_type, i, None)).collect();
        Playout {
            jitter: JitterBuffer::new(delay, clock_rate),
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
            frames_since_giving_back: 0,
            peak: 0.0,
            delay,
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
    /// new one: packets are on their way, and the far end may not know yet.
    pub fn set_codecs(&mut self, codecs: &[CodecSpec], now: Time) {
        let until = now + STILL_UNDERSTOOD;
        let before = std::mem::take(&mut self.types);
        for spec in codecs {
            let lane = self.lane_for(spec, &before);
            self.types.push((spec.payload_type, lane, None));
        }
        for (number, lane, leaves) in before {
            if self.codec_of(number).is_none() {
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

    /// Puts a packet in; `due` is the next frame's deadline.
    pub fn insert(&mut self, packet: Packet, due: Time) -> Insert {
        self.jitter.set_clock_rate(self.lanes[packet.codec].spec.clock_rate);
        self.jitter.insert(packet, due)
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
        let (mut pcm, kind) = self.make(now)?;
        if self.gives_back(&pcm) {
            if let Some((next, next_kind)) = self.make(now) {
                let pause = [FrameKind::Silence, FrameKind::ComfortNoise];
                if pause.contains(&kind) || pause.contains(&next_kind) {
                    pcm = next;
                } else {
                    mix::cross_fade(&mut pcm, &next, self.channels);
                }
                self.jitter.gave_back(self.ptime);
                // A large excess goes on being given back without waiting for quiet again.
                let loud = self.frames_since_giving_back >= FRAMES_TO_WAIT_FOR_QUIET;
                let pace = FRAMES_BETWEEN_GIVING_BACK;
                self.frames_since_giving_back =
                    if loud { FRAMES_TO_WAIT_FOR_QUIET - pace } else { 0 };
                self.counts.given_back += 1;
            }
        }
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
        Some(Frame { pcm, kind, timestamp })
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
        self.jitter.longest(self.packet_span().unwrap_or(self.ptime))
    }

    /// Audio that waits to be played, and the delay aimed at.
    pub fn depth(&self) -> (Duration, Duration) {
        (self.jitter.depth(), self.jitter.target())
    }

    /// How long after its arrival audio is played that came without delay: the recent maximum.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// One frame at the session's rate, without the bookkeeping of a delivered one.
    fn make(&mut self, now: Time) -> Option<(Vec<i16>, FrameKind)> {
        let mut made = Made::default();
        let frame = samples(self.ptime, self.sample_rate);
        loop {
            let have = self.ready.len() / usize::from(self.channels);
            let Some(missing) = frame.checked_sub(have).filter(|&missing| missing > 0) else {
                break;
            };
            let clock_rate = self.lanes[self.lane].spec.clock_rate;
            let want = self.lanes[self.lane].ticks_for(missing).max(1);
            match self.jitter.pop(now, want, self.ptime) {
                Pop::Idle => return None,
                Pop::Packet { packet, skip, missing } => {
                    self.bursts.lost(missing);
                    self.bursts.arrived();
                    self.settle(missing > 0);
                    self.note_delay(now, packet.arrival);
                    self.take(&packet, skip, &mut made);
                }
                // The sender said that it pauses: what does not come is noise, until something does.
                Pop::Lost(ticks) | Pop::Pause(ticks) | Pop::Empty(ticks) if self.noise.is_on() => {
                    self.comfort(ticks, &mut made);
                }
                Pop::Lost(ticks) => self.bridge(ticks, &mut made),
                Pop::Pause(ticks) => self.pause(ticks, &mut made),
                Pop::Empty(ticks) if self.uncertain < UNCERTAIN => {
                    self.uncertain += span(ticks, clock_rate);
                    self.conceal(ticks, &mut made);
                }
                Pop::Empty(ticks) => self.pause(ticks, &mut made),
            }
        }
        let carried = frame.saturating_sub(made.concealed + made.silence + made.noise);
        let kind = if carried >= made.concealed.max(made.silence).max(made.noise) {
            FrameKind::Received
        } else if made.concealed >= made.silence.max(made.noise) {
            FrameKind::Concealed
        } else if made.noise >= made.silence {
            FrameKind::ComfortNoise
        } else {
            FrameKind::Silence
        };
        let rest = self.ready.split_off(frame * usize::from(self.channels));
        Some((core::mem::replace(&mut self.ready, rest), kind))
    }

    /// A packet that came at `arrival` is played behind what is ready for the frame due at `now`.
    fn note_delay(&mut self, now: Time, arrival: Time) {
        let ahead = (self.ready.len() / usize::from(self.channels)) as u64;
        let ahead = Duration::from_nanos(ahead * 1_000_000_000 / u64::from(self.sample_rate));
        let delay = (now - arrival) + ahead;
        self.delay = delay.max(self.delay - self.delay.saturating_sub(delay) / DELAY_DECAY);
    }

    /// Decodes a packet onto the end of what is ready.
    fn take(&mut self, packet: &Packet, skip: u32, made: &mut Made) {
        if packet.noise {
            self.describe_noise(packet);
            return;
        }
        self.noise.end();
        if packet.codec != self.lane {
            self.enter_lane(packet.codec);
        }
        let at = self.ready.len();
        let lane = &mut self.lanes[packet.codec];
        if lane.decode(&packet.payload, skip, &mut self.ready).is_err() {
            self.counts.undecodable += 1;
            self.conceal(packet.ticks - skip, made);
            return;
        }
        if self.lanes[packet.codec].spec.is_silence(&packet.payload) {
            made.noise += (self.ready.len() - at) / usize::from(self.channels);
        }
        self.hole = Duration::ZERO;
        self.concealer.good(&mut self.ready[at..]);
    }

    /// Whether this is the place to leave a frame out, `pcm` being the one that plays.
    fn gives_back(&mut self, pcm: &[i16]) -> bool {
        let loudest = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.peak = (self.peak * PEAK_DECAY).max(f32::from(loudest));
        self.frames_since_giving_back += 1;
        if self.jitter.excess(self.ptime).is_none() {
            self.frames_since_giving_back =
                self.frames_since_giving_back.min(FRAMES_BETWEEN_GIVING_BACK);
            return false;
        }
        let quiet = f32::from(loudest) <= self.peak / 4.0;
        self.frames_since_giving_back >= FRAMES_BETWEEN_GIVING_BACK
            && (quiet || self.frames_since_giving_back >= FRAMES_TO_WAIT_FOR_QUIET)
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

    /// Fills `ticks` of a hole with a packet behind it, and more if that packet carries a copy of what was lost.
    fn bridge(&mut self, ticks: u32, made: &mut Made) {
        let Some((packet, left)) = self.jitter.hole() else { return self.conceal(ticks, made) };
        let lane = &mut self.lanes[self.lane];
        let copied =
            if packet.codec == self.lane { lane.copied_before(&packet.payload) } else { 0 };
        if left >= copied {
            return self.conceal(ticks, made);
        }
        let whole = ticks.saturating_add(left);
        if whole > copied {
            self.conceal(whole - copied, made);
        }
        let Some((packet, left)) = self.jitter.hole() else { return };
        let at = self.ready.len();
        self.lanes[self.lane].recover(&packet.payload, whole.min(copied), &mut self.ready);
        self.concealer.good(&mut self.ready[at..]);
        self.counts.recovered += 1;
        self.jitter.fill_hole(left);
    }

    fn conceal(&mut self, ticks: u32, made: &mut Made) {
        let at = self.ready.len();
        if self.lanes[self.lane].conceal(ticks, &mut self.ready) {
            // Made by the decoder, which has joined it to what it gave before.
            self.concealer.good(&mut self.ready[at..]);
        } else {
            self.make_room(ticks);
            self.concealer.conceal(&mut self.ready[at..]);
        }
        made.concealed += self.made_since(at, ticks);
    }

    fn pause(&mut self, ticks: u32, made: &mut Made) {
        let at = self.ready.len();
        let lane = &mut self.lanes[self.lane];
        if self.hole < LONGEST_DTX && lane.conceal(ticks, &mut self.ready) {
            // The codec knows what the background sounded like (RFC 6716 §2.1.9).
            self.concealer.good(&mut self.ready[at..]);
            made.noise += self.made_since(at, ticks);
        } else {
            self.make_room(ticks);
            self.concealer.silence(&mut self.ready[at..]);
            made.silence += self.made_since(at, ticks);
        }
    }

    /// Fills a piece of a pause with noise, the end of speech fading into it.
    fn comfort(&mut self, ticks: u32, made: &mut Made) {
        let at = self.ready.len();
        self.lanes[self.lane].add_noise(&mut self.noise, ticks, &mut self.ready);
        let mut fading = vec![0; self.ready.len() - at];
        self.concealer.silence(&mut fading);
        for (sample, fading) in self.ready[at..].iter_mut().zip(fading) {
            *sample = sample.saturating_add(fading);
        }
        made.noise += self.made_since(at, ticks);
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

    /// Lengthens what is ready by `ticks`.
    fn make_room(&mut self, ticks: u32) {
        let samples = self.lanes[self.lane].samples(ticks) * usize::from(self.channels);
        self.ready.resize(self.ready.len() + samples, 0);
    }

    /// What was made up since so much was ready, in samples per channel.
    fn made_since(&mut self, at: usize, ticks: u32) -> usize {
        self.hole += span(ticks, self.lanes[self.lane].spec.clock_rate);
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

fn span(ticks: u32, rate: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(rate.max(1)))
}

#[cfg(test)]
mod tests;
