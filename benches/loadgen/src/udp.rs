//! UDP sockets on loopback, read with the kernel's receive timestamps.

use crate::clock;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A socket for RTP on an even port; its neighbour for RTCP is bound too and never read, so that reports meet no ICMP
/// error, which would cost their sender more than a real peer does.
pub struct Pair {
    pub rtp: UdpSocket,
    pub port: u16,
    _rtcp: UdpSocket,
}

/// Binds `count` pairs to free ports.
pub fn bind_pairs(count: usize) -> io::Result<Vec<Pair>> {
    (0..count).map(|_| bind_pair()).collect()
}

fn bind_pair() -> io::Result<Pair> {
    for _ in 0..100 {
        let rtp = UdpSocket::bind("127.0.0.1:0")?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0 {
            if let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1)) {
                rtp.set_nonblocking(true)?;
                timestamp(&rtp)?;
                return Ok(Pair { rtp, port, _rtcp: rtcp });
            }
        }
    }
    Err(io::Error::other("found no free pair of ports"))
}

fn timestamp(socket: &UdpSocket) -> io::Result<()> {
    for (option, value) in [(libc::SO_TIMESTAMPNS, 1), (libc::SO_RCVBUF, 1 << 20)] {
        // SAFETY: the option value is an int that lives through the call, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Reads many sockets without being woken by them: it looks every two milliseconds, and the kernel's timestamps say
/// when each datagram arrived. A sender therefore never pays for waking its receiver, as it would not pay for a peer
/// at the other end of a network.
pub struct Collector {
    epoll: OwnedFd,
    sockets: Vec<UdpSocket>,
    next_look: u64,
}

const LOOK_EVERY_NS: u64 = 2_000_000;

impl Collector {
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Collector> {
        // SAFETY: no pointers; the descriptor is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        for (index, socket) in sockets.iter().enumerate() {
            watch(&epoll, socket, index)?;
        }
        Ok(Collector { epoll, sockets, next_look: clock::now() })
    }

    /// Sleeps until the next look, then hands over every datagram that has arrived: socket, CLOCK_MONOTONIC time of
    /// arrival in ns, bytes.
    pub fn look(&mut self, mut take: impl FnMut(usize, u64, &[u8])) -> io::Result<()> {
        self.next_look = (self.next_look + LOOK_EVERY_NS).max(clock::now());
        clock::sleep_until(self.next_look);
        // Taken anew at every look: the wall clock may be slewed meanwhile, by milliseconds a minute.
        let offset = clock::realtime().wrapping_sub(clock::now());
        let mut buffer = [0; 2048];
        loop {
            // SAFETY: an epoll_event is plain data.
            let mut events: [libc::epoll_event; 256] = unsafe { zeroed() };
            // SAFETY: `events` is that long and writable; a timeout of 0 returns at once.
            let ready = unsafe {
                libc::epoll_wait(
                    self.epoll.as_raw_fd(),
                    events.as_mut_ptr(),
                    events.len() as i32,
                    0,
                )
            };
            if ready <= 0 {
                return Ok(());
            }
            for event in &events[..ready as usize] {
                let index = event.u64 as usize;
                match receive(&self.sockets[index], &mut buffer) {
                    Ok((length, stamp)) => {
                        take(index, stamp.wrapping_sub(offset), &buffer[..length]);
                    }
                    // An ICMP error of a datagram that met a closed port: the count of echoes will tell.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Has `epoll` report `socket` as `index` while it is readable.
pub fn watch(epoll: &OwnedFd, socket: &UdpSocket, index: usize) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
    // SAFETY: `event` is valid for the call, and the kernel copies it.
    let result = unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One datagram and its CLOCK_REALTIME receive time in ns.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, u64)> {
    // Aligned as a cmsghdr has to be.
    let mut control = [0u64; 16];
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is plain data; its pointers are set next and live through the call.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<[u64; 16]>();
    // SAFETY: the message points to writable memory of the sizes given.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel filled the control buffer and says how far; the macros stay within that.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET
                && (*header).cmsg_type == libc::SCM_TIMESTAMPNS
            {
                let t: libc::timespec =
                    libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
                let ns = t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
                return Ok((length as usize, ns));
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Err(io::Error::other("the kernel gave no receive timestamp"))
}
