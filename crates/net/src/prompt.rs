//! How a media thread gets to run as soon as its timer expires, on a machine that has other things to do.

/// What a thread may ask of the scheduler so that it runs as soon as its timer expires, without which a busy machine
/// makes it late by milliseconds. `examples/wake_lateness.rs` measures what each brings. All are Linux's.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// Timers that expire when they should: by default the kernel may be 50 µs late, to coalesce wake-ups.
    pub exact_timers: bool,
    /// A short slice in EEVDF: an early virtual deadline, by which it preempts a thread that spins (Linux 6.12 and
    /// later; older kernels ignore it). Needs no privilege, and is what brings most.
    pub short_slice: bool,
    /// A high nice level, where the process may take one.
    pub high_priority: bool,
    /// Real-time scheduling, where the process may have it: the thread runs before everything that is not, which no other
    /// measure achieves on an overloaded machine. It is asked for because a media thread's work is bounded: a fraction of a
    /// core for hundreds of calls, and the kernel keeps 5 % of every core from real-time threads.
    pub realtime: bool,
}

impl Default for Measures {
    fn default() -> Measures {
        Measures { exact_timers: true, short_slice: true, high_priority: true, realtime: true }
    }
}

/// Takes the measures for the calling thread, as far as the platform has them and the process may.
pub fn schedule_promptly(measures: Measures) {
    #[cfg(target_os = "linux")]
    linux::take(measures);
    let _ = measures;
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Measures;
    use std::io;
    use std::time::Duration;

    /// Asks the scheduler to run the calling thread as soon as its timer expires, by these measures. Each is taken if it is
    /// allowed, and none is needed for correctness.
    pub fn take(measures: Measures) {
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

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn asking_for_prompt_scheduling_is_allowed_to_be_refused() {
            std::thread::spawn(|| take(Measures::default())).join().unwrap();
            assert!(
                sched_setattr(99, 0, 0, Duration::ZERO).is_err(),
                "an unknown policy is an error"
            );
        }
    }
}
