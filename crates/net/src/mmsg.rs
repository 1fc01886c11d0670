//! Datagrams in batches on Linux: recvmmsg with the kernel's receive timestamps, and sendmmsg.

use crate::socket::{Arrival, Datagram, SendCount};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

/// Datagrams taken by one system call.
const BATCH: usize = 32;
/// The largest datagram there is. Pages of it that nothing is written to are never backed by memory.
const BUFFER: usize = 65_536;
/// The buffers lie this far apart, so that their beginnings do not all fall into the same set of the cache.
const STRIDE: usize = BUFFER + 192;
/// Room for a timestamp and a drop count as control messages, each with its header.
const CONTROL: usize = 96;

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

    /// Receives up to `limit` datagrams, hands each to `take`, and says how many there were and whether that was all.
    pub fn receive(
        &mut self,
        socket: &impl AsRawFd,
        limit: usize,
        mut take: impl FnMut(Arrival<'_>),
    ) -> io::Result<(usize, bool)> {
        let asked = limit.min(BATCH);
        for i in 0..asked {
            self.iovecs[i] = libc::iovec {
                iov_base: self.bytes[i * STRIDE..].as_mut_ptr().cast(),
                iov_len: BUFFER,
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
            let (received_ns, drops) = control_values(&self.headers[i].msg_hdr);
            take(Arrival {
                from,
                bytes: &self.bytes[i * STRIDE..i * STRIDE + length.min(BUFFER)],
                received_ns,
                drops,
            });
        }
        Ok((n, n < asked))
    }

    /// Sends all of `datagrams` from one socket, in order.
    pub fn send(&mut self, socket: &impl AsRawFd, datagrams: &[Datagram]) -> SendCount {
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
                header.msg_control = std::ptr::null_mut();
                header.msg_controllen = 0;
                header.msg_flags = 0;
            }
            // SAFETY: every header points to a name in `self` and to a datagram that `rest` keeps alive.
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
            // The error is that of the first datagram: it is counted and left out, the others have their try.
            count.failed(&io::Error::last_os_error());
            rest = &rest[1..];
        }
        count
    }
}

/// The kernel's receive time in CLOCK_REALTIME ns, and the socket's count of datagrams dropped so far.
fn control_values(header: &libc::msghdr) -> (Option<u64>, Option<u32>) {
    let (mut received, mut drops) = (None, None);
    // SAFETY: the kernel has filled the control block of this header and set its length; the macros stay within it,
    // and the data of each message is read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let t: libc::timespec = data.cast::<libc::timespec>().read_unaligned();
                    received = Some(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    drops = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (received, drops)
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
    use crate::socket::bind_pair;

    #[test]
    fn a_burst_arrives_whole_in_order_with_the_kernels_time_of_arrival() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let pair = bind_pair(local.parse().unwrap(), false).unwrap();
            let to = pair.rtp_addr;
            let before = realtime_ns();
            let mut batch = Batch::new();
            let burst: Vec<Datagram> =
                (0..40u8).map(|n| Datagram { to, bytes: vec![n; usize::from(n) + 1] }).collect();
            assert_eq!(batch.send(&pair.rtp, &burst), SendCount { sent: 40, ..Default::default() });
            let mut got = Vec::new();
            let mut take = |a: Arrival<'_>| {
                assert_eq!(a.from, to);
                let time = a.received_ns.expect("a timestamp");
                assert!((before..=realtime_ns()).contains(&time));
                got.push(a.bytes.to_vec());
            };
            assert_eq!(batch.receive(&pair.rtp, 100, &mut take).unwrap(), (BATCH, false));
            assert_eq!(batch.receive(&pair.rtp, 100, &mut take).unwrap(), (40 - BATCH, true));
            assert_eq!(batch.receive(&pair.rtp, 100, &mut take).unwrap(), (0, true));
            assert_eq!(got, burst.into_iter().map(|d| d.bytes).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_datagram_that_cannot_be_sent_does_not_keep_the_others() {
        let pair = bind_pair("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let good = Datagram { to: pair.rtp_addr, bytes: vec![1] };
        let unreachable = Datagram { to: "[::1]:9".parse().unwrap(), bytes: vec![2] };
        let oversized = Datagram { to: pair.rtp_addr, bytes: vec![3; 70_000] };
        let count = Batch::new().send(&pair.rtp, &[unreachable, good, oversized]);
        assert_eq!((count.sent, count.errors), (1, 2));
    }
}
