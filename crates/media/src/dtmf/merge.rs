//! One press, one digit, however often it is reported.
//!
//! A gateway may signal a key (RFC 4733) and leave its tones in the audio, or cut them off only after their first moment; a
//! proxy may send SIP INFO for it as well. What is of the same key at the same time is one press.

use std::collections::VecDeque;

use super::Digit;
use crate::time::{Duration, Time};

/// How a press became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By event packets (RFC 4733).
    Event,
    /// By its tones in the audio.
    Audio,
    /// By the program, which has it from signalling.
    Injected,
}

/// A press, complete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Press {
    /// The key.
    pub digit: Digit,
    /// How long it was held.
    pub duration: Duration,
    /// How sure that is: 1 for what was signalled.
    pub confidence: f32,
    /// How it became known.
    pub origin: Origin,
    /// When it was heard to begin and to end, in the time in which packets arrive.
    pub began: Time,
    /// See `began`.
    pub ended: Time,
    /// It may have begun while digits were masked.
    pub masked: bool,
}

/// A gateway needs up to 50 ms to recognise a tone before it signals the key, and stops signalling as much later; the
/// network adds its jitter.
const EVENT_TO_AUDIO: Duration = Duration::from_millis(100);
/// Signalling goes another way, through proxies, and its packets are repeated only after half a second (RFC 3261 T1).
const TO_INJECTED: Duration = Duration::from_secs(1);
/// A tone that was heard waits this long for event packets of the same press before it is told. It was heard behind the
/// jitter buffer and is told 40 ms after its end, so that they are late if they have not come by now.
const PATIENCE: Duration = Duration::from_millis(100);
/// Presses that are remembered, for as long as one may be reported again. Nobody presses more keys in that time.
const REMEMBERED: usize = 64;
const MEMORY: Duration = Duration::from_secs(5);
/// Presses that may wait: the owner polls at every frame.
const PENDING: usize = 64;

/// What the head of this file says of presses, for one call.
#[derive(Clone, Debug, Default)]
pub struct Merger {
    told: VecDeque<Told>,
    /// Tones that wait for event packets, and until when.
    waiting: VecDeque<(Time, Press)>,
    pending: VecDeque<Press>,
    merged: u64,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    press: Press,
    /// It was reported by these as well.
    also: [bool; 3],
}

impl Merger {
    /// Takes a report at `now`. Poll afterwards.
    pub fn report(&mut self, now: Time, mut press: Press) {
        while self.told.front().is_some_and(|told| now - told.press.ended > MEMORY) {
            self.told.pop_front();
        }
        if self.is_known(&press) {
            self.merged += 1;
            return;
        }
        match press.origin {
            Origin::Audio => self.waiting.push_back((now + PATIENCE, press)),
            Origin::Event | Origin::Injected => {
                self.give_way(&mut press);
                self.tell(press);
            }
        }
        if self.waiting.len() > PENDING {
            self.release();
        }
    }

    /// The next press that is to be told at `now`. `signalling` is the event that is being received, and since when: its tones
    /// are not told, because it will be.
    pub fn poll(&mut self, now: Time, signalling: Option<(Digit, Time)>) -> Option<Press> {
        while let Some((until, press)) = self.waiting.front() {
            if let Some((digit, began)) = signalling {
                if press.digit == digit && press.ended + EVENT_TO_AUDIO >= began {
                    self.waiting.pop_front();
                    self.merged += 1;
                    continue;
                }
            }
            if *until > now {
                break;
            }
            self.release();
        }
        self.pending.pop_front()
    }

    /// Whether a press is known that has not been told.
    pub fn holds(&self) -> bool {
        !self.waiting.is_empty() || !self.pending.is_empty()
    }

    /// Reports that were of a press that another one had told.
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// Whether the press was told, by something else.
    fn is_known(&mut self, press: &Press) -> bool {
        let known = self.told.iter_mut().find(|told| told.is_of(press));
        if let Some(told) = known {
            told.also[press.origin as usize] = true;
            return true;
        }
        false
    }

    /// Lets tones that wait go where a signalled press belongs: those of the same press away, those of earlier ones first.
    fn give_way(&mut self, press: &mut Press) {
        while let Some(&(_, waiting)) = self.waiting.front() {
            let told = Told { press: *press, also: [false; 3] };
            if told.is_of(&waiting) {
                press.masked |= waiting.masked;
                self.waiting.pop_front();
                self.merged += 1;
            } else if waiting.began < press.began {
                self.release();
            } else {
                break;
            }
        }
    }

    fn release(&mut self) {
        if let Some((_, press)) = self.waiting.pop_front() {
            self.tell(press);
        }
    }

    fn tell(&mut self, press: Press) {
        if self.told.len() >= REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back(Told { press, also: [false; 3] });
        if self.pending.len() < PENDING {
            self.pending.push_back(press);
        }
    }
}

impl Told {
    /// Whether a report is of this press. Each origin reports a press once; only tones may come in pieces, where a gateway
    /// cuts out their middle or the network does. A gateway that signals keys signals each: tones near an event are its own.
    fn is_of(&self, report: &Press) -> bool {
        let press = &self.press;
        if press.digit != report.digit || press.origin == report.origin {
            return false;
        }
        let apart = (report.began - press.ended).max(press.began - report.ended);
        if report.origin == Origin::Audio && press.origin == Origin::Event {
            return apart <= EVENT_TO_AUDIO;
        }
        let injected = report.origin == Origin::Injected || press.origin == Origin::Injected;
        let most = if injected { TO_INJECTED } else { EVENT_TO_AUDIO };
        apart <= most && !self.also[report.origin as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(origin: Origin, key: char, began: u64, ended: u64) -> Press {
        Press {
            digit: Digit::parse(key).unwrap(),
            duration: Duration::from_millis(ended - began),
            confidence: 1.0,
            origin,
            began: Time::ms(began),
            ended: Time::ms(ended),
            masked: false,
        }
    }

    /// Reports each press at its time; what is told in all, up to a second after the last.
    fn told(reports: &[(u64, Press)]) -> String {
        let mut merger = Merger::default();
        let mut keys = String::new();
        let end = reports.last().map_or(0, |(at, _)| at + 1000);
        let mut next = reports.iter().peekable();
        for ms in (0..=end).step_by(10) {
            while let Some((_, press)) = next.next_if(|(at, _)| *at <= ms) {
                merger.report(Time::ms(ms), *press);
            }
            while let Some(press) = merger.poll(Time::ms(ms), None) {
                keys.push(press.digit.as_char());
            }
        }
        keys
    }

    use Origin::{Audio, Event, Injected};

    #[test]
    fn tones_beside_an_event_are_the_same_press_whichever_is_known_first() {
        let (event, tones) = (press(Event, '5', 1050, 1200), press(Audio, '5', 1000, 1160));
        assert_eq!(told(&[(1200, event), (1250, tones)]), "5");
        assert_eq!(told(&[(1250, tones), (1300, event)]), "5", "within the patience");
        assert_eq!(told(&[(1250, tones), (1500, event)]), "5", "and beyond it");
    }

    #[test]
    fn a_leak_before_the_event_and_one_after_it_belong_to_it() {
        let event = press(Event, '5', 1050, 1200);
        let (before, after) = (press(Audio, '5', 1000, 1040), press(Audio, '5', 1190, 1230));
        assert_eq!(told(&[(1100, before), (1200, event), (1300, after)]), "5");
    }

    #[test]
    fn an_event_that_is_still_being_received_keeps_its_tones_from_being_told() {
        let mut merger = Merger::default();
        merger.report(Time::ms(1100), press(Audio, '5', 1000, 1040));
        let signalling = Some((Digit::parse('5').unwrap(), Time::ms(1050)));
        assert_eq!(merger.poll(Time::ms(1150), signalling), None);
        assert_eq!(merger.poll(Time::ms(9000), None), None);
        assert_eq!(merger.merged(), 1);
    }

    #[test]
    fn the_same_key_twice_is_two_presses_however_each_is_reported() {
        let twice = |origin| [press(origin, '1', 1000, 1060), press(origin, '1', 1120, 1180)];
        let [e1, e2] = twice(Event);
        let [a1, a2] = twice(Audio);
        let [i1, i2] = twice(Injected);
        assert_eq!(told(&[(1060, e1), (1180, e2)]), "11");
        assert_eq!(told(&[(1100, a1), (1220, a2)]), "11");
        assert_eq!(told(&[(1060, e1), (1100, a1), (1180, e2), (1220, a2)]), "11");
        assert_eq!(told(&[(1060, e1), (1180, e2), (1300, i1), (1400, i2)]), "11");
        assert_eq!(told(&[(1060, i1), (1061, e1), (1180, e2), (1200, i2)]), "11");
    }

    #[test]
    fn different_keys_and_different_times_are_different_presses() {
        let event = press(Event, '1', 1000, 1100);
        assert_eq!(told(&[(1100, event), (1150, press(Audio, '2', 1000, 1100))]), "12");
        assert_eq!(told(&[(1100, event), (1600, press(Audio, '1', 1450, 1550))]), "11");
        assert_eq!(told(&[(1100, event), (2700, press(Injected, '1', 2600, 2700))]), "11");
    }

    #[test]
    fn a_tone_that_waits_is_told_before_a_later_event() {
        let (tones, event) = (press(Audio, '1', 1000, 1050), press(Event, '2', 1100, 1150));
        assert_eq!(told(&[(1140, tones), (1150, event)]), "12");
    }

    #[test]
    fn no_flood_of_reports_grows_it() {
        let mut merger = Merger::default();
        for n in 0..10_000 {
            for origin in [Event, Audio, Injected] {
                merger.report(Time::ms(n), press(origin, '1', n * 3000, n * 3000 + 50));
            }
        }
        let sizes = [merger.told.len(), merger.waiting.len(), merger.pending.len()];
        assert!(sizes.iter().all(|&size| size <= REMEMBERED + 1), "{sizes:?}");
    }
}
