//! Clocks, absolute sleeps and percentiles.

/// CLOCK_MONOTONIC in ns.
pub fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC).expect("the monotonic clock always exists")
}

/// CLOCK_REALTIME in ns: the clock of the kernel's receive timestamps.
pub fn realtime() -> u64 {
    read(libc::CLOCK_REALTIME).expect("the wall clock always exists")
}

/// CPU time of this process, all threads, in ns.
pub fn own_cpu() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID).expect("a process has a CPU clock")
}

/// CPU time (user and system, all threads, ended ones included) of another process in ns; `None` when it is gone.
pub fn cpu_of(pid: i32) -> Option<u64> {
    // The kernel's encoding of a process's CPU clock, CPUCLOCK_SCHED: what clock_getcpuclockid(3) makes.
    read((!pid << 3) | 2)
}

/// Sleeps until CLOCK_MONOTONIC shows `deadline`.
pub fn sleep_until(deadline: u64) {
    let t = libc::timespec {
        tv_sec: (deadline / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
    };
    loop {
        // SAFETY: `t` is a valid timespec; an absolute sleep needs no remainder.
        let result = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &t,
                std::ptr::null_mut(),
            )
        };
        if result != libc::EINTR {
            return;
        }
    }
}

/// Timers of the calling thread expire when they should; by default the kernel may be 50 µs late.
pub fn exact_timers() {
    // SAFETY: takes one integer, concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Exact timers, and for the calling thread the highest priority it may have: what it measures must not be its own
/// waiting for a core. Not for the floors, which are to be plain.
pub fn promptly() {
    exact_timers();
    // SAFETY: no pointers. Refused without the privilege, and then the figures of the generator's lateness tell.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, libc::gettid() as libc::id_t, -20) };
}

/// p50, p99, p99.9 and the largest of `values`, which it sorts, as JSON.
pub fn summary(values: &mut [u32]) -> String {
    values.sort_unstable();
    let at = |share: f64| {
        let index = (values.len() as f64 * share) as usize;
        values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), at(1.0));
    format!("{{\"p50\":{p50},\"p99\":{p99},\"p999\":{p999},\"max\":{max}}}")
}

fn read(clock: libc::clockid_t) -> Option<u64> {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid, writable timespec.
    let result = unsafe { libc::clock_gettime(clock, &mut t) };
    (result == 0).then(|| t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}
