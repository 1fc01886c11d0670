//! One media thread: its clock, its sockets, its sessions.
//!
//! Everything happens on a grid of 5 ms. The thread sleeps until the next point of it at which somebody is due, and
//! serves who is: reads the session's socket, lets it make its frames, sends what it made. Then it rings each inbox
//! once. Sessions start in the phase that has the fewest, so that the work of a frame time is spread evenly and yet
//! every wake-up serves many. A packet's arrival wakes nobody, and nobody asks who has one: audio is not needed before
//! its frame is due, and the kernel's timestamp says when it came. Without sessions the thread sleeps until an order.

use crate::bell::Bell;
use crate::clock::{self, Grid};
use crate::endpoint::{Endpoint, Sockets};
use crate::mailbox::{Mailbox, NewSession, Order, PHASES};
use crate::receive::{Budget, Io, Left, Moment};
use crate::slot::Slot;
use crate::socket::Arrival;
use crate::spare::Spare;
use roomkit_media::session::Port;
use roomkit_media::time::{Duration, Time};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// The grid of wake-ups: frames are multiples of it, and it bounds how long a datagram lies unread.
pub const GRID: Grid = Grid::new(Duration::from_millis(5));
/// A session's socket is read right before its frame, and between frames that are further apart than this at every such
/// interval: longer frames must not delay digits.
const READ_EVERY: Duration = Duration::from_millis(20);
/// RTCP is looked for at every fifth read: reports are not urgent, and their time of arrival is the kernel's. And whenever
/// there is no RTP: who hangs up has stopped speaking, and the program is to know of the goodbye within a frame.
const RTCP_EVERY: u32 = 5;
/// Datagrams read from a socket before its session's frame, whatever they cost: more than 20 ms of any usual remote, and a
/// fifth of a second after a gap.
const LEAST: usize = 8;
/// Datagrams read for one session before its frame at most. What is more is a flood, and waits until all frames are served.
const TICK_BUDGET: usize = 64;
/// Datagrams read from a shared socket before the frames at most: what 250 calls of 20 ms send in 5 ms, eight times.
const SHARED_BUDGET: usize = 500;
/// The grid on which a flooded socket is read, so that its buffer does not overflow between two reads.
const FLOOD_GRID: Grid = Grid::new(Duration::from_millis(1));
/// Datagrams read from one of these before it is the next one's turn.
const FLOOD_TURN: usize = 32;
/// How long a flood is thought to go on after the last sign of it.
const FLOOD_MEMORY: Duration = Duration::from_millis(100);

/// A media thread's own state.
#[derive(Debug)]
pub struct Shard {
    mailbox: Arc<Mailbox>,
    io: Io,
    slots: Vec<Option<Slot>>,
    /// When each slot is due, apart from them: the search for who is due reads nothing else.
    due: Vec<Time>,
    /// When the socket of each is to be read before that.
    read_due: Vec<Time>,
    /// Sessions that have something for the program besides their frames.
    heard: Vec<usize>,
    free: Vec<usize>,
    by_key: HashMap<u64, usize>,
    endpoints: Vec<Option<Endpoint>>,
    /// Inboxes that have got something in this pass.
    to_ring: Vec<Arc<Bell>>,
    /// Endpoints that may have datagrams to send at the end of this pass.
    to_flush: Vec<usize>,
    /// Endpoints that are read at every point of the grid, and the next one.
    eager: Vec<usize>,
    next_eager: Time,
    /// Endpoints under a flood.
    hot: Vec<usize>,
    spare: Spare,
    /// When it was to wake.
    wake: Option<Time>,
    stopping: bool,
}

impl Shard {
    /// A shard without sessions.
    pub fn new(mailbox: Arc<Mailbox>, io: Io) -> Shard {
        Shard {
            mailbox,
            io,
            slots: Vec::new(),
            due: Vec::new(),
            read_due: Vec::new(),
            heard: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            endpoints: Vec::new(),
            to_ring: Vec::new(),
            to_flush: Vec::new(),
            eager: Vec::new(),
            next_eager: Time::ZERO,
            hot: Vec::new(),
            spare: Spare::default(),
            wake: None,
            stopping: false,
        }
    }

    /// Runs until it is told to stop.
    pub fn run(&mut self) {
        while !self.stopping {
            // Sessions are guarded one by one; this is for a fault of the engine's own, which must not end in silence.
            let result = catch_unwind(AssertUnwindSafe(|| {
                self.pass();
                self.next_wake()
            }));
            match result {
                Ok(_) if self.stopping => break,
                Ok(wake) => {
                    self.wake = wake;
                    self.mailbox.waiter.wait(wake);
                }
                Err(_) => self.abandon(),
            }
        }
    }

    /// When there will be something to do; `None`: when an order comes.
    fn next_wake(&self) -> Option<Time> {
        if self.by_key.is_empty() {
            return None;
        }
        let mut wake = self.due.iter().chain(&self.read_due).copied().min().unwrap_or(Time::FAR);
        if !self.eager.is_empty() {
            wake = wake.min(self.next_eager);
        }
        if !self.hot.is_empty() {
            let grid = if self.spare.is_scarce() { GRID } else { FLOOD_GRID };
            wake = wake.min(grid.after(clock::now()));
        }
        Some(wake)
    }

    fn pass(&mut self) {
        for order in self.mailbox.take() {
            self.carry_out(order);
        }
        let moment = Moment::take();
        if let Some(wake) = self.wake.take() {
            self.spare.woke(moment.now - wake);
        }
        let eager = moment.now >= self.next_eager;
        if eager {
            self.next_eager = GRID.after(moment.now);
        }
        // Whose socket is flooded is served when all others have been.
        let mut surplus = self.spare.before_frames();
        for hot in [false, true] {
            if hot && self.hot.is_empty() {
                break;
            }
            if eager {
                self.read_eager(moment, hot, &mut surplus);
            }
            self.serve(moment, hot, &mut surplus);
        }
        self.read_hot();
        while let Some(endpoint) = self.to_flush.pop() {
            self.flush(endpoint);
        }
        while let Some(id) = self.heard.pop() {
            self.publish(id);
        }
        for bell in self.to_ring.drain(..) {
            bell.ring();
        }
    }

    /// Reads the sockets that sessions share, those that are flooded or the others.
    fn read_eager(&mut self, moment: Moment, hot: bool, surplus: &mut Duration) {
        for n in 0..self.eager.len() {
            let id = self.eager[n];
            if self.is_hot(id, moment.now) == hot {
                let sessions = self.endpoints[id].as_ref().map_or(0, |place| place.demux.len());
                // The share of each in 5 ms.
                self.read_before_frames(
                    id,
                    moment,
                    LEAST + sessions / PHASES,
                    SHARED_BUDGET,
                    surplus,
                );
            }
        }
    }

    /// Reads an endpoint's sockets as far as the frames that are due can wait for it. A flooded one has no more than what the
    /// others leave of the time, for it has its turn behind the frames as well.
    fn read_before_frames(
        &mut self,
        id: usize,
        moment: Moment,
        least: usize,
        most: usize,
        surplus: &mut Duration,
    ) {
        let least = if self.is_hot(id, moment.now) { 0 } else { least };
        if least > 0 || !surplus.is_zero() {
            let left = self.read(id, moment, Budget { least, time: *surplus, most });
            *surplus = surplus.saturating_sub(left.spent);
        }
    }

    fn is_hot(&self, id: usize, now: Time) -> bool {
        let endpoint = self.endpoints.get(id).and_then(Option::as_ref);
        endpoint.is_some_and(|endpoint| endpoint.hot_until > now)
    }

    /// Reads an endpoint's sockets and feeds its sessions.
    fn read(&mut self, id: usize, moment: Moment, budget: Budget) -> Left {
        let Shard { io, endpoints, slots, hot, heard, .. } = self;
        let nothing = Left { empty: true, spent: Duration::ZERO };
        let Some(endpoint) = endpoints.get_mut(id).and_then(Option::as_mut) else { return nothing };
        let spoken = Cell::new(false);
        let mut deliver =
            |to: usize, at: &mut Endpoint, arrived: Time, port, arrival: &Arrival<'_>| {
                spoken.set(true);
                let Some(slot) = slots.get_mut(to).and_then(Option::as_mut) else { return };
                slot.receive(to, arrived, port, arrival, &mut at.outbox);
                at.follow();
                if slot.has_news() && heard.last() != Some(&to) {
                    heard.push(to);
                }
            };
        let mut left = io.read(endpoint, Port::Rtp, moment, budget, &mut deliver);
        endpoint.reads += 1;
        // It may be RTCP's socket that is flooded.
        let flooded = endpoint.hot_until > moment.now;
        if endpoint.reads >= RTCP_EVERY || flooded || !spoken.get() {
            endpoint.reads = 0;
            let budget = Budget { time: budget.time.saturating_sub(left.spent), ..budget };
            let of_rtcp = io.read(endpoint, Port::Rtcp, moment, budget, &mut deliver);
            left.empty &= of_rtcp.empty;
            left.spent += of_rtcp.spent;
        }
        if endpoint.outbox.has_datagrams() {
            self.to_flush.push(id);
        }
        if !left.empty {
            endpoint.hot_until = moment.now + FLOOD_MEMORY;
            if !hot.contains(&id) {
                hot.push(id);
            }
        }
        left
    }

    /// Reads the flooded sockets in turns when all frames have been served, until they are empty or the time is over. Who has
    /// not had a turn has the first one next time.
    fn read_hot(&mut self) {
        if self.hot.is_empty() {
            return;
        }
        let moment = Moment::take();
        let until = moment.now + self.spare.behind_frames();
        let (mut now, mut empty) = (moment.now, 0);
        while now < until && empty < self.hot.len() {
            let id = self.hot.remove(0);
            let budget = Budget { least: LEAST, time: until - now, most: FLOOD_TURN };
            empty = if self.read(id, moment, budget).empty { empty + 1 } else { 0 };
            if self.is_hot(id, moment.now) && !self.hot.contains(&id) {
                self.hot.push(id);
            }
            now = clock::now();
        }
    }

    /// Serves the sessions that are due, one after another, each from its socket to its packet: those whose socket is flooded,
    /// or the others.
    fn serve(&mut self, moment: Moment, hot: bool, surplus: &mut Duration) {
        for id in 0..self.due.len() {
            if self.due[id] > moment.now {
                if self.read_due[id] <= moment.now {
                    self.read_between(id, moment, hot, surplus);
                }
                continue;
            }
            let Some(endpoint_id) = self.slots[id].as_ref().map(|slot| slot.endpoint) else {
                (self.due[id], self.read_due[id]) = (Time::FAR, Time::FAR);
                continue;
            };
            if self.is_hot(endpoint_id, moment.now) != hot {
                continue;
            }
            if let Some(closing) = self.slots[id].as_mut().and_then(Slot::take_closing) {
                self.close(id, &closing.reason);
                closing.tell();
                continue;
            }
            if self.endpoints[endpoint_id].as_ref().is_some_and(|endpoint| !endpoint.eager) {
                self.read_before_frames(endpoint_id, moment, LEAST, TICK_BUDGET, surplus);
            }
            let (Some(slot), Some(endpoint)) =
                (self.slots[id].as_mut(), self.endpoints[endpoint_id].as_mut())
            else {
                continue;
            };
            slot.tick(id, moment.now, &mut endpoint.outbox);
            endpoint.follow();
            if slot.is_faulty() {
                self.end(id);
                continue;
            }
            let shared = endpoint.eager;
            self.read_due[id] = match shared {
                true => Time::FAR,
                false => next_read(self.due[id], slot.due()),
            };
            self.due[id] = slot.due();
            endpoint.takes(slot.longest());
            // Alone on its socket, its packet leaves now; packets that share a socket leave together, in one call.
            if endpoint.eager {
                if self.to_flush.last() != Some(&endpoint_id) {
                    self.to_flush.push(endpoint_id);
                }
            } else {
                self.flush(endpoint_id);
            }
            let (Some(slot), Some(endpoint)) =
                (self.slots[id].as_mut(), self.endpoints[endpoint_id].as_ref())
            else {
                continue;
            };
            slot.show(endpoint.stats);
            self.publish(id);
        }
    }

    /// Reads a session's socket between two frames: a flooded one, or another.
    fn read_between(&mut self, id: usize, moment: Moment, hot: bool, surplus: &mut Duration) {
        let Some(endpoint) = self.slots[id].as_ref().map(|slot| slot.endpoint) else {
            self.read_due[id] = Time::FAR;
            return;
        };
        if self.is_hot(endpoint, moment.now) == hot {
            self.read_due[id] = next_read(self.read_due[id], self.due[id]);
            self.read_before_frames(endpoint, moment, LEAST, TICK_BUDGET, surplus);
        }
    }

    /// Has the program told of what a session has for it, if it has something.
    fn publish(&mut self, id: usize) {
        let Some(bell) = self.slots[id].as_mut().and_then(Slot::publish) else { return };
        if !self.to_ring.iter().any(|other| Arc::ptr_eq(other, bell)) {
            self.to_ring.push(bell.clone());
        }
    }

    fn flush(&mut self, id: usize) {
        let Some(endpoint) = self.endpoints[id].as_mut() else { return };
        self.io.flush(endpoint);
        if endpoint.outbox.unsent.is_empty() {
            return;
        }
        let now = clock::now();
        for (of, datagram, _) in &endpoint.outbox.unsent {
            if let Some(slot) = self.slots.get_mut(*of).and_then(Option::as_mut) {
                slot.unsent(datagram);
            }
        }
        for (of, _, reason) in endpoint.outbox.unsent.drain(..) {
            if let Some(slot) = self.slots.get_mut(of).and_then(Option::as_mut) {
                slot.judge_sending(now, || io::Error::from_raw_os_error(reason).to_string());
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Open(new) => self.open(*new),
            Order::Close { key, reason, done } => {
                let slot = self.by_key.get(&key).and_then(|&id| self.slots[id].as_mut());
                match (slot, done) {
                    (Some(slot), done) => slot.close_when_due(reason, done),
                    (None, done) => {
                        let _ = done.map(|done| done.send(()));
                    }
                }
            }
            Order::Stop => {
                for id in 0..self.slots.len() {
                    self.close(id, "");
                }
                self.stopping = true;
            }
        }
    }

    fn open(&mut self, new: NewSession) {
        let NewSession { key, sockets, remote, remote_rtcp, remote_ssrc, phase, parts } = new;
        let endpoint = self.endpoint_of(sockets);
        let slot = Slot::new(key, endpoint, phase, parts);
        let (due, longest) = (slot.due(), slot.longest());
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.due.push(Time::FAR);
            self.read_due.push(Time::FAR);
            self.slots.len() - 1
        });
        self.slots[id] = Some(slot);
        self.due[id] = due;
        self.by_key.insert(key, id);
        let Some(place) = self.endpoints[endpoint].as_mut() else { return };
        place.takes(longest);
        place.demux.insert(id, remote, remote_rtcp, remote_ssrc);
        // Sessions that share a socket are due in different phases, and each would wait for another's read.
        if !place.eager && place.demux.is_shared() {
            place.eager = true;
            self.eager.push(endpoint);
        }
    }

    fn endpoint_of(&mut self, sockets: Arc<Sockets>) -> usize {
        let same =
            |e: &Option<Endpoint>| e.as_ref().is_some_and(|e| Arc::ptr_eq(&e.sockets, &sockets));
        if let Some(id) = self.endpoints.iter().position(same) {
            return id;
        }
        let id = self.endpoints.iter().position(Option::is_none).unwrap_or_else(|| {
            self.endpoints.push(None);
            self.endpoints.len() - 1
        });
        self.endpoints[id] = Some(Endpoint::new(sockets, clock::now()));
        id
    }

    fn close(&mut self, id: usize, reason: &str) {
        let Some(slot) = self.slots.get_mut(id).and_then(Option::as_mut) else { return };
        let endpoint_id = slot.endpoint;
        if let Some(endpoint) = self.endpoints[endpoint_id].as_mut() {
            slot.close(id, clock::now(), reason, &mut endpoint.outbox);
            endpoint.outbox.news.clear();
        }
        self.flush(endpoint_id);
        if let (Some(slot), Some(endpoint)) =
            (self.slots[id].as_mut(), self.endpoints[endpoint_id].as_ref())
        {
            slot.show(endpoint.stats);
        }
        self.end(id);
    }

    /// Takes a session out, gives its socket back if it was the last one there, and tells the program.
    fn end(&mut self, id: usize) {
        let Some(slot) = self.slots[id].take() else { return };
        (self.due[id], self.read_due[id]) = (Time::FAR, Time::FAR);
        self.free.push(id);
        self.by_key.remove(&slot.key);
        let place = &mut self.endpoints[slot.endpoint];
        if let Some(endpoint) = place {
            endpoint.demux.remove(id);
            if endpoint.demux.is_empty() {
                *place = None;
                self.eager.retain(|&other| other != slot.endpoint);
                self.hot.retain(|&other| other != slot.endpoint);
            }
        }
        // Counted as gone when its ports are free, not before.
        self.mailbox.sessions.fetch_sub(1, Ordering::SeqCst);
        self.mailbox.phases[slot.phase].fetch_sub(1, Ordering::SeqCst);
        slot.finish().ring();
    }

    /// After a fault of the engine: no session can be trusted to be whole, so all of them end, and are told.
    fn abandon(&mut self) {
        for slot in self.slots.drain(..).flatten() {
            self.mailbox.sessions.fetch_sub(1, Ordering::SeqCst);
            self.mailbox.phases[slot.phase].fetch_sub(1, Ordering::SeqCst);
            slot.fail("internal fault of the engine, the session is over").ring();
        }
        self.endpoints.clear();
        self.eager.clear();
        self.hot.clear();
        self.due.clear();
        self.read_due.clear();
        self.heard.clear();
        self.free.clear();
        self.by_key.clear();
        self.to_ring.clear();
        self.to_flush.clear();
    }
}

/// When a socket that was to be read at `last` is to be read again before the frame that is due at `due`; never, if that
/// comes first.
fn next_read(last: Time, due: Time) -> Time {
    let next = last + READ_EVERY;
    if next < due {
        next
    } else {
        Time::FAR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_read_before_each_frame_and_every_20_ms_between_long_ones() {
        // Of 10 s, by the length of frames in ms.
        for (ptime, reads) in [(10, 1000), (20, 500), (30, 667), (40, 500), (50, 600), (60, 500)] {
            let (mut now, mut due, mut times) = (Time::ZERO, Time::ms(ptime), Vec::new());
            while now < Time::secs(10) {
                times.push(now);
                now = next_read(now, due).min(due);
                if now == due {
                    due += Duration::from_millis(ptime);
                }
            }
            assert_eq!(times.len(), reads, "{ptime} ms");
            assert!(times.windows(2).all(|two| two[1] - two[0] <= READ_EVERY), "{ptime} ms");
            let before = |frame: u64| times.contains(&Time::ms(frame * ptime));
            assert!((0..10_000 / ptime).all(before), "{ptime} ms");
        }
    }
}
