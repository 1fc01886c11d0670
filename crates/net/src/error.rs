//! What can be wrong with a call to the engine.

use roomkit_media::time::Duration;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// How long an order may take before the program is told that something is wrong. The thread answers within 5 ms, even
/// on a machine that is busy with other things within some tens of them.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Why a session cannot be opened or changed. Nothing is left open.
#[derive(Debug)]
pub enum OpenError {
    /// An option does not fit: which one, its value, and what would fit.
    Config(String),
    /// A socket cannot be had.
    Socket {
        /// What was tried, with the address.
        what: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// Every port of the range is in use, or rests after another call.
    PortsExhausted {
        /// The local host.
        host: IpAddr,
        /// The range, both ends included.
        range: (u16, u16),
        /// Pairs of it that are in use, here or by another program.
        in_use: usize,
        /// Pairs that another session has just given back.
        resting: usize,
    },
    /// Another session on the same local address has the same remote, and nothing tells their packets apart.
    Ambiguous {
        /// The local address shared.
        local: SocketAddr,
        /// The remote address of both, if they have one.
        remote: Option<SocketAddr>,
    },
    /// Too many orders wait already; later there will be room.
    Full(&'static str),
    /// The engine has been stopped.
    Stopped,
    /// The engine was made by another process, of which this one is a fork: its threads are not here.
    Forked,
    /// The media thread did not answer in this time.
    Unresponsive(Duration),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Config(message) => f.write_str(message),
            OpenError::Socket { what, error } => write!(f, "{what}: {error}"),
            OpenError::PortsExhausted { host, range: (low, high), in_use, resting } => write!(
                f,
                "no free pair of an even port and the next one from {low} to {high} on {host}: \
                 {in_use} in use, {resting} at rest after another call (port_quarantine)"
            ),
            OpenError::Ambiguous { local, remote: Some(remote) } => write!(
                f,
                "another session on local address {local} has the remote {remote} already; \
                 give both a remote_ssrc of their own, or another local port"
            ),
            OpenError::Ambiguous { local, remote: None } => write!(
                f,
                "another session on local address {local} waits for any remote already; \
                 give each a remote address or a remote_ssrc of its own, or another local port"
            ),
            OpenError::Full(what) => f.write_str(what),
            OpenError::Stopped => f.write_str("the engine has been stopped"),
            OpenError::Forked => f.write_str(
                "the engine belongs to the parent process and has no threads after a fork; \
                 make a new one",
            ),
            OpenError::Unresponsive(waited) => {
                write!(f, "the media thread did not answer within {waited:?}")
            }
        }
    }
}

impl std::error::Error for OpenError {}
