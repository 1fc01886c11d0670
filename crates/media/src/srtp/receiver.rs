//! What is received: which key and which index a packet has, whether it is genuine, and whether it came before.

use super::keys::MasterKey;
use super::replay::Window;
use super::suite::Suite;
use super::trail::Trail;
use super::transform::{Transform, ENCRYPTED, INDEX_LEN, RTCP_HEADER_LEN};
use super::{header_len, ssrc_of_rtcp, ssrc_of_rtp, timestamp_of_rtp};
use crate::seq::{srtp_index, RtpTime, SeqNo, Ssrc};
use crate::time::{Duration, Time};

/// Sources that are told apart under one key. Only who has the key can fill it.
const MOST_SOURCES: usize = 256;
/// Keys that are held at once, those on their way out included.
const MOST_KEYS: usize = 16;
/// Tags that are computed for one packet at most, whatever the count of keys: a known source needs one, two while the far end
/// changes its key, and one that begins anew with a key of before it three.
const MOST_TRIES: usize = 8;
/// Those of a packet that is not worth a search: under the key that its source used last, and under the newest one or, if that
/// is the same, the one before.
const FEWEST_TRIES: usize = 2;
/// An old key is good for this long after the far end has first used a new one: packets overtake one another.
const OVERLAP: Duration = Duration::from_secs(2);
/// If the far end does not begin with the new one, the old one is good for this long: what a transaction of SIP may take
/// (RFC 3261 §17.1.1.2, 64 · T1).
const PATIENCE: Duration = Duration::from_secs(32);

/// How often a far end begins anew under its key in a call.
const MOST_BEGINNINGS: usize = 8;

/// Why a packet is refused. It has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Too short for what it should hold, or no RTP or RTCP at all.
    Malformed,
    /// Its MKI names no key that is valid.
    UnknownKey,
    /// It is not authentic under any key: forged, damaged, or not encrypted.
    BadTag,
    /// It came before, or is too old to tell (RFC 3711 §3.3.2).
    Replayed,
    /// RTCP whose E bit says that it is not encrypted: nobody agreed on that.
    Unencrypted,
    /// One source too many.
    TooManySources,
    /// It was not worth a [search](Effort::Known), and its source is not known.
    NotSearched,
}

/// How much a packet may cost that turns out to be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// All keys that it can be under are tried, but no more than 8 tags are computed.
    Whole,
    /// It is tried if its source is known: under the key which that used last, and the newest one or the one before. Who sends
    /// as it did before, or has just gone over to the key agreed on, is heard.
    Known,
}

/// The receiving half of SRTP.
pub(super) struct Receiver {
    /// Those of the newest configuration first.
    keys: Vec<Key>,
    /// Tags computed so far.
    tries: u64,
    /// Packets that were authentic so far, which says which key was used last.
    authentic: u64,
    /// Packets that were searched for in vain: each search begins with another of the old keys, so that one packet in a few
    /// finds its key however many there are.
    vain: usize,
}

struct Key {
    master: MasterKey,
    transform: Transform,
    sources: Vec<Source>,
    /// It is no longer configured, and good until then.
    until: Option<Time>,
    /// Which of the authentic packets was the last one under it.
    used: u64,
}

struct Source {
    ssrc: Ssrc,
    rtp: Window,
    rtcp: Window,
    trail: Trail,
    /// Where it had been before it began anew.
    former: Vec<Trail>,
}

impl Source {
    fn new(ssrc: Ssrc) -> Source {
        let (rtp, rtcp) = (Window::default(), Window::default());
        Source { ssrc, rtp, rtcp, trail: Trail::default(), former: Vec::new() }
    }

    /// Whether a packet of that index may still come. What it said before it began anew may not.
    fn admits(&self, index: u64, timestamp: RtpTime) -> bool {
        self.rtp.admits(index)
            && !self.former.iter().any(|trail| trail.leads_over(index, timestamp))
    }

    /// Whether a packet of that index, which is not the present one's, may be part of a new beginning.
    fn may_begin_anew(&self, index: u64, timestamp: RtpTime) -> bool {
        let mut trails = self.former.iter().chain([&self.trail]);
        self.former.len() < MOST_BEGINNINGS
            && !trails.any(|trail| trail.leads_over(index, timestamp))
    }

    fn note(&mut self, index: u64, timestamp: RtpTime) {
        self.rtp.note(index);
        self.trail.note(index, timestamp);
    }

    /// A genuine packet came that is no copy of another, and is not where it would go on.
    fn begin_anew(&mut self) {
        self.former.push(core::mem::take(&mut self.trail));
        self.rtp = Window::default();
    }
}

impl Receiver {
    pub(super) fn new(masters: &[MasterKey]) -> Receiver {
        let keys = masters.iter().map(Key::new).collect();
        Receiver { keys, tries: 0, authentic: 0, vain: 0 }
    }

    /// Tags computed so far: what authentication has cost.
    pub(super) fn tries(&self) -> u64 {
        self.tries
    }

    /// Goes over to other keys. Those that stay go on as they were; those that are gone are good for a while longer, since
    /// the far end learns of the change later than we do.
    pub(super) fn rekey(&mut self, now: Time, masters: &[MasterKey]) {
        let mut keys = Vec::new();
        for master in masters {
            let at = self.keys.iter().position(|key| key.master.same_secret(master));
            let mut key = at.map_or_else(|| Key::new(master), |at| self.keys.remove(at));
            key.master = master.clone();
            key.until = None;
            keys.push(key);
        }
        for mut old in self.keys.drain(..) {
            old.until.get_or_insert(now + PATIENCE);
            keys.push(old);
        }
        keys.truncate(MOST_KEYS);
        self.keys = keys;
        self.forget(now);
    }

    /// Wipes the keys whose time is over.
    pub(super) fn forget(&mut self, now: Time) {
        self.keys.retain(|key| key.until.is_none_or(|until| now < until));
    }

    /// Authenticates and decrypts an RTP packet in place. A packet that is refused may be left in any state.
    pub(super) fn unprotect_rtp(
        &mut self,
        now: Time,
        packet: &mut Vec<u8>,
        effort: Effort,
    ) -> Result<(), Rejected> {
        let header = header_len(packet).ok_or(Rejected::Malformed)?;
        let (ssrc, seq) = ssrc_of_rtp(packet).ok_or(Rejected::Malformed)?;
        let timestamp = timestamp_of_rtp(packet).ok_or(Rejected::Malformed)?;
        self.forget(now);
        let mut verdict = Verdict::default();
        let plan = self.plan(packet, header, Suite::rtp_tag_len, ssrc, effort, &mut verdict)?;
        let mut left = plan.tries;
        for &at in &plan.order[..plan.keys] {
            let key = &self.keys[at];
            let mki_len = key.master.mki().len();
            let mut indices = candidates(key.newest(ssrc), plan.carried, seq);
            if effort == Effort::Known {
                indices = [indices[0], None, None];
            }
            let is_known = key.source(ssrc).is_some();
            let mut tried = None;
            for (n, index) in indices.into_iter().flatten().enumerate() {
                let key = &mut self.keys[at];
                // A source that is known has one index, and another if it has begun anew.
                let anew = is_known && n > 0;
                if key.source(ssrc).is_some_and(|source| match anew {
                    false => !source.admits(index, timestamp),
                    true => Some(index) == tried || !source.may_begin_anew(index, timestamp),
                }) {
                    verdict.replayed |= !anew;
                    continue;
                }
                tried = Some(index);
                verdict.tried = true;
                if left == 0 {
                    break;
                }
                (left, self.tries) = (left - 1, self.tries + 1);
                if key.transform.open_rtp(packet, header, ssrc, index, mki_len).is_ok() {
                    let source = key.source_mut(ssrc)?;
                    if anew {
                        source.begin_anew();
                    }
                    source.note(index, timestamp);
                    self.used(now, at);
                    return Ok(());
                }
            }
        }
        self.vain += 1;
        Err(verdict.reason())
    }

    /// The same for RTCP.
    pub(super) fn unprotect_rtcp(
        &mut self,
        now: Time,
        packet: &mut Vec<u8>,
        effort: Effort,
    ) -> Result<(), Rejected> {
        let ssrc = ssrc_of_rtcp(packet).ok_or(Rejected::Malformed)?;
        self.forget(now);
        let mut verdict = Verdict::default();
        let fixed = RTCP_HEADER_LEN + INDEX_LEN;
        let plan = self.plan(packet, fixed, Suite::rtcp_tag_len, ssrc, effort, &mut verdict)?;
        let mut left = plan.tries;
        for &at in &plan.order[..plan.keys] {
            let key = &mut self.keys[at];
            let (suite, mki_len) = (key.master.suite(), key.master.mki().len());
            let tag_len = suite.rtcp_tag_len();
            let behind = mki_len + if suite.is_aead() { 0 } else { tag_len };
            let word = packet[..packet.len() - behind].last_chunk().copied();
            let word = u32::from_be_bytes(word.ok_or(Rejected::Malformed)?);
            if word & ENCRYPTED == 0 {
                verdict.unencrypted = true;
                continue;
            }
            let index = word & !ENCRYPTED;
            if key.source(ssrc).is_some_and(|source| !source.rtcp.admits(index.into())) {
                verdict.replayed = true;
                continue;
            }
            verdict.tried = true;
            if left == 0 {
                break;
            }
            (left, self.tries) = (left - 1, self.tries + 1);
            if key.transform.open_rtcp(packet, ssrc, index, mki_len).is_ok() {
                key.source_mut(ssrc)?.rtcp.note(index.into());
                self.used(now, at);
                return Ok(());
            }
        }
        self.vain += 1;
        Err(verdict.reason())
    }

    /// Which keys are tried for a packet, and in which order: of those that its MKI names, first the ones that its source is
    /// known under, the one used last before the others; then those that are configured; then the old ones.
    fn plan(
        &self,
        packet: &[u8],
        fixed: usize,
        tag_len: fn(Suite) -> usize,
        ssrc: Ssrc,
        effort: Effort,
        verdict: &mut Verdict,
    ) -> Result<Plan, Rejected> {
        let mut plan = Plan { order: [0; MOST_KEYS], keys: 0, tries: MOST_TRIES, carried: None };
        let mut ranks = [(0, 0); MOST_KEYS];
        let (mut known, mut fresh) = (0, 0);
        for (at, key) in self.keys.iter().enumerate().take(MOST_KEYS) {
            let source = key.source(ssrc);
            plan.carried = plan.carried.max(source.and_then(|source| source.rtp.newest()));
            let tag_len = tag_len(key.master.suite());
            if packet.len() < fixed + tag_len + key.master.mki().len() {
                continue;
            }
            if !key.is_named(packet, tag_len) {
                verdict.misnamed = true;
                continue;
            }
            ranks[at] = match (source, key.until) {
                (Some(_), _) => (0, u64::MAX - key.used),
                (None, None) => (1, 0),
                (None, Some(_)) => (2, 0),
            };
            (known, fresh) =
                (known + usize::from(ranks[at].0 == 0), fresh + usize::from(ranks[at].0 == 1));
            plan.order[plan.keys] = at;
            plan.keys += 1;
        }
        let order = &mut plan.order[..plan.keys];
        order.sort_unstable_by_key(|&at| (ranks[at], at));
        match effort {
            Effort::Whole => {
                let old = &mut order[known + fresh..];
                old.rotate_left(self.vain % old.len().max(1));
            }
            Effort::Known if plan.carried.is_none() && known == 0 => {
                return Err(Rejected::NotSearched);
            }
            Effort::Known => {
                // The one that the source used last; one that it may have just begun with, or else the one before.
                order[known.min(1)..known + fresh].rotate_left(known.saturating_sub(1));
                (plan.keys, plan.tries) = (known + fresh, FEWEST_TRIES);
            }
        }
        Ok(plan)
    }

    /// A packet came under that key. If it is one that stays, those that go need no more patience.
    fn used(&mut self, now: Time, at: usize) {
        self.authentic += 1;
        self.keys[at].used = self.authentic;
        if self.keys.len() > 1 && self.keys[at].until.is_none() {
            for until in self.keys.iter_mut().filter_map(|key| key.until.as_mut()) {
                *until = (*until).min(now + OVERLAP);
            }
        }
    }
}

impl Key {
    fn new(master: &MasterKey) -> Key {
        Key {
            transform: Transform::new(master),
            master: master.clone(),
            sources: Vec::new(),
            until: None,
            used: 0,
        }
    }

    /// The newest index of a source's RTP.
    fn newest(&self, ssrc: Ssrc) -> Option<u64> {
        self.source(ssrc).and_then(|source| source.rtp.newest())
    }

    /// Whether a packet carries this key's MKI. In GCM it is the last thing in the packet, else the tag is.
    fn is_named(&self, packet: &[u8], tag_len: usize) -> bool {
        let behind = if self.master.suite().is_aead() { 0 } else { tag_len };
        packet
            .get(..packet.len().saturating_sub(behind))
            .is_some_and(|p| p.ends_with(self.master.mki()))
    }

    fn source(&self, ssrc: Ssrc) -> Option<&Source> {
        self.sources.iter().find(|source| source.ssrc == ssrc)
    }

    /// Made if it is not there: only a genuine packet gets this far.
    fn source_mut(&mut self, ssrc: Ssrc) -> Result<&mut Source, Rejected> {
        let at = match self.sources.iter().position(|source| source.ssrc == ssrc) {
            Some(at) => at,
            None if self.sources.len() == MOST_SOURCES => return Err(Rejected::TooManySources),
            None => {
                self.sources.push(Source::new(ssrc));
                self.sources.len() - 1
            }
        };
        // The one that speaks is found first next time.
        self.sources.swap(0, at);
        Ok(&mut self.sources[0])
    }
}

/// Which keys are tried for a packet.
struct Plan {
    /// Their places, in the order that they are tried in.
    order: [usize; MOST_KEYS],
    /// How many of these there are.
    keys: usize,
    /// Tags that may be computed.
    tries: usize,
    /// The newest index of the source under any key.
    carried: Option<u64>,
}

/// The indices that a packet may have under a key; the first of them that its tag confirms is its index.
///
/// A source that is known under the key has one (RFC 3711 §3.3.1), and its number before any turn if it has begun anew and
/// forgotten that it turned. One that is not may have brought its rollover counter
/// along from the key before (§3.3.1 again), or have begun anew with the key, as some ends do that take a key for a new
/// context; and it may have lost everything before its first turn on the way.
fn candidates(newest: Option<u64>, elsewhere: Option<u64>, seq: SeqNo) -> [Option<u64>; 3] {
    if let Some(newest) = newest {
        return [Some(srtp_index(newest, seq)), Some(u64::from(seq.0)), None];
    }
    let carried = elsewhere.map(|newest| srtp_index(newest, seq));
    let first = u64::from(seq.0);
    // A sequence that begins in its upper half may have turned; in its lower half it would be lost for 10 minutes.
    let turned = (seq.ahead_of(SeqNo(0)) >= 0).then_some(first + (1 << 16));
    [
        carried,
        Some(first).filter(|index| carried != Some(*index)),
        turned.filter(|index| carried != Some(*index)),
    ]
}

/// What was found on the way through the keys.
#[derive(Default)]
struct Verdict {
    tried: bool,
    replayed: bool,
    misnamed: bool,
    unencrypted: bool,
}

impl Verdict {
    /// The reason that says most.
    fn reason(&self) -> Rejected {
        match self {
            Verdict { replayed: true, .. } => Rejected::Replayed,
            Verdict { tried: true, .. } => Rejected::BadTag,
            Verdict { unencrypted: true, .. } => Rejected::Unencrypted,
            Verdict { misnamed: true, .. } => Rejected::UnknownKey,
            _ => Rejected::Malformed,
        }
    }
}
