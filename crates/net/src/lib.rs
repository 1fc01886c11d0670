//! The engine of roomkit: the only clock, sockets and threads around the media core.
//!
//! ```text
//!  program's threads                    │  a media thread
//!  Engine::open ──────────► engine ─────┼─► shard ── every 5 ms ─► receive ─► demux ─► slot ─► media::Session
//!  Session::push, cancel ─► outbound ───┼──────────────────────────────────────────────► │
//!  Inbox::drain ◄─── inbox, line ◄──────┼─ bell, inbound ◄────────────────────────────── │
//!                                       │  socket, mmsg ◄──────────────────── endpoint ◄─┘
//! ```
//!
//! The media thread never waits for the program: what both touch are rings of one writer and one reader, atomics, and
//! a few mutexes of which the media thread only ever tries to take one.
#![warn(missing_docs)]

mod banks;
mod bell;
pub mod clock;
mod demux;
mod endpoint;
mod engine;
mod error;
mod failing;
mod fork;
mod handle;
mod inbound;
mod inbox;
mod item;
mod line;
#[cfg(target_os = "linux")]
mod linux;
mod mailbox;
#[cfg(target_os = "linux")]
mod mmsg;
mod outbound;
mod playbacks;
mod ports;
pub mod prompt;
mod receive;
mod shard;
mod slot;
mod socket;
mod spare;
mod states;
#[cfg(test)]
mod tests;
pub mod wait;
mod wake;

pub use endpoint::SocketStats;
pub use engine::{Engine, EngineOptions, OpenOptions, MOST_THREADS};
pub use error::OpenError;
pub use handle::Session;
pub use inbox::Inbox;
pub use item::Item;
pub use outbound::{Outbound, PushError, MOST_MARKS};
pub use playbacks::{Position, Run};
pub use slot::Snapshot;
pub use socket::{SendCount, ADDRESS_IN_USE};
