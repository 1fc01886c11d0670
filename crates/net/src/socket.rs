//! UDP sockets in pairs: RTP on an even port, RTCP on the next one (RFC 3550 §11).

use crate::error::OpenError;
use crate::fork::Private;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

/// One received datagram.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of the host's addresses it was sent to, where the socket has several and the kernel tells.
    pub to: Option<IpAddr>,
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
    /// From which of the host's addresses, where the socket has several; `None` for the one on the way there.
    pub from: Option<IpAddr>,
    /// Its payload.
    pub bytes: Vec<u8>,
    /// Which session of its shard it is from.
    pub of: usize,
}

/// What became of datagrams that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCount {
    /// Handed to the kernel.
    pub sent: u64,
    /// Dropped because the kernel had no room.
    pub dropped: u64,
    /// Refused, for any other reason; these are some of them.
    pub errors: u64,
    /// No way leads there: no route, no network, no such host.
    pub unreachable: u64,
    /// Not allowed: a filter.
    pub denied: u64,
    /// Nobody listens there, as an answer to an earlier one said.
    pub refused: u64,
    /// Too long for the way there.
    pub too_long: u64,
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
        #[cfg(unix)]
        match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL) => {
                self.unreachable += 1
            }
            Some(libc::EPERM | libc::EACCES) => self.denied += 1,
            Some(libc::ECONNREFUSED) => self.refused += 1,
            Some(libc::EMSGSIZE) => self.too_long += 1,
            _ => {}
        }
    }

    /// Adds another count.
    pub fn add(&mut self, other: SendCount) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.errors += other.errors;
        self.unreachable += other.unreachable;
        self.denied += other.denied;
        self.refused += other.refused;
        self.too_long += other.too_long;
    }
}

/// The sockets of one local address, closed when dropped.
#[derive(Debug)]
pub struct Pair {
    /// Carries RTP, and RTCP too when multiplexed (RFC 5761).
    pub rtp: Private<UdpSocket>,
    /// Its bound address.
    pub rtp_addr: SocketAddr,
    /// Carries RTCP when separate. Once there it stays, also while RTCP goes to RTP's port.
    pub rtcp: OnceLock<(Private<UdpSocket>, SocketAddr)>,
    /// As they were asked for.
    pub options: SocketOptions,
    /// How many of them the system did not let be marked with the code point: a call can do without.
    pub unmarked: u64,
}

/// Receive room asked of the kernel: a flood of 50 000 datagrams a second must not push out the call's own while the machine
/// is away for a tenth of a second. It is a bound, not an allocation; without privilege the kernel gives less.
const RECEIVE_ROOM: usize = 4 << 20;
/// What a system says of a port that is taken.
#[cfg(unix)]
pub const ADDRESS_IN_USE: i32 = libc::EADDRINUSE;
/// What a system says of a port that is taken.
#[cfg(not(unix))]
pub const ADDRESS_IN_USE: i32 = 10_048;
/// Tries to find a free even port with a free neighbour: half of all ports are even, and few neighbours are taken.
const PAIR_TRIES: usize = 64;

/// How the sockets of a pair are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// With a second socket, for RTCP.
    pub separate: bool,
    /// The differentiated services code point of what is sent (RFC 2474), 0 to 63; 0 leaves it to the system.
    pub dscp: u8,
}

/// Binds a pair to any free even port of the system's choice, and the next one, unless `refuses` it. After an error
/// nothing is left open.
pub fn draw_pair(
    local: SocketAddr,
    options: SocketOptions,
    refuses: impl Fn(u16) -> bool,
) -> Result<Pair, OpenError> {
    let separate = options.separate;
    let mut last = io::Error::from_raw_os_error(ADDRESS_IN_USE);
    for _ in 0..PAIR_TRIES {
        let (drawn, drawn_marked) =
            bind(local, options).map_err(|e| bind_error("RTP", local, "", e))?;
        let drawn_addr = drawn.local_addr().map_err(|e| bind_error("RTP", local, "", e))?;
        let even = drawn_addr.port() & !1;
        if refuses(even) {
            continue;
        }
        let drawn_is_even = drawn_addr.port() == even;
        if drawn_is_even && !separate {
            let unmarked = u64::from(!drawn_marked);
            let rtcp = OnceLock::new();
            return Ok(Pair { rtp: drawn, rtp_addr: drawn_addr, rtcp, options, unmarked });
        }
        // The other half of the pair: the odd port above an even one drawn, or the even port below an odd one.
        let missing = with_port(local, even + u16::from(drawn_is_even));
        let (other, marked) = match bind(missing, options) {
            Ok(bound) => bound,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let unmarked = u64::from(!marked) + u64::from(!drawn_marked && separate);
        let (rtp, rtp_addr, rtcp) = match (separate, drawn_is_even) {
            (false, _) => (other, missing, OnceLock::new()),
            (true, true) => (drawn, drawn_addr, OnceLock::from((other, missing))),
            (true, false) => (other, missing, OnceLock::from((drawn, drawn_addr))),
        };
        return Ok(Pair { rtp, rtp_addr, rtcp, options, unmarked });
    }
    Err(bind_error("RTP", local, ": found no free pair of an even port and the next one", last))
}

/// Binds the RTP socket to exactly this address, and the RTCP socket to the next port if it is separate. After an error
/// nothing is left open.
pub fn bind_fixed(local: SocketAddr, options: SocketOptions) -> Result<Pair, OpenError> {
    let separate = options.separate;
    if separate && local.port() == u16::MAX {
        return Err(no_rtcp_port(local.port()));
    }
    let (rtp, marked) = bind(local, options).map_err(|e| bind_error("RTP", local, "", e))?;
    let mut pair =
        Pair { rtp, rtp_addr: local, rtcp: OnceLock::new(), options, unmarked: u64::from(!marked) };
    if separate {
        let hint = " (RTP port + 1; rtcp \"mux\" or \"off\" needs no second port)";
        pair.unmarked += u64::from(!pair.bind_rtcp(hint)?);
    }
    Ok(pair)
}

impl Pair {
    /// Binds the RTCP socket to the port after RTP's, if it is not there yet, and says whether it could be marked as asked.
    /// From one thread at a time.
    fn bind_rtcp(&self, hint: &str) -> Result<bool, OpenError> {
        if self.rtcp.get().is_some() {
            return Ok(true);
        }
        let Some(port) = self.rtp_addr.port().checked_add(1) else {
            return Err(no_rtcp_port(self.rtp_addr.port()));
        };
        let addr = with_port(self.rtp_addr, port);
        let (socket, marked) =
            bind(addr, self.options).map_err(|e| bind_error("RTCP", addr, hint, e))?;
        let _ = self.rtcp.set((socket, addr));
        Ok(marked)
    }

    /// Binds the RTCP socket of a pair that has begun without, as far as `highest` lets it.
    pub fn add_rtcp(&self, highest: u16) -> Result<(), OpenError> {
        if self.rtcp.get().is_none() && self.rtp_addr.port() >= highest {
            let what = format!("rtcp \"separate\": port_range ends with RTP's own port, {highest}");
            return Err(OpenError::Socket { what, error: io::ErrorKind::AddrNotAvailable.into() });
        }
        self.bind_rtcp(
            " (RTP port + 1, since RTCP no longer shares the port of RTP, RFC 5761 §5.1.1)",
        )?;
        Ok(())
    }
}

fn no_rtcp_port(port: u16) -> OpenError {
    OpenError::Config(format!(
        "local: port {port} leaves no port + 1 for RTCP; take 1 to 65534, or rtcp \"mux\" or \"off\""
    ))
}

fn bind_error(what: &str, addr: SocketAddr, hint: &str, error: io::Error) -> OpenError {
    OpenError::Socket { what: format!("cannot bind the {what} socket to {addr}{hint}"), error }
}

fn with_port(addr: SocketAddr, port: u16) -> SocketAddr {
    let mut addr = addr;
    addr.set_port(port);
    addr
}

/// Binds one socket, and says whether it could be marked as asked.
fn bind(local: SocketAddr, options: SocketOptions) -> io::Result<(Private<UdpSocket>, bool)> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv6() {
        // One family per socket, so that a remote has one address and not a v4-mapped second one.
        socket.set_only_v6(true)?;
    }
    // Each of these is an improvement that a call can do without.
    let _ = socket.set_recv_buffer_size(RECEIVE_ROOM);
    #[cfg(target_os = "linux")]
    ask_linux(&socket, local);
    let marked = options.dscp == 0 || mark(&socket, local, options.dscp).is_ok();
    socket.bind(&local.into())?;
    Ok((Private::new(socket.into()), marked))
}

/// Has the socket's packets marked: the code point is in the upper six bits of the octet (RFC 2474 §3).
fn mark(socket: &Socket, local: SocketAddr, dscp: u8) -> io::Result<()> {
    let octet = u32::from(dscp) << 2;
    match local {
        SocketAddr::V4(_) => socket.set_tos_v4(octet),
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        SocketAddr::V6(_) => socket.set_tclass_v6(octet),
        #[cfg(not(any(target_os = "linux", target_os = "macos")))]
        SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// More receive room than `rmem_max` if privileged; with every datagram a timestamp and the count of drops and, where the
/// socket has all of the host's addresses, the one that it was sent to.
#[cfg(target_os = "linux")]
fn ask_linux(socket: &Socket, local: SocketAddr) {
    use std::os::fd::AsRawFd;
    let mut asked = vec![
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_ROOM as libc::c_int),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1),
    ];
    if local.ip().is_unspecified() {
        asked.push(match local {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        });
    }
    for (level, option, value) in asked {
        // SAFETY: the option value is an int that lives through the call, and its size is given.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
}

/// Binds a pair to this address, or to one of the system's choice if its port is 0.
#[cfg(test)]
pub fn bind_pair(local: SocketAddr, options: SocketOptions) -> Result<Pair, OpenError> {
    match local.port() {
        0 => draw_pair(local, options, |_| false),
        _ => bind_fixed(local, options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::home;

    fn bind_pair(local: SocketAddr, separate: bool) -> Result<Pair, OpenError> {
        super::bind_pair(local, SocketOptions { separate, dscp: 0 })
    }

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
            let (rtcp, rtcp_addr) = pair.rtcp.get().unwrap();
            assert_eq!(rtcp_addr.port(), pair.rtp_addr.port() + 1);
            assert_eq!(rtcp.local_addr().unwrap(), *rtcp_addr);
        }
        let single = bind_pair(addr("[::1]:0"), false).unwrap();
        assert_eq!(single.rtp_addr.port() % 2, 0);
        assert!(single.rtcp.get().is_none());
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
    fn rfc4594_both_sockets_are_marked_with_the_code_point() {
        let expedited = SocketOptions { separate: true, dscp: 46 };
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let pair = super::bind_pair(addr(local), expedited).unwrap();
            assert_eq!(pair.unmarked, 0);
            for socket in [&pair.rtp, &pair.rtcp.get().unwrap().0] {
                let socket = socket2::SockRef::from(&**socket);
                let octet =
                    if pair.rtp_addr.is_ipv4() { socket.tos_v4() } else { socket.tclass_v6() };
                assert_eq!(octet.unwrap(), 46 << 2);
            }
        }
    }

    #[test]
    fn the_last_port_has_no_neighbour() {
        let error = bind_pair(addr("127.0.0.1:65535"), true).unwrap_err().to_string();
        assert!(error.starts_with("local: port 65535 leaves no"), "{error}");
    }
}
