//! Where the sessions of one event loop put what they have for the program: one wake serves them all.
//!
//! A session that has items stands in the *ready list* once, however many items it has. Media threads add to the list
//! and ring; the program takes the whole list and empties the sessions in it. Nobody waits for anybody: the list is a
//! stack that is pushed by compare-and-swap and taken as a whole, which leaves no room for the ABA problem.

use crate::line::{Item, Line};
use crate::wake::Wake;
use std::collections::VecDeque;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One event loop's inbox. Closed when dropped.
#[derive(Debug)]
pub struct Inbox {
    bell: Arc<Bell>,
    /// Ready sessions that did not fit into the limit of the last drain.
    backlog: Mutex<VecDeque<Arc<Line>>>,
}

impl Inbox {
    /// An empty inbox with the best wake-up of this platform.
    pub fn new() -> io::Result<Inbox> {
        Ok(Inbox::with(Wake::new()?))
    }

    /// An empty inbox with the wake-up that works everywhere.
    pub fn portable() -> io::Result<Inbox> {
        Ok(Inbox::with(Wake::pair()?))
    }

    fn with(wake: Wake) -> Inbox {
        let bell = Bell {
            wake,
            rung: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ready: AtomicPtr::new(ptr::null_mut()),
        };
        Inbox { bell: Arc::new(bell), backlog: Mutex::default() }
    }

    /// The media threads' side.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The descriptor that is readable while something waits.
    pub fn fileno(&self) -> i64 {
        self.bell.wake.fileno()
    }

    /// Hands up to `limit` items to `take`, in order per session, with the session's key. If more wait, the descriptor
    /// stays readable.
    pub fn drain(&self, limit: usize, mut take: impl FnMut(u64, Item)) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        // First clear, then take: what is put in between rings again, so a wake may be one too many but never one too few.
        self.bell.wake.clear();
        self.bell.rung.store(false, Ordering::SeqCst);
        backlog.extend(self.bell.take_all());
        let mut left = limit;
        while left > 0 {
            let Some(line) = backlog.pop_front() else { return };
            // From here on the session may stand in the list again, for what comes after the last look.
            line.unmark_ready();
            left -= line.take_items(left, &mut take);
            if left == 0 && line.has_items() && line.mark_ready() {
                backlog.push_back(line);
            }
        }
        if !backlog.is_empty() {
            self.bell.ring();
        }
    }

    /// From now on items are dropped as they come. Idempotent.
    pub fn close(&self) {
        self.bell.closed.store(true, Ordering::SeqCst);
        drop(self.bell.take_all());
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line;

    fn drained(inbox: &Inbox, limit: usize) -> Vec<(u64, Item)> {
        let mut items = Vec::new();
        inbox.drain(limit, |key, item| items.push((key, item)));
        items
    }

    #[test]
    fn items_come_in_order_per_session_and_the_rest_with_the_next_drain() {
        let inbox = Inbox::new().unwrap();
        let (a, mut a_media) = line::open(1, inbox.bell().clone(), 10);
        let (_b, mut b_media) = line::open(2, inbox.bell().clone(), 10);
        for playback in 1..=3 {
            a_media.event(Item::PlaybackStarted(playback));
            a_media.publish();
            b_media.event(Item::PlaybackStarted(playback));
            b_media.publish();
        }
        let first = drained(&inbox, 4);
        let rest = drained(&inbox, 4);
        assert_eq!((first.len(), rest.len()), (4, 2));
        for key in [1, 2] {
            let of_key = first.iter().chain(&rest).filter(|(k, _)| *k == key).map(|(_, item)| item);
            let expected: Vec<Item> = (1..=3).map(Item::PlaybackStarted).collect();
            assert!(of_key.eq(&expected));
        }
        assert_eq!(drained(&inbox, 4), []);
        a_media.event(Item::LowWater);
        a_media.publish();
        assert_eq!(drained(&inbox, 4), [(1, Item::LowWater)], "ready again after a drain");
        assert_eq!(a.key(), 1);
    }

    #[test]
    fn many_threads_put_while_one_drains_and_nothing_is_lost_or_doubled() {
        const THREADS: u64 = 4;
        const EACH: u64 = 5_000;
        let inbox = Inbox::new().unwrap();
        let threads: Vec<_> = (0..THREADS)
            .map(|key| {
                let bell = inbox.bell().clone();
                std::thread::spawn(move || {
                    let (_line, mut media) = line::open(key, bell.clone(), 64);
                    for n in 0..EACH {
                        media.event(Item::PlaybackStarted(n));
                        media.publish();
                        bell.ring();
                    }
                    while media.publish_rest() {
                        bell.ring();
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let mut next = [0; THREADS as usize];
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while next.iter().sum::<u64>() < THREADS * EACH {
            assert!(std::time::Instant::now() < give_up, "stuck at {next:?}");
            inbox.drain(100, |key, item| {
                assert_eq!(item, Item::PlaybackStarted(next[key as usize]));
                next[key as usize] += 1;
            });
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_closed_inbox_keeps_no_session_alive() {
        let inbox = Inbox::new().unwrap();
        let (line, mut media) = line::open(1, inbox.bell().clone(), 10);
        media.event(Item::LowWater);
        media.publish();
        inbox.close();
        media.event(Item::LowWater);
        media.publish();
        drop(media);
        assert_eq!(Arc::strong_count(&line), 1);
    }
}
