//! The bell of an event loop: a descriptor that is readable while something waits.

use crate::fork::Private;
use std::io;
use std::net::UdpSocket;

/// An eventfd on Linux; elsewhere, where a loop may watch sockets only, a pair of connected UDP sockets on loopback.
#[derive(Debug)]
pub enum Wake {
    /// Linux.
    #[cfg(target_os = "linux")]
    Event(crate::linux::EventFd),
    /// Everywhere.
    Pair {
        /// The loop watches this end.
        reader: Private<UdpSocket>,
        /// The media threads write to this one.
        writer: Private<UdpSocket>,
    },
}

impl Wake {
    /// The best one of this platform.
    pub fn new() -> io::Result<Wake> {
        #[cfg(target_os = "linux")]
        return crate::linux::EventFd::new().map(Wake::Event);
        #[cfg(not(target_os = "linux"))]
        Wake::pair()
    }

    /// The one that works everywhere.
    pub fn pair() -> io::Result<Wake> {
        let reader = UdpSocket::bind("127.0.0.1:0")?;
        let writer = UdpSocket::bind("127.0.0.1:0")?;
        // Connected both ways: no other program can ring, and none can be reached.
        reader.connect(writer.local_addr()?)?;
        writer.connect(reader.local_addr()?)?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Wake::Pair { reader: Private::new(reader), writer: Private::new(writer) })
    }

    /// Makes the descriptor readable. Never waits.
    pub fn ring(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Wake::Event(event) => event.ring(),
            Wake::Pair { writer, .. } => {
                // A full buffer means that it is readable already.
                let _ = writer.send(&[1]);
            }
        }
    }

    /// Makes the descriptor unreadable.
    pub fn clear(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Wake::Event(event) => event.clear(),
            Wake::Pair { reader, .. } => {
                // The inbox rings once per drain, so there are few to read; the bound is for a writer in between.
                for _ in 0..16 {
                    if reader.recv(&mut [0]).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// The descriptor, or on Windows the socket, to watch for reading.
    pub fn fileno(&self) -> i64 {
        match self {
            #[cfg(target_os = "linux")]
            Wake::Event(event) => i64::from(event.fd()),
            #[cfg(unix)]
            Wake::Pair { reader, .. } => i64::from(std::os::fd::AsRawFd::as_raw_fd(reader)),
            #[cfg(windows)]
            Wake::Pair { reader, .. } => {
                std::os::windows::io::AsRawSocket::as_raw_socket(&**reader) as i64
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn readable(wake: &Wake) -> bool {
        let mut poll = libc::pollfd { fd: wake.fileno() as i32, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; a timeout of 0 returns at once.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn it_is_readable_from_the_first_ring_until_cleared() {
        for wake in [Wake::new().unwrap(), Wake::pair().unwrap()] {
            assert!(!readable(&wake));
            wake.ring();
            wake.ring();
            assert!(readable(&wake));
            wake.clear();
            assert!(!readable(&wake));
            wake.clear();
            wake.ring();
            assert!(readable(&wake), "{wake:?}");
        }
    }
}
