//! Reading and writing the sockets of a shard, on Linux's fast path or the one that works everywhere.

use crate::demux::Id;
use crate::endpoint::{Endpoint, Outbox, Sockets};
use crate::socket::{Arrival, Datagram, SendCount};
use roomkit_media::session::Port;
use roomkit_media::time::Time;
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
        let now = crate::clock::now();
        #[cfg(target_os = "linux")]
        let realtime_ahead_ns = crate::linux::realtime_ns().wrapping_sub(now.as_ns());
        #[cfg(not(target_os = "linux"))]
        let realtime_ahead_ns = 0;
        Moment { now, realtime_ahead_ns }
    }
}

/// Most sockets have one datagram when they are read; asking for two tells that it was the only one.
const FIRST_ASK: usize = 2;

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

    /// Reads up to `budget` datagrams and hands each to the session it is for. True if that was all there were.
    pub fn read(
        &mut self,
        endpoint: &mut Endpoint,
        port: Port,
        moment: Moment,
        budget: usize,
        mut deliver: impl FnMut(Id, &mut Endpoint, Time, Port, &Arrival<'_>),
    ) -> bool {
        let sockets = endpoint.sockets.clone();
        let Some(socket) = socket_of(&sockets, port) else { return true };
        let mut left = budget;
        let mut ask = FIRST_ASK;
        let emptied = loop {
            let taken = match self {
                #[cfg(target_os = "linux")]
                Io::Batch(batch) => batch.receive(socket, left.min(ask), |arrival| {
                    endpoint.take(moment, port, &arrival, &mut deliver);
                }),
                Io::Portable(buffer) => receive_singly(socket, buffer, left.min(ask), |arrival| {
                    endpoint.take(moment, port, &arrival, &mut deliver);
                }),
            };
            match taken {
                Ok((_, true)) => break true,
                Ok((taken, false)) => left = left.saturating_sub(taken),
                // An ICMP error of an earlier datagram, as some systems report it here: it has taken a datagram's place.
                Err(_) => {
                    endpoint.stats.receive_errors += 1;
                    left -= 1;
                }
            }
            if left == 0 {
                break false;
            }
            ask = usize::MAX;
        };
        if emptied {
            endpoint.drained[port_index(port)] = moment.now;
        }
        emptied
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
