//! What the program plays: its orders, how far they have come, and what is told of it.

use std::sync::Arc;

use super::{BadChunk, Chunk, Event, Output, Session};
use crate::dtmf::Dialled;
use crate::pacer::Progress;
use crate::resample::Bank;
use crate::time::{Duration, Time};

impl Session {
    /// Queues audio to be sent; it stays PCM until its frame is due.
    pub fn play(&mut self, chunk: Chunk) -> Result<(), BadChunk> {
        self.outbound.pacer.push(chunk)
    }

    /// Hands over a filter for audio that is going to be played, so that it need not be made when that is due.
    pub fn add_filter(&mut self, bank: Arc<Bank>) {
        self.outbound.pacer.filters.add(bank);
    }

    /// Drops the playbacks up to and including `upto`: the next frame is silence, or a later playback.
    pub fn cancel(&mut self, upto: u64) {
        self.outbound.pacer.cancel(upto);
        self.tell_progress();
    }

    /// Drops one playback and no other.
    pub fn cancel_one(&mut self, playback: u64) {
        self.outbound.pacer.cancel_one(playback);
        self.tell_progress();
    }

    /// Holds a playback back: from the next frame on nothing of it leaves, its queue and position stay, and what is behind it waits.
    pub fn pause(&mut self, playback: u64) {
        self.outbound.pacer.pause(playback);
    }

    /// Goes on with it, with the sample after the last that left.
    pub fn resume(&mut self, playback: u64) {
        self.outbound.pacer.resume(playback);
    }

    /// Whether [`Event::Left`] tells of all audio of playbacks that leaves from now on.
    pub fn tell_left(&mut self, tells: bool) {
        self.outbound.pacer.tells_left = tells;
    }

    /// Marks that wait to be told.
    pub fn marks(&self) -> usize {
        self.outbound.pacer.marks()
    }

    /// The playbacks up to this one are over.
    pub fn playbacks_over(&self) -> u64 {
        self.outbound.pacer.over()
    }

    /// How long the queued audio plays.
    pub fn queued(&self) -> Duration {
        self.outbound.pacer.queued()
    }

    /// The playback that plays and how much of it has left.
    pub fn position(&self) -> Option<(u64, Duration)> {
        self.outbound.pacer.position()
    }

    /// True if no audio is queued or under way.
    pub fn is_idle(&self) -> bool {
        self.outbound.pacer.is_idle()
    }

    /// The media clock's zero: when the first frame was due.
    pub fn clock_zero(&self) -> Time {
        self.opened
    }

    /// Tells what of the program's audio is in the frame that leaves now.
    pub(super) fn tell_what_left(&mut self) {
        let (due, heard) = (self.due, self.heard);
        for &audio in self.outbound.pacer.left() {
            let clock = due - self.opened + audio.into;
            let timestamp = heard.map(|(then, place)| place + (due - then) + audio.into);
            self.output.push_back(Output::Event(Event::Left { audio, clock, timestamp }));
        }
    }

    pub(super) fn tell_progress(&mut self) {
        while let Some(Dialled { batch, cancelled }) = self.outbound.digits.poll() {
            self.output.push_back(Output::Event(Event::Dialled { batch, cancelled }));
        }
        while let Some(progress) = self.outbound.pacer.poll() {
            self.output.push_back(Output::Event(match progress {
                Progress::Started { playback } => Event::PlaybackStarted { playback },
                Progress::Mark { playback, id, position } => {
                    Event::PlaybackMark { playback, id, position }
                }
                Progress::Ended { playback, played, cancelled } => {
                    Event::PlaybackEnded { playback, played, cancelled }
                }
            }));
        }
    }
}
