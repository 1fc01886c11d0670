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
/// none: they were taken, and wait in the jitter buffer in vain.
const CAUSES: [Cause; 21] = [
    ("malformed", |s| s.stats.malformed, Kind::Refused),
    (
        "unknown_payload_type",
        |s| s.stats.unknown_payload_type - s.unheard.speechless,
        Kind::Refused,
    ),
    ("stranger_host", |s| s.rejected(RejectReason::OtherHost), Kind::Refused),
    ("stranger_address", |s| s.rejected(RejectReason::NotSignalled), Kind::Refused),
    ("stranger_ssrc", |s| s.rejected(RejectReason::UnexpectedSsrc), Kind::Refused),
    ("stranger_meanwhile", |s| s.rejected(RejectReason::LockedElsewhere), Kind::Refused),
    ("stranger_too_late", |s| s.rejected(RejectReason::TooLate), Kind::Refused),
    (
        "stranger_unproven",
        |s| s.rejected(RejectReason::TooManyCandidates) + s.inbound.guard.given_up(),
        Kind::Refused,
    ),
    ("rate_limited", |s| s.rejected(RejectReason::RateLimited), Kind::Refused),
    ("doubtful", |s| s.stats.doubtful, Kind::Refused),
    ("looped", |s| s.stats.looped, Kind::Refused),
    ("srtp_bad_tag", |s| s.stats.srtp_bad_tag, Kind::Refused),
    ("srtp_replayed", |s| s.stats.srtp_replayed, Kind::Again),
    ("srtp_malformed", |s| s.stats.srtp_malformed, Kind::Refused),
    ("srtp_unkeyed", |s| s.stats.srtp_unkeyed, Kind::Refused),
    ("srtp_overflow", |s| s.stats.srtp_overflow, Kind::Refused),
    ("duplicate", |s| s.stats.duplicate, Kind::Again),
    ("late", |s| s.stats.late, Kind::Taken),
    ("overflow", |s| s.stats.overflow, Kind::Taken),
    ("undecodable", |s| s.inbound.playout.counts().undecodable, Kind::Taken),
    ("unplayed", |s| s.unheard.stored, Kind::Waits),
];

/// All the reasons that [`Event::Unheard`] may have.
pub fn unheard_reasons() -> impl ExactSizeIterator<Item = &'static str> {
    CAUSES.iter().map(|(name, ..)| *name)
}

type Cause = (&'static str, fn(&Session) -> u64, Kind);

/// Where on its way a packet was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Before its number was looked at: nothing else tells of its loss.
    Refused,
    /// The same, and it may be the copy of one that was taken: of a description of noise that is heard.
    Again,
    /// In playout, which counts it.
    Taken,
    /// It was not lost: it may be part of a noise that is heard.
    Waits,
}

impl Kind {
    /// Whether noise that is heard shows that nothing is wrong.
    fn may_be_noise(self) -> bool {
        matches!(self, Kind::Again | Kind::Waits)
    }
}

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
    /// How much of the stretch was counted as lost.
    counted: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    began: Time,
    newest: Time,
    counts: [u64; CAUSES.len()],
}

impl Stretch {
    /// The place of the cause of most of its packets.
    fn cause(&self) -> usize {
        let most = self.counts.iter().max().copied().unwrap_or(0);
        self.counts.iter().position(|&count| count == most).unwrap_or(0)
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
        for (at, (_, _, kind)) in CAUSES.iter().enumerate() {
            if played.noise == noise || !kind.may_be_noise() {
                new[at] = counts[at].saturating_sub(before[at]);
            }
        }
        let came = new.iter().any(|&count| count > 0);
        let alive = |stretch: &Stretch| now - stretch.newest < APART;
        let Some(mut stretch) = state.stretch.filter(alive) else {
            state.stretch = came.then_some(Stretch { began: now, newest: now, counts: new });
            state.counted = Duration::ZERO;
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
        let (reason, _, kind) = CAUSES[stretch.cause()];
        if !core::mem::replace(&mut state.told, true) {
            self.stats.unheard += 1;
            self.output.push_back(Output::Event(Event::Unheard { reason }));
        }
        self.count_as_lost(stretch.newest - stretch.began, kind);
    }

    /// What is refused before its number is looked at is missing in no sequence: it is lost to the listener all the same. It is
    /// counted by the time it takes, so that a flood counts for no more than a call.
    fn count_as_lost(&mut self, lasted: Duration, kind: Kind) {
        if !matches!(kind, Kind::Refused | Kind::Again) {
            return;
        }
        let span = self.packet_span();
        let packets = (lasted - self.unheard.counted).as_nanos() / span.as_nanos().max(1);
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.unheard.counted += span * packets;
        self.inbound.playout.count_unheard(packets.into());
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
