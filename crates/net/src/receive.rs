//! Reading and writing the sockets of a shard, on Linux's fast path or the one that works everywhere.

use crate::clock;
use crate::demux::Id;
use crate::endpoint::{Endpoint, Outbox, Sockets};
use crate::shard::port_index;
use crate::socket::{Arrival, Datagram, SendCount};
use roomkit_media::session::Port;
use roomkit_media::time::{Duration, Time};
use std::io;
use std::net::{SocketAddr, UdpSocket};

/// Datagrams read from one socket in one poll: what 250 calls of 20 ms send in that time, and twice that. What is more
/// stays in the socket for the next poll, so that a flood on one socket does not starve the others.
const SOCKET_BUDGET: usize = 500;
/// The time one poll may take altogether. Then the frames that are due come first.
const TIME_BUDGET: Duration = Duration::from_millis(2);
/// The largest datagram.
const LARGEST: usize = 65_536;

/// How much there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// All of it was read.
    Normal,
    /// A budget ended before the datagrams did.
    Flood,
}

/// How a shard reads and writes.
#[derive(Debug)]
pub enum Io {
    /// Asks epoll who has something, and moves datagrams in batches.
    #[cfg(target_os = "linux")]
    Linux {
        /// Who has something.
        poller: crate::linux::Poller,
        /// Buffers.
        batch: Box<crate::mmsg::Batch>,
        /// Reused between polls.
        ready: Vec<u64>,
    },
    /// Tries every socket, one datagram at a time.
    Portable {
        /// Where a datagram is read to.
        buffer: Vec<u8>,
        /// Where the next poll begins, so that every socket has its turn under load.
        first: usize,
    },
}

impl Io {
    /// The fast path where there is one, unless `portable` asks for the other.
    pub fn new(portable: bool) -> io::Result<Io> {
        #[cfg(target_os = "linux")]
        if !portable {
            return Ok(Io::Linux {
                poller: crate::linux::Poller::new()?,
                batch: Box::new(crate::mmsg::Batch::new()),
                ready: Vec::new(),
            });
        }
        let _ = portable;
        Ok(Io::Portable { buffer: vec![0; LARGEST], first: 0 })
    }

    /// From now on the sockets belong to endpoint `id`.
    pub fn watch(&self, sockets: &Sockets, id: usize) {
        #[cfg(target_os = "linux")]
        if let Io::Linux { poller, .. } = self {
            // It can only fail for want of memory or of watches (fs.epoll.max_user_watches); the session then hears
            // nothing, and its RTP timeout says so.
            let _ = poller.add(&sockets.pair.rtp, token(id, Port::Rtp));
            if let Some((rtcp, _)) = &sockets.pair.rtcp {
                let _ = poller.add(rtcp, token(id, Port::Rtcp));
            }
        }
        let _ = (sockets, id);
    }

    /// The sockets are about to be closed, or handed on.
    pub fn forget(&self, sockets: &Sockets) {
        #[cfg(target_os = "linux")]
        if let Io::Linux { poller, .. } = self {
            let _ = poller.remove(&sockets.pair.rtp);
            if let Some((rtcp, _)) = &sockets.pair.rtcp {
                let _ = poller.remove(rtcp);
            }
        }
        let _ = sockets;
    }

    /// Reads what has arrived and hands each datagram to the session it is for.
    pub fn receive(
        &mut self,
        endpoints: &mut [Option<Endpoint>],
        now: Time,
        mut deliver: impl FnMut(Id, &mut Endpoint, Time, SocketAddr, Port, &[u8]),
    ) -> Pressure {
        let give_up = now + TIME_BUDGET;
        let mut pressure = Pressure::Normal;
        match self {
            #[cfg(target_os = "linux")]
            Io::Linux { poller, batch, ready } => {
                let offset = crate::linux::realtime_ns().wrapping_sub(clock::now().as_ns());
                ready.clear();
                poller.poll(ready);
                for &token in ready.iter() {
                    let (id, port) = from_token(token);
                    let Some(endpoint) = endpoints.get_mut(id).and_then(Option::as_mut) else {
                        continue;
                    };
                    let sockets = endpoint.sockets.clone();
                    let Some(socket) = socket_of(&sockets, port) else { continue };
                    let mut left = SOCKET_BUDGET;
                    let emptied = loop {
                        let taken = batch.receive(socket, left, |arrival| {
                            endpoint.take(now, offset, port, &arrival, &mut deliver);
                        });
                        match taken {
                            Ok((_, true)) => break true,
                            Ok((taken, false)) => left -= taken,
                            Err(error) => {
                                endpoint.stats.receive_errors += 1;
                                left -= 1;
                                let _ = error;
                            }
                        }
                        if left == 0 || clock::now() >= give_up {
                            break false;
                        }
                    };
                    if emptied {
                        endpoint.drained[port_index(port)] = now;
                    } else {
                        pressure = Pressure::Flood;
                    }
                    if clock::now() >= give_up {
                        // epoll rotates: who was not read is reported first by the next poll.
                        return Pressure::Flood;
                    }
                }
            }
            Io::Portable { buffer, first } => {
                let count = endpoints.len();
                let begin = *first;
                for step in 0..count {
                    let id = (begin + step) % count;
                    let Some(endpoint) = endpoints[id].as_mut() else { continue };
                    let sockets = endpoint.sockets.clone();
                    for port in [Port::Rtp, Port::Rtcp] {
                        let Some(socket) = socket_of(&sockets, port) else { continue };
                        if !read_one_by_one(socket, buffer, |arrival| match arrival {
                            Ok(arrival) => endpoint.take(now, 0, port, &arrival, &mut deliver),
                            Err(_) => endpoint.stats.receive_errors += 1,
                        }) {
                            pressure = Pressure::Flood;
                        }
                    }
                    if clock::now() >= give_up {
                        *first = (id + 1) % count;
                        return Pressure::Flood;
                    }
                }
            }
        }
        pressure
    }

    /// Sends what an endpoint's sessions have left for it.
    pub fn flush(&mut self, endpoint: &mut Endpoint) {
        let Outbox { rtp, rtcp, .. } = &mut endpoint.outbox;
        if rtp.is_empty() && rtcp.is_empty() {
            return;
        }
        let pair = &endpoint.sockets.pair;
        let rtcp_socket = pair.rtcp.as_ref().map_or(&pair.rtp, |(socket, _)| socket);
        for (socket, queue) in [(&pair.rtp, rtp), (rtcp_socket, rtcp)] {
            match (&mut *self, &queue[..]) {
                (_, []) => {}
                #[cfg(target_os = "linux")]
                (Io::Linux { batch, .. }, many @ [_, _, ..]) => {
                    endpoint.stats.sent.add(batch.send(socket, many));
                }
                (_, few) => endpoint.stats.sent.add(send_one_by_one(socket, few)),
            }
            queue.clear();
        }
    }
}

impl Endpoint {
    /// Routes one datagram.
    fn take(
        &mut self,
        now: Time,
        realtime_offset: u64,
        port: Port,
        arrival: &Arrival<'_>,
        deliver: &mut impl FnMut(Id, &mut Endpoint, Time, SocketAddr, Port, &[u8]),
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
        // The kernel's clock may be stepped between its timestamp and ours: it arrived after the socket was last
        // empty and not after now, whatever the clocks say.
        let earliest = self.drained[port_index(port)].min(now);
        let received = arrival
            .received_ns
            .map_or(now, |ns| Time::ns(ns.wrapping_sub(realtime_offset)).clamp(earliest, now));
        deliver(id, self, received, arrival.from, port, arrival.bytes);
    }
}

fn socket_of(sockets: &Sockets, port: Port) -> Option<&UdpSocket> {
    match port {
        Port::Rtp => Some(&sockets.pair.rtp),
        Port::Rtcp => sockets.pair.rtcp.as_ref().map(|(socket, _)| socket),
    }
}

/// Reads until the socket is empty (true) or the budget is (false).
fn read_one_by_one(
    socket: &UdpSocket,
    buffer: &mut [u8],
    mut take: impl FnMut(Result<Arrival<'_>, io::Error>),
) -> bool {
    for _ in 0..SOCKET_BUDGET {
        match socket.recv_from(buffer) {
            Ok((length, from)) => {
                let bytes = &buffer[..length];
                take(Ok(Arrival { from, bytes, received_ns: None, drops: None }));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // Windows reports an earlier datagram's ICMP error here; the next read goes on.
            Err(error) => take(Err(error)),
        }
    }
    false
}

fn send_one_by_one(socket: &UdpSocket, datagrams: &[Datagram]) -> SendCount {
    let mut count = SendCount::default();
    for datagram in datagrams {
        match socket.send_to(&datagram.bytes, datagram.to) {
            Ok(_) => count.sent += 1,
            Err(error) => count.failed(&error),
        }
    }
    count
}

#[cfg(target_os = "linux")]
fn token(id: usize, port: Port) -> u64 {
    (id as u64) << 1 | port_index(port) as u64
}

#[cfg(target_os = "linux")]
fn from_token(token: u64) -> (usize, Port) {
    let port = if token & 1 == 0 { Port::Rtp } else { Port::Rtcp };
    ((token >> 1) as usize, port)
}
