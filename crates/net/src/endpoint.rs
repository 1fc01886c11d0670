//! One local address in its shard: the sockets, the sessions behind them, and what waits to be sent.

use crate::clock;
use crate::demux::{Demux, Id};
use crate::error::OpenError;
use crate::ports::GiveBack;
use crate::socket::{Datagram, Pair, SendCount};
use roomkit_media::seq::Ssrc;
use roomkit_media::session::Port;
use roomkit_media::time::Time;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sockets of a local address and who shares them, as the engine and the shard both hold it. The sockets close with
/// the last holder: sessions come and go without asking one another.
#[derive(Debug)]
pub struct Sockets {
    /// The pair itself.
    pub pair: Pair,
    /// The shard it belongs to: all sessions of a local address live on one.
    pub shard: usize,
    /// Whether further sessions may join.
    pub shared: bool,
    give_back: GiveBack,
    /// The highest port that may be bound: the last one of the range that the sockets are from.
    highest: u16,
    /// Held while a socket is added. The program's; the media thread never takes this lock.
    adding: Mutex<()>,
    /// Who the sessions' remotes are. The engine's; the media thread never takes this lock.
    remotes: Mutex<Vec<Remote>>,
}

/// What tells a session's packets from those of another on the same local address.
#[derive(Debug)]
pub struct Remote {
    /// Its signalled address.
    pub addr: Option<SocketAddr>,
    /// The SSRC it is expected to have.
    pub ssrc: Option<Ssrc>,
    /// Set when the session is over.
    pub over: Arc<AtomicBool>,
}

impl Sockets {
    /// Sockets that belong to `shard`.
    pub fn new(pair: Pair, shard: usize, shared: bool, give_back: GiveBack) -> Sockets {
        Sockets {
            pair,
            shard,
            shared,
            give_back,
            highest: u16::MAX,
            adding: Mutex::default(),
            remotes: Mutex::default(),
        }
    }

    /// Sockets that are from a range, and stay in it.
    pub fn within(mut self, range: Option<(u16, u16)>) -> Sockets {
        self.highest = range.map_or(u16::MAX, |(_, high)| high);
        self
    }

    /// Makes sure of a socket for RTCP on a port of its own.
    pub fn add_rtcp(&self) -> Result<(), OpenError> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        self.pair.add_rtcp(self.highest)
    }

    /// Enters a session, unless nothing would tell its packets from another's.
    pub fn enter(&self, new: Remote) -> Result<(), Ambiguous> {
        let mut remotes = self.remotes();
        remotes.retain(|other| !other.over.load(Ordering::SeqCst));
        if remotes.iter().any(|other| other.clashes(new.addr, new.ssrc)) {
            return Err(Ambiguous);
        }
        remotes.push(new);
        Ok(())
    }

    /// The session that `over` belongs to gets another remote, unless it would clash, or `tell`, which gives it the order to
    /// go there, fails: who has not been told has not moved.
    pub fn retarget<E>(
        &self,
        over: &Arc<AtomicBool>,
        addr: SocketAddr,
        tell: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<(), E>, Ambiguous> {
        let mut remotes = self.remotes();
        let is_self = |other: &Remote| Arc::ptr_eq(&other.over, over);
        let is_over = |other: &Remote| other.over.load(Ordering::SeqCst);
        let clash = |other: &Remote| other.clashes(Some(addr), None);
        if remotes.iter().any(|other| !is_self(other) && !is_over(other) && clash(other)) {
            return Err(Ambiguous);
        }
        let told = tell();
        if let (Ok(()), Some(own)) = (&told, remotes.iter_mut().find(|other| is_self(other))) {
            own.addr = Some(addr);
            own.ssrc = None;
        }
        Ok(told)
    }

    fn remotes(&self) -> MutexGuard<'_, Vec<Remote>> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.give_back.closed(self.pair.rtp_addr, clock::now());
    }
}

/// Two sessions on one local address that nothing tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl Remote {
    fn clashes(&self, addr: Option<SocketAddr>, ssrc: Option<Ssrc>) -> bool {
        let told_apart = self.ssrc.is_some() && ssrc.is_some() && self.ssrc != ssrc;
        self.addr == addr && !told_apart
    }
}

/// What the network did to a local address as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStats {
    /// What became of datagrams sent.
    pub sent: SendCount,
    /// Datagrams that belong to no session on this address.
    pub unmatched: u64,
    /// Datagrams the kernel dropped because the socket's buffer was full.
    pub kernel_drops: u64,
    /// Errors reported by the socket while receiving, ICMP's among them.
    pub receive_errors: u64,
    /// Sockets that the system did not let be marked with the code point asked for.
    pub dscp_refused: u64,
}

/// A local address in its shard.
#[derive(Debug)]
pub struct Endpoint {
    /// The sockets.
    pub sockets: Arc<Sockets>,
    /// Its sessions.
    pub demux: Demux,
    /// What its sessions want sent, and what they learned.
    pub outbox: Outbox,
    /// Counters.
    pub stats: SocketStats,
    /// Read at every point of the grid rather than when its session is due.
    pub eager: bool,
    /// Under a flood: read oftener, until then.
    pub hot_until: Time,
    /// Reads since RTCP was looked for.
    pub reads: u32,
    /// When each socket (RTP, RTCP) was last read to its end: what is in it arrived later.
    pub drained: [Time; 2],
    /// The kernel's count of drops per socket, as last seen.
    pub drops_seen: [u32; 2],
}

impl Endpoint {
    /// An address without sessions yet.
    pub fn new(sockets: Arc<Sockets>, now: Time) -> Endpoint {
        let stats = SocketStats { dscp_refused: sockets.pair.unmarked, ..SocketStats::default() };
        Endpoint {
            sockets,
            demux: Demux::default(),
            outbox: Outbox::default(),
            stats,
            eager: false,
            hot_until: Time::ZERO,
            reads: 0,
            drained: [now; 2],
            drops_seen: [0; 2],
        }
    }

    /// Carries what sessions have learned of their remotes over to the demultiplexer.
    pub fn follow(&mut self) {
        for (id, news) in self.outbox.news.drain(..) {
            match news {
                News::Learned(addr, ssrc) => self.demux.learned(id, addr, ssrc),
                News::Retargeted(addr) => self.demux.retargeted(id, addr),
            }
        }
    }
}

/// What sessions leave behind when they have been worked.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be sent from the RTP socket.
    pub rtp: Vec<Datagram>,
    /// To be sent from the RTCP socket, or the RTP one when multiplexed.
    pub rtcp: Vec<Datagram>,
    /// What changed about remotes.
    pub news: Vec<(Id, News)>,
    /// What did not leave when it was to, and the system's number of the reason.
    pub unsent: Vec<(Id, Vec<u8>, i32)>,
}

impl Outbox {
    /// Whether something is to be sent.
    pub fn has_datagrams(&self) -> bool {
        !self.rtp.is_empty() || !self.rtcp.is_empty()
    }

    /// The queue of a port.
    pub fn queue(&mut self, port: Port) -> &mut Vec<Datagram> {
        match port {
            Port::Rtp => &mut self.rtp,
            Port::Rtcp => &mut self.rtcp,
        }
    }
}

/// What a session has learned of its remote.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// This source has proven itself.
    Learned(SocketAddr, Ssrc),
    /// The program named another remote.
    Retargeted(SocketAddr),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;
    use crate::socket::{bind_pair, SocketOptions};
    use roomkit_media::time::Duration;

    fn remote(port: u16, ssrc: Option<u32>) -> Remote {
        let addr = (port != 0).then(|| SocketAddr::from(([10, 0, 0, 1], port)));
        Remote { addr, ssrc: ssrc.map(Ssrc), over: Arc::default() }
    }

    #[test]
    fn remotes_that_nothing_tells_apart_are_refused() {
        let options = SocketOptions { separate: false, dscp: 0 };
        let pair = bind_pair("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let give_back = Ports::default().give_back(Duration::ZERO);
        let sockets = Sockets::new(pair, 0, true, give_back);
        let first = remote(4000, Some(1));
        let (over, to) = (first.over.clone(), first.addr.unwrap());
        assert_eq!(sockets.enter(first), Ok(()));
        assert_eq!(sockets.enter(remote(4000, Some(1))), Err(Ambiguous));
        assert_eq!(sockets.enter(remote(4000, None)), Err(Ambiguous));
        assert_eq!(sockets.enter(remote(4000, Some(2))), Ok(()));
        assert_eq!(sockets.enter(remote(0, None)), Ok(()));
        assert_eq!(sockets.enter(remote(0, None)), Err(Ambiguous));
        let other = remote(5000, None);
        let other_over = other.over.clone();
        assert_eq!(sockets.enter(other), Ok(()));
        let untold = || -> Result<(), ()> { unreachable!("a clash is told to nobody") };
        assert_eq!(sockets.retarget(&other_over, to, untold), Err(Ambiguous));
        let elsewhere = SocketAddr::from(([10, 0, 0, 9], 9000));
        assert_eq!(sockets.retarget(&over, elsewhere, || Err("full")), Ok(Err("full")));
        assert_eq!(sockets.enter(remote(4000, Some(1))), Err(Ambiguous), "it has not moved");
        assert_eq!(sockets.retarget(&over, elsewhere, || Ok::<(), ()>(())), Ok(Ok(())));
        assert_eq!(sockets.enter(remote(4000, Some(1))), Ok(()), "its place is free");
        other_over.store(true, Ordering::SeqCst);
        assert_eq!(sockets.enter(remote(5000, None)), Ok(()), "the other session is over");
    }
}
