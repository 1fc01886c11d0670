//! Packets come, and nothing of them is heard: told once, with what became of most of them.
//!
//! What refuses a packet counts it, so the counters say why nobody hears it. They are looked at after every frame: the time in
//! which they rise, and not one frame of audio is heard, is what this file measures. Packets that are no speech raise none of
//! them: keep-alives, digits, comfort noise, what comes although we do not receive.

use super::{Event, Output, Session};
use crate::rtp::RtpPacket;
use crate::source::RejectReason;
use crate::time::{Duration, Time};

/// How long packets come unheard before it is told. What recovers by itself has recovered by then: a source that proves itself
/// takes a second at most, and so does playout after a step of any kind.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Packets of one stream are no further apart than this, loss and a stall included; rarer ones are no stream: checks of
/// connectivity (RFC 7675), reports, what is late or damaged now and then.
const APART: Duration = Duration::from_millis(500);

/// Fewer than this in the time are not somebody who speaks: packets of 200 ms, the longest there are (RFC 3551 §4.2).
const FEWEST: u64 = 10;

/// No audio fits in a payload of so many octets: it is a description of noise, or a digit under a number that nobody agreed on.
const LONGEST_SPEECHLESS: usize = 4;

/// Why packets were not heard, by the names of the counters that rise with them ([`Stats`](crate::stats::Stats)); `unplayed` is
/// none: they were taken, and wait in the jitter buffer in vain. It is the last.
const CAUSES: [Cause; 23] = [
    ("malformed", |s| s.stats.malformed, false),
    ("oversized", |s| s.stats.oversized, false),
    ("unknown_payload_type", |s| s.stats.unknown_payload_type - s.unheard.speechless, false),
    ("stranger_host", |s| s.rejected(RejectReason::OtherHost), false),
    ("stranger_address", |s| s.rejected(RejectReason::NotSignalled), false),
    ("stranger_ssrc", |s| s.rejected(RejectReason::UnexpectedSsrc), false),
    ("stranger_meanwhile", |s| s.rejected(RejectReason::LockedElsewhere), false),
    ("stranger_too_late", |s| s.rejected(RejectReason::TooLate), false),
    (
        "stranger_unproven",
        |s| s.rejected(RejectReason::TooManyCandidates) + s.inbound.guard.given_up(),
        false,
    ),
    ("rate_limited", |s| s.rejected(RejectReason::RateLimited), false),
    ("doubtful", |s| s.stats.doubtful, false),
    ("looped", |s| s.stats.looped, false),
    ("srtp_bad_tag", |s| s.stats.srtp_bad_tag, false),
    ("srtp_replayed", |s| s.stats.srtp_replayed, true),
    ("srtp_malformed", |s| s.stats.srtp_malformed, false),
    ("srtp_unkeyed", |s| s.stats.srtp_unkeyed, false),
    ("srtp_overflow", |s| s.stats.srtp_overflow, false),
    ("srtp_rate_limited", |s| s.stats.srtp_rate_limited, false),
    ("duplicate", |s| s.stats.duplicate, true),
    ("late", |s| s.stats.late, false),
    ("overflow", |s| s.inbound.playout.counts().skipped, false),
    ("undecodable", |s| s.inbound.playout.counts().undecodable, false),
    ("unplayed", |s| s.unheard.stored, true),
];

/// All the reasons that [`Event::Unheard`] may have.
pub fn unheard_reasons() -> impl ExactSizeIterator<Item = &'static str> {
    CAUSES.iter().map(|(name, ..)| *name)
}

/// Its name, the counter, and whether noise that is heard shows that nothing is wrong: then these are part of it, or copies.
type Cause = (&'static str, fn(&Session) -> u64, bool);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// Where the counters stood after the frame before.
    counts: Option<[u64; CAUSES.len()]>,
    /// Frames of audio and of noise so far.
    heard: (u64, u64),
    /// The stretch in which packets come and nothing is heard.
    stretch: Option<Stretch>,
    /// It was told, and nothing has been heard since.
    told: bool,
    /// Packets of an unknown type that hold no speech.
    speechless: u64,
    /// Packets of audio that playout has taken.
    pub(super) stored: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    began: Time,
    newest: Time,
    /// What playout had lost before it.
    lost_before: u64,
    counts: [u64; CAUSES.len()],
}

impl Stretch {
    /// The place of the cause of most of its packets.
    fn cause(&self) -> usize {
        // What was taken and counted for something else later was no more unplayed than that.
        let unplayed = self.counts.len() - 1;
        let (waits, others) = (self.counts[unplayed], &self.counts[..unplayed]);
        let most = others.iter().max().copied().unwrap_or(0);
        if most < waits / 2 {
            return unplayed;
        }
        others.iter().position(|&count| count == most).unwrap_or(unplayed)
    }
}

impl Unheard {
    /// What has come so far is no fault of anybody: nobody listened.
    pub(super) fn forget(&mut self) {
        (self.counts, self.stretch) = (None, None);
    }
}

impl Session {
    /// To be called after every frame.
    pub(super) fn watch_unheard(&mut self, now: Time) {
        if !self.inbound.listens() {
            self.unheard.forget();
            return;
        }
        let counts = CAUSES.map(|(_, count, _)| count(self));
        let played = self.inbound.playout.counts();
        let state = &mut self.unheard;
        let before = state.counts.replace(counts);
        let (speech, noise) = core::mem::replace(&mut state.heard, (played.received, played.noise));
        if played.received > speech {
            state.stretch = None;
            if core::mem::take(&mut state.told) {
                self.output.push_back(Output::Event(Event::HeardAgain));
            }
            return;
        }
        let Some(before) = before else { return };
        let mut new = [0; CAUSES.len()];
        for (at, (_, _, may_be_noise)) in CAUSES.iter().enumerate() {
            if played.noise == noise || !may_be_noise {
                new[at] = counts[at].saturating_sub(before[at]);
            }
        }
        let came = new.iter().any(|&count| count > 0);
        let alive = |stretch: &Stretch| now - stretch.newest < APART;
        let Some(mut stretch) = state.stretch.filter(alive) else {
            let (_, lost_before) = self.inbound.playout.bursts().counts();
            let begins = Stretch { began: now, newest: now, lost_before, counts: new };
            state.stretch = came.then_some(begins);
            return;
        };
        if came {
            stretch.newest = now;
            for (count, new) in stretch.counts.iter_mut().zip(new) {
                *count += new;
            }
        }
        state.stretch = Some(stretch);
        if now - stretch.began < TOLD_AFTER || stretch.counts.iter().sum::<u64>() < FEWEST {
            return;
        }
        let (reason, ..) = CAUSES[stretch.cause()];
        if !core::mem::replace(&mut state.told, true) {
            self.stats.unheard += 1;
            self.output.push_back(Output::Event(Event::Unheard { reason }));
        }
        self.count_as_lost(&stretch);
    }

    /// What is refused before its number is looked at is missing in no sequence: it is lost to the listener all the same. It is
    /// counted by the time it takes, so that a flood counts for no more than a call.
    fn count_as_lost(&mut self, stretch: &Stretch) {
        let span = self.packet_span().as_nanos().max(1);
        let packets = (stretch.newest - stretch.began).as_nanos() / span;
        let (_, lost) = self.inbound.playout.bursts().counts();
        let uncounted = u64::try_from(packets).unwrap_or(u64::MAX);
        self.inbound
            .playout
            .count_unheard(uncounted.saturating_sub(lost.saturating_sub(stretch.lost_before)));
    }

    /// A packet of a type that nobody agreed on.
    pub(super) fn count_unknown(&mut self, packet: &RtpPacket<'_>) {
        self.stats.unknown_payload_type += 1;
        // 13 and 19 stand for comfort noise whatever was agreed on (RFC 3551 table 4; RFC 3389 §4).
        let noise = matches!(packet.payload_type, 13 | 19);
        let speechless = noise || packet.payload.len() <= LONGEST_SPEECHLESS;
        self.unheard.speechless += u64::from(speechless);
    }

    fn rejected(&self, reason: RejectReason) -> u64 {
        self.inbound.guard.rejected(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_unplayed_only_where_nothing_else_became_of_it() {
        let reason = |counted: &[(&str, u64)]| {
            let mut counts = [0; CAUSES.len()];
            for (name, count) in counted {
                counts[unheard_reasons().position(|reason| reason == *name).unwrap()] = *count;
            }
            let (began, newest, lost_before) = (Time::ZERO, Time::ZERO, 0);
            CAUSES[Stretch { began, newest, lost_before, counts }.cause()].0
        };
        assert_eq!(reason(&[("unplayed", 100)]), "unplayed");
        assert_eq!(reason(&[("unplayed", 100), ("late", 30)]), "unplayed");
        assert_eq!(reason(&[("unplayed", 100), ("undecodable", 94)]), "undecodable");
        assert_eq!(reason(&[("unplayed", 100), ("overflow", 98), ("late", 3)]), "overflow");
        assert_eq!(reason(&[("late", 60), ("srtp_bad_tag", 40)]), "late");
        assert_eq!(reason(&[("malformed", 10), ("looped", 10)]), "malformed");
    }
}
