//! Which local ports a session gets that asked for none in particular: an even one and the next (RFC 3550 §11), of the
//! system's choice or out of a range that a firewall lets through, and none that another call has just given back.

use crate::clock;
use crate::error::{OpenError, PATIENCE};
use crate::socket::{bind_fixed, draw_pair, Pair, SocketOptions};
use roomkit_media::time::{Duration, Time};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{LazyLock, Mutex, TryLockError};

/// The ports that rest: a far end that has not heard of the end of its call goes on sending to them for a while, and that
/// must not reach the next call. Bounded by the number of ports there are.
#[derive(Debug)]
pub struct Ports {
    resting: HashMap<(IpAddr, u16), Time>,
    given_back: Receiver<Resting>,
    give_back: Sender<Resting>,
}

/// An address whose sockets have closed, and until when it rests.
type Resting = (SocketAddr, Time);

/// Tells of sockets that close, from whichever thread they close on; that one never waits for it.
#[derive(Debug)]
pub struct GiveBack {
    sender: Sender<Resting>,
    rest: Duration,
}

impl GiveBack {
    /// The sockets of `addr` close at `now`.
    pub fn closed(&self, addr: SocketAddr, now: Time) {
        if !self.rest.is_zero() {
            // Nobody is left to hear of it when the engine is gone.
            let _ = self.sender.send((addr, now + self.rest));
        }
    }
}

impl Default for Ports {
    fn default() -> Ports {
        let (give_back, given_back) = channel();
        Ports { resting: HashMap::new(), given_back, give_back }
    }
}

impl Ports {
    /// Works with those of the process: engines come and go with their sessions, and the network knows nothing of them.
    pub fn of_the_process<T>(work: impl FnOnce(&mut Ports) -> T) -> T {
        static PORTS: LazyLock<Mutex<Ports>> = LazyLock::new(Mutex::default);
        let give_up = clock::now() + PATIENCE;
        loop {
            match PORTS.try_lock() {
                Ok(mut ports) => return work(&mut ports),
                Err(TryLockError::Poisoned(ports)) => return work(&mut ports.into_inner()),
                Err(TryLockError::WouldBlock) if clock::now() < give_up => std::thread::yield_now(),
                // Held by a thread that a fork did not bring along: this process begins without memory of ports at rest.
                Err(TryLockError::WouldBlock) => return work(&mut Ports::default()),
            }
        }
    }

    /// For sockets whose ports are to rest for so long.
    pub fn give_back(&self, rest: Duration) -> GiveBack {
        GiveBack { sender: self.give_back.clone(), rest }
    }

    /// Binds a pair to `local`: exactly, or with port 0 to a free even port out of `range` or of the system's choice.
    /// `seed` is where the search in the range begins, and `taken` tells which ports of it are known to be in use.
    pub fn bind(
        &mut self,
        now: Time,
        local: SocketAddr,
        range: Option<(u16, u16)>,
        options: SocketOptions,
        seed: u64,
        taken: impl Fn(SocketAddr) -> bool,
    ) -> Result<Pair, OpenError> {
        self.resting.retain(|_, until| *until > now);
        for (addr, until) in self.given_back.try_iter() {
            self.resting.insert((addr.ip(), addr.port()), until);
        }
        if local.port() != 0 {
            return bind_fixed(local, options);
        }
        // A socket on all of the host's addresses gets what any of them gets.
        let all = |ip: IpAddr| ip.is_unspecified();
        let (host, closed) = (local.ip(), self.resting.keys());
        let closed = closed.filter(|(ip, _)| *ip == host || all(*ip) || all(host));
        let closed: HashSet<u16> = closed.map(|(_, port)| *port).collect();
        let rests = |port| closed.contains(&port);
        let Some((low, high)) = range else {
            return draw_pair(local, options, rests);
        };
        let pairs = even_ports(low, high, options.separate);
        if pairs.is_empty() {
            return Err(OpenError::Config(format!(
                "port_range ({low}, {high}): holds no even port{}; a wider range fits",
                if options.separate { " with the next one for RTCP" } else { "" }
            )));
        }
        let (mut in_use, mut resting) = (0, 0);
        for n in 0..pairs.len() {
            let port = pairs[((seed as usize % pairs.len()) + n) % pairs.len()];
            let addr = SocketAddr::new(local.ip(), port);
            if rests(port) {
                resting += 1;
            } else if taken(addr) {
                in_use += 1;
            } else {
                match bind_fixed(addr, options) {
                    Err(OpenError::Socket { error, .. })
                        if error.kind() == io::ErrorKind::AddrInUse =>
                    {
                        in_use += 1;
                    }
                    bound => return bound,
                }
            }
        }
        Err(OpenError::PortsExhausted { host: local.ip(), range: (low, high), in_use, resting })
    }
}

/// The even ports of a range, both ends included; with `separate`, those whose neighbour is in it too.
fn even_ports(low: u16, high: u16, separate: bool) -> Vec<u16> {
    (low..=high).filter(|port| port % 2 == 0 && *port != 0 && (!separate || *port < high)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::home;

    const PAIR: SocketOptions = SocketOptions { separate: true, dscp: 0 };

    fn bind(ports: &mut Ports, now: Time, range: (u16, u16), seed: u64) -> Result<Pair, OpenError> {
        ports.bind(now, SocketAddr::new(home(), 0), Some(range), PAIR, seed, |_| false)
    }

    #[test]
    fn a_range_gives_every_even_port_that_has_its_neighbour_and_then_says_that_it_is_exhausted() {
        let mut ports = Ports::default();
        let mut pairs: Vec<Pair> = (0..3)
            .map(|seed| bind(&mut ports, Time::ZERO, (41_001, 41_008), seed).unwrap())
            .collect();
        pairs.sort_by_key(|pair| pair.rtp_addr);
        let got: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.rtp_addr.port(), pair.rtcp.get().unwrap().1.port()))
            .collect();
        assert_eq!(got, [(41_002, 41_003), (41_004, 41_005), (41_006, 41_007)]);
        let error = bind(&mut ports, Time::ZERO, (41_001, 41_008), 7).unwrap_err();
        assert!(matches!(error, OpenError::PortsExhausted { in_use: 3, resting: 0, .. }));
        let text = error.to_string();
        assert!(
            text.contains("41001 to 41008")
                && text.contains(": 3 in use, 0 at rest after another call"),
            "{text}"
        );
        pairs.pop();
        assert_eq!(
            bind(&mut ports, Time::ZERO, (41_001, 41_008), 0).unwrap().rtp_addr.port(),
            41_006
        );
    }

    #[test]
    fn the_search_begins_anywhere() {
        let mut ports = Ports::default();
        for seed in 0..4 {
            let pair = bind(&mut ports, Time::ZERO, (42_000, 42_007), seed).unwrap();
            assert_eq!(pair.rtp_addr.port(), 42_000 + 2 * seed as u16);
        }
    }

    #[test]
    fn a_port_that_was_given_back_rests_before_another_call_gets_it() {
        let mut ports = Ports::default();
        let range = (43_000, 43_003);
        let first = bind(&mut ports, Time::ZERO, range, 0).unwrap().rtp_addr;
        ports.give_back(Duration::from_secs(10)).closed(first, Time::secs(100));
        for seed in 0..4 {
            let next = bind(&mut ports, Time::secs(109), range, seed).unwrap();
            assert_eq!(next.rtp_addr.port(), 43_002);
        }
        let _second = bind(&mut ports, Time::secs(109), range, 0).unwrap();
        let error = bind(&mut ports, Time::secs(109), range, 0).unwrap_err();
        assert!(
            matches!(error, OpenError::PortsExhausted { in_use: 1, resting: 1, .. }),
            "{error}"
        );
        assert_eq!(bind(&mut ports, Time::secs(110), range, 0).unwrap().rtp_addr, first);
        assert!(ports.resting.is_empty());
    }

    #[test]
    fn ports_of_the_systems_choice_rest_too_and_those_asked_for_do_not() {
        let mut ports = Ports::default();
        let any = SocketAddr::new(home(), 0);
        let draw = |ports: &mut Ports, local| {
            ports.bind(Time::secs(1), local, None, PAIR, 0, |_| false).unwrap().rtp_addr
        };
        let rest = ports.give_back(Duration::from_secs(10));
        for _ in 0..200 {
            let addr = draw(&mut ports, any);
            assert!(!ports.resting.contains_key(&(addr.ip(), addr.port())));
            rest.closed(addr, Time::secs(1));
        }
        assert!(ports.resting.len() > 190);
        let resting = *ports.resting.keys().next().unwrap();
        assert_eq!(draw(&mut ports, resting.into()), resting.into());
    }

    #[test]
    fn a_range_without_a_pair_is_a_mistake() {
        for range in [(43_001, 43_001), (43_001, 43_002), (43_000, 43_000), (9, 3)] {
            let error = bind(&mut Ports::default(), Time::ZERO, range, 0).unwrap_err().to_string();
            assert!(error.starts_with("port_range ("), "{error}");
        }
        assert_eq!(even_ports(0, 3, true), [2]);
        assert_eq!(even_ports(65_530, 65_535, true), [65_530, 65_532, 65_534]);
        assert_eq!(even_ports(43_000, 43_000, false), [43_000]);
    }
}
