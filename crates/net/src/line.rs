//! The inbound half of a session's border, the program's end: what the session has for it, in order.

use crate::item::Item;
use rtrb::{Consumer, Producer, RingBuffer};
use std::collections::VecDeque;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The program's end. It stands in the inbox's ready list while it has something.
#[derive(Debug)]
pub struct Line {
    key: u64,
    items: Mutex<Consumer<Item>>,
    /// What still waited when the session ended: set once, so that the media thread need not wait for a lock.
    tail: OnceLock<Mutex<VecDeque<Item>>>,
    ready: AtomicBool,
    next_ready: AtomicPtr<Line>,
}

impl Line {
    /// That of session `key`, with room for so many items, and where they are put in.
    pub fn open(key: u64, places: usize) -> (Arc<Line>, Producer<Item>) {
        let (items, taker) = RingBuffer::new(places);
        let line = Arc::new(Line {
            key,
            items: Mutex::new(taker),
            tail: OnceLock::new(),
            ready: AtomicBool::new(false),
            next_ready: AtomicPtr::new(ptr::null_mut()),
        });
        (line, items)
    }

    /// The session is over, and this comes behind what is in the ring. To be said once.
    pub fn end_with(&self, tail: VecDeque<Item>) {
        let _ = self.tail.set(Mutex::new(tail));
    }

    /// The session's key.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Hands up to `limit` items to `take` and says how many there were.
    pub fn take_items(&self, limit: usize, take: &mut impl FnMut(u64, Item)) -> usize {
        let mut items = lock(&self.items);
        let mut taken = 0;
        while taken < limit {
            // Looked at before the ring: if it is set, all that came before it is in the ring by now.
            let tail = self.tail.get();
            let item = match items.pop() {
                Ok(item) => item,
                Err(_) => match tail.and_then(|tail| lock(tail).pop_front()) {
                    Some(item) => item,
                    None => break,
                },
            };
            take(self.key, item);
            taken += 1;
        }
        taken
    }

    /// Whether an item waits.
    pub fn has_items(&self) -> bool {
        !lock(&self.items).is_empty() || self.tail.get().is_some_and(|tail| !lock(tail).is_empty())
    }

    /// Claims the one place in the ready list; false if somebody else has.
    pub fn mark_ready(&self) -> bool {
        !self.ready.swap(true, Ordering::SeqCst)
    }

    /// Gives the place in the ready list free.
    pub fn unmark_ready(&self) {
        self.ready.store(false, Ordering::SeqCst);
    }

    /// The ready list's link, written by who claimed the place and read by who took the list.
    pub fn set_next_ready(&self, next: *mut Line) {
        self.next_ready.store(next, Ordering::Relaxed);
    }

    /// See [`set_next_ready`](Self::set_next_ready).
    pub fn next_ready(&self) -> *mut Line {
        self.next_ready.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
