//! The floor of an echo server: what a plain C program would do, in the same calls to the kernel.
//!
//! One thread, one epoll, one recvfrom and one sendto per datagram; no RTP, no audio, no jitter buffer.

use crate::udp::{bind_pairs, watch};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// After its ports it reads a line that it does not need, and serves until its standard input ends.
pub fn run(calls: usize) -> io::Result<()> {
    let pairs = bind_pairs(calls)?;
    crate::print_ports(pairs.iter().map(|pair| pair.port))?;
    std::thread::spawn(|| {
        crate::wait_for_end_of_input();
        std::process::exit(0);
    });
    // SAFETY: no pointers; the descriptor is checked before it is owned.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else owns it.
    let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut sockets = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        // A plain program asks for no timestamps.
        let off: libc::c_int = 0;
        // SAFETY: the option value is an int that lives through the call, and its size is given.
        unsafe {
            libc::setsockopt(
                pair.rtp.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPNS,
                (&raw const off).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        watch(&epoll, &pair.rtp, index)?;
        sockets.push(pair.rtp.as_raw_fd());
    }
    let mut buffer = [0u8; 2048];
    loop {
        // SAFETY: an epoll_event is plain data.
        let mut events: [libc::epoll_event; 64] = unsafe { zeroed() };
        // SAFETY: `events` is that long and writable.
        let ready = unsafe {
            libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, -1)
        };
        for event in &events[..ready.max(0) as usize] {
            let socket = sockets[event.u64 as usize];
            // SAFETY: a sockaddr_storage is plain data; buffer, address and lengths are writable and of the sizes given.
            unsafe {
                let mut from: libc::sockaddr_storage = zeroed();
                let mut from_length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                let from_pointer = (&raw mut from).cast();
                let length = libc::recvfrom(
                    socket,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                    from_pointer,
                    &mut from_length,
                );
                if length > 0 {
                    let length = length as usize;
                    libc::sendto(
                        socket,
                        buffer.as_ptr().cast(),
                        length,
                        0,
                        from_pointer,
                        from_length,
                    );
                }
            }
        }
    }
}
