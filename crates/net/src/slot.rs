//! One session in its shard: the media core's state machine between its socket and its border to the program.
//!
//! Every call into the session is guarded: a panic ends this session, not the thread and the others on it.

use crate::bell::Bell;
use crate::demux::Id;
use crate::endpoint::{News, Outbox, SocketStats};
use crate::failing::Failing;
use crate::inbound::InboundEnd;
use crate::item::Item;
use crate::outbound::OutboundEnd;
use crate::playbacks::{PlaybacksEnd, Run};
use crate::socket::{Arrival, Datagram};
use roomkit_media::seq::Ssrc;
use roomkit_media::session::{Event, Output, Port, Ratings, Session};
use roomkit_media::stats::Stats;
use roomkit_media::time::{Duration, Time};
use std::net::{IpAddr, SocketAddr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, TryLockError};

/// What the program may look at, at any time: published by the media thread after every tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// The session's own counts.
    pub media: Stats,
    /// The ratings among them, still to be made: see [`rated`](Self::rated).
    pub(crate) ratings: Ratings,
    /// Those of its local address.
    pub socket: SocketStats,
    /// Frames and events the program was too slow to take.
    pub items_dropped: u64,
    /// The playback heard last, and how much of it left on the wire.
    pub position: Option<(u64, Duration)>,
    /// The SSRC it sends with; another one after a collision (RFC 3550 §8.2).
    pub ssrc: Ssrc,
    /// Where packets go.
    pub destination: Option<SocketAddr>,
    /// Which of the host's addresses they come from, once the far end has been heard; `None` if the socket has only one.
    pub local: Option<IpAddr>,
}

impl Snapshot {
    /// With the ratings, which are made by who looks and not by the media thread.
    pub(crate) fn rated(mut self) -> Snapshot {
        self.ratings.fill(&mut self.media);
        self
    }
}

/// A session with both of its borders.
#[derive(Debug)]
pub struct Slot {
    /// The session's key.
    pub key: u64,
    /// Its local address in the shard.
    pub endpoint: usize,
    /// The phase its ticks are in, of those that share the grid.
    pub phase: usize,
    parts: Parts,
    failing: Failing,
    closing: Option<Closing>,
    /// What the panic said, if it panicked.
    fault: Option<String>,
}

/// A session is to be closed when its next frame would be due. A goodbye right behind the last packet might be read before
/// it, from the other socket, and a frame's worth of the last word would be lost.
#[derive(Debug)]
pub struct Closing {
    /// The reason to be sent in the RTCP BYE.
    pub reason: String,
    /// Who is to be told when it is done.
    done: Vec<Sender<()>>,
}

impl Closing {
    /// It is done.
    pub fn tell(self) {
        for done in self.done {
            let _ = done.send(());
        }
    }
}

/// What it takes to make a [`Slot`]; made by the engine on the program's thread.
#[derive(Debug)]
pub struct Parts {
    /// The session.
    pub session: Session,
    /// Its inbound border.
    pub line: InboundEnd,
    /// Its outbound border.
    pub outbound: OutboundEnd,
    /// Where to publish.
    pub snapshot: Arc<Mutex<Snapshot>>,
    /// To be set when it is over.
    pub over: Arc<AtomicBool>,
    /// The playback that ended last, with what was played of it.
    pub last_played: Option<(u64, Duration)>,
    /// What became of its playbacks.
    pub playbacks: PlaybacksEnd,
    /// A frame was handed over in the present tick.
    pub framed: bool,
    /// Something was handed over since the program was last told.
    pub unpublished: bool,
    /// Which of the host's addresses the far end sends to, if the socket has several.
    pub local: Option<IpAddr>,
    /// Those that the session made to be sent.
    pub datagrams: u64,
}

impl Slot {
    /// Puts a session to work.
    pub fn new(key: u64, endpoint: usize, phase: usize, parts: Parts) -> Slot {
        let failing = Failing::default();
        Slot { key, endpoint, phase, parts, failing, closing: None, fault: None }
    }

    /// A datagram for it.
    pub fn receive(
        &mut self,
        id: Id,
        arrived: Time,
        port: Port,
        arrival: &Arrival<'_>,
        outbox: &mut Outbox,
    ) {
        self.guarded(|parts| {
            if parts.outbound.changes() {
                parts.apply(id, arrived, outbox);
            }
            let believed = parts.session.believed();
            parts.session.receive(arrived, arrival.from, port, arrival.bytes);
            // On a host of several addresses the far end hears us from the one that it sends to. Only it has a say in that.
            if arrival.to.is_some() && parts.session.believed() != believed {
                parts.local = arrival.to;
            }
            parts.drain(id, arrived, outbox);
        });
    }

    /// Its deadline has come: first the program's orders, so that an interruption silences the packet due now.
    pub fn tick(&mut self, id: Id, now: Time, outbox: &mut Outbox) {
        self.guarded(|parts| {
            parts.apply(id, now, outbox);
            parts.framed = false;
            parts.session.handle_deadline(now);
            parts.drain(id, now, outbox);
            parts.show_playbacks(now);
            if parts.outbound.show(&parts.session) {
                parts.event(Item::LowWater);
            }
        });
    }

    /// Octets of the longest datagram that it takes from RTP's socket and from RTCP's.
    pub fn longest(&self) -> [usize; 2] {
        [Port::Rtp, Port::Rtcp].map(|port| self.parts.session.longest(port))
    }

    /// Asks for an end at its next deadline; of several reasons the first is said.
    pub fn close_when_due(&mut self, reason: String, done: Option<Sender<()>>) {
        let closing = self.closing.get_or_insert_with(|| Closing { reason, done: Vec::new() });
        closing.done.extend(done);
    }

    /// The end that was asked for.
    pub fn take_closing(&mut self) -> Option<Closing> {
        self.closing.take()
    }

    /// Says goodbye; the slot is then to be [finished](Self::finish).
    pub fn close(&mut self, id: Id, now: Time, reason: &str, outbox: &mut Outbox) {
        self.guarded(|parts| {
            let _ = parts.outbound.apply(now, &mut parts.session);
            parts.session.close(now, reason);
            parts.drain(id, now, outbox);
            parts.show_playbacks(now);
        });
    }

    /// When it wants to be ticked next.
    pub fn due(&self) -> Time {
        self.parts.session.deadline()
    }

    /// Whether it panicked.
    pub fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// A datagram of its own did not leave.
    pub fn unsent(&mut self, datagram: &[u8]) {
        self.failing.failed();
        self.guarded(|parts| parts.session.unsent(datagram));
    }

    /// All that it sent until now has left or has not, the last one for this reason: tells the program if it has to know.
    pub fn judge_sending(&mut self, now: Time, reason: impl FnOnce() -> String) {
        if self.failing.is_to_be_told(now, self.parts.datagrams) {
            self.guarded(|parts| parts.event(Item::NothingLeaves(reason())));
        }
    }

    /// Shows the program counts and position. Skipped if the program is just looking: the next tick will do.
    pub fn show(&mut self, socket: SocketStats) {
        self.guarded(|parts| parts.show(socket));
    }

    /// Whether something was handed over that the program has not been told of.
    pub fn has_news(&self) -> bool {
        self.parts.unpublished
    }

    /// Tells the program that something waits for it, if something does; the inbox is then to be rung.
    pub fn publish(&mut self) -> Option<&Arc<Bell>> {
        let parts = &mut self.parts;
        if std::mem::take(&mut parts.unpublished) {
            parts.line.publish();
        } else if !parts.line.publish_rest() {
            return None;
        }
        Some(parts.line.bell())
    }

    /// Hands the last items over. The inbox is to be rung.
    pub fn finish(mut self) -> Arc<Bell> {
        self.parts.outbound.finish();
        self.parts.over.store(true, Ordering::SeqCst);
        if let Some(message) = self.fault {
            self.parts.line.event(Item::Fault(message));
        }
        self.parts.line.finish()
    }

    /// Ends it with a fault that is not its own; see [`finish`](Self::finish).
    pub fn fail(mut self, message: &str) -> Arc<Bell> {
        self.fault = Some(message.to_string());
        self.finish()
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Parts)) {
        if self.fault.is_some() {
            return;
        }
        let parts = &mut self.parts;
        // After a panic nothing is done with the session any more but dropping it, so broken invariants do not matter.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(parts))) {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "unknown".to_string());
            self.fault = Some(format!("internal fault, the session is over: {text}"));
        }
    }
}

impl Parts {
    /// Carries out the program's orders.
    fn apply(&mut self, id: Id, now: Time, outbox: &mut Outbox) {
        if let Some(remote) = self.outbound.apply(now, &mut self.session) {
            outbox.news.push((id, News::Retargeted(remote)));
        }
    }

    /// Takes what the session has for the network and for the program.
    fn drain(&mut self, id: Id, now: Time, outbox: &mut Outbox) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Datagram { to, port, bytes } => {
                    self.datagrams += 1;
                    outbox.queue(port).push(Datagram { to, from: self.local, bytes, of: id });
                }
                Output::Frame(frame) => {
                    self.framed |= self.line.frame(Item::Frame {
                        pcm: frame.pcm,
                        timestamp: frame.timestamp,
                        kind: frame.kind,
                        clock: frame.due - self.session.clock_zero(),
                    });
                    self.unpublished = true;
                }
                Output::Event(event) => self.told(id, now, event, outbox),
            }
        }
    }

    fn told(&mut self, id: Id, now: Time, event: Event, outbox: &mut Outbox) {
        let item = match event {
            Event::Digit { digit, duration, confidence, masked } => {
                Item::Digit { digit, duration, confidence, masked }
            }
            Event::Dialled { batch, cancelled } => {
                self.outbound.dialled(batch);
                Item::Dialled { batch, cancelled }
            }
            Event::PlaybackStarted { playback } => {
                self.playbacks.started(now, playback);
                Item::PlaybackStarted(playback)
            }
            Event::Left { audio, clock, timestamp } => {
                self.playbacks.left(Run {
                    playback: audio.playback,
                    from: audio.from,
                    samples: audio.samples,
                    clock,
                    span: audio.span,
                    timestamp,
                    over: false,
                });
                return;
            }
            Event::PlaybackMark { playback, id, position } => {
                Item::PlaybackMark { playback, id, position, at: now }
            }
            Event::PlaybackEnded { playback, played, cancelled } => {
                self.last_played = Some((playback, played));
                let ended = self.playbacks.ended(now, playback, played, cancelled);
                if self.outbound.tells_left() {
                    self.playbacks.left_for_good(playback);
                }
                let (started, at) = (ended.started, ended.at);
                Item::PlaybackEnded { playback, played, cancelled, started, at }
            }
            Event::SourceLocked { addr, ssrc } => {
                outbox.news.push((id, News::Learned(addr, ssrc)));
                Item::Source { addr, ssrc, changed: false }
            }
            Event::SourceChanged { addr, ssrc } => {
                outbox.news.push((id, News::Learned(addr, ssrc)));
                Item::Source { addr, ssrc, changed: true }
            }
            Event::RemoteBye { reason } => Item::Bye(reason),
            Event::RtpTimeout => Item::RtpTimeout,
            Event::RtcpTimeout => Item::RtcpTimeout,
            Event::RtpResumed => Item::RtpResumed,
            Event::Unheard { reason } => Item::Unheard(reason),
            Event::HeardAgain => Item::HeardAgain,
        };
        self.event(item);
    }

    fn event(&mut self, item: Item) {
        self.line.event(item);
        self.unpublished = true;
    }

    /// Shows how far playbacks have come, and tells that something left where no frame does.
    fn show_playbacks(&mut self, now: Time) {
        if let Some((playback, played)) = self.session.position() {
            self.playbacks.played(now, playback, played);
        }
        if self.playbacks.show() && !self.framed {
            self.event(Item::Left);
        }
    }

    fn show(&mut self, socket: SocketStats) {
        let (media, ratings) = self.session.unrated_stats();
        let snapshot = Snapshot {
            media,
            ratings,
            socket,
            items_dropped: self.line.dropped(),
            position: self.session.position().or(self.last_played),
            ssrc: self.session.ssrc(),
            destination: self.session.destination(),
            local: self.local,
        };
        match self.snapshot.try_lock() {
            Ok(mut shown) => *shown = snapshot,
            Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = snapshot,
            Err(TryLockError::WouldBlock) => {}
        }
    }
}
