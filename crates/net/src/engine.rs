//! The engine of a process: media threads that sessions are spread over, and the local addresses they share.

use crate::banks;
use crate::clock;
use crate::endpoint::{Remote, Sockets};
use crate::error::{OpenError, PATIENCE};
use crate::handle::Session;
use crate::inbound;
use crate::inbox::Inbox;
use crate::mailbox::{Mailbox, NewSession, Order, PHASES};
use crate::outbound;
use crate::playbacks;
use crate::ports::Ports;
use crate::prompt::{schedule_promptly, Measures};
use crate::receive::Io;
use crate::shard::{Shard, GRID};
use crate::slot::Parts;
use crate::socket::SocketOptions;
use roomkit_media::session::{RtcpMode, Session as MediaSession, SessionConfig};
use roomkit_media::time::{Duration, Time};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

/// More threads than this are a mistake: one serves hundreds of calls.
pub const MOST_THREADS: usize = 64;

/// How an engine is to be.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Media threads, 1 to [`MOST_THREADS`].
    pub threads: usize,
    /// Take the path of platforms without epoll.
    pub portable: bool,
    /// Take real-time scheduling where the process may.
    pub realtime: bool,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions { threads: 1, portable: false, realtime: true }
    }
}

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The local RTP address; port 0 takes a free even one.
    pub local: SocketAddr,
    /// With port 0: the range, both ends included, that the port is taken from, in place of any free one.
    pub port_range: Option<(u16, u16)>,
    /// How long a port rests after a session before another one can be given it.
    pub port_quarantine: Duration,
    /// The differentiated services code point of what is sent (RFC 2474), 0 to 63; 0 leaves it to the system.
    pub dscp: u8,
    /// Whether other sessions that say so too may have the same local address.
    pub shared: bool,
    /// Audio that may wait to be sent.
    pub lead: Duration,
    /// Frames that may wait for the program, as their media time.
    pub inbound: Duration,
    /// The session itself. `cname` and `wallclock` are filled in by the engine.
    pub session: SessionConfig,
}

/// The engine. Its threads start with the first session and end when it is stopped or dropped.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    /// The process that made it: a fork of it has no threads.
    pid: u32,
    state: Mutex<State>,
    running: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    shards: Vec<Running>,
    /// Local addresses in use. The sockets live in the shards and close there.
    sockets: HashMap<SocketAddr, Weak<Sockets>>,
    stopped: bool,
}

#[derive(Debug)]
struct Running {
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
    /// Told when the thread has ended.
    ended: Receiver<()>,
}

impl Engine {
    /// An engine without threads yet.
    pub fn new(options: EngineOptions) -> Result<Engine, OpenError> {
        if !(1..=MOST_THREADS).contains(&options.threads) {
            return Err(OpenError::Config(format!(
                "threads {}: 1 to {MOST_THREADS} fit",
                options.threads
            )));
        }
        let state = Mutex::default();
        Ok(Engine { options, pid: std::process::id(), state, running: Arc::default() })
    }

    /// Opens a session whose items come to `inbox`. After an error nothing is left open.
    pub fn open(&self, inbox: &Inbox, options: OpenOptions) -> Result<Session, OpenError> {
        if self.is_forked() {
            return Err(OpenError::Forked);
        }
        options.session.check().map_err(|error| OpenError::Config(error.to_string()))?;
        let mut state = self.state();
        if state.stopped {
            return Err(OpenError::Stopped);
        }
        self.start(&mut state)?;
        let (sockets, is_new) = state.sockets_for(&options)?;
        let over = Arc::default();
        let SessionConfig { remote, remote_rtcp, remote_ssrc, .. } = options.session;
        let local = sockets.pair.rtp_addr;
        sockets
            .enter(Remote { addr: remote, ssrc: remote_ssrc, over: Arc::clone(&over) })
            .map_err(|_| OpenError::Ambiguous { local, remote })?;
        let mailbox = state.shards[sockets.shard].mailbox.clone();
        let phase = least(&mailbox.phases);
        let mut config = options.session;
        config.wallclock = clock::wallclock_at_zero();
        config.cname = random_cname();
        config.filters = banks::of_inbound(&config, config.sample_rate);
        let frames = options.inbound.as_nanos().div_ceil(config.ptime.as_nanos().max(1)) as usize;
        let rtcp_addr = match config.rtcp {
            RtcpMode::Off => None,
            RtcpMode::Mux => Some(sockets.pair.rtp_addr),
            RtcpMode::Separate => sockets.pair.rtcp.get().map(|(_, addr)| *addr),
        };
        let (outbound, media_outbound) = outbound::open(options.lead, &config);
        let session = MediaSession::new(config, start_in(phase), random()).map_err(|error| {
            over.store(true, Ordering::SeqCst);
            OpenError::Config(error.to_string())
        })?;
        let (ssrc, destination) = (session.ssrc(), session.destination());
        let key = next_key();
        let (playbacks, media_playbacks) = playbacks::open();
        let (line, media_line) = inbound::open(key, inbox.bell().clone(), frames);
        let snapshot =
            Arc::new(Mutex::new(crate::Snapshot { ssrc, destination, ..Default::default() }));
        let parts = Parts {
            session,
            line: media_line,
            outbound: media_outbound,
            snapshot: snapshot.clone(),
            over: over.clone(),
            last_played: None,
            playbacks: media_playbacks,
            framed: false,
            unpublished: false,
            local: None,
            datagrams: 0,
        };
        if is_new {
            state.sockets.retain(|_, sockets| sockets.strong_count() > 0);
            state.sockets.insert(sockets.pair.rtp_addr, Arc::downgrade(&sockets));
        }
        mailbox.sessions.fetch_add(1, Ordering::SeqCst);
        mailbox.phases[phase].fetch_add(1, Ordering::SeqCst);
        let weak = Arc::downgrade(&sockets);
        let new = NewSession { key, sockets, remote, remote_rtcp, remote_ssrc, phase, parts };
        mailbox.post(Order::Open(Box::new(new)));
        Ok(Session {
            line,
            outbound,
            playbacks,
            snapshot,
            over,
            mailbox,
            sockets: weak,
            pid: self.pid,
            local_addr: local,
            rtcp_addr: Mutex::new(rtcp_addr),
        })
    }

    /// Closes all sessions and ends the threads. Idempotent; it waits for them, but not for ever.
    pub fn stop(&self) {
        if self.is_forked() {
            return;
        }
        let shards = {
            let mut state = self.state();
            state.stopped = true;
            std::mem::take(&mut state.shards)
        };
        for shard in &shards {
            shard.mailbox.post(Order::Stop);
        }
        for shard in shards {
            // A thread that does not end in time is left to itself: waiting for ever would be worse.
            if shard.ended.recv_timeout(PATIENCE) != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let _ = shard.thread.join();
            }
        }
    }

    /// Media threads that run now.
    pub fn threads(&self) -> usize {
        if self.is_forked() {
            return 0;
        }
        self.running.load(Ordering::SeqCst)
    }

    /// Sessions that are open now.
    pub fn sessions(&self) -> usize {
        if self.is_forked() {
            return 0;
        }
        let state = self.state();
        state.shards.iter().map(|s| s.mailbox.sessions.load(Ordering::SeqCst)).sum()
    }

    fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads, if they do not run yet.
    fn start(&self, state: &mut State) -> Result<(), OpenError> {
        for index in state.shards.len()..self.options.threads {
            let shard = self.start_one(index).map_err(|error| OpenError::Socket {
                what: "cannot start a media thread".to_string(),
                error,
            })?;
            state.shards.push(shard);
        }
        Ok(())
    }

    fn start_one(&self, index: usize) -> std::io::Result<Running> {
        let EngineOptions { portable, realtime, .. } = self.options;
        let mailbox = Arc::new(Mailbox::new(portable));
        let mut shard = Shard::new(mailbox.clone(), Io::new(portable));
        let (alive, ended) = channel::<()>();
        let running = self.running.clone();
        let thread = std::thread::Builder::new()
            .name(format!("roomkit-media-{index}"))
            .stack_size(512 * 1024)
            .spawn(move || {
                // Dropped with the thread, however it ends.
                let _alive = alive;
                schedule_promptly(Measures { realtime, ..Measures::default() });
                shard.run();
                running.fetch_sub(1, Ordering::SeqCst);
            })?;
        self.running.fetch_add(1, Ordering::SeqCst);
        Ok(Running { mailbox, thread, ended })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    /// The sockets of a local address: those that are there, if they may be shared, or new ones.
    fn sockets_for(&self, options: &OpenOptions) -> Result<(Arc<Sockets>, bool), OpenError> {
        let separate = options.session.rtcp == RtcpMode::Separate;
        let known = self.sockets.get(&options.local).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.shared && options.shared) {
            if known.pair.options.dscp != options.dscp {
                return Err(OpenError::Config(format!(
                    "dscp {}: the sessions that share {} have {}",
                    options.dscp, options.local, known.pair.options.dscp
                )));
            }
            if separate {
                known.add_rtcp()?;
            }
            return Ok((known, false));
        }
        let wanted = SocketOptions { separate, dscp: options.dscp };
        let taken = |addr| self.sockets.get(&addr).is_some_and(|known| known.strong_count() > 0);
        let (local, range) = (options.local, options.port_range);
        let (pair, give_back) = Ports::of_the_process(|ports| {
            let pair = ports.bind(clock::now(), local, range, wanted, random(), taken)?;
            Ok::<_, OpenError>((pair, ports.give_back(options.port_quarantine)))
        })?;
        let least = self.shards.iter().map(|s| s.mailbox.sessions.load(Ordering::SeqCst));
        let shard = least.enumerate().min_by_key(|(_, sessions)| *sessions).map_or(0, |(i, _)| i);
        let sockets = Sockets::new(pair, shard, options.shared, give_back).within(range);
        Ok((Arc::new(sockets), true))
    }
}

/// The index of the least of some gauges.
fn least(gauges: &[AtomicUsize]) -> usize {
    let loads = gauges.iter().map(|gauge| gauge.load(Ordering::SeqCst));
    loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(index, _)| index)
}

/// The next point of the grid that is in `phase`.
fn start_in(phase: usize) -> Time {
    let next = GRID.index(clock::now()) + 1;
    let ahead = (phase as u64 + PHASES as u64 - next % PHASES as u64) % PHASES as u64;
    GRID.point(next + ahead)
}

fn next_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// 64 bits that nobody can guess: a keyed hash, and the operating system gave the key.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A name that no other participant has, and that tells nothing about us: 96 random bits in base64 (RFC 7022 §4.2).
fn random_cname() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u128::from(random()) << 64 | u128::from(random());
    (0..16).map(|n| char::from(ALPHABET[(bits >> (6 * n)) as usize & 63])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::random_cname;

    #[test]
    fn rfc7022_4_2_a_name_is_96_random_bits_that_no_other_session_has() {
        let names: BTreeSet<String> = (0..1000).map(|_| random_cname()).collect();
        assert_eq!(names.len(), 1000);
        for name in &names {
            assert_eq!(name.len(), 16, "six bits in each character");
            let base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/".contains(&octet);
            assert!(name.bytes().all(base64), "{name}");
        }
        // Every place has every value.
        for place in 0..16 {
            let values: BTreeSet<u8> = names.iter().map(|name| name.as_bytes()[place]).collect();
            assert_eq!(values.len(), 64, "place {place}");
        }
    }
}
