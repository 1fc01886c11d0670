//! What the engine asks of Linux beyond the standard library: clock, waiting, a wake-up descriptor and prompt
//! scheduling. Datagrams in batches are in `mmsg`.

use crate::wait::Measures;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME in nanoseconds since the Unix epoch: the clock of the kernel's receive timestamps.
pub fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid, writable timespec; both clocks always exist, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Sleeps while `*word == expected`, until woken or until CLOCK_MONOTONIC shows `deadline_ns` (`None`: for ever). May
/// return early. The deadline is absolute: being preempted just before the call does not add to the sleep.
pub fn futex_wait(word: &AtomicU32, expected: u32, deadline_ns: Option<u64>) {
    let deadline = deadline_ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    });
    let timeout = deadline.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `word` outlives the call, `timeout` is null or a timespec on this stack frame. FUTEX_WAIT_BITSET takes
    // an absolute CLOCK_MONOTONIC time. The result is of no interest: every caller looks at the clock again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout,
            std::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
}

/// Wakes the thread that sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: `word` outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        )
    };
}

/// Asks the scheduler to run the calling thread as soon as its timer expires, by these measures. Each is taken if it is
/// allowed, and none is needed for correctness.
pub fn schedule_promptly(measures: Measures) {
    if measures.exact_timers {
        // SAFETY: PR_SET_TIMERSLACK takes one integer and concerns the calling thread only.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
    }
    if measures.realtime && sched_setattr(libc::SCHED_RR as u32, 0, 1, Duration::ZERO).is_ok() {
        return;
    }
    // 100 µs is the least the kernel takes, and some ten calls are served in it.
    let slice = if measures.short_slice { Duration::from_micros(100) } else { Duration::ZERO };
    // SAFETY: no pointers.
    let present = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let wanted = if measures.high_priority { present.min(-15) } else { present };
    // The nice level needs a privilege that a container's root often lacks; then it stays as it is.
    if sched_setattr(libc::SCHED_OTHER as u32, wanted, 0, slice).is_err() {
        let _ = sched_setattr(libc::SCHED_OTHER as u32, present, 0, slice);
    }
}

/// `struct sched_attr` of sched_setattr(2), as of its first version (48 bytes).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn sched_setattr(policy: u32, nice: i32, priority: u32, slice: Duration) -> io::Result<()> {
    let runtime = slice.as_nanos() as u64;
    let size = size_of::<SchedAttr>() as u32;
    let attr =
        SchedAttr { size, policy, flags: 0, nice, priority, runtime, deadline: 0, period: 0 };
    // SAFETY: `attr` is as the kernel expects it and says its own size; thread 0 is the caller.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A descriptor that is readable while rung.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// One that is not rung.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers; the descriptor is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        own(fd).map(EventFd)
    }

    /// Makes it readable.
    pub fn ring(&self) {
        let one = 1u64;
        // SAFETY: eight readable bytes. A full counter is readable already.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight writable bytes. The descriptor does not block.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }

    /// The descriptor, which stays owned here.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_prompt_scheduling_is_allowed_to_be_refused() {
        std::thread::spawn(|| schedule_promptly(Measures::default())).join().unwrap();
        assert!(sched_setattr(99, 0, 0, Duration::ZERO).is_err(), "an unknown policy is an error");
    }
}
