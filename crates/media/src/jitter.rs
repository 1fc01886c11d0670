//! The playout policy: which packet plays when.
//!
//! A buffer of fixed target delay. Packets are put in as they arrive, in any order; [`JitterBuffer::pop`] hands them out
//! in media time, and says of every hole whether audio was lost (sequence numbers are missing) or the sender paused
//! (none are). The position runs with the local clock, so that a pause, a burst or a stall moves nothing for good:
//!
//! - a packet that comes too late for its place is rejected; if it is the very next in sequence, nothing was lost but
//!   time, so playout goes back to it (a stall of the network) or starts anew from it (a sender whose timestamps stand
//!   still in silence);
//! - a packet whose beginning was filled with something else while it was on its way is played from there on; but where it
//!   is the sender that lets it begin before the end of the one right before it, all of it is played: both are audio. So
//!   does the first packet of Opus from GStreamer, which counts without what a decoder is to skip (RFC 7845 §4.2);
//! - delay beyond the target that no packet of the last second needed is given back ([`JitterBuffer::excess`]).
//!
//! This file is the only one that knows this policy. Its interface, `insert` and `pop`, is what an adaptive policy needs.

use crate::seq::{ExtSeq, ExtTime};
use crate::time::{Duration, Time};
use std::collections::VecDeque;

/// More packets than this are never held: two seconds of the shortest common packets (10 ms), and 128 KiB at the most
/// for G.711.
const MAX_PACKETS: usize = 200;

/// A step in media time larger than this is a new timeline, not a pause or a delay. Playout runs with the clock through
/// pauses, so an honest packet is never further ahead than the target delay plus the jitter.
const MAX_STEP: Duration = Duration::from_secs(1);

/// The spare delay is the least slack over between one and two of these windows: long enough to span the jitter of
/// interest, short enough that a burst is forgotten within two seconds.
const SLACK_WINDOW: Duration = Duration::from_millis(1000);

/// A packet that waits for its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Extended sequence number.
    pub seq: ExtSeq,
    /// Extended RTP timestamp of its first sample, in ticks.
    pub timestamp: ExtTime,
    /// How long it plays, in ticks.
    pub ticks: u32,
    /// Which of the receive codecs decodes it.
    pub codec: usize,
    /// It describes the noise of a pause (RFC 3389) and plays no time itself.
    pub noise: bool,
    /// When it reached the socket.
    pub arrival: Time,
    /// The coded audio.
    pub payload: Vec<u8>,
}

impl Packet {
    /// The timestamp after its last sample.
    fn end(&self) -> ExtTime {
        self.timestamp.plus(u64::from(self.ticks))
    }
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// It waits for its place.
    Stored,
    /// Its place has been played.
    Late,
    /// It is here already, or has been played.
    Duplicate,
    /// The buffer was full: this many packets of older audio went, and playout starts anew near the newest.
    Overflow(usize),
}

/// What is to be played next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pop {
    /// Playout has not started: no packet yet, or the first ones are still gathering delay.
    Idle,
    /// The next packet. Its first `skip` ticks lie in the past and are not to be played.
    Packet {
        /// The packet.
        packet: Packet,
        /// Ticks at its start whose time has been filled already.
        skip: u32,
        /// Packets with audio that are missing right before it.
        missing: u64,
    },
    /// Audio of this many ticks was sent and has not arrived.
    Lost(u32),
    /// The sender sent nothing for this many ticks.
    Pause(u32),
    /// Nothing is here, and nothing tells yet whether it was lost or never sent.
    Empty(u32),
}

/// See the [module](self).
#[derive(Debug)]
pub struct JitterBuffer {
    target: Duration,
    clock_rate: u32,
    /// In order of (epoch, sequence).
    waiting: VecDeque<(u32, Packet)>,
    /// Counts the timelines: packets put in after a `new_timeline` belong to the next one.
    epoch: u32,
    playing: Option<Playing>,
    /// Sequence numbers that carried no audio (digits, unknown types), of the newest timeline, ascending.
    silent: VecDeque<ExtSeq>,
    slack: SlackWindow,
    /// What arrived before this is over: nobody listened when it was to be played.
    unheard_before: Time,
}

/// The position of playout in the present timeline.
#[derive(Debug)]
struct Playing {
    epoch: u32,
    /// The extended timestamp that is due next.
    next: ExtTime,
    /// The newest sequence number played, and which of the 64 up to it were (bit 0 is itself).
    seq: ExtSeq,
    played: u64,
    /// The length of the last packet played, to tell how long a lost one was.
    packet_ticks: u32,
    /// Ticks passed over since the last packet played.
    filled: u64,
    /// Where the last packet played ended, by its own timestamp; `None` if it was none of audio.
    ended: Option<ExtTime>,
}

impl JitterBuffer {
    /// How much audio the packets hold, as far as the last one that was played tells.
    pub fn packet_span(&self) -> Option<Duration> {
        let playing = self.playing.as_ref().filter(|playing| playing.packet_ticks > 0)?;
        Some(self.span(u64::from(playing.packet_ticks)))
    }

    /// The longest that packets of `span` can be held back.
    pub fn longest(&self, span: Duration) -> Duration {
        span * MAX_PACKETS as u32
    }

    /// Whether a packet of this codec waits.
    pub fn holds_codec(&self, codec: usize) -> bool {
        self.waiting.iter().any(|(_, packet)| packet.codec == codec)
    }

    /// An empty buffer that holds packets back for `target`; `clock_rate` is the RTP clock in Hz.
    pub fn new(target: Duration, clock_rate: u32) -> JitterBuffer {
        JitterBuffer {
            target,
            clock_rate,
            waiting: VecDeque::new(),
            epoch: 0,
            playing: None,
            silent: VecDeque::new(),
            slack: SlackWindow::default(),
            unheard_before: Time::ZERO,
        }
    }

    /// Puts a packet in. `due` is the deadline of the next frame, which is when the position is asked for again.
    pub fn insert(&mut self, packet: Packet, due: Time) -> Insert {
        if let Some(rejected) = self.place(&packet, due) {
            return rejected;
        }
        let key = (self.epoch, packet.seq);
        let at = self.waiting.partition_point(|(epoch, p)| (*epoch, p.seq) < key);
        if self.waiting.get(at).is_some_and(|(epoch, p)| (*epoch, p.seq) == key) {
            return Insert::Duplicate;
        }
        self.waiting.insert(at, (self.epoch, packet));
        if self.waiting.len() > MAX_PACKETS {
            return Insert::Overflow(self.jump_to_newest());
        }
        Insert::Stored
    }

    /// Finds the packet's place in the timeline that plays, and moves playout where the packet shows that it must.
    fn place(&mut self, packet: &Packet, due: Time) -> Option<Insert> {
        if self.is_unheard(packet) {
            return Some(Insert::Late);
        }
        let (target_ticks, max_step) = (self.ticks(self.target), self.ticks(MAX_STEP));
        let playing = self.playing.as_mut().filter(|p| p.epoch == self.epoch)?;
        if packet.seq <= playing.seq {
            let twice = playing.was_played(packet.seq);
            return Some(if twice { Insert::Duplicate } else { Insert::Late });
        }
        let late = packet.end() <= playing.next;
        if late && packet.noise {
            // It holds from now on: there is nothing of it to be too late for.
            return None;
        }
        let step = packet.timestamp.apart(playing.next);
        if late && packet.seq != playing.next_in_sequence(&self.silent) {
            return Some(Insert::Late);
        }
        if step > max_step || (late && step > target_ticks) {
            self.new_timeline();
            return None;
        }
        if late {
            playing.next = packet.timestamp;
            let back = self.span(step);
            self.slack.shift(|wait| wait + back);
        }
        let ahead = packet.timestamp.since(self.playing.as_ref()?.next).unwrap_or(0);
        self.slack.note(packet.arrival, (due - packet.arrival) + self.span(ahead));
        None
    }

    /// Drops all but the target's worth of the newest audio; returns how many packets went.
    fn jump_to_newest(&mut self) -> usize {
        let before = self.waiting.len();
        while self.waiting.len() > 1
            && (self.depth() > self.target || self.waiting.len() > MAX_PACKETS)
        {
            self.waiting.pop_front();
        }
        self.begin_with_what_waits();
        before - self.waiting.len()
    }

    /// Time up to `now` has passed unheard: playout goes on with what came so late that it is due from now on. Says how many
    /// packets are over.
    pub fn pass(&mut self, now: Time) -> usize {
        self.unheard_before = now.back(self.target);
        let mut waiting = std::mem::take(&mut self.waiting);
        let before = waiting.len();
        waiting.retain(|(_, packet)| !self.is_unheard(packet));
        self.waiting = waiting;
        self.begin_with_what_waits();
        before - self.waiting.len()
    }

    /// Of noise there is nothing to be missed: what it describes goes on.
    fn is_unheard(&self, packet: &Packet) -> bool {
        packet.arrival < self.unheard_before && !packet.noise
    }

    fn begin_with_what_waits(&mut self) {
        self.new_timeline();
        let epoch = self.epoch;
        self.waiting.iter_mut().for_each(|(e, _)| *e = epoch);
    }

    /// Notes that a sequence number of the trusted source carried no audio, so that its absence is not taken for loss.
    pub fn note_silent(&mut self, seq: ExtSeq) {
        let at = self.silent.partition_point(|&s| s < seq);
        if self.silent.get(at) != Some(&seq) {
            self.silent.insert(at, seq);
        }
        if self.silent.len() > MAX_PACKETS {
            self.silent.pop_front();
        }
    }

    /// What follows has nothing to do with what went before: a new source, a restart of its numbers or its clock.
    /// What waits is still played.
    pub fn new_timeline(&mut self) {
        self.epoch += 1;
        self.silent.clear();
        self.slack = SlackWindow::default();
    }

    /// What follows has another RTP clock; ends the present timeline.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            self.clock_rate = clock_rate;
            self.new_timeline();
        }
    }

    /// Forgets everything; the next packet starts playout anew.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.playing = None;
        self.new_timeline();
    }

    /// The next piece of media time, at most `want` ticks of it unless it is a packet.
    ///
    /// `now` is the deadline of the frame being made; playout of a timeline starts with the frame nearest to the target
    /// delay, `frame` being the length of one.
    pub fn pop(&mut self, now: Time, want: u32, frame: Duration) -> Pop {
        let front = self.waiting.front().map(|(epoch, p)| (*epoch, p.arrival));
        let next_timeline_starts = |epoch_now: Option<u32>| {
            front.is_some_and(|(epoch, arrival)| {
                Some(epoch) != epoch_now && now + frame / 2 >= arrival + self.target
            })
        };
        match &self.playing {
            None if next_timeline_starts(None) => self.start(now),
            None => return Pop::Idle,
            Some(playing) if next_timeline_starts(Some(playing.epoch)) => self.start(now),
            Some(_) => {}
        }
        let packets_silent = &self.silent;
        let playing = self.playing.as_mut().expect("started above");
        let Some((_, packet)) = self.waiting.front().filter(|(e, _)| *e == playing.epoch) else {
            playing.fill(want);
            return Pop::Empty(want);
        };
        let far = self.clock_rate as u64 * MAX_STEP.as_secs();
        if packet.timestamp.since(playing.next).is_some_and(|ahead| ahead > far) {
            // Only packets that came together before playout began can stand so far apart.
            playing.next = packet.timestamp;
        }
        if let Some(hole) = packet.timestamp.since(playing.next).filter(|&hole| hole > 0) {
            let missing = playing.missing_before(packet.seq, packets_silent);
            let lost = missing
                .saturating_mul(u64::from(playing.packet_ticks))
                .saturating_sub(playing.filled)
                .min(hole);
            let piece = |ticks: u64| ticks.min(u64::from(want)) as u32;
            let (pop, ticks) = if lost > 0 {
                (Pop::Lost(piece(lost)), piece(lost))
            } else {
                (Pop::Pause(piece(hole)), piece(hole))
            };
            playing.fill(ticks);
            return pop;
        }
        let (_, packet) = self.waiting.pop_front().expect("seen above");
        let follows = !packet.noise
            && Some(playing.next) == playing.ended
            && packet.seq == playing.next_in_sequence(&self.silent);
        let begun = playing.next.since(packet.timestamp).unwrap_or(0);
        if follows && begun > 0 {
            // Nothing was made up before it: the packet played last is longer than the sender's clock had it.
            playing.next = packet.timestamp;
            let back = self.span(begun);
            self.slack.shift(|wait| wait + back);
        }
        let playing = self.playing.as_mut().expect("started above");
        let begun = playing.next.since(packet.timestamp).unwrap_or(0);
        let skip = begun.min(u64::from(packet.ticks)) as u32;
        let missing = playing.missing_before(packet.seq, &self.silent);
        playing.advance(&packet);
        while self.silent.front().is_some_and(|&s| s < packet.seq) {
            self.silent.pop_front();
        }
        Pop::Packet { packet, skip, missing }
    }

    /// After a [`Pop::Lost`]: the packet behind the hole, and how many ticks of the hole are left.
    pub fn hole(&self) -> Option<(&Packet, u32)> {
        let playing = self.playing.as_ref()?;
        let (epoch, packet) = self.waiting.front()?;
        let left = packet.timestamp.since(playing.next)?;
        (*epoch == playing.epoch).then(|| (packet, u32::try_from(left).unwrap_or(u32::MAX)))
    }

    /// The rest of that hole has been filled too.
    pub fn fill_hole(&mut self, ticks: u32) {
        if let Some(playing) = &mut self.playing {
            playing.fill(ticks);
        }
    }

    /// Delay beyond the target that no packet of the last second or two made use of, if it is at least `frame`.
    pub fn excess(&self, frame: Duration) -> Option<Duration> {
        let spare = self.slack.least()?.checked_sub(self.target)?;
        (spare >= frame).then_some(spare)
    }

    /// Tells that playout was advanced by `span` to give back excess delay.
    pub fn gave_back(&mut self, span: Duration) {
        self.slack.shift(|wait| wait.saturating_sub(span));
    }

    /// How long the audio that waits here plays.
    pub fn depth(&self) -> Duration {
        self.span(self.waiting.iter().map(|(_, p)| u64::from(p.ticks)).sum())
    }

    /// The delay aimed at.
    pub fn target(&self) -> Duration {
        self.target
    }

    /// True once playout runs.
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    fn start(&mut self, now: Time) {
        let (epoch, first) = self.waiting.front().expect("a packet starts playout");
        // Noise is the same at any time: what passed of it while its source proved itself need not be heard.
        let passed = if first.noise {
            self.ticks((now - first.arrival).saturating_sub(self.target))
        } else {
            0
        };
        self.playing = Some(Playing {
            epoch: *epoch,
            next: first.timestamp.plus(passed),
            seq: first.seq.back(1),
            played: 0,
            packet_ticks: first.ticks,
            filled: 0,
            ended: None,
        });
    }

    fn ticks(&self, span: Duration) -> u64 {
        (span.as_nanos() * u128::from(self.clock_rate) / 1_000_000_000) as u64
    }

    fn span(&self, ticks: u64) -> Duration {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.clock_rate);
        Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64)
    }
}

impl Playing {
    fn was_played(&self, seq: ExtSeq) -> bool {
        let age = self.seq.since(seq).unwrap_or(0);
        age < 64 && self.played >> age & 1 == 1
    }

    /// The sequence number that follows what was played, those without audio left out.
    fn next_in_sequence(&self, silent: &VecDeque<ExtSeq>) -> ExtSeq {
        let mut next = self.seq.plus(1);
        for &seq in silent.iter().filter(|&&s| s > self.seq) {
            if seq == next {
                next = next.plus(1);
            }
        }
        next
    }

    /// How many packets with audio are missing before `seq`.
    fn missing_before(&self, seq: ExtSeq, silent: &VecDeque<ExtSeq>) -> u64 {
        let known = silent.iter().filter(|&&s| s > self.seq && s < seq).count() as u64;
        seq.since(self.seq.plus(1)).unwrap_or(0).saturating_sub(known)
    }

    /// Passes over a piece of a hole.
    fn fill(&mut self, ticks: u32) {
        self.next = self.next.plus(u64::from(ticks));
        self.filled += u64::from(ticks);
    }

    fn advance(&mut self, packet: &Packet) {
        let step = packet.seq.since(self.seq).unwrap_or(0);
        self.played = if step < 64 { self.played << step } else { 0 } | 1;
        self.seq = packet.seq;
        self.next = self.next.max(packet.end());
        self.ended = None;
        if !packet.noise {
            self.packet_ticks = packet.ticks;
            self.ended = Some(packet.end());
        }
        self.filled = 0;
    }
}

/// The least time a packet had to wait for its place, over the last one to two windows.
#[derive(Debug, Default)]
struct SlackWindow {
    began: Option<Time>,
    previous: Option<Duration>,
    current: Option<Duration>,
}

impl SlackWindow {
    fn note(&mut self, at: Time, wait: Duration) {
        let began = *self.began.get_or_insert(at);
        if at - began >= SLACK_WINDOW {
            self.previous = self.current.take();
            self.began = Some(at);
        }
        self.current = Some(self.current.map_or(wait, |least| least.min(wait)));
    }

    /// None until a whole window has been seen: a few packets prove nothing.
    fn least(&self) -> Option<Duration> {
        Some(self.previous?.min(self.current?))
    }

    fn shift(&mut self, by: impl Fn(Duration) -> Duration) {
        self.previous = self.previous.map(&by);
        self.current = self.current.map(&by);
    }
}

#[cfg(test)]
mod tests;
