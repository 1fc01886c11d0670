//! What a forked child must not keep: sockets, whose ports would stay taken for as long as it lives, and the wake-ups of
//! event loops, which it would share with its parent.
//!
//! A child has one thread, and whatever the others held at the moment of the fork is held for ever. So a handler of the C
//! library's, which a fork of any kind runs, puts an empty socket in the place of each descriptor, and takes no lock for it:
//! the numbers stay taken, so that nothing that still owns one can close what the child opens later.

use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};

/// A descriptor of this process alone.
#[derive(Debug)]
pub struct Private<T> {
    /// Dropped before the descriptor is closed: its number may be another's right after.
    #[cfg(unix)]
    _entry: unix::Entry,
    inner: T,
}

#[cfg(unix)]
impl<T: AsRawFd> Private<T> {
    /// Keeps it from children.
    pub fn new(inner: T) -> Private<T> {
        Private { _entry: unix::Entry::new(inner.as_raw_fd()), inner }
    }
}

#[cfg(not(unix))]
impl<T> Private<T> {
    /// There are no forks here.
    pub fn new(inner: T) -> Private<T> {
        Private { inner }
    }
}

impl<T> Deref for Private<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

#[cfg(unix)]
impl<T: AsRawFd> AsRawFd for Private<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

#[cfg(unix)]
mod unix {
    use std::os::fd::RawFd;
    use std::ptr;
    use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
    use std::sync::Once;

    /// Places for descriptors, -1 where there is none; more where these are taken. They are never given back, and there
    /// are as many as there ever were descriptors at a time.
    #[derive(Debug)]
    struct Places {
        fds: [AtomicI32; 128],
        more: AtomicPtr<Places>,
    }

    static PLACES: Places = Places::new();

    impl Places {
        const fn new() -> Places {
            Places {
                fds: [const { AtomicI32::new(-1) }; 128],
                more: AtomicPtr::new(ptr::null_mut()),
            }
        }

        /// The next ones, if there are any.
        fn next(&self) -> Option<&'static Places> {
            // SAFETY: null, or from `Box::leak` in `grow`: valid for ever.
            unsafe { self.more.load(Ordering::SeqCst).as_ref() }
        }

        fn grow(&self) -> &'static Places {
            let new = ptr::from_mut(Box::leak(Box::new(Places::new())));
            let old = ptr::null_mut();
            match self.more.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                // SAFETY: leaked above.
                Ok(_) => unsafe { &*new },
                Err(other) => {
                    // SAFETY: `new` is from a box and nobody has seen it; `other` is as `next` says.
                    unsafe {
                        drop(Box::from_raw(new));
                        &*other
                    }
                }
            }
        }
    }

    /// The place of one descriptor.
    #[derive(Debug)]
    pub struct Entry(&'static AtomicI32);

    impl Entry {
        pub fn new(fd: RawFd) -> Entry {
            static HANDLER: Once = Once::new();
            // SAFETY: the handler is a function for ever, and does only what a child may do.
            HANDLER.call_once(|| unsafe {
                libc::pthread_atfork(None, None, Some(in_the_child));
            });
            let mut places = &PLACES;
            loop {
                let free = places.fds.iter().find(|place| {
                    place.compare_exchange(-1, fd, Ordering::SeqCst, Ordering::Relaxed).is_ok()
                });
                match free {
                    Some(place) => return Entry(place),
                    None => places = places.next().unwrap_or_else(|| places.grow()),
                }
            }
        }
    }

    impl Drop for Entry {
        fn drop(&mut self) {
            self.0.store(-1, Ordering::SeqCst);
        }
    }

    extern "C" fn in_the_child() {
        let mut places = Some(&PLACES);
        while let Some(some) = places {
            for place in &some.fds {
                let fd = place.load(Ordering::SeqCst);
                if fd >= 0 {
                    empty(fd);
                }
            }
            places = some.next();
        }
    }

    /// Puts a socket that is bound to nothing in the place of a descriptor. Async-signal-safe; the caller is the only thread.
    fn empty(fd: RawFd) {
        // SAFETY: no pointers. The descriptor is closed first, so that there is room for another one, which the lowest
        // free number is given.
        unsafe {
            libc::close(fd);
            let other = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
            if other >= 0 && other != fd {
                libc::dup2(other, fd);
                libc::close(other);
            }
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// Runs `check` in a forked child, which lives until the parent has run `meanwhile`; whether it was true. The child may
    /// do only what is async-signal-safe.
    fn forked(check: impl FnOnce() -> bool, meanwhile: impl FnOnce()) -> bool {
        let mut ends = [0; 2];
        let mut byte = 0u8;
        // SAFETY: room for two descriptors and for one byte; the child does nothing but write, read, check and end.
        unsafe {
            assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()), 0);
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                libc::close(ends[1]);
                libc::write(ends[0], (&raw const byte).cast(), 1);
                libc::read(ends[0], (&raw mut byte).cast(), 1);
                libc::_exit(i32::from(!check()));
            }
            libc::close(ends[0]);
            assert_eq!(libc::read(ends[1], (&raw mut byte).cast(), 1), 1, "the child is there");
            meanwhile();
            libc::close(ends[1]);
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }

    /// Whether this is a socket without an address.
    fn is_empty(fd: RawFd) -> bool {
        // SAFETY: room for any address, and its length.
        unsafe {
            let mut address: libc::sockaddr_storage = std::mem::zeroed();
            let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            let address_of = (&raw mut address).cast();
            libc::getsockname(fd, address_of, &raw mut length) == 0
                && i32::from(address.ss_family) == libc::AF_UNIX
        }
    }

    #[test]
    fn a_child_holds_no_socket_and_the_parent_keeps_its_own() {
        let bound = |_| Private::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut sockets: Vec<Private<UdpSocket>> = (0..300).map(bound).collect();
        let last = sockets.pop().unwrap();
        let (fds, addr): (Vec<RawFd>, _) =
            (sockets.iter().map(AsRawFd::as_raw_fd).collect(), last.local_addr().unwrap());
        let held = last.as_raw_fd();
        let empty = forked(
            || fds.iter().all(|fd| is_empty(*fd)) && is_empty(held),
            || {
                drop(last);
                UdpSocket::bind(addr).expect("the child does not hold the port");
            },
        );
        assert!(empty);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap().is_ipv4()));
    }

    #[test]
    fn what_was_closed_before_is_none_of_the_childs_business() {
        let socket = Private::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        drop(socket);
        // Likely under the same number.
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = other.as_raw_fd();
        assert!(forked(|| !is_empty(fd), || {}));
    }
}
