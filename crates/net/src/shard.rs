//! One media thread: its clock, its sockets, its sessions.
//!
//! Everything happens on a grid of 5 ms. The thread sleeps until the next point of it, reads what has arrived, serves the
//! sessions whose frame is due, sends what they made, and rings each inbox once. Sessions start in the phase that has
//! the fewest, so that the work of a frame time is spread evenly and yet every wake-up serves many. A packet's arrival
//! wakes nobody: the kernel's timestamp says when it was. Without sessions the thread sleeps until it gets an order.

use crate::clock::{self, Grid};
use crate::endpoint::{Endpoint, Sockets};
use crate::inbox::Bell;
use crate::receive::{Io, Pressure};
use crate::slot::{Parts, Slot};
use crate::wait::Waiter;
use roomkit_media::seq::Ssrc;
use roomkit_media::session::Port;
use roomkit_media::time::{Duration, Time};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

/// The grid of wake-ups: frames are multiples of it, and it bounds how long a datagram lies unread.
pub const GRID: Grid = Grid::new(Duration::from_millis(5));
/// Phases that sessions start in: the points of the grid in the most usual frame, 20 ms.
pub const PHASES: usize = 4;
/// The grid of polls under a flood, so that the sockets' buffers do not overflow between two of them.
const FLOOD_GRID: Grid = Grid::new(Duration::from_millis(1));
/// How long a flood is thought to go on after the last sign of it.
const FLOOD_MEMORY: Duration = Duration::from_millis(100);

/// What others see of a shard and say to it.
#[derive(Debug)]
pub struct Mailbox {
    orders: Mutex<Vec<Order>>,
    waiting: AtomicBool,
    waiter: Waiter,
    /// Sessions of the shard, those under way to it included.
    pub sessions: AtomicUsize,
    /// The same by phase.
    pub phases: [AtomicUsize; PHASES],
}

/// What a shard is told. Its effect comes within one step of the grid.
#[derive(Debug)]
pub enum Order {
    /// Take over a session.
    Open(Box<NewSession>),
    /// Say goodbye and give the socket back.
    Close {
        /// The session's key.
        key: u64,
        /// The reason to be sent in the RTCP BYE.
        reason: String,
        /// Told when it is done. Dropping it tells so as well.
        done: Option<Sender<()>>,
    },
    /// Close all sessions and end the thread.
    Stop,
}

/// A session on its way to its shard.
#[derive(Debug)]
pub struct NewSession {
    /// Its key.
    pub key: u64,
    /// Its local address, which may be one that the shard has already.
    pub sockets: Arc<Sockets>,
    /// Its remote's address, as far as it is known.
    pub remote: Option<SocketAddr>,
    /// The address of its remote's RTCP, if it is not the usual one.
    pub remote_rtcp: Option<SocketAddr>,
    /// The SSRC of its remote, if it was announced.
    pub remote_ssrc: Option<Ssrc>,
    /// The phase of its ticks.
    pub phase: usize,
    /// The session and its borders.
    pub parts: Parts,
}

impl Mailbox {
    /// An empty one.
    pub fn new(portable: bool) -> Mailbox {
        Mailbox {
            orders: Mutex::default(),
            waiting: AtomicBool::new(false),
            waiter: Waiter::new(portable),
            sessions: AtomicUsize::new(0),
            phases: Default::default(),
        }
    }

    /// Leaves an order, and wakes the thread.
    pub fn post(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        self.waiting.store(true, Ordering::SeqCst);
        self.waiter.wake();
    }

    /// Takes the orders, unless somebody is just leaving one: then that one's wake brings the thread back.
    fn take(&self) -> Vec<Order> {
        if !self.waiting.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let Ok(mut orders) = self.orders.try_lock() else { return Vec::new() };
        self.waiting.store(false, Ordering::SeqCst);
        std::mem::take(&mut *orders)
    }
}

/// A media thread's own state.
#[derive(Debug)]
pub struct Shard {
    mailbox: Arc<Mailbox>,
    io: Io,
    slots: Vec<Option<Slot>>,
    /// When each slot is due, apart from them: the search for who is due reads nothing else.
    due: Vec<Time>,
    free: Vec<usize>,
    by_key: HashMap<u64, usize>,
    endpoints: Vec<Option<Endpoint>>,
    /// Inboxes that have got something in this pass.
    to_ring: Vec<Arc<Bell>>,
    /// Endpoints that may have datagrams to send at the end of this pass.
    to_flush: Vec<usize>,
    next_poll: Time,
    flood_until: Time,
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
            free: Vec::new(),
            by_key: HashMap::new(),
            endpoints: Vec::new(),
            to_ring: Vec::new(),
            to_flush: Vec::new(),
            next_poll: Time::ZERO,
            flood_until: Time::ZERO,
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
                Ok(wake) => self.mailbox.waiter.wait(wake),
                Err(_) => self.abandon(),
            }
        }
    }

    /// When there will be something to do; `None`: when an order comes.
    fn next_wake(&self) -> Option<Time> {
        if self.by_key.is_empty() {
            return None;
        }
        let due = self.due.iter().copied().min().unwrap_or(Time::FAR);
        Some(due.min(self.next_poll))
    }

    fn pass(&mut self) {
        for order in self.mailbox.take() {
            self.carry_out(order);
        }
        let now = clock::now();
        if now >= self.next_poll && !self.by_key.is_empty() {
            self.receive(now);
        }
        self.serve(clock::now());
        while let Some(endpoint) = self.to_flush.pop() {
            self.flush(endpoint);
        }
        for bell in self.to_ring.drain(..) {
            bell.ring();
        }
    }

    /// Reads what has arrived since the last poll, within bounds, and feeds it to the sessions.
    fn receive(&mut self, now: Time) {
        let Shard { io, endpoints, slots, to_flush, .. } = self;
        let pressure = io.receive(endpoints, now, |id, endpoint, arrival, from, port, bytes| {
            let Some(slot) = slots.get_mut(id).and_then(Option::as_mut) else { return };
            slot.receive(id, arrival, from, port, bytes, &mut endpoint.outbox);
            endpoint.follow();
            if endpoint.outbox.has_datagrams() {
                to_flush.push(slot.endpoint);
            }
        });
        if pressure == Pressure::Flood {
            self.flood_until = now + FLOOD_MEMORY;
        }
        let grid = if now < self.flood_until { FLOOD_GRID } else { GRID };
        self.next_poll = grid.after(now);
    }

    /// Serves the sessions that are due.
    fn serve(&mut self, now: Time) {
        for id in 0..self.due.len() {
            if self.due[id] > now {
                continue;
            }
            let Some(slot) = self.slots[id].as_mut() else {
                self.due[id] = Time::FAR;
                continue;
            };
            let endpoint_id = slot.endpoint;
            let Some(endpoint) = self.endpoints[endpoint_id].as_mut() else { continue };
            slot.tick(id, now, &mut endpoint.outbox);
            endpoint.follow();
            if slot.is_faulty() {
                self.end(id);
                continue;
            }
            slot.show(endpoint.stats);
            self.due[id] = slot.due();
            if let Some(bell) = slot.publish() {
                let known = self.to_ring.iter().any(|other| Arc::ptr_eq(other, bell));
                if !known {
                    self.to_ring.push(bell.clone());
                }
            }
            // Alone on its socket, its packet leaves now; packets that share a socket leave together, in one call.
            if endpoint.demux.len() == 1 {
                self.flush(endpoint_id);
            } else if self.to_flush.last() != Some(&endpoint_id) {
                self.to_flush.push(endpoint_id);
            }
        }
    }

    fn flush(&mut self, id: usize) {
        if let Some(endpoint) = self.endpoints[id].as_mut() {
            self.io.flush(endpoint);
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Open(new) => self.open(*new),
            Order::Close { key, reason, done } => {
                if let Some(&id) = self.by_key.get(&key) {
                    self.close(id, &reason);
                }
                if let Some(done) = done {
                    let _ = done.send(());
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
        let due = slot.due();
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.due.push(Time::FAR);
            self.slots.len() - 1
        });
        self.slots[id] = Some(slot);
        self.due[id] = due;
        self.by_key.insert(key, id);
        if let Some(endpoint) = self.endpoints[endpoint].as_mut() {
            endpoint.demux.insert(id, remote, remote_rtcp, remote_ssrc);
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
        self.io.watch(&sockets, id);
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
        self.due[id] = Time::FAR;
        self.free.push(id);
        self.by_key.remove(&slot.key);
        self.mailbox.sessions.fetch_sub(1, Ordering::SeqCst);
        self.mailbox.phases[slot.phase].fetch_sub(1, Ordering::SeqCst);
        let place = &mut self.endpoints[slot.endpoint];
        if let Some(endpoint) = place {
            endpoint.demux.remove(id);
            if endpoint.demux.is_empty() {
                self.io.forget(&endpoint.sockets);
                *place = None;
            }
        }
        slot.finish().ring();
    }

    /// After a fault of the engine: no session can be trusted to be whole, so all of them end, and are told.
    fn abandon(&mut self) {
        for slot in self.slots.drain(..).flatten() {
            self.mailbox.sessions.fetch_sub(1, Ordering::SeqCst);
            self.mailbox.phases[slot.phase].fetch_sub(1, Ordering::SeqCst);
            slot.fail("internal fault of the engine, the session is over").ring();
        }
        for endpoint in self.endpoints.drain(..).flatten() {
            self.io.forget(&endpoint.sockets);
        }
        self.due.clear();
        self.free.clear();
        self.by_key.clear();
        self.to_ring.clear();
        self.to_flush.clear();
    }
}

/// Which of an endpoint's two sockets a port is.
pub fn port_index(port: Port) -> usize {
    match port {
        Port::Rtp => 0,
        Port::Rtcp => 1,
    }
}
