//! Which session a datagram on a shared socket is for: by its remote address, then by its SSRC.
//!
//! This only chooses; whether the chosen session believes the datagram is its source guard's affair. The rules, in
//! order, when several sessions share the local address:
//!
//! 1. sessions that signalled or learned exactly this remote address; of several, the one with this SSRC, or else the
//!    only one whose SSRC is not known yet;
//! 2. the only session that expects or has learned this SSRC (a remote whose NAT binding changed);
//! 3. the only session still without a proven source whose signalled IP is this one, whatever the port (a remote
//!    behind a NAT that keeps the IP);
//! 4. the only session still without a proven source that signalled no address at all.
//!
//! A session that is alone on its local address gets everything.

use roomkit_media::rtp::is_rtcp;
use roomkit_media::seq::Ssrc;
use roomkit_media::session::Port;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// A session in the tables: its place in the shard.
pub type Id = usize;

/// The sessions of one local address. Bounded: each has at most four addresses and one SSRC here.
#[derive(Debug, Default)]
pub struct Demux {
    entries: HashMap<Id, Entry>,
    /// By address, with whether it is RTCP's, and the SSRC that the session expects or has learned. That many calls of a
    /// gateway come from one address must not cost a look at each of them for each packet.
    by_addr: HashMap<(SocketAddr, bool), HashMap<Option<Ssrc>, Vec<Id>>>,
    by_ssrc: HashMap<Ssrc, Vec<Id>>,
    /// Sessions still without a proven source, by the host they signalled, `None` for those that signalled none: a flood of
    /// strangers must not cost a look at every session for each packet.
    unproven: HashMap<Option<IpAddr>, Vec<Id>>,
    /// The session that is alone, if one is.
    alone: Option<Id>,
}

#[derive(Debug, Default)]
struct Entry {
    /// What signalling or the program said.
    signalled: Option<SocketAddr>,
    signalled_rtcp: Option<SocketAddr>,
    /// The source that has proven itself.
    learned: Option<SocketAddr>,
    /// Expected, or learned with the source.
    ssrc: Option<Ssrc>,
}

impl Entry {
    /// Under which host it is listed while its source has not been proven.
    fn unproven(&self) -> Option<Option<IpAddr>> {
        self.learned.is_none().then(|| self.signalled.map(|addr| addr.ip()))
    }

    /// The addresses it is known by, each with whether it is RTCP's.
    fn addresses(&self) -> Vec<(SocketAddr, bool)> {
        let mut all = Vec::with_capacity(4);
        for rtp in [self.signalled, self.learned].into_iter().flatten() {
            all.push((rtp, false));
        }
        // Without other word, RTCP comes from the port above RTP's (RFC 3550 §11).
        for rtcp in [self.signalled_rtcp, self.learned.and_then(next_port)].into_iter().flatten() {
            all.push((rtcp, true));
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Demux {
    /// Adds a session with what is known of its remote.
    pub fn insert(
        &mut self,
        id: Id,
        remote: Option<SocketAddr>,
        remote_rtcp: Option<SocketAddr>,
        ssrc: Option<Ssrc>,
    ) {
        let signalled_rtcp = remote_rtcp.or(remote.and_then(next_port));
        self.link(id, Entry { signalled: remote, signalled_rtcp, learned: None, ssrc });
    }

    /// Forgets a session.
    pub fn remove(&mut self, id: Id) {
        self.unlink(id);
    }

    /// A source has proven itself to the session: follow it.
    pub fn learned(&mut self, id: Id, remote: SocketAddr, ssrc: Ssrc) {
        if let Some(mut entry) = self.unlink(id) {
            entry.learned = Some(remote);
            entry.ssrc = Some(ssrc);
            self.link(id, entry);
        }
    }

    /// The program has named another remote: the old one and what was learned of it are forgotten.
    pub fn retargeted(&mut self, id: Id, remote: SocketAddr) {
        if self.unlink(id).is_some() {
            self.insert(id, Some(remote), None, None);
        }
    }

    /// Whether several sessions share the local address.
    pub fn is_shared(&self) -> bool {
        self.entries.len() > 1
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The session this datagram is for, if there is exactly one that it can be for.
    pub fn route(&self, port: Port, from: SocketAddr, datagram: &[u8]) -> Option<Id> {
        if self.alone.is_some() {
            return self.alone;
        }
        let ssrc = ssrc_of(datagram);
        if let Some(known) = self.by_addr.get(&(from, port == Port::Rtcp)) {
            if known.len() == 1 {
                if let Some([id]) = known.values().next().map(Vec::as_slice) {
                    return Some(*id);
                }
            }
            let with = |ssrc| known.get(&ssrc).and_then(|ids| only(ids.iter()));
            return ssrc.and_then(|ssrc| with(Some(ssrc))).or_else(|| with(None));
        }
        if let Some(known) = ssrc.and_then(|ssrc| self.by_ssrc.get(&ssrc)) {
            return only(known.iter());
        }
        let unproven = |host| self.unproven.get(&host).and_then(|ids| only(ids.iter()));
        unproven(Some(from.ip())).or_else(|| unproven(None))
    }

    fn link(&mut self, id: Id, entry: Entry) {
        for addr in entry.addresses() {
            self.by_addr.entry(addr).or_default().entry(entry.ssrc).or_default().push(id);
        }
        if let Some(ssrc) = entry.ssrc {
            self.by_ssrc.entry(ssrc).or_default().push(id);
        }
        if let Some(host) = entry.unproven() {
            self.unproven.entry(host).or_default().push(id);
        }
        self.entries.insert(id, entry);
        self.alone = only(self.entries.keys());
    }

    fn unlink(&mut self, id: Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        for addr in entry.addresses() {
            if let Some(of_addr) = self.by_addr.get_mut(&addr) {
                take_out(of_addr, &entry.ssrc, id);
                if of_addr.is_empty() {
                    self.by_addr.remove(&addr);
                }
            }
        }
        if let Some(ssrc) = entry.ssrc {
            take_out(&mut self.by_ssrc, &ssrc, id);
        }
        if let Some(host) = entry.unproven() {
            take_out(&mut self.unproven, &host, id);
        }
        self.alone = only(self.entries.keys());
        Some(entry)
    }
}

fn take_out<K: std::hash::Hash + Eq>(table: &mut HashMap<K, Vec<Id>>, key: &K, id: Id) {
    if let Some(ids) = table.get_mut(key) {
        ids.retain(|&other| other != id);
        if ids.is_empty() {
            table.remove(key);
        }
    }
}

fn only<'a>(mut ids: impl Iterator<Item = &'a Id>) -> Option<Id> {
    let first = ids.next()?;
    ids.next().is_none().then_some(*first)
}

fn next_port(addr: SocketAddr) -> Option<SocketAddr> {
    let port = addr.port().checked_add(1)?;
    Some(SocketAddr::new(addr.ip(), port))
}

/// The sender's SSRC: in the third word of RTP (RFC 3550 §5.1), in the second of every RTCP packet (§6.4).
fn ssrc_of(datagram: &[u8]) -> Option<Ssrc> {
    let at = if is_rtcp(datagram) { 4 } else { 8 };
    let word = datagram.get(at..at + 4)?;
    Some(Ssrc(u32::from_be_bytes(word.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn rtp(ssrc: u32) -> Vec<u8> {
        [&[0x80, 0, 0, 1, 0, 0, 0, 160][..], &ssrc.to_be_bytes(), &[0xff; 160]].concat()
    }

    fn rtcp(ssrc: u32) -> Vec<u8> {
        [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
    }

    /// Session 1 knows 10.0.0.1:4000, session 2 10.0.0.2:4000, session 3 nothing.
    fn three() -> Demux {
        let mut demux = Demux::default();
        demux.insert(1, Some(addr("10.0.0.1:4000")), None, None);
        demux.insert(2, Some(addr("10.0.0.2:4000")), None, None);
        demux.insert(3, None, None, None);
        demux
    }

    #[test]
    fn a_session_alone_on_its_address_gets_everything() {
        let mut demux = Demux::default();
        assert_eq!(demux.route(Port::Rtp, addr("10.9.9.9:9"), &rtp(1)), None);
        demux.insert(7, Some(addr("10.0.0.1:4000")), None, Some(Ssrc(5)));
        assert_eq!(demux.route(Port::Rtp, addr("10.9.9.9:9"), &rtp(1)), Some(7));
        assert_eq!(demux.route(Port::Rtcp, addr("10.9.9.9:9"), b""), Some(7));
    }

    #[test]
    fn the_exact_remote_address_decides_for_rtp_and_its_neighbour_for_rtcp() {
        let demux = three();
        assert_eq!(demux.route(Port::Rtp, addr("10.0.0.2:4000"), &rtp(1)), Some(2));
        assert_eq!(demux.route(Port::Rtcp, addr("10.0.0.2:4001"), &rtcp(1)), Some(2));
        let mut named = three();
        named.insert(4, Some(addr("10.0.0.4:4000")), Some(addr("10.0.0.4:9999")), None);
        assert_eq!(named.route(Port::Rtcp, addr("10.0.0.4:9999"), &rtcp(1)), Some(4));
    }

    #[test]
    fn the_same_ip_from_another_port_goes_to_the_only_unproven_session_that_signalled_it() {
        let mut demux = three();
        assert_eq!(demux.route(Port::Rtp, addr("10.0.0.1:6000"), &rtp(1)), Some(1));
        demux.insert(4, Some(addr("10.0.0.1:5000")), None, None);
        assert_eq!(
            demux.route(Port::Rtp, addr("10.0.0.1:6000"), &rtp(1)),
            Some(3),
            "two signalled that IP, so neither is certain; the one that waits for anybody is"
        );
    }

    #[test]
    fn a_stranger_goes_to_the_only_session_that_waits_for_anybody_and_else_to_none() {
        let mut demux = three();
        let stranger = addr("192.0.2.9:1234");
        assert_eq!(demux.route(Port::Rtp, stranger, &rtp(1)), Some(3));
        demux.learned(3, addr("192.0.2.8:1000"), Ssrc(77));
        assert_eq!(demux.route(Port::Rtp, stranger, &rtp(1)), None);
        assert_eq!(demux.route(Port::Rtp, stranger, b"short"), None);
        assert_eq!(demux.route(Port::Rtp, stranger, b""), None);
    }

    #[test]
    fn a_learned_address_is_followed_and_a_known_ssrc_is_found_from_a_new_one() {
        let mut demux = three();
        demux.learned(1, addr("10.0.0.1:6000"), Ssrc(11));
        assert_eq!(demux.route(Port::Rtp, addr("10.0.0.1:6000"), &rtp(99)), Some(1));
        assert_eq!(demux.route(Port::Rtcp, addr("10.0.0.1:6001"), &rtcp(11)), Some(1));
        assert_eq!(demux.route(Port::Rtp, addr("203.0.113.5:7"), &rtp(11)), Some(1));
        assert_eq!(demux.route(Port::Rtcp, addr("203.0.113.5:8"), &rtcp(11)), Some(1));
        demux.learned(1, addr("203.0.113.5:7"), Ssrc(12));
        assert_eq!(demux.route(Port::Rtp, addr("203.0.113.5:7"), &rtp(12)), Some(1));
        assert_eq!(demux.route(Port::Rtp, addr("203.0.113.6:7"), &rtp(11)), Some(3), "forgotten");
    }

    #[test]
    fn sessions_with_one_remote_are_told_apart_by_ssrc() {
        let mut demux = Demux::default();
        let gateway = addr("10.0.0.1:4000");
        demux.insert(1, Some(gateway), None, Some(Ssrc(11)));
        demux.insert(2, Some(gateway), None, Some(Ssrc(22)));
        assert_eq!(demux.route(Port::Rtp, gateway, &rtp(11)), Some(1));
        assert_eq!(demux.route(Port::Rtp, gateway, &rtp(22)), Some(2));
        assert_eq!(demux.route(Port::Rtp, gateway, &rtp(33)), None);
        demux.insert(3, Some(gateway), None, None);
        assert_eq!(demux.route(Port::Rtp, gateway, &rtp(33)), Some(3), "the one still open");
        for id in 4..500 {
            demux.insert(id, Some(gateway), None, Some(Ssrc(id as u32 * 1000)));
        }
        for id in 4..500 {
            assert_eq!(demux.route(Port::Rtp, gateway, &rtp(id as u32 * 1000)), Some(id));
            demux.learned(id, gateway, Ssrc(id as u32 * 1000 + 1));
            assert_eq!(demux.route(Port::Rtp, gateway, &rtp(id as u32 * 1000 + 1)), Some(id));
            assert_eq!(demux.route(Port::Rtp, gateway, &rtp(id as u32 * 1000)), Some(3));
        }
        (1..500).for_each(|id| demux.remove(id));
        assert!(demux.by_addr.is_empty() && demux.by_ssrc.is_empty());
    }

    #[test]
    fn removing_and_retargeting_leave_nothing_behind() {
        let mut demux = three();
        demux.learned(1, addr("10.0.0.1:6000"), Ssrc(11));
        demux.retargeted(1, addr("10.0.0.8:8000"));
        assert_eq!(demux.route(Port::Rtp, addr("10.0.0.8:8000"), &rtp(5)), Some(1));
        demux.learned(3, addr("192.0.2.8:1000"), Ssrc(77));
        assert_eq!(demux.route(Port::Rtp, addr("10.0.0.1:6000"), &rtp(11)), None);
        for id in [1, 2, 3, 3, 9] {
            demux.remove(id);
        }
        assert!(demux.is_empty() && demux.by_addr.is_empty() && demux.by_ssrc.is_empty());
        assert!(demux.unproven.is_empty());
        demux.learned(1, addr("10.0.0.1:1"), Ssrc(1));
        demux.retargeted(1, addr("10.0.0.1:1"));
        assert!(demux.is_empty(), "a session that is gone stays gone");
    }
}
