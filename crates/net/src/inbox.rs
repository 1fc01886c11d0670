//! Where the sessions of one event loop put what they have for the program: one wake serves them all.

use crate::bell::Bell;
use crate::item::Item;
use crate::line::Line;
use crate::wake::Wake;
use std::collections::VecDeque;
use std::io;
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
        Inbox { bell: Arc::new(Bell::new(wake)), backlog: Mutex::default() }
    }

    /// The media threads' side.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The descriptor that is readable while something waits.
    pub fn fileno(&self) -> i64 {
        self.bell.fileno()
    }

    /// Hands up to `limit` items to `take`, in order per session, with the session's key. If more wait, the descriptor
    /// stays readable.
    pub fn drain(&self, limit: usize, mut take: impl FnMut(u64, Item)) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.extend(self.bell.answer());
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
        self.bell.close();
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // No lock: in a fork it may be held for ever.
        self.bell.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound;

    fn drained(inbox: &Inbox, limit: usize) -> Vec<(u64, Item)> {
        let mut items = Vec::new();
        inbox.drain(limit, |key, item| items.push((key, item)));
        items
    }

    #[test]
    fn items_come_in_order_per_session_and_the_rest_with_the_next_drain() {
        let inbox = Inbox::new().unwrap();
        let (a, mut a_media) = inbound::open(1, inbox.bell().clone(), 10);
        let (_b, mut b_media) = inbound::open(2, inbox.bell().clone(), 10);
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
                    let (_line, mut media) = inbound::open(key, bell.clone(), 64);
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
        let (line, mut media) = inbound::open(1, inbox.bell().clone(), 10);
        media.event(Item::LowWater);
        media.publish();
        inbox.close();
        media.event(Item::LowWater);
        media.publish();
        drop(media);
        assert_eq!(Arc::strong_count(&line), 1);
    }
}
