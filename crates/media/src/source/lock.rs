//! The source that is heard, or was until a moment ago, and what makes two addresses the same.

use std::net::SocketAddr;

use crate::seq::{SeqNo, SeqTracker, SeqUpdate, Ssrc};
use crate::time::{Duration, Time};

/// The longest packet there is (RFC 3551 §4.2); what comes more rarely is a pause.
const LONGEST_PACKET: Duration = Duration::from_millis(200);

/// With authentication, the old SSRC has ended after this: two packets of 20 ms, or of longer ones two as well. Two that speak
/// at the same time must not take turns.
const SUCCEEDED: Duration = Duration::from_millis(40);
/// A source that [`Policy::Follow`](super::Policy::Follow) is to follow must have ended here for so long: five packets of
/// 20 ms, or three of longer ones. Who reads the call could send its next packet elsewhere before it does, and a packet or
/// two that are lost or late must not let that in.
const MOVED: Duration = Duration::from_millis(100);

/// A source that has, or had, the lock.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    pub addr: SocketAddr,
    pub ssrc: Ssrc,
    pub seq: SeqTracker,
    pub heard: Time,
    pub packets: u32,
    /// The time between two packets, smoothed; at most [`LONGEST_PACKET`].
    pub interval: Duration,
    /// It is signalled, took the lock from a source that spoke, and must show that it goes on from then on.
    pub trial: Option<Time>,
    /// It is our own stream, sent back: who else speaks is the far end, and need not wait for its silence.
    pub reflected: bool,
    /// Our packets go to its address, not to the signalled one.
    pub symmetric: bool,
    /// It is not signalled any more, and is heard until this time unless the signalled one begins before.
    pub notice: Option<Time>,
}

impl Lock {
    /// Whether a packet of this address and SSRC is of it.
    pub fn is(&self, addr: SocketAddr, ssrc: Ssrc) -> bool {
        self.ssrc == ssrc && same_address(self.addr, addr)
    }

    /// Notes a packet of it.
    pub fn hear(&mut self, now: Time, seq: SeqNo) {
        let before = self.seq.newest();
        // Only neighbours tell the interval: a gap in the sequence is loss, and a late packet comes at any time.
        if self.seq.update(seq) == SeqUpdate::Valid(before.plus(1)) {
            let interval = (now - self.heard).min(LONGEST_PACKET);
            self.interval = (self.interval * 7 + interval) / 8;
        }
        self.heard = now;
        self.packets = self.packets.saturating_add(1);
    }

    /// Whether it has ended, if an authenticated source of another SSRC speaks.
    pub fn has_successor(&self, now: Time) -> bool {
        now - self.heard >= SUCCEEDED.max(self.interval * 2)
    }

    /// Whether it has ended here, if it goes on elsewhere.
    pub fn has_moved(&self, now: Time) -> bool {
        now - self.heard >= MOVED.max(self.interval * 3)
    }

    /// Whether `seq` comes after what was heard of this source, within a plausible gap.
    pub fn goes_on(&self, seq: SeqNo) -> bool {
        let newest = self.seq.newest();
        matches!(self.seq.clone().update(seq), SeqUpdate::Valid(extended) if extended > newest)
    }
}

/// Same host and port. A socket for both IP versions shows IPv4 peers as mapped addresses, and link-local ones with a
/// scope that signalling does not know.
pub(super) fn same_address(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && same_host(a, b)
}

/// Same host, whatever the port.
pub(super) fn same_host(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical()
}
