//! Datagrams in batches on Linux: recvmmsg with the kernel's receive timestamps, and sendmmsg.

use crate::socket::{Arrival, Datagram, SendCount};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

/// Datagrams taken by one system call.
const BATCH: usize = 32;
/// The largest datagram there is. Pages of it that nothing is written to are never backed by memory.
const BUFFER: usize = 65_536;
/// The buffers lie this far apart, so that their beginnings do not all fall into the same set of the cache.
const STRIDE: usize = BUFFER + 192;
/// Room for a timestamp, a drop count and an address as control messages, each with its header.
const CONTROL: usize = 128;

/// Control messages must be aligned like their header.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Reusable buffers of one shard for receiving and sending.
pub struct Batch {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Batch")
    }
}

// SAFETY: the raw pointers in `iovecs` and `headers` are written anew before each system call and point into the
// other fields, or into the caller's datagrams for the length of the call; none is used across threads.
unsafe impl Send for Batch {}

impl Batch {
    /// Buffers for one shard: 2 MiB of address space, of which only what arrives is touched.
    pub fn new() -> Batch {
        // SAFETY: all zero is a valid value of these C structures.
        let (name, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Batch {
            bytes: vec![0; STRIDE * BATCH],
            names: vec![name; BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            iovecs: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Receives up to `limit` datagrams, hands each to `take`, and says how many there were and whether that was all. Of
    /// longer ones than `longest` no more is copied than that.
    pub fn receive(
        &mut self,
        socket: &impl AsRawFd,
        limit: usize,
        longest: usize,
        mut take: impl FnMut(Arrival<'_>),
    ) -> io::Result<(usize, bool)> {
        let asked = limit.min(BATCH);
        let longest = longest.min(BUFFER);
        for i in 0..asked {
            self.iovecs[i] = libc::iovec {
                iov_base: self.bytes[i * STRIDE..].as_mut_ptr().cast(),
                iov_len: longest,
            };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = &raw mut self.iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut self.controls[i]).cast();
            header.msg_controllen = CONTROL as _;
            header.msg_flags = 0;
        }
        // SAFETY: every header points to a name, a buffer and a control block that live in `self` and are of the
        // lengths given; MSG_DONTWAIT returns at once.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                asked as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if n < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok((0, true)),
                _ => Err(error),
            };
        }
        let n = n as usize;
        for i in 0..n {
            let length = self.headers[i].msg_len as usize;
            let Some(from) = address(&self.names[i]) else { continue };
            let Told { received_ns, drops, to } = control_values(&self.headers[i].msg_hdr);
            take(Arrival {
                from,
                to,
                bytes: &self.bytes[i * STRIDE..i * STRIDE + length.min(longest)],
                received_ns,
                drops,
            });
        }
        Ok((n, n < asked))
    }

    /// Sends all of `datagrams` from one socket, in order; those that do not leave go to `failed`, with the reason.
    pub fn send(
        &mut self,
        socket: &impl AsRawFd,
        datagrams: &[Datagram],
        failed: &mut impl FnMut(&Datagram, &io::Error),
    ) -> SendCount {
        let mut count = SendCount::default();
        let mut rest = datagrams;
        while !rest.is_empty() {
            let asked = rest.len().min(BATCH);
            for (i, datagram) in rest[..asked].iter().enumerate() {
                self.iovecs[i] = libc::iovec {
                    // sendmmsg only reads, though the type says otherwise.
                    iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
                    iov_len: datagram.bytes.len(),
                };
                let header = &mut self.headers[i].msg_hdr;
                header.msg_namelen = set_address(&mut self.names[i], datagram.to);
                header.msg_name = (&raw mut self.names[i]).cast();
                header.msg_iov = &raw mut self.iovecs[i];
                header.msg_iovlen = 1;
                header.msg_controllen = 0;
                if let Some(from) = datagram.from {
                    header.msg_controllen = set_source(&mut self.controls[i], from) as _;
                }
                header.msg_control = match datagram.from {
                    Some(_) => (&raw mut self.controls[i]).cast(),
                    None => std::ptr::null_mut(),
                };
                header.msg_flags = 0;
            }
            // SAFETY: every header points to a name in `self`, to a datagram that `rest` keeps alive, and to a control block
            // in `self` or none.
            let n = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    asked as u32,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if n > 0 {
                count.sent += n as u64;
                rest = &rest[n as usize..];
                continue;
            }
            let error = io::Error::last_os_error();
            // An address that this host has no more, or cannot send from to there: then from the one on the way.
            if may_be_the_source(&error) && rest[0].from.is_some() {
                let Datagram { to, ref bytes, of, .. } = rest[0];
                let plain = Datagram { from: None, to, bytes: bytes.clone(), of };
                count.add(self.send(socket, &[plain], failed));
                rest = &rest[1..];
                continue;
            }
            // The error is that of the first datagram: it is counted and left out, the others have their try.
            count.failed(&error);
            failed(&rest[0], &error);
            rest = &rest[1..];
        }
        count
    }
}

/// Whether another address to send from may help: Linux says of one that is not the host's that it is invalid, and of one
/// that no route leads from that there is no route.
fn may_be_the_source(error: &io::Error) -> bool {
    let of_the_source = [libc::EINVAL, libc::EADDRNOTAVAIL, libc::ENETUNREACH, libc::EHOSTUNREACH];
    error.raw_os_error().is_some_and(|number| of_the_source.contains(&number))
}

/// What the kernel tells of a datagram beside its sender: see [`Arrival`].
#[derive(Default)]
struct Told {
    received_ns: Option<u64>,
    drops: Option<u32>,
    to: Option<IpAddr>,
}

fn control_values(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel has filled the control block of this header and set its length; the macros stay within it,
    // and the data of each message is read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let t: libc::timespec = data.cast::<libc::timespec>().read_unaligned();
                    told.received_ns = Some(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.drops = Some(data.cast::<u32>().read_unaligned());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // The local address that it came to; the one in its header may be that of a group.
                    let info: libc::in_pktinfo = data.cast::<libc::in_pktinfo>().read_unaligned();
                    told.to = Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    told.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    told
}

/// Writes a control message that names the address to send from; how long the block is then.
fn set_source(control: &mut Control, from: IpAddr) -> usize {
    match from {
        IpAddr::V4(ip) => {
            let address = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: any };
            set_message(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        IpAddr::V6(ip) => {
            let address = libc::in6_addr { s6_addr: ip.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            set_message(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

fn set_message<T: Copy>(control: &mut Control, level: i32, kind: i32, value: T) -> usize {
    let size = size_of::<T>() as u32;
    // SAFETY: no pointers; the space of a message with a value of this size.
    let space = unsafe { libc::CMSG_SPACE(size) } as usize;
    assert!(space <= CONTROL);
    // SAFETY: all zero is a valid value of this C structure.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_control = (&raw mut *control).cast();
    header.msg_controllen = space as _;
    // SAFETY: the control block is aligned for a header and, as was checked, large enough for this one and its value; the
    // value is written unaligned.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
    }
    space
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is larger and aligned for it, holds this type.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // The flow label is no part of who the remote is.
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn set_address(name: &mut libc::sockaddr_storage, to: SocketAddr) -> u32 {
    match to {
        SocketAddr::V4(v4) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is larger than the value and aligned for it.
            unsafe { (&raw mut *name).cast::<libc::sockaddr_in>().write(value) };
            size_of::<libc::sockaddr_in>() as u32
        }
        SocketAddr::V6(v6) => {
            let value = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut *name).cast::<libc::sockaddr_in6>().write(value) };
            size_of::<libc::sockaddr_in6>() as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::realtime_ns;
    use crate::socket::{bind_pair, SocketOptions};

    const ALONE: SocketOptions = SocketOptions { separate: false, dscp: 46 };

    #[test]
    fn a_burst_arrives_whole_in_order_with_the_kernels_time_of_arrival() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let pair = bind_pair(local.parse().unwrap(), ALONE).unwrap();
            let to = pair.rtp_addr;
            let before = realtime_ns();
            let mut batch = Batch::new();
            let burst: Vec<Datagram> = (0..40u8)
                .map(|n| Datagram { to, from: None, bytes: vec![n; usize::from(n) + 1], of: 0 })
                .collect();
            assert_eq!(
                batch.send(&pair.rtp, &burst, &mut |_, _| {}),
                SendCount { sent: 40, ..Default::default() }
            );
            let mut got = Vec::new();
            let mut take = |a: Arrival<'_>| {
                assert_eq!(a.from, to);
                let time = a.received_ns.expect("a timestamp");
                assert!((before..=realtime_ns()).contains(&time));
                got.push(a.bytes.to_vec());
            };
            assert_eq!(batch.receive(&pair.rtp, 100, BUFFER, &mut take).unwrap(), (BATCH, false));
            assert_eq!(
                batch.receive(&pair.rtp, 100, BUFFER, &mut take).unwrap(),
                (40 - BATCH, true)
            );
            assert_eq!(batch.receive(&pair.rtp, 100, BUFFER, &mut take).unwrap(), (0, true));
            assert_eq!(got, burst.into_iter().map(|d| d.bytes).collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_a_datagram_that_is_too_long_no_more_is_copied_than_was_asked_for() {
        let pair = bind_pair("127.0.0.1:0".parse().unwrap(), ALONE).unwrap();
        let mut batch = Batch::new();
        batch.bytes.fill(0xee);
        let datagram = |len| Datagram { to: pair.rtp_addr, from: None, bytes: vec![7; len], of: 0 };
        batch.send(&pair.rtp, &[datagram(60_000), datagram(100), datagram(101)], &mut |_, _| {});
        let mut lengths = Vec::new();
        batch.receive(&pair.rtp, 9, 100, |a| lengths.push(a.bytes.len())).unwrap();
        assert_eq!(lengths, [100; 3]);
        assert!(batch.bytes[..STRIDE].iter().skip(100).all(|octet| *octet == 0xee));
    }

    #[test]
    fn one_datagram_that_cannot_be_sent_does_not_keep_the_others() {
        let pair = bind_pair("127.0.0.1:0".parse().unwrap(), ALONE).unwrap();
        let good = Datagram { to: pair.rtp_addr, from: None, bytes: vec![1], of: 0 };
        let unreachable =
            Datagram { to: "[::1]:9".parse().unwrap(), from: None, bytes: vec![2], of: 0 };
        let oversized = Datagram { to: pair.rtp_addr, from: None, bytes: vec![3; 70_000], of: 0 };
        let count = Batch::new().send(&pair.rtp, &[unreachable, good, oversized], &mut |_, _| {});
        assert_eq!((count.sent, count.errors), (1, 2));
    }
    #[test]
    fn a_socket_on_all_addresses_tells_which_one_a_datagram_came_to_and_sends_from_it() {
        for (any, first, second) in
            [("0.0.0.0:0", "127.0.0.1", "127.0.0.2"), ("[::]:0", "::1", "::1")]
        {
            let ours = bind_pair(any.parse().unwrap(), ALONE).unwrap();
            let mut batch = Batch::new();
            for host in [second, first] {
                let host: IpAddr = host.parse().unwrap();
                let far = bind_pair(SocketAddr::new(first.parse().unwrap(), 0), ALONE).unwrap();
                let to = SocketAddr::new(host, ours.rtp_addr.port());
                far.rtp.send_to(b"?", to).unwrap();
                let mut came = Vec::new();
                batch.receive(&ours.rtp, 9, BUFFER, |a| came.push((a.from, a.to))).unwrap();
                assert_eq!(came, [(far.rtp_addr, Some(host))]);
                let answer =
                    Datagram { to: far.rtp_addr, from: Some(host), bytes: vec![b'!'], of: 0 };
                assert_eq!(batch.send(&ours.rtp, &[answer], &mut |_, _| {}).sent, 1);
                let mut buffer = [0; 9];
                assert_eq!(far.rtp.recv_from(&mut buffer).unwrap(), (1, to), "from that address");
            }
        }
        // One that this host has no more.
        let ours = bind_pair("0.0.0.0:0".parse().unwrap(), ALONE).unwrap();
        let far = bind_pair("127.0.0.1:0".parse().unwrap(), ALONE).unwrap();
        let gone = Some("203.0.113.1".parse().unwrap());
        let answer = Datagram { to: far.rtp_addr, from: gone, bytes: vec![1], of: 0 };
        let count = Batch::new().send(&ours.rtp, &[answer], &mut |_, _| {});
        assert_eq!((count.sent, count.errors), (1, 0));
        // Where it is not the source, another one does not help.
        let oversized = Datagram { to: far.rtp_addr, from: gone, bytes: vec![1; 70_000], of: 0 };
        let count = Batch::new().send(&ours.rtp, &[oversized], &mut |_, _| {});
        assert_eq!((count.sent, count.errors), (0, 1));
        for (number, helps) in [
            (libc::EINVAL, true),
            (libc::EADDRNOTAVAIL, true),
            (libc::ENETUNREACH, true),
            (libc::EMSGSIZE, false),
            (libc::ENOBUFS, false),
            (libc::EAGAIN, false),
            (libc::ECONNREFUSED, false),
        ] {
            assert_eq!(may_be_the_source(&io::Error::from_raw_os_error(number)), helps, "{number}");
        }
    }
}
