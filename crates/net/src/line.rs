//! The inbound half of a session's border: frames and events on their way from the media thread to the program.
//!
//! Frames are bounded and a full bound drops the newest, counted. Events are never dropped for want of room that frames
//! took: the ring keeps room for them, and more wait at the media thread's end.

use crate::inbox::Bell;
use roomkit_media::dtmf::Digit;
use roomkit_media::seq::Ssrc;
use roomkit_media::session::FrameKind;
use roomkit_media::time::Duration;
use rtrb::{Consumer, Producer, RingBuffer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What the program gets of a session.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A frame of audio.
    Frame {
        /// Interleaved samples at the session's rate and channels.
        pcm: Vec<i16>,
        /// Media time of its first sample since the first frame.
        timestamp: Duration,
        /// What it is made of.
        kind: FrameKind,
    },
    /// The remote pressed a key.
    Digit {
        /// Which.
        digit: Digit,
        /// For how long.
        duration: Duration,
        /// How sure that is, 0 to 1.
        confidence: f32,
        /// Digits were masked then.
        masked: bool,
    },
    /// What was dialled under this number has left.
    Dialled {
        /// The number.
        batch: u64,
        /// Whether some of it was dropped.
        cancelled: bool,
    },
    /// The first packet of this playback has left.
    PlaybackStarted(u64),
    /// Nothing more of a playback will leave.
    PlaybackEnded {
        /// Which.
        playback: u64,
        /// How much of it left on the wire.
        played: Duration,
        /// Whether it was cut short.
        cancelled: bool,
    },
    /// After a push that did not fit, there is room again.
    LowWater,
    /// A remote source has proven itself.
    Source {
        /// Its address.
        addr: SocketAddr,
        /// Its SSRC.
        ssrc: Ssrc,
        /// Whether it took the place of another.
        changed: bool,
    },
    /// The remote has said goodbye (RFC 3550 §6.6), with this reason.
    Bye(String),
    /// No RTP came for the time configured.
    RtpTimeout,
    /// No RTCP came for the time configured.
    RtcpTimeout,
    /// The far end is heard again.
    RtpResumed,
    /// The session ended by a fault.
    Fault(String),
    /// The last item: the session is over and its socket given back.
    Closed,
}

/// Places in the ring that frames leave to events.
const EVENT_ROOM: usize = 32;
/// Events that wait at the media thread's end when even their room is full. Beyond it, those that a remote can cause at
/// will (digits, sources, timeouts) are dropped and counted; the program's own (playbacks) are bounded by what it plays.
const EVENTS_WAITING: usize = 1024;

/// Opens the inbound border of session `key`, for at most `frames` frames that wait.
pub fn open(key: u64, bell: Arc<Bell>, frames: usize) -> (Arc<Line>, MediaEnd) {
    let (items, taker) = RingBuffer::new(frames.max(1) + EVENT_ROOM);
    let line = Arc::new(Line {
        key,
        items: Mutex::new(taker),
        tail: OnceLock::new(),
        ready: AtomicBool::new(false),
        next_ready: AtomicPtr::new(ptr::null_mut()),
    });
    let end = MediaEnd { line: line.clone(), bell, items, waiting: VecDeque::new(), dropped: 0 };
    (line, end)
}

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

/// The media thread's end.
#[derive(Debug)]
pub struct MediaEnd {
    line: Arc<Line>,
    bell: Arc<Bell>,
    items: Producer<Item>,
    waiting: VecDeque<Item>,
    dropped: u64,
}

impl MediaEnd {
    /// Hands a frame over, or drops it if the program is too far behind.
    pub fn frame(&mut self, frame: Item) {
        self.move_waiting();
        if !self.waiting.is_empty() || self.items.slots() <= EVENT_ROOM {
            self.dropped += 1;
            return;
        }
        // There is room: it was just seen, and only this end fills it.
        let _ = self.items.push(frame);
    }

    /// Hands an event over; it may have to wait, but keeps its place in the order.
    pub fn event(&mut self, event: Item) {
        self.move_waiting();
        let by_remote = matches!(
            event,
            Item::Digit { .. }
                | Item::Source { .. }
                | Item::RtpTimeout
                | Item::RtcpTimeout
                | Item::RtpResumed
        );
        if by_remote && self.waiting.len() >= EVENTS_WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back(event);
        self.move_waiting();
    }

    /// Lets the program know of what was handed over since; the bell must be rung afterwards.
    pub fn publish(&mut self) {
        self.move_waiting();
        self.bell.put(&self.line);
    }

    /// Hands over events that had to wait, as far as there is room now; true if it is worth to publish.
    pub fn publish_rest(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        self.publish();
        true
    }

    /// Hands over all that still waits, and `Closed` as the last item. The bell is to be rung afterwards.
    pub fn finish(mut self) -> Arc<Bell> {
        self.event(Item::Closed);
        if !self.waiting.is_empty() {
            let _ = self.line.tail.set(Mutex::new(std::mem::take(&mut self.waiting)));
        }
        self.bell.put(&self.line);
        self.bell
    }

    /// The inbox of this session.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Frames and events dropped because the program was too far behind.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn move_waiting(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(event)) = self.items.push(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Inbox;

    fn frame(n: u64) -> Item {
        let timestamp = Duration::from_millis(20 * n);
        Item::Frame { pcm: vec![n as i16; 160], timestamp, kind: FrameKind::Received }
    }

    fn items(line: &Line) -> Vec<Item> {
        let mut items = Vec::new();
        line.take_items(usize::MAX, &mut |_, item| items.push(item));
        items
    }

    #[test]
    fn a_full_bound_drops_the_newest_frames_and_counts_them() {
        let inbox = Inbox::new().unwrap();
        let (line, mut media) = open(1, inbox.bell().clone(), 3);
        for n in 0..5 {
            media.frame(frame(n));
        }
        assert_eq!(media.dropped(), 2);
        assert_eq!(items(&line), [frame(0), frame(1), frame(2)]);
        media.frame(frame(5));
        assert_eq!(items(&line), [frame(5)]);
    }

    #[test]
    fn events_pass_a_full_bound_of_frames_and_stay_in_order() {
        let inbox = Inbox::new().unwrap();
        let (line, mut media) = open(1, inbox.bell().clone(), 1);
        media.frame(frame(0));
        media.frame(frame(1));
        let many = 3 * EVENT_ROOM as u64;
        for n in 0..many {
            media.event(Item::PlaybackStarted(n));
        }
        media.frame(frame(2));
        assert_eq!(media.dropped(), 2, "a frame never overtakes an event");
        let mut got = items(&line);
        while media.publish_rest() {
            got.extend(items(&line));
        }
        let expected = std::iter::once(frame(0)).chain((0..many).map(Item::PlaybackStarted));
        assert!(got.into_iter().eq(expected));
    }

    #[test]
    fn what_a_remote_causes_is_bounded_and_what_the_program_waits_for_is_kept() {
        let inbox = Inbox::new().unwrap();
        let (line, mut media) = open(1, inbox.bell().clone(), 1);
        let ring = 1 + EVENT_ROOM;
        for _ in 0..ring + EVENTS_WAITING + 10 {
            media.event(Item::RtpTimeout);
        }
        assert_eq!(media.dropped(), 10);
        media.finish();
        let got = items(&line);
        assert_eq!(got.len(), ring + EVENTS_WAITING + 1);
        assert_eq!(got.last(), Some(&Item::Closed));
        assert!(!line.has_items());
    }
}
