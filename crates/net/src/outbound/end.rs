//! The media thread's end of the outbound border.

use super::{span_ns, Gauges, Order};
use crate::states::State;
use roomkit_media::session::Session;
use roomkit_media::time::Time;
use rtrb::Consumer;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// The media thread's end.
pub struct OutboundEnd {
    orders: Consumer<Order>,
    gauges: Arc<Gauges>,
    /// When less than this waits, the program is asked for more.
    low_ns: u64,
    states_seen: u64,
    /// What the session holds back.
    paused: Vec<u64>,
    cancelled: u64,
    dial_cancelled: u64,
    input_muted: bool,
    digits_masked: bool,
    tells_left: bool,
}

impl std::fmt::Debug for OutboundEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundEnd").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

impl OutboundEnd {
    pub(super) fn new(orders: Consumer<Order>, gauges: Arc<Gauges>, low_ns: u64) -> OutboundEnd {
        OutboundEnd {
            orders,
            gauges,
            low_ns,
            states_seen: 0,
            paused: Vec::new(),
            cancelled: 0,
            dial_cancelled: 0,
            input_muted: false,
            digits_masked: false,
            tells_left: false,
        }
    }

    /// Whether orders wait that change what a packet means.
    pub fn changes(&self) -> bool {
        self.gauges.changes.load(Ordering::SeqCst)
    }

    /// Carries out all orders: to be called before every tick. Says where the session was sent to, if it was.
    pub fn apply(&mut self, now: Time, session: &mut Session) -> Option<SocketAddr> {
        self.gauges.changes.store(false, Ordering::SeqCst);
        // Looked at before the orders are taken, so that all that was pushed before it was cancelled is among them: what
        // came behind the last look at the ring would be played after all, or never be told as ended.
        // And before that, what is paused: who cancels what is paused does it in the other order.
        let states = self.gauges.states.changed(&mut self.states_seen);
        let states: Option<Vec<(u64, State)>> = states.map(Iterator::collect);
        let cancelled = self.gauges.cancelled.load(Ordering::SeqCst);
        let dial_cancelled = self.gauges.dial_cancelled.load(Ordering::SeqCst);
        let mut retargeted = None;
        let (mut moved_ns, mut moved_marks) = (0, 0);
        let mut dialled_now = 0;
        while let Ok(order) = self.orders.pop() {
            match order {
                Order::Play(chunk) => {
                    let width = usize::from(chunk.channels);
                    moved_ns += span_ns(chunk.pcm.len() / width, chunk.sample_rate);
                    moved_marks += chunk.marks.len();
                    // `push` has checked it by the same rules.
                    let played = session.play(*chunk);
                    debug_assert_eq!(played, Ok(()));
                }
                Order::Dial(batch, signals) => {
                    // There is room: what waits was counted before it was pushed.
                    let dialled = session.dial(batch, &signals);
                    debug_assert_eq!(dialled, Ok(()));
                    dialled_now += signals.len() as u32;
                }
                Order::Filter(bank) => session.add_filter(bank),
                Order::Inject(digit, duration) => session.inject_dtmf(now, digit, duration),
                Order::Retarget(remote) => {
                    session.retarget(now, remote);
                    retargeted = Some(remote);
                }
                Order::Update(config) => {
                    // The handle has checked it by the same rules.
                    let before = session.signalled();
                    let updated = session.update(now, &config);
                    debug_assert_eq!(updated, Ok(()));
                    if session.signalled() != before {
                        retargeted = session.signalled();
                    }
                }
                #[cfg(test)]
                Order::Panic => panic!("injected"),
            }
        }
        // After the audio above, so that every playback the session is to drop has been seen and is told as ended.
        if cancelled > self.cancelled {
            self.cancelled = cancelled;
            session.cancel(cancelled);
        }
        if let Some(states) = states {
            self.hold(session, &states);
        }
        if moved_marks > 0 {
            self.gauges.marks_in_session.store(session.marks(), Ordering::SeqCst);
            self.gauges.marks_in_ring.fetch_sub(moved_marks, Ordering::SeqCst);
        }
        if moved_ns > 0 {
            self.gauges.in_session_ns.store(queued_ns(session), Ordering::SeqCst);
            self.gauges.in_ring_ns.fetch_sub(moved_ns, Ordering::SeqCst);
        }
        if dialled_now > 0 {
            let waiting = session.dialling() as u32;
            self.gauges.digits_in_session.store(waiting, Ordering::SeqCst);
            self.gauges.digits_in_ring.fetch_sub(dialled_now, Ordering::SeqCst);
        }
        if dial_cancelled > self.dial_cancelled {
            self.dial_cancelled = dial_cancelled;
            session.cancel_dial(dial_cancelled);
        }
        let digits_masked = self.gauges.digits_masked.load(Ordering::SeqCst);
        if digits_masked != self.digits_masked {
            self.digits_masked = digits_masked;
            session.mask_digits(digits_masked);
        }
        let input_muted = self.gauges.input_muted.load(Ordering::SeqCst);
        if input_muted != self.input_muted {
            self.input_muted = input_muted;
            session.set_input_muted(input_muted);
        }
        let tells_left = self.gauges.tells_left.load(Ordering::SeqCst);
        if tells_left != self.tells_left {
            self.tells_left = tells_left;
            session.tell_left(tells_left);
        }
        retargeted
    }

    /// Tells the session what is held back now, and what is dropped alone.
    fn hold(&mut self, session: &mut Session, states: &[(u64, State)]) {
        let paused = |playback: &u64| states.contains(&(*playback, State::Paused));
        for &playback in self.paused.iter().filter(|playback| !paused(playback)) {
            session.resume(playback);
        }
        self.paused.clear();
        for &(playback, state) in states {
            match state {
                State::Paused => {
                    session.pause(playback);
                    self.paused.push(playback);
                }
                State::Dropped => session.cancel_one(playback),
            }
        }
    }

    /// Whether the program wants to know what leaves.
    pub fn tells_left(&self) -> bool {
        self.tells_left
    }

    /// Shows the program what is left after a tick; true if it waits for room and is to be asked for more now.
    pub fn show(&mut self, session: &Session) -> bool {
        self.gauges.in_session_ns.store(queued_ns(session), Ordering::SeqCst);
        self.gauges.marks_in_session.store(session.marks(), Ordering::SeqCst);
        self.gauges.digits_in_session.store(session.dialling() as u32, Ordering::SeqCst);
        self.gauges.ended.fetch_max(session.playbacks_over(), Ordering::SeqCst);
        self.gauges.short.load(Ordering::Relaxed)
            && self.gauges.queued_ns() < self.low_ns
            && self.gauges.short.swap(false, Ordering::SeqCst)
    }

    /// What was dialled up to this number has left, or was dropped.
    pub fn dialled(&mut self, batch: u64) {
        self.gauges.dialled.fetch_max(batch, Ordering::SeqCst);
    }

    /// The session is over: from now on audio is taken and dropped.
    pub fn finish(&mut self) {
        self.gauges.over.store(true, Ordering::SeqCst);
        self.gauges.in_session_ns.store(0, Ordering::SeqCst);
        self.gauges.in_ring_ns.store(0, Ordering::SeqCst);
        self.gauges.ended.store(u64::MAX, Ordering::SeqCst);
    }
}

fn queued_ns(session: &Session) -> u64 {
    session.queued().as_nanos() as u64
}
