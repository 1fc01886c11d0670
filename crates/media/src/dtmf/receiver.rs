//! Digits from the wire: exactly one per event, in the order they were pressed, whatever was lost, late or doubled.
//!
//! An event is known by its timestamp and its code (RFC 4733 §2.5.2.2). It is reported when it has ended, because only
//! then is its duration known: by the E bit, by the start of a newer event, or by silence.

use std::collections::VecDeque;

use super::{
    duration_to_ticks, ticks_to_duration, Digit, EventPayload, LONGEST_DIGIT, SEGMENT_TICKS,
};
use crate::time::{Duration, Time};

/// An event of which nothing more was heard for this long has ended. Updates come at least every 50 ms (§2.5.1.2): three
/// of them, and 50 ms for jitter. It is waited for only when all three ends are lost and no digit follows; a shorter wait
/// would cut a held key short at every burst of loss.
const SILENCE: Duration = Duration::from_millis(200);
/// A key held for longer than the longest digit is stuck: it is reported, and what follows of it is ignored. The margin
/// lets a digit of just that length end by its own last packet.
const STUCK: Duration = Duration::from_secs(LONGEST_DIGIT.as_secs() + 1);
/// Packets of events up to this much older than the newest finished one are late. Beyond it the sender has begun a new
/// timeline. The sequence check drops what is 100 packets late (RFC 3550 §A.1 MAX_MISORDER), which is seconds at most;
/// a minute also covers the finished segments of the longest digit.
const LATE: Duration = LONGEST_DIGIT;
/// Reported digits that may wait to be polled. One packet ends two events at most, and the owner polls after each.
const PENDING: usize = 16;

/// A digit, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedDigit {
    /// The key.
    pub digit: Digit,
    /// How long it was held, as far as the packets that arrived tell.
    pub duration: Duration,
    /// The extended RTP timestamp of its start.
    pub timestamp: u64,
    /// How its end became known.
    pub ended: Ended,
}

/// How the end of a digit became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A packet with the E bit: the duration is exact.
    Marked,
    /// A newer event began, and no end was seen before it.
    Overtaken,
    /// Nothing was heard of it for 200 ms.
    Silent,
    /// It is held for more than a minute; what follows of it is ignored.
    Overlong,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first packet of an event, with or without the marker (§2.2.2).
    Began,
    /// The event goes on.
    Continued,
    /// The event ended with this packet, be it the first seen of it.
    Ended,
    /// Of the current event, but older than what is known of it.
    Stale,
    /// Of an event that has been reported, or that is older than one that has.
    Late,
    /// Duration 0 is for states, which keys are not (§2.3.5).
    ZeroDuration,
    /// A tone or signal that is no key.
    NotADigit,
}

/// Packets that changed nothing, and digits whose end had to be guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverCounts {
    /// Packets with [`Outcome::Stale`].
    pub stale: u64,
    /// Packets with [`Outcome::Late`].
    pub late: u64,
    /// Packets with [`Outcome::ZeroDuration`].
    pub zero_duration: u64,
    /// Packets with [`Outcome::NotADigit`].
    pub not_a_digit: u64,
    /// Digits that did not end by the E bit.
    pub end_unseen: u64,
    /// Digits dropped because nobody polled.
    pub unpolled: u64,
}

/// Turns event packets of one source into digits.
///
/// ```
/// use roomkit_media::dtmf::{EventPayload, Receiver};
/// use roomkit_media::time::{Duration, Time};
/// let mut receiver = Receiver::new(8000);
/// for (ms, duration, end) in [(0, 160, false), (20, 320, false), (40, 480, true), (60, 480, true)] {
///     receiver.receive(Time::ms(ms), 1000, &EventPayload { event: 1, end, volume: 10, duration });
/// }
/// let one = receiver.poll(Time::ms(60)).unwrap();
/// assert_eq!((one.digit.as_char(), one.duration), ('1', Duration::from_millis(60)));
/// assert_eq!(receiver.poll(Time::ms(60)), None);
/// ```
#[derive(Clone, Debug)]
pub struct Receiver {
    clock_rate: u32,
    event: Option<Event>,
    finished: Option<Finished>,
    pending: VecDeque<ReceivedDigit>,
    counts: ReceiverCounts,
}

/// The event that is being received.
#[derive(Clone, Copy, Debug)]
struct Event {
    digit: Digit,
    /// Where the event began, and where its current segment did (§2.5.1.3).
    start: u64,
    segment: u64,
    /// The longest duration reported for the current segment.
    duration: u16,
    began: Time,
    heard: Time,
}

/// The newest finished event. Everything before its segment is finished too, so this one record is all the history that
/// §2.5.2.2 asks for: it cannot be flooded.
#[derive(Clone, Copy, Debug)]
struct Finished {
    segment: u64,
    /// The codes of events finished at this very timestamp, one bit each: there are senders that do not move it.
    codes: u16,
    /// The event that was given up here without its E bit, and so may still go on in a further segment.
    lapsed: Option<Digit>,
}

impl Receiver {
    /// For a stream whose RTP clock ticks at `clock_rate` Hz; events share the clock of the audio (RFC 4733 §2.1).
    ///
    /// # Panics
    /// If `clock_rate` is 0.
    pub fn new(clock_rate: u32) -> Receiver {
        assert!(clock_rate > 0, "the RTP clock rate must be at least 1 Hz, got 0");
        Receiver {
            clock_rate,
            event: None,
            finished: None,
            pending: VecDeque::new(),
            counts: ReceiverCounts::default(),
        }
    }

    /// Takes an event packet that arrived at `now`, with its extended timestamp. Poll afterwards.
    pub fn receive(&mut self, now: Time, timestamp: u64, payload: &EventPayload) -> Outcome {
        self.expire(now);
        let outcome = match Digit::from_event(payload.event) {
            None => Outcome::NotADigit,
            Some(_) if payload.duration == 0 => Outcome::ZeroDuration,
            Some(digit) => self.take(now, timestamp, digit, payload),
        };
        match outcome {
            Outcome::Began | Outcome::Continued | Outcome::Ended => {}
            Outcome::Stale => self.counts.stale += 1,
            Outcome::Late => self.counts.late += 1,
            Outcome::ZeroDuration => self.counts.zero_duration += 1,
            Outcome::NotADigit => self.counts.not_a_digit += 1,
        }
        outcome
    }

    /// The next digit that has ended by `now`.
    pub fn poll(&mut self, now: Time) -> Option<ReceivedDigit> {
        self.expire(now);
        self.pending.pop_front()
    }

    /// When to poll even if no packet arrives.
    pub fn deadline(&self) -> Option<Time> {
        self.event.map(|event| (event.heard + SILENCE).min(event.began + STUCK))
    }

    /// What was counted so far.
    pub fn counts(&self) -> ReceiverCounts {
        self.counts
    }

    fn take(&mut self, now: Time, timestamp: u64, digit: Digit, payload: &EventPayload) -> Outcome {
        if self.is_finished(timestamp, digit) {
            return Outcome::Late;
        }
        if let Some(event) = &mut self.event {
            if event.digit == digit && event.takes(now, timestamp) {
                return self.update(payload);
            }
            if event.digit == digit && event.owns_earlier(timestamp) {
                return Outcome::Stale;
            }
            if timestamp < event.start && event.start - timestamp <= self.late() {
                // An older event, overtaken on the way by the start of this one: it is over, and comes first.
                let overtaken = Event::new(now, timestamp, digit, payload);
                let ended = if payload.end { Ended::Marked } else { Ended::Overtaken };
                self.report(overtaken, ended);
                return Outcome::Ended;
            }
            // §2.5.2.2: one key at a time, so a newer event ends this one at once.
            self.finish(Ended::Overtaken);
        }
        self.event = Some(Event::new(now, timestamp, digit, payload));
        if payload.end {
            self.finish(Ended::Marked);
            return Outcome::Ended;
        }
        Outcome::Began
    }

    /// Takes in a packet of the current segment, which [`Event::takes`] has made sure of.
    fn update(&mut self, payload: &EventPayload) -> Outcome {
        let Some(event) = &mut self.event else { return Outcome::Stale };
        let grown = payload.duration > event.duration;
        event.duration = event.duration.max(payload.duration);
        if payload.end {
            self.finish(Ended::Marked);
            Outcome::Ended
        } else if event.total() > duration_to_ticks(STUCK, self.clock_rate) {
            self.finish(Ended::Overlong);
            Outcome::Ended
        } else if grown {
            Outcome::Continued
        } else {
            Outcome::Stale
        }
    }

    /// Whether a packet belongs to what has been reported. A further segment of an event that was given up for silent or
    /// overlong belongs to it too, and moves the record on.
    fn is_finished(&mut self, timestamp: u64, digit: Digit) -> bool {
        let late = self.late();
        let Some(finished) = &mut self.finished else { return false };
        match timestamp.checked_sub(finished.segment) {
            None => finished.segment - timestamp <= late,
            Some(0) => finished.codes & bit(digit) != 0,
            Some(ahead) => {
                let goes_on = finished.lapsed == Some(digit)
                    && ahead <= late
                    && ahead % u64::from(SEGMENT_TICKS) == 0;
                if goes_on {
                    finished.segment = timestamp;
                    finished.codes = bit(digit);
                }
                goes_on
            }
        }
    }

    fn expire(&mut self, now: Time) {
        let Some(event) = self.event else { return };
        if now >= event.heard + SILENCE {
            self.finish(Ended::Silent);
        } else if now >= event.began + STUCK {
            self.finish(Ended::Overlong);
        }
    }

    fn finish(&mut self, ended: Ended) {
        if let Some(event) = self.event.take() {
            self.report(event, ended);
        }
    }

    fn report(&mut self, event: Event, ended: Ended) {
        let earlier_codes = match self.finished {
            Some(finished) if finished.segment == event.segment => finished.codes,
            _ => 0,
        };
        let gone_quiet = matches!(ended, Ended::Silent | Ended::Overlong);
        self.finished = Some(Finished {
            segment: event.segment,
            codes: earlier_codes | bit(event.digit),
            lapsed: gone_quiet.then_some(event.digit),
        });
        self.counts.end_unseen += u64::from(ended != Ended::Marked);
        if self.pending.len() >= PENDING {
            self.counts.unpolled += 1;
            return;
        }
        self.pending.push_back(ReceivedDigit {
            digit: event.digit,
            duration: ticks_to_duration(event.total(), self.clock_rate).min(LONGEST_DIGIT),
            timestamp: event.start,
            ended,
        });
    }

    fn late(&self) -> u64 {
        duration_to_ticks(LATE, self.clock_rate)
    }
}

impl Event {
    fn new(now: Time, timestamp: u64, digit: Digit, payload: &EventPayload) -> Event {
        Event {
            digit,
            start: timestamp,
            segment: timestamp,
            duration: payload.duration,
            began: now,
            heard: now,
        }
    }

    /// Whether a packet with this event's code is of its current segment, or opens the next one.
    fn takes(&mut self, now: Time, timestamp: u64) -> bool {
        if timestamp != self.segment {
            let Some(ahead) = timestamp.checked_sub(self.segment) else { return false };
            // §2.5.2.3: the next segment starts where the full one ends, without a gap. That its report of 0xFFFF ticks
            // was lost does not matter: the same key again, after its end went unseen, does not meet this very tick.
            // Some senders fill a segment only to the last whole frame; those are believed from half the range on.
            let full = ahead == u64::from(SEGMENT_TICKS);
            let filled = ahead == u64::from(self.duration) && self.duration > SEGMENT_TICKS / 2;
            if !full && !filled {
                return false;
            }
            self.segment = timestamp;
            self.duration = 0;
        }
        // Every packet of the segment shows that the key was held a moment ago, grown or not: the report of a full segment
        // is repeated as it is.
        self.heard = now;
        true
    }

    /// Whether a packet with this event's code is of one of its earlier segments; one of the segment before the first that
    /// was seen moves the start back.
    fn owns_earlier(&mut self, timestamp: u64) -> bool {
        if self.start.checked_sub(timestamp) == Some(u64::from(SEGMENT_TICKS)) {
            self.start = timestamp;
        }
        (self.start..self.segment).contains(&timestamp)
    }

    /// §2.5.2.3: the full segments and the current one, in ticks.
    fn total(&self) -> u64 {
        self.segment - self.start + u64::from(self.duration)
    }
}

fn bit(digit: Digit) -> u16 {
    1 << digit.event()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver at 8 kHz with shorthand for what arrives and what comes out.
    struct Bench(Receiver);

    impl Bench {
        fn new() -> Bench {
            Bench(Receiver::new(8000))
        }
        fn update(&mut self, ms: u64, timestamp: u64, event: u8, duration: u16) -> Outcome {
            self.packet(ms, timestamp, event, duration, false)
        }
        fn end(&mut self, ms: u64, timestamp: u64, event: u8, duration: u16) -> Outcome {
            self.packet(ms, timestamp, event, duration, true)
        }
        fn packet(
            &mut self,
            ms: u64,
            timestamp: u64,
            event: u8,
            duration: u16,
            end: bool,
        ) -> Outcome {
            let payload = EventPayload { event, end, volume: 10, duration };
            self.0.receive(Time::ms(ms), timestamp, &payload)
        }
        /// What has been reported by `ms`: key, milliseconds, how it ended.
        fn digits(&mut self, ms: u64) -> Vec<(char, u128, Ended)> {
            core::iter::from_fn(|| self.0.poll(Time::ms(ms)))
                .map(|d| (d.digit.as_char(), d.duration.as_millis(), d.ended))
                .collect()
        }
    }

    #[test]
    fn rfc4733_2_5_1_4_the_final_packet_three_times_is_one_digit() {
        let mut b = Bench::new();
        assert_eq!(b.update(0, 5000, 1, 160), Outcome::Began);
        assert_eq!(b.update(20, 5000, 1, 320), Outcome::Continued);
        assert_eq!(b.digits(39), [], "not before it has ended");
        assert_eq!(b.end(40, 5000, 1, 480), Outcome::Ended);
        assert_eq!(b.end(60, 5000, 1, 480), Outcome::Late);
        assert_eq!(b.end(80, 5000, 1, 480), Outcome::Late);
        assert_eq!(b.digits(2000), [('1', 60, Ended::Marked)]);
        assert_eq!((b.0.counts().late, b.0.deadline()), (2, None));
    }

    #[test]
    fn rfc4733_2_2_2_a_lost_start_is_still_one_digit() {
        let mut b = Bench::new();
        assert_eq!(b.update(100, 5000, 7, 960), Outcome::Began, "no marker needed");
        b.end(120, 5000, 7, 1120);
        assert_eq!(b.digits(120), [('7', 140, Ended::Marked)]);
        // Everything but one of the ends is lost.
        assert_eq!(b.end(400, 9000, 7, 1120), Outcome::Ended);
        assert_eq!(b.digits(400), [('7', 140, Ended::Marked)]);
    }

    #[test]
    fn rfc4733_2_5_2_2_all_ends_lost_it_ends_by_silence() {
        let mut b = Bench::new();
        b.update(0, 5000, 3, 160);
        b.update(50, 5000, 3, 560);
        assert_eq!(b.0.deadline(), Some(Time::ms(250)));
        assert_eq!(b.digits(249), []);
        assert_eq!(b.digits(250), [('3', 70, Ended::Silent)]);
        assert_eq!(b.0.deadline(), None);
        // §2.5.2.2: a late packet never restarts it, not even one that tells more.
        assert_eq!(b.update(260, 5000, 3, 720), Outcome::Late);
        assert_eq!(b.end(30_000, 5000, 3, 800), Outcome::Late);
        assert_eq!(b.digits(60_000), []);
    }

    #[test]
    fn rfc4733_2_5_2_2_a_newer_event_ends_the_one_before_at_once() {
        let mut b = Bench::new();
        b.update(0, 5000, 1, 160);
        b.update(20, 5000, 1, 320);
        assert_eq!(b.update(180, 6440, 1, 160), Outcome::Began, "the same key, pressed again");
        assert_eq!(b.digits(180), [('1', 40, Ended::Overtaken)]);
        assert_eq!(b.end(190, 5000, 1, 800), Outcome::Late, "an end that was overtaken");
        b.end(200, 6440, 1, 320);
        assert_eq!(b.digits(200), [('1', 40, Ended::Marked)]);
    }

    #[test]
    fn a_digit_whose_only_packet_was_overtaken_by_the_next_digit_comes_first() {
        let mut b = Bench::new();
        b.update(0, 6440, 2, 160);
        assert_eq!(b.end(10, 5000, 1, 800), Outcome::Ended);
        assert_eq!(b.end(12, 5000, 1, 800), Outcome::Late);
        b.end(60, 6440, 2, 800);
        // Once the later digit is reported, an unseen older one can only make a wrong number: it is late.
        assert_eq!(b.end(70, 6000, 9, 160), Outcome::Late);
        assert_eq!(b.digits(70), [('1', 100, Ended::Marked), ('2', 100, Ended::Marked)]);
    }

    #[test]
    fn rfc4733_2_3_5_duration_0_is_ignored() {
        let mut b = Bench::new();
        assert_eq!(b.update(0, 5000, 1, 0), Outcome::ZeroDuration);
        assert_eq!(b.end(10, 5000, 1, 0), Outcome::ZeroDuration);
        assert_eq!((b.0.deadline(), b.0.counts().zero_duration), (None, 2));
        b.update(20, 5000, 1, 160);
        assert_eq!(b.end(30, 5000, 1, 0), Outcome::ZeroDuration, "and ends nothing");
        b.end(40, 5000, 1, 320);
        assert_eq!(b.digits(5000), [('1', 40, Ended::Marked)]);
    }

    #[test]
    fn tones_that_are_no_keys_are_counted_and_disturb_no_digit() {
        let mut b = Bench::new();
        b.update(0, 5000, 15, 160);
        for event in [16, 17, 32, 36, 255] {
            assert_eq!(b.end(10, 5400, event, 160), Outcome::NotADigit);
        }
        b.end(20, 5000, 15, 320);
        assert_eq!(b.digits(20), [('D', 40, Ended::Marked)]);
        assert_eq!(b.0.counts().not_a_digit, 5);
    }

    #[test]
    fn reordered_and_doubled_updates_neither_shrink_nor_end_a_digit() {
        let mut b = Bench::new();
        b.update(0, 5000, 4, 480);
        assert_eq!(b.update(1, 5000, 4, 160), Outcome::Stale);
        assert_eq!(b.update(2, 5000, 4, 480), Outcome::Stale);
        assert_eq!(b.update(3, 5000, 4, 640), Outcome::Continued);
        assert_eq!(b.digits(202), [], "stale packets show that it is alive, too");
        assert_eq!(b.digits(203), [('4', 80, Ended::Silent)]);
        assert_eq!(b.0.counts().stale, 2);
    }

    #[test]
    fn rfc4733_2_5_2_3_segments_are_joined_to_one_digit_with_the_summed_duration() {
        let mut b = Bench::new();
        b.update(0, 5000, 1, 160);
        for n in 1..=81 {
            b.update(n * 100, 5000, 1, (n * 800) as u16);
        }
        b.update(8191, 5000, 1, 0xffff);
        assert_eq!(b.update(8220, 5000 + 0xffff, 1, 225), Outcome::Continued);
        assert_eq!(b.update(8230, 5000, 1, 0xffff), Outcome::Stale, "of the segment before");
        assert_eq!(b.end(8400, 5000 + 0xffff, 1, 1665), Outcome::Ended);
        // 65 535 + 1665 ticks
        assert_eq!(b.digits(8400), [('1', 8400, Ended::Marked)]);
        assert_eq!(b.update(8410, 5000, 1, 0xffff), Outcome::Late);
        assert_eq!(b.end(8420, 5000 + 0xffff, 1, 1665), Outcome::Late);
    }

    #[test]
    fn rfc4733_2_5_2_3_segments_join_even_if_the_full_report_or_the_order_was_lost() {
        let mut b = Bench::new();
        b.update(0, 5000, 1, 65_000);
        assert_eq!(b.update(60, 5000 + 0xffff, 1, 200), Outcome::Continued);
        assert_eq!(b.end(80, 5000 + 0xffff, 1, 400), Outcome::Ended);
        assert_eq!(b.digits(80), [('1', (0xffff + 400) / 8, Ended::Marked)]);

        let mut b = Bench::new();
        b.update(0, 5000 + 0xffff, 1, 200);
        assert_eq!(b.update(5, 5000, 1, 0xffff), Outcome::Stale, "the first segment, overtaken");
        b.end(20, 5000 + 0xffff, 1, 400);
        assert_eq!(b.digits(20), [('1', (0xffff + 400) / 8, Ended::Marked)]);
    }

    #[test]
    fn segments_filled_to_a_whole_frame_only_are_joined_and_short_ones_are_digits() {
        let mut b = Bench::new();
        b.update(0, 5000, 1, 65_440);
        assert_eq!(b.update(20, 5000 + 65_440, 1, 160), Outcome::Continued);
        b.end(40, 5000 + 65_440, 1, 320);
        assert_eq!(b.digits(40), [('1', (65_440 + 320) / 8, Ended::Marked)]);

        let mut b = Bench::new();
        b.update(0, 5000, 1, 800);
        assert_eq!(b.end(180, 5800, 1, 160), Outcome::Ended, "the same key again");
        assert_eq!(b.digits(180), [('1', 100, Ended::Overtaken), ('1', 20, Ended::Marked)]);
    }

    #[test]
    fn a_long_event_given_up_in_a_burst_of_loss_does_not_return_with_its_next_segment() {
        let mut b = Bench::new();
        b.update(0, 5000, 1, 60_000);
        assert_eq!(b.digits(300), [('1', 7500, Ended::Silent)]);
        for segment in 1..=3 {
            assert_eq!(b.update(400 * segment, 5000 + 0xffff * segment, 1, 160), Outcome::Late);
        }
        assert_eq!(b.end(2000, 5000 + 3 * 0xffff, 1, 400), Outcome::Late);
        // Another key, or the same one at any other time, is a new digit.
        assert_eq!(b.end(2100, 5000 + 3 * 0xffff + 800, 1, 400), Outcome::Ended);
        assert_eq!(b.digits(2100), [('1', 50, Ended::Marked)]);
    }

    #[test]
    fn a_stuck_key_is_reported_after_a_minute_and_then_ignored() {
        let mut b = Bench::new();
        let (mut reported, mut last) = (Vec::new(), Outcome::Began);
        for n in 1..=10_000_u64 {
            let ticks = n * 160;
            let segment = (ticks - 1) / 0xffff * 0xffff;
            last = b.update(n * 20, 5000 + segment, 5, (ticks - segment) as u16);
            reported.extend(b.digits(n * 20));
        }
        assert_eq!(reported, [('5', 60_000, Ended::Overlong)]);
        assert_eq!(last, Outcome::Late);
    }

    #[test]
    fn the_event_clock_is_the_stream_clock() {
        for rate in [8_000_u32, 16_000, 48_000] {
            let mut receiver = Receiver::new(rate);
            let duration = (rate / 1000 * 160) as u16;
            let payload = EventPayload { event: 0, end: true, volume: 10, duration };
            receiver.receive(Time::ZERO, 1, &payload);
            let digit = receiver.poll(Time::ZERO).unwrap();
            assert_eq!(digit.duration, Duration::from_millis(160), "{rate} Hz");
        }
    }

    #[test]
    fn the_same_timestamp_for_every_digit_still_tells_the_keys_apart() {
        // Not RFC 4733, but such senders exist.
        let mut b = Bench::new();
        for (n, event) in [1, 2, 3, 4].into_iter().enumerate() {
            for repeat in 0..3 {
                b.end(n as u64 * 100 + repeat, 0, event, 1280);
            }
        }
        let keys: String = b.digits(1000).iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, "1234");
    }

    #[test]
    fn a_sender_that_starts_its_timestamps_anew_is_heard() {
        let mut b = Bench::new();
        let origin = 1 << 40;
        b.end(0, origin + 4_000_000, 1, 800);
        assert_eq!(b.end(10, origin + 4_000_000 - 480_000, 2, 800), Outcome::Late, "at the edge");
        assert_eq!(b.end(20, origin + 4_000_000 - 480_001, 2, 800), Outcome::Ended, "one past");
        assert_eq!(b.end(90, origin + 4_000_000 - 400_000, 3, 800), Outcome::Ended);
        assert_eq!(b.digits(90).len(), 3);
    }

    #[test]
    fn digits_that_nobody_polls_are_bounded_and_counted() {
        let mut b = Bench::new();
        for n in 0..1000 {
            b.end(n, n * 100, 1, 80);
        }
        assert_eq!(b.digits(1000).len(), PENDING);
        assert_eq!(b.0.counts().unpolled, 1000 - PENDING as u64);
    }

    #[test]
    fn no_sequence_of_packets_panics_or_delays_a_report_beyond_its_bound() {
        let mut rng = crate::rng::Rng::new(4733);
        for _ in 0..200 {
            let mut b = Bench::new();
            let (mut ms, mut base) = (0, 1_u64 << 40);
            for _ in 0..500 {
                ms += rng.next_u64() % 60;
                base = match rng.next_u64() % 16 {
                    0 => rng.next_u64(),
                    1 => base.wrapping_add(0xffff),
                    2 => base.wrapping_sub(0xffff),
                    3 => base.wrapping_add(rng.next_u64() % 2000),
                    _ => base,
                };
                let event = (rng.next_u64() % 18) as u8;
                b.packet(ms, base, event, rng.next_u16(), rng.chance(0.1));
                assert!(b.digits(ms).iter().all(|(_, held, _)| *held <= 60_000));
                assert!(b.0.deadline().is_none_or(|at| at <= Time::ms(ms + 200)));
            }
            b.digits(ms + 200);
            assert_eq!(b.0.deadline(), None, "200 ms after the last packet all is told");
        }
    }
}
