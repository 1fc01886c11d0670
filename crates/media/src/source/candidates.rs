//! Sources on probation, and their packets held until they have proven themselves. Bounded in every direction.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::same_address;
use crate::rtp::RtpPacket;
use crate::seq::{SeqNo, SeqTracker, Ssrc};
use crate::time::{Duration, Time};

/// Candidates of one pool. A call has one source, and two or three while it changes hands.
const CANDIDATES: usize = 4;
/// A candidate that was heard this recently keeps its place: a source that speaks comes again within it, even at the
/// longest usual packet of 60 ms. So a spray of sources cannot push out one that is about to prove itself; and one that finds
/// all places taken by a spray gets in with its second packet, see [`Pool::place`].
const FRESH: Duration = Duration::from_millis(100);
/// Packets without a place that are remembered, 8 bytes each: 20 ms of a flood of 50 000 packets a second, so that the next
/// packet of a real source is recognised.
const SIGHTINGS: usize = 1024;
/// Packets held of one candidate: 320 ms of 20 ms frames, enough for every proof short of a whole second's silence, also
/// of a source that begins with a burst: a player that reads its file in pieces of 2048 samples sends 13 packets at once,
/// and proves itself with the next piece only.
const HELD: usize = 16;
/// Held packets older than this are of no use to the listener any more.
const HELD_FOR: Duration = Duration::from_secs(1);

/// So many consecutive packets are not late: the network doubles or holds up some, and not in their order for so long.
const STEPPED_BACK: u32 = 5;

/// A packet that was held until its source had proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPacket {
    /// When it arrived.
    pub arrival: Time,
    /// Its datagram.
    pub bytes: Vec<u8>,
}

/// A source on probation.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub addr: SocketAddr,
    pub ssrc: Ssrc,
    /// When its first packet came, or its first one after a long silence.
    pub since: Time,
    /// How many consecutive packets it has sent, and when the first of them came.
    pub run: u32,
    pub run_began: Time,
    newest: SeqNo,
    /// The last packet that seemed late, how many consecutive ones there were of them, and when the first of these came.
    late: (SeqNo, u32, Time),
    heard: Time,
    held: VecDeque<HeldPacket>,
}

/// A few candidates side by side.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    candidates: Vec<Candidate>,
    /// The packets that would follow those without a place, newest last.
    awaited: VecDeque<u64>,
    /// Bytes held of one candidate at most.
    bytes: usize,
    given_up: u64,
}

impl Pool {
    pub fn new(bytes: usize) -> Pool {
        Pool { candidates: Vec::new(), awaited: VecDeque::new(), bytes, given_up: 0 }
    }

    /// Counts a packet for its candidate; where that stands, or `None` if there is no place for it.
    pub fn count(&mut self, now: Time, from: SocketAddr, packet: &RtpPacket<'_>) -> Option<usize> {
        let known = self
            .candidates
            .iter()
            .position(|known| known.ssrc == packet.ssrc && same_address(known.addr, from));
        let Some(index) = known else {
            return self.place(now, Candidate::new(now, from, packet));
        };
        self.candidates[index].count(now, packet.seq);
        Some(index)
    }

    pub fn get(&self, index: usize) -> &Candidate {
        &self.candidates[index]
    }

    /// Holds the packet that was just counted, within the bounds.
    pub fn hold(&mut self, index: usize, now: Time, raw: &[u8]) {
        if raw.len() > self.bytes {
            // A datagram may be 64 KiB long; no audio packet is.
            self.given_up += 1;
            return;
        }
        let held = &mut self.candidates[index].held;
        let mut total = raw.len() + held.iter().map(|packet| packet.bytes.len()).sum::<usize>();
        while let Some(oldest) = held.front() {
            let stale = now - oldest.arrival > HELD_FOR;
            if !stale && held.len() < HELD && total <= self.bytes {
                break;
            }
            total -= oldest.bytes.len();
            held.pop_front();
            self.given_up += 1;
        }
        held.push_back(HeldPacket { arrival: now, bytes: raw.to_vec() });
    }

    /// Takes out the held packets of a candidate, and with them the one that was just counted.
    pub fn hand_over(&mut self, index: usize, now: Time, raw: &[u8]) -> Vec<HeldPacket> {
        let held = core::mem::take(&mut self.candidates[index].held);
        let count = held.len();
        let mut handed: Vec<_> =
            held.into_iter().filter(|packet| now - packet.arrival <= HELD_FOR).collect();
        self.given_up += (count - handed.len()) as u64;
        handed.push(HeldPacket { arrival: now, bytes: raw.to_vec() });
        handed
    }

    /// Takes out the candidates at an address, with what is held of them.
    pub fn take(&mut self, addr: SocketAddr) -> Vec<Candidate> {
        let (taken, left) = core::mem::take(&mut self.candidates)
            .into_iter()
            .partition(|known| same_address(known.addr, addr));
        self.candidates = left;
        taken
    }

    /// Gives candidates of another pool the places that are free.
    pub fn admit(&mut self, candidates: Vec<Candidate>) {
        for candidate in candidates {
            if self.candidates.len() < CANDIDATES {
                self.candidates.push(candidate);
            } else {
                self.given_up += candidate.held.len() as u64;
            }
        }
    }

    /// Forgets all candidates, and gives their memory back.
    pub fn clear(&mut self) {
        self.given_up += self.candidates.iter().map(|gone| gone.held.len() as u64).sum::<u64>();
        self.candidates = Vec::new();
        self.awaited = VecDeque::new();
    }

    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    #[cfg(test)]
    pub fn bytes_held(&self) -> usize {
        self.candidates.iter().flat_map(|known| &known.held).map(|held| held.bytes.len()).sum()
    }

    /// Gives a newcomer a place. A full pool gives away that of the candidate that has been silent longest, if it is not
    /// fresh; and, to the second packet of a source whose first one found no place, that of a candidate of one packet.
    /// Sources that are made up one by one do not have a second packet.
    fn place(&mut self, now: Time, mut newcomer: Candidate) -> Option<usize> {
        if self.candidates.len() < CANDIDATES {
            self.candidates.push(newcomer);
            return Some(self.candidates.len() - 1);
        }
        let quietest = |most_run: u32| {
            let places = self.candidates.iter().enumerate();
            places.filter(|(_, known)| known.run <= most_run).min_by_key(|(_, known)| known.heard)
        };
        let stale = quietest(u32::MAX).filter(|(_, known)| now - known.heard >= FRESH);
        let seq = newcomer.newest;
        let sighted = self.awaited.contains(&newcomer.awaiting(seq));
        if sighted {
            newcomer.run = 2;
        }
        let place = stale.or_else(|| quietest(1).filter(|_| sighted)).map(|(index, _)| index);
        let Some(index) = place else {
            if self.awaited.len() == SIGHTINGS {
                self.awaited.pop_front();
            }
            self.awaited.push_back(newcomer.awaiting(seq.plus(1)));
            return None;
        };
        self.given_up += self.candidates[index].held.len() as u64;
        self.candidates[index] = newcomer;
        Some(index)
    }
}

impl Candidate {
    fn new(now: Time, addr: SocketAddr, packet: &RtpPacket<'_>) -> Candidate {
        Candidate {
            addr,
            ssrc: packet.ssrc,
            since: now,
            run: 1,
            run_began: now,
            newest: packet.seq,
            late: (packet.seq, 0, now),
            heard: now,
            held: VecDeque::new(),
        }
    }

    /// A packet of this source with `seq`, in 8 bytes. The host is left out: two sources taken for one by that only get a
    /// place, not trust.
    fn awaiting(&self, seq: SeqNo) -> u64 {
        u64::from(self.addr.port()) << 48 | u64::from(self.ssrc.0) << 16 | u64::from(seq.0)
    }

    /// RFC 3550 §A.1: only the very next packet goes on with the run. A late or doubled one proves nothing, and does not
    /// end the run either: that is the network's doing, and what was consecutive has arrived. Consecutive late ones are a source
    /// that has stepped back, and a run of their own.
    fn count(&mut self, now: Time, seq: SeqNo) {
        if now - self.heard > HELD_FOR {
            self.since = now;
        }
        self.heard = now;
        let step = seq.ahead_of(self.newest);
        if step == 1 {
            self.run += 1;
            self.newest = seq;
        } else if step > 1 || step.unsigned_abs() > SeqTracker::MAX_MISORDER {
            self.run = 1;
            self.run_began = now;
            self.newest = seq;
        } else {
            let (last, run, began) = self.late;
            self.late = if seq == last.plus(1) { (seq, run + 1, began) } else { (seq, 1, now) };
            if self.late.1 >= STEPPED_BACK {
                (self.run, self.run_began, self.newest) = (self.late.1, self.late.2, seq);
                self.late.1 = 0;
            }
        }
    }
}
