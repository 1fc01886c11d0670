//! How a media thread sleeps: until an absolute deadline, or until somebody has an order for it.

use crate::clock;
use roomkit_media::time::Time;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::thread::Thread;

/// The bed of one media thread. A wake that comes while it is up is kept for its next sleep, so none is lost.
#[derive(Debug)]
pub struct Waiter {
    /// 1 after a wake that the thread has not seen.
    woken: AtomicU32,
    portable: bool,
    /// Whom to unpark on the portable path.
    sleeper: OnceLock<Thread>,
}

impl Waiter {
    /// `portable` parks through the standard library instead of an absolute futex wait.
    pub fn new(portable: bool) -> Waiter {
        let portable = portable || !cfg!(target_os = "linux");
        Waiter { woken: AtomicU32::new(0), portable, sleeper: OnceLock::new() }
    }

    /// Sleeps until `deadline` (`None`: for ever) or a wake. Only one thread may ever call this.
    pub fn wait(&self, deadline: Option<Time>) {
        if self.portable {
            self.sleeper.get_or_init(std::thread::current);
        }
        loop {
            if self.woken.swap(0, Ordering::SeqCst) == 1 {
                return;
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return;
            }
            self.sleep(deadline);
        }
    }

    /// Ends the present sleep, or else the next.
    pub fn wake(&self) {
        if self.woken.swap(1, Ordering::SeqCst) == 1 {
            return;
        }
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
            return;
        }
        #[cfg(target_os = "linux")]
        crate::linux::futex_wake(&self.woken);
    }

    fn sleep(&self, deadline: Option<Time>) {
        #[cfg(target_os = "linux")]
        if !self.portable {
            crate::linux::futex_wait(&self.woken, 0, deadline.map(Time::as_ns));
            return;
        }
        match deadline {
            None => std::thread::park(),
            Some(deadline) => std::thread::park_timeout(deadline - clock::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_sleep_ends_at_its_deadline_and_not_before() {
        for portable in [false, true] {
            let waiter = Waiter::new(portable);
            let deadline = clock::now() + Duration::from_millis(3);
            waiter.wait(Some(deadline));
            assert!(clock::now() >= deadline);
            waiter.wait(Some(Time::ZERO));
        }
    }

    #[test]
    fn a_wake_before_the_sleep_is_not_lost_and_one_within_it_ends_it() {
        for portable in [false, true] {
            let waiter = Arc::new(Waiter::new(portable));
            waiter.wake();
            let (told, heard) = std::sync::mpsc::channel();
            let sleeper = std::thread::spawn({
                let waiter = waiter.clone();
                move || {
                    waiter.wait(None);
                    told.send(()).unwrap();
                    waiter.wait(None);
                }
            });
            heard.recv().unwrap();
            waiter.wake();
            sleeper.join().unwrap();
        }
    }
}
