//! What a session is told about whom to hear, and why a packet can be refused.

use std::net::SocketAddr;

use crate::seq::Ssrc;
use crate::time::Duration;

#[cfg(test)]
mod tests;

/// Which addresses may become the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Exactly the signalled address.
    Strict,
    /// The signalled host, from any port: many gateways send from another port than they receive on. Nobody, before there
    /// is a signalled address: an offer of ours waits for its answer.
    #[default]
    Host,
    /// The first source that proves itself, and the signalled one in any case: for peers behind a NAT.
    Learn,
    /// As [`Learn`](Policy::Learn) until a source is locked, which is then followed to any address, within a tenth
    /// of a second, on proof that it is the same: its SSRC and sequence go on there and have ended here, or its key vouches
    /// for it. Without that proof no other address is ever heard but a signalled one: for clients that change networks.
    Follow,
}

/// How a session decides whom it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Which addresses may become the source.
    pub policy: Policy,
    /// The address that signalling told.
    pub signalled: Option<SocketAddr>,
    /// The SSRC that signalling told (RFC 5576): no other is ever heard.
    pub expected_ssrc: Option<Ssrc>,
    /// Whether our packets go to where the trusted source speaks from (RFC 4961), rather than to the signalled address;
    /// `None`: as the policy has it, with [`Learn`](Policy::Learn) and [`Follow`](Policy::Follow).
    pub symmetric: Option<bool>,
    /// How long after its beginning, or a new signalled address, another address may be learned; `None` for ever. After it,
    /// only the signalled one can begin, and only a source that has been heard can move.
    pub learn_window: Option<Duration>,
    /// Consecutive packets that an address which nobody signalled proves itself with, at least 2.
    pub probation: u32,
    /// Packets a second of one source that are taken, at least 1: what comes in one burst is no more than a second's.
    pub source_rate: u32,
    /// The same for all sources that follow one another.
    pub session_rate: u32,
}

impl SourceConfig {
    /// With the usual windows and limits.
    ///
    /// Five packets are what a spray of guesses does not hit by chance and 80 ms of a caller's patience. 400 packets a second
    /// are those of the shortest there are (Opus, 2.5 ms), or four times those of 10 ms.
    pub fn new(policy: Policy, signalled: Option<SocketAddr>) -> SourceConfig {
        SourceConfig {
            policy,
            signalled,
            expected_ssrc: None,
            symmetric: None,
            learn_window: None,
            probation: 5,
            source_rate: 400,
            session_rate: 800,
        }
    }
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// Another SSRC than the one that was signalled.
    UnexpectedSsrc,
    /// Not from the signalled address, which [`Policy::Strict`] asks for.
    NotSignalled,
    /// Not from the signalled host, which [`Policy::Host`] asks for.
    OtherHost,
    /// From an address that would be allowed, but the locked source speaks, or [`Policy::Follow`] finds no proof.
    LockedElsewhere,
    /// From an address that might have been learned, but the time for it is over.
    TooLate,
    /// Too many sources want to prove themselves at once.
    TooManyCandidates,
    /// Of the locked source, but it sends faster than any call.
    RateLimited,
}

impl RejectReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [RejectReason; 7] = [
        RejectReason::UnexpectedSsrc,
        RejectReason::NotSignalled,
        RejectReason::OtherHost,
        RejectReason::LockedElsewhere,
        RejectReason::TooLate,
        RejectReason::TooManyCandidates,
        RejectReason::RateLimited,
    ];
}
