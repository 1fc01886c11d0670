//! The inbound half of a session's border, the media thread's end: frames and events on their way to the program.
//!
//! Frames are bounded and a full bound drops the newest, counted. Events are never dropped for want of room that frames
//! took: the ring keeps room for them, and more wait here.

use crate::bell::Bell;
use crate::item::Item;
use crate::line::Line;
use rtrb::Producer;
use std::collections::VecDeque;
use std::sync::Arc;

/// Places in the ring that frames leave to events.
const EVENT_ROOM: usize = 32;
/// Events that wait at the media thread's end when even their room is full. Beyond it, those that a remote can cause at
/// will (digits, sources, timeouts) are dropped and counted; the program's own (playbacks) are bounded by what it plays.
const EVENTS_WAITING: usize = 1024;

/// Opens the inbound border of session `key`, for at most `frames` frames that wait.
pub fn open(key: u64, bell: Arc<Bell>, frames: usize) -> (Arc<Line>, InboundEnd) {
    let (line, items) = Line::open(key, frames.max(1) + EVENT_ROOM);
    let end = InboundEnd { line: line.clone(), bell, items, waiting: VecDeque::new(), dropped: 0 };
    (line, end)
}

/// The media thread's end.
#[derive(Debug)]
pub struct InboundEnd {
    line: Arc<Line>,
    bell: Arc<Bell>,
    items: Producer<Item>,
    waiting: VecDeque<Item>,
    dropped: u64,
}

impl InboundEnd {
    /// Hands a frame over, or drops it if the program is too far behind; whether it was handed over.
    pub fn frame(&mut self, frame: Item) -> bool {
        self.move_waiting();
        if !self.waiting.is_empty() || self.items.slots() <= EVENT_ROOM {
            self.dropped += 1;
            return false;
        }
        // There is room: it was just seen, and only this end fills it.
        self.items.push(frame).is_ok()
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
                | Item::Unheard(_)
                | Item::HeardAgain
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
            self.line.end_with(std::mem::take(&mut self.waiting));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Inbox;
    use roomkit_media::session::FrameKind;
    use roomkit_media::time::Duration;

    fn frame(n: u64) -> Item {
        let timestamp = Duration::from_millis(20 * n);
        Item::Frame {
            pcm: vec![n as i16; 160],
            timestamp,
            kind: FrameKind::Received,
            clock: timestamp,
        }
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
