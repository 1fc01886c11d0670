//! What is received: which key and which index a packet has, whether it is genuine, and whether it came before.

use super::keys::MasterKey;
use super::replay::Window;
use super::transform::{Transform, ENCRYPTED, INDEX_LEN, RTCP_HEADER_LEN};
use super::{header_len, ssrc_of_rtcp, ssrc_of_rtp};
use crate::seq::{srtp_index, SeqNo, Ssrc};
use crate::time::{Duration, Time};

/// Sources that are told apart under one key. Only who has the key can fill it.
const MOST_SOURCES: usize = 256;
/// Keys that are held at once, those on their way out included.
const MOST_KEYS: usize = 16;
/// An old key is good for this long after the far end has first used a new one: packets overtake one another.
const OVERLAP: Duration = Duration::from_secs(2);
/// If the far end does not begin with the new one, the old one is good for this long: what a transaction of SIP may take
/// (RFC 3261 §17.1.1.2, 64 · T1).
const PATIENCE: Duration = Duration::from_secs(32);

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
}

/// The receiving half of SRTP.
pub(super) struct Receiver {
    /// Those of the newest configuration first.
    keys: Vec<Key>,
}

struct Key {
    master: MasterKey,
    transform: Transform,
    sources: Vec<Source>,
    /// It is no longer configured, and good until then.
    until: Option<Time>,
}

#[derive(Clone, Copy)]
struct Source {
    ssrc: Ssrc,
    rtp: Window,
    rtcp: Window,
}

impl Receiver {
    pub(super) fn new(masters: &[MasterKey]) -> Receiver {
        Receiver { keys: masters.iter().map(Key::new).collect() }
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
    ) -> Result<(), Rejected> {
        let header = header_len(packet).ok_or(Rejected::Malformed)?;
        let (ssrc, seq) = ssrc_of_rtp(packet).ok_or(Rejected::Malformed)?;
        self.forget(now);
        let mut verdict = Verdict::default();
        for at in 0..self.keys.len() {
            let key = &self.keys[at];
            let mki_len = key.master.mki().len();
            if packet.len() < header + key.master.suite().rtp_tag_len() + mki_len {
                continue;
            }
            if !key.is_named(packet, key.master.suite().rtp_tag_len()) {
                verdict.misnamed = true;
                continue;
            }
            for index in self.candidates(at, ssrc, seq).into_iter().flatten() {
                let key = &mut self.keys[at];
                if key.source(ssrc).is_some_and(|source| !source.rtp.admits(index)) {
                    verdict.replayed = true;
                    continue;
                }
                verdict.tried = true;
                if key.transform.open_rtp(packet, header, ssrc, index, mki_len).is_ok() {
                    key.source_mut(ssrc)?.rtp.note(index);
                    self.used(now, at);
                    return Ok(());
                }
            }
        }
        Err(verdict.reason())
    }

    /// The same for RTCP.
    pub(super) fn unprotect_rtcp(
        &mut self,
        now: Time,
        packet: &mut Vec<u8>,
    ) -> Result<(), Rejected> {
        let ssrc = ssrc_of_rtcp(packet).ok_or(Rejected::Malformed)?;
        self.forget(now);
        let mut verdict = Verdict::default();
        for at in 0..self.keys.len() {
            let key = &mut self.keys[at];
            let (suite, mki_len) = (key.master.suite(), key.master.mki().len());
            let tag_len = suite.rtcp_tag_len();
            if packet.len() < RTCP_HEADER_LEN + INDEX_LEN + mki_len + tag_len {
                continue;
            }
            if !key.is_named(packet, tag_len) {
                verdict.misnamed = true;
                continue;
            }
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
            if key.transform.open_rtcp(packet, ssrc, index, mki_len).is_ok() {
                key.source_mut(ssrc)?.rtcp.note(index.into());
                self.used(now, at);
                return Ok(());
            }
        }
        Err(verdict.reason())
    }

    /// The indices that a packet may have under a key; the first of them that its tag confirms is its index.
    ///
    /// A source that is known under the key has one (RFC 3711 §3.3.1). One that is not may have brought its rollover counter
    /// along from the key before (§3.3.1 again), or have begun anew with the key, as some ends do that take a key for a new
    /// context; and it may have lost everything before its first turn on the way.
    fn candidates(&self, at: usize, ssrc: Ssrc, seq: SeqNo) -> [Option<u64>; 3] {
        let newest = |key: &Key| key.source(ssrc).and_then(|source| source.rtp.newest());
        if let Some(newest) = newest(&self.keys[at]) {
            return [Some(srtp_index(newest, seq)), None, None];
        }
        let others = self.keys.iter().filter_map(newest);
        let carried = others.max().map(|newest| srtp_index(newest, seq));
        let first = u64::from(seq.0);
        // A sequence that begins in its upper half may have turned; in its lower half it would be lost for 10 minutes.
        let turned = (seq.ahead_of(SeqNo(0)) >= 0).then_some(first + (1 << 16));
        [
            carried,
            Some(first).filter(|index| carried != Some(*index)),
            turned.filter(|index| carried != Some(*index)),
        ]
    }

    /// A packet came under that key. If it is one that stays, those that go need no more patience.
    fn used(&mut self, now: Time, at: usize) {
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
        }
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
                self.sources.push(Source { ssrc, rtp: Window::default(), rtcp: Window::default() });
                self.sources.len() - 1
            }
        };
        // The one that speaks is found first next time.
        self.sources.swap(0, at);
        Ok(&mut self.sources[0])
    }
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
