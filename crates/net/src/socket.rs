//! UDP sockets in pairs: RTP on an even port, RTCP on the next one (RFC 3550 §11).

use crate::error::OpenError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};

/// One received datagram.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Its payload, whole.
    pub bytes: &'a [u8],
    /// When the kernel received it, in CLOCK_REALTIME ns, where it tells.
    pub received_ns: Option<u64>,
    /// How many datagrams the socket has dropped so far for want of room, where the kernel tells.
    pub drops: Option<u32>,
}

/// One datagram to be sent.
#[derive(Debug)]
pub struct Datagram {
    /// To whom.
    pub to: SocketAddr,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// What became of datagrams that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCount {
    /// Handed to the kernel.
    pub sent: u64,
    /// Dropped because the kernel had no room.
    pub dropped: u64,
    /// Refused: no route, a filter, an ICMP error of an earlier datagram.
    pub errors: u64,
}

impl SendCount {
    /// Counts a failure by its kind. None is fatal: the remote may come back, and the route too.
    pub fn failed(&mut self, error: &io::Error) {
        #[cfg(unix)]
        let no_room = error.raw_os_error() == Some(libc::ENOBUFS);
        #[cfg(not(unix))]
        let no_room = false;
        match no_room || error.kind() == io::ErrorKind::WouldBlock {
            true => self.dropped += 1,
            false => self.errors += 1,
        }
    }

    /// Adds another count.
    pub fn add(&mut self, other: SendCount) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.errors += other.errors;
    }
}

/// The sockets of one local address, closed when dropped.
#[derive(Debug)]
pub struct Pair {
    /// Carries RTP, and RTCP too when multiplexed (RFC 5761).
    pub rtp: UdpSocket,
    /// Its bound address.
    pub rtp_addr: SocketAddr,
    /// Carries RTCP when separate.
    pub rtcp: Option<(UdpSocket, SocketAddr)>,
}

/// Receive room asked of the kernel: a flood of some thousand datagrams between two polls must not push out the call's.
/// It is a bound, not an allocation.
const RECEIVE_ROOM: usize = 1 << 20;
/// Tries to find a free even port with a free neighbour: half of all ports are even, and few neighbours are taken.
const PAIR_TRIES: usize = 64;

/// Binds the RTP socket, and the RTCP socket on the next port if it is `separate`. Port 0 takes any free even port.
/// After an error nothing is left open.
pub fn bind_pair(local: SocketAddr, separate: bool) -> Result<Pair, OpenError> {
    if local.port() != 0 {
        return bind_fixed(local, separate);
    }
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PAIR_TRIES {
        let drawn = bind(local).map_err(|e| bind_error("RTP", local, "", e))?;
        let drawn_addr = drawn.local_addr().map_err(|e| bind_error("RTP", local, "", e))?;
        let even = drawn_addr.port() & !1;
        let drawn_is_even = drawn_addr.port() == even;
        if drawn_is_even && !separate {
            return Ok(Pair { rtp: drawn, rtp_addr: drawn_addr, rtcp: None });
        }
        // The other half of the pair: the odd port above an even one drawn, or the even port below an odd one.
        let missing = with_port(local, even + u16::from(drawn_is_even));
        match bind(missing) {
            Ok(other) if !separate => {
                return Ok(Pair { rtp: other, rtp_addr: missing, rtcp: None });
            }
            Ok(other) if drawn_is_even => {
                let rtcp = Some((other, missing));
                return Ok(Pair { rtp: drawn, rtp_addr: drawn_addr, rtcp });
            }
            Ok(other) => {
                let rtcp = Some((drawn, drawn_addr));
                return Ok(Pair { rtp: other, rtp_addr: missing, rtcp });
            }
            Err(error) => last = error,
        }
    }
    Err(bind_error("RTP", local, ": found no free pair of an even port and the next one", last))
}

fn bind_fixed(local: SocketAddr, separate: bool) -> Result<Pair, OpenError> {
    let rtcp_port = local.port().checked_add(1);
    if separate && rtcp_port.is_none() {
        return Err(OpenError::Config(format!(
            "local: port {} leaves no port + 1 for RTCP; take 1 to 65534, or rtcp \"mux\" or \"off\"",
            local.port()
        )));
    }
    let rtp = bind(local).map_err(|e| bind_error("RTP", local, "", e))?;
    let rtcp = match rtcp_port.filter(|_| separate) {
        None => None,
        Some(port) => {
            let addr = with_port(local, port);
            let hint = " (RTP port + 1; rtcp \"mux\" or \"off\" needs no second port)";
            Some((bind(addr).map_err(|e| bind_error("RTCP", addr, hint, e))?, addr))
        }
    };
    Ok(Pair { rtp, rtp_addr: local, rtcp })
}

fn bind_error(what: &str, addr: SocketAddr, hint: &str, error: io::Error) -> OpenError {
    OpenError::Socket { what: format!("cannot bind the {what} socket to {addr}{hint}"), error }
}

fn with_port(addr: SocketAddr, port: u16) -> SocketAddr {
    let mut addr = addr;
    addr.set_port(port);
    addr
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv6() {
        // One family per socket, so that a remote has one address and not a v4-mapped second one.
        socket.set_only_v6(true)?;
    }
    // Each of these is an improvement that a call can do without.
    let _ = socket.set_recv_buffer_size(RECEIVE_ROOM);
    #[cfg(target_os = "linux")]
    ask_linux(&socket);
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// More receive room than `rmem_max` if privileged; a timestamp and the count of drops with every datagram.
#[cfg(target_os = "linux")]
fn ask_linux(socket: &Socket) {
    use std::os::fd::AsRawFd;
    for (option, value) in [
        (libc::SO_RCVBUFFORCE, RECEIVE_ROOM as libc::c_int),
        (libc::SO_TIMESTAMPNS, 1),
        (libc::SO_RXQ_OVFL, 1),
    ] {
        // SAFETY: the option value is an int that lives through the call, and its size is given.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::home;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn port_0_takes_an_even_port_and_the_next_one_for_rtcp() {
        let pairs: Vec<Pair> =
            (0..50).map(|_| bind_pair(addr("127.0.0.1:0"), true).unwrap()).collect();
        for pair in &pairs {
            assert_eq!(pair.rtp_addr.port() % 2, 0);
            assert_eq!(pair.rtp.local_addr().unwrap(), pair.rtp_addr);
            let (rtcp, rtcp_addr) = pair.rtcp.as_ref().unwrap();
            assert_eq!(rtcp_addr.port(), pair.rtp_addr.port() + 1);
            assert_eq!(rtcp.local_addr().unwrap(), *rtcp_addr);
        }
        let single = bind_pair(addr("[::1]:0"), false).unwrap();
        assert_eq!(single.rtp_addr.port() % 2, 0);
        assert!(single.rtcp.is_none());
    }

    #[test]
    fn a_busy_rtcp_port_is_named_and_the_rtp_port_is_given_back() {
        let taken = bind_pair(SocketAddr::new(home(), 0), true).unwrap();
        let free = taken.rtp_addr;
        let Pair { rtp, rtcp, .. } = taken;
        drop(rtp);
        let error = bind_pair(free, true).unwrap_err().to_string();
        assert!(
            error.contains(&format!("RTCP socket to {}:{}", free.ip(), free.port() + 1)),
            "{error}"
        );
        drop(bind_pair(free, false).expect("the RTP port was given back"));
        drop(rtcp);
        bind_pair(free, true).expect("both ports are free again");
    }

    #[test]
    fn the_last_port_has_no_neighbour() {
        let error = bind_pair(addr("127.0.0.1:65535"), true).unwrap_err().to_string();
        assert!(error.starts_with("local: port 65535 leaves no"), "{error}");
    }
}
