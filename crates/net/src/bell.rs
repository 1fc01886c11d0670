//! How media threads tell an inbox that sessions have something for it.
//!
//! A session that has items stands in the *ready list* once, however many items it has. Media threads add to the list
//! and ring; the program takes the whole list and empties the sessions in it. Nobody waits for anybody: the list is a
//! stack that is pushed by compare-and-swap and taken as a whole, which leaves no room for the ABA problem.

use crate::line::Line;
use crate::wake::Wake;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Arc;

/// What the media threads know of an inbox.
#[derive(Debug)]
pub struct Bell {
    wake: Wake,
    /// Rung since the last drain: no need to ring again.
    rung: AtomicBool,
    closed: AtomicBool,
    /// The ready list: each line in it is owned once by the list (`Arc::into_raw`).
    ready: AtomicPtr<Line>,
}

impl Bell {
    /// That of an inbox which `wake` wakes.
    pub fn new(wake: Wake) -> Bell {
        Bell {
            wake,
            rung: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ready: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The descriptor that is readable from a ring until the answer.
    pub fn fileno(&self) -> i64 {
        self.wake.fileno()
    }

    /// Silences the bell and takes the ready list, oldest first.
    pub fn answer(&self) -> Vec<Arc<Line>> {
        // First clear, then take: what is put in between rings again, so a wake may be one too many but never one too few.
        self.wake.clear();
        self.rung.store(false, Ordering::SeqCst);
        self.take_all()
    }

    /// From now on whatever is put into the ready list is dropped.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.take_all());
    }

    /// Puts a session into the ready list, if it does not stand there yet. [`ring`](Self::ring) must follow.
    pub fn put(&self, line: &Arc<Line>) {
        if !line.mark_ready() {
            return;
        }
        let new = Arc::into_raw(line.clone()).cast_mut();
        let mut head = self.ready.load(Ordering::Relaxed);
        loop {
            line.set_next_ready(head);
            match self.ready.compare_exchange_weak(head, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if self.closed.load(Ordering::SeqCst) {
            // Whoever closed may have looked before this line stood in the list.
            drop(self.take_all());
        }
    }

    /// Wakes the event loop, once until it drains.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.wake.ring();
        }
    }

    /// Takes the whole list, oldest first.
    fn take_all(&self) -> Vec<Arc<Line>> {
        let mut head = self.ready.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut lines = Vec::new();
        while !head.is_null() {
            // SAFETY: every pointer in the list came from `Arc::into_raw` in `put`, and the swap above made this call
            // the only owner of the list: each is turned back exactly once.
            let line = unsafe { Arc::from_raw(head.cast_const()) };
            head = line.next_ready();
            lines.push(line);
        }
        lines.reverse();
        lines
    }
}
