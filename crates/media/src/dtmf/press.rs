//! One press, as far as its packets tell, and which packets can be of it.
//!
//! By RFC 4733 the timestamp says which event a packet is of. Not every gateway keeps it: some give the repeats of an end the
//! time of the audio beside them, some move it with each packet, some let it stand still over several events. So a packet is
//! weighed by all that it says: its key, its place in the sequence, its timestamp, the marker, the E bit, and the time at
//! which its key was pressed if its duration is true. What cannot be another press is the same one.

use super::arrivals::Arrivals;
use super::clocks::Clocks;
use super::{Digit, EventPayload, LONGEST_DIGIT, SEGMENT_TICKS};
use crate::seq::{ExtSeq, ExtTime};
use crate::time::{Duration, Time};

/// By how much less than the time since the press a packet of the same press may tell, after a change of clock: the packet's
/// own jitter. The next press of the same key comes later than that, and tells a frame at first.
const RECLOCKED: Duration = Duration::from_millis(80);
/// After a change of clock the next segment of an event begins less than this behind what is known of the one before: two
/// packets may be lost. The next press of the same key begins later, even if all three ends before it are lost: they last one
/// frame, and the shortest gap is 40 ms.
const LOST: Duration = Duration::from_millis(60);
/// Between two presses of a key it is quiet for 40 ms at least (ITU-T Q.24 §2.3). A packet that says that its key was pressed
/// less than half of that after the press before was over is of that press; the other half is for jitter.
const SHORTEST_GAP: Duration = Duration::from_millis(20);
/// The same by timestamps, which have no jitter; some count whole frames of 10 ms only.
const SHORTEST_GAP_TOLD: Duration = Duration::from_millis(30);
/// And while the end of the press before is not known: behind its last packet that came, three ends were lost, of which one at
/// least lasted a frame.
const SHORTEST_GAP_UNENDED: Duration = Duration::from_millis(45);
/// A key is pressed for at least 40 ms (ITU-T Q.24 §2.3), which some count from behind their first 10 ms on.
const SHORTEST_DIGIT: Duration = Duration::from_millis(30);
/// An end is sent three times in all (RFC 4733 §2.5.1.4).
const ENDS: u64 = 3;
/// Durations that lag behind the packets by more than this do not count the press: some senders tell the same one in each.
const LAGGING: Duration = Duration::from_millis(60);
/// Nothing of a press comes as long after its end as this, but with numbers of that time.
const OVER: Duration = Duration::from_millis(500);

/// A packet, and what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) digit: Digit,
    pub(super) seq: ExtSeq,
    pub(super) timestamp: ExtTime,
    pub(super) marker: bool,
    pub(super) end: bool,
    /// In ticks of payloads.
    pub(super) duration: u64,
    /// When it came; when it would have, as far as is known, without its own delay; and when its key was pressed, by that.
    pub(super) now: Time,
    pub(super) by: Time,
    pub(super) pressed: Time,
}

impl Claim {
    /// Of a packet that came at `now`, and would have by `by` without its own delay.
    pub(super) fn new(
        (now, by): (Time, Time),
        (seq, timestamp, marker): (ExtSeq, ExtTime, bool),
        (digit, payload): (Digit, &EventPayload),
        clocks: Clocks,
    ) -> Claim {
        let duration = u64::from(payload.duration);
        let pressed = by.back(clocks.lasts(duration));
        Claim { digit, seq, timestamp, marker, end: payload.end, duration, now, by, pressed }
    }
}

/// A press, on its way or over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Press {
    pub(super) digit: Digit,
    /// Where the event began, and where its current segment did (§2.5.1.3): in timestamps.
    pub(super) start: ExtTime,
    segment: ExtTime,
    /// How long the finished segments lasted, and the longest duration reported for the current one: in ticks of payloads.
    done: u64,
    duration: u64,
    /// When its first packet came, and its last.
    pub(super) began: Time,
    pub(super) heard: Time,
    /// The earliest time at which its packets say that it began, and the latest at which they show that it was held.
    pub(super) pressed: Time,
    held: Time,
    /// The numbers of the first and the newest of its packets, and of the first with the E bit.
    first: ExtSeq,
    last: ExtSeq,
    ended: Option<ExtSeq>,
    /// Its packets do not share a timestamp.
    moves: bool,
    /// Its packets tell the same duration, however long it is held.
    flat: bool,
    /// Another packet than its first had the marker: markers say nothing.
    pub(super) marked: bool,
    /// Its numbers and timestamps are of another stream than those that come.
    foreign: bool,
    /// The clock changed while its current segment was on its way. Where the segment was then known to have come to, and the
    /// clocks of that.
    reclocked: Option<(ExtTime, Clocks)>,
}

/// What a packet is to the press that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It tells more of it, or as much.
    Same,
    /// It is of it, but older than what is known.
    Older,
    /// It is of a press before it.
    Before,
    /// It is of another press after it.
    After,
}

impl Press {
    /// The press that a packet begins; `marked`: its source marks all packets.
    pub(super) fn new(claim: &Claim, marked: bool) -> Press {
        Press {
            digit: claim.digit,
            start: claim.timestamp,
            segment: claim.timestamp,
            done: 0,
            duration: claim.duration,
            began: claim.now,
            heard: claim.now,
            pressed: claim.pressed,
            held: claim.by,
            first: claim.seq,
            last: claim.seq,
            ended: claim.end.then_some(claim.seq),
            moves: false,
            flat: false,
            marked,
            foreign: false,
            reclocked: None,
        }
    }

    /// §2.5.2.3: the full segments and the current one, in ticks.
    pub(super) fn total(&self) -> u64 {
        self.done + self.duration
    }

    /// The clock of its packets changes.
    pub(super) fn reclock(&mut self, before: Clocks, now: Clocks) {
        self.reclocked = Some((self.segment.plus(before.on_the_wire(self.duration)), before));
        let scale = |ticks: u64| ticks * u64::from(now.events) / u64::from(before.events);
        (self.done, self.duration) = (scale(self.done), scale(self.duration));
    }

    /// What comes has numbers and timestamps that have nothing to do with its own.
    pub(super) fn estrange(&mut self) {
        self.foreign = true;
    }

    /// When it was over as far as is known, in the time in which packets arrive.
    fn over(&self, clocks: Clocks) -> Time {
        let told = self.pressed + clocks.lasts(self.total());
        if self.ended.is_none() || self.is_flat(clocks) || self.held - told > LAGGING {
            told.max(self.held)
        } else {
            told
        }
    }

    /// Whether its durations say nothing: they do not grow, or end below what a key lasts at least.
    fn is_flat(&self, clocks: Clocks) -> bool {
        self.flat || self.ended.is_some() && clocks.lasts(self.total()) < SHORTEST_DIGIT
    }

    /// What a packet is to this press, which is on its way, and takes it in if it tells more.
    pub(super) fn weigh(&mut self, claim: &Claim, arrivals: &Arrivals, clocks: Clocks) -> Relation {
        let newer = self.foreign || claim.seq > self.last;
        if claim.digit != self.digit {
            return if newer || claim.seq > self.first {
                Relation::After
            } else {
                Relation::Before
            };
        }
        if self.foreign {
            if claim.pressed >= self.over(clocks) + SHORTEST_GAP_UNENDED {
                return Relation::After;
            }
            self.adopt(claim);
            return Relation::Same;
        }
        if claim.end && claim.seq < self.first {
            // What was seen of this press comes after that end.
            return Relation::Before;
        }
        if let Some(lasted) = self.segment_of(claim.timestamp, clocks) {
            if newer && self.begins_anew(claim, clocks) {
                return Relation::After;
            }
            if lasted > 0 {
                self.next_segment(claim.timestamp, lasted);
            }
            self.take(claim);
            return Relation::Same;
        }
        if self.goes_on(claim, clocks) {
            self.take(claim);
            return Relation::Same;
        }
        if self.owns_earlier(claim.timestamp, clocks) {
            return Relation::Older;
        }
        if claim.seq < self.first {
            // Its own beginning, overtaken, or all that is left of the press before.
            let own = claim.pressed + 2 * SHORTEST_GAP > self.pressed;
            return if own { Relation::Older } else { Relation::Before };
        }
        if newer && self.is_followed_by(claim, arrivals, clocks) {
            return Relation::After;
        }
        let shorter = claim.duration < self.duration;
        if shorter && (!newer || claim.pressed < self.pressed + RECLOCKED) {
            return Relation::Older;
        }
        // Of an end it may be the end's alone.
        self.moves |= !claim.end;
        if shorter {
            self.next_segment(claim.timestamp, self.duration);
        } else if !claim.end {
            (self.segment, self.reclocked) = (claim.timestamp, None);
        }
        self.take(claim);
        Relation::Same
    }

    /// Whether a packet with its timestamp is of the next press, for there are senders that do not move it. Within a press
    /// durations never shrink, and only the first packet is marked.
    fn begins_anew(&self, claim: &Claim, clocks: Clocks) -> bool {
        if self.segment != claim.timestamp {
            return false;
        }
        let over = self.over(clocks);
        let marked = claim.marker && !claim.end && !self.marked;
        let shrunk = claim.duration < self.duration;
        let gap = if marked && shrunk { Duration::ZERO } else { SHORTEST_GAP };
        let grown = claim.duration > self.duration;
        !grown && (marked || shrunk) && claim.pressed >= over + gap
    }

    /// Whether a packet under another timestamp, with a newer number, is of the next press. Its own ends have not come.
    fn is_followed_by(&self, claim: &Claim, arrivals: &Arrivals, clocks: Clocks) -> bool {
        let over = self.over(clocks);
        let lost = arrivals.events(self.first, self.last, claim.seq) - 1;
        let marked = claim.marker && !claim.end && !self.marked;
        if lost == 0 && !marked && claim.duration >= self.duration {
            // Nothing was between them, and so no end.
            return false;
        }
        let later = self.is_told_over(claim.timestamp, clocks);
        if claim.duration == self.duration && !claim.marker && !later && lost < ENDS {
            // Not all ends can have been lost: it tells the same duration in each packet.
            return false;
        }
        let gap = match later && claim.duration <= self.duration {
            true if marked => SHORTEST_GAP,
            true if lost >= ENDS && claim.duration < self.duration => Duration::ZERO,
            _ => SHORTEST_GAP_UNENDED,
        };
        claim.pressed >= over + gap
    }

    /// Whether a timestamp is as much later than the end of the current segment as the next press is.
    fn is_told_over(&self, timestamp: ExtTime, clocks: Clocks) -> bool {
        let until = self.segment.plus(clocks.on_the_wire(self.duration));
        let gap = clocks.stream_ticks(SHORTEST_GAP_TOLD);
        !self.moves
            && !self.is_flat(clocks)
            && timestamp.since(until).is_some_and(|after| after >= gap)
    }

    /// Whether this press, which is over, has newer packets than that, which can then be of none that is still to be told.
    pub(super) fn is_newer_than(&self, seq: ExtSeq) -> bool {
        !self.foreign && seq <= self.last
    }

    /// Whether a timestamp is one of its own.
    pub(super) fn has(&self, timestamp: ExtTime) -> bool {
        !self.foreign && (self.start..=self.segment).contains(&timestamp)
    }

    /// Whether a packet is of this press, which is over. It is taken in if it shows that the key was held on.
    pub(super) fn owns(&mut self, claim: &Claim, arrivals: &Arrivals, clocks: Clocks) -> bool {
        if claim.digit != self.digit {
            return false;
        }
        let unended = self.ended.is_none();
        if self.is_newer_than(claim.seq) || self.opens_another_segment(claim, clocks) {
            return true;
        }
        let own = self.is_repeated_by(claim, arrivals, clocks);
        if own && !self.foreign {
            self.last = self.last.max(claim.seq);
            self.marked |= claim.marker;
            if unended {
                // It has been told, and is held on.
                self.held = self.held.max(claim.by);
            }
        }
        own
    }

    /// Whether a packet is of this press, which is over, though it is newer than those of it that came.
    fn is_repeated_by(&self, claim: &Claim, arrivals: &Arrivals, clocks: Clocks) -> bool {
        let over = self.over(clocks);
        let before = |gap: Duration| claim.pressed < over + gap;
        if self.foreign {
            return before(SHORTEST_GAP);
        }
        let same_time = self.has(claim.timestamp);
        let marked = claim.marker && !self.marked;
        let Some(ended) = self.ended else {
            let grown = same_time && !marked && claim.duration >= self.duration;
            return grown || before(SHORTEST_GAP_UNENDED);
        };
        if !claim.end {
            // Behind an end only another press has such packets, unless a relay numbers late ones anew.
            let may_be = same_time || self.moves;
            let known = claim.duration <= self.duration || claim.timestamp < self.segment;
            let late = may_be && !marked && known;
            return late && before(SHORTEST_GAP);
        }
        // An end again: repeated, or that of another press of which nothing else has come. If nothing was between them, no other
        // press has begun, but where presses are nothing but ends.
        if self.first != ended && arrivals.events(self.first, self.last, claim.seq) == 1 {
            return true;
        }
        // What has its timestamp too is far only if there was room for a beginning that was lost.
        let most = ENDS + if same_time { 2 } else { 0 };
        let far = arrivals.events(self.first, ended, claim.seq) >= most;
        let later = self.is_told_over(claim.timestamp, clocks);
        match (far, later) {
            // Behind all repeats, and by its timestamp: only its own delay could speak against it.
            (true, true) => claim.by < over,
            (false, false) if !marked => same_time || before(OVER),
            _ => before(SHORTEST_GAP),
        }
    }

    /// Whether a packet is of another segment of this press, which was told when its end could not be seen.
    fn opens_another_segment(&mut self, claim: &Claim, clocks: Clocks) -> bool {
        if self.foreign || self.ended.is_some() || claim.marker {
            return false;
        }
        let late = clocks.stream_ticks(LONGEST_DIGIT);
        let ahead = claim.timestamp.since(self.segment).unwrap_or(0);
        let opens = ahead > 0 && ahead <= late && ahead % clocks.longest() == 0;
        if opens {
            // It has been told: what is kept is only what tells its packets.
            (self.segment, self.pressed) = (claim.timestamp, claim.pressed);
            (self.done, self.duration) = (0, claim.duration);
            self.last = self.last.max(claim.seq);
            self.held = self.held.max(claim.by);
        }
        opens
    }

    /// Takes in what a packet of the current segment tells.
    fn take(&mut self, claim: &Claim) {
        // Every packet of the segment shows that the key was held a moment ago, grown or not: the report of a full segment is
        // repeated as it is.
        self.heard = claim.now;
        let later = claim.seq != self.last && (!claim.end || claim.by - self.held > SHORTEST_DIGIT);
        self.flat |= later && claim.duration == self.duration && self.done == 0;
        if claim.seq > self.last {
            self.marked |= claim.marker;
            self.held = self.held.max(claim.by);
        }
        self.first = self.first.min(claim.seq);
        self.last = self.last.max(claim.seq);
        if claim.end {
            self.ended.get_or_insert(claim.seq);
        }
    }

    /// How long it has lasted now, by a packet that was taken in; true if that is longer than was known.
    pub(super) fn grow(&mut self, claim: &Claim, clocks: Clocks) -> bool {
        let so_far = self.done + claim.duration;
        self.pressed = self.pressed.min(claim.by.back(clocks.lasts(so_far)));
        let grown = claim.duration > self.duration;
        self.duration = self.duration.max(claim.duration);
        grown
    }

    /// Goes on in another stream, whose first packet this is.
    fn adopt(&mut self, claim: &Claim) {
        if claim.duration < self.duration && claim.pressed >= self.pressed + RECLOCKED {
            self.done += self.duration;
            self.duration = 0;
        }
        (self.segment, self.reclocked, self.foreign) = (claim.timestamp, None, false);
        self.start = claim.timestamp;
        (self.first, self.last) = (claim.seq, claim.seq);
        self.held = self.held.max(claim.by);
        self.take(claim);
    }

    /// How long the current segment has lasted, if a timestamp opens the one after it; 0 if it is that of the current one.
    fn segment_of(&self, timestamp: ExtTime, clocks: Clocks) -> Option<u64> {
        let ahead = timestamp.since(self.segment)?;
        if ahead == 0 {
            return Some(0);
        }
        // §2.5.2.3: the next segment starts where the full one ends, without a gap. That its report of 0xFFFF ticks was lost
        // does not matter: the same key again, after its end went unseen, does not meet this very tick. Some senders fill a
        // segment only to the last whole frame; those are believed from half the range on. And some move timestamps at the
        // clock of the events, whatever the audio's is.
        let segment = u64::from(SEGMENT_TICKS);
        let full = ahead == segment || ahead == clocks.longest();
        let at = |ticks| ahead == ticks || ahead == clocks.on_the_wire(ticks);
        let filled = at(self.duration) && self.duration > segment / 2;
        (full || filled).then_some(if full { segment } else { self.duration })
    }

    /// Whether a packet, after a change of clock, is of this press: a sender that goes over to another codec while a key is held
    /// may give the event a timestamp of the new timeline. Its duration then still counts from the press, or the packet opens
    /// another segment, for less fits into one at a faster clock.
    fn goes_on(&mut self, claim: &Claim, clocks: Clocks) -> bool {
        let Some((known, before)) = self.reclocked else { return false };
        let timestamp = claim.timestamp;
        if let Some(missing) = timestamp.since(known).map(|ticks| before.stated(ticks)) {
            // It begins where the last one was known to be, or a little later, as the clock was when that was said.
            if missing < before.event_ticks(LOST) {
                let missing = missing * u64::from(clocks.events) / u64::from(before.events);
                self.next_segment(timestamp, self.duration + missing);
                return true;
            }
        }
        let segment = u64::from(SEGMENT_TICKS);
        if timestamp > self.segment && self.duration + clocks.event_ticks(LOST) >= segment {
            // The segment was full, and has lasted at two clocks.
            self.next_segment(timestamp, segment.max(self.duration));
            return true;
        }
        if claim.pressed >= self.pressed + RECLOCKED {
            return false;
        }
        self.start = timestamp;
        self.next_segment(timestamp, 0);
        self.done = 0;
        true
    }

    /// The current segment has lasted for `lasted`, in ticks of payloads, and another one begins.
    fn next_segment(&mut self, timestamp: ExtTime, lasted: u64) {
        self.done += lasted;
        (self.segment, self.duration, self.reclocked) = (timestamp, 0, None);
    }

    /// Whether a packet is of one of its earlier segments; one of the segment before the first that was seen moves the start
    /// back.
    fn owns_earlier(&mut self, timestamp: ExtTime, clocks: Clocks) -> bool {
        let back = self.start.since(timestamp);
        if back.is_some_and(|back| back == u64::from(SEGMENT_TICKS) || back == clocks.longest()) {
            self.start = timestamp;
            self.done += u64::from(SEGMENT_TICKS);
        }
        (self.start..self.segment).contains(&timestamp)
    }
}
