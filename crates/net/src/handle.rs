//! The program's handle of a session.

use crate::endpoint::{Ambiguous, Sockets};
use crate::error::{OpenError, PATIENCE};
use crate::line::Line;
use crate::mailbox::{Mailbox, Order};
use crate::outbound::{Outbound, PushError};
use crate::playbacks::{Playbacks, Position, Run};
use crate::slot::Snapshot;
use roomkit_media::seq::Ssrc;
use roomkit_media::session::{RtcpMode, SessionConfig};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A session that is open. Nothing here waits for the media thread but [`close`](Self::close); dropping the handle
/// closes the session in the background.
#[derive(Debug)]
pub struct Session {
    pub(crate) line: Arc<Line>,
    pub(crate) outbound: Outbound,
    pub(crate) playbacks: Playbacks,
    pub(crate) snapshot: Arc<Mutex<Snapshot>>,
    pub(crate) over: Arc<AtomicBool>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) sockets: Weak<Sockets>,
    pub(crate) pid: u32,
    pub(crate) local_addr: SocketAddr,
    pub(crate) rtcp_addr: Mutex<Option<SocketAddr>>,
}

impl Session {
    /// Names the session in the inbox; unique in the process.
    pub fn key(&self) -> u64 {
        self.line.key()
    }

    /// The SSRC it sends with.
    pub fn ssrc(&self) -> Ssrc {
        self.snapshot().ssrc
    }

    /// The bound RTP address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where RTCP is received, if there is any: the address of RTP, or the port after it.
    pub fn rtcp_addr(&self) -> Option<SocketAddr> {
        if self.is_forked() {
            return self.rtcp_addr.try_lock().ok().and_then(|addr| *addr);
        }
        *self.rtcp_addr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Audio, digits and orders.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// Counts, position and destination as of the last tick.
    pub fn snapshot(&self) -> Snapshot {
        if self.is_forked() {
            // The media thread of the parent may have held it.
            return self.snapshot.try_lock().map_or_else(|_| Snapshot::default(), |shown| *shown);
        }
        let shown = *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        shown.rated()
    }

    /// How far a playback has come, as of the last tick; `None` if nothing of it has left, or many others have since.
    pub fn position(&self, playback: u64) -> Option<Position> {
        if self.is_forked() {
            return None;
        }
        self.playbacks.position(playback)
    }

    /// The audio that left since this was last asked, where [`Outbound::tell_left`] asks for it; [`Item::Left`] tells when there
    /// is some, unless a frame comes anyway.
    ///
    /// [`Item::Left`]: crate::Item::Left
    pub fn take_left(&self) -> VecDeque<Run> {
        if self.is_forked() {
            return VecDeque::new();
        }
        self.playbacks.take_left()
    }

    /// Sends to another address, and expects the remote there, from the next packet on.
    pub fn retarget(&self, remote: SocketAddr) -> Result<(), OpenError> {
        self.expect_from(Some(remote), || self.outbound.retarget(remote))
    }

    /// Goes over to another configuration in mid-call, see [`roomkit_media::session::Session::update`]. RTCP that no longer
    /// shares RTP's port gets a socket on the next one, if the session does not have it yet: where it cannot be had, nothing
    /// has changed.
    pub fn update(&self, config: SessionConfig) -> Result<(), OpenError> {
        config.check().map_err(|error| OpenError::Config(error.to_string()))?;
        if self.is_forked() {
            return Ok(());
        }
        let mut rtcp_addr = self.rtcp_addr.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = self.sockets.upgrade();
        let new = match (*rtcp_addr, config.rtcp, &sockets) {
            // Whether there is RTCP is settled when a session opens; one that is over changes nothing.
            (None, ..) | (_, RtcpMode::Off, _) | (.., None) => *rtcp_addr,
            (_, RtcpMode::Mux, _) => Some(self.local_addr),
            (_, RtcpMode::Separate, Some(sockets)) => {
                sockets.add_rtcp()?;
                sockets.pair.rtcp.get().map(|(_, addr)| *addr)
            }
        };
        self.expect_from(config.remote, || self.outbound.update(config))?;
        *rtcp_addr = new;
        Ok(())
    }

    /// Whether it is over, by whatever reason, and its socket given back. In a fork it is.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) || self.is_forked()
    }

    /// Says goodbye with this reason (RFC 3550 §6.6), soon: [`is_over`](Self::is_over) tells when. Idempotent.
    pub fn begin_close(&self, reason: &str) {
        if !self.is_over() {
            let reason = in_a_report(reason);
            self.mailbox.post(Order::Close { key: self.key(), reason, done: None });
        }
    }

    /// Says goodbye with this reason and waits until the socket is given back. Idempotent.
    pub fn close(&self, reason: &str) -> Result<(), OpenError> {
        if self.is_over() {
            return Ok(());
        }
        let (done, wait) = channel();
        let reason = in_a_report(reason);
        self.mailbox.post(Order::Close { key: self.key(), reason, done: Some(done) });
        match wait.recv_timeout(PATIENCE) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if !self.is_over() => {
                Err(OpenError::Unresponsive(PATIENCE))
            }
            _ => Ok(()),
        }
    }

    /// Gives the order `tell`, with which the session's packets come from `remote`, unless those of another one do.
    fn expect_from(
        &self,
        remote: Option<SocketAddr>,
        tell: impl FnOnce() -> Result<(), PushError>,
    ) -> Result<(), OpenError> {
        if self.is_forked() {
            return Ok(());
        }
        let told = match (self.sockets.upgrade(), remote) {
            (Some(sockets), Some(addr)) => sockets
                .retarget(&self.over, addr, tell)
                .map_err(|Ambiguous| OpenError::Ambiguous { local: self.local_addr, remote })?,
            _ => tell(),
        };
        Ok(told?)
    }

    /// A fork has no media threads: its copy of the session does nothing.
    fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.begin_close("");
    }
}

/// As much of a reason as a report has room for (RFC 3550 §6.6): the program may give any.
fn in_a_report(reason: &str) -> String {
    let mut end = reason.len().min(255);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_string()
}
