//! Reading and writing the sockets of a shard, on Linux's fast path or the one that works everywhere.

use crate::clock;
use crate::demux::Id;
use crate::endpoint::{Endpoint, Outbox, Sockets};
use crate::socket::{Arrival, Datagram, SendCount};
use roomkit_media::session::Port;
use roomkit_media::time::{Duration, Time};
use std::io;
use std::net::UdpSocket;

/// The largest datagram.
const LARGEST: usize = 65_536;

/// The moment of a pass, on the engine's clock and against the system's.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: Time,
    /// What CLOCK_REALTIME, the clock of the kernel's timestamps, is ahead of the engine's, in ns.
    pub realtime_ahead_ns: u64,
}

impl Moment {
    /// This one.
    pub fn take() -> Moment {
        let now = clock::now();
        #[cfg(target_os = "linux")]
        let realtime_ahead_ns = crate::linux::realtime_ns().wrapping_sub(now.as_ns());
        #[cfg(not(target_os = "linux"))]
        let realtime_ahead_ns = 0;
        Moment { now, realtime_ahead_ns }
    }
}

/// Most sockets have one datagram when they are read; asking for two tells that it was the only one.
const FIRST_ASK: usize = 2;
/// Where there are more, so many are read between two looks at the clock: what they cost at the worst is about what a frame
/// costs.
const ASK: usize = 8;

/// How much of a socket is read at a time.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// So many datagrams in any case.
    pub least: usize,
    /// Beyond them as many as this time allows,
    pub time: Duration,
    /// and in all no more than these.
    pub most: usize,
}

/// How a socket was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Nothing is in it any more.
    pub empty: bool,
    /// What was taken of the budget's time.
    pub spent: Duration,
}

/// How a shard reads and writes.
#[derive(Debug)]
pub enum Io {
    /// Datagrams in batches, with the kernel's time of arrival.
    #[cfg(target_os = "linux")]
    Batch(Box<crate::mmsg::Batch>),
    /// One datagram at a time; what is read now counts as having arrived now. The buffer is where it is read to.
    Portable(Vec<u8>),
}

impl Io {
    /// The fast path where there is one, unless `portable` asks for the other.
    pub fn new(portable: bool) -> Io {
        #[cfg(target_os = "linux")]
        if !portable {
            return Io::Batch(Box::new(crate::mmsg::Batch::new()));
        }
        let _ = portable;
        Io::Portable(vec![0; LARGEST])
    }

    /// Reads as many datagrams as the budget has and hands each to the session it is for.
    pub fn read(
        &mut self,
        endpoint: &mut Endpoint,
        port: Port,
        moment: Moment,
        budget: Budget,
        mut deliver: impl FnMut(Id, &mut Endpoint, Time, Port, &Arrival<'_>),
    ) -> Left {
        let sockets = endpoint.sockets.clone();
        let mut spent = Duration::ZERO;
        let Some(socket) = socket_of(&sockets, port) else { return Left { empty: true, spent } };
        // One octet more than anybody takes: what fills that is too long, and its session counts it.
        let longest = (endpoint.longest[port_index(port)] + 1).min(LARGEST);
        let mut read = 0;
        let mut ask = FIRST_ASK;
        // The clock is not asked before there is more than an honest far end sends.
        let mut began = None;
        let empty = loop {
            let limit = ask.min(budget.most - read);
            let taken = match self {
                #[cfg(target_os = "linux")]
                Io::Batch(batch) => batch.receive(socket, limit, longest, |arrival| {
                    endpoint.take(moment, port, &arrival, &mut deliver);
                }),
                Io::Portable(buffer) => {
                    receive_singly(socket, &mut buffer[..longest], limit, |arrival| {
                        endpoint.take(moment, port, &arrival, &mut deliver);
                    })
                }
            };
            match taken {
                Ok((_, true)) => break true,
                Ok((taken, false)) => read += taken,
                // An ICMP error of an earlier datagram, as some systems report it here: it has taken a datagram's place.
                Err(_) => {
                    endpoint.stats.receive_errors += 1;
                    read += 1;
                }
            }
            if read >= budget.least {
                let now = clock::now();
                spent = now - *began.get_or_insert(now);
                if read >= budget.most || spent >= budget.time {
                    break false;
                }
            }
            ask = ASK;
        };
        if empty {
            endpoint.drained[port_index(port)] = moment.now;
        }
        Left { empty, spent }
    }

    /// Sends what an endpoint's sessions have left for it.
    pub fn flush(&mut self, endpoint: &mut Endpoint) {
        let Outbox { rtp, rtcp, unsent, .. } = &mut endpoint.outbox;
        if rtp.is_empty() && rtcp.is_empty() {
            return;
        }
        let pair = &endpoint.sockets.pair;
        let rtcp_socket = pair.rtcp.get().map_or(&pair.rtp, |(socket, _)| socket);
        let mut failed = |datagram: &Datagram, error: &io::Error| {
            unsent.push((
                datagram.of,
                datagram.bytes.clone(),
                error.raw_os_error().unwrap_or_default(),
            ));
        };
        for (socket, queue) in [(&pair.rtp, rtp), (rtcp_socket, rtcp)] {
            match (&mut *self, &queue[..]) {
                (_, []) => {}
                #[cfg(target_os = "linux")]
                (Io::Batch(batch), some) if some.len() > 1 || some[0].from.is_some() => {
                    endpoint.stats.sent.add(batch.send(socket, some, &mut failed));
                }
                (_, few) => endpoint.stats.sent.add(send_singly(socket, few, &mut failed)),
            }
            queue.clear();
        }
    }
}

impl Endpoint {
    /// Routes one datagram.
    fn take(
        &mut self,
        moment: Moment,
        port: Port,
        arrival: &Arrival<'_>,
        deliver: &mut impl FnMut(Id, &mut Endpoint, Time, Port, &Arrival<'_>),
    ) {
        if let Some(drops) = arrival.drops {
            let seen = &mut self.drops_seen[port_index(port)];
            self.stats.kernel_drops += u64::from(drops.wrapping_sub(*seen));
            *seen = drops;
        }
        let Some(id) = self.demux.route(port, arrival.from, arrival.bytes) else {
            self.stats.unmatched += 1;
            return;
        };
        // The system's clock may be stepped between the kernel's timestamp and our look at it: the datagram arrived
        // after the socket was last empty and not after now, whatever the clocks say.
        let earliest = self.drained[port_index(port)].min(moment.now);
        let arrived = arrival.received_ns.map_or(moment.now, |ns| {
            Time::ns(ns.wrapping_sub(moment.realtime_ahead_ns)).clamp(earliest, moment.now)
        });
        deliver(id, self, arrived, port, arrival);
    }
}

fn port_index(port: Port) -> usize {
    match port {
        Port::Rtp => 0,
        Port::Rtcp => 1,
    }
}

fn socket_of(sockets: &Sockets, port: Port) -> Option<&UdpSocket> {
    match port {
        Port::Rtp => Some(&sockets.pair.rtp),
        Port::Rtcp => sockets.pair.rtcp.get().map(|(socket, _)| &**socket),
    }
}

/// Receives up to `limit` datagrams and says how many there were and whether that was all.
fn receive_singly(
    socket: &UdpSocket,
    buffer: &mut [u8],
    limit: usize,
    mut take: impl FnMut(Arrival<'_>),
) -> io::Result<(usize, bool)> {
    for taken in 0..limit {
        match socket.recv_from(buffer) {
            Ok((length, from)) => {
                let bytes = &buffer[..length];
                take(Arrival { from, to: None, bytes, received_ns: None, drops: None });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((taken, true)),
            Err(error) => return Err(error),
        }
    }
    Ok((limit, false))
}

fn send_singly(
    socket: &UdpSocket,
    datagrams: &[Datagram],
    failed: &mut impl FnMut(&Datagram, &io::Error),
) -> SendCount {
    let mut count = SendCount::default();
    for datagram in datagrams {
        match socket.send_to(&datagram.bytes, datagram.to) {
            Ok(_) => count.sent += 1,
            Err(error) => {
                count.failed(&error);
                failed(datagram, &error);
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;
    use crate::socket::{bind_pair, SocketOptions};
    use std::sync::Arc;

    /// An address without sessions, at which each datagram counts as unmatched; so many wait there, each as long as the next.
    fn endpoint(waiting: usize, octets: usize) -> Endpoint {
        let options = SocketOptions { separate: false, dscp: 0 };
        let pair = bind_pair("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..waiting {
            far.send_to(&vec![0x80; octets], pair.rtp_addr).unwrap();
        }
        let give_back = Ports::default().give_back(Duration::ZERO);
        let mut endpoint =
            Endpoint::new(Arc::new(Sockets::new(pair, 0, false, give_back)), clock::now());
        endpoint.takes([2048; 2]);
        endpoint
    }

    fn read(io: &mut Io, endpoint: &mut Endpoint, budget: Budget) -> (u64, Left) {
        let before = endpoint.stats.unmatched;
        let left = io.read(endpoint, Port::Rtp, Moment::take(), budget, |_, _, _, _, _| {
            unreachable!("nobody is there")
        });
        (endpoint.stats.unmatched - before, left)
    }

    #[test]
    fn a_flooded_socket_is_read_as_far_as_the_budget_goes_in_datagrams_and_in_time() {
        for portable in [false, true] {
            let mut io = Io::new(portable);
            let mut endpoint = endpoint(200, 100);
            let count = |least, most| Budget { least, most, time: Duration::ZERO };
            let time = Duration::from_secs(60);
            let (taken, left) = read(&mut io, &mut endpoint, count(8, 64));
            assert!((8..8 + ASK as u64).contains(&taken) && !left.empty, "no time: {taken}");
            let (taken, left) = read(&mut io, &mut endpoint, Budget { time, ..count(8, 64) });
            assert_eq!((taken, left.empty), (64, false), "time enough");
            assert!(left.spent > Duration::ZERO && left.spent < time);
            let (taken, left) = read(&mut io, &mut endpoint, count(0, 64));
            assert_eq!((taken, left.empty), (FIRST_ASK as u64, false), "nothing that had to be");
            let (taken, left) = read(&mut io, &mut endpoint, Budget { time, ..count(8, 500) });
            assert!(left.empty);
            assert!((100..134).contains(&taken), "the rest: {taken}");
        }
    }

    #[test]
    fn who_sends_what_a_call_sends_never_costs_a_look_at_the_clock() {
        for portable in [false, true] {
            let mut io = Io::new(portable);
            for waiting in 0..=7 {
                let mut endpoint = endpoint(waiting, 172);
                let budget = Budget { least: 8, most: 64, time: Duration::ZERO };
                let (taken, left) = read(&mut io, &mut endpoint, budget);
                assert_eq!(
                    (taken, left),
                    (waiting as u64, Left { empty: true, spent: Duration::ZERO })
                );
            }
        }
    }
}
