//! How long packets waited for their place lately, and what that says of the delay: how much the network needs, how much
//! is spare, how much is lacking.
//!
//! How long the quickest packets wait until they are heard is the delay that playout adds ([`Waits::delay`]); what the
//! slowest ones had left, beyond the frame that they may be the end of, is what the network did not need. Both are looked at over two windows: the long one judges what may go without harm, the
//! short one sees soon that far too much has gathered, or that there is too little.
//!
//! Only time in which audio comes counts: a pause proves nothing.

use crate::time::{Duration, Time};

/// Each window is judged by itself and the one before it, so that between one and two of them are looked at: long enough to
/// span the jitter of interest, short enough that a burst is forgotten within two seconds.
const LONG: Duration = Duration::from_millis(800);

/// So much of a backlog shows that it stays, and not that a packet or two came together.
const SHORT: Duration = Duration::from_millis(400);

/// What the slowest packet has left stays for the next one that is a little slower.
const MARGIN: Duration = Duration::from_millis(5);

/// What the short window sees is worked off as far as this: the rest is for the long one to judge.
const PLENTY: Duration = Duration::from_millis(60);

/// A pause counts as this much time at the most.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// The present delay may be this much off the target: a sender's pace is not exact, and audio that is changed for less is
/// changed for nothing. Who asks for a long delay has it within a tenth.
fn tolerance(target: Duration) -> Duration {
    (target / 10).max(Duration::from_millis(20))
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Waits {
    long: Window,
    short: Window,
    newest: Option<Time>,
    /// How much time was looked at.
    seen: Duration,
}

impl Waits {
    /// A packet is heard at `at` that has waited so long.
    pub fn note(&mut self, at: Time, wait: Duration) {
        let waited = Extent { least: wait, most: wait };
        let step = self.newest.map_or(Duration::ZERO, |newest| at - newest);
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        self.seen += step.min(LONGEST_STEP);
        self.long.note(LONG, self.seen, waited);
        self.short.note(SHORT, self.seen, waited);
    }

    /// Playout goes on later by so much than it would have.
    pub fn later(&mut self, span: Duration) {
        self.long.shift(|wait| wait + span);
        self.short.shift(|wait| wait + span);
    }

    /// Playout goes on earlier by so much than it would have.
    pub fn earlier(&mut self, span: Duration) {
        self.long.shift(|wait| wait.saturating_sub(span));
        self.short.shift(|wait| wait.saturating_sub(span));
    }

    /// What was seen so far says nothing of what follows.
    pub fn forget(&mut self) {
        *self = Waits::default();
    }

    /// The delay that playout adds now; `None` before a packet was played.
    pub fn delay(&self) -> Option<Duration> {
        self.short.latest().map(|extent| extent.most)
    }

    /// The delay that serves the packets of late in frames of that length: the target, or what their jitter takes if that is
    /// more.
    pub fn need(&self, target: Duration, frame: Duration) -> Duration {
        match self.long.extent() {
            Some(Extent { least, most }) => target.max(most - least + frame + MARGIN),
            None => target,
        }
    }

    /// Delay beyond the target that nobody needs in frames of that length, if there is any.
    pub fn spare(&self, target: Duration, frame: Duration) -> Option<Duration> {
        let beyond_target = self.short.extent()?.most.checked_sub(target)?;
        if beyond_target < tolerance(target) {
            return None;
        }
        let beyond = |window: &Window, keep: Duration| {
            let left = window.extent()?.least.checked_sub(keep)?;
            Some(left.min(beyond_target))
        };
        beyond(&self.short, target + PLENTY).max(beyond(&self.long, frame + MARGIN))
    }

    /// How much the delay is below the target, if it is.
    pub fn lack(&self, target: Duration) -> Option<Duration> {
        target.checked_sub(self.short.extent()?.most).filter(|lack| *lack >= tolerance(target))
    }
}

/// The least time that a packet had left, and the most that one waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    least: Duration,
    most: Duration,
}

impl Extent {
    fn and(self, other: Extent) -> Extent {
        Extent { least: self.least.min(other.least), most: self.most.max(other.most) }
    }
}

#[derive(Debug, Default)]
struct Window {
    began: Duration,
    previous: Option<Extent>,
    current: Option<Extent>,
}

impl Window {
    fn note(&mut self, length: Duration, seen: Duration, waited: Extent) {
        if self.current.is_some() && seen - self.began >= length {
            self.previous = self.current.take();
            self.began = seen;
        }
        self.current = Some(self.current.map_or(waited, |current| current.and(waited)));
    }

    /// `None` until a whole window has been seen: a few packets prove nothing.
    fn extent(&self) -> Option<Extent> {
        Some(self.previous?.and(self.current?))
    }

    /// Of what there is.
    fn latest(&self) -> Option<Extent> {
        self.current
    }

    fn shift(&mut self, by: impl Fn(Duration) -> Duration) {
        let shifted = |extent: Extent| Extent { least: by(extent.least), most: by(extent.most) };
        self.previous = self.previous.map(shifted);
        self.current = self.current.map(shifted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const TARGET: Duration = Duration::from_millis(60);
    const FRAME: Duration = Duration::from_millis(20);

    /// Packets every 20 ms from `from` to `to` in ms, that wait as long as `wait` says of their time.
    fn run(waits: &mut Waits, from: u64, to: u64, wait: impl Fn(u64) -> u64) {
        for at in (from..to).step_by(20) {
            waits.note(Time::ms(at), MS(wait(at)));
        }
    }

    #[test]
    fn a_few_packets_prove_nothing() {
        let mut waits = Waits::default();
        assert_eq!(
            (waits.delay(), waits.spare(TARGET, FRAME), waits.lack(TARGET)),
            (None, None, None)
        );
        run(&mut waits, 0, 400, |_| 300);
        assert_eq!((waits.spare(TARGET, FRAME), waits.lack(TARGET)), (None, None));
        assert_eq!(waits.delay(), Some(MS(300)));
    }

    #[test]
    fn what_nobody_needs_is_spare_and_what_the_jitter_takes_is_not() {
        let mut waits = Waits::default();
        run(&mut waits, 0, 2000, |at| if at % 100 == 0 { 90 } else { 150 });
        assert_eq!(waits.spare(TARGET, FRAME), Some(MS(65)), "a frame and 5 ms stay");
        assert_eq!(waits.need(TARGET, FRAME), MS(85));
        let mut waits = Waits::default();
        run(&mut waits, 0, 2000, |at| if at % 100 == 0 { 0 } else { 150 });
        assert_eq!(waits.spare(TARGET, FRAME), None);
        assert_eq!(waits.need(TARGET, FRAME), MS(175));
    }

    #[test]
    fn a_backlog_is_seen_soon_and_what_is_left_of_it_later() {
        let mut waits = Waits::default();
        run(&mut waits, 0, 2000, |_| 60);
        run(&mut waits, 2000, 2020, |_| 0);
        run(&mut waits, 2020, 3000, |_| 500);
        assert_eq!(
            waits.spare(TARGET, FRAME),
            Some(MS(380)),
            "the long window remembers the late packet"
        );
        run(&mut waits, 3000, 4000, |_| 500);
        assert_eq!(waits.spare(TARGET, FRAME), Some(MS(440)));
    }

    #[test]
    fn too_little_is_lacking_and_a_pause_proves_nothing() {
        let mut waits = Waits::default();
        run(&mut waits, 0, 400, |at| 25 + at % 40);
        run(&mut waits, 60_000, 60_100, |_| 20);
        assert_eq!(waits.lack(TARGET), None, "the quickest were within the tolerance");
        run(&mut waits, 60_100, 61_200, |_| 20);
        assert_eq!(waits.lack(TARGET), Some(MS(40)));
        waits.later(MS(20));
        assert_eq!(waits.lack(TARGET), Some(MS(20)));
        waits.later(MS(20));
        assert_eq!(waits.lack(TARGET), None);
        waits.earlier(MS(45));
        assert_eq!(waits.lack(TARGET), Some(MS(45)));
        waits.later(MS(26));
        assert_eq!(waits.lack(TARGET), None, "19 ms are within the tolerance");
        assert_eq!(waits.lack(MS(500)), Some(MS(459)));
        waits.forget();
        assert_eq!(waits.delay(), None);
    }
}
