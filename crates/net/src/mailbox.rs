//! What a media thread is told, and how it is woken for it.

use crate::endpoint::Sockets;
use crate::slot::Parts;
use crate::wait::Waiter;
use roomkit_media::seq::Ssrc;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

/// Phases that sessions start in: the points of the grid in the most usual frame, 20 ms.
pub const PHASES: usize = 4;

/// What others see of a shard and say to it.
#[derive(Debug)]
pub struct Mailbox {
    orders: Mutex<Vec<Order>>,
    waiting: AtomicBool,
    /// Wakes the thread.
    pub waiter: Waiter,
    /// Sessions of the shard, those under way to it included.
    pub sessions: AtomicUsize,
    /// The same by phase.
    pub phases: [AtomicUsize; PHASES],
}

/// What a shard is told. Its effect comes within one step of the grid, a close within a frame.
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
    pub fn take(&self) -> Vec<Order> {
        if !self.waiting.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let Ok(mut orders) = self.orders.try_lock() else { return Vec::new() };
        self.waiting.store(false, Ordering::SeqCst);
        std::mem::take(&mut *orders)
    }
}
