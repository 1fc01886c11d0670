//! Digits from the wire: exactly one per press, in the order they were pressed, whatever was lost, late or doubled, and
//! whatever a gateway does to timestamps.
//!
//! An event is known by its timestamp and its code (RFC 4733 §2.5.2.2); where the timestamps are not to be trusted, by all else
//! that its packets say (`press.rs`). It is reported when it has ended, because only then is its duration known: by the E bit,
//! by the start of a newer event, or by silence.

use std::collections::VecDeque;

use super::arrivals::Arrivals;
use super::clocks::Clocks;
use super::press::{Claim, Press, Relation};
use super::{Digit, EventPayload, LONGEST_DIGIT};
use crate::seq::{ExtSeq, ExtTime};
use crate::time::{Duration, Time};

/// An event of which nothing more was heard for this long has ended. Updates come at least every 50 ms (§2.5.1.2): three
/// of them, and 50 ms for jitter. It is waited for only when all three ends are lost and no digit follows; a shorter wait
/// would cut a held key short at every burst of loss.
const SILENCE: Duration = Duration::from_millis(200);
/// A key held for longer than the longest digit is stuck: it is reported, and what follows of it is ignored. The margin
/// lets a digit of just that length end by its own last packet.
const STUCK: Duration = Duration::from_secs(LONGEST_DIGIT.as_secs() + 1);
/// Presses that are over and remembered: what comes late of them is theirs. Only packets that overtook each other by as many
/// presses would be of an older one.
const REMEMBERED: usize = 4;
/// A start without a duration counts for a press whose next packet comes this many packets later at most: two are lost.
const NEXT: u64 = 3;
/// Times are counted from this long before the origin, for what came at the origin began before it.
const BEFORE: Duration = Duration::from_secs(2 * LONGEST_DIGIT.as_secs());
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
/// use roomkit_media::dtmf::{EventHeader, EventPayload, Receiver};
/// use roomkit_media::seq::{ExtSeq, ExtTime, RtpTime, SeqNo};
/// use roomkit_media::time::{Duration, Time};
/// let (seq, timestamp) = (ExtSeq::first(SeqNo(7)), ExtTime::first(RtpTime(1000)));
/// let mut receiver = Receiver::new(8000);
/// for (n, duration, end) in [(0, 160, false), (1, 320, false), (2, 480, true), (3, 480, true)] {
///     let header = EventHeader { seq: seq.plus(n), timestamp, marker: n == 0 };
///     let payload = EventPayload { event: 1, end, volume: 10, duration };
///     receiver.receive(Time::ms(20 * n), header, &payload);
/// }
/// let one = receiver.poll(Time::ms(60)).unwrap();
/// assert_eq!((one.digit.as_char(), one.duration), ('1', Duration::from_millis(60)));
/// assert_eq!(receiver.poll(Time::ms(60)), None);
/// ```
#[derive(Clone, Debug)]
pub struct Receiver {
    clocks: Clocks,
    arrivals: Arrivals,
    event: Option<Press>,
    /// The newest presses that are over, the newest of all last.
    finished: VecDeque<Press>,
    /// The last packet that told a start and no duration.
    prelude: Option<(Digit, ExtSeq)>,
    pending: VecDeque<ReceivedDigit>,
    counts: ReceiverCounts,
}

/// What the header of an event's packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// Its number.
    pub seq: ExtSeq,
    /// Its timestamp: of the start of the event.
    pub timestamp: ExtTime,
    /// The marker: of the first packet of an event (§2.2.2).
    pub marker: bool,
}

impl Receiver {
    /// For a stream whose RTP clock ticks at `clock_rate` Hz; events share the clock of the audio (RFC 4733 §2.1).
    ///
    /// # Panics
    /// If `clock_rate` is 0.
    pub fn new(clock_rate: u32) -> Receiver {
        Receiver {
            clocks: Clocks::new(clock_rate, clock_rate),
            arrivals: Arrivals::new(),
            event: None,
            finished: VecDeque::with_capacity(REMEMBERED),
            prelude: None,
            pending: VecDeque::new(),
            counts: ReceiverCounts::default(),
        }
    }

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
        for press in self.event.iter_mut().chain(&mut self.finished) {
            press.reclock(before, now);
        }
        self.clocks = now;
    }

    /// The numbers and timestamps that follow have nothing to do with those before: their source restarted, or is another
    /// (RFC 3550 §A.1, §8.2). A key that is held may go on in them.
    pub fn new_timeline(&mut self) {
        self.arrivals.forget();
        self.prelude = None;
        self.event.iter_mut().chain(&mut self.finished).for_each(Press::estrange);
    }

    /// A packet that is of no event came at `now`: it tells when those around it left.
    pub fn pass(&mut self, now: Time, seq: ExtSeq) {
        self.note(now + BEFORE, seq, false);
    }

    /// Takes an event packet that arrived at `now`. Poll afterwards.
    pub fn receive(&mut self, now: Time, header: EventHeader, payload: &EventPayload) -> Outcome {
        let now = now + BEFORE;
        self.expire(now);
        self.note(now, header.seq, true);
        let outcome = match Digit::from_event(payload.event) {
            None => Outcome::NotADigit,
            Some(digit) if payload.duration == 0 => {
                let newest = self.event.iter().chain(self.finished.back()).next();
                let newer = !newest.is_some_and(|press| press.is_newer_than(header.seq));
                if newer && !payload.end && (header.marker || self.event.is_none()) {
                    self.prelude = Some((digit, header.seq));
                }
                Outcome::ZeroDuration
            }
            Some(digit) => self.take(now, header, digit, payload),
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
        self.expire(now + BEFORE);
        self.pending.pop_front()
    }

    /// When to poll even if no packet arrives.
    pub fn deadline(&self) -> Option<Time> {
        self.event.map(|event| (event.heard + SILENCE).min(event.began + STUCK).back(BEFORE))
    }

    /// The digit that is being received, and when it began.
    pub fn current(&self) -> Option<(Digit, Time)> {
        self.event.map(|event| (event.digit, event.pressed.back(BEFORE)))
    }

    /// What was counted so far.
    pub fn counts(&self) -> ReceiverCounts {
        self.counts
    }

    fn note(&mut self, now: Time, seq: ExtSeq, event: bool) {
        if !self.arrivals.note(seq, now, event) {
            self.prelude = None;
            self.event.iter_mut().chain(&mut self.finished).for_each(Press::estrange);
        }
    }

    fn take(
        &mut self,
        now: Time,
        header: EventHeader,
        digit: Digit,
        payload: &EventPayload,
    ) -> Outcome {
        let begins = self.prelude.is_some_and(|(of, at)| {
            of == digit && header.seq > at && self.arrivals.events(at, at, header.seq) <= NEXT
        });
        if begins {
            self.prelude = None;
        }
        let marker = header.marker || begins;
        let by = self.arrivals.by(header.seq, now);
        let claim = Claim::new(
            (now, by),
            (header.seq, header.timestamp, marker),
            (digit, payload),
            self.clocks,
        );
        if self.finished.back().is_some_and(|newest| newest.is_newer_than(claim.seq)) {
            return Outcome::Late;
        }
        if self.is_named_by(&claim) && self.is_finished(&claim) {
            return Outcome::Late;
        }
        if let Some(event) = &mut self.event {
            match event.weigh(&claim, &self.arrivals, self.clocks) {
                Relation::Same => return self.update(&claim),
                Relation::Older => return Outcome::Stale,
                Relation::Before if self.is_finished(&claim) => return Outcome::Late,
                Relation::Before => {
                    // An older event, overtaken on the way by the start of this one: it is over, and comes first.
                    let ended = if claim.end { Ended::Marked } else { Ended::Overtaken };
                    self.report(Press::new(&claim, false), ended);
                    return Outcome::Ended;
                }
                Relation::After if self.is_finished(&claim) => return Outcome::Late,
                // §2.5.2.2: one key at a time, so a newer event ends this one at once.
                Relation::After => self.finish(Ended::Overtaken),
            }
        } else if self.is_finished(&claim) {
            return Outcome::Late;
        }
        let marked = self.finished.back().is_some_and(|newest| newest.marked);
        self.event = Some(Press::new(&claim, marked));
        if claim.end {
            self.finish(Ended::Marked);
            return Outcome::Ended;
        }
        Outcome::Began
    }

    /// Takes in a packet of the event that is being received.
    fn update(&mut self, claim: &Claim) -> Outcome {
        let Some(event) = &mut self.event else { return Outcome::Stale };
        let grown = event.grow(claim, self.clocks);
        let stuck = self.clocks.lasts(event.total()) > STUCK;
        if claim.end || stuck {
            self.finish(if claim.end { Ended::Marked } else { Ended::Overlong });
            Outcome::Ended
        } else if grown {
            Outcome::Continued
        } else {
            Outcome::Stale
        }
    }

    /// Whether a packet has the timestamp of an event that has been reported, and not that of the one that is being received.
    fn is_named_by(&self, claim: &Claim) -> bool {
        let names = |press: &Press| press.digit == claim.digit && press.has(claim.timestamp);
        !self.event.as_ref().is_some_and(names) && self.finished.iter().any(names)
    }

    /// Whether a packet belongs to what has been reported.
    fn is_finished(&mut self, claim: &Claim) -> bool {
        let Receiver { finished, arrivals, clocks, .. } = self;
        finished.iter_mut().rev().any(|press| press.owns(claim, arrivals, *clocks))
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

    fn report(&mut self, press: Press, ended: Ended) {
        if self.finished.len() >= REMEMBERED {
            self.finished.pop_front();
        }
        self.finished.push_back(press);
        self.counts.end_unseen += u64::from(ended != Ended::Marked);
        if self.pending.len() >= PENDING {
            self.counts.unpolled += 1;
            return;
        }
        self.pending.push_back(ReceivedDigit {
            digit: press.digit,
            duration: self.clocks.lasts(press.total()).min(LONGEST_DIGIT),
            timestamp: press.start,
            began: press.pressed.back(BEFORE),
            ended,
        });
    }
}

#[cfg(test)]
mod tests;
