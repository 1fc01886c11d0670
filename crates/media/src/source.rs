//! Who may talk: learn the remote source, then lock on it. All trust in addresses is decided here.
//!
//! The port is open to everybody. A stranger's packet must change nothing: no statistics, no jitter buffer, no digits, no
//! destination. So every RTP packet is judged here first, and what is not of the locked source is dropped, or *held* while
//! its source proves itself; when it has, the held packets are handed back in order, and nothing of it is lost.
//!
//! ```text
//!              proof                     proof, and silence of the locked source
//!  probation ────────► locked on a source ─────────────────────────────────────► locked on another
//!      ▲                 │           ▲
//!      │        retarget │           │ it may stay, or is signalled again
//!      │                 ▼           │
//!      └────────────── on notice ────┘
//!        a second is over    └─── proof ──► locked on the new one
//! ```
//!
//! Authentication (SRTP) is proof at once. Without it, proof is a run of packets of one SSRC with consecutive sequence
//! numbers (RFC 3550 §A.1): two from the signalled address, five by default over a plausible time from any other. Once
//! locked, the source keeps the lock for as long as it speaks:
//!
//! | who claims the lock | what it needs |
//! |---|---|
//! | another address | 1 s of silence of the locked source; then 2 packets that continue its SSRC and sequence (a NAT that rebound), or a long proof |
//! | the same with [`Policy::Follow`] | 100 ms of silence (more for long packets) and 2 packets that continue its SSRC and sequence; nothing else will do, ever |
//! | another SSRC at the locked address | that the old one stopped as it began: 80 ms of silence (more for long packets) and 2 packets; 1 s if both spoke for a while |
//! | the source that lost the lock by its silence | 3 packets that continue its sequence: a pause must not give a call away |
//! | anyone, when the locked source is our own stream, sent back | what it needs where nobody has the lock |
//! | the signalled address, when the lock fell elsewhere | 2 packets, at once; then, until 250 packets are heard of it, to speak at least ten times a second; three attempts |
//!
//! Our own packets are shown to the guard only where the far end sends them back as they were (`session/reflection.rs`).
//!
//! The last line keeps a call from being lost to whoever spoke first. Its trial keeps a forger of the signalled address from
//! cutting a source off, in the middle of its speech, with a few packets each time: that costs half a second of audio, three
//! times at most. Who can forge a whole stream, or read ours, is beyond addresses: against that there is only SRTP.

use std::net::SocketAddr;

use self::candidates::{Candidate, Pool};
use self::lock::{same_address, same_host, Lock};
use self::rate::Rate;
use crate::rtp::RtpPacket;
use crate::seq::{SeqNo, SeqTracker, Ssrc};
use crate::time::{Duration, Time};

#[cfg(test)]
mod attacks;
mod candidates;
mod lock;
#[cfg(test)]
mod lockouts;
mod policy;
pub(crate) mod rate;
#[cfg(test)]
mod tests;

pub use self::candidates::HeldPacket;
pub use self::policy::{Policy, RejectReason, SourceConfig};

/// Sequential packets from the signalled address; RFC 3550 §A.1 MIN_SEQUENTIAL.
const SHORT_PROOF: u32 = 2;
/// Sequential packets of a source that lost the lock by its silence: one more than a reordered tail is likely to hold.
const RETURN_PROOF: u32 = 3;
/// The packets of a long proof must take this long each: they may be of 10 ms, and jitter. A burst proves nothing but that
/// it was sent.
const PROOF_PACE: Duration = Duration::from_micros(7_500);
/// The locked source is gone after this silence. It bounds the way back after a NAT rebound, and the least pause that a
/// stranger must wait for.
const GONE: Duration = Duration::from_secs(1);
/// Strangers are not even looked at before the locked source has been silent this long: ten lost packets.
const ABSENT: Duration = Duration::from_millis(200);
/// An SSRC has stopped after this silence, if another began as it ended: four packets of 20 ms. Shorter would take a burst
/// of loss for it, longer would be heard. Of longer packets, two must be missing.
const STOPPED: Duration = Duration::from_millis(80);
/// Two SSRCs that follow one another may overlap by this much, through jitter and reordering.
const OVERLAP: Duration = Duration::from_millis(60);
/// A source that is no longer signalled is heard this much longer: a re-INVITE reaches the far media later than us.
const GRACE: Duration = Duration::from_secs(1);
/// How often the signalled address may take the lock from a source that speaks, until it has proven that it goes on.
const PREEMPTIONS: u8 = 3;
/// Packets after which the signalled source is no forgery of a few packets: five seconds of 20 ms.
const ESTABLISHED: u32 = 250;
/// On trial, the signalled source loses the lock again if, after this time, it was heard less often than once in this
/// interval, and the one it displaced still speaks. Packets of 60 ms with some loss pass. How fast the displaced one sends
/// has no say, or it would win by a flood.
const TRIAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(100));

/// What to do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is of the locked source.
    Accept,
    /// Its source is on probation; a copy is held. It has no effect now.
    Hold,
    /// Its source has proven itself and is locked from now on.
    NewSource {
        /// Its packets so far, in the order they arrived; the last one is the packet that was judged. Play them all.
        held: Vec<HeldPacket>,
        /// The source that had the lock before.
        previous: Option<(SocketAddr, Ssrc)>,
        /// It is the previous source at another address: same SSRC, sequence going on. Statistics and jitter buffer stay.
        continues: bool,
    },
    /// It is dropped.
    Reject(RejectReason),
}

/// Decides for one session which source is heard. It is told of every RTP packet that parsed, before anything else is.
#[derive(Clone, Debug)]
pub struct SourceGuard {
    config: SourceConfig,
    /// When the learn window began.
    began: Time,
    lock: Option<Lock>,
    /// Our own SSRC: a source of that name is our own stream, sent back.
    own: Option<Ssrc>,
    /// The source that lost the lock by its silence or to a source on trial, and may come back.
    former: Option<Lock>,
    /// Preemptions left to the signalled address; `None` once it is established.
    preemptions: Option<u8>,
    /// Candidates at the signalled and the locked address and the former source. Their places are their own: strangers
    /// cannot take them, however many there are.
    home: Pool,
    strangers: Pool,
    source_rate: Rate,
    session_rate: Rate,
    rejected: [u64; RejectReason::ALL.len()],
}

impl SourceGuard {
    /// A guard on probation; its learn window begins at `now`.
    pub fn new(config: SourceConfig, now: Time) -> SourceGuard {
        SourceGuard {
            config,
            began: now,
            lock: None,
            own: None,
            former: None,
            preemptions: Some(PREEMPTIONS),
            home: Pool::new(16 * 1024),
            strangers: Pool::new(16 * 1024),
            source_rate: Rate::new(config.source_rate),
            session_rate: Rate::new(config.session_rate),
            rejected: [0; RejectReason::ALL.len()],
        }
    }

    /// The same for a session that sends under this SSRC. Under it, only what it has sent itself is shown to the guard.
    pub fn of(self, own: Ssrc) -> SourceGuard {
        SourceGuard { own: Some(own), ..self }
    }

    /// The session sends under another SSRC from here on.
    pub fn renamed(&mut self, own: Ssrc) {
        self.own = Some(own);
    }

    /// Judges a packet that arrived at `now`; `raw` is its datagram. `now` never runs back.
    ///
    /// `authenticated`: a key that only the far end has vouches for it (SRTP), and it is no replay. That is proof at once
    /// of who speaks. From where it may speak is still the policy's to say.
    pub fn judge(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        raw: &[u8],
        authenticated: bool,
    ) -> Verdict {
        if self.config.expected_ssrc.is_some_and(|expected| expected != packet.ssrc) {
            return self.reject(RejectReason::UnexpectedSsrc);
        }
        self.end_notice(now);
        if let Some(lock) = self.lock.as_mut().filter(|lock| lock.is(from, packet.ssrc)) {
            lock.hear(now, packet.seq);
            let signalled = self.config.signalled;
            if lock.packets == ESTABLISHED && signalled.is_some_and(|s| same_address(s, from)) {
                self.preemptions = None;
                if lock.trial.take().is_some() {
                    self.former = None;
                }
            }
            return self.within_limits(now);
        }
        let home = self.is_home(from, packet);
        if authenticated && (home || self.allows(from).is_ok()) {
            if let Some(verdict) = self.recognise(now, from, packet, raw, home) {
                return verdict;
            }
        }
        if !home {
            if let Err(reason) = self.admits(now, from, packet) {
                return self.reject(reason);
            }
        }
        let Some(index) = self.pool(home).count(now, from, packet) else {
            return self.reject(RejectReason::TooManyCandidates);
        };
        let candidate = if home { self.home.get(index) } else { self.strangers.get(index) };
        let Some(by) = self.earned(now, candidate, packet.seq) else {
            self.pool(home).hold(index, now, raw);
            return Verdict::Hold;
        };
        let held = self.pool(home).hand_over(index, now, raw);
        self.promote(now, from, packet, held, by)
    }

    /// Whether a packet from an address can be accepted at all, whoever vouches for it; what cannot is counted as refused.
    ///
    /// To be asked before a packet is authenticated: one that was overtaken by a copy of itself, from an address that is not
    /// heard, must not be taken for a replay of that. And a stranger's packet costs no cryptography.
    pub fn may_speak(&mut self, from: SocketAddr) -> bool {
        let is_at = |lock: &Option<Lock>| lock.as_ref().is_some_and(|l| same_address(l.addr, from));
        if self.is_signalled(from) || is_at(&self.lock) || is_at(&self.former) {
            return true;
        }
        match self.allows(from) {
            Ok(()) => true,
            Err(reason) => {
                self.rejected[reason as usize] += 1;
                false
            }
        }
    }

    /// The same of RTCP.
    pub fn may_report(&self, from: SocketAddr) -> bool {
        match &self.lock {
            Some(lock) if lock.notice.is_none() => same_host(lock.addr, from),
            _ => self.config.signalled.is_some_and(|s| same_host(s, from)),
        }
    }

    /// Whether an RTCP packet of `sender_ssrc` may be believed.
    ///
    /// It must come from the locked host and be of the locked SSRC; the port is free, as RTCP has its own. Before the lock,
    /// and while the locked source is on notice, it must come from the signalled host: a source that was replaced says BYE,
    /// and that is not the end of the call. Where believed RTCP comes from is where reports should go; the session keeps
    /// that address.
    pub fn judge_rtcp(&self, from: SocketAddr, sender_ssrc: Ssrc) -> bool {
        if self.config.expected_ssrc.is_some_and(|expected| expected != sender_ssrc) {
            return false;
        }
        let fits = match &self.lock {
            None => true,
            Some(lock) if lock.notice.is_some() || lock.reflected => sender_ssrc != lock.ssrc,
            Some(lock) => sender_ssrc == lock.ssrc,
        };
        fits && self.may_report(from)
    }

    /// Where our RTP goes: to the locked source if that is how to reach it (RFC 4961), else to the signalled address.
    ///
    /// A source that was learned is reached where it speaks from. One on the signalled host that speaks from another port
    /// may well listen on the signalled one only (ffmpeg and GStreamer do), so that stays the destination, unless the source
    /// spoke from the signalled address before and its NAT moved it.
    pub fn destination(&self) -> Option<SocketAddr> {
        match &self.lock {
            Some(lock) if lock.symmetric && lock.notice.is_none() => Some(lock.addr),
            _ => self.config.signalled,
        }
    }

    /// A new signalled address, as from a re-INVITE; the address that is signalled already changes nothing.
    ///
    /// Packets go there at once. The old source is heard for another second, because it goes on until the far end has acted
    /// on the same signalling and a hole would be heard; the new one takes over as soon as it proves itself. After that
    /// second the old source stays only if it still speaks and the policy allows it beside the new address: its peer
    /// listens elsewhere now, but still sends from where it did. The learn window begins anew.
    pub fn retarget(&mut self, now: Time, signalled: SocketAddr) {
        if self.is_signalled(signalled) {
            return;
        }
        self.config.signalled = Some(signalled);
        self.began = now;
        self.former = None;
        self.preemptions = Some(PREEMPTIONS);
        // The far end may speak before its signalling is through: what is held of it then is its first word.
        let mut expected = self.home.take(signalled);
        expected.extend(self.strangers.take(signalled));
        self.home.clear();
        self.strangers.clear();
        self.home.admit(expected);
        if let Some(lock) = &mut self.lock {
            let stays = same_address(lock.addr, signalled);
            lock.symmetric |= stays;
            lock.notice = if stays { None } else { Some(lock.heard + GRACE) };
        }
    }

    /// The policy is [`Policy::Strict`] from here on: no source begins at, or moves to, another than the signalled address. The
    /// one that is heard stays. Where nobody is, and nothing is signalled, nobody could begin: then nothing changes.
    pub fn narrow(&mut self) {
        if self.config.signalled.is_some() || self.lock.is_some() {
            self.config.policy = Policy::Strict;
            self.strangers.clear();
        }
    }

    /// The signalled address.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.config.signalled
    }

    /// The locked source.
    pub fn locked(&self) -> Option<(SocketAddr, Ssrc)> {
        self.lock.as_ref().map(|lock| (lock.addr, lock.ssrc))
    }

    /// How many packets were refused for a reason.
    pub fn rejected(&self, reason: RejectReason) -> u64 {
        self.rejected[reason as usize]
    }

    /// How many held packets were given up, because their source did not prove itself or did so too slowly.
    pub fn given_up(&self) -> u64 {
        self.home.given_up() + self.strangers.given_up()
    }

    fn reject(&mut self, reason: RejectReason) -> Verdict {
        self.rejected[reason as usize] += 1;
        Verdict::Reject(reason)
    }

    /// The verdict on a packet of the locked source.
    fn within_limits(&mut self, now: Time) -> Verdict {
        // A packet that one of them refuses is not counted by the other.
        let (mut source, mut session) = (self.source_rate, self.session_rate);
        if !source.admits(now) || !session.admits(now) {
            return self.reject(RejectReason::RateLimited);
        }
        (self.source_rate, self.session_rate) = (source, session);
        Verdict::Accept
    }

    /// Whether it is the signalled address.
    pub fn is_signalled(&self, addr: SocketAddr) -> bool {
        self.config.signalled.is_some_and(|signalled| same_address(signalled, addr))
    }

    fn is_home(&self, from: SocketAddr, packet: &RtpPacket<'_>) -> bool {
        self.is_signalled(from)
            || self.lock.as_ref().is_some_and(|lock| same_address(lock.addr, from))
            || self.is_former(from, packet.ssrc, packet.seq)
    }

    fn is_former(&self, from: SocketAddr, ssrc: Ssrc, seq: SeqNo) -> bool {
        self.former.as_ref().is_some_and(|former| former.is(from, ssrc) && former.goes_on(seq))
    }

    /// Whether the policy ever lets an address prove itself that is neither signalled nor locked.
    fn allows(&self, from: SocketAddr) -> Result<(), RejectReason> {
        match (self.config.policy, self.config.signalled) {
            (Policy::Strict, _) => Err(RejectReason::NotSignalled),
            (Policy::Host, signalled) if !signalled.is_some_and(|host| same_host(host, from)) => {
                Err(RejectReason::OtherHost)
            }
            (Policy::Host | Policy::Learn | Policy::Follow, _) => Ok(()),
        }
    }

    /// Whether it may do so now, and with this packet.
    fn admits(
        &self,
        now: Time,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
    ) -> Result<(), RejectReason> {
        self.allows(from)?;
        let lock = self.lock.as_ref().filter(|lock| lock.notice.is_none() && !lock.reflected);
        if let Some(lock) = lock {
            let follows = self.config.policy == Policy::Follow;
            if !follows && now - lock.heard < ABSENT {
                return Err(RejectReason::LockedElsewhere);
            }
            if lock.ssrc == packet.ssrc && lock.goes_on(packet.seq) {
                return Ok(());
            }
            if follows {
                return Err(RejectReason::LockedElsewhere);
            }
        }
        match self.config.learn_window {
            Some(window) if now - self.began > window => Err(RejectReason::TooLate),
            _ => Ok(()),
        }
    }

    /// What authentication alone decides about a packet that is not the locked source's at its address.
    fn recognise(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        raw: &[u8],
        home: bool,
    ) -> Option<Verdict> {
        if let Some(lock) = &self.lock {
            let signalled = self.is_signalled(from);
            let succeeds = lock.has_successor(now) || signalled && lock.notice.is_some();
            if lock.ssrc == packet.ssrc {
                if !lock.goes_on(packet.seq) && now - lock.heard < ABSENT {
                    // It was overtaken on its way, by those that came after the source had moved.
                    return Some(self.within_limits(now));
                }
            } else if !succeeds {
                return None;
            }
        }
        let held = match self.pool(home).count(now, from, packet) {
            Some(index) => self.pool(home).hand_over(index, now, raw),
            None => vec![HeldPacket { arrival: now, bytes: raw.to_vec() }],
        };
        Some(self.promote(now, from, packet, held, By::Proof))
    }

    fn pool(&mut self, home: bool) -> &mut Pool {
        if home {
            &mut self.home
        } else {
            &mut self.strangers
        }
    }

    /// Whether a candidate has proven itself with the packet of `seq`, and by what.
    fn earned(&self, now: Time, candidate: &Candidate, seq: SeqNo) -> Option<By> {
        let short = candidate.run >= SHORT_PROOF;
        let (packets, spanned) = (self.config.probation, now - candidate.run_began);
        let long = candidate.run >= packets && spanned >= PROOF_PACE * packets.saturating_sub(1);
        let signalled = self.is_signalled(candidate.addr);
        let Some(lock) = &self.lock else {
            return (signalled && short || long).then_some(By::Proof);
        };
        let silence = now - lock.heard;
        if self.is_former(candidate.addr, candidate.ssrc, seq) {
            let (least, interval) = TRIAL;
            let failed = |since| {
                let tried = now - since;
                tried >= least && interval * lock.packets < tried
            };
            if candidate.run >= RETURN_PROOF && lock.trial.is_none_or(failed) {
                return Some(By::Return);
            }
        }
        if lock.reflected && candidate.ssrc != lock.ssrc {
            return (signalled && short || long).then_some(By::Proof);
        }
        if same_address(lock.addr, candidate.addr) {
            let followed = lock.heard - candidate.since <= OVERLAP;
            let stopped = STOPPED.max(lock.interval * 2);
            let needed = if followed && lock.trial.is_none() { stopped } else { GONE };
            return (short && silence >= needed).then_some(By::Proof);
        }
        if lock.notice.is_some() {
            return (signalled && short || long).then_some(By::Proof);
        }
        let continues = candidate.ssrc == lock.ssrc && lock.goes_on(seq);
        if self.config.policy == Policy::Follow && continues && short && lock.has_moved(now) {
            return Some(By::Proof);
        }
        if silence >= GONE {
            return ((signalled || continues) && short || long).then_some(By::Proof);
        }
        let ours = self.own == Some(candidate.ssrc);
        (signalled && short && !ours && self.preemptions != Some(0)).then_some(By::Preemption)
    }

    fn promote(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        held: Vec<HeldPacket>,
        by: By,
    ) -> Verdict {
        let old = self.lock.take();
        let signalled = self.is_signalled(from);
        let continues =
            old.as_ref().is_some_and(|old| old.ssrc == packet.ssrc && old.goes_on(packet.seq));
        let moved = continues && old.as_ref().is_some_and(|old| old.symmetric);
        let learns = self.learns() || self.config.signalled.is_none();
        let on_trial = by == By::Preemption && self.preemptions.is_some();
        self.lock = Some(Lock {
            addr: from,
            ssrc: packet.ssrc,
            seq: SeqTracker::new(packet.seq),
            heard: now,
            packets: 0,
            interval: Duration::ZERO,
            trial: on_trial.then_some(now),
            reflected: self.own == Some(packet.ssrc),
            symmetric: signalled || learns || moved,
            // Another SSRC at an address that is no longer signalled does not become more welcome by it.
            notice: old
                .as_ref()
                .filter(|old| same_address(old.addr, from))
                .and_then(|old| old.notice),
        });
        if by == By::Preemption {
            self.preemptions = self.preemptions.map(|left| left.saturating_sub(1));
        }
        let previous = old.as_ref().map(|old| (old.addr, old.ssrc));
        // Nobody comes back from notice, against the signalled source unless that is on trial, or after it had only filled
        // a pause.
        self.former = old.filter(|old| {
            let was_signalled = self.is_signalled(old.addr);
            match by {
                _ if old.reflected => false,
                By::Proof => old.notice.is_none() && (was_signalled || !signalled),
                By::Preemption => on_trial,
                By::Return => false,
            }
        });
        self.home.clear();
        self.strangers.clear();
        if !continues {
            self.source_rate.reset();
        }
        Verdict::NewSource { held, previous, continues }
    }

    /// Whether a source is reached where it speaks from, whatever was signalled.
    fn learns(&self) -> bool {
        let learned = matches!(self.config.policy, Policy::Learn | Policy::Follow);
        self.config.symmetric.unwrap_or(learned)
    }

    fn end_notice(&mut self, now: Time) {
        let Some(lock) = &self.lock else { return };
        if lock.notice.is_none_or(|until| now < until) {
            return;
        }
        let speaks = now - lock.heard < ABSENT;
        let allowed = self.allows(lock.addr).is_ok();
        let learns = self.learns();
        self.lock = self.lock.take().filter(|_| speaks && allowed).map(|lock| Lock {
            notice: None,
            symmetric: learns,
            ..lock
        });
    }
}

/// How a candidate got the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The lock was free, or its owner silent or on notice.
    Proof,
    /// It had lost the lock by its silence, and speaks again.
    Return,
    /// It is signalled, and took the lock from a source that spoke.
    Preemption,
}
