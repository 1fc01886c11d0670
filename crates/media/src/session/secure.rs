//! SRTP of a session: what comes in is authenticated before anything else sees it, what goes out is sealed last.

use std::net::SocketAddr;

use super::{Port, Session, SessionConfig};
use crate::rtp::is_rtcp;
use crate::srtp::{Rejected, Srtp, SrtpConfig};
use crate::time::Time;

/// The keys of a session and where they stand.
#[derive(Debug)]
pub(super) struct Secure {
    srtp: Srtp,
    config: SrtpConfig,
    /// Octets by which a packet of RTP grew when it was sealed.
    pub(super) added: usize,
    /// Where a datagram is decrypted; kept, so that none is allocated.
    clear: Vec<u8>,
}

impl Secure {
    pub(super) fn new(config: &SrtpConfig) -> Secure {
        Secure { srtp: Srtp::new(config), config: config.clone(), added: 0, clear: Vec::new() }
    }
}

impl Session {
    /// Takes a datagram that should be RTP, or SRTP if there are keys.
    pub(super) fn receive_media(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        if self.secure.is_some() && !self.inbound.guard.may_speak(from) {
            return;
        }
        match self.opened(now, datagram) {
            Opened::Plain => self.receive_rtp(now, from, datagram, false),
            Opened::Clear(clear) => {
                self.receive_rtp(now, from, &clear, true);
                self.give_back(clear);
            }
            Opened::Refused => {}
        }
    }

    /// Takes one that should be RTCP, or SRTCP.
    pub(super) fn receive_control(
        &mut self,
        now: Time,
        from: SocketAddr,
        port: Port,
        datagram: &[u8],
    ) {
        if self.secure.is_some() && !self.inbound.guard.may_report(from) {
            self.stats.rtcp_stranger += 1;
            return;
        }
        match self.opened(now, datagram) {
            Opened::Plain => self.receive_rtcp(now, from, port, datagram),
            Opened::Clear(clear) => {
                self.receive_rtcp(now, from, port, &clear);
                self.give_back(clear);
            }
            Opened::Refused => {}
        }
    }

    /// Encrypts a datagram that leaves; false if it must not leave.
    pub(super) fn seal(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(secure) = &mut self.secure else { return true };
        let sealed = if is_rtcp(bytes) {
            secure.srtp.protect_rtcp(bytes)
        } else {
            let plain = bytes.len();
            let sealed = secure.srtp.protect_rtp(bytes);
            secure.added = bytes.len() - plain;
            sealed
        };
        self.stats.srtp_unsent += u64::from(sealed.is_err());
        sealed.is_ok()
    }

    /// Goes over to the keys of a new configuration, if it has any.
    pub(super) fn rekey(&mut self, now: Time, config: &SessionConfig) {
        let Some(new) = &config.srtp else { return };
        match &mut self.secure {
            None => self.secure = Some(Secure::new(new)),
            Some(secure) if secure.config != *new => {
                secure.srtp.rekey(now, new);
                secure.config = new.clone();
            }
            Some(_) => {}
        }
    }

    /// Wipes keys whose time is over.
    pub(super) fn forget_keys(&mut self, now: Time) {
        if let Some(secure) = &mut self.secure {
            secure.srtp.forget(now);
        }
    }

    fn opened(&mut self, now: Time, datagram: &[u8]) -> Opened {
        let Some(secure) = &mut self.secure else { return Opened::Plain };
        let mut clear = core::mem::take(&mut secure.clear);
        clear.clear();
        clear.extend_from_slice(datagram);
        let opened = if is_rtcp(datagram) {
            secure.srtp.unprotect_rtcp(now, &mut clear)
        } else {
            secure.srtp.unprotect_rtp(now, &mut clear)
        };
        let Err(reason) = opened else { return Opened::Clear(clear) };
        self.give_back(clear);
        let stats = &mut self.stats;
        *match reason {
            Rejected::BadTag => &mut stats.srtp_bad_tag,
            Rejected::Replayed => &mut stats.srtp_replayed,
            Rejected::Malformed => &mut stats.srtp_malformed,
            Rejected::UnknownKey => &mut stats.srtp_unkeyed,
            Rejected::Unencrypted => &mut stats.srtp_unencrypted,
            Rejected::TooManySources => &mut stats.srtp_overflow,
        } += 1;
        Opened::Refused
    }

    fn give_back(&mut self, clear: Vec<u8>) {
        if let Some(secure) = &mut self.secure {
            secure.clear = clear;
        }
    }
}

/// What became of a datagram.
enum Opened {
    /// There are no keys: it is what it is.
    Plain,
    /// It is authentic, and this is it.
    Clear(Vec<u8>),
    /// It is not, and has been counted.
    Refused,
}
