//! The playout policy: which packet plays when.
//!
//! A buffer of fixed target delay. Packets are put in as they arrive, in any order; [`JitterBuffer::pop`] hands them out
//! in media time, and says of every hole whether audio was lost (sequence numbers are missing) or the sender paused
//! (none are). The position runs with the local clock, so that a pause, a burst or a stall moves nothing for good:
//!
//! - a packet that comes too late for its place is rejected; if it is the very next in sequence, nothing was lost but
//!   time, so playout goes back to it (a stall of the network) or starts anew from it (a sender whose timestamps stand
//!   still in silence);
//! - delay beyond the target that no packet of the last second needed is given back ([`JitterBuffer::excess`]).
//!
//! This file is the only one that knows this policy. Its interface, `insert` and `pop`, is what an adaptive policy needs.

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
    pub seq: u64,
    /// Extended RTP timestamp of its first sample, in ticks.
    pub timestamp: u64,
    /// How long it plays, in ticks.
    pub ticks: u32,
    /// Which of the receive codecs decodes it.
    pub codec: usize,
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
    silent: VecDeque<u64>,
    slack: SlackWindow,
}

/// The position of playout in the present timeline.
#[derive(Debug)]
struct Playing {
    epoch: u32,
    /// The extended timestamp that is due next.
    next: u64,
    /// The newest sequence number played, and which of the 64 up to it were (bit 0 is itself).
    seq: u64,
    played: u64,
    /// The length of the last packet played, to tell how long a lost one was.
    packet_ticks: u32,
    /// Ticks passed over since the last packet played.
    filled: u64,
}

impl JitterBuffer {
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
        let (target_ticks, max_step) = (self.ticks(self.target), self.ticks(MAX_STEP));
        let playing = self.playing.as_mut().filter(|p| p.epoch == self.epoch)?;
        if packet.seq <= playing.seq {
            let twice = playing.was_played(packet.seq);
            return Some(if twice { Insert::Duplicate } else { Insert::Late });
        }
        let late = packet.timestamp + u64::from(packet.ticks) <= playing.next;
        let step = packet.timestamp.abs_diff(playing.next);
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
        let ahead = packet.timestamp.saturating_sub(self.playing.as_ref()?.next);
        self.slack.note(packet.arrival, (due - packet.arrival) + self.span(ahead));
        None
    }

    /// Drops all but the target's worth of the newest audio; returns how many packets went.
    fn jump_to_newest(&mut self) -> usize {
        let before = self.waiting.len();
        while self.waiting.len() > 1 && self.depth() > self.target {
            self.waiting.pop_front();
        }
        self.new_timeline();
        let epoch = self.epoch;
        self.waiting.iter_mut().for_each(|(e, _)| *e = epoch);
        before - self.waiting.len()
    }

    /// Notes that a sequence number of the trusted source carried no audio, so that its absence is not taken for loss.
    pub fn note_silent(&mut self, seq: u64) {
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
            None if next_timeline_starts(None) => self.start(),
            None => return Pop::Idle,
            Some(playing) if next_timeline_starts(Some(playing.epoch)) => self.start(),
            Some(_) => {}
        }
        let packets_silent = &self.silent;
        let playing = self.playing.as_mut().expect("started above");
        let Some((_, packet)) = self.waiting.front().filter(|(e, _)| *e == playing.epoch) else {
            playing.fill(want);
            return Pop::Empty(want);
        };
        let far = self.clock_rate as u64 * MAX_STEP.as_secs();
        if packet.timestamp.saturating_sub(playing.next) > far {
            // Only packets that came together before playout began can stand so far apart.
            playing.next = packet.timestamp;
        }
        if packet.timestamp > playing.next {
            let hole = packet.timestamp - playing.next;
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
        let skip = (playing.next - packet.timestamp).min(u64::from(packet.ticks)) as u32;
        let missing = playing.missing_before(packet.seq, &self.silent);
        playing.advance(&packet);
        while self.silent.front().is_some_and(|&s| s < packet.seq) {
            self.silent.pop_front();
        }
        Pop::Packet { packet, skip, missing }
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

    fn start(&mut self) {
        let (epoch, first) = self.waiting.front().expect("a packet starts playout");
        self.playing = Some(Playing {
            epoch: *epoch,
            next: first.timestamp,
            seq: first.seq - 1,
            played: 0,
            packet_ticks: first.ticks,
            filled: 0,
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
    fn was_played(&self, seq: u64) -> bool {
        let age = self.seq - seq;
        age < 64 && self.played >> age & 1 == 1
    }

    /// The sequence number that follows what was played, those without audio left out.
    fn next_in_sequence(&self, silent: &VecDeque<u64>) -> u64 {
        let mut next = self.seq + 1;
        for &seq in silent.iter().filter(|&&s| s > self.seq) {
            if seq == next {
                next += 1;
            }
        }
        next
    }

    /// How many packets with audio are missing before `seq`.
    fn missing_before(&self, seq: u64, silent: &VecDeque<u64>) -> u64 {
        let known = silent.iter().filter(|&&s| s > self.seq && s < seq).count() as u64;
        (seq - self.seq - 1).saturating_sub(known)
    }

    /// Passes over a piece of a hole.
    fn fill(&mut self, ticks: u32) {
        self.next += u64::from(ticks);
        self.filled += u64::from(ticks);
    }

    fn advance(&mut self, packet: &Packet) {
        let step = packet.seq - self.seq;
        self.played = if step < 64 { self.played << step } else { 0 } | 1;
        self.seq = packet.seq;
        self.next = self.next.max(packet.timestamp + u64::from(packet.ticks));
        self.packet_ticks = packet.ticks;
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
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);
    const TICKS: u32 = 160;

    /// A buffer of 60 ms at 8 kHz, driven in frames of 20 ms: frame `n` is due at `n` · 20 ms.
    struct Bench {
        buffer: JitterBuffer,
        frame: u64,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { buffer: JitterBuffer::new(Duration::from_millis(60), 8000), frame: 0 }
        }

        fn due(&self) -> Time {
            Time::ms(20 * self.frame)
        }

        /// Packet `n` of a source that began at the origin and paused `pause` ms so far, arriving at `at`.
        fn put_after(&mut self, n: u64, pause: u64, at: Time) -> Insert {
            let due = self.due().max(at);
            let timestamp = (1 << 40) + n * 160 + pause * 8;
            let payload = vec![n as u8];
            self.buffer.insert(
                Packet { seq: 1000 + n, timestamp, ticks: TICKS, codec: 0, arrival: at, payload },
                due,
            )
        }

        fn put(&mut self, n: u64, at: Time) -> Insert {
            self.put_after(n, 0, at)
        }

        /// What the next frame plays: a packet's number, or a word.
        fn play(&mut self) -> Result<u8, &'static str> {
            let now = self.due();
            self.frame += 1;
            match self.buffer.pop(now, TICKS, FRAME) {
                Pop::Packet { packet, skip: 0, .. } => Ok(packet.payload[0]),
                Pop::Packet { .. } => Err("part"),
                Pop::Idle => Err("idle"),
                Pop::Lost(_) => Err("lost"),
                Pop::Pause(_) => Err("pause"),
                Pop::Empty(_) => Err("empty"),
            }
        }

        fn play_until(&mut self, time: Time) -> Vec<Result<u8, &'static str>> {
            let mut played = Vec::new();
            while self.due() < time {
                played.push(self.play());
            }
            played
        }
    }

    #[test]
    fn the_first_packet_waits_for_the_target_delay_and_the_rest_follow_in_order() {
        let mut bench = Bench::new();
        for n in 0..4 {
            bench.put(n, Time::ms(20 * n));
        }
        assert_eq!(
            bench.play_until(Time::ms(160)),
            [Err("idle"), Err("idle"), Err("idle"), Ok(0), Ok(1), Ok(2), Ok(3), Err("empty")]
        );
    }

    #[test]
    fn reordered_packets_play_in_order_and_twice_sent_ones_once() {
        let mut bench = Bench::new();
        for (n, outcome) in [
            (0, Insert::Stored),
            (2, Insert::Stored),
            (1, Insert::Stored),
            (2, Insert::Duplicate),
            (3, Insert::Stored),
        ] {
            assert_eq!(bench.put(n, Time::ms(n)), outcome);
        }
        assert_eq!(bench.play_until(Time::ms(140))[3..], [Ok(0), Ok(1), Ok(2), Ok(3)]);
        assert_eq!(bench.put(3, Time::ms(141)), Insert::Duplicate, "played already");
    }

    #[test]
    fn one_lost_packet_costs_its_own_frame_and_no_delay() {
        let mut bench = Bench::new();
        for n in [0, 1, 3, 4] {
            bench.put(n, Time::ms(20 * n));
        }
        assert_eq!(bench.play_until(Time::ms(160))[3..], [Ok(0), Ok(1), Err("lost"), Ok(3), Ok(4)]);
        assert_eq!(bench.put(2, Time::ms(161)), Insert::Late);
    }

    #[test]
    fn a_pause_is_a_pause_and_the_speech_before_it_is_not_held_back() {
        let mut bench = Bench::new();
        for n in 0..3 {
            bench.put(n, Time::ms(20 * n));
        }
        let before = bench.play_until(Time::ms(240));
        assert_eq!(before[3..6], [Ok(0), Ok(1), Ok(2)]);
        // 200 ms of silence later, with no number missing.
        bench.put_after(3, 200, Time::ms(260));
        let after = bench.play_until(Time::ms(340));
        assert_eq!(after[after.len() - 1], Ok(3), "{after:?}");
        assert!(after[..after.len() - 1].iter().all(|p| *p == Err("empty") || *p == Err("pause")));
    }

    #[test]
    fn digits_between_audio_are_not_lost_audio() {
        let mut bench = Bench::new();
        bench.put(0, Time::ms(0));
        for n in 1..4 {
            bench.buffer.note_silent(1000 + n);
        }
        bench.put(4, Time::ms(20));
        assert_eq!(
            bench.play_until(Time::ms(160))[3..],
            [Ok(0), Err("pause"), Err("pause"), Err("pause"), Ok(4)]
        );
    }

    #[test]
    fn a_stall_of_the_network_loses_nothing_and_its_delay_is_given_back() {
        let mut bench = Bench::new();
        let mut heard = Vec::new();
        let mut given_back = Duration::ZERO;
        for n in 0..400u64 {
            // From 1 s on nothing arrives for 200 ms, then all of it at once.
            let at = if (50..60).contains(&n) { Time::ms(1200) } else { Time::ms(20 * n) };
            heard.extend(bench.play_until(at));
            assert_eq!(bench.put(n, at), Insert::Stored);
            if bench.buffer.excess(FRAME).is_some() {
                // The frame that playout leaves out.
                let now = bench.due();
                bench.buffer.pop(now, TICKS, FRAME);
                bench.buffer.gave_back(FRAME);
                given_back += FRAME;
            }
        }
        let lost = heard.iter().filter(|p| **p == Err("lost")).count();
        assert_eq!(lost, 0);
        assert!(given_back >= Duration::from_millis(200), "{given_back:?}");
        let depth = bench.buffer.depth();
        assert!(depth <= Duration::from_millis(80), "delay did not return: {depth:?}");
    }

    #[test]
    fn a_sender_whose_timestamps_stand_still_in_silence_is_heard_after_it() {
        let mut bench = Bench::new();
        for n in 0..3 {
            bench.put(n, Time::ms(20 * n));
        }
        bench.play_until(Time::ms(2000));
        for n in 3..6 {
            assert_eq!(bench.put(n, Time::ms(2000 + 20 * (n - 3))), Insert::Stored);
        }
        let heard = bench.play_until(Time::ms(2200));
        assert_eq!(heard.iter().filter_map(|p| p.ok()).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn a_new_timeline_plays_after_what_waits_and_with_its_own_delay() {
        let mut bench = Bench::new();
        for n in 0..4 {
            bench.put(n, Time::ms(20 * n));
        }
        bench.buffer.new_timeline();
        let far = Packet {
            seq: 7,
            timestamp: 99,
            ticks: TICKS,
            codec: 0,
            arrival: Time::ms(80),
            payload: vec![77],
        };
        bench.buffer.insert(far, Time::ms(80));
        let heard = bench.play_until(Time::ms(180));
        assert_eq!(heard[3..], [Ok(0), Ok(1), Ok(2), Ok(3), Ok(77), Err("empty")]);
    }

    #[test]
    fn a_full_buffer_jumps_to_the_newest_audio() {
        let mut bench = Bench::new();
        for n in 0..MAX_PACKETS as u64 {
            assert_eq!(bench.put(n, Time::ms(1)), Insert::Stored);
        }
        let Insert::Overflow(dropped) = bench.put(MAX_PACKETS as u64, Time::ms(1)) else {
            panic!("one past the bound");
        };
        assert_eq!(dropped, MAX_PACKETS + 1 - 3);
        assert_eq!(bench.play_until(Time::ms(81)).last(), Some(&Ok((MAX_PACKETS - 1) as u8)));
    }

    #[test]
    fn packets_that_overlap_what_was_played_are_played_in_part() {
        let mut bench = Bench::new();
        bench.put(0, Time::ms(0));
        bench.play_until(Time::ms(80));
        let half = Packet {
            seq: 1001,
            timestamp: (1 << 40) + 80,
            ticks: TICKS,
            codec: 0,
            arrival: Time::ms(70),
            payload: vec![1],
        };
        bench.buffer.insert(half, Time::ms(80));
        assert!(matches!(
            bench.buffer.pop(Time::ms(80), TICKS, FRAME),
            Pop::Packet { skip: 80, .. }
        ));
    }
}
