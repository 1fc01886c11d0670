//! The playout policy: which packet plays when.
//!
//! A buffer of fixed target delay. Packets are put in as they arrive, in any order, and wait; where one belongs is decided
//! when its turn comes ([`JitterBuffer::pop`]), by its sequence number first and its timestamp second:
//!
//! - what is newer than all that was played is never too late: playout goes on with it, later than it would have, and the
//!   delay that this adds is given back. So no step of the sender's clock and none of the network's delay can leave
//!   everything that follows behind the position of playout;
//! - where the numbers follow one another, the audio does too, whatever a few ticks, a step back or a clock that counts
//!   at another rate say ([`SenderClock`]);
//! - a hole is only as long as the arrival of the packet behind it confirms: where a timestamp has jumped ahead and time
//!   has not, the packet would wait for longer than any needs to, and the hole closes.
//!
//! It follows that every packet is played when those before it have been, at the latest when it has waited as long as
//! packets do. Numbers that go back are found by themselves: packets in a row that all look played already are a sender
//! that counts anew.
//!
//! Of the delay, [`Waits`] tells how much is spare and how much lacks; [`JitterBuffer::plan`] makes of it what playout is
//! to do. A backlog beyond [`BACKLOG`] is skipped at once, the oldest first.

use crate::delay::Waits;
use crate::renumbering::Renumbering;
use crate::sender_clock::SenderClock;
use crate::seq::{ExtSeq, ExtTime};
use crate::time::{Duration, Time};
use std::collections::VecDeque;

/// More packets than this are never held: two seconds of the shortest common packets (10 ms).
const MAX_PACKETS: usize = 200;

/// More than this is never held: at most target delay and backlog are, and the target goes up to 500 ms.
const MAX_SPAN: Duration = Duration::from_secs(2);

/// More than this is never held: a second of L16 at 192 kHz in stereo is 768 KB, of all else far less.
const MAX_OCTETS: usize = 512 * 1024;

/// What waits beyond the target after a stall is heard up to this much of it: what is older says nothing any more to who
/// waits for an answer.
pub const BACKLOG: Duration = Duration::from_millis(500);

/// So much beyond it comes and goes with the jitter and with frames of 60 ms.
const BACKLOG_SLACK: Duration = Duration::from_millis(120);

/// A hole is closed where the packet behind it would wait for longer than this beyond what it needs: half a usual packet,
/// which the start of playout is off by.
const UNCONFIRMED: Duration = Duration::from_millis(10);

/// Between packets in a row a hole up to this long, and up to a quarter of the packet, is the sender's rounding.
const LONGEST_ROUNDING: Duration = Duration::from_millis(5);

/// In longer frames than this playout begins where it should within the frame, to this step.
const USUAL_FRAME: Duration = Duration::from_millis(20);
const START_STEP: Duration = Duration::from_millis(10);

/// A packet that waits for its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its sequence number.
    pub seq: ExtSeq,
    /// The RTP timestamp of its first sample.
    pub timestamp: ExtTime,
    /// Of the timestamp, in Hz.
    pub clock_rate: u32,
    /// How long it plays.
    pub span: Duration,
    /// Which of the receive codecs decodes it.
    pub codec: usize,
    /// It describes the noise of a pause (RFC 3389) and plays no time itself.
    pub noise: bool,
    /// When it reached the socket.
    pub arrival: Time,
    /// The coded audio.
    pub payload: Vec<u8>,
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// It waits for its place.
    Stored,
    /// Something newer has been played.
    Late,
    /// It is here already, or has been played.
    Duplicate,
    /// The buffer was full: this many packets of the oldest audio went.
    Overflow(usize),
}

/// What is to be played next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pop {
    /// Playout has not started: no packet yet, or the first ones are still gathering delay.
    Idle,
    /// The next packet, all of it.
    Packet {
        /// The packet.
        packet: Packet,
        /// Packets with audio that are missing right before it.
        missing: u64,
        /// It comes after its time: what was made up meanwhile stood in for it.
        delayed: bool,
    },
    /// Audio of this length was sent and has not arrived.
    Lost(Duration),
    /// The sender sent nothing for this long.
    Pause(Duration),
    /// Nothing is here, and nothing tells yet whether it was lost or never sent.
    Empty(Duration),
    /// So many packets were left out, since too much waits: what follows does not join what was before.
    Skipped(usize),
}

/// What playout is to do about the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is as it should be.
    Keep,
    /// This much can be left out.
    Shorten(Duration),
    /// This much is to be put in.
    Lengthen(Duration),
}

/// See the [module](self).
#[derive(Debug)]
pub struct JitterBuffer {
    target: Duration,
    /// In order of (epoch, sequence).
    waiting: VecDeque<(u32, Packet)>,
    /// Counts the timelines: packets put in after a `new_timeline` belong to the next one.
    epoch: u32,
    playing: Option<Playing>,
    /// Sequence numbers that carried no audio (digits, unknown types), of the newest timeline, ascending.
    silent: VecDeque<ExtSeq>,
    waits: Waits,
    renumbering: Renumbering,
    /// What arrived before this is over: nobody listened when it was to be played.
    unheard_before: Time,
    /// What is left of the hole before the next packet, as the last `pop` found it.
    hole: Duration,
}

/// What lies between two packets.
struct Gap {
    length: Duration,
    /// How much audio of it was lost.
    lost: Duration,
    /// Whether timestamps tell how long it is.
    told: bool,
}

/// Where playout is in the present timeline.
#[derive(Debug)]
struct Playing {
    epoch: u32,
    /// The newest sequence number played, and which of the 64 up to it were (bit 0 is itself).
    seq: ExtSeq,
    played: u64,
    /// Of the packet played last: its timestamp, that one's clock, how long it was, when it arrived.
    timestamp: ExtTime,
    clock_rate: u32,
    span: Duration,
    arrival: Time,
    /// How long the last packet of audio was, to tell how long a lost one was.
    packet_span: Duration,
    /// What was passed over since the last packet.
    filled: Duration,
    clock: SenderClock,
}

impl JitterBuffer {
    /// An empty buffer that holds packets back for `target`.
    pub fn new(target: Duration) -> JitterBuffer {
        JitterBuffer {
            target,
            waiting: VecDeque::new(),
            epoch: 0,
            playing: None,
            silent: VecDeque::new(),
            waits: Waits::default(),
            renumbering: Renumbering::default(),
            unheard_before: Time::ZERO,
            hole: Duration::ZERO,
        }
    }

    /// Puts a packet in.
    pub fn insert(&mut self, packet: Packet) -> Insert {
        if self.is_unheard(&packet) {
            return Insert::Late;
        }
        let is_too_long = packet.span > MAX_SPAN || packet.payload.len() > MAX_OCTETS;
        if is_too_long || (packet.noise && self.waiting.len() >= MAX_PACKETS / 2) {
            // However many descriptions of noise come, there is room for speech.
            return Insert::Overflow(1);
        }
        if let Some(rejected) = self.is_old(&packet) {
            if !self.begins_anew(&packet) {
                return rejected;
            }
            self.new_timeline();
        }
        self.renumbering.over();
        let key = (self.epoch, packet.seq);
        let at = self.waiting.partition_point(|(epoch, p)| (*epoch, p.seq) < key);
        self.waiting.insert(at, (self.epoch, packet));
        match self.skip_while(JitterBuffer::is_beyond_bounds) {
            0 => Insert::Stored,
            dropped => Insert::Overflow(dropped),
        }
    }

    /// Whether its number is taken, or behind what was played.
    fn is_old(&self, packet: &Packet) -> Option<Insert> {
        let playing = self.playing.as_ref().filter(|playing| playing.epoch == self.epoch);
        if let Some(playing) = playing.filter(|playing| packet.seq <= playing.seq) {
            let twice = playing.was_played(packet.seq);
            return Some(if twice { Insert::Duplicate } else { Insert::Late });
        }
        let key = (self.epoch, packet.seq);
        let at = self.waiting.partition_point(|(epoch, p)| (*epoch, p.seq) < key);
        let taken = self.waiting.get(at).is_some_and(|(epoch, p)| (*epoch, p.seq) == key);
        taken.then_some(Insert::Duplicate)
    }

    /// Whether a packet under an old number is one of a sender that counts anew.
    fn begins_anew(&mut self, packet: &Packet) -> bool {
        let newest = self.waiting.back().map(|(_, newest)| newest.timestamp);
        let newest = newest.max(self.playing.as_ref().map(|playing| playing.timestamp));
        let ahead = newest.is_some_and(|newest| packet.timestamp > newest);
        self.renumbering.old(packet.seq, ahead, packet.arrival)
    }

    /// The next piece of media time, at most `want` of it unless it is a packet.
    ///
    /// `at` is when it will be heard, in frames of that length; playout of a timeline starts as near to the target delay as
    /// these let it.
    pub fn pop(&mut self, at: Time, want: Duration, frame: Duration) -> Pop {
        let most = self.target + BACKLOG;
        if self.depth() > most + BACKLOG_SLACK {
            return Pop::Skipped(self.skip_while(|buffer| buffer.depth() > most));
        }
        let Some((epoch, _)) = self.waiting.front() else { return self.nothing(want) };
        if self.playing.as_ref().is_none_or(|playing| playing.epoch != *epoch) {
            match self.gathers_for(at, frame) {
                Some(wait) if wait.is_zero() => self.start(at),
                // What begins within a long frame begins where it is due.
                Some(wait) if wait < want && self.playing.is_none() => return Pop::Pause(wait),
                Some(wait) => return self.nothing(wait.min(want)),
                None => return self.nothing(want),
            }
        }
        let Gap { length: gap, lost, told } = self.gap(at, frame);
        let playing = self.playing.as_mut().expect("started above");
        if gap > playing.filled {
            self.hole = gap - playing.filled;
            let (lost, piece) = (lost.min(gap).saturating_sub(playing.filled), want.min(self.hole));
            let piece = if lost.is_zero() { piece } else { piece.min(lost) };
            playing.filled += piece;
            self.hole -= piece;
            return if lost.is_zero() { Pop::Pause(piece) } else { Pop::Lost(piece) };
        }
        let behind = playing.filled - gap;
        let noise = self.waiting.front().is_some_and(|(_, packet)| packet.noise);
        let longest = if told { self.target } else { Duration::ZERO };
        if behind > longest && !noise && self.gathers_for(at, frame) != Some(Duration::ZERO) {
            // As at the start: who was away for long, or nobody knows how long, begins with the delay aimed at, unless all that
            // was held up comes along.
            return self.nothing(want);
        }
        let (_, packet) = self.waiting.pop_front().expect("seen above");
        let playing = self.playing.as_mut().expect("started above");
        let missing = playing.missing_before(packet.seq, &self.silent);
        playing.advance(&packet);
        if noise {
            // It holds from now on, and what follows stays where it belongs: there is nothing of it to be too late for.
            playing.filled = behind;
        } else {
            if behind > longest {
                // It was no delay, or none that lasts.
                self.waits.forget();
            } else {
                self.waits.later(behind);
            }
            self.waits.note(at, at - packet.arrival);
        }
        while self.silent.front().is_some_and(|&s| s < packet.seq) {
            self.silent.pop_front();
        }
        Pop::Packet { packet, missing, delayed: !behind.is_zero() }
    }

    /// What lies between the end of the packet played last and the next one.
    fn gap(&self, at: Time, frame: Duration) -> Gap {
        let (Some(playing), Some((_, packet))) = (&self.playing, self.waiting.front()) else {
            return Gap { length: Duration::ZERO, lost: Duration::ZERO, told: false };
        };
        let missing = playing.missing_before(packet.seq, &self.silent);
        let lost = playing.packet_span.saturating_mul(u32::try_from(missing).unwrap_or(u32::MAX));
        let told_gap = playing.told_gap(packet);
        let (gap, told) = (told_gap.unwrap_or(lost), told_gap.is_some());
        if missing == 0 && gap <= LONGEST_ROUNDING.min(playing.packet_span / 4) {
            return Gap { length: Duration::ZERO, lost, told };
        }
        let wait = (at + gap.saturating_sub(playing.filled)) - packet.arrival;
        let wait = wait.saturating_sub(playing.filled.saturating_sub(gap));
        let unconfirmed = wait.saturating_sub(self.need(frame));
        if unconfirmed <= UNCONFIRMED {
            return Gap { length: gap, lost, told };
        }
        // Audio that was lost is not closed over, unless it is the numbers that have jumped.
        let is_elastic = !told || unconfirmed > BACKLOG;
        let elastic = if is_elastic { gap } else { gap.saturating_sub(lost) };
        Gap { length: gap - elastic.min(unconfirmed), lost, told }
    }

    /// For how long playout should not begin yet with what waits, so that one of its packets has the delay aimed at. It begins
    /// with a frame, as near to that as those let it; within longer frames than usual, at every [`START_STEP`] of them.
    fn gathers_for(&self, at: Time, frame: Duration) -> Option<Duration> {
        let (first, _) = self.waiting.front()?;
        let of_it = self.waiting.iter().take_while(|(epoch, _)| epoch == first);
        let mut position = at;
        let waits = of_it.map(|(_, packet)| {
            let wait = (packet.arrival + self.target) - position;
            position += packet.span;
            wait
        });
        let wait = waits.min()?;
        if frame <= USUAL_FRAME {
            return Some(if wait <= frame / 2 { Duration::ZERO } else { frame });
        }
        let steps = (wait + START_STEP / 2).as_nanos() / START_STEP.as_nanos();
        Some(START_STEP * u32::try_from(steps).unwrap_or(u32::MAX))
    }

    fn nothing(&mut self, want: Duration) -> Pop {
        match &mut self.playing {
            None => Pop::Idle,
            Some(playing) => {
                playing.filled += want;
                Pop::Empty(want)
            }
        }
    }

    /// Begins the timeline of the packet in front, with it.
    fn start(&mut self, at: Time) {
        let (epoch, first) = self.waiting.front().expect("a packet starts playout");
        // Noise is the same at any time: what passed of it while its source proved itself need not be heard.
        let passed = (at - first.arrival).saturating_sub(self.target);
        let filled = if first.noise { passed } else { Duration::ZERO };
        self.playing = Some(Playing {
            epoch: *epoch,
            seq: first.seq.back(1),
            played: 0,
            timestamp: first.timestamp,
            clock_rate: first.clock_rate,
            span: Duration::ZERO,
            arrival: first.arrival,
            packet_span: first.span,
            filled,
            clock: SenderClock::default(),
        });
    }

    /// After a [`Pop::Lost`]: the packet behind the hole, and how much of the hole is left.
    pub fn hole(&self) -> Option<(&Packet, Duration)> {
        let playing = self.playing.as_ref()?;
        let (epoch, packet) = self.waiting.front()?;
        (*epoch == playing.epoch).then_some((packet, self.hole))
    }

    /// The rest of that hole has been filled too.
    pub fn fill_hole(&mut self) {
        if let Some(playing) = &mut self.playing {
            playing.filled += core::mem::take(&mut self.hole);
        }
    }

    /// What is to be done about the delay in frames of that length, if it is off by a `step` or by as much as it may be.
    pub fn plan(&self, step: Duration, frame: Duration) -> Plan {
        if let Some(spare) = self.waits.spare(self.target, frame).filter(|spare| *spare >= step) {
            return Plan::Shorten(spare);
        }
        self.waits.lack(self.target).map_or(Plan::Keep, Plan::Lengthen)
    }

    /// Tells that `span` was left out, as planned.
    pub fn shortened(&mut self, span: Duration) {
        self.waits.earlier(span);
    }

    /// Tells that `span` was put in, as planned.
    pub fn lengthened(&mut self, span: Duration) {
        self.waits.later(span);
    }

    /// Leaves out the oldest packets while there is too much; returns how many went.
    fn skip_while(&mut self, too_much: impl Fn(&JitterBuffer) -> bool) -> usize {
        let mut skipped = 0;
        while self.waiting.len() > 1 && too_much(self) {
            let (epoch, packet) = self.waiting.pop_front().expect("more than one");
            if let Some(playing) = self.playing.as_mut().filter(|playing| playing.epoch == epoch) {
                playing.pass_over(&packet);
            }
            skipped += 1;
        }
        if skipped > 0 {
            // What waits now has nothing to do with how long packets waited before.
            self.waits.forget();
        }
        skipped
    }

    fn is_beyond_bounds(&self) -> bool {
        let octets = || self.waiting.iter().map(|(_, packet)| packet.payload.len()).sum::<usize>();
        self.waiting.len() > MAX_PACKETS || self.depth() > MAX_SPAN || octets() > MAX_OCTETS
    }

    /// Time up to `now` has passed unheard: playout goes on with what came so late that it is due from now on. Says how many
    /// packets are over.
    pub fn pass(&mut self, now: Time) -> usize {
        self.unheard_before = now.back(self.target);
        let mut waiting = std::mem::take(&mut self.waiting);
        let before = waiting.len();
        waiting.retain(|(_, packet)| !self.is_unheard(packet));
        self.waiting = waiting;
        self.new_timeline();
        let epoch = self.epoch;
        self.waiting.iter_mut().for_each(|(e, _)| *e = epoch);
        before - self.waiting.len()
    }

    /// Of noise there is nothing to be missed: what it describes goes on.
    fn is_unheard(&self, packet: &Packet) -> bool {
        packet.arrival < self.unheard_before && !packet.noise
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

    /// What follows has nothing to do with what went before: a new source, a restart of its numbers.
    /// What waits is still played.
    pub fn new_timeline(&mut self) {
        self.epoch += 1;
        self.silent.clear();
        self.waits.forget();
        self.renumbering.over();
    }

    /// Forgets everything; the next packet starts playout anew.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.playing = None;
        self.new_timeline();
    }

    /// How much audio the packets hold, as far as the last one that was played tells.
    pub fn packet_span(&self) -> Option<Duration> {
        self.playing.as_ref().map(|playing| playing.packet_span).filter(|span| !span.is_zero())
    }

    /// The longest that packets are held back.
    pub fn longest(&self) -> Duration {
        self.target + BACKLOG
    }

    /// Whether a packet of this codec waits.
    pub fn holds_codec(&self, codec: usize) -> bool {
        self.waiting.iter().any(|(_, packet)| packet.codec == codec)
    }

    /// How long the audio that waits here plays.
    pub fn depth(&self) -> Duration {
        self.waiting.iter().map(|(_, packet)| packet.span).sum()
    }

    /// The delay aimed at.
    pub fn target(&self) -> Duration {
        self.target
    }

    /// How long after its arrival audio is played that came without delay; `None` before there was any.
    pub fn delay(&self) -> Option<Duration> {
        self.waits.delay()
    }

    /// True once playout runs.
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// The delay that serves the packets of late; a stall among them does not make it endless.
    fn need(&self, frame: Duration) -> Duration {
        self.waits.need(self.target, frame).min(self.target + BACKLOG)
    }
}

impl Playing {
    fn was_played(&self, seq: ExtSeq) -> bool {
        let age = self.seq.since(seq).unwrap_or(u64::MAX);
        age < 64 && self.played >> age & 1 == 1
    }

    /// How many packets with audio are missing before `seq`.
    fn missing_before(&self, seq: ExtSeq, silent: &VecDeque<ExtSeq>) -> u64 {
        let known = silent.iter().filter(|&&s| s > self.seq && s < seq).count() as u64;
        seq.since(self.seq).unwrap_or(0).saturating_sub(1 + known)
    }

    /// What the timestamps say of the time between the end of the packet played last and this one; `None` if that cannot
    /// be.
    fn told_gap(&self, packet: &Packet) -> Option<Duration> {
        if packet.clock_rate != self.clock_rate {
            return None;
        }
        let step = packet.timestamp.ahead_of(self.timestamp);
        self.clock.elapsed(step, self.clock_rate)?.checked_sub(self.span)
    }

    fn advance(&mut self, packet: &Packet) {
        self.learn(packet);
        self.count(packet.seq, 1);
        self.stand_behind(packet);
    }

    /// What is left out is not played, but nothing before it will be either.
    fn pass_over(&mut self, packet: &Packet) {
        self.count(packet.seq, 0);
        self.stand_behind(packet);
    }

    fn count(&mut self, seq: ExtSeq, played: u64) {
        let step = seq.since(self.seq).unwrap_or(0);
        self.played = if step < 64 { self.played << step } else { 0 } | played;
        self.seq = seq;
    }

    fn stand_behind(&mut self, packet: &Packet) {
        (self.timestamp, self.clock_rate) = (packet.timestamp, packet.clock_rate);
        (self.span, self.arrival) = (packet.span, packet.arrival);
        if !packet.noise {
            self.packet_span = packet.span;
        }
        self.filled = Duration::ZERO;
    }

    /// What two packets of audio in a row say of the sender's clock.
    fn learn(&mut self, packet: &Packet) {
        if packet.clock_rate != self.clock_rate {
            self.clock = SenderClock::default();
        } else if packet.seq == self.seq.plus(1) && !packet.noise && !self.span.is_zero() {
            let step = packet.timestamp.ahead_of(self.timestamp);
            self.clock.follow(step, self.span, self.arrival, packet.arrival, self.clock_rate);
        }
    }
}

#[cfg(test)]
mod tests;
