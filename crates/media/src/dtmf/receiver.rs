//! Digits from the wire: exactly one per event, in the order they were pressed, whatever was lost, late or doubled.
//!
//! An event is known by its timestamp and its code (RFC 4733 §2.5.2.2). It is reported when it has ended, because only
//! then is its duration known: by the E bit, by the start of a newer event, or by silence.

use std::collections::VecDeque;

use super::{
    duration_to_ticks, ticks_to_duration, Digit, EventPayload, LONGEST_DIGIT, SEGMENT_TICKS,
};
use crate::seq::ExtTime;
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
/// By how much less than the time since the press a packet of the same press may tell, after a change of clock: the packet's
/// own jitter. The next press of the same key comes later than that, and tells a frame at first.
const RECLOCKED: Duration = Duration::from_millis(80);
/// After a change of clock the next segment of an event begins less than this behind what is known of the one before: two
/// packets may be lost. The next press of the same key begins later, even if all three ends before it are lost: they last one
/// frame, and the shortest gap is 40 ms.
const LOST: Duration = Duration::from_millis(60);
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
    pub timestamp: ExtTime,
    /// When it began, had its packets come as quickly as the quickest of them.
    pub began: Time,
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
/// use roomkit_media::seq::{ExtTime, RtpTime};
/// use roomkit_media::time::{Duration, Time};
/// let start = ExtTime::first(RtpTime(1000));
/// let mut receiver = Receiver::new(8000);
/// for (ms, duration, end) in [(0, 160, false), (20, 320, false), (40, 480, true), (60, 480, true)] {
///     receiver.receive(Time::ms(ms), start, &EventPayload { event: 1, end, volume: 10, duration });
/// }
/// let one = receiver.poll(Time::ms(60)).unwrap();
/// assert_eq!((one.digit.as_char(), one.duration), ('1', Duration::from_millis(60)));
/// assert_eq!(receiver.poll(Time::ms(60)), None);
/// ```
#[derive(Clone, Debug)]
pub struct Receiver {
    clocks: Clocks,
    event: Option<Event>,
    finished: Option<Finished>,
    pending: VecDeque<ReceivedDigit>,
    counts: ReceiverCounts,
}

/// What payloads count at, and what the timestamps do, in Hz: not the same beside a codec of another clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    events: u32,
    stream: u32,
}

impl Clocks {
    fn new(events: u32, stream: u32) -> Clocks {
        let least = events.min(stream);
        assert!(least > 0, "the RTP clock rate must be at least 1 Hz, got {least}");
        Clocks { events, stream }
    }

    /// A duration of payloads in ticks of the timestamps.
    fn on_the_wire(self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.stream.into()) / u64::from(self.events)
    }

    /// The other way round.
    fn stated(self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.events.into()) / u64::from(self.stream)
    }

    /// The longest segment in ticks of the timestamps.
    fn longest(self) -> u64 {
        self.on_the_wire(u64::from(SEGMENT_TICKS))
    }
}

/// The event that is being received.
#[derive(Clone, Copy, Debug)]
struct Event {
    digit: Digit,
    /// Where the event began, and where its current segment did (§2.5.1.3): in timestamps.
    start: ExtTime,
    segment: ExtTime,
    /// How long the finished segments lasted, and the longest duration reported for the current one: in ticks of payloads.
    done: u64,
    duration: u64,
    began: Time,
    heard: Time,
    /// The earliest time at which its packets say that it began.
    pressed: Time,
    /// The clock changed while its current segment was on its way. Where the segment was then known to have come to, and the
    /// clocks of that.
    reclocked: Option<(ExtTime, Clocks)>,
}

/// The newest finished event. Everything before its segment is finished too, so this one record is all the history that
/// §2.5.2.2 asks for: it cannot be flooded.
#[derive(Clone, Copy, Debug)]
struct Finished {
    segment: ExtTime,
    /// The codes of events finished at this very timestamp, one bit each: there are senders that do not move it.
    codes: u16,
    /// The event that was given up here without its E bit, and so may still go on in a further segment.
    lapsed: Option<Digit>,
}

impl Receiver {
    /// The events that follow count at another clock: that of the payload type they come under, beside audio of the clock
    /// `stream`, which is that of all timestamps.
    ///
    /// A key that is held meanwhile goes on: what is known of it is kept in the new clock's ticks.
    ///
    /// # Panics
    /// If one of them is 0.
    pub fn set_clock_rates(&mut self, events: u32, stream: u32) {
        let (before, now) = (self.clocks, Clocks::new(events, stream));
        if before == now {
            return;
        }
        if let Some(event) = &mut self.event {
            let known = event.segment.plus(before.on_the_wire(event.duration));
            event.reclocked = Some((known, before));
            let scale = |ticks: u64| ticks * u64::from(now.events) / u64::from(before.events);
            (event.done, event.duration) = (scale(event.done), scale(event.duration));
        }
        self.clocks = now;
    }

    /// The timestamps that follow have nothing to do with those before: their source restarted (RFC 3550 §A.1). A key that
    /// was held has ended, and none is late for what was finished before.
    pub fn new_timeline(&mut self) {
        self.finish(Ended::Overtaken);
        self.finished = None;
    }

    /// For a stream whose RTP clock ticks at `clock_rate` Hz; events share the clock of the audio (RFC 4733 §2.1).
    ///
    /// # Panics
    /// If `clock_rate` is 0.
    pub fn new(clock_rate: u32) -> Receiver {
        Receiver {
            clocks: Clocks::new(clock_rate, clock_rate),
            event: None,
            finished: None,
            pending: VecDeque::new(),
            counts: ReceiverCounts::default(),
        }
    }

    /// Takes an event packet that arrived at `now`, with its extended timestamp. Poll afterwards.
    pub fn receive(&mut self, now: Time, timestamp: ExtTime, payload: &EventPayload) -> Outcome {
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

    /// The digit that is being received, and when it began.
    pub fn current(&self) -> Option<(Digit, Time)> {
        self.event.map(|event| (event.digit, event.pressed))
    }

    /// What was counted so far.
    pub fn counts(&self) -> ReceiverCounts {
        self.counts
    }

    fn take(
        &mut self,
        now: Time,
        timestamp: ExtTime,
        digit: Digit,
        payload: &EventPayload,
    ) -> Outcome {
        if self.is_finished(timestamp, digit) {
            return Outcome::Late;
        }
        if let Some(event) = &mut self.event {
            if event.digit == digit && event.takes(now, timestamp, self.clocks) {
                return self.update(now, payload);
            }
            let before = event.segment;
            if event.digit == digit && event.goes_on(now, timestamp, payload, self.clocks) {
                if timestamp > before {
                    // What still comes under the old type is late.
                    let codes = bit(digit);
                    self.finished = Some(Finished { segment: before, codes, lapsed: None });
                }
                return self.update(now, payload);
            }
            if event.digit == digit && event.owns_earlier(timestamp, self.clocks) {
                return Outcome::Stale;
            }
            if event.start.since(timestamp).is_some_and(|older| (1..=self.late()).contains(&older))
            {
                // An older event, overtaken on the way by the start of this one: it is over, and comes first.
                let overtaken = Event::new(now, timestamp, digit, payload, self.clocks.events);
                let ended = if payload.end { Ended::Marked } else { Ended::Overtaken };
                self.report(overtaken, ended);
                return Outcome::Ended;
            }
            // §2.5.2.2: one key at a time, so a newer event ends this one at once.
            self.finish(Ended::Overtaken);
        }
        self.event = Some(Event::new(now, timestamp, digit, payload, self.clocks.events));
        if payload.end {
            self.finish(Ended::Marked);
            return Outcome::Ended;
        }
        Outcome::Began
    }

    /// Takes in a packet of the current segment, which [`Event::takes`] has made sure of.
    fn update(&mut self, now: Time, payload: &EventPayload) -> Outcome {
        let Some(event) = &mut self.event else { return Outcome::Stale };
        let so_far = event.done + u64::from(payload.duration);
        let lasted = ticks_to_duration(so_far, self.clocks.events);
        event.pressed = event.pressed.min(now.back(lasted));
        let grown = u64::from(payload.duration) > event.duration;
        event.duration = event.duration.max(payload.duration.into());
        if payload.end {
            self.finish(Ended::Marked);
            Outcome::Ended
        } else if event.total() > duration_to_ticks(STUCK, self.clocks.events) {
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
    fn is_finished(&mut self, timestamp: ExtTime, digit: Digit) -> bool {
        let (late, longest) = (self.late(), self.clocks.longest());
        let Some(finished) = &mut self.finished else { return false };
        match timestamp.since(finished.segment) {
            None => finished.segment.apart(timestamp) <= late,
            Some(0) => finished.codes & bit(digit) != 0,
            Some(ahead) => {
                let goes_on =
                    finished.lapsed == Some(digit) && ahead <= late && ahead % longest == 0;
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
            duration: ticks_to_duration(event.total(), self.clocks.events).min(LONGEST_DIGIT),
            timestamp: event.start,
            began: event.pressed,
            ended,
        });
    }

    fn late(&self) -> u64 {
        duration_to_ticks(LATE, self.clocks.stream)
    }
}

impl Event {
    fn new(
        now: Time,
        timestamp: ExtTime,
        digit: Digit,
        payload: &EventPayload,
        clock_rate: u32,
    ) -> Event {
        Event {
            digit,
            start: timestamp,
            segment: timestamp,
            done: 0,
            duration: payload.duration.into(),
            began: now,
            heard: now,
            pressed: now.back(ticks_to_duration(payload.duration.into(), clock_rate)),
            reclocked: None,
        }
    }

    /// Whether a packet with this event's code is of its current segment, or opens the next one.
    fn takes(&mut self, now: Time, timestamp: ExtTime, clocks: Clocks) -> bool {
        if timestamp != self.segment {
            let Some(ahead) = timestamp.since(self.segment) else { return false };
            // §2.5.2.3: the next segment starts where the full one ends, without a gap. That its report of 0xFFFF ticks
            // was lost does not matter: the same key again, after its end went unseen, does not meet this very tick.
            // Some senders fill a segment only to the last whole frame; those are believed from half the range on. And
            // some move timestamps at the clock of the events, whatever the audio's is.
            let segment = u64::from(SEGMENT_TICKS);
            let full = ahead == segment || ahead == clocks.longest();
            let at = |ticks| ahead == ticks || ahead == clocks.on_the_wire(ticks);
            let filled = at(self.duration) && self.duration > segment / 2;
            if !full && !filled {
                return false;
            }
            self.next_segment(timestamp, if full { segment } else { self.duration });
        }
        // Every packet of the segment shows that the key was held a moment ago, grown or not: the report of a full segment
        // is repeated as it is.
        self.heard = now;
        true
    }

    /// Whether a packet with this event's code, after a change of clock, is of the same press: a sender that goes over to
    /// another codec while a key is held may give the event a timestamp of the new timeline. Its duration then still counts
    /// from the press, or the packet opens another segment, for less fits into one at a faster clock.
    fn goes_on(
        &mut self,
        now: Time,
        timestamp: ExtTime,
        payload: &EventPayload,
        clocks: Clocks,
    ) -> bool {
        let Some((known, before)) = self.reclocked else { return false };
        let lost = |clocks: Clocks| duration_to_ticks(LOST, clocks.events);
        if let Some(missing) = timestamp.since(known).map(|ticks| before.stated(ticks)) {
            // It begins where the last one was known to be, or a little later, as the clock was when that was said.
            if missing < lost(before) {
                let missing = missing * u64::from(clocks.events) / u64::from(before.events);
                self.next_segment(timestamp, self.duration + missing);
                self.heard = now;
                return true;
            }
        }
        let segment = u64::from(SEGMENT_TICKS);
        if timestamp > self.segment && self.duration + lost(clocks) >= segment {
            // The segment was full, and has lasted at two clocks.
            self.next_segment(timestamp, segment.max(self.duration));
            self.heard = now;
            return true;
        }
        let told = ticks_to_duration(payload.duration.into(), clocks.events);
        if told + RECLOCKED < now - self.pressed {
            return false;
        }
        self.start = timestamp;
        self.next_segment(timestamp, 0);
        (self.done, self.heard) = (0, now);
        true
    }

    /// The current segment has lasted for `lasted`, in ticks of payloads, and another one begins.
    fn next_segment(&mut self, timestamp: ExtTime, lasted: u64) {
        self.done += lasted;
        (self.segment, self.duration, self.reclocked) = (timestamp, 0, None);
    }

    /// Whether a packet with this event's code is of one of its earlier segments; one of the segment before the first that
    /// was seen moves the start back.
    fn owns_earlier(&mut self, timestamp: ExtTime, clocks: Clocks) -> bool {
        let back = self.start.since(timestamp);
        if back.is_some_and(|back| back == u64::from(SEGMENT_TICKS) || back == clocks.longest()) {
            self.start = timestamp;
            self.done += u64::from(SEGMENT_TICKS);
        }
        (self.start..self.segment).contains(&timestamp)
    }

    /// §2.5.2.3: the full segments and the current one, in ticks.
    fn total(&self) -> u64 {
        self.done + self.duration
    }
}

fn bit(digit: Digit) -> u16 {
    1 << digit.event()
}

#[cfg(test)]
mod tests;
